"""The front page and the README: the lectures with what surprised us, and one measured picture.

Nothing here holds a number. The words name a claim of a notebook or a record under results/; the numbers are read
there. `python -m tools.readme` writes them into README.md, the book does it when it is built.
"""

import io
import json
from pathlib import Path

import yaml

from bookledger import claims, plain

# notebook: (the question, in Korean, how the claim begins that surprises most); the title is the notebook's own
LECTURES = {
    "06_transfer_learning": (
        "When do borrowed features beat your own, and how many layers should you freeze?",
        "전이 학습",
        "With few, similar pictures fine-tuning everything beats the rule's frozen base",
    ),
    "07_autoencoders_tsne": (
        "What does a network keep when it may keep only a few numbers, and can you trust the map?",
        "오토인코더, t-SNE",
        "From 5 to 30 the perplexity hardly matters",
    ),
    "07_image_augmentation": (
        "Which changes to a picture help, and which ones hurt?",
        "이미지 증강",
        "With 40 pictures of each kind, TrivialAugment loses accuracy on fresh leaves",
    ),
    "08_yolo": (
        "How does one pass of a network find all objects, and how is that scored?",
        "객체 탐지",
        "The same code finds blood cells in real photographs",
    ),
    "09_rnn_lstm": (
        "What does a recurrent network remember, and for how long?",
        "순환 신경망",
        "At PyTorch's start values an LSTM has lost its gradient",
    ),
    "09_sentiment": (
        "Does a network that reads in order beat counting words?",
        "감성 분석",
        "To an LSTM the order of the words is worth little",
    ),
}
RECORD = "augmentation-leak"  # the picture: what copying before the split does to the validation accuracy


class Missing(ValueError):
    """A claim that is named here stands in no notebook any more."""


def in_the_book(root):
    """[(stem, parsed notebook)] of the lectures, in the order of _toc.yml."""
    toc = yaml.safe_load(Path(root, "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    paths = [Path(root, f"{file}.ipynb") for file in files if file.startswith("notebooks/")]
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def heading(notebook):
    lines = "".join(notebook["cells"][0]["source"]).splitlines()
    return next(line.lstrip("# ").strip() for line in lines if line.startswith("# "))


def surprise(stem, notebook):
    """The claim of a lecture that surprises most, with its number as the notebook stores it; "" where none is named."""
    start = LECTURES.get(stem, ("",) * 3)[2]
    if not start:
        return ""
    found = [claim for claim in claims(notebook) if claim.sentence.startswith(start)]
    if len(found) != 1:
        raise Missing(f"{len(found)} claims of {stem} begin with {start!r}: name another one in book/_ext/bookfront.py")
    claim = found[0]
    between = f" ({claim.low} to {claim.high})" if claim.low else ""
    return f"{plain(claim.sentence)}: **{plain(claim.value)}**{between}"


def lecture_table(root, link, korean=False):
    """The lectures as a Markdown table. `link(stem, title)`: how a title is written."""
    names = ["Lecture", "The question", *(["한국어"] if korean else []), "What surprised us, measured"]
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for stem, notebook in in_the_book(root):
        question, word, _ = LECTURES.get(stem, ("",) * 3)
        rows.append(
            "| "
            + " | ".join(
                [link(stem, heading(notebook)), question, *([word] if korean else []), surprise(stem, notebook)]
            )
            + " |"
        )
    return "\n".join(rows)


# ------------------------------------------------------------------ the picture
def seeds(root):
    """{arm: ([validation], [fresh])} of the record, seed by seed."""
    record = json.loads(Path(root, "results", f"{RECORD}.json").read_text(encoding="utf-8"))
    return {
        arm: tuple([run[key] for run in record["runs"] if run["arm"] == arm] for key in ("valid", "fresh"))
        for arm in record["arms"]
    }


def told(root):
    """What the picture shows, in words, with the record's numbers: its alternative text."""
    from helpers.course.claims import interval

    parts = []
    for arm, (valid, fresh) in seeds(root).items():
        gap = interval([a - b for a, b in zip(valid, fresh)])
        parts.append(
            f"{arm}: the validation accuracy says {interval(valid).mean:.3f}, fresh leaves say "
            f"{interval(fresh).mean:.3f}, a difference of {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}, "
            f"n = {gap.n})"
        )
    return (
        "Two panels of lines, one line a seed, from the accuracy on the validation set to that on fresh leaves. "
        + ". ".join(part[0].upper() + part[1:] for part in parts)
        + "."
    )


def lie(root):
    """(difference in points, seeds) of the arm that copies first: the sentence over the picture."""
    valid, fresh = next(iter(seeds(root).values()))
    return 100 * sum(a - b for a, b in zip(valid, fresh)) / len(valid), len(valid)


def drawn(root, dark=False):
    """The picture as SVG text; the same bytes from the same record, letters as outlines."""
    import matplotlib
    from matplotlib.figure import Figure

    ink, orange, blue = ("#e8e8e8", "#E69F00", "#56B4E9") if dark else ("#222222", "#D55E00", "#0072B2")
    style = {
        "svg.fonttype": "path",
        "svg.hashsalt": RECORD,
        "font.size": 12.5,
        "font.family": "DejaVu Sans",
        "text.color": ink,
        "axes.labelcolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.edgecolor": ink,
    }
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style, "backend": "agg"}):
        fig = Figure(figsize=(7.2, 3), layout="constrained")
        axes = fig.subplots(1, 2, sharey=True)
        for ax, colour, mark, (arm, (valid, fresh)) in zip(axes, (orange, blue), "os", seeds(root).items()):
            for a, b in zip(valid, fresh):
                ax.plot([0, 1], [a, b], color=colour, alpha=0.35, lw=1)
            means = [sum(valid) / len(valid), sum(fresh) / len(fresh)]
            ax.plot([0, 1], means, color=colour, lw=3, marker=mark, ms=9)
            for x, y, side in zip((0, 1), means, ("right", "left")):
                ax.annotate(
                    f"{y:.3f}",
                    (x, y),
                    (-11 if side == "right" else 11, 0),
                    textcoords="offset points",
                    ha=side,
                    va="center",
                    weight="bold",
                )
            ax.set_title(arm, color=ink, weight="bold")
            ax.set_xticks([0, 1], ["validation\nset", "fresh\nleaves"])
            ax.set_xlim(-0.5, 1.5)
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="y", color=ink, alpha=0.15)
            ax.set_facecolor("none")
        axes[0].set_ylabel("accuracy")
        out = io.StringIO()
        fig.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": told(root)})
    return out.getvalue()

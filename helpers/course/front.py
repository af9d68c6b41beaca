"""The front page and the README: the lectures with what surprised us, and one measured picture.

Nothing here holds a number. The words name a claim of a notebook or a record under results/; the numbers are read
there. `python -m tools.readme` writes them into README.md, the book does it when it is built.
"""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from helpers.course.claims import interval
from helpers.course.lectures import page
from helpers.course.ledger import claims, plain

RECORD = "augmentation-leak"  # the picture: what copying before the split does to the validation accuracy


class Missing(ValueError):
    """A claim that is named here stands in no notebook any more."""


def read(path: Path) -> dict:
    """A notebook as the JSON that it is stored in."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def heading(notebook: dict) -> str:
    """The title of a notebook: its first heading."""
    lines = "".join(notebook["cells"][0]["source"]).splitlines()
    return next(line.lstrip("# ").strip() for line in lines if line.startswith("# "))


def surprise(stem: str, notebook: dict) -> str:
    """The claim of a lecture that surprises most, with its number as the notebook stores it; "" where none is named."""
    start = page(stem).surprise
    if not start:
        return ""
    found = [claim for claim in claims(notebook) if claim.sentence.startswith(start)]
    if len(found) != 1:
        raise Missing(f"{len(found)} claims of {stem} begin with {start!r}: name another one in its lecture.py")
    claim = found[0]
    between = f" ({claim.low} to {claim.high})" if claim.low else ""
    return f"{plain(claim.sentence)}: **{plain(claim.value)}**{between}"


def lecture_table(paths: Iterable[Path], link: Callable[[str, str], str], korean: bool = False) -> str:
    """The notebooks at `paths` as a Markdown table. `link(stem, title)`: how a title is written."""
    names = ["Lecture", "The question", *(["한국어"] if korean else []), "What surprised us, measured"]
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for path in paths:
        notebook, told = read(path), page(path.stem)
        words = [told.question, *([told.korean] if korean else []), surprise(path.stem, notebook)]
        rows.append(f"| {' | '.join([link(path.stem, heading(notebook)), *words])} |")
    return "\n".join(rows)


# ------------------------------------------------------------------ the picture
def seeds(root: Path) -> dict[str, tuple[list[float], list[float]]]:
    """{arm: ([validation], [fresh])} of the record, seed by seed."""
    record = json.loads(Path(root, "results", f"{RECORD}.json").read_text(encoding="utf-8"))
    runs = {arm: [run for run in record["runs"] if run["arm"] == arm] for arm in record["arms"]}
    return {arm: ([run["valid"] for run in mine], [run["fresh"] for run in mine]) for arm, mine in runs.items()}


def told(root: Path) -> str:
    """What the picture shows, in words, with the record's numbers: its alternative text."""
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


def lie(root: Path) -> tuple[float, int]:
    """(difference in points, seeds) of the arm that copies first: the sentence over the picture."""
    valid, fresh = next(iter(seeds(root).values()))
    return 100 * sum(a - b for a, b in zip(valid, fresh)) / len(valid), len(valid)


def drawn(root: Path, dark: bool = False) -> str:
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
    settings: dict = {**matplotlib.rcParamsDefault, **style, "backend": "agg"}
    with matplotlib.rc_context(settings):
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

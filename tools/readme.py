"""Write into README.md what was measured: the table of the lectures, and the picture beside it.

    python -m tools.readme             read the stored outputs and records, then rewrite what stands between the marks
    python -m tools.readme --check     change nothing; exit 1 where README.md or the picture says something else

`make notebooks` calls it at its end.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import bookfront  # noqa: E402

PICTURES = {"book/_static/front-light.svg": False, "book/_static/front-dark.svg": True}
MARKS = re.compile(r"(?s)(<!-- (picture|lectures): python -m tools\.readme -->\n).*?(<!-- end -->)")


def parts(root=ROOT):
    """What stands between each pair of marks."""
    light, dark = PICTURES
    alt = bookfront.told(root).replace('"', "'")
    points, n = bookfront.lie(root)
    return {
        "picture": f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'  <img src="{light}" width="720" alt="{alt}">\n</picture>\n\n'
        "Copy a picture before you split, and the validation accuracy lies: by "
        f"{points:.1f} points here, the mean of {n} seeds\n(lecture 07, image augmentation; "
        f"`results/{bookfront.RECORD}.json`, drawn by `python -m tools.readme`).",
        "lectures": bookfront.lecture_table(root, lambda stem, title: f"[{title}](notebooks/{stem}.ipynb)"),
    }


def filled(text, root=ROOT):
    """README's text with the marked parts written anew."""
    new = parts(root)
    return MARKS.sub(lambda found: f"{found[1]}{new[found[2]]}\n{found[3]}", text)


def stale(root=ROOT):
    """What says something else than the notebooks and records: a list of names."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    names = [found[2] for found in MARKS.finditer(readme)]
    wrong = ["README.md"] if filled(readme, root) != readme or sorted(names) != sorted(parts(root)) else []
    told = bookfront.told(root)  # a picture carries its numbers as its title: versions may draw it otherwise
    for name in PICTURES:
        drawn = (root / name).read_text(encoding="utf-8") if (root / name).exists() else ""
        wrong += [] if f"<dc:title>{told}</dc:title>" in drawn else [name]
    return wrong


def main(arguments):
    try:
        if arguments == ["--check"]:
            wrong = stale()
            if wrong:
                print(
                    f"{', '.join(wrong)}: not what the notebooks and records say; python -m tools.readme",
                    file=sys.stderr,
                )
            return int(bool(wrong))
        if arguments:
            print(__doc__)
            return 2
        readme = ROOT / "README.md"
        readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        for name, dark in PICTURES.items():
            (ROOT / name).write_text(bookfront.drawn(ROOT, dark), encoding="utf-8", newline="\n")
    except bookfront.Missing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Write into README.md what was measured: the table of the lectures, the picture beside it, and the desk's list.

    python -m tools.readme             read the stored outputs and records, then rewrite what stands between the marks
    python -m tools.readme --check     change nothing; exit 1 where a page or the picture says something else

`make notebooks` calls it at its end.
"""

import re
import sys
from pathlib import Path

import yaml

from helpers.course import front
from helpers.course.lectures import appendix

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": ["picture", "lectures"], "notebooks/README.md": ["desk"]}
PICTURES = {"book/_static/front-light.svg": False, "book/_static/front-dark.svg": True}
MARKS = re.compile(r"(?s)(<!-- (picture|lectures|desk): python -m tools\.readme -->\n).*?(<!-- end -->)")


def notebooks(root=ROOT):
    """The notebooks of _toc.yml, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [root / f"{file}.ipynb" for file in files if file.startswith("notebooks/")]


def parts(root=ROOT):
    """What stands between each pair of marks."""
    light, dark = PICTURES
    alt = front.told(root).replace('"', "'")
    points, n = front.lie(root)
    return {
        "picture": f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'  <img src="{light}" width="720" alt="{alt}">\n</picture>\n\n'
        "Copy a picture before you split, and the validation accuracy lies: by "
        f"{points:.1f} points here, the mean of {n} seeds\n(lecture 07, image augmentation; "
        f"`results/{front.RECORD}.json`, drawn by `python -m tools.readme`).",
        "desk": "\n".join(
            f"{i}. [{front.heading(front.read(path))}]({path.name})" for i, path in enumerate(notebooks(root), 1)
        ),
        "lectures": front.lecture_table(
            (path for path in notebooks(root) if not appendix(path.stem)),
            lambda stem, title: f"[{title}](notebooks/{stem}.ipynb)",
        ),
    }


def filled(text, root=ROOT):
    """A page's text with the marked parts written anew."""
    new = parts(root)
    return MARKS.sub(lambda found: f"{found[1]}{new[found[2]]}\n{found[3]}", text)


def stale(root=ROOT):
    """What says something else than the notebooks and records: a list of names."""
    wrong = []
    for name, marks in PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        if filled(text, root) != text or [found[2] for found in MARKS.finditer(text)] != marks:
            wrong.append(name)
    told = front.told(root)  # a picture carries its numbers as its title: versions may draw it otherwise
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
        for page in (ROOT / name for name in PAGES):
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        for name, dark in PICTURES.items():
            (ROOT / name).write_text(front.drawn(ROOT, dark), encoding="utf-8", newline="\n")
    except front.Missing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

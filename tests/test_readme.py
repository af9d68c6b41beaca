"""What the README and the pages tell: numbers that the notebooks and records still hold, commands that exist."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import typer

from helpers.__main__ import app
from helpers.course import front
from tools import readme

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]


def test_the_readme_says_what_the_notebooks_and_records_say():
    assert readme.stale() == [], "python -m tools.readme"


@pytest.fixture
def copy(tmp_path):
    """A copy of all that the README is made from, to change."""
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("runs", ".ipynb_*"))
    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "results" / f"{front.RECORD}.json", tmp_path / "results")
    for name in ("_toc.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name, old, new, wrong",
    [
        ("README.md", r"\*\*-?\d", "**7", ["README.md"]),
        (
            "notebooks/06_transfer_learning.ipynb",
            r"(?s)(probed first, with stored statistics[^\n]{0,60}\",.{0,120}?\"value\": \")\d",
            r"\g<1>7",
            ["README.md"],
        ),
        ("results/augmentation-leak.json", '"valid": 0.8', '"valid": 0.7', ["README.md", *readme.PICTURES]),
        ("book/_static/front-dark.svg", r"accuracy says 0\.\d", "accuracy says 0.1", ["book/_static/front-dark.svg"]),
    ],
)
def test_a_number_that_differs_is_noticed(copy, name, old, new, wrong):
    readme_text = readme.filled((copy / "README.md").read_text(encoding="utf-8"), copy)
    (copy / "README.md").write_text(readme_text, encoding="utf-8")
    assert readme.stale(copy) == []
    text = (copy / name).read_text(encoding="utf-8")
    changed, n = re.subn(old, new, text)
    assert n and changed != text
    (copy / name).write_text(changed, encoding="utf-8")
    assert readme.stale(copy) == wrong


def test_every_link_of_the_readme_leads_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    missing = [a or b for a, b in places if not (ROOT / (a or b)).exists() and "://" not in a]
    assert len(places) >= 8 and not missing


# ------------------------------------------------------------------ commands
def commands(path):
    """The `python -m helpers ...` lines of the code blocks of a page, continued lines joined, comments cut."""
    if path.suffix == ".ipynb":
        texts = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    else:
        texts = [path.read_text(encoding="utf-8")]
    for text in texts:
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            found = re.match(r"(?:    |\t|)(?:\S*python3? -m|accelerate launch [^|]*? -m) helpers ?(.*)", line)
            if found:
                yield found[1].split(" #")[0].split(" > ")[0].split()


def root_command():
    return typer.main.get_command(app)


def problem(words):
    """Why the command line would refuse these words, before it does anything; None if it would not."""
    command, context = root_command(), None
    words = [w for w in words if w != "..."]
    wanted_help = "--help" in words
    words = [w for w in words if w != "--help"]
    try:
        while hasattr(command, "commands"):
            if not words:
                return None if wanted_help or context is None else "a command is missing"
            name, words = words[0], words[1:]
            if "|" in name:
                return None
            if name not in command.commands:
                return f"there is no command {name}"
            command = command.commands[name]
        if not wanted_help:
            command.make_context(command.name, words)
    except Exception as error:  # click's UsageError, or Typer's own copy of it
        if not hasattr(error, "format_message"):
            raise
        return error.format_message()
    return None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_that_a_page_tells_is_understood(path):
    wrong = [(" ".join(words), said) for words in commands(path) if (said := problem(words))]
    assert not wrong, wrong


@pytest.mark.parametrize(
    "words, said",
    [
        ("transfer train --data folder:x", None),
        ("transfer train", "--data"),
        ("transfer train --data x --epoch 3", "epoch"),
        ("dance", "no command"),
        ("transfer train --data x --epochs many", "integer"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(words, said):
    found = problem(words.split())
    assert found is None if said is None else said in found


def test_commands_are_found():
    assert sum(len(list(commands(path))) for path in PAGES) >= 20

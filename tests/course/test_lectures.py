"""Lectures tell about themselves: what they name exists, and a new one needs no list to be touched."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbformat
import pytest

from helpers.course import experiments, ledger
from helpers.course.experiments import SCHEMA
from helpers.course.lectures import appendix, lectures, page

ROOT = Path(__file__).parents[2]


def here(folder, *words):
    """What Python prints with these arguments in a copy of the course, and nowhere else's modules."""
    environment = os.environ | {"PYTHONPATH": str(folder), "COURSE_SCALE": "small"}
    run = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout


def test_every_notebook_belongs_to_one_lecture():
    named = [stem for lecture in lectures().values() for stem in lecture.pages]
    stems = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(named) == sorted(stem for stem in stems if not appendix(stem))
    assert {stem.removeprefix("appendix_") for stem in stems if appendix(stem)} <= set(named)
    for stem in named:
        told = page(stem)
        assert told.question.endswith("?") and re.search("[가-힣]", told.korean) and told.surprise
    assert page("of nobody").question == ""


def test_an_experiment_belongs_to_one_lecture():
    every = [name for lecture in lectures().values() for name in lecture.experiments]
    assert len(set(every)) == len(every) == len(experiments.experiments())


def test_a_lecture_is_read_without_heavy_modules():
    code = "import sys; from helpers.course.lectures import lectures; lectures(); print(*sys.modules)"
    assert not {"torch", "sklearn", "pandas", "numpy", "typer"} & set(here(ROOT, "-c", code).split())


# ------------------------------------------------------------------ a sixth lecture, in a copy of the tree
PACKAGE = {
    "__init__.py": '"""Lecture 10, coins."""\n',
    "lecture.py": '''"""What lecture 10 tells about itself."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={"10_coins": Page("Is a coin fair?", "동전", "A coin that nobody tossed")},
    experiments={"coin-toss": Experiment("experiments:tosses", "How often does a fair coin show heads?")},
    measures={"heads": "share of heads"},
)
''',
    "experiments.py": '''"""Recorded tosses."""

import random


def tosses(scale):
    n = {"tiny": 10, "small": 100, "full": 1000}[scale]
    share = lambda seed, p: {"heads": sum(random.Random(seed).random() < p for _ in range(n)) / n}
    return {"fair": lambda seed: share(seed, 0.5), "bent": lambda seed: share(seed, 0.9)}
''',
    "cli.py": '''"""`python -m helpers coins`."""

import typer

app = typer.Typer(name="coins", no_args_is_help=True, help="Toss a coin.")


@app.callback()
def coins():
    """Toss a coin."""


@app.command()
def toss():
    """Toss once."""
    print("heads")
''',
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the course with one lecture more: its package, its notebook, and a line in _toc.yml."""
    folder = tmp_path_factory.mktemp("sixth") / "course"
    leave = shutil.ignore_patterns(".*", "_build", "__pycache__", "checkpoints", "runs", "tests", "benchmarks")
    shutil.copytree(ROOT, folder, ignore=leave)
    package = folder / "helpers" / "coins"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / name).write_text(text, encoding="utf-8")
    code = nbformat.v4.new_code_cell(
        'from helpers.course.claims import claim\n\nclaim("A coin that nobody tossed is fair", 0.5, at_least=0.4)'
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 10 Coins\n\n## One toss"), code])
    nbformat.write(notebook, folder / "notebooks" / "10_coins.ipynb")
    toc = (folder / "_toc.yml").read_text(encoding="utf-8")
    last = "      - file: notebooks/09_sentiment\n"
    assert toc.count(last) == 1
    (folder / "_toc.yml").write_text(toc.replace(last, f"{last}      - file: notebooks/10_coins\n"), encoding="utf-8")
    here(folder, "-m", "tools.notebooks", "notebooks/10_coins.ipynb")  # runs it, and writes the README
    return folder


def test_its_claim_is_in_the_ledger_and_in_the_readme(tree):
    notebook = json.loads((tree / "notebooks" / "10_coins.ipynb").read_text(encoding="utf-8"))
    [claim] = ledger.claims(notebook)
    assert (claim.sentence, claim.value, claim.section) == ("A coin that nobody tossed is fair", "0.500", "One toss")
    assert claim.sentence in ledger.ledger([("notebooks/10_coins", "10 Coins", notebook)], lambda name: name)
    readme = (tree / "README.md").read_text(encoding="utf-8")
    row = "| [10 Coins](notebooks/10_coins.ipynb) | Is a coin fair? | A coin that nobody tossed is fair: **0.500** |"
    assert row in readme
    assert "8. [10 Coins](10_coins.ipynb)" in (tree / "notebooks" / "README.md").read_text(encoding="utf-8")
    here(tree, "-m", "tools.readme", "--check")


def test_its_experiment_is_listed_and_writes_a_record(tree, tmp_path):
    assert "How often does a fair coin show heads?" in here(tree, "-m", "helpers", "experiment", "list")
    options = ("--seeds", "2", "--scale", "tiny", "--folder", tmp_path)
    here(tree, "-m", "helpers", "experiment", "coin-toss", *options)
    record = json.loads((tmp_path / "coin-toss.json").read_text())
    jsonschema.validate(record, SCHEMA)
    assert record["lecture"] == "coins" and record["arms"] == ["fair", "bent"] and len(record["runs"]) == 4
    code = (
        f"import sys; sys.path.append('book/_ext'); import bookresults; print(bookresults.results({str(tmp_path)!r}))"
    )
    shown = here(tree, "-c", code)
    assert "share of heads" in shown and "## Experiments of the lectures" in shown


@pytest.mark.skipif(
    "helpers.yolo.cli" in (ROOT / "helpers" / "__main__.py").read_text(), reason="__main__ names each lecture's command"
)
def test_its_command_is_listed(tree):
    assert "Toss a coin." in here(tree, "-m", "helpers", "--help") and "heads" in here(
        tree, "-m", "helpers", "coins", "toss"
    )

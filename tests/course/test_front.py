"""The front page: what each lecture says first, and the picture beside it."""

import re
import shutil
from pathlib import Path

import pytest

from helpers.course import front
from helpers.course.lectures import appendix
from tools import readme

ROOT = Path(__file__).parents[2]


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


def test_every_lecture_says_what_surprised_us():
    for path in readme.notebooks():
        named = front.surprise(path.stem, front.read(path))
        assert bool(named) != appendix(path.stem), (
            f"{path.stem}: name a claim in its lecture.py"
        )  # an appendix has none


def test_a_lecture_has_one_name():
    """The title of the notebook is its name on the desk; the README and the book's tables read it."""
    desk = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\d+\. \[(.+?)\]\((.+?)\.ipynb\)", desk, re.M))
    assert listed == {front.heading(front.read(path)): path.stem for path in readme.notebooks()}


def test_a_claim_that_is_gone_is_named(copy):
    path = copy / "notebooks" / "06_transfer_learning.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("A head of zeros beats a head that was", "Nothing helps"), encoding="utf-8")
    with pytest.raises(front.Missing, match="0 claims of 06_transfer_learning"):
        readme.stale(copy)


def test_the_picture_is_ours_and_drawn_again_the_same():
    drawn = front.drawn(ROOT)
    assert drawn == front.drawn(ROOT) and "<image" not in drawn and "http://www.w3.org" in drawn
    assert len(drawn) < 100_000

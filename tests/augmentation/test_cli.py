"""`python -m helpers augment`, as a reader runs it: a folder of pictures in, copies and one clear line out."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.__main__ import app

ROOT = Path(__file__).parents[2]


def invoke(*arguments):
    return CliRunner().invoke(app, ["augment", *map(str, arguments)], env={"COLUMNS": "120"})


def answer(*arguments):
    """The JSON object that is the last line of stdout; a progress bar or a remark is none of it."""
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    *before, last = done.stdout.strip().split("\n")
    assert before == []
    return json.loads(last)


def refused(*arguments):
    """The one line of an error."""
    done = invoke(*arguments)
    assert done.exit_code == 2 and done.stdout == "", done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def pets(tmp_path):
    """Ten noisy pictures of each of two classes, 24 x 32."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(10):
            cv2.imwrite(str(tmp_path / "pets" / label / f"{i}.png"), rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return tmp_path / "pets"


def rows(out):
    with open(out / "manifest.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def digests(out):
    return {r["file"]: hashlib.sha256((out / r["file"]).read_bytes()).hexdigest() for r in rows(out)}


def test_copies_of_a_folder(pets, tmp_path):
    facts = answer("--data", f"folder:{pets}", "--out", tmp_path / "a", "--copies", 3, "--seed", 5)
    table = rows(tmp_path / "a")
    assert (facts["sources"], facts["train"], facts["val"], facts["written"], facts["kept"]) == (20, 64, 4, 68, 0)
    assert len(table) == facts["files"] == 68 and facts["seconds"] > 0
    assert Path(facts["manifest"]) == tmp_path / "a" / "manifest.csv"
    sides = {split: {r["source_sha256"] for r in table if r["split"] == split} for split in ("train", "val")}
    assert len(sides["train"]) == 16 and len(sides["val"]) == 4 and not sides["train"] & sides["val"]
    assert {r["copy"] for r in table if r["split"] == "val"} == {"0"}
    for r in table:  # copy 0 is the picture, byte for byte; no other copy is
        same = np.array_equal(cv2.imread(str(pets / r["source"])), cv2.imread(str(tmp_path / "a" / r["file"])))
        assert same == (r["copy"] == "0")


def test_the_seed_decides(pets, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        answer("--data", f"folder:{pets}", "--out", tmp_path / name, "--copies", 1, "--seed", seed)
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b and a != c


def test_options_reach_the_copies(pets, tmp_path):
    facts = answer(
        "--data",
        f"folder:{pets}",
        "--out",
        tmp_path / "a",
        "--copies",
        2,
        "--operations",
        "hflip, vflip",
        "--crop",
        20,
        "--valid",
        0.5,
        "--jpeg",
        90,
    )
    assert (facts["train"], facts["val"]) == (30, 10)
    files = sorted((tmp_path / "a").rglob("*.jpg"))
    assert len(files) == 40 and {cv2.imread(str(f)).shape for f in files} == {(20, 20, 3)}
    note = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert note["operations"] == ["hflip", "vflip"] and note["jpeg"] == 90
    plain = answer("--data", f"folder:{pets}", "--out", tmp_path / "b", "--copies", 1, "--operations", "", "--valid", 0)
    assert plain["train"] == 40 and "val" not in plain
    pairs = {}
    for r in rows(tmp_path / "b"):
        pairs.setdefault(r["source"], set()).add(r["sha256"])
    assert all(len(both) == 1 for both in pairs.values())  # without an operation a copy is a copy


def test_an_existing_split_is_kept(pets, tmp_path):
    for split, numbers in (("train", range(7)), ("val", range(7, 10))):
        for label in ("cat", "dog"):
            (tmp_path / "tree" / split / label).mkdir(parents=True)
            for i in numbers:
                shutil.copy(pets / label / f"{i}.png", tmp_path / "tree" / split / label)
    facts = answer("--data", f"folder:{tmp_path / 'tree'}", "--out", tmp_path / "a", "--copies", 1)
    assert (facts["train"], facts["val"]) == (28, 6)
    assert all(r["source"].split("/")[0] == r["split"] for r in rows(tmp_path / "a"))


def test_a_stopped_run_goes_on(pets, tmp_path):
    arguments = ("--data", f"folder:{pets}", "--out", tmp_path / "a", "--copies", 2)
    answer(*arguments)
    whole = digests(tmp_path / "a")
    lost = sorted(whole)[::5]
    for file in lost[:-1]:
        (tmp_path / "a" / file).unlink()
    (tmp_path / "a" / lost[-1]).write_bytes(b"half a pict")
    facts = answer(*arguments)
    assert facts["written"] == len(lost) and facts["kept"] == len(whole) - len(lost)
    assert digests(tmp_path / "a") == whole


def test_nothing_is_written_over_without_force(pets, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "letter.txt").write_text("dear")
    arguments = ("--data", f"folder:{pets}", "--out", tmp_path / "a", "--copies", 1)
    assert "--force" in refused(*arguments)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["letter.txt"]
    assert answer(*arguments, "--force")["written"] == 36
    assert (tmp_path / "a" / "letter.txt").read_text() == "dear"
    assert "other settings" in refused(*arguments[:-1], 2)
    assert answer(*arguments[:-1], 2, "--force")["files"] == 52
    assert len(list((tmp_path / "a").rglob("*.png"))) == 52


@pytest.mark.parametrize(
    "options, says",
    [
        (["--crop", 25], "24x32 pixels, smaller than the crop of 25"),
        (["--operations", "hflip,spin"], "no operation spin"),
        (["--jpeg", 101], "1 to 100"),
        (["--valid", 1], "below 1"),
    ],
)
def test_bad_options_end_in_one_clear_line(options, says, pets, tmp_path):
    assert says in refused("--data", f"folder:{pets}", "--out", tmp_path / "a", "--copies", 1, *options)


@pytest.mark.parametrize(
    "data, says",
    [("leaves:{}", "folder:PATH"), ("folder:", "needs a path"), ("folder:{}/nowhere", "there is no folder")],
)
def test_data_that_is_no_folder_ends_in_one_clear_line(data, says, tmp_path):
    assert says in refused("--data", data.format(tmp_path), "--out", tmp_path / "a", "--copies", 1)


def test_a_bad_picture_or_an_empty_class_is_named(pets, tmp_path):
    (pets / "cat" / "0.png").write_bytes(b"no picture")
    arguments = ("--data", f"folder:{pets}", "--out", tmp_path / "a", "--copies", 1)
    assert "0.png is not a readable picture" in refused(*arguments)
    (pets / "newt").mkdir()
    assert "newt holds no picture" in refused(*arguments)


def test_an_output_that_cannot_be_written_ends_in_one_clear_line(pets, tmp_path):
    arguments = ("--data", f"folder:{pets}", "--copies", 1, "--out")
    assert "would count as pictures" in refused(*arguments, pets / "copies")
    (tmp_path / "a").write_text("x")
    assert "is a file" in refused(*arguments, tmp_path / "a")
    assert "cannot be written (Not a directory)" in refused(*arguments, tmp_path / "a" / "b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_ends_in_one_clear_line(pets, tmp_path):
    (tmp_path / "a").mkdir(mode=0o500)
    assert "cannot be written" in refused("--data", f"folder:{pets}", "--copies", 1, "--out", tmp_path / "a" / "b")


def test_as_a_program(pets, tmp_path):
    """The whole way: a process, its exit status, and stdout with one JSON object and no progress bar."""
    command = [
        sys.executable,
        "-m",
        "helpers",
        "augment",
        "--data",
        f"folder:{pets}",
        "--out",
        str(tmp_path / "a"),
        "--copies",
        "1",
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)["files"] == 36
    done = subprocess.run([*command, "--crop", "99"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    text = subprocess.run([sys.executable, "-m", "helpers", "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "augment" in text

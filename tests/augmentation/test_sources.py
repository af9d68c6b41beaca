"""Scanning a class-folder tree, and its split by source picture before anything is copied."""

from pathlib import Path

import numpy as np
import pytest
from image_folder import manifest, save, tree

from helpers.augmentation import folder, sources
from helpers.course.errors import UserError


def test_scan_finds_every_picture_with_its_class_and_hash(tmp_path):
    import hashlib

    found = sources.scan(tree(tmp_path / "in", n=3))
    assert [s.name for s in found] == [f"{c}/p{i}.png" for c in ("cat", "dog") for i in range(3)]
    assert all(s.split is None and s.label == s.name.split("/")[0] for s in found)
    assert all(s.digest == hashlib.sha256(s.path.read_bytes()).hexdigest() for s in found)
    (tmp_path / "in/cat/.hidden.png").write_text("another system's remark")
    (tmp_path / "in/cat/notes.txt").write_text("no picture")
    assert sources.scan(tmp_path / "in") == found


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_a_share_of_each_class_is_for_validation(share, tmp_path):
    found = sources.scan(tree(tmp_path / "in"))
    parts = [sources.split_sources(found, share, seed) for seed in (0, 0, 1)]
    for part in parts:
        assert [s._replace(split=None) for s in part] == found
        for label in ("cat", "dog"):
            assert sum(s.split == "val" for s in part if s.label == label) == round(10 * share)
    assert parts[0] == parts[1] and (parts[0] != parts[2]) == bool(share)


def test_an_existing_split_stays_as_it_is(tmp_path):
    source = tmp_path / "in"
    for split in ("train", "val", "test"):
        tree(source, n=3, split=split)
    out = tmp_path / "out"
    assert folder.write_copies(source, out, 2)["test"] == 6
    for row in manifest(out):
        assert row["source"].split("/")[0] == row["split"] == row["file"].split("/")[0]
        assert row["split"] == "train" or row["copy"] == "0"


def test_twin_files_stay_on_one_side(tmp_path):
    """The same bytes under several names are one picture."""
    source = tree(tmp_path / "in", n=6)
    for i in range(6):
        (source / f"cat/q{i}.png").write_bytes((source / f"cat/p{i}.png").read_bytes())
    for seed in range(10):
        out = tmp_path / f"out{seed}"
        folder.write_copies(source, out, 1, seed, valid=0.5)
        sides = {Path(r["source"]).name: r["split"] for r in manifest(out) if r["class"] == "cat"}
        assert all(sides[f"p{i}.png"] == sides[f"q{i}.png"] for i in range(6))


# ---------------------------------------------------------------- faults


def refused(source):
    """The one line that scanning and splitting end in."""
    with pytest.raises(UserError) as error:
        sources.split_sources(sources.scan(source), 0.2, 0)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_folder(tmp_path):
    assert f"there is no folder {tmp_path / 'nowhere'}" in refused(tmp_path / "nowhere")


def test_a_folder_without_class_folders(tmp_path):
    save(tmp_path / "flat/p.png", np.zeros((8, 8, 3), np.uint8))
    assert "flat holds no class folders" in refused(tmp_path / "flat")


def test_an_empty_class(tmp_path):
    source = tree(tmp_path / "in")
    (source / "empty").mkdir()
    assert "in/empty holds no picture" in refused(source)


def test_a_class_of_one_picture(tmp_path):
    source = tree(tmp_path / "in")
    save(source / "lonely/p.png", np.zeros((24, 32, 3), np.uint8))
    assert "class lonely has 1 different picture(s)" in refused(source)


def test_one_picture_in_two_classes(tmp_path):
    source = tree(tmp_path / "in")
    (source / "dog/twin.png").write_bytes((source / "cat/p1.png").read_bytes())
    assert "one picture in two classes" in refused(source)


def test_one_picture_in_two_splits(tmp_path):
    source = tree(tmp_path / "in", split="train")
    tree(source, split="val")
    (source / "val/cat/twin.png").write_bytes((source / "train/cat/p1.png").read_bytes())
    assert "one picture in two splits" in refused(source)

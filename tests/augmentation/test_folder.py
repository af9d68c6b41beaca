"""Augmented copies in a folder: split by source, resumed after any end, read back; oracles: Pillow, ImageFolder."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from image_folder import files, manifest, save, tree
from PIL import Image
from scipy import optimize, stats
from torchvision.datasets import ImageFolder

from helpers.augmentation import folder
from helpers.course.errors import UserError

ROOT = Path(__file__).parents[2]


def test_copies_and_back(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    report = folder.write_copies(source, out, copies=3, seed=1)
    assert report == {"sources": 20, "files": 68, "written": 68, "kept": 0, "train": 64, "val": 4}
    rows = manifest(out)
    assert {r["file"] for r in rows} == files(out).keys() - {"manifest.csv", "manifest.json"}
    # no source on both sides, and no copies of what validates
    sides = {s: {r["source"] for r in rows if r["split"] == s} for s in ("train", "val")}
    assert not sides["train"] & sides["val"] and len(sides["train"] | sides["val"]) == 20
    assert all(r["copy"] == "0" for r in rows if r["split"] == "val")
    # copy 0 is the picture, to the byte and in RGB, read by another library; the others are not
    for row in rows:
        with Image.open(out / row["file"]) as a, Image.open(source / row["source"]) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b)) == (row["copy"] == "0")
    # and torchvision's ImageFolder finds what load_folder does
    loaded, theirs = folder.load_folder(out), ImageFolder(out / "train")
    assert loaded.classes == theirs.classes and loaded.labels.tolist() == theirs.targets
    assert loaded.images.shape == (64, 3, 24, 32) and loaded.images.dtype == torch.uint8
    for x, (image, _) in zip(loaded.images, theirs):
        assert np.array_equal(x.permute(1, 2, 0), np.asarray(image))
    assert set(loaded.sources) == sides["train"]
    assert set(folder.load_folder(out, "val").sources) == sides["val"]


def test_splitting_after_copying_leaks_and_sources_show_it(tmp_path):
    """The lecture's fault: copies first, split afterwards."""
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    folder.write_copies(source, out, 4, valid=0)
    ids = np.array(folder.load_folder(out).sources)
    order = np.random.default_rng(0).permutation(len(ids))
    train, val = set(ids[order[:80]]), set(ids[order[80:]])
    assert len(train & val) / len(val) > 0.9


def test_a_copy_is_a_function_of_seed_source_and_number(tmp_path):
    source = tree(tmp_path / "in")
    a, b, more, other = (tmp_path / name for name in "abcd")
    folder.write_copies(source, a, 2, seed=5)
    folder.write_copies(source, b, 2, seed=5, progress=False)
    folder.write_copies(source, more, 3, seed=5)
    folder.write_copies(source, other, 2, seed=6)
    assert files(a) == files(b)
    extra = files(more)
    assert all(extra[f] == data for f, data in files(a).items() if f.endswith(".png"))
    same = [f for f, data in files(other).items() if f.endswith(".png") and files(a).get(f) == data]
    assert all(f.endswith(".0.png") for f in same)
    (source / "cat/p0.png").rename(source / "cat/renamed.png")  # neither the name nor the order counts
    out = tmp_path / "e"
    folder.write_copies(source, out, 2, seed=5, valid=0)
    plain = tmp_path / "f"
    folder.write_copies(tree(tmp_path / "again"), plain, 2, seed=5, valid=0)
    for k in (0, 1, 2):
        a, b = out / f"train/cat/renamed.png.{k}.png", plain / f"train/cat/p0.png.{k}.png"
        assert a.read_bytes() == b.read_bytes()


def test_operations(tmp_path):
    source = tree(tmp_path / "in")

    def pixels(name, **settings):
        out = tmp_path / name
        folder.write_copies(source, out, 4, valid=0, **settings)
        loaded = folder.load_folder(out)
        return loaded.images.view(20, 5, 3, *loaded.images.shape[2:]).numpy()

    x = pixels("h", operations=["hflip"])
    flipped = (x[:, 1:] == x[:, :1, ..., ::-1]).all((2, 3, 4))
    assert np.all(flipped | (x[:, 1:] == x[:, :1]).all((2, 3, 4)))
    assert stats.binomtest(int(flipped.sum()), 80).pvalue > 1e-3
    x = pixels("v", operations=["vflip"])
    assert 20 < (x[:, 1:] == x[:, :1, :, ::-1]).all((2, 3, 4)).sum() < 60
    whole, x = pixels("none", operations=[]), pixels("crop", operations=[], crop=20)
    assert x.shape[-2:] == (20, 20) and np.array_equal(x[:, 0], whole[:, 0, :, 2:22, 6:26])  # the middle
    windows = np.lib.stride_tricks.sliding_window_view(whole[:, 0], (20, 20), (2, 3))
    hits = (windows[:, None] == x[:, 1:, :, None, None]).all((2, 5, 6))  # (20, 4, 5, 13): its place
    assert np.all(hits.sum((2, 3)) == 1)
    assert len(set(map(tuple, np.argwhere(hits)[:, 2:]))) > 30  # many places
    x = pixels("colour", operations=["colour"]).astype(int)
    for old, new in ((a[0], b) for a in x for b in a[1:]):
        inside = (new > 0) & (new < 255)
        # a straight line, rounded: the best one for the worst point, by linear programming, is within 1/2
        v, one = np.unique(np.stack([old[inside], new[inside]]), axis=1), np.ones
        a = np.stack([v[0], one(len(v[0])), -one(len(v[0]))], 1)
        rows, limits = np.vstack([a, a * [-1, -1, 1]]), [*v[1], *-v[1]]
        gain, bias, distance = optimize.linprog([0, 0, 1], rows, limits, bounds=(None, None)).x
        assert distance <= 0.5 + 1e-6 and 0.79 < gain < 1.21 and abs(bias) < 26


def test_resume_after_the_disk_was_full(tmp_path, monkeypatch):
    source, out, whole = tree(tmp_path / "in"), tmp_path / "out", tmp_path / "whole"
    folder.write_copies(source, whole, 3)
    honest, names = folder._write, [row["file"] for row in manifest(whole)]
    beyond = {out / name for name in names[len(names) // 2 :]}  # several threads write: say which, not how many

    def full(path, data):
        if path in beyond:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        honest(path, data)

    monkeypatch.setattr(folder, "_write", full)
    with pytest.raises(UserError, match="No space left on device.*run it again to go on"):
        folder.write_copies(source, out, 3)
    monkeypatch.setattr(folder, "_write", honest)
    journal = out / "manifest.csv"
    journal.write_bytes(journal.read_bytes()[:-30])  # killed in the middle of a line
    report = folder.write_copies(source, out, 3)
    assert report["kept"] > 0 and report["written"] + report["kept"] == 68
    assert files(out) == files(whole)
    # nothing to do; a damaged file and a lost one are made anew; nothing else is touched
    assert folder.write_copies(source, out, 3)["written"] == 0
    victims = [out / r["file"] for r in manifest(out)[3:5]]
    victims[0].write_bytes(victims[0].read_bytes()[:50])
    victims[1].unlink()
    assert folder.write_copies(source, out, 3)["written"] == 2
    assert files(out) == files(whole)


def test_resume_after_kill(tmp_path):
    source, out, whole = tree(tmp_path / "in", n=30), tmp_path / "out", tmp_path / "whole"
    folder.write_copies(source, whole, 5)
    code = (
        "import sys, os, signal; from helpers.augmentation import folder; honest = folder._write; n = []\n"
        "def write(path, data):\n"
        "    honest(path, data); n.append(path)\n"
        "    if len(n) == 120: os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder._write = write; folder.write_copies(sys.argv[1], sys.argv[2], 5)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(source), str(out)], cwd=ROOT)
    assert run.returncode == -9
    report = folder.write_copies(source, out, 5)
    assert report["kept"] > 50 and report["written"] > 50
    assert files(out) == files(whole)  # nothing half-written is left either


def test_mended_source_is_taken_up(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    (source / "dog/p3.png").write_bytes((source / "dog/p3.png").read_bytes()[:300])
    with pytest.raises(UserError, match=r"dog/p3\.png"):
        folder.write_copies(source, out, 1)
    tree(source)
    folder.write_copies(source, out, 1)
    folder.write_copies(source, tmp_path / "clean", 1)
    assert files(out) == files(tmp_path / "clean")


def test_a_folder_in_use_is_left_alone_without_force(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty.*--force"):
        folder.write_copies(source, out, 1)
    assert list(files(out)) == ["thesis.txt"]
    folder.write_copies(source, out, 2, force=True)
    before = files(out)
    with pytest.raises(UserError, match="other settings.*--force"):
        folder.write_copies(source, out, 1)
    assert files(out) == before
    folder.write_copies(source, out, 1, seed=9, force=True)
    assert not any(f.endswith(".2.png") for f in files(out))  # the earlier run's files are gone
    assert (out / "thesis.txt").read_text() == "mine"
    assert json.loads((out / "manifest.json").read_text())["seed"] == 9


def refused(source, out, **settings):
    """The one line that `write_copies` ends in."""
    with pytest.raises(UserError) as error:
        folder.write_copies(source, out, **({"copies": 2} | settings))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"operations": ["mixup"]}, "no operation mixup: choose from hflip"),
        ({"copies": -1}, "copies and seed must be 0 or more"),
        ({"valid": 1.0}, "valid from 0 to below 1"),
        ({"crop": 0}, "a crop 1 or more"),
        ({"crop": 25}, "is 24x32 pixels, smaller than the crop of 25"),
        ({"jpeg": 101}, "from 1 to 100; got 101"),
    ],
)
def test_bad_settings_end_in_one_clear_line(settings, says, tmp_path):
    assert says in refused(tree(tmp_path / "in"), tmp_path / "out", **settings)


@pytest.mark.parametrize("fault", ["text", "truncated"])
def test_an_unreadable_picture_is_named(fault, tmp_path):
    source = tree(tmp_path / "in")
    path = source / "cat/p5.png"
    path.write_bytes(b"no picture at all" if fault == "text" else path.read_bytes()[:400])
    assert "p5.png is not a readable picture" in refused(source, tmp_path / "out")


@pytest.mark.parametrize("out", ["in/copies", "in"])
def test_copies_must_not_lie_among_their_sources(out, tmp_path):
    assert "lies in" in refused(tree(tmp_path / "in"), tmp_path / out)


def test_an_output_that_is_a_file_or_lies_below_one_is_refused(tmp_path):
    source = tree(tmp_path / "in")
    (tmp_path / "out").write_text("a file")
    assert "out is a file" in refused(source, tmp_path / "out")
    assert "cannot be written (Not a directory)" in refused(source, tmp_path / "out" / "deeper")


def test_every_kind_of_picture_file(tmp_path):
    """Grey, palette, alpha, 16-bit, CMYK, other formats, names beyond ASCII: Pillow's RGB is the oracle."""
    source, rng = tmp_path / "in", np.random.default_rng(0)
    rgb = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    save(source / "가지/회색.png", rgb[..., 0])
    save(source / "가지/wide 16.png", rgb[..., 0].astype(np.uint16) * 257)
    save(source / "가지/alpha.png", np.dstack([rgb, np.full((12, 16), 255, np.uint8)]))
    for name in ("a.bmp", "b.tiff", "c.webp", "d.PNG", "e.ppm"):
        image = Image.fromarray(np.roll(rgb, len(name) + ord(name[0]), 1))
        image.save(source / "가지" / name, **({"lossless": True} if "webp" in name else {}))
    Image.fromarray(rgb).convert("CMYK").save(source / "가지/print.jpg")
    Image.fromarray(rgb).quantize(8).save(source / "가지/palette.gif")
    folder.write_copies(source, tmp_path / "out", 1, valid=0, operations=[])
    wanted = {"wide 16.png": np.repeat(rgb[..., :1], 3, 2)}
    for row in manifest(tmp_path / "out"):
        if row["copy"] == "0":
            name = Path(row["source"]).name
            out = np.asarray(Image.open(tmp_path / "out" / row["file"]))
            theirs = wanted.get(name, np.asarray(Image.open(source / row["source"]).convert("RGB")))
            assert np.array_equal(out, theirs), name
    loaded = folder.load_folder(tmp_path / "out")
    assert loaded.classes == ["가지"] and len(loaded.images) == 20


def test_bgr_is_not_taken_for_rgb(tmp_path):
    """A red picture must come out red, in each library's own order."""
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    save(tmp_path / "in/red/r.png", red)
    folder.write_copies(tmp_path / "in", tmp_path / "out", 1, valid=0, operations=["hflip"])
    assert folder.load_folder(tmp_path / "out").images[:, 0].eq(200).all()
    for path in (tmp_path / "out/train/red").iterdir():
        assert np.array_equal(np.asarray(Image.open(path)), red)
        assert np.array_equal(cv2.imread(str(path)), red[..., ::-1])


def test_jpeg_is_smaller_and_not_exact(tmp_path):
    source = tree(tmp_path / "in", n=3)
    folder.write_copies(source, tmp_path / "out", 0, valid=0, jpeg=90)
    folder.write_copies(source, tmp_path / "png", 0, valid=0)
    a, b = (folder.load_folder(tmp_path / n).images.int() for n in ("out", "png"))
    assert 0 < (a - b).abs().max()
    small, large = (sum(len(d) for d in files(tmp_path / n / "train").values()) for n in ("out", "png"))
    assert small < large


def test_load_folder_errors(tmp_path):
    tree(tmp_path / "in", n=2, split="train")
    with pytest.raises(UserError, match="no folder"):
        folder.load_folder(tmp_path / "in", "val")
    save(tmp_path / "in/train/dog/z.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(UserError, match=r"z\.png is 9x9 pixels, those before 24x32"):
        folder.load_folder(tmp_path / "in")

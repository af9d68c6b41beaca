"""The Pascal VOC layout: what torchvision reads out of the same folder, and what a careless folder holds."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import VOCDetection

from helpers.course.errors import UserError
from helpers.data import voc
from helpers.data.geometry import fitted, letterbox, unletterbox
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import cxcywh_to_xyxy

BCCD = Path(os.environ.get("DLM_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data" / "bccd"


def an_object(name, *corners, difficult=0):
    keys = zip(("xmin", "ymin", "xmax", "ymax"), corners)
    box = "".join(f"<{key}>{value}</{key}>" for key, value in keys)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult>{part}<bndbox>{box}</bndbox></object>"


def write(folder, name, objects, width=64, height=48, splits=("train",)):
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(folder / "JPEGImages" / f"{name}.png")
    text = f"<annotation><filename>{name}.png</filename>{''.join(objects)}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(text)
    for split in splits:
        with (folder / "ImageSets" / "Main" / f"{split}.txt").open("a") as file:
            file.write(f"{name}\n")


@pytest.fixture
def folder(tmp_path):
    """Two pictures to train on, one to validate."""
    write(tmp_path, "a", [an_object("dog", 1, 1, 64, 48), an_object("cat", 10, 5, 30, 25, difficult=1)])
    write(tmp_path, "b", [], 40, 80)
    write(tmp_path, "c", [an_object("cat", 5, 5, 20, 20)], splits=("val",))
    return tmp_path


def test_boxes_labels_and_flags(folder):
    data = voc.VocSet(folder, "train", (64, 64))
    assert data.classes == ["cat", "dog"] and data.shapes == [(48, 64), (80, 40)]
    assert data.boxes[0].tolist() == [[0, 0, 64, 48], [9, 4, 30, 25]]  # the first fills the picture exactly
    assert data.labels[0].tolist() == [1, 0] and data.difficult[0].tolist() == [False, True]
    assert data.truth.shape == (2, 1, 5) and data.truth[0, 0].tolist() == [0.5, 0.5, 1.0, 0.75, 1]
    assert data.truth[1, 0, 4] == -1
    assert data.summary.endswith("train: 2 pictures, 2 objects of 2 classes, 1 pictures without objects, 1 difficult")
    assert voc.VocSet(folder, "valid", (64, 64), ["cat", "dog"]).labels[0].tolist() == [0]


def test_boxes_outside_are_clipped_and_those_without_area_dropped(tmp_path):
    corners = [(-20, 10, 32.5, 900), (30, 30, 30, 40), (9, 9, 3, 20), (70, 1, 90, 20), (0, 0, 64, 48)]
    write(tmp_path, "a", [an_object("x", *four) for four in corners])
    data = voc.VocSet(tmp_path, "train", (64, 64))
    assert data.boxes[0].tolist() == [[0, 9, 32.5, 48], [0, 0, 64, 48]]
    assert "1 boxes clipped" in data.summary and "3 without area" in data.summary


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 160)])
def test_letterboxed_with_their_boxes(folder, size):
    """The picture is `yolo.letterbox`'s, and the way back, `unletterbox`, is the boxes' way in reversed."""
    data = voc.VocSet(folder, "train", size)
    for i, (file, shape) in enumerate(zip(data.files, data.shapes)):
        picture = torch.tensor(np.asarray(Image.open(file))).permute(2, 0, 1).float() / 255
        assert (data[i][0] - letterbox(picture, *size) * 255).abs().max() <= 0.5 + 1e-3  # rounded to bytes
        some = torch.tensor([[3.0, 4, 20, 30], [0, 0, shape[1], shape[0]]])
        there = voc.into(some, shape, size)
        back = cxcywh_to_xyxy(unletterbox(there, *shape, *size))
        # Darknet's way back ignores that grey margins are whole pixels: half a pixel of the network's input
        assert (back - some).abs().max() <= 0.5 * max(n / m for n, m in zip(shape, fitted(*shape, *size))) + 1e-3


def test_batches_are_the_samples(folder, monkeypatch):
    kept = voc.VocSet(folder, "train", (64, 64))
    monkeypatch.setattr(voc, "CACHE_BYTES", 0)
    lazy = voc.VocSet(folder, "train", (64, 64))
    assert len(lazy.images) == 0
    for a, b in zip(kept.collate(kept.__getitems__([1, 0])), lazy.collate(lazy.__getitems__([1, 0]))):
        assert torch.equal(a, b) and len(a) == 2


def test_the_networks_shape_follows_the_pictures(tmp_path):
    for i, (w, h) in enumerate([(640, 480), (640, 480), (100, 300)]):
        write(tmp_path, f"p{i}", [an_object("x", 1, 1, 50, 50)], w, h)
    assert voc.VocSet(tmp_path, "train", 320).size == (256, 320)
    assert voc.VocSet(tmp_path, "train", 320, multiple=16).size == (240, 320)
    assert voc.network_shape([tmp_path / "JPEGImages" / "p2.png"], 96) == (96, 32)


def test_without_lists_a_seeded_split_that_shares_nothing(tmp_path):
    for i in range(20):
        write(tmp_path, f"p{i:02}", [an_object("x", 1, 1, 20, 20)], splits=())
    parts = [voc.split_names(tmp_path, split, seed=3) for split in voc.SPLITS]
    assert [len(p) for p in parts] == [14, 3, 3] and sorted(sum(parts, [])) == [f"p{i:02}" for i in range(20)]
    assert parts[0] == voc.split_names(tmp_path, "train", seed=3) != voc.split_names(tmp_path, "train", seed=4)
    assert voc.VocSet(tmp_path, "test", (64, 64), seed=3).classes == ["x"]


def test_lists_as_people_write_them(folder):
    (folder / "ImageSets/Main/train.txt").write_text("\ufeffa.png\n\n  b  1\na\n")
    assert voc.split_names(folder, "train") == ["a", "b"]
    write(folder, "my dog.v2", [an_object("dog", 1, 1, 9, 9)])
    assert voc.split_names(folder, "train") == ["a", "b", "my dog.v2"]
    assert len(voc.VocSet(folder, "train", (64, 64))) == 3


def broken(folder, what):
    if what == "xml":
        (folder / "Annotations/a.xml").write_text("<annotation><object>")
    elif what == "no xml":
        (folder / "Annotations/a.xml").unlink()
    elif what == "no numbers":
        (folder / "Annotations/a.xml").write_text("<annotation>" + an_object("dog", 1, "?", 3, 4) + "</annotation>")
    elif what == "no box":
        text = "<annotation><object><name>dog</name></object></annotation>"
        (folder / "Annotations/a.xml").write_text(text)
    elif what == "nan":
        (folder / "Annotations/a.xml").write_text("<annotation>" + an_object("dog", 1, "nan", 3, 4) + "</annotation>")
    elif what == "no picture":
        (folder / "JPEGImages/a.png").unlink()
    elif what == "picture":
        (folder / "JPEGImages/a.png").write_bytes((folder / "JPEGImages/a.png").read_bytes()[:500])
    elif what == "no folder":
        (folder / "Annotations").rename(folder / "Labels")
    elif what == "no list":
        (folder / "ImageSets/Main/train.txt").unlink()
    elif what == "empty list":
        (folder / "ImageSets/Main/train.txt").write_text("\n")


@pytest.mark.parametrize(
    "what, words",
    [
        ("xml", "a.xml is not readable XML"),
        ("no xml", "there is no annotation"),
        ("no numbers", "a.xml: object 1"),
        ("no box", "a.xml: object 1"),
        ("nan", "a.xml: object 1"),
        ("no picture", "lacks the picture a, which train"),
        ("picture", "a.png is not a readable picture"),
        ("no folder", "JPEGImages and Annotations"),
        ("no list", "no split 'train', only valid"),
        ("empty list", "'train' of .* holds no picture"),
    ],
)
def test_what_is_broken_is_named(folder, what, words):
    broken(folder, what)
    with pytest.raises(UserError, match=words) as error:
        voc.VocSet(folder, "train", (64, 64))
    assert "\n" not in str(error.value)


def test_strange_splits_and_classes_are_named(folder):
    with pytest.raises(UserError, match="must be one of train, valid, test; got 'val'"):
        voc.VocSet(folder, "val", (64, 64))
    with pytest.raises(UserError, match="classes cat, dog, which are not among horse"):
        voc.VocSet(folder, "train", (64, 64), ["horse"])


def test_difficult_objects_count_neither_way(folder):
    """Found or not, nothing changes; and the same detections count as false alarms once the flags are gone."""
    data = voc.VocSet(folder, "train", (64, 64))
    found = [
        {"boxes": data.boxes[0], "labels": data.labels[0], "scores": np.array([0.5, 0.9])},
        {"boxes": np.zeros((0, 4)), "labels": [], "scores": []},
    ]
    truths = data.truths()
    assert evaluate(found, truths).summary()["map50"] == pytest.approx(1)
    hard = data.labels[0] == 0
    missed = [{k: v[~hard] for k, v in found[0].items()}, found[1]]
    assert evaluate(missed, truths).summary()["map50"] == pytest.approx(1)
    easy = [{k: v for k, v in t.items() if k != "ignore"} for t in truths]
    assert evaluate(missed, easy).summary()["map50"] == pytest.approx(0.5)


@pytest.fixture
def bccd():
    if not BCCD.is_dir():
        pytest.skip("needs ../shared/data/bccd (or DLM_SHARED)")
    return BCCD


def test_torchvision_reads_the_same(bccd, tmp_path):
    """364 blood cell pictures less those kept back: names, sizes and corners as torchvision's reader gives them."""
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(bccd.resolve())
    data = voc.VocSet(bccd, "valid", 320)
    theirs = VOCDetection(tmp_path, "2012", "val")
    assert len(data) == len(theirs) == 87 and data.classes == ["Platelets", "RBC", "WBC"]
    objects = 0
    for i, (image, target) in enumerate(theirs):
        assert image.size[::-1] == data.shapes[i]
        things = [t for t in target["annotation"]["object"] if t["bndbox"]["xmin"] != t["bndbox"]["xmax"]]
        names = [thing["name"] for thing in things]
        corners = [[int(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax")] for thing in things]
        assert [data.classes[k] for k in data.labels[i]] == names
        assert (data.boxes[i] + [1, 1, 0, 0]).tolist() == corners
        assert (data[i][1][:, 4] >= 0).sum() == len(names)
        objects += len(names)
    assert data.size == (256, 320) and objects == 1137
    assert data.summary.endswith("87 pictures, 1137 objects of 3 classes, 1 without area in the picture dropped")

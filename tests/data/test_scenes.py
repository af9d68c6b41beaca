"""Scenes: deterministic, disjoint splits, boxes that fit, digits that can be read."""

import subprocess
import sys

import numpy as np
import pytest

from helpers.course.errors import UserError
from helpers.data import scenes, sets


@pytest.fixture(scope="module")
def some():
    return {split: [scenes.scene(i, 0, split) for i in range(60)] for split in scenes.SPLITS}


def test_the_same_scene_twice_and_in_another_process():
    images, boxes, labels = scenes.dataset(3, seed=5, split="test", size=96)
    again = scenes.scene(2, 5, "test", 96)  # not after scenes 0 and 1
    assert images.shape == (3, 3, 96, 96) and images.dtype == np.uint8
    assert np.array_equal(images[2], again.image) and np.array_equal(boxes[2], again.boxes)
    code = (
        "from helpers.data import scenes; import hashlib; "
        "print(hashlib.sha256(scenes.scene(2, 5, 'test', 96).image.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    import hashlib

    assert there.strip() == hashlib.sha256(again.image.tobytes()).hexdigest()


def test_seeds_indices_and_splits_differ():
    pictures = [
        scenes.scene(i, seed, split, 96).image.tobytes()
        for i in range(3)
        for seed in range(2)
        for split in scenes.SPLITS
    ]
    assert len(set(pictures)) == len(pictures)


def test_no_digit_and_no_part_of_a_photograph_is_in_two_splits():
    digits = {split: {crop.tobytes() for crop in scenes._digits(split)[0]} for split in scenes.SPLITS}
    assert [len(scenes._digits(split)[1]) for split in scenes.SPLITS] == [3500, 500, 1000]
    assert all((np.bincount(scenes._digits(split)[1]) == n).all() for split, n in zip(scenes.SPLITS, (350, 50, 100)))
    assert not (digits["train"] & digits["valid"] | digits["train"] & digits["test"] | digits["valid"] & digits["test"])
    ranges = sorted(values[:2] for values in scenes.SPLITS.values())
    assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:]))
    # a column of a photograph that occurs in the bands of two splits would have to be in both ranges
    columns = {
        split: {
            band[:, x].tobytes()
            for band, _ in scenes._photographs(split)
            for x in range(band.shape[1])
            if band[:, x].std() > 0.02
        }
        for split in scenes.SPLITS
    }
    assert not columns["train"] & columns["test"] and not columns["valid"] & columns["test"]
    assert not columns["train"] & columns["valid"] and min(map(len, columns.values())) > 1500


def test_boxes_are_tight_around_masks_that_share_no_ink(some):
    for scene in (s for group in some.values() for s in group):
        assert 1 <= len(scene.boxes) == len(scene.labels) == len(scene.masks) <= scenes.MOST
        assert scene.boxes.dtype == np.float32 and scene.labels.dtype == np.int64
        assert scene.masks.sum(0).max() <= 1
        for box, mask in zip(scene.boxes, scene.masks):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert scene.boxes.min() >= 0 and scene.boxes.max() <= 160


def test_every_digit_can_be_read(some):
    """Measured in the finished picture: the ink against what is left of the photograph in its box."""
    contrast = []
    for scene in (s for group in some.values() for s in group):
        light = np.tensordot(scenes.LUMINANCE, scene.image.astype(np.float32) / 255, 1)
        taken = scene.masks.any(0)
        for (x0, y0, x1, y1), mask in zip(scene.boxes.astype(int), scene.masks):
            part = np.s_[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3]
            ink, paper = light[part][mask[part]], light[part][~taken[part]]
            contrast.append(abs(np.median(ink) - np.median(paper)))
    contrast = np.array(contrast)
    assert len(contrast) > 400 and contrast.min() > 0.15 and np.quantile(contrast, 0.01) > 0.25


def test_all_classes_sizes_and_counts_occur(some):
    labels = np.concatenate([s.labels for s in some["train"]])
    assert set(labels) == set(range(10))
    assert {len(s.labels) for s in some["train"]} == set(range(1, scenes.MOST + 1))
    heights = np.concatenate([s.boxes[:, 3] - s.boxes[:, 1] for s in some["train"]]) / 160
    assert heights.min() < 0.15 and heights.max() > 0.35


def test_bad_arguments_are_explained():
    with pytest.raises(UserError, match="must be train, valid or test; got 'val'"):
        scenes.scene(0, 0, "val")
    with pytest.raises(UserError, match="at least 96 pixels wide.*got 32"):
        scenes.scene(0, 0, size=32)


def test_a_folder_of_scenes_is_read_by_torchvision_and_by_us(tmp_path):
    """Boxes, classes and images come back; the oracle is torchvision's reader of Pascal VOC."""
    from torchvision.datasets import VOCDetection

    from helpers.data.voc import VocSet

    counts = {"train": 6, "valid": 3, "test": 2}
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    scenes.write_folder(folder, counts, seed=4, size=96)
    for spelled, split in (("train", "train"), ("val", "valid")):
        theirs = VOCDetection(tmp_path, year="2012", image_set=spelled)
        ours = VocSet(folder, split, 96, [str(k) for k in range(10)])
        assert len(theirs) == len(ours) == counts[split]
        for i, ((image, annotation), truth) in enumerate(zip(theirs, ours.truths())):
            one = scenes.scene(i, 4, split, 96)
            things = annotation["annotation"]["object"]
            assert [int(thing["name"]) for thing in things] == one.labels.tolist() == truth["labels"].tolist()
            corners = [[int(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax")] for thing in things]
            assert (np.array(corners) - [1, 1, 0, 0] == one.boxes).all() and (truth["boxes"] == one.boxes).all()
            assert np.abs(np.asarray(image).astype(int) - one.image.transpose(1, 2, 0)).mean() < 4
    with pytest.raises(UserError, match="not an empty folder"):
        scenes.write_folder(folder, counts)


def test_parts_of_mnist_share_no_digit():
    """In the order of a seed, or class by class; together they are the whole, and too much is refused."""
    images, labels = sets.mnist5k()
    (a, a_labels), (b, b_labels) = sets.split_digits(3000, 2000, seed=5)
    order = np.random.default_rng(5).permutation(5000)
    assert np.array_equal(np.concatenate([a, b]), images[order]) and np.array_equal(b_labels, labels[order[3000:]])
    parts = sets.split_digits(350, 50, 100, seed=8, per_class=True)
    assert [np.bincount(k).tolist() for _, k in parts] == [[350] * 10, [50] * 10, [100] * 10]
    rows = np.concatenate([x.reshape(len(x), -1) for x, _ in parts])
    assert len(np.unique(rows, axis=0)) == len(np.unique(images.reshape(5000, -1), axis=0))
    with pytest.raises(UserError, match="500 digits of each class; got a split into 450 [+] 51"):
        sets.split_digits(450, 51, seed=0, per_class=True)

"""What lecture 08 measures: the other evaluator, the ceiling of the coding, the arms of the ablation."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course.experiments import Record, arms
from helpers.yolo import experiments as yolo_study
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import kmeans_anchors, mean_best_iou
from helpers.yolo.loss import loss_v3


@pytest.fixture(scope="module")
def scenes():
    return yolo_study.draw(40, 0, "train", 96)


def noisy(truths, seed=0):
    """Detections: some objects missing, some boxes moved, some classes wrong."""
    rng = np.random.default_rng(seed)
    found = []
    for t in truths:
        kept = rng.random(len(t["boxes"])) < 0.8
        boxes = t["boxes"][kept].astype(float)
        boxes += rng.normal(0, 0.08, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)  # never inside out
        labels = np.where(rng.random(kept.sum()) < 0.8, t["labels"][kept], rng.integers(0, 10, kept.sum()))
        found.append({"boxes": boxes, "labels": labels, "scores": rng.random(kept.sum())})
    return found


def test_the_other_evaluator_agrees(scenes):
    found = noisy(scenes.truths())
    theirs = yolo_study.coco(found, scenes.truths(), 96)
    ours = evaluate(found, scenes.truths())
    assert 0.1 < ours.ap() < 0.9
    assert theirs == {"map": pytest.approx(ours.ap(), abs=1e-9), "map50": pytest.approx(ours.ap(0.5), abs=1e-9)}


def test_sizes_are_those_of_the_boxes(scenes):
    truths = scenes.truths()
    boxes = np.concatenate([t["boxes"] for t in truths])
    np.testing.assert_allclose(yolo_study.sizes(scenes), boxes[:, 2:] - boxes[:, :2], rtol=1e-5)


def test_anchor_curves(scenes):
    sizes = yolo_study.sizes(scenes)
    curves = yolo_study.anchor_curves((1, 4), 2, sizes[:60], sizes[60:])
    assert {c.shape for c in curves.values()} == {(2, 2)}
    first = mean_best_iou(sizes[60:].double(), kmeans_anchors(sizes[:60], 4, 0)).item()
    assert curves["k-means, 1 - IoU"][0, 1] == pytest.approx(first)
    everything = yolo_study.random_anchors(sizes, len(sizes))
    assert mean_best_iou(sizes.double(), everything) == pytest.approx(1)
    # one cluster under Euclid's distance is the mean
    torch.testing.assert_close(yolo_study.euclid_anchors(sizes, 1)[0], sizes.double().mean(0), rtol=1e-5, atol=1e-5)


def test_a_perfect_network_has_no_loss_and_finds_everything(scenes):
    """With anchors that differ enough, on fine grids, nothing collides."""
    anchors = kmeans_anchors(yolo_study.sizes(scenes), 6).float()
    masks, strides = [[0, 1, 2], [3, 4, 5]], (8, 16)
    few = scenes.truth[:8]
    heads = yolo_study.perfect_heads(few, anchors, masks, strides, (96, 96))
    assert [tuple(h.shape) for h in heads] == [(8, 45, 12, 12), (8, 45, 6, 6)]
    parts = loss_v3(heads, few, anchors, masks, (96, 96), box_loss="ciou")
    assert parts["box"] < 1e-3 and parts["loss"] < 0.1
    assert yolo_study.ceiling(scenes, anchors, masks, strides, (96, 96)).ap() > 0.98


def test_the_ceiling_of_one_coarse_grid_is_lower(scenes):
    anchors = kmeans_anchors(yolo_study.sizes(scenes), 1).float()
    coarse = yolo_study.ceiling(scenes, anchors, [[0]], (32,), (96, 96)).ap(0.5)
    kept = sum(len({(int(x * 3), int(y * 3)) for x, y, _, _, k in rows.tolist() if k >= 0}) for rows in scenes.truth)
    objects = int((scenes.truth[..., 4] >= 0).sum())
    # one object a cell of 3 x 3: mean recall is about the share of occupied cells, counted here by a set
    assert kept < objects and coarse == pytest.approx(kept / objects, abs=0.05)


def test_hits_by_hand():
    truth = [{"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([3])}]
    found = [
        {
            "boxes": torch.tensor([[0, 0, 10, 5.0], [0, 0, 10, 10], [0, 0, 10, 4]]),
            "labels": torch.tensor([3, 2, 3]),
            "scores": torch.tensor([0.5, 0.9, 0.7]),
        }
    ]
    scores, overlap = yolo_study.hits(found, truth, 0.45)
    assert scores.tolist() == [0.5] and overlap.tolist() == [0.5]


def test_every_arm_changes_one_thing_that_exists():
    assert set(arms("yolo-ablation", "small")) == set(yolo_study.ABLATION)
    for name, change in yolo_study.ABLATION.items():
        assert change.keys() <= yolo_study.BASE.keys()
        assert all(yolo_study.BASE[k] != v for k, v in change.items())
        assert len(change) == {"base": 0, "box loss of v3": 2, "one head": 2}.get(name, 1)


def test_coco_anchors_are_those_of_the_cfg():
    from darknet_oracle import config

    from helpers.yolo.darknet.cfg import read_cfg

    yolo = [s for s in read_cfg(config("yolov3-tiny")) if s.kind == "yolo"][0]
    assert np.reshape(yolo["anchors"], (6, 2)).tolist() == yolo_study.COCO_ANCHORS


@pytest.mark.parametrize(
    "arm, heads, anchors",
    [
        ("base", [3, 3], None),
        ("one head", [6], None),
        ("one anchor a head", [1, 1], None),
        ("COCO's anchors", [3, 3], np.array(yolo_study.COCO_ANCHORS) * 96 / 416),
    ],
)
def test_the_anchors_of_an_arm(arm, heads, anchors):
    data = yolo_study.draw(8, 0, "train", 96)
    model = yolo_study.train(data, yolo_study.ABLATION[arm], epochs=1, seed=0, width=4)
    assert [len(end.mask) for end in model.heads] == heads
    if anchors is None:
        anchors = kmeans_anchors(yolo_study.sizes(data), sum(heads))
    np.testing.assert_allclose(model.heads[0].anchors.numpy(), anchors, atol=0.006)  # a cfg has two decimals


def test_training_helps_and_the_score_sees_it():
    few = yolo_study.draw(8, 0, "train", 96)
    before = yolo_study.score(yolo_study.train(few, epochs=1, seed=0), few)
    after = yolo_study.score(yolo_study.train(few, epochs=160, seed=0), few)
    assert before["map50"] < 0.05 and after["map50"] > 0.15 and after["map"] > before["map"]
    assert set(after) == {"map", "map50", "map75", "map_small", "map_medium", "rank", "gap"}


@pytest.mark.parametrize("name", ["yolo-ablation", "yolo-v1"])
def test_recorded_command_on_a_tiny_scale(tmp_path, name):
    done = CliRunner().invoke(
        app, ["experiment", name, "--seeds", "1", "--scale", "tiny", "--folder", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == len(arms(name, "tiny"))
    record = Record(name, tmp_path)
    assert all(0 <= record[arm, "map50"][0] <= 1 for arm in arms(name, "tiny"))


def test_any_digit_looks_at_places_alone(scenes):
    truths = scenes.truths()
    wrong = [
        {
            "boxes": torch.tensor(t["boxes"]),
            "labels": torch.tensor((t["labels"] + 1) % 10),
            "scores": torch.ones(len(t["labels"])),
        }
        for t in truths
    ]
    assert evaluate(wrong, truths).ap(0.5) < 0.1 and yolo_study.place(wrong, truths) == pytest.approx(1)
    twice = [{k: torch.cat([v, v]) for k, v in one.items()} for one in wrong]  # doubles go, as in NMS
    assert [len(one["labels"]) for one in yolo_study.any_digit(twice)] == [len(t["labels"]) for t in truths]

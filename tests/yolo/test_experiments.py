"""What lecture 08b measures: the other evaluator, the arms of the ablation."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course.experiments import Record, arms
from helpers.yolo import experiments
from helpers.yolo.anchors import box_sizes
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import kmeans_anchors


@pytest.fixture(scope="module")
def scenes():
    return experiments.draw(40, 0, "train", 96)


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
    theirs = experiments.coco(found, scenes.truths(), 96)
    ours = evaluate(found, scenes.truths())
    assert 0.1 < ours.ap() < 0.9
    assert theirs == {"map": pytest.approx(ours.ap(), abs=1e-9), "map50": pytest.approx(ours.ap(0.5), abs=1e-9)}


def test_hits_by_hand():
    truth = [{"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([3])}]
    found = [
        {
            "boxes": torch.tensor([[0, 0, 10, 5.0], [0, 0, 10, 10], [0, 0, 10, 4]]),
            "labels": torch.tensor([3, 2, 3]),
            "scores": torch.tensor([0.5, 0.9, 0.7]),
        }
    ]
    scores, overlap = experiments.hits(found, truth, 0.45)
    assert scores.tolist() == [0.5] and overlap.tolist() == [0.5]


def test_every_arm_changes_one_thing_that_exists():
    assert set(arms("yolo-ablation", "small")) == set(experiments.ABLATION)
    for name, change in experiments.ABLATION.items():
        assert change.keys() <= experiments.BASE.keys()
        assert all(experiments.BASE[k] != v for k, v in change.items())
        assert len(change) == {"base": 0, "box loss of v3": 2, "one head": 2}.get(name, 1)


def test_coco_anchors_are_those_of_the_cfg():
    from darknet_oracle import config

    from helpers.yolo.darknet.cfg import read_cfg

    yolo = [s for s in read_cfg(config("yolov3-tiny")) if s.kind == "yolo"][0]
    assert np.reshape(yolo["anchors"], (6, 2)).tolist() == experiments.COCO_ANCHORS


@pytest.mark.parametrize(
    "arm, heads, anchors",
    [
        ("base", [3, 3], None),
        ("one head", [6], None),
        ("one anchor a head", [1, 1], None),
        ("COCO's anchors", [3, 3], np.array(experiments.COCO_ANCHORS) * 96 / 416),
    ],
)
def test_the_anchors_of_an_arm(arm, heads, anchors):
    data = experiments.draw(8, 0, "train", 96)
    model = experiments.train(data, experiments.ABLATION[arm], epochs=1, seed=0, width=4)
    assert [len(end.mask) for end in model.heads] == heads
    if anchors is None:
        anchors = kmeans_anchors(box_sizes(data), sum(heads))
    np.testing.assert_allclose(model.heads[0].anchors.numpy(), anchors, atol=0.006)  # a cfg has two decimals


def test_training_helps_and_the_score_sees_it():
    few = experiments.draw(8, 0, "train", 96)
    before = experiments.score(experiments.train(few, epochs=1, seed=0), few)
    after = experiments.score(experiments.train(few, epochs=160, seed=0), few)
    assert before["map50"] < 0.05 and after["map50"] > 0.15 and after["map"] > before["map"]
    assert set(after) == {"map", "map50", "map75", "map_small", "map_medium", "rank", "gap"}


@pytest.mark.parametrize("name", ["yolo-ablation", "yolo-v1", "yolo-confidence"])
def test_recorded_command_on_a_tiny_scale(tmp_path, name):
    done = CliRunner().invoke(
        app, ["experiment", name, "--seeds", "1", "--scale", "tiny", "--folder", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == len(arms(name, "tiny"))
    record = Record(name, tmp_path)
    assert all(0 <= record[arm, "map50"][0] <= 1 for arm in arms(name, "tiny"))


def test_any_digit_keeps_the_best_of_a_pile():
    one = {
        "boxes": torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]]),
        "scores": torch.tensor([0.5, 0.9, 0.1]),
        "labels": torch.tensor([1, 2, 3]),
    }
    [kept] = experiments.any_digit([one], 0.5)
    assert torch.allclose(kept["scores"], torch.tensor([0.9, 0.1])) and kept["labels"].tolist() == [0, 0]


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
    assert evaluate(wrong, truths).ap(0.5) < 0.1 and experiments.place(wrong, truths) == pytest.approx(1)
    twice = [{k: torch.cat([v, v]) for k, v in one.items()} for one in wrong]  # doubles go, as in NMS
    assert [len(one["labels"]) for one in experiments.any_digit(twice)] == [len(t["labels"]) for t in truths]


def test_objectness_alone_is_the_score_of_one_class():
    """With one class whose score is sure, score = objectness: then the usual detections are the same."""
    model, _ = experiments.train_detector(experiments.draw(8, 0, "train", 96), epochs=1, seed=0, width=4, residuals=0)
    images = experiments.draw(8, 0, "train", 96).images
    with torch.no_grad():
        for layer, head in zip(model.layers, list(model.layers)[1:]):
            if hasattr(head, "mask"):
                bias = layer.conv.bias.view(len(head.mask), -1)
                bias[:, 4], bias[:, 5], bias[:, 6:] = 0.0, 40.0, -40.0
    alone = experiments.detect_objects(model, images, threshold=0.3)
    usual = experiments.detect_batch(model, images, threshold=0.3)
    assert sum(len(one["scores"]) for one in alone) > 0
    for a, b in zip(alone, usual):
        for key in ("boxes", "scores", "labels"):
            torch.testing.assert_close(a[key], b[key])


def test_reliability_by_hand():
    truth = [{"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([0])}]
    found = [
        {
            "boxes": torch.tensor([[0, 0, 10, 8.0], [20, 20, 30, 30]]),
            "labels": torch.tensor([0, 0]),
            "scores": torch.tensor([0.95, 0.15]),
        }
    ]
    gauge = experiments.reliability(found, truth)  # a hit with IoU 0.8, and a miss
    assert gauge["hits"] == pytest.approx((0.05 + 0.15) / 2) and gauge["iou error"] == pytest.approx((0.15 + 0.15) / 2)

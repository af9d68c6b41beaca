"""Scores of pictures that are drawn again: the same as the evaluation of a list that holds them again."""

import numpy as np
import pytest

from helpers.yolo import experiments, resample
from helpers.yolo.average_precision import evaluate, sort_mistakes


@pytest.fixture(scope="module")
def pair():
    truths, rng, found = experiments.draw(30, 0, "train", 96).truths(), np.random.default_rng(0), []
    for t in truths:  # some objects missing, some boxes moved, some classes wrong
        kept = rng.random(len(t["boxes"])) < 0.8
        boxes = t["boxes"][kept] + rng.normal(0, 1, (kept.sum(), 4))
        labels = np.where(rng.random(kept.sum()) < 0.8, t["labels"][kept], rng.integers(0, 10, kept.sum()))
        found.append({"boxes": boxes, "labels": labels, "scores": rng.random(kept.sum())})
    return found, truths


@pytest.mark.parametrize("seed", range(4))
def test_pictures_that_are_drawn_twice_count_twice(pair, seed):
    found, truths = pair
    rows = np.arange(30) if seed == 0 else np.random.default_rng(seed).integers(0, 30, 30)
    again = evaluate([found[i] for i in rows], [truths[i] for i in rows])
    for threshold in (0.5, 0.75):
        score = resample.average_precision(found, truths, threshold)
        assert score(rows) == pytest.approx(again.ap(threshold), abs=1e-9) and 0.05 < score(rows) < 0.95
    counts = sort_mistakes([found[i] for i in rows], [truths[i] for i in rows])
    missing = sum(len(truths[i]["labels"]) for i in rows) - counts["correct"]
    wrong = sum(len(found[i]["labels"]) for i in rows) - counts["correct"]
    expected = counts["correct"] / (counts["correct"] + (missing + wrong) / 2)  # the closed form of F1
    assert resample.f1(found, truths)(rows) == pytest.approx(expected)


def test_pictures_without_detections_or_objects(pair):
    truths = pair[1][:3]
    nothing = [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}] * 3
    assert resample.average_precision(nothing, truths)([0, 1, 2]) == 0 == resample.f1(nothing, truths)([0, 0, 1])

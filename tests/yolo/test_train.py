"""Training a detector: what it learns in a minute, the way of boxes back into the picture, files."""

import json

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster

from helpers.course.errors import UserError
from helpers.yolo import scene_set
from helpers.yolo import train as yolo_train
from helpers.yolo.average_precision import evaluate_dataset
from helpers.yolo.detect import detect_dataset


def coco(found, data):
    """faster-coco-eval's mAP and mAP50 of the same detections."""
    truths = data.truths()
    pictures = [{"id": i + 1, "height": h, "width": w} for i, (h, w) in enumerate(data.shapes)]
    boxes = [(i, b, k) for i, t in enumerate(truths) for b, k in zip(t["boxes"].tolist(), t["labels"].tolist())]
    annotations = [
        {
            "id": n + 1,
            "image_id": i + 1,
            "category_id": k + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        for n, (i, (x0, y0, x1, y1), k) in enumerate(boxes)
    ]
    names = [{"id": k + 1, "name": name} for k, name in enumerate(data.classes)]
    truth = COCO({"images": pictures, "annotations": annotations, "categories": names})
    rows = [
        {"image_id": i + 1, "category_id": k + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": s}
        for i, one in enumerate(found)
        for (x0, y0, x1, y1), k, s in zip(
            one["boxes"].double().tolist(), one["labels"].tolist(), one["scores"].double().tolist()
        )
    ]
    evaluation = COCOeval_faster(truth, truth.loadRes(rows), "bbox", print_function=lambda *a: None)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[:2]


def test_what_is_learnt_by_heart_is_found_and_coco_agrees(twelve):
    model, result, data = twelve
    found = detect_dataset(model, data)
    scores = evaluate_dataset(found, data)
    assert scores["map50"] > 0.95 and scores["map"] > 0.5
    assert coco(found, data) == pytest.approx([scores["map"], scores["map50"]], abs=1e-10)
    assert sum(c["n"] for c in scores["classes"].values()) == sum(map(len, data.labels))
    assert np.nanmean([c["map"] for c in scores["classes"].values()]) == pytest.approx(scores["map"], abs=1e-12)
    judged = [e["epoch"] for e in result.history if "valid_map" in e]
    assert judged[-1] == 160 and min(judged) >= 80 and 3 <= len(judged) <= 4
    assert result.best["valid_map"] == max(e.get("valid_map", 0) for e in result.history) == scores["map"]


def test_a_saved_model_finds_the_same(twelve, tmp_path):
    model, _, data = twelve
    path = yolo_train.save(tmp_path / "model.safetensors", model)
    again = yolo_train.load(path)
    assert again.config["classes"] == data.classes and again.size == (96, 96)
    for a, b in zip(detect_dataset(model, data), detect_dataset(again, data, batch_size=5)):
        assert len(a["boxes"]) == len(b["boxes"]) and torch.allclose(a["boxes"], b["boxes"], atol=1e-2)


def test_few_sizes_still_give_all_anchors():
    data = scene_set.SceneSet(1, size=96)
    data.truth = torch.tensor([[[0.5, 0.5, 0.25, 0.5, 3], [0.5, 0.5, 0.25, 0.5, 4]]])
    assert yolo_train.anchors_of(data, 6).tolist() == [[24, 48]] * 6
    data.truth = data.truth * 0 - 1
    with pytest.raises(UserError, match="no object to learn from"):
        yolo_train.anchors_of(data, 6)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (((8, 12), 160, "ciou"), "powers of 2"),
        (((8, 16), 100, "ciou"), "multiple of the largest stride, 16"),
        (((8, 16), 160, "l2"), "one of v3, iou, giou, ciou"),
        (((), 160, "ciou"), "strides"),
    ],
)
def test_impossible_settings_are_named(arguments, words):
    with pytest.raises(UserError, match=words):
        yolo_train.check(*arguments)


def test_other_files_are_no_detectors(tmp_path):
    from helpers.course.training import save_model

    save_model(tmp_path / "m.safetensors", torch.nn.Linear(1, 1), {"classes": ["a"]})
    with pytest.raises(UserError, match="holds no detector"):
        yolo_train.load(tmp_path / "m.safetensors")
    assert json.dumps(yolo_train.RECIPES)

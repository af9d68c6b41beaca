"""Training a detector: what it learns in a minute, the way of boxes back into the picture, files."""

import json

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from voc_folder import write_voc

from helpers.course.errors import UserError
from helpers.data import voc
from helpers.yolo import scene_set
from helpers.yolo import train as yolo_train
from helpers.yolo.model import make_augment


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


@pytest.fixture(scope="module")
def trained():
    """Twelve scenes by heart: (model, result, data)."""
    data = scene_set.SceneSet(12, size=96)
    model, result = yolo_train.train_detector(
        data,
        data,
        epochs=160,
        width=8,
        residuals=1,
        batch_size=6,
        lr=8e-3,
        device="cpu",
        judgements=3,
        augment=make_augment(zoom=1.0, shift=0.0, colour=0.0),
    )
    return model, result, data


def test_what_is_learnt_by_heart_is_found_and_coco_agrees(trained):
    model, result, data = trained
    found = yolo_train.find(model, data)
    scores = yolo_train.score(found, data)
    assert scores["map50"] > 0.95 and scores["map"] > 0.5
    assert coco(found, data) == pytest.approx([scores["map"], scores["map50"]], abs=1e-10)
    assert sum(c["n"] for c in scores["classes"].values()) == sum(map(len, data.labels))
    assert np.nanmean([c["map"] for c in scores["classes"].values()]) == pytest.approx(scores["map"], abs=1e-12)
    judged = [e["epoch"] for e in result.history if "valid_map" in e]
    assert judged[-1] == 160 and min(judged) >= 80 and 3 <= len(judged) <= 4
    assert result.best["valid_map"] == max(e.get("valid_map", 0) for e in result.history) == scores["map"]


def test_a_saved_model_finds_the_same(trained, tmp_path):
    model, _, data = trained
    path = yolo_train.save(tmp_path / "model.safetensors", model)
    again = yolo_train.load(path)
    assert again.config["classes"] == data.classes and again.size == (96, 96)
    for a, b in zip(yolo_train.find(model, data), yolo_train.find(again, data, batch_size=5)):
        assert len(a["boxes"]) == len(b["boxes"]) and torch.allclose(a["boxes"], b["boxes"], atol=1e-2)


def test_boxes_come_back_into_the_pixels_of_the_file(trained, tmp_path):
    """The same scenes as files of twice the size, on a wider canvas: the boxes are where they are drawn there."""
    model, _, data = trained
    write_voc(tmp_path, data.images.numpy(), data.boxes, [[str(k) for k in ks] for ks in data.labels], enlarge=2)
    files = voc.VocSet(tmp_path, "train", (96, 96), data.classes)
    assert files.shapes[0] == (192, 192) and files.boxes[0].max() > 96
    assert yolo_train.score(yolo_train.find(model, files), files)["map50"] > 0.9


def test_boxes_are_cut_at_the_edges_of_the_picture():
    found = {"boxes": torch.tensor([[-5.0, 0, 70, 64]]), "scores": torch.ones(1), "labels": torch.zeros(1)}
    there = yolo_train.in_picture(found, (100, 200), (64, 64))  # fitted: 32 x 64 with 16 grey above
    assert there["boxes"].tolist() == [[0, 0, 200, 100]]


def test_few_sizes_still_give_all_anchors():
    data = scene_set.SceneSet(1, size=96)
    data.truth = torch.tensor([[[0.5, 0.5, 0.25, 0.5, 3], [0.5, 0.5, 0.25, 0.5, 4]]])
    assert yolo_train.anchors_of(data, 6).tolist() == [[24, 48]] * 6
    data.truth = data.truth * 0 - 1
    with pytest.raises(UserError, match="no object to learn from"):
        yolo_train.anchors_of(data, 6)


def test_quick_is_a_function_of_its_seed():
    one, two, other = (yolo_train.quick(s, n=12, epochs=1, size=96, width=4, device="cpu")[0] for s in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters())]
    assert all(same) and not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (((8, 12), 160, "ciou"), "powers of 2"),
        (((8, 16), 100, "ciou"), "multiple of the largest stride, 16"),
        (((8, 16), 160, "l2"), "choose v3"),
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

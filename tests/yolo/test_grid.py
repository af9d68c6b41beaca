"""How boxes are coded in a grid: there and back, and which anchors answer."""

import numpy as np
import torch
from random_truth import ANCHORS, CLASSES, MASKS, objects

from helpers.yolo import grid as yolo


def test_what_is_encoded_is_decoded():
    """Logits made of the targets give the objects back, each in its own place and class."""
    truth = objects(12, 7)
    best = yolo.best_anchor(truth, ANCHORS, (128, 160))
    found = []
    for mask, grid in zip(MASKS, [(4, 5), (8, 10)]):
        target = yolo.targets(truth, best, mask, ANCHORS, grid, (128, 160), CLASSES)
        code = yolo.offsets(target.box, ANCHORS[mask], (128, 160))
        raw = torch.cat(
            [
                torch.logit(code[..., :2]),
                code[..., 2:],
                torch.logit(target.present.float())[..., None],
                torch.logit(target.classes),
            ],
            -1,
        )
        boxes, scores = yolo.decode_v3(raw.movedim(-1, 2).flatten(1, 2), ANCHORS[mask], (128, 160))
        found.append(torch.cat([boxes, scores], -1)[scores.amax(-1) > 0.5])
    found = torch.cat(found)
    rows = truth[0, :12]
    nearest = (found[:, None, :4] - rows[:, :4]).abs().amax(-1)
    assert len(found) == 12 and nearest.amin(0).max() < 1e-6
    assert torch.equal(found[nearest.argmin(0), 4:].argmax(-1), rows[:, 4].long())


def test_each_object_has_one_owner_on_the_head_of_its_best_anchor():
    truth = objects(15, 11)
    best = yolo.best_anchor(truth, ANCHORS, (256, 256))
    shapes = truth[0, :15, None, 2:4] * 256
    overlap = torch.minimum(shapes, ANCHORS).prod(-1)
    overlap = overlap / (shapes.prod(-1) + ANCHORS.prod(-1) - overlap)
    assert torch.equal(best[0, :15], overlap.argmax(-1))
    count = [
        yolo.targets(truth, best, mask, ANCHORS, grid, (256, 256), CLASSES).present.sum()
        for mask, grid in zip(MASKS, [(32, 32), (64, 64)])
    ]
    assert sum(count) == 15


def test_with_anchor_iou_several_anchors_answer_for_an_object():
    """One shape, one grid: the answering anchors are those that torchvision's IoU of centred boxes puts above it."""
    from torchvision.ops import box_iou

    truth = objects(15, 11)
    half = torch.cat([-truth[0, :15, 2:4], truth[0, :15, 2:4]], 1) * 128
    overlap = box_iou(half, torch.cat([-ANCHORS, ANCHORS], 1) / 2)  # (15, 6)
    for least in (0.2, 0.4, 1.0):
        expected = (overlap > least) | (overlap == overlap.amax(1, keepdim=True))
        many = yolo.responsible_anchors(truth, ANCHORS, (256, 256), least)
        assert torch.equal(many[0, :15], expected) and (least < 1) == (expected.sum() > 15)
        present = sum(
            yolo.targets(truth, many, mask, ANCHORS, (256, 256), (256, 256), CLASSES).present.sum() for mask in MASKS
        )
        assert present == expected.sum()  # on so fine a grid no two objects share a cell
    best = yolo.best_anchor(truth, ANCHORS, (256, 256))
    assert torch.equal(yolo.responsible_anchors(truth, ANCHORS, (256, 256)).int().argmax(-1)[0, :15], best[0, :15])


def test_truth_is_padded():
    truth = yolo.pad_truth([np.array([[10.0, 20, 30, 60]]), np.zeros((0, 4))], [np.array([2]), np.array([])], 100, 200)
    assert truth.shape == (2, 1, 5)
    assert torch.allclose(truth[0, 0], torch.tensor([0.1, 0.4, 0.1, 0.4, 2])) and truth[1, 0, 4] == -1

"""The losses of YOLOv2 and YOLOv3, written so that their derivative is minus the `delta` that Darknet computes.

Shapes as in `yolo.grid`. Formulas: Redmon and Farhadi, "YOLO9000" (2017) and "YOLOv3: An Incremental Improvement"
(2018), and what their program Darknet does where the papers are silent (tests/yolo/test_loss.py).
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from helpers.course.errors import UserError
from helpers.yolo.boxes import ciou, cxcywh_to_xyxy, giou, iou
from helpers.yolo.grid import best_anchor, decode, is_object, offsets, responsible_anchors, split, targets

# ---------------------------------------------------------------- losses


def _bce(logits, target):
    return binary_cross_entropy_with_logits(logits, target, reduction="none")


def _best_overlap(boxes, truth):
    """The best IoU of each predicted box with any object of any class: (B, A, H, W)."""
    valid, objects = is_object(truth), cxcywh_to_xyxy(truth[..., :4])
    overlap = iou(cxcywh_to_xyxy(boxes.flatten(1, 3))[:, :, None], objects[:, None])  # (B, AHW, T)
    return (overlap * valid[:, None]).amax(-1).view(boxes.shape[:-1])


def _coordinates(raw, wanted):
    """BCE of x and y plus half the squared error of t_w and t_h: (B, A, H, W)."""
    return _bce(raw[..., :2], wanted[..., :2]).sum(-1) + 0.5 * (raw[..., 2:4] - wanted[..., 2:]).square().sum(-1)


def loss_v3(heads, truth, anchors, masks, size, ignore=0.7, box_loss="v3", rescore=False, anchor_iou=1.0):
    """The loss of YOLOv3, summed over the batch: a dict of "loss" and its parts.

    heads: one logits tensor per scale; anchors (n, 2) in pixels, all scales'; masks: the anchors of each
    head, lists or index tensors; size (height, width) of the input. Per anchor and cell, o the objectness:
      no object:  BCE(o, 0), left out where the predicted box has IoU > `ignore` with some object
      an object:  BCE(o, 1) + sum_k BCE(class_k) + (2 - w h) (BCE(x) + BCE(y) + (dt_w^2 + dt_h^2) / 2).
    Note: nothing here tells the objectness to be P(object) x IoU, as in v1 and v2; `rescore` would, it
    replaces BCE(o, 1) by BCE(o, IoU). box_loss "iou", "giou" or "ciou" replaces the last bracket by
    1 - IoU (and so on) of the decoded box. anchor_iou: see `responsible_anchors`.
    """
    if box_loss not in ("v3", "iou", "giou", "ciou"):
        raise UserError(f"box_loss '{box_loss}': choose v3, iou, giou or ciou")
    parts = {"box": 0.0, "objectness": 0.0, "class": 0.0}
    best = responsible_anchors(truth, anchors, size, anchor_iou)
    for logits, mask in zip(heads, masks):
        raw = split(logits, len(mask))  # (B, A, H, W, 5 + K)
        own = anchors[mask]
        target = targets(truth, best, mask, anchors, raw.shape[2:4], size, raw.shape[-1] - 5)
        boxes = decode(raw, own, size)
        with torch.no_grad():
            counts = target.present | (_best_overlap(boxes, truth) <= ignore)
            wanted = target.present.to(raw.dtype)
            if rescore:
                wanted = wanted * iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target.box))
        weight = target.present * (2 - target.box[..., 2] * target.box[..., 3])
        if box_loss == "v3":
            error = _coordinates(raw, offsets(target.box, own, size))
        else:
            overlap = {"iou": iou, "giou": giou, "ciou": ciou}[box_loss]
            error = 1 - overlap(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target.box))
        parts["box"] = parts["box"] + (weight * error).sum()
        parts["objectness"] = parts["objectness"] + (counts * _bce(raw[..., 4], wanted)).sum()
        classes = _bce(raw[..., 5:], target.classes).sum(-1)
        parts["class"] = parts["class"] + (target.present * classes).sum()
    return {"loss": parts["box"] + parts["objectness"] + parts["class"], **parts}


def loss_v2(
    logits,
    truth,
    anchors,
    threshold=0.6,
    coord_scale=1.0,
    object_scale=5.0,
    noobject_scale=1.0,
    class_scale=1.0,
    bias_match=True,
    rescore=True,
    softmax=True,
    young=False,
):
    """The loss of YOLOv2 (Darknet's [region]), summed over the batch: a dict of "loss" and its parts.

    anchors (A, 2) in cells. Unlike v3: the objectness of a responsible anchor is told to be the IoU
    (`rescore`), classes are exclusive (`softmax`), each part has its scale, and for the first 12,800
    pictures (`young`) every box is drawn to its anchor with weight 0.01.
    """
    raw = split(logits, len(anchors))
    size = grid = raw.shape[2:4]
    boxes = decode(raw, anchors, size)
    best = best_anchor(truth, anchors, size) if bias_match else _best_prediction(boxes.detach(), truth)
    every = torch.arange(len(anchors), device=raw.device)
    target = targets(truth, best, every, anchors, grid, size, raw.shape[-1] - 5)
    with torch.no_grad():
        overlap = iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target.box))
        wanted = target.present * (overlap if rescore else 1.0)
        empty = noobject_scale * (_best_overlap(boxes, truth) <= threshold)
        confidence = torch.where(target.present, object_scale, empty)
        far = coord_scale * (2 - target.box[..., 2] * target.box[..., 3])
        weight = torch.where(target.present, far, 0.01 if young else 0.0)
    box = (weight * _coordinates(raw, offsets(target.box, anchors, size))).sum()
    objectness = (confidence * _bce(raw[..., 4], wanted)).sum()
    if softmax:
        label = truth[torch.arange(len(truth), device=truth.device)[:, None, None, None], target.owner, 4]
        label = label.long().clamp(min=0)[..., None]
        classes = -log_softmax(raw[..., 5:], -1).gather(-1, label)[..., 0]
    else:
        classes = _bce(raw[..., 5:], target.classes).sum(-1)
    classes = class_scale * (target.present * classes).sum()
    return {"loss": box + objectness + classes, "box": box, "objectness": objectness, "class": classes}


def _best_prediction(boxes, truth):
    """Without `bias_match`: the anchor whose *predicted* shape in the object's cell overlaps it most."""
    b, _, h, w, _ = boxes.shape
    column = (truth[..., 0] * w).long().clamp(0, w - 1)
    row = (truth[..., 1] * h).long().clamp(0, h - 1)
    there = boxes[torch.arange(b, device=boxes.device)[:, None], :, row, column]  # (B, T, A, 4)
    smaller = torch.minimum(there[..., 2:], truth[:, :, None, 2:4]).prod(-1)
    return (smaller / (there[..., 2:].prod(-1) + truth[:, :, None, 2:4].prod(-1) - smaller)).argmax(-1)

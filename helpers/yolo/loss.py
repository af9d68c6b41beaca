"""The loss of YOLOv3, written so that its derivative is minus the `delta` that Darknet computes.

Shapes as in `yolo.grid`. Formulas: Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (2018), and what
their program Darknet does where the paper is silent (tests/yolo/test_loss.py).
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from helpers.course.errors import UserError
from helpers.yolo.boxes import ciou, cxcywh_to_xyxy, giou, iou
from helpers.yolo.grid import decode, is_object, offsets, responsible_anchors, split, targets

BOX_LOSSES = ("v3", "iou", "giou", "ciou")


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
    if box_loss not in BOX_LOSSES:
        raise UserError(f"the box loss must be one of {', '.join(BOX_LOSSES)}; got {box_loss!r}")
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

"""YOLO: how boxes are coded in a grid, what the network is told, its loss, and the way back to boxes.

Everywhere: logits (B, A (5 + K), H, W) are a head's raw outputs for A anchors and K classes on a grid of
H x W cells, per anchor in the order x, y, w, h, objectness, classes. Boxes are (centre x, centre y, width,
height) as fractions 0..1 of the network's input. The objects of a batch are one padded tensor
`truth` (B, T, 5) of x, y, w, h, class, T >= 1; class -1 marks an empty row.

Formulas: Redmon and Farhadi, "YOLO9000" (2017) and "YOLOv3: An Incremental Improvement" (2018), and what
their program Darknet does where the papers are silent. The losses are written so that their derivative is
minus the `delta` that Darknet computes (tests/test_yolo.py).
"""

from typing import NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, log_softmax, pad

from helpers.data import UserError
from helpers.detection import batched_nms, ciou, cxcywh_to_xyxy, giou, iou, size_iou

# ---------------------------------------------------------------- pictures in, boxes out


def fitted(height, width, to_height, to_width):
    """The largest size (h, w) with the picture's proportions that fits into the network's input."""
    if to_width * height < to_height * width:
        return height * to_width // width, to_width
    return to_height, width * to_height // height


def letterbox(images, height, width):
    """Scale pictures (..., C, H, W) in 0..1 to fit height x width, the rest grey (0.5), centred.

    Bilinear between the corner pixels' *centres* (`align_corners=True`), as Darknet does.
    """
    shape, images = images.shape, images.reshape(-1, *images.shape[-3:])
    h, w = fitted(*shape[-2:], height, width)
    if min(h, w) < 2:
        raise UserError(
            f"a picture of {shape[-1]} x {shape[-2]} pixels is too long and thin to be scaled to {width} x {height}"
        )
    scaled = interpolate(images, (h, w), mode="bilinear", align_corners=True)
    left, top = (width - w) // 2, (height - h) // 2
    boxed = pad(scaled, (left, width - w - left, top, height - h - top), value=0.5)
    return boxed.reshape(*shape[:-2], height, width)


def unletterbox(boxes, height, width, net_height, net_width):
    """Boxes (..., 4) cxcywh, fractions of the letterboxed input -> cxcywh in the picture's pixels."""
    h, w = fitted(height, width, net_height, net_width)
    x, y, bw, bh = boxes.unbind(-1)
    x = (x - (net_width - w) / 2 / net_width) / (w / net_width) * width
    y = (y - (net_height - h) / 2 / net_height) / (h / net_height) * height
    return torch.stack([x, y, bw * net_width / w * width, bh * net_height / h * height], -1)


def split(logits, anchors):
    """(B, A (5 + K), H, W) -> (B, A, H, W, 5 + K)."""
    b, _, h, w = logits.shape
    return logits.view(b, anchors, -1, h, w).movedim(2, -1)


def decode(raw, anchors, size):
    """Boxes of a v2 or v3 head: raw (B, A, H, W, 4+), anchors (A, 2) -> (B, A, H, W, 4) cxcywh.

    b_x = (sigma(t_x) + column) / W, b_w = anchor_w e^(t_w) / width; y and h alike. `size` = (height, width)
    in the anchors' unit: the network's input for v3 (pixels), the grid for v2 (cells).
    """
    h, w = raw.shape[2:4]
    column = torch.arange(w, device=raw.device, dtype=raw.dtype)  # (W,)
    row = torch.arange(h, device=raw.device, dtype=raw.dtype)[:, None]  # (H, 1)
    x = (raw[..., 0].sigmoid() + column) / w
    y = (raw[..., 1].sigmoid() + row) / h
    anchors = anchors[:, None, None]  # (A, 1, 1, 2)
    bw = raw[..., 2].exp() * anchors[..., 0] / size[1]
    bh = raw[..., 3].exp() * anchors[..., 1] / size[0]
    return torch.stack([x, y, bw, bh], -1)


def decode_v3(logits, anchors, size):
    """A v3 head's boxes (B, N, 4) and scores (B, N, K) = objectness x class, classes independent."""
    raw = split(logits, len(anchors))
    scores = raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()
    return decode(raw, anchors, size).flatten(1, 3), scores.flatten(1, 3)


def decode_v2(logits, anchors, softmax=True):
    """A v2 head's boxes (B, N, 4) and scores (B, N, K); anchors (A, 2) in cells, classes exclusive."""
    raw = split(logits, len(anchors))
    classes = raw[..., 5:].softmax(-1) if softmax else raw[..., 5:].sigmoid()
    scores = raw[..., 4:5].sigmoid() * classes
    return decode(raw, anchors, raw.shape[2:4]).flatten(1, 3), scores.flatten(1, 3)


def decode_v1(output, side, num, classes, sqrt=True):
    """A v1 output (B, S^2 (K + 5 n)) -> boxes (B, S^2 n, 4), scores (B, S^2 n, K).

    It holds first the S x S x K class probabilities, then S x S x n confidences, then the boxes: x, y in
    their cell, and (with `sqrt`) the square roots of width and height as fractions of the picture.
    """
    cells = side * side
    probability, confidence, box = output.split([cells * classes, cells * num, cells * num * 4], 1)
    scores = confidence.view(-1, cells, num, 1) * probability.view(-1, cells, 1, classes)
    box = box.view(-1, side, side, num, 4)
    grid = torch.arange(side, device=output.device, dtype=output.dtype)
    x, y = (box[..., 0] + grid[:, None]) / side, (box[..., 1] + grid[:, None, None]) / side
    sides = box[..., 2:].square() if sqrt else box[..., 2:]
    boxes = torch.cat([x[..., None], y[..., None], sides], -1)
    return boxes.flatten(1, 3), scores.flatten(1, 2)


def detections(boxes, scores, threshold=0.25, nms=0.45, most=None, candidates=5000):
    """One picture's boxes (N, 4) cxcywh and scores (N, K) -> {"boxes" xyxy, "scores", "labels"}, best first.

    Every class of a box with score > threshold is a detection of its own; NMS within each class; the best
    `most`. If there are more than `candidates` before NMS, the others are dropped: NMS would take long.
    """
    index, labels = (scores > threshold).nonzero(as_tuple=True)
    if len(index) > candidates:
        best = scores[index, labels].topk(candidates).indices.sort()[0]
        index, labels = index[best], labels[best]
    boxes, scores = cxcywh_to_xyxy(boxes[index]), scores[index, labels]
    kept = batched_nms(boxes, scores, labels, nms)[:most]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


@torch.no_grad()
def find(decoded, images, device, threshold=0.005, nms=0.45, most=100, batch_size=64):
    """Detections for pictures (N, 3, H, W) uint8: one dict a picture, boxes xyxy in pixels, on the CPU.

    `decoded`: (B, 3, H, W) in 0..1 on `device` -> boxes (B, n, 4) cxcywh as fractions, scores (B, n, K).
    """
    height, width = images.shape[-2:]
    found = []
    for batch in torch.as_tensor(images).split(batch_size):
        boxes, scores = decoded(batch.to(device).float() / 255)
        boxes = (boxes * boxes.new_tensor([width, height, width, height])).cpu()
        # an untrained network finds thousands of boxes: ten times `most` are enough for NMS
        found += [detections(b, s, threshold, nms, most, 10 * most) for b, s in zip(boxes, scores.cpu())]
    return found


# ---------------------------------------------------------------- what the network is told


class Targets(NamedTuple):
    present: torch.Tensor  # (B, A, H, W) bool: this anchor in this cell is responsible for an object
    box: torch.Tensor  # (B, A, H, W, 4) that object, cxcywh; where absent the anchor in mid-cell
    owner: torch.Tensor  # (B, A, H, W) its row in `truth`; where absent 0
    classes: torch.Tensor  # (B, A, H, W, K) 0 or 1


def is_object(truth):
    """(B, T, 5) -> (B, T) bool: rows that hold an object with an area."""
    return (truth[..., 4] >= 0) & (truth[..., 2:4] > 0).all(-1)


def best_anchor(truth, anchors, size):
    """The anchor whose shape overlaps each object most: (B, T); `size` = (height, width) in its unit."""
    sizes = torch.stack([truth[..., 2] * size[1], truth[..., 3] * size[0]], -1)  # (B, T, 2)
    return size_iou(sizes.flatten(0, 1), anchors).argmax(1).view(truth.shape[:2])


def responsible_anchors(truth, anchors, size, anchor_iou=1.0):
    """Which anchors (n, 2) answer for each object: (B, T, n) bool. The `best_anchor`, and those whose shape
    overlaps it by more than `anchor_iou`: more cells then learn from each object (Bochkovskiy et al.,
    "YOLOv4", 2020). `size` = (height, width) in the anchors' unit."""
    sizes = torch.stack([truth[..., 2] * size[1], truth[..., 3] * size[0]], -1)  # (B, T, 2)
    overlap = size_iou(sizes.flatten(0, 1), anchors).view(*truth.shape[:2], len(anchors))
    return torch.nn.functional.one_hot(overlap.argmax(-1), len(anchors)).bool() | (overlap > anchor_iou)


def targets(truth, best, mask, anchors, grid, size, classes):
    """Spread the objects over the grid of the head that owns the anchors `mask`. -> Targets

    An object belongs to the cell its centre lies in and to its `best` anchor (B, T) of *all* heads'
    `anchors` (n, 2), or to several, (B, T, n) bool. If two claim the same anchor in the same cell, the box
    is the later one's and the classes of both count. All of it is dense and needs no look at the numbers,
    so no GPU waits.
    """
    (b, t), (h, w), a = truth.shape[:2], grid, len(mask)
    if best.dtype != torch.bool:
        best = torch.nn.functional.one_hot(best, len(anchors)).bool()
    mine = best[..., mask] & is_object(truth)[..., None]  # (B, T, a)
    column = (truth[..., 0] * w).long().clamp(0, w - 1)
    row = (truth[..., 1] * h).long().clamp(0, h - 1)
    picture = torch.arange(b, device=truth.device)[:, None]
    slot = torch.arange(a, device=truth.device)
    cell = ((picture[..., None] * a + slot) * h + row[..., None]) * w + column[..., None]
    cells = b * a * h * w
    cell = torch.where(mine, cell, cells).flatten()  # `cells`: nobody's place
    number = torch.arange(1, t + 1, device=truth.device)[:, None].expand(b, t, a).flatten()
    owner = torch.zeros(cells + 1, dtype=torch.long, device=truth.device)
    owner = owner.scatter_reduce(0, cell, number, "amax")[:-1].view(b, a, h, w)
    present, owner = owner > 0, (owner - 1).clamp(min=0)

    empty = decode(truth.new_zeros(1, a, h, w, 4), anchors[mask], size)  # the anchor in mid-cell
    box = torch.where(present[..., None], truth[picture[..., None, None], owner, :4], empty)
    label = torch.nn.functional.one_hot(truth[..., 4].long().clamp(min=0), classes).to(truth.dtype)
    many = truth.new_zeros(cells + 1, classes)
    label = label[:, :, None].expand(b, t, a, classes).reshape(-1, classes)
    many = many.scatter_reduce(0, cell[:, None].expand(-1, classes), label, "amax")
    return Targets(present, box, owner, many[:-1].view(b, a, h, w, classes))


def offsets(box, anchors, size):
    """`decode` backwards: boxes (B, A, H, W, 4) -> sigma(t_x), sigma(t_y), t_w, t_h."""
    h, w = box.shape[2:4]
    column = torch.arange(w, device=box.device, dtype=box.dtype)
    row = torch.arange(h, device=box.device, dtype=box.dtype)[:, None]
    anchors = anchors[:, None, None]
    tw, th = (box[..., 2] * size[1] / anchors[..., 0]).log(), (box[..., 3] * size[0] / anchors[..., 1]).log()
    return torch.stack([box[..., 0] * w - column, box[..., 1] * h - row, tw, th], -1)


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

"""YOLO: how boxes are coded in a grid, what the network is told, and the way back to boxes.

Everywhere: logits (B, A (5 + K), H, W) are a head's raw outputs for A anchors and K classes on a grid of
H x W cells, per anchor in the order x, y, w, h, objectness, classes. Boxes are (centre x, centre y, width,
height) as fractions 0..1 of the network's input. The objects of a batch are one padded tensor
`truth` (B, T, 5) of x, y, w, h, class, T >= 1; class -1 marks an empty row.

Formulas: Redmon and Farhadi, "YOLO9000" (2017) and "YOLOv3: An Incremental Improvement" (2018), and what
their program Darknet does where the papers are silent.
"""

from typing import NamedTuple

import torch

from helpers.yolo.boxes import size_iou, xyxy_to_cxcywh


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


# ---------------------------------------------------------------- what the network is told


def pad_truth(boxes, labels, height, width):
    """Lists of xyxy boxes in pixels (n_i, 4) and labels (n_i,) -> `truth` (N, T, 5), see above."""
    truth = torch.zeros(len(labels), max([1, *map(len, labels)]), 5)
    truth[..., 4] = -1
    for row, box, label in zip(truth, boxes, labels):
        if len(label):
            box = torch.as_tensor(box).float() / torch.tensor([width, height, width, height])
            row[: len(label), :4], row[: len(label), 4] = xyxy_to_cxcywh(box), torch.as_tensor(label).float()
    return truth


class Targets(NamedTuple):
    present: torch.Tensor  # (B, A, H, W) bool: this anchor in this cell is responsible for an object
    box: torch.Tensor  # (B, A, H, W, 4) that object, cxcywh; where absent the anchor in mid-cell
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
    image = torch.arange(b, device=truth.device)[:, None]
    slot = torch.arange(a, device=truth.device)
    cell = ((image[..., None] * a + slot) * h + row[..., None]) * w + column[..., None]
    cells = b * a * h * w
    cell = torch.where(mine, cell, cells).flatten()  # `cells`: nobody's place
    number = torch.arange(1, t + 1, device=truth.device)[:, None].expand(b, t, a).flatten()
    owner = torch.zeros(cells + 1, dtype=torch.long, device=truth.device)
    owner = owner.scatter_reduce(0, cell, number, "amax")[:-1].view(b, a, h, w)
    present, owner = owner > 0, (owner - 1).clamp(min=0)

    empty = decode(truth.new_zeros(1, a, h, w, 4), anchors[mask], size)  # the anchor in mid-cell
    box = torch.where(present[..., None], truth[image[..., None, None], owner, :4], empty)
    label = torch.nn.functional.one_hot(truth[..., 4].long().clamp(min=0), classes).to(truth.dtype)
    many = truth.new_zeros(cells + 1, classes)
    label = label[:, :, None].expand(b, t, a, classes).reshape(-1, classes)
    many = many.scatter_reduce(0, cell[:, None].expand(-1, classes), label, "amax")
    return Targets(present, box, many[:-1].view(b, a, h, w, classes))


def offsets(box, anchors, size):
    """`decode` backwards: boxes (B, A, H, W, 4) -> sigma(t_x), sigma(t_y), t_w, t_h."""
    h, w = box.shape[2:4]
    column = torch.arange(w, device=box.device, dtype=box.dtype)
    row = torch.arange(h, device=box.device, dtype=box.dtype)[:, None]
    anchors = anchors[:, None, None]
    tw, th = (box[..., 2] * size[1] / anchors[..., 0]).log(), (box[..., 3] * size[0] / anchors[..., 1]).log()
    return torch.stack([box[..., 0] * w - column, box[..., 1] * h - row, tw, th], -1)

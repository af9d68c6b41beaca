"""The first YOLO: a grid, two boxes a cell, one set of class probabilities a cell, fully connected at the end.

    model = network(side=6)                              # images of 96 x 96 pixels
    fit(model, Tensors(images, truth), step=make_step(side=6), optimizer=..., epochs=...)
    found = detect_batch(model, images)

`truth` (B, T, 5) holds x, y, w, h as fractions of the image and the class, -1 for an empty row. The output
(B, S^2 (K + 5 n)) of a network with S x S cells, n boxes a cell and K classes is read by `helpers.yolo.grid.decode_v1`.
Source: Redmon et al., "You Only Look Once", CVPR 2016, section 2; tested against what Darknet computes.
"""

from typing import NamedTuple

import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.yolo.boxes import cxcywh_to_xyxy, iou
from helpers.yolo.grid import decode_v1, is_object


class Cells(NamedTuple):
    present: torch.Tensor  # (B, S, S) bool: an object's centre lies in this cell
    box: torch.Tensor  # (B, S, S, 4) that object, cxcywh as fractions of the image
    label: torch.Tensor  # (B, S, S) its class


def cells(truth, side):
    """Give each cell the object whose centre lies in it; of two the first in the list, the other is lost."""
    b, t = truth.shape[:2]
    column, row = ((truth[..., :2] * side).long().clamp(0, side - 1)).unbind(-1)  # (B, T)
    image = torch.arange(b, device=truth.device)[:, None]
    none = b * side * side
    cell = torch.where(is_object(truth), (image * side + row) * side + column, none)
    number = torch.arange(t, device=truth.device).expand(b, t)
    owner = torch.full((none + 1,), t, device=truth.device)
    owner = owner.scatter_reduce(0, cell.flatten(), number.flatten(), "amin")[:-1].view(b, side, side)
    present = owner < t
    chosen = truth[image[..., None], owner.clamp(max=t - 1)]  # (B, S, S, 5)
    return Cells(present, chosen[..., :4], chosen[..., 4].long().clamp(min=0))


def split(output, side, num, classes):
    """(B, S^2 (K + 5 n)) -> class probabilities (B, S, S, K), confidences (B, S, S, n), raw boxes (B, S, S, n, 4)."""
    sizes = [side * side * n for n in (classes, num, num * 4)]
    if output.shape[1] != sum(sizes):
        raise UserError(
            f"a grid of {side} x {side} cells with {num} boxes and {classes} classes needs {sum(sizes)} outputs; "
            f"got {output.shape[1]}"
        )
    probability, confidence, box = output.split(sizes, 1)
    return (
        probability.view(-1, side, side, classes),
        confidence.view(-1, side, side, num),
        box.view(-1, side, side, num, 4),
    )


def responsible(boxes, box):
    """Which of a cell's boxes answers for its object: the one with the largest IoU; if none touches it, the nearest.

    boxes (B, S, S, n, 4) and box (B, S, S, 4), both cxcywh -> index (B, S, S) and its IoU (B, S, S).
    """
    overlap = iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(box)[..., None, :])  # (B, S, S, n)
    far = (boxes - box[..., None, :]).square().sum(-1)
    best = torch.where((overlap > 0).any(-1), overlap.argmax(-1), far.argmin(-1))
    return best, overlap.gather(-1, best[..., None])[..., 0]


def loss_v1(output, truth, side, num=2, classes=10, coord=5.0, noobject=0.5):
    """The loss of YOLOv1, summed over the batch: a dict of "loss" and its parts. All errors are squared.

    In a cell with an object, for its responsible box: coord ((x, y) in the cell, square roots of w and h) and
    (confidence - IoU)^2; for the cell: the class probabilities against 0 and 1. For every other box of the
    grid: noobject * confidence^2.
    """
    probability, confidence, raw = split(output, side, num, classes)
    target = cells(truth, side)
    boxes = decode_v1(output, side, num, classes)[0].view(raw.shape)
    with torch.no_grad():
        best, overlap = responsible(boxes, target.box)
    mine = torch.nn.functional.one_hot(best, num).bool() & target.present[..., None]  # (B, S, S, n)
    inside = target.box[..., :2] * side
    wanted = torch.cat([inside - inside.floor(), target.box[..., 2:].clamp(min=0).sqrt()], -1)
    label = torch.nn.functional.one_hot(target.label, classes)
    box = coord * ((raw - wanted[..., None, :]).square().sum(-1) * mine).sum()
    objectness = (torch.where(mine, confidence - overlap[..., None], noobject**0.5 * confidence)).square().sum()
    kind = ((probability - label).square().sum(-1) * target.present).sum()
    return {"loss": box + objectness + kind, "box": box, "objectness": objectness, "class": kind}


class Cellwise(nn.Module):
    """(B, K + 5 n, S, S), a column of numbers for each cell, -> the vector (B, S^2 (K + 5 n)) of YOLOv1."""

    def __init__(self, num, classes):
        super().__init__()
        self.sizes = [classes, num, 4 * num]

    def forward(self, x):
        return torch.cat([part.flatten(1) for part in x.movedim(1, -1).split(self.sizes, -1)], 1)


class Network(nn.Sequential):
    """Layers one after another, and `decode`, which reads the output of the last."""

    def __init__(self, layers, side, num, classes):
        super().__init__(*layers)
        self.side, self.num, self.classes = side, num, classes

    def decode(self, output):
        """(B, S^2 (K + 5 n)) -> boxes (B, S^2 n, 4) cxcywh as fractions of the input, scores (B, S^2 n, K)."""
        return decode_v1(output, self.side, self.num, self.classes)


def network(side=6, num=2, classes=10, width=16, hidden=256, connected=True):
    """Four convolutions of stride 2 over an image of side * 16 pixels, then two fully connected layers that see
    all of it. (B, 3, H, W) in 0..1 -> (B, side^2 (classes + 5 num)).

    connected=False is no YOLOv1: two convolutions stand in their place, the same weights for every cell.
    """
    layers, channels = [], 3
    for filters in (width, 2 * width, 4 * width, 4 * width):
        layers += [nn.Conv2d(channels, filters, 3, 2, 1, bias=False), nn.BatchNorm2d(filters), nn.LeakyReLU(0.1)]
        channels = filters
    if connected:
        cells = side * side
        layers += [
            nn.Flatten(),
            nn.Linear(channels * cells, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, cells * (classes + 5 * num)),
        ]
        end = layers[-1]
    else:
        cells, end = 1, nn.Conv2d(hidden, classes + 5 * num, 1)
        layers += [nn.Conv2d(channels, hidden, 3, 1, 1), nn.LeakyReLU(0.1), end, Cellwise(num, classes)]
    with torch.no_grad():  # at first: no class, no confidence, a box in mid-cell
        end.weight.mul_(0.1)
        end.bias.zero_()[-cells * num * 4 :].view(-1, 4).copy_(torch.tensor([0.5, 0.5, 0.45, 0.5]))
    return Network(layers, side, num, classes)


def make_step(side=6, num=2, classes=10):
    """The step for `training.fit`: batches are (images (B, 3, H, W) uint8, truth (B, T, 5))."""

    def step(model, batch):
        images, truth = batch
        return loss_v1(model(images.float() / 255).float(), truth, side, num, classes)

    return step

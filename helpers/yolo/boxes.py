"""Boxes: how they are written, how much they overlap, how doubles are removed, how anchors are found.

A box is four numbers in the last dimension of a tensor, (..., 4). Unless a name says otherwise they are
the corners `xyxy` = (left, top, right, bottom), x to the right and y downwards, in any unit. Corners are
real coordinates, so a box's width is right - left, with no "+ 1 pixel".

A box whose sides are not positive has area 0. Wherever such a box would lead to 0 / 0 the overlap is
*defined* as 0 here (torchvision and Darknet return NaN), so that no NaN ever enters a loss.
"""

import math

import torch

from helpers.course.draws import pick
from helpers.course.errors import UserError

# ---------------------------------------------------------------- the two ways to write a box


def xyxy_to_cxcywh(boxes):
    """(left, top, right, bottom) -> (centre x, centre y, width, height); (..., 4) -> (..., 4)."""
    left, top, right, bottom = boxes.unbind(-1)
    return torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)


def cxcywh_to_xyxy(boxes):
    """(centre x, centre y, width, height) -> (left, top, right, bottom); (..., 4) -> (..., 4)."""
    x, y, w, h = boxes.unbind(-1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


# ---------------------------------------------------------------- overlap


def area(boxes):
    """Area of xyxy boxes, (..., 4) -> (...); 0 for a box turned inside out."""
    w, h = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return w * h


def _divide(numerator, denominator):
    """numerator / denominator, and 0 (with a finite gradient) where the denominator is 0."""
    positive = denominator > 0
    return torch.where(positive, numerator, 0) / torch.where(positive, denominator, 1)


def _intersection_union(a, b):
    (left, top, right, bottom), (left2, top2, right2, bottom2) = a.unbind(-1), b.unbind(-1)
    w = (torch.minimum(right, right2) - torch.maximum(left, left2)).clamp(min=0)
    h = (torch.minimum(bottom, bottom2) - torch.maximum(top, top2)).clamp(min=0)
    intersection = w * h
    return intersection, area(a) + area(b) - intersection


def iou(a, b):
    """Intersection over union of xyxy boxes, pair by pair: IoU = |A n B| / |A u B|, in 0..1.

    The leading dimensions broadcast: (N, 4) with (N, 4) gives (N,), `a[:, None]` with `b` gives the whole
    (N, M) matrix. Batched, differentiable, and 0 for two boxes without area.
    """
    return _divide(*_intersection_union(a, b))


def giou(a, b):
    """Generalised IoU, -1..1: IoU - |C \\ (A u B)| / |C|, C the smallest box around both.

    Unlike IoU it still has a slope when the boxes do not touch. Shapes as in `iou`.
    Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    intersection, union = _intersection_union(a, b)
    hull = area(_hull(a, b))
    return _divide(intersection, union) - _divide(hull - union, hull)


def ciou(a, b):
    """Complete IoU: IoU - d^2 / c^2 - alpha v. Shapes as in `iou`.

    d is the distance of the centres, c the diagonal of the smallest box around both, and
    v = (4 / pi^2) (arctan(w_b / h_b) - arctan(w_a / h_a))^2 the difference in shape, weighed by
    alpha = v / (1 - IoU + v), which is held constant in the gradient.
    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020.
    """
    overlap = iou(a, b)
    hull = _hull(a, b)
    centres = xyxy_to_cxcywh(a)[..., :2] - xyxy_to_cxcywh(b)[..., :2]
    distance = _divide(centres.square().sum(-1), (hull[..., 2:] - hull[..., :2]).square().sum(-1))
    shape = 4 / math.pi**2 * (_slope(b) - _slope(a)).square()  # v
    with torch.no_grad():
        weight = _divide(shape, 1 - overlap + shape)  # alpha
    return overlap - distance - weight * shape


def _hull(a, b):
    return torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], -1)


def _slope(boxes):
    """arctan(w / h), also where h = 0; a point has 0, and a gradient that is no 0 / 0 in any version of PyTorch."""
    w, h = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return torch.atan2(w, h + ((w == 0) & (h == 0)))


def iou_matrix(a, b):
    """IoU of every box of `a` (..., N, 4) with every box of `b` (..., M, 4): (..., N, M)."""
    return iou(a.unsqueeze(-2), b.unsqueeze(-3))


# ---------------------------------------------------------------- non-maximum suppression

BLOCK = 128  # boxes that NMS looks at together


def nms(boxes, scores, threshold):
    """Greedy non-maximum suppression: the indices of the boxes that stay, best score first.

    From the best score down, a box stays unless a better box *that itself stayed* overlaps it by
    IoU > threshold. boxes (N, 4) xyxy, scores (N,) -> (K,) int64. Among equal scores the earlier box
    comes first.
    """
    return _suppress(scores, lambda a, b: iou_matrix(boxes[a], boxes[b]) > threshold)


def batched_nms(boxes, scores, labels, threshold):
    """`nms` within each label: boxes (N, 4), scores (N,), labels (N,) -> (K,) int64, best score first."""
    if len(scores) <= 4 * BLOCK:  # a few are quicker all at once, many label by label
        return _suppress(
            scores, lambda a, b: (iou_matrix(boxes[a], boxes[b]) > threshold) & (labels[a, None] == labels[b])
        )
    members = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    kept = torch.cat([some[nms(boxes[some], scores[some], threshold)] for some in members])
    kept = kept.sort()[0]  # so that of equal scores the earlier box comes first
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _suppress(scores, beats):
    """`beats(a, b)`, (n, m) bool for indices a (n,) and b (m,): which boxes of b each of a removes if it stays.

    A block of boxes at a time, the best first. Those that go at the word of one kept before go; among the
    others "who stays" is
        stays[j] = not any_i (stays[i] and beats[i, j]),
    solved by repeating the line: `beats` is strictly upper triangular, so after t rounds the first t
    boxes are final, and in practice a few rounds do ("Cluster-NMS", Zheng et al. 2020). Each box is compared
    with the K that stay and not with all N: K N pairs of boxes, K BLOCK of them in memory at a time.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(BLOCK):
        block = block[~beats(kept, block).any(0)]
        inside = beats(block, block).triu(1)
        stays, before = torch.ones_like(block, dtype=torch.bool), None
        while before is None or not torch.equal(stays, before):
            before, stays = stays, ~(inside & stays[:, None]).any(0)
        kept = torch.cat([kept, block[stays]])
    return kept


# ---------------------------------------------------------------- anchors


def size_iou(a, b):
    """IoU of boxes with a common centre, from (width, height) alone: (N, 2), (M, 2) -> (N, M)."""
    smaller = torch.minimum(a[:, None], b).prod(-1)
    return _divide(smaller, a.prod(-1)[:, None] + b.prod(-1) - smaller)


def mean_best_iou(sizes, anchors):
    """How well `anchors` (K, 2) describe boxes of these `sizes` (N, 2): mean over boxes of the best IoU."""
    return size_iou(sizes, anchors).amax(1).mean()


def kmeans_anchors(sizes, k, seed=0, rounds=300):
    """k typical (width, height) of boxes: k-means under the distance 1 - IoU, as YOLOv2 does.

    sizes (N, 2), any unit -> (k, 2), smallest area first. Under the Euclidean distance large boxes would
    count for more than small ones; 1 - IoU does not change with the unit or the scale. The start is
    k-means++ (seeded); because the mean of a cluster is not exactly its best representative under this
    distance, the best of all rounds is returned, not the last.
    Source: Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2.
    """
    sizes = torch.as_tensor(sizes, dtype=torch.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not (sizes > 0).all():
        raise UserError(
            "anchors need an (N, 2) table of positive widths and heights; drop the boxes without area first"
        )
    distinct = len(sizes.unique(dim=0))
    if not 1 <= k <= distinct:
        raise UserError(
            f"the number of anchors must be between 1 and {distinct}, the number of different box sizes; got {k}"
        )
    generator = torch.Generator().manual_seed(seed)
    anchors = sizes[torch.randint(len(sizes), (1,), generator=generator)]  # (1, 2)
    while len(anchors) < k:
        distance = (1 - size_iou(sizes, anchors).amax(1)).clamp(min=0).square()
        anchors = torch.cat([anchors, sizes[pick(distance, generator)][None]])
    best, best_anchors, nearest = -1.0, anchors, None
    for _ in range(rounds):
        overlap = size_iou(sizes, anchors)  # (N, k)
        quality = overlap.amax(1).mean()
        if quality > best:
            best, best_anchors = quality, anchors
        before, nearest = nearest, overlap.argmax(1)
        if before is not None and torch.equal(nearest, before):
            break
        member = torch.nn.functional.one_hot(nearest, k).double()  # (N, k)
        count = member.sum(0)[:, None]
        anchors = torch.where(count > 0, member.T @ sizes / count.clamp(min=1), anchors)
    return best_anchors[best_anchors.prod(1).argsort()]

"""Boxes, overlap, suppression and anchors against torchvision.ops, libdarknet and closed forms."""

import numpy as np
import pytest
import torch
import torchvision.ops as ops
from darknet_oracle import Oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.course.errors import UserError
from helpers.yolo import boxes as detection

D = torch.float64


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


def random_boxes(n, seed=0, size=100.0, dtype=D):
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, n, 2, generator=generator, dtype=dtype) * size
    return torch.cat([corner, corner + side + 0.01], -1)


# On a grid of whole numbers boxes touch, coincide, contain each other and lose their area all the time.
grid_box = st.tuples(*[st.integers(0, 6)] * 4).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
)
grid_boxes = st.lists(grid_box, min_size=1, max_size=12).map(lambda b: torch.tensor(b, dtype=D))


def test_conversions_equal_torchvision_and_come_back():
    boxes = random_boxes(50)
    there = detection.xyxy_to_cxcywh(boxes)
    assert torch.equal(there, ops.box_convert(boxes, "xyxy", "cxcywh"))
    back = detection.cxcywh_to_xyxy(there)
    assert torch.allclose(back, boxes, atol=1e-12, rtol=0)
    assert torch.allclose(back, ops.box_convert(there, "cxcywh", "xyxy"), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_equal_torchvision(seed):
    a, b = random_boxes(40, seed), random_boxes(30, seed + 10)
    assert torch.allclose(detection.iou_matrix(a, b), ops.box_iou(a, b), atol=1e-14, rtol=0)
    assert torch.allclose(detection.giou(a[:, None], b), ops.generalized_box_iou(a, b), atol=1e-14, rtol=0)
    theirs = ops.complete_box_iou(a, b, eps=0)  # their default moves the result by 2e-8
    assert torch.allclose(detection.ciou(a[:, None], b), theirs, atol=1e-13, rtol=0)


@given(grid_boxes, grid_boxes)
@settings(max_examples=150, deadline=None)
def test_overlaps_of_touching_and_degenerate_boxes(a, b):
    ours, theirs = detection.iou_matrix(a, b), ops.box_iou(a, b)
    assert torch.equal(ours, theirs.nan_to_num(0))  # theirs is NaN exactly where the union is 0
    g, g_theirs = detection.giou(a[:, None], b), ops.generalized_box_iou(a, b)
    assert torch.allclose(g[~g_theirs.isnan()], g_theirs[~g_theirs.isnan()], atol=1e-14, rtol=0)
    c = detection.ciou(a[:, None], b)
    assert not g.isnan().any() and not c.isnan().any()
    assert ((g >= -1) & (g <= 1) & (g <= ours + 1e-12) & (c <= ours + 1e-12) & (c >= -2)).all()
    for overlap in (detection.iou, detection.giou, detection.ciou):
        assert torch.allclose(overlap(a[:, None], b), overlap(b[:, None], a).T, atol=1e-12)  # symmetric


def test_degenerate_boxes_are_defined():
    point, line = torch.tensor([[2.0, 2, 2, 2], [2, 2, 5, 2]], dtype=D)
    inside_out = torch.tensor([5.0, 5, 1, 1], dtype=D)
    for box in (point, line, inside_out):
        assert detection.iou(box, box) == 0 and detection.area(box) == 0
    assert detection.giou(point, point) == 0
    assert detection.giou(point, point + 3) == -1  # hull of area 9, nothing in it


@pytest.mark.parametrize("name", ["iou", "giou", "ciou"])
def test_gradients(name):
    overlap = getattr(detection, name)
    a, b = random_boxes(6, 1).requires_grad_(), random_boxes(6, 2)
    if name == "ciou":  # alpha is constant in the gradient: torchvision's loss does the same
        (ours,) = torch.autograd.grad((1 - overlap(a, b)).sum(), a)
        (theirs,) = torch.autograd.grad(ops.complete_box_iou_loss(a, b, reduction="sum", eps=0), a)
        assert torch.allclose(ours, theirs, atol=1e-11, rtol=0)  # a part of it keeps its eps of 1e-7
    else:
        assert torch.autograd.gradcheck(lambda x: overlap(x, b), (a,))
    flat = torch.tensor([[3.0, 3, 3, 3], [1, 1, 4, 1], [5, 5, 2, 2]], dtype=D, requires_grad=True)
    (gradient,) = torch.autograd.grad(overlap(flat[:, None], flat.detach()).sum(), flat)
    assert gradient.isfinite().all()


def test_giou_has_a_slope_where_iou_has_none():
    a = torch.tensor([0.0, 0, 1, 1], dtype=D, requires_grad=True)
    b = torch.tensor([3.0, 0, 4, 1], dtype=D)
    assert torch.autograd.grad(detection.iou(a, b), a)[0].abs().sum() == 0
    assert torch.autograd.grad(detection.giou(a, b), a)[0][2] > 0  # moving its right side out helps


def test_iou_equals_libdarknet(darknet):
    a, b = random_boxes(60, 3, dtype=torch.float32), random_boxes(60, 4, dtype=torch.float32)
    ours = detection.iou(a, b)
    theirs = [
        darknet.iou(*pair) for pair in zip(detection.xyxy_to_cxcywh(a).tolist(), detection.xyxy_to_cxcywh(b).tolist())
    ]
    assert np.abs(ours.numpy() - theirs).max() < 1e-5


@given(grid_boxes, grid_boxes)
@settings(max_examples=60, deadline=None)
def test_iou_of_grid_boxes_equals_libdarknet(darknet, a, b):
    n = min(len(a), len(b))
    ours = detection.iou(a[:n], b[:n])
    theirs = [
        darknet.iou(*pair) for pair in zip(detection.xyxy_to_cxcywh(a).tolist(), detection.xyxy_to_cxcywh(b).tolist())
    ]
    assert np.abs(ours.numpy() - np.nan_to_num(theirs)).max() < 1e-6


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.45, 0.7, 1.0])
def test_nms_equals_torchvision(seed, threshold):
    boxes = random_boxes(300, seed)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(seed), dtype=D)
    scores = (scores * 40).round() / 40  # 300 scores of 41 values: ties
    assert torch.equal(detection.nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))
    labels = torch.arange(300) % 4
    ours = detection.batched_nms(boxes, scores, labels, threshold)
    members = [torch.nonzero(labels == k)[:, 0] for k in range(4)]
    kept = torch.cat([i[ops.nms(boxes[i], scores[i], threshold)] for i in members])
    assert set(ours.tolist()) == set(kept.tolist())
    assert (scores[ours].diff() <= 0).all()


@pytest.mark.parametrize("n, sides", [(129, 30), (1500, 30), (1500, 1)])
def test_nms_of_more_than_a_block_equals_torchvision(n, sides):
    """Whole-number boxes and few different scores: ties within and across the blocks; with sides of 1 nearly all
    boxes stay, with sides up to 30 few do."""
    generator = torch.Generator().manual_seed(n)
    corner = torch.randint(0, 80, (n, 2), generator=generator, dtype=D)
    boxes = torch.cat([corner, corner + torch.randint(0, sides + 1, (n, 2), generator=generator)], -1)
    scores = torch.randint(0, 50, (n,), generator=generator).to(D)
    labels = torch.randint(0, 3, (n,), generator=generator)
    for threshold in (0.0, 0.3, 0.5, 1.0):
        kept = ops.nms(boxes, scores, threshold)
        assert torch.equal(detection.nms(boxes, scores, threshold), kept)
        # one label far from another does not overlap it: the sums are exact in whole numbers
        theirs = ops.nms(boxes + 1000 * labels[:, None], scores, threshold)
        assert torch.equal(detection.batched_nms(boxes, scores, labels, threshold), theirs)


@given(grid_boxes, st.lists(st.integers(0, 3), min_size=12, max_size=12), st.sampled_from([0.0, 0.25, 0.5]))
@settings(max_examples=150, deadline=None)
def test_nms_of_grid_boxes_equals_torchvision(boxes, scores, threshold):
    scores = torch.tensor(scores[: len(boxes)], dtype=D) / 3
    assert torch.equal(detection.nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


def test_nms_of_nothing_and_of_a_chain():
    assert detection.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
    # each box suppresses the next one: the greedy answer is every second box, the longest way to it
    left = torch.arange(40, dtype=D) * 0.4
    chain = torch.stack([left, left * 0, left + 1, left * 0 + 1], -1)
    assert detection.nms(chain, -left, 0.3).tolist() == list(range(0, 40, 2))


@pytest.mark.parametrize("seed", range(3))
def test_nms_equals_libdarknet(darknet, seed):
    boxes = random_boxes(80, seed, dtype=torch.float32)
    scores = torch.rand(80, 3, generator=torch.Generator().manual_seed(seed))
    scores[scores < 0.3] = 0
    theirs = darknet.nms(detection.xyxy_to_cxcywh(boxes).numpy(), scores.numpy(), 0.45)
    index, label = scores.nonzero().T
    kept = detection.batched_nms(boxes[index], scores[index, label], label, 0.45)
    ours = torch.zeros_like(scores)
    ours[index[kept], label[kept]] = scores[index[kept], label[kept]]
    assert 3 < len(kept) < len(index)
    assert np.array_equal(ours.numpy(), theirs)


def test_size_iou_is_the_iou_of_centred_boxes():
    a, b = torch.rand(20, 2, dtype=D) + 0.01, torch.rand(5, 2, dtype=D) + 0.01
    centred = detection.iou_matrix(torch.cat([-a / 2, a / 2], 1), torch.cat([-b / 2, b / 2], 1))
    assert torch.allclose(detection.size_iou(a, b), centred, atol=1e-14)


def test_anchors_find_planted_sizes_and_do_not_depend_on_the_unit():
    planted = torch.tensor([[10.0, 10], [20, 60], [90, 40]], dtype=D)
    generator = torch.Generator().manual_seed(0)
    noise = torch.empty(3, 100, 2, dtype=D).uniform_(0.9, 1.1, generator=generator)
    sizes = (planted[:, None] * noise).reshape(-1, 2)
    anchors = detection.kmeans_anchors(sizes, 3)
    assert torch.allclose(anchors, planted, rtol=0.03)
    assert torch.allclose(detection.kmeans_anchors(sizes / 416, 3) * 416, anchors, rtol=1e-9)
    best = [detection.mean_best_iou(sizes, detection.kmeans_anchors(sizes, k)) for k in (1, 2, 3, 6, 9)]
    assert best == sorted(best) and best[2] > 0.9


def test_anchors_reach_the_best_partition_of_a_few_boxes():
    """At least as good as every partition of 8 boxes into 2 groups, each represented by its mean."""
    sizes = torch.rand(8, 2, generator=torch.Generator().manual_seed(5), dtype=D) * 50 + 5
    best = 0
    for mask in range(1, 128):
        chosen = torch.tensor([mask >> i & 1 for i in range(8)], dtype=torch.bool)
        anchors = torch.stack([sizes[chosen].mean(0), sizes[~chosen].mean(0)])
        best = max(best, detection.mean_best_iou(sizes, anchors).item())
    found = max(detection.mean_best_iou(sizes, detection.kmeans_anchors(sizes, 2, seed)).item() for seed in range(5))
    assert found >= best > 0.5


@pytest.mark.parametrize(
    "sizes, k, what",
    [
        ([[1, 2], [1, 2]], 2, "between 1 and 1, .*; got 2"),
        ([[1, 2]], 0, "between 1 and 1, .*; got 0"),
        ([[1, 0]], 1, "positive"),
        ([1, 2], 1, r"\(N, 2\)"),
    ],
)
def test_bad_anchors_are_explained(sizes, k, what):
    with pytest.raises(UserError, match=what):
        detection.kmeans_anchors(torch.tensor(sizes, dtype=D), k)


def test_overlaps_stay_on_their_device():
    a = torch.empty(3, 4, device="meta")
    for overlap in (detection.iou, detection.giou, detection.ciou, detection.iou_matrix):
        assert overlap(a, a).device.type == "meta"

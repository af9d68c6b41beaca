"""Anchors found in three ways, and the ceiling of the coding."""

import numpy as np
import pytest
import torch

from helpers.yolo import anchors
from helpers.yolo.boxes import kmeans_anchors, mean_best_iou
from helpers.yolo.loss import loss_v3
from helpers.yolo.scene_set import SceneSet


@pytest.fixture(scope="module")
def scenes():
    return SceneSet(40, "train", 96, 0)


def test_sizes_are_those_of_the_boxes(scenes):
    truths = scenes.truths()
    boxes = np.concatenate([t["boxes"] for t in truths])
    np.testing.assert_allclose(anchors.box_sizes(scenes), boxes[:, 2:] - boxes[:, :2], rtol=1e-5)


def test_anchor_curves(scenes):
    sizes = anchors.box_sizes(scenes)
    curves = anchors.anchor_curves((1, 4), 2, sizes[:60], sizes[60:])
    assert {c.shape for c in curves.values()} == {(2, 2)}
    first = mean_best_iou(sizes[60:].double(), kmeans_anchors(sizes[:60], 4, 0)).item()
    assert curves["k-means, 1 - IoU"][0, 1] == pytest.approx(first)
    everything = anchors.random_anchors(sizes, len(sizes))
    assert mean_best_iou(sizes.double(), everything) == pytest.approx(1)
    # one cluster under Euclid's distance is the mean
    torch.testing.assert_close(anchors.euclid_anchors(sizes, 1)[0], sizes.double().mean(0), rtol=1e-5, atol=1e-5)


def test_a_perfect_network_has_no_loss_and_finds_everything(scenes):
    """With anchors that differ enough, on fine grids, nothing collides."""
    chosen = kmeans_anchors(anchors.box_sizes(scenes), 6).float()
    masks, strides = [[0, 1, 2], [3, 4, 5]], (8, 16)
    few = scenes.truth[:8]
    heads = anchors.perfect_heads(few, chosen, masks, strides, (96, 96))
    assert [tuple(h.shape) for h in heads] == [(8, 45, 12, 12), (8, 45, 6, 6)]
    parts = loss_v3(heads, few, chosen, masks, (96, 96), box_loss="ciou")
    assert parts["box"] < 1e-3 and parts["loss"] < 0.1
    assert anchors.ceiling(scenes, chosen, masks, strides, (96, 96)).ap() > 0.98


def test_the_ceiling_of_one_coarse_grid_is_lower(scenes):
    chosen = kmeans_anchors(anchors.box_sizes(scenes), 1).float()
    coarse = anchors.ceiling(scenes, chosen, [[0]], (32,), (96, 96)).ap(0.5)
    kept = sum(len({(int(x * 3), int(y * 3)) for x, y, _, _, k in rows.tolist() if k >= 0}) for rows in scenes.truth)
    objects = int((scenes.truth[..., 4] >= 0).sum())
    # one object a cell of 3 x 3: mean recall is about the share of occupied cells, counted here by a set
    assert kept < objects and coarse == pytest.approx(kept / objects, abs=0.05)

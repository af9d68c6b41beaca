"""Scenes as a data set: the same as the renderer's, coded for the network, and boxes for the evaluation."""

import numpy as np
import torch

from helpers.data import scenes
from helpers.yolo.boxes import cxcywh_to_xyxy
from helpers.yolo.scene_set import SceneSet


def test_samples_are_the_rendered_scenes_and_their_boxes():
    data = SceneSet(4, "valid", 96, seed=3)
    images, boxes, labels = scenes.dataset(4, 3, "valid", 96)
    assert len(data) == 4 and data.size == (96, 96) and data.shapes == [(96, 96)] * 4
    assert np.array_equal(data.images, images) and data.classes == list("0123456789")
    for truth, one, box, label in zip(data.truth, data.truths(), boxes, labels):
        shown = truth[truth[:, 4] >= 0]
        torch.testing.assert_close(cxcywh_to_xyxy(shown[:, :4]) * 96, torch.from_numpy(box), atol=1e-4, rtol=0)
        assert shown[:, 4].tolist() == label.tolist() == one["labels"].tolist() and np.array_equal(one["boxes"], box)
    batch, truth = data.collate(data.__getitems__([2, 0]))
    assert torch.equal(batch, data.images[[2, 0]]) and torch.equal(truth, data.truth[[2, 0]])


def test_the_summary_counts_the_digits():
    data = SceneSet(3, "test", 96)
    assert data.summary == f"3 test scenes of 96 x 96 pixels, {sum(len(t['labels']) for t in data.truths())} digits"

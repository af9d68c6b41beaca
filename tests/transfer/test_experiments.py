"""The sets that lecture 06's experiments train and test on, and their arms."""

import numpy as np
import torch

from helpers.data import leaves
from helpers.data.sets import mnist5k
from helpers.transfer import experiments
from helpers.transfer.model import blocks


def contents(data):
    return {image.numpy().tobytes() for image in data.tensors[0]}


def test_leaves_are_rendered_from_their_seed():
    data = experiments.leaf_set(1, seed=5, size=32)
    x, y = data.tensors
    assert x.shape == (33, 3, 32, 32) and x.dtype == torch.uint8 and sorted(y.tolist()) == list(range(33))
    assert contents(data) == contents(experiments.leaf_set(1, 5, size=32))
    assert not contents(data) & contents(experiments.leaf_set(1, 6, size=32))
    k = y.tolist().index(8)
    assert np.array_equal(x[k].permute(1, 2, 0), leaves.render(leaves.CLASSES[8], 5, size=32))


def test_training_and_test_leaves_share_no_image():
    train, lab, field = experiments._leaves(1, 0, 1)
    assert not contents(train) & contents(lab) and not contents(lab) & contents(field)


def test_digits_are_mnists_enlarged_and_split():
    train, test = experiments.digit_set(3, seed=2, test=50)
    assert (
        torch.bincount(train.tensors[1]).tolist() == [3] * 10 and torch.bincount(test.tensors[1]).tolist() == [5] * 10
    )
    assert train.tensors[0].shape == (30, 3, 64, 64) and train.tensors[0].dtype == torch.uint8
    assert not contents(train) & contents(test)
    x = train.tensors[0]
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
    ink = mnist5k()[0].mean((1, 2))  # enlarging keeps the mean ink
    for image in x:
        assert np.abs(ink - image.float().mean().item()).min() < 1.0
    again = experiments.digit_set(3, seed=2, test=50)[0]
    assert torch.equal(again.tensors[0], x) and contents(experiments.digit_set(3, 3, 50)[0]) != contents(train)


def test_arms_cover_every_strategy_and_depth():
    assert list(experiments.strategies("small")) == ["scratch", "base", "half", "random head", "none"]
    assert len(experiments.rule("small")) == 4 * 3 and len(experiments.rule("tiny")) == 2 * 3
    last = int(list(experiments.depth("small"))[-1].split()[0])
    assert last == len(blocks(experiments.Classifier(2, pretrained=False).base))

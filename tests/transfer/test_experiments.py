"""The sets that lecture 06's experiments train and test on."""

import numpy as np
import torch

from helpers.data import leaves
from helpers.data.sets import mnist5k
from helpers.transfer import experiments


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


def test_some_kinds_are_the_leaves_of_the_whole_set():
    whole, kinds = experiments.leaf_set(2, 5, size=32), (leaves.CLASSES[8], leaves.CLASSES[3])
    x, y = experiments.leaf_set(2, 5, size=32, kinds=kinds).tensors
    assert y.tolist() == [0, 1, 0, 1] and x.dtype == torch.uint8
    rows = [8, 3, 33 + 8, 33 + 3]
    assert torch.equal(x, whole.tensors[0][rows])


def test_digits_are_enlarged_as_they_are():
    images, labels = mnist5k()
    data = experiments.enlarged(images[:30], labels[:30])
    x = data.tensors[0]
    assert x.shape == (30, 3, 64, 64) and x.dtype == torch.uint8 and data.tensors[1].tolist() == labels[:30].tolist()
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
    ink = images[:30].mean((1, 2))  # enlarging keeps the mean ink, picture by picture
    assert np.abs(ink - x.float().mean((1, 2, 3)).numpy()).max() < 1.0

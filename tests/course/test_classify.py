"""The classification step against counting by hand and PyTorch's loss of one sample at a time."""

import pytest
import torch
from torch.nn import functional as F

from helpers.course.classify import classify


def batch(n=50, classes=4):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, classes, generator=g), torch.randint(0, classes, (n,), generator=g)


def test_sums_over_classes():
    logits, y = batch()
    sums = classify(lambda x: x, (logits, y))
    assert sums["accuracy"] == sum(row.argmax() == k for row, k in zip(logits, y))
    assert sums["loss"].item() == pytest.approx(sum(F.cross_entropy(row, k).item() for row, k in zip(logits, y)))


def test_probabilities_of_one_class_are_that_class_and_others_are_mixed():
    logits, y = batch()
    hard, soft = (classify(lambda x: x, (logits, target)) for target in (y, F.one_hot(y, 4).float()))
    torch.testing.assert_close(soft["loss"], hard["loss"])
    assert soft["accuracy"] == hard["accuracy"]
    mixed = 0.7 * F.one_hot(y, 4) + 0.3 * F.one_hot((y + 1) % 4, 4)
    sums = classify(lambda x: x, (logits, mixed))
    torch.testing.assert_close(sums["loss"], -(mixed * logits.log_softmax(1)).sum())
    assert sums["accuracy"] == hard["accuracy"]  # the larger share is the class


@pytest.mark.parametrize("soft", [False, True])
def test_nothing_is_left_on_the_cpu(soft):
    y = torch.zeros(4, 3, device="meta") if soft else torch.zeros(4, dtype=torch.int64, device="meta")
    sums = classify(torch.nn.Linear(5, 3, device="meta"), (torch.zeros(4, 5, device="meta"), y))
    assert {v.device.type for v in sums.values()} == {"meta"}

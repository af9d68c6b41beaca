"""Costs of a network against closed forms."""

import torch
import torchvision
from torch import nn

from helpers.transfer.costs import cost_table, saved_bytes


def test_costs_of_resnet50_equal_the_closed_form():
    rows = cost_table(torchvision.models.resnet50(num_classes=33))
    assert [r[0] for r in rows] == [
        "conv1",
        "bn1",
        "relu",
        "maxpool",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "avgpool",
        "fc",
    ]
    # conv: k*k*in*out weights, times the output positions as multiply-adds; 112, 56 ... are the map sides
    conv1 = (7 * 7 * 3 * 64, 7 * 7 * 3 * 64 * 112**2, 64 * 112**2)
    assert rows[0][1:] == conv1 and rows[1][1] == 2 * 64
    weights = 64 * 64 + 9 * 64 * 64 + 64 * 256 + 64 * 256 + 2 * (256 * 64 + 9 * 64 * 64 + 64 * 256)
    assert rows[4][2] == weights * 56**2  # layer1 keeps its side
    assert rows[4][1] == weights + 2 * (64 + 64 + 256 + 256 + 2 * (64 + 64 + 256))
    assert rows[4][3] == 2 * 56**2 * (64 + 64 + 256 + 256 + 2 * (64 + 64 + 256))
    assert rows[9][1:] == (2048 * 33 + 33, 2048 * 33, 0)
    assert sum(r[1] for r in rows[:5]) == 225_344 and sum(r[1] for r in rows) == 23_575_649


def test_saved_bytes_counts_what_autograd_keeps():
    x = torch.randn(10, 20)
    layer = nn.Linear(20, 30)
    kept = saved_bytes(lambda: torch.tanh(layer(x)).sum())
    assert kept == 4 * (10 * 20 + 10 * 30)  # the input of the product, and the output of tanh
    with torch.no_grad():
        assert saved_bytes(lambda: torch.tanh(layer(x)).sum()) == 0

"""What is frozen does not move; what is thawed does."""

import torch
from torch import nn

from helpers.course.freezing import freeze, freeze_statistics, unfreeze


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def moved(model):
    """The names in the state of `model` that one step of descent in training mode changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.rand(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


STATISTICS = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
WEIGHTS = {"0.weight", "1.weight", "1.bias", "2.weight", "2.bias"}  # a bias before a batch norm has no gradient


def test_a_frozen_part_keeps_weights_and_statistics():
    model = network()
    for part in model[:2]:
        freeze(part)
    assert moved(model) == {"2.weight", "2.bias"}


def test_frozen_statistics_leave_the_weights_free():
    model = freeze_statistics(network())
    changed = moved(model)
    assert not changed & STATISTICS and changed >= WEIGHTS


def test_thawed_everything_moves():
    model = unfreeze(freeze_statistics(freeze(network())))
    assert moved(model) >= WEIGHTS | STATISTICS

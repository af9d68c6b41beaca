"""What the tests of lecture 06 train on: a few images, and a network that needs no weights."""

import torch

from helpers.course.batches import Tensors
from helpers.transfer.model import Classifier


def images(n=12, classes=3, size=48):
    g = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    x = torch.randint(0, 120, (n, 3, size, size), generator=g, dtype=torch.uint8)
    x[torch.arange(n), y] += 100  # the class is the brightest channel
    return Tensors(x, y)


def small(classes=3):
    torch.manual_seed(0)
    return Classifier(classes, "resnet10t", pretrained=False)


def changed(before, after):
    """The names of the tensors that differ."""
    return {k for k in before if not torch.equal(before[k], after[k])}


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}

"""The receptive field against brute force, and what pooling does to shifts."""

import pytest
import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.yolo import receptive_field as field


@pytest.mark.parametrize(
    "layers, side",
    {
        ((3, 1),): 3,
        ((3, 1), (3, 1)): 5,
        ((3, 1),) * 3: 7,
        ((2, 2), (3, 1)): 6,
        ((3, 2), (3, 2)): 7,
        ((7, 2), (3, 2)): 11,
        (): 1,
        ((1, 1), (1, 1)): 1,
    }.items(),
)
def test_formula_at_known_networks(layers, side):
    """Two 3 x 3 see 5 x 5 and three see 7 x 7 (Simonyan and Zisserman 2015); ResNet's stem sees 11 x 11."""
    assert field.receptive_field(layers) == side


@pytest.mark.parametrize("kinds", ["c", "ccc", "cpcp", "scs", "cpcpcpc"])
def test_formula_equals_poking_every_pixel(kinds):
    """The oracle: change one pixel of a line at a time and see whether the middle output changes."""
    torch.manual_seed(0)
    model, size = field.chain(kinds, filters=4).double(), 64  # so that rounding is no difference
    generator = torch.Generator().manual_seed(1)
    seen = torch.zeros(size, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(6):
            x = torch.randn(1, 3, size, size, generator=generator, dtype=torch.double)
            y = model(x)
            m = y.shape[2] // 2
            poked = x.repeat(size, 1, 1, 1)
            poked[torch.arange(size), :, torch.arange(size), :] += 3 * torch.randn(size, 3, size, generator=generator)
            seen |= (model(poked)[:, :, m, m] - y[0, :, m, m]).abs().amax(1) > 1e-9
    rows = seen.nonzero()
    side = int(rows.max() - rows.min() + 1)
    assert field.receptive_field(field.kernels(model)) == side
    assert field.measured_field(model.float(), size=size, images=64) == (side, side)


def test_a_picture_that_is_too_small_is_named():
    with pytest.raises(UserError, match="choose a larger size"):
        field.measured_field(field.chain("ccccc"), size=9)


def test_kernels_are_read_in_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 1), nn.AvgPool2d((2, 2)))
    assert field.kernels(model) == [(5, 2), (3, 1), (2, 2)]

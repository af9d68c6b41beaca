"""The receptive field against brute force, and what pooling does to shifts."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course.errors import UserError
from helpers.course.experiments import Record
from helpers.yolo import receptive_field as seeing
from helpers.yolo import shifts


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
    assert seeing.receptive_field(layers) == side


@pytest.mark.parametrize("kinds", ["c", "ccc", "cpcp", "scs", "cpcpcpc"])
def test_formula_equals_poking_every_pixel(kinds):
    """The oracle: change one pixel of a line at a time and see whether the middle output changes."""
    torch.manual_seed(0)
    model, size = seeing.chain(kinds, filters=4).double(), 64  # so that rounding is no difference
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
    assert seeing.receptive_field(seeing.kernels(model)) == side
    assert seeing.measured_field(model.float(), size=size, pictures=64) == (side, side)


def test_a_picture_that_is_too_small_is_named():
    with pytest.raises(UserError, match="take a larger one"):
        seeing.measured_field(seeing.chain("ccccc"), size=9)


def test_kernels_are_read_in_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 1), nn.AvgPool2d((2, 2)))
    assert seeing.kernels(model) == [(5, 2), (3, 1), (2, 2)]


@pytest.mark.parametrize("dx", [-3, -1, 0, 1, 4])
def test_shifted_is_numpys_roll_without_what_comes_around(dx):
    x = torch.rand(2, 1, 5, 9)
    y = torch.roll(x, dx, -1)
    if dx > 0:
        y[..., :dx] = 0
    elif dx < 0:
        y[..., dx:] = 0
    assert torch.equal(shifts.shifted(x, dx), y)


@pytest.mark.parametrize("kind", shifts.KINDS)
def test_classifiers(kind):
    model = shifts.classifier(kind)
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    batch = torch.zeros(2, 1, 28, 28, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    assert shifts._step(model.to("meta"), batch)["loss"].device.type == "meta"
    with pytest.raises(UserError, match="choose no convolution"):
        shifts.classifier(kind + "s")


def test_train_and_test_digits_are_others():
    (x, y), (test, test_y) = shifts.digits(300, 200, 0)
    assert len(x) == len(y) == 300 and len(test) == len(test_y) == 200 and x.max() == 1
    assert len(torch.cat([x, test]).flatten(1).unique(dim=0)) == 500


def test_recorded_command_on_a_tiny_scale(tmp_path):
    done = CliRunner().invoke(
        app, ["experiment", "yolo-shift", "--seeds", "2", "--scale", "tiny", "--folder", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == 8
    record = Record("yolo-shift", tmp_path)
    for kind in shifts.KINDS:
        assert len(record[kind, "0 px"]) == 2 and all(0 <= v <= 1 for d in range(5) for v in record[kind, f"{d} px"])

"""Shifted digits, and the classifiers that are tried on them."""

import json

import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.experiments import Record
from helpers.yolo import shifts


@pytest.mark.parametrize("dx", [-3, -1, 0, 1, 4])
def test_shifted_is_numpys_roll_without_what_comes_around(dx):
    x = torch.rand(2, 1, 5, 9)
    y = torch.roll(x, dx, -1)
    if dx > 0:
        y[..., :dx] = 0
    elif dx < 0:
        y[..., dx:] = 0
    assert torch.equal(shifts.shifted(x, dx), y)


def square(left, top, size=28):
    """One image, a white square of 6 pixels on black."""
    x = torch.zeros(1, 1, size, size)
    x[..., top : top + 6, left : left + 6] = 1
    return x


def test_a_quarter_turn_is_torchs():
    x = torch.rand(2, 1, 9, 9)
    assert torch.allclose(shifts.warped(x, 0), x, atol=1e-5)
    # rows grow downwards: +90 degrees here turns as rot90 with k = 1 or k = -1, but one of them, for all images
    turned = shifts.warped(x, 90)
    assert any(torch.allclose(turned, torch.rot90(x, k, (2, 3)), atol=1e-4) for k in (1, -1))
    assert torch.allclose(shifts.warped(turned, -90), x, atol=1e-4)


def test_twice_the_scale_has_four_times_the_area():
    x = square(11, 11)
    assert shifts.warped(x, scale=2.0).sum() == pytest.approx(4 * x.sum().item(), rel=0.02)  # edges are interpolated


def test_bent_moves_pixels_by_what_it_says():
    """The oracle: two ramps, whose values are the places of the pixels, so what is read off says from where."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    ramps = torch.stack([x, y]).expand(4, 2, 64, 64)
    moved = (shifts.bent(ramps, 2.0, seed=1) - ramps)[..., 8:-8, 8:-8].norm(dim=1)  # away from the zeros outside
    assert moved.mean() == pytest.approx(2, rel=0.15)  # the mean of the whole field is 2; the middle is a part of it
    assert torch.equal(shifts.bent(ramps, 2.0, seed=1), shifts.bent(ramps, 2.0, seed=1))
    assert torch.allclose(shifts.bent(ramps, 0.0), ramps, atol=1e-3)


def test_moved_shifts_each_image_by_at_most_four():
    x = torch.rand(50, 1, 5, 28)
    y, labels = shifts.moved((x, torch.arange(50)), torch.Generator().manual_seed(0))
    amounts = []
    for before, after in zip(x, y):
        [amount] = [d for d in range(-4, 5) if torch.equal(shifts.shifted(before[None], d)[0], after)]
        amounts.append(amount)
    assert set(amounts) == set(range(-4, 5)) and torch.equal(labels, torch.arange(50))


def test_pooling_and_every_second_pixel_have_as_many_weights():
    count = lambda kind: sum(p.numel() for p in shifts.classifier(kind).parameters())
    assert count("pooling") == count("every second pixel")


@pytest.mark.parametrize("kind", shifts.KINDS)
def test_classifiers(kind):
    model = shifts.classifier(kind)
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    batch = torch.zeros(2, 1, 28, 28, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    assert classify(model.to("meta"), batch)["loss"].device.type == "meta"
    with pytest.raises(UserError, match="one of no convolution"):
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
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == 18
    record = Record("yolo-shift", tmp_path)
    for kind in shifts.shifts("tiny"):
        assert len(record[kind, "0 px"]) == 2
        measures = [name for changes in shifts.CHANGES.values() for name in changes]
        assert all(0 <= v <= 1 for name in measures for v in record[kind, name])
        assert record[kind, "0 px"] == record[kind, "x 1.0"] == record[kind, "bent 0"]  # nothing was changed

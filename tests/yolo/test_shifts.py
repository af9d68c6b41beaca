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
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == 8
    record = Record("yolo-shift", tmp_path)
    for kind in shifts.KINDS:
        assert len(record[kind, "0 px"]) == 2 and all(0 <= v <= 1 for d in range(5) for v in record[kind, f"{d} px"])

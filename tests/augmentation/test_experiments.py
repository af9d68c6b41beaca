"""The recorded experiments of image augmentation: every command on a tiny scale, and what makes them fair."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.augmentation import experiments
from helpers.course.batches import Tensors
from helpers.course.classify import classify
from helpers.course.experiments import Record, arms
from helpers.course.experiments import experiments as registered

NAMES = [name for name in registered() if name.startswith("augmentation-")]
METRICS = {
    "augmentation-gap": {"train", "test", "tta"},
    "augmentation-steps": {"train", "test", "valid", "rate"},
    "augmentation-leak": {"valid", "fresh", "shared"},
    "augmentation-flip-digits": {"accuracy", "valid", "rate", "6 and 9", "2 and 5", "0 and 8"},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_command_on_a_tiny_scale(name, tmp_path):
    command = ["experiment", name, "--seeds", "2", "--scale", "tiny", "--folder", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    names = list(arms(name, "tiny"))
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == 2 * len(names)
    record = Record(name, tmp_path)
    for arm in names:
        for metric in METRICS[name]:
            assert len(record[arm, metric]) == 2 and all(0 <= v <= 1 for v in record[arm, metric])
    if name == "augmentation-leak":
        assert record["split, then copies", "shared"] == [0, 0]
        assert min(record["copies, then split", "shared"]) > 0.2


@pytest.mark.parametrize("scale", ["small", "full"])
def test_equal_compute_in_whole_epochs(scale):
    """Equal compute: within an experiment all arms ask for the same number of steps, and `train` does just these."""
    for name in set(NAMES) - {"augmentation-steps", "augmentation-flip-digits"}:  # whose budgets vary: see below
        steps = {one.args[-1] for one in arms(name, scale).values()}
        assert len(steps) == 1
    sizes = {"small": (10, 20, 40), "full": (10, 20, 40, 80, 160, 640)}[scale]
    (steps,) = {one.args[-1] for one in experiments.gap(scale).values()}
    for n in sizes:
        assert steps % -(-n * len(experiments.KINDS) // experiments.BATCH) == 0
    per_class, copies, _, steps = experiments.leak(scale)["copies, then split"].args[1:]
    trained = round(0.75 * per_class) * (copies + 1) * len(experiments.KINDS)
    assert steps % -(-trained // 50) == 0


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_digits_have_two_budgets_and_arms_that_differ_in_the_augmentation_alone(scale):
    found = experiments.digits(scale)
    budgets = sorted({one.args[-1] for one in found.values()})
    assert len(budgets) == 2 and len(found) == 2 * len(experiments.DIGIT_AUGMENTS)
    assert scale == "tiny" or budgets[1] >= 3 * budgets[0]
    assert len({one.args[1:-1] for one in found.values()}) == 1  # rates and sizes
    for name, one in found.items():
        augment, _, per_class, *_, steps = one.args
        assert name == f"{augment}, {steps} steps" and augment in experiments.DIGIT_AUGMENTS
        assert steps % -(-10 * per_class // 50) == 0  # whole epochs


def test_train_takes_the_steps_that_it_is_asked_for(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.optim.AdamW, "step", _counted(torch.optim.AdamW.step, calls))
    data = Tensors(torch.zeros(90, 1, 16, 16, dtype=torch.uint8), torch.arange(90) % 2)
    experiments.train(data, 2, 6)  # batches of 40, 40 and 10
    assert len(calls) == 6
    with pytest.raises(ValueError, match="whole number of epochs"):
        experiments.train(data, 2, 7)


def _counted(step, calls):
    def counted(*args, **kwargs):
        calls.append(1)
        return step(*args, **kwargs)

    return counted


def test_fresh_images_are_fresh():
    pool, fresh = experiments.rendered(5, 5, 3)
    assert len({p.numpy().tobytes() for p in torch.cat([pool.tensors[0], fresh.tensors[0]])}) == 80
    small = experiments.small_leaves(2, 3)
    assert torch.equal(small.tensors[0], pool.tensors[0][:16]) and torch.equal(small.tensors[1], pool.tensors[1][:16])
    parts = experiments.digit_sets(20, 10, 30, 1)
    assert [np.bincount(part.tensors[1]).tolist() for part in parts] == [[20] * 10, [10] * 10, [30] * 10]
    assert len({p.numpy().tobytes() for part in parts for p in part.tensors[0]}) == 600


def test_half_turn_is_numpys():
    x = torch.randint(0, 256, (64, 1, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = experiments.RandomHalfTurn()(x, torch.Generator().manual_seed(1))
    turned = [not torch.equal(a, b) for a, b in zip(x, out)]
    assert 16 < sum(turned) < 48
    for a, b, t in zip(x.numpy(), out.numpy(), turned):
        assert np.array_equal(b, np.rot90(a, 2, (1, 2)) if t else a)


def test_the_step_leaves_nothing_on_the_cpu():
    model = experiments.network(3).to("meta")
    x, y = torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    for labels in (y, torch.zeros(4, 3, device="meta")):
        assert {v.device.type for v in classify(model, (x, labels)).values()} == {"meta"}

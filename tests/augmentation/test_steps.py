"""Budgets: as many optimiser steps as asked, a schedule of their own, a rate chosen on validation leaves."""

import pytest
import torch

from helpers.augmentation import experiments, steps
from helpers.course.batches import Tensors


@pytest.mark.parametrize("count", [2, 6, 14])
def test_a_budget_of_n_steps_takes_n_optimiser_steps_and_ends_at_rate_0(count, monkeypatch):
    rates, real = [], torch.optim.AdamW.step

    def counted(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    data = Tensors(torch.zeros(80, 3, 32, 32, dtype=torch.uint8), torch.arange(80) % 2)  # two batches an epoch
    experiments.train(data, 2, count, lr=4e-3)
    assert len(rates) == count and rates[-1] < 1e-4 * 4e-3 and max(rates) <= 4e-3 * (1 + 1e-9)


def test_budgets_are_whole_epochs_and_arms_differ_in_the_augmentation_alone():
    for scale in ("tiny", "small", "full"):
        arms = steps.budgets(scale)
        for name, one in arms.items():
            augment, rates, per_class, valid, test, count = one.args
            assert name == f"{augment}, {count} steps" and augment in experiments.gap_augments()
            assert count % -(-per_class * len(experiments.KINDS) // experiments.BATCH) == 0
        assert len({one.args[1:5] for one in arms.values()}) == 1
        counts = {one.args[5] for one in arms.values()}
        assert len(arms) == 3 * len(counts)


def test_a_budget_is_a_training_of_its_own(monkeypatch):
    """Each rate is trained anew for all of the budget; the test leaves are seen by the chosen network alone."""
    asked, real = [], steps.train

    def watched(data, classes, count, augment, seed, lr):
        asked.append((count, lr))
        return real(data, classes, count, augment, seed, lr=lr)

    monkeypatch.setattr(steps, "train", watched)
    values = steps._budget("flip + crop", (1e-3, 4e-3), 5, 2, 2, 4, 0)
    assert asked == [(4, 1e-3), (4, 4e-3)]
    assert values["valid"] == max(values["valid 0.001"], values["valid 0.004"]) and values["rate"] in (1e-3, 4e-3)


def test_no_two_sets_share_a_leaf():
    parts = steps.leaf_sets(3, 2, 2, 0)
    assert len({x.numpy().tobytes() for part in parts for x in part.tensors[0]}) == 7 * len(experiments.KINDS)

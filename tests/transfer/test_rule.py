"""The cells of the rule: augmented views, the head that all strategies share, choices, arms."""

import dataclasses

import pytest
import torch

from helpers.course.augment import flip_and_shift
from helpers.course.batches import Tensors
from helpers.course.training import evaluate
from helpers.transfer import rule
from helpers.transfer.model import Classifier
from helpers.transfer.train import features

CELL = rule.Cell("leaves", 32, 2, 1, 1, 2, ((1e-3, 2), (1e-4, 1)), rule.KINDS[:2], 4)


@pytest.fixture(scope="module")
def model():
    return Classifier(2)


@pytest.fixture(scope="module")
def data():
    x = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Tensors(x, torch.arange(6) % 2)


def test_views_that_change_nothing_have_the_features_of_the_pictures(model, data):
    plain = features(model, data)
    for augment in (None, lambda batch, generator: batch):
        x, y = rule.view_features(model, data, augment, views=2, seed=0, batch_size=4)
        assert torch.equal(x, plain.repeat(2, 1)) and y.tolist() == data.tensors[1].tolist() * 2


def test_each_view_is_drawn_anew_and_the_same_with_the_same_seed(model, data):
    x, _ = rule.view_features(model, data, flip_and_shift, views=2, seed=0, batch_size=4)
    assert not torch.allclose(x[:6], x[6:], atol=1e-3)
    torch.testing.assert_close(rule.view_features(model, data, flip_and_shift, 2, 0, 4)[0], x)
    assert not torch.allclose(rule.view_features(model, data, flip_and_shift, 2, 1, 4)[0], x, atol=1e-3)


def test_every_size_shows_the_same_leaves():
    small, large = (rule.leaf_sets(rule.KINDS[:2], 1, 1, 1, size, 0)[0].tensors for size in (32, 64))
    halved = torch.nn.functional.avg_pool2d(large[0].float(), 2)
    assert small[0].shape == (2, 3, 32, 32) and torch.equal(small[1], large[1])
    assert (halved - small[0]).abs().mean() < 6  # another filter, the same picture
    assert (halved - small[0].roll(1, 0)).abs().mean() > 12


def test_digits_are_split_and_neither_mirrored_nor_shifted(monkeypatch):
    cell = dataclasses.replace(CELL, kind="digits", per_class=3, valid=2, test=4)
    parts = rule.pictures(cell, 0)
    assert [part.tensors[0].shape for part in parts] == [(10 * n, 3, 32, 32) for n in (3, 2, 4)]
    assert len({x.numpy().tobytes() for part in parts for x in part.tensors[0]}) == 90
    asked = []
    monkeypatch.setattr(rule, "train_classifier", lambda model, data, **options: asked.append(options["augment"]))
    for one in (cell, CELL):
        rule._arm(one, "half", 0)
    assert cell.augment is None and asked == [False, False, True, True]


def test_training_validation_and_test_leaves_differ():
    parts = rule.leaf_sets(rule.KINDS[:3], 2, 2, 2, 32, 0)
    assert len({x.numpy().tobytes() for part in parts for x in part.tensors[0]}) == 18
    few, many = (rule.leaf_sets(rule.KINDS[:3], n, 1, 1, 32, 0)[0].tensors for n in (1, 2))
    assert torch.equal(many[0][:3], few[0]) and torch.equal(many[1][:3], few[1])


def test_all_strategies_start_from_the_same_head(monkeypatch):
    starts = []

    def recorded(model, data, **options):
        starts.append(model.head.weight.detach().clone())

    monkeypatch.setattr(rule, "train_classifier", recorded)
    head = rule.probed(CELL, 0)[0].head.weight
    for strategy in ("half", "none"):
        rule._arm(CELL, strategy, 0)
    assert len(starts) == 4 and all(torch.equal(start, head) for start in starts) and head.any()


def test_the_base_stays_as_it_came_and_fine_tuning_leaves_it_for_the_next_arm():
    model, _ = rule.probed(CELL, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    base = rule._arm(CELL, "base", 0)
    rule._arm(CELL, "none", 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    untouched = Classifier(2).base.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in model.base.state_dict().items())
    assert rule._arm(CELL, "base", 0) == base


def test_only_the_chosen_setting_is_tested(monkeypatch):
    from helpers.course import choice

    test, seen = rule.pictures(CELL, 0)[2], []

    def watched(model, data, **options):
        seen.append(data is test)
        return evaluate(model, data, **options)

    monkeypatch.setattr(choice, "evaluate", watched)
    values = rule._arm(CELL, "half", 0)
    assert seen == [False, False, True]
    best = max(CELL.settings, key=lambda s: values[f"valid {s[0]:g}, {s[1]} steps"])
    assert values["valid"] == values[f"valid {best[0]:g}, {best[1]} steps"]
    assert values["rate"] in (1e-3, 1e-4) and values["steps"] in (1, 2)


def test_epochs_of_a_number_of_steps():
    for steps, pictures, batch in ((24, 60, 16), (72, 480, 16), (1, 15, 16), (30, 15, 16)):
        epochs, per_epoch = rule.epochs_of(steps, pictures, batch), -(-pictures // batch)
        assert (epochs - 1) * per_epoch < steps <= epochs * per_epoch


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
@pytest.mark.parametrize("study", [rule.resolution, rule.real])
def test_the_strategies_of_a_cell_differ_in_nothing_else(study, scale):
    arms = study(scale)
    cells = {}
    for name, arm in arms.items():
        cell, strategy = arm.args
        where, _, called = name.rpartition(": ")
        assert called == strategy and cells.setdefault(where, cell) == cell
        assert f"{cell.per_class} a class" in name
    assert len(arms) == (2 if study is rule.resolution and scale == "small" else 3) * len(cells)
    assert len({(cell.settings, cell.valid, cell.test) for cell in cells.values()}) == 1


def test_cells_of_the_same_number_differ_in_resolution_alone():
    cells = [arm.args[0] for name, arm in rule.resolution("small").items() if name.startswith("5 ")]
    assert {cell.size for cell in cells} == {64, 128, 224}
    assert len({dataclasses.replace(cell, size=0) for cell in cells}) == 1

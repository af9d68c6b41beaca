"""A setting is chosen on validation data; nothing about the test data can change the choice."""

import pytest
import torch
from torch import nn

from helpers.course import choice
from helpers.course.batches import Tensors
from helpers.course.choice import choose, validated
from helpers.course.errors import UserError


class Constant(nn.Module):
    """Always says class `k` of three, with a margin."""

    def __init__(self, k, margin=5.0):
        super().__init__()
        self.logits = nn.Parameter(margin * torch.eye(3)[k])

    def forward(self, x):
        return self.logits.expand(len(x), 3)


def labels(*y):
    return Tensors(torch.zeros(len(y), 1), torch.tensor(y))


def test_the_best_score_is_chosen_and_of_equals_the_first():
    table = {"a": 1, "b": 3, "c": 3, "d": 2}
    found = choose(table, lambda setting: setting * 10, lambda model: model)
    assert (found.name, found.model, found.scores) == ("b", 30, {"a": 10, "b": 30, "c": 30, "d": 20})
    assert choose(table, lambda setting: setting, lambda model: model, larger=False).name == "a"
    assert choose({"a": 0, "b": 1}, lambda k: k, lambda k: [(0.5, -2.0), (0.5, -1.0)][k]).name == "b"
    with pytest.raises(UserError, match="no setting"):
        choose({}, lambda setting: setting, lambda model: 0)


def test_each_setting_is_trained_once():
    asked = []
    choose({"a": 1, "b": 2}, lambda setting: asked.append(setting) or setting, lambda model: model)
    assert asked == [1, 2]


def test_accuracy_decides_and_of_equal_ones_the_loss():
    valid, test = labels(0, 0, 1), labels(2, 2, 0)
    found, values = validated({"zero": 0, "one": 1, "two": 2}, Constant, valid, {"fresh": test})
    assert found.name == "zero" and values["valid"] == pytest.approx(2 / 3)
    assert values["fresh"] == pytest.approx(1 / 3) and values["valid two"] == 0
    margins = {"bold": 9.0, "humble": 0.5}  # as often right; the bold one pays more for its mistake
    assert validated(margins, lambda m: Constant(0, m), valid, {})[0].name == "humble"


@pytest.mark.parametrize("planted", [(0, 0, 0), (1, 1, 1), (2, 2, 2)])
def test_a_planted_test_score_cannot_change_the_choice(planted, monkeypatch):
    """Whichever setting the test data favour, the choice is the validation data's; and they are looked at only by the
    chosen model, once all settings have been validated."""
    seen, valid, test = [], labels(0, 1, 1), labels(*planted)
    real = choice.evaluate

    def watched(model, data, **options):
        seen.append(("test" if data is test else "valid", int(model.logits.argmax())))
        return real(model, data, **options)

    monkeypatch.setattr(choice, "evaluate", watched)
    found, values = validated({"zero": 0, "one": 1, "two": 2}, Constant, valid, {"fresh": test})
    assert found.name == "one" and values["fresh"] == (planted[0] == 1)
    assert seen == [("valid", 0), ("valid", 1), ("valid", 2), ("test", 1)]

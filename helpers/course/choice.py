"""Choosing a setting, such as a learning rate or a number of steps, on validation data and on nothing else.

Every arm of an experiment gets the same settings to choose from and makes its own choice. The test data are looked at
once, by the model that was chosen: `validated` has them in its hands only after `choose` has returned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn
from torch.utils.data import Dataset

from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.training import evaluate

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Choice:
    """The setting that was chosen: its name, the model trained with it, and the score of every setting."""

    name: str
    model: Any
    scores: Mapping[str, Any]  # {name of the setting: what `score` said of its model}


def choose(
    settings: Mapping[str, Setting], train: Callable[[Setting], Any], score: Callable[[Any], Any], larger: bool = True
) -> Choice:
    """Train once with each setting and keep the model with the best score; of equals the first.

    settings  {name: setting}
    train     train(setting) -> model
    score     score(model) -> a number, or a tuple of which the first entry counts most; from validation data
    larger    whether a larger score is better
    """
    if not settings:
        raise UserError("there is no setting to choose from")
    scores: dict[str, Any] = {}
    best: tuple[str, Any] | None = None
    for name, setting in settings.items():
        model = train(setting)
        scores[name] = score(model)
        if best is None or (scores[name] > scores[best[0]] if larger else scores[name] < scores[best[0]]):
            best = name, model
    assert best is not None
    return Choice(*best, scores)


def validated(
    settings: Mapping[str, Setting], train: Callable[[Setting], nn.Module], valid: Dataset, tests: Mapping[str, Dataset]
) -> tuple[Choice, dict[str, float]]:
    """Choose the setting of a classifier by its accuracy on `valid`, of equal ones by the lower loss: the choice, and
    what a record keeps of it.

    tests    {measure: data}, the data that only the chosen model is tested on

    Returns (choice, {measure: accuracy} with "valid", the accuracy on the validation data, and "valid NAME", that of
    each setting). "valid" is the best of several: it flatters, which is why there are `tests`.
    """

    def score(model: nn.Module) -> tuple[float, float]:
        found = evaluate(model, valid, step=classify)
        return found["accuracy"], -found["loss"]

    choice = choose(settings, train, score)
    values = {name: evaluate(choice.model, data, step=classify)["accuracy"] for name, data in tests.items()}
    values["valid"] = choice.scores[choice.name][0]
    return choice, values | {f"valid {name}": accuracy for name, (accuracy, _) in choice.scores.items()}

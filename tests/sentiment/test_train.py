"""Every kind of model learns a toy problem, repeats itself, resumes, and says what is wrong with its input."""

import numpy as np
import pytest
from toy_texts import FAST, KINDS, toy

from helpers.course.errors import UserError
from helpers.data.texts import Table
from helpers.sentiment.model import LINEAR
from helpers.sentiment.train import accuracy_by_length, evaluate, train_classifier


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns(trained, kind):
    classifier, report = trained[kind]
    result = evaluate(classifier, toy(seed=1))
    assert result["n"] == 300 and result["accuracy"] > 0.9 and result["balanced_accuracy"] > 0.9
    assert result["accuracy"] * 300 == pytest.approx(round(result["accuracy"] * 300), abs=1e-9)
    assert report["members"] == len(classifier.models) == (2 if kind in ("best", "class-ratio") else 1)
    assert report["epochs"] == (0 if kind in LINEAR else 20 if kind == "best" else 4)


def test_training_is_repeatable_and_resumes(tmp_path):
    def run(out=None, **more):
        classifier, report = train_classifier(
            toy(), "best", members=1, pretrain_epochs=1, out=out, seed=4, **FAST | {"epochs": 3} | more
        )
        return classifier.score(toy(seed=1).texts), report

    first, _ = run()
    second, report = run(tmp_path)
    assert np.array_equal(first, second) and report["resumed_from"] is None
    with pytest.raises(UserError, match="--resume"):
        run(tmp_path)
    third, report = run(tmp_path, resume=True)  # all is done: nothing changes
    assert np.array_equal(first, third) and report["resumed_from"] == {"epoch": 3, "step": 0}
    with pytest.raises(UserError, match="lr 0.002, not 0.5"):
        run(tmp_path, resume=True, lr=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "transformer"}, "there is no model 'transformer'; choose one of naive-bayes, tfidf, linear, bag"),
        ({"unit": "phoneme"}, "there is no unit 'phoneme'"),
    ],
)
def test_wrong_choices_are_named(options, message):
    with pytest.raises(UserError, match=message):
        train_classifier(toy(), **options)


def test_too_little_to_train_on():
    with pytest.raises(UserError, match="both classes"):
        train_classifier(Table(["a", "b"], np.array([1, 1]), None, ["0", "1"]), "naive-bayes")
    with pytest.raises(UserError, match="no word occurs twice"):
        train_classifier(Table(["a", "b"], np.array([0, 1]), None, ["0", "1"]), "bag")


def test_accuracy_by_length(trained):
    classifier, table = trained["naive-bayes"][0], toy(seed=1)
    rows = accuracy_by_length(classifier, table, edges=(0, 5, 8, 99))
    assert sum(n for *_, n in rows) == 300 and [row[:2] for row in rows] == [(0, 5), (5, 8), (8, 99)]
    whole = sum(accuracy * n for _, _, accuracy, n in rows) / 300
    assert whole == pytest.approx(evaluate(classifier, table)["accuracy"])

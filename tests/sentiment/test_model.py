"""Whole classifiers: defined answers for odd texts, storage, and the stored ones as good as their records."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_texts import KINDS, toy

from helpers.course.errors import UserError
from helpers.data.texts import film_reviews, split_groups
from helpers.sentiment.model import Classifier
from helpers.sentiment.text import shuffled
from helpers.sentiment.train import evaluate


@pytest.mark.parametrize("kind", KINDS)
def test_odd_texts_have_defined_answers(trained, kind):
    classifier, _ = trained[kind]
    prior = toy().labels.mean()
    texts = ["", " \n\t", "qqqq vvvv", "영화 재미", "a great film", "<b>great</b> & dull", "\x00\u2028great"]
    answers = classifier.predict(texts)
    for answer in answers[:4]:  # nothing known: the share in training
        assert answer["known"] == 0 and answer["score"] == prior
        assert answer["label"] == ["against", "for"][int(prior > 0.5)]
    assert answers[0]["tokens"] == 0 and answers[2]["tokens"] == 2
    assert answers[4]["label"] == "for" and answers[4]["known"] == 3 == answers[4]["read"]
    assert all(0 <= answer["score"] <= 1 for answer in answers)
    alone = [classifier.score([text])[0] for text in texts]
    assert np.abs(alone - classifier.score(texts)).max() < 1e-6  # the company in the batch changes nothing
    assert classifier.score([]).shape == (0,)


@pytest.mark.parametrize("kind", ["linear", "bag", "best"])
def test_a_very_long_text(trained, kind):
    classifier, _ = trained[kind]
    text = "great " * 1000 + "dull " * 99_000
    (answer,) = classifier.predict([text])
    assert answer["tokens"] == 100_000 and 0 <= answer["score"] <= 1
    if kind == "linear":
        assert answer["read"] == 100_000 and answer["label"] == "against"
    else:  # a reader says how far it read
        assert answer["read"] == 1000 and answer["label"] == "for"
        assert answer["score"] == classifier.score(["great " * 1000])[0]


@pytest.mark.parametrize("kind", ["naive-bayes", "linear", "bag", "best", "class-ratio"])
def test_save_and_load(trained, kind, tmp_path):
    classifier, _ = trained[kind]
    classifier.save(tmp_path)
    copy = Classifier.load(tmp_path)
    texts = [*toy(seed=2).texts, "", "qqqq"]
    assert np.array_equal(copy.score(texts), classifier.score(texts)) and copy.classes == ["against", "for"]
    assert [p.name for p in tmp_path.iterdir()] == ["sentiment.safetensors"]


def test_files_of_others_are_refused(tmp_path):
    from helpers.course.training import save_model

    save_model(tmp_path / "sentiment.safetensors", torch.nn.Linear(2, 2), {"task": "something else"})
    with pytest.raises(UserError, match="holds no sentiment model"):
        Classifier.load(tmp_path)
    with pytest.raises(UserError):
        Classifier.load(tmp_path / "nowhere")


def test_word_order_is_seen_by_a_reader_and_not_by_a_bag(trained):
    texts = toy(seed=3).texts
    moved = shuffled(texts)
    bag, lstm = trained["bag"][0], trained["lstm"][0]
    assert np.abs(bag.score(texts) - bag.score(moved)).max() < 1e-6
    assert np.abs(lstm.score(texts) - lstm.score(moved)).max() > 1e-4


@pytest.mark.parametrize(
    "name, limit", [("sentiment-reviews", 2e6), ("sentiment-attention", 3e6), ("sentiment-linear", 3.2e6)]
)
def test_a_stored_classifier_is_as_good_as_its_record_says(name, limit):
    """16-bit numbers, asked about the films that the classifier was not trained on."""
    folder = Path(__file__).parents[2] / "checkpoints" / name
    facts = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < limit
    assert facts["command"].startswith("python -m helpers sentiment train ") and facts["measured_on"] == "test"
    table = film_reviews()
    held = table.rows(split_groups(table.groups, 0.2, facts["seed"])[1])
    result = evaluate(Classifier.load(folder), held)
    assert result["n"] == facts["n"] and result["accuracy"] > 0.74
    assert abs(result["accuracy"] - facts["accuracy"]) < 0.004


def test_running_score(trained):
    classifier, _ = trained["lstm"]
    text = "A  great <script>alert('x')</script> & dull\nfilm"
    pieces, scores = classifier.running_score(text)
    assert "".join(pieces) == text and len(scores) == len(pieces) == 6
    assert scores[-1] == pytest.approx(classifier.score([text])[0], abs=1e-6)
    assert scores[1] == pytest.approx(classifier.score(["A  great "])[0], abs=1e-6)
    assert scores[1] > 0.5
    assert classifier.running_score("")[0] == [] and len(classifier.running_score(text, max_words=2)[1]) == 2

"""Whole classifiers: defined answers for odd texts, storage, splits, and accuracy on real Korean reviews."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.course.errors import UserError
from helpers.course.experiments import Record
from helpers.data import texts
from helpers.data.texts import Table, load_tsv, split_groups
from helpers.sentiment import experiments as sentiment_study
from helpers.sentiment import figures
from helpers.sentiment import model as sentiment
from helpers.sentiment.model import Classifier
from helpers.sentiment.train import accuracy_by_length, compare, evaluate, train_classifier

SHARED = Path(os.environ.get("DLM_SHARED", Path(__file__).parents[2] / ".." / "shared"))
NSMC = SHARED / "data" / "nsmc" / "train.tsv"
KINDS = [*sentiment.LINEAR, *sentiment.READERS]
FAST = {"epochs": 4, "device": "cpu", "precision": "no"}


def toy(n=300, seed=0):
    """Texts whose class is told by one word of them; 20 films."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    filler = ["the", "film", "is", "a", "story", "of", "two", "men", "and", "one", "dog"]
    texts = []
    for label in labels:
        sentence = list(rng.choice(filler, rng.integers(2, 9)))
        sentence.insert(rng.integers(0, len(sentence) + 1), rng.choice([["dull", "bad"], ["fine", "great"]][label]))
        texts.append(" ".join(sentence))
    return Table(texts, labels, rng.integers(0, 20, n), ["against", "for"])


@pytest.fixture(scope="module")
def trained():
    """One classifier of each kind, trained for a second."""
    options = {kind: {"lr": 1e-2} | FAST for kind in sentiment.READERS} | {kind: {} for kind in sentiment.LINEAR}
    options["hinted"] |= {"members": 2}
    options["best"] |= {"lr": 4e-3, "batch_size": 16, "epochs": 20, "pretrain_epochs": 1, "members": 2}
    return {kind: train_classifier(toy(), kind, **options[kind]) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns(trained, kind):
    classifier, report = trained[kind]
    result = evaluate(classifier, toy(seed=1))
    assert result["n"] == 300 and result["accuracy"] > 0.9 and result["balanced_accuracy"] > 0.9
    assert result["accuracy"] * 300 == pytest.approx(round(result["accuracy"] * 300), abs=1e-9)
    assert report["members"] == len(classifier.models) == (2 if kind in ("best", "hinted") else 1)
    assert report["epochs"] == (0 if kind in sentiment.LINEAR else 20 if kind == "best" else 4)


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


@pytest.mark.parametrize("kind", ["naive-bayes", "linear", "bag", "best", "hinted"])
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


def test_running_score_and_its_html(trained):
    classifier, _ = trained["lstm"]
    text = "A  great <script>alert('x')</script> & dull\nfilm"
    pieces, scores = figures.running_score(classifier, text)
    assert "".join(pieces) == text and len(scores) == len(pieces) == 6
    assert scores[-1] == pytest.approx(classifier.score([text])[0], abs=1e-6)
    assert scores[1] == pytest.approx(classifier.score(["A  great "])[0], abs=1e-6)
    assert scores[1] > 0.5
    assert figures.running_score(classifier, "")[0] == []

    class Seen(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.data = set(), []

        def handle_starttag(self, tag, attributes):
            self.tags.add(tag)

        def handle_data(self, data):
            self.data.append(data)

    page = Seen()
    page.feed(figures.marked(pieces, scores))
    assert page.tags == {"p", "ruby", "rt"}  # the review brings no element of its own
    shown = "".join(page.data)
    assert "<script>alert('x')</script>" in shown and "&" in shown
    assert all(f"{100 * score:.0f}" in shown for score in scores)  # not by colour alone


def test_shuffled_keeps_the_words():
    texts = toy().texts[:50]
    mixed = figures.shuffled(texts)
    assert [sorted(a.split()) for a in texts] == [sorted(a.split()) for a in mixed]
    assert sum(a != b for a, b in zip(texts, mixed)) > 40 and mixed == figures.shuffled(texts)


def test_word_order_is_seen_by_a_reader_and_not_by_a_bag(trained):
    texts = toy(seed=3).texts
    moved = figures.shuffled(texts)
    bag, lstm = trained["bag"][0], trained["lstm"][0]
    assert np.abs(bag.score(texts) - bag.score(moved)).max() < 1e-6
    assert np.abs(lstm.score(texts) - lstm.score(moved)).max() > 1e-4


def test_compare():
    results = compare(toy(), ["majority", "naive-bayes", "bag"], seeds=2, **FAST, lr=1e-2)
    assert set(results) == {"majority", "naive-bayes", "bag"}
    for kind, values in results.items():
        assert {name: len(row) for name, row in values.items()} == dict.fromkeys(
            ["accuracy", "balanced_accuracy", "shuffled", "seconds"], 2
        )
        low = 0.5 if kind == "majority" else 0.85
        assert all(low <= value <= 1 for value in values["balanced_accuracy"] + values["shuffled"])
    # majority, by hand: the larger class of the training texts, counted in the test texts
    table, kept, held = toy(), *split_groups(toy().groups, 0.2, 1)
    larger = int(table.labels[kept].mean() > 0.5)
    assert results["majority"]["accuracy"][1] == np.mean(table.labels[held] == larger)


def test_accuracy_by_length(trained):
    classifier, table = trained["naive-bayes"][0], toy(seed=1)
    rows = accuracy_by_length(classifier, table, edges=(0, 5, 8, 99))
    assert sum(n for *_, n in rows) == 300 and [row[:2] for row in rows] == [(0, 5), (5, 8), (8, 99)]
    whole = sum(accuracy * n for _, _, accuracy, n in rows) / 300
    assert whole == pytest.approx(evaluate(classifier, table)["accuracy"])


def test_korean_reviews_linear():
    """20,000 Naver reviews: runs of one to three characters, on films that the linear model was not trained on.

    A single split says little: the ten of `sentiment-folds` differ by 0.03. Three of them are done again.
    """
    if not NSMC.exists():
        pytest.skip("needs ../shared/data/nsmc/train.tsv (or DLM_SHARED)")
    table = load_tsv(NSMC, group="movie")
    assert len(table) == 20_000 and table.classes == ["0", "1"] and abs(table.labels.mean() - 0.5) < 0.01
    record, arm = Record("sentiment-folds"), sentiment_study.korean_folds("small")["syllable+joined"]
    again = [arm(fold) for fold in range(3)]
    assert [row["accuracy"] for row in again] == pytest.approx(record["syllable+joined", "accuracy"][:3], abs=0.003)
    sizes, right = (np.array(record["syllable+joined", name]) for name in ("n", "accuracy"))
    assert sizes.sum() == len(table) and sizes @ right / len(table) >= 0.85


@pytest.mark.parametrize("name", ["sentiment-reviews", "sentiment-attention"])
def test_a_stored_classifier_is_as_good_as_its_record_says(name):
    """16-bit numbers, asked about the films that the classifier was not trained on."""
    folder = Path(__file__).parents[2] / "checkpoints" / name
    facts = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    assert facts["command"].startswith("python -m helpers sentiment train ") and facts["measured_on"] == "test"
    table = texts.film_reviews()
    held = table.rows(split_groups(table.groups, 0.2, facts["seed"])[1])
    result = evaluate(Classifier.load(folder), held)
    assert result["n"] == facts["n"] and result["accuracy"] > 0.74
    assert abs(result["accuracy"] - facts["accuracy"]) < 0.004

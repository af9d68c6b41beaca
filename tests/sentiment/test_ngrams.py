"""Oracles: scikit-learn's vectorisers and models, Bayes' rule by hand."""

import math

import numpy as np
import pytest
import torch

from helpers.data.vocabulary import Vocabulary
from helpers.sentiment.ngrams import ClassRatios, NGramModel, naive_bayes, ratio_regression, tfidf_regression
from helpers.sentiment.text import ngrams, words

TEXTS = ["a good good film", "a bad film", "good , very good", "bad bad bad", "not a good film", "so very bad", "film"]
LABELS = np.array([1, 0, 1, 0, 0, 0, 1])
NEW = ["good film", "never seen these", "", "very bad bad film film"]


def tokens(texts):
    return [words(text) for text in texts]


def analyse(text):
    return ngrams(words(text), 1, 2)


def test_naive_bayes_equals_sklearn():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    counter = CountVectorizer(analyzer=analyse, binary=True)
    for prior in (True, False):
        theirs = MultinomialNB(fit_prior=prior).fit(counter.fit_transform(TEXTS), LABELS)
        ours = naive_bayes(tokens(TEXTS), LABELS, prior=prior)
        for texts in (TEXTS, NEW):
            wanted = theirs.predict_proba(counter.transform(texts))[:, 1]
            assert np.abs(torch.sigmoid(ours(tokens(texts))).numpy() - wanted).max() < 1e-12


def test_naive_bayes_by_hand():
    model = naive_bayes([["x"], ["x", "y"], ["y"]], [1, 1, 0], 1, 1)
    # p(x|1) = (1+2)/(2+3), p(y|1) = (1+1)/(2+3); p(x|0) = (1+0)/(2+1), p(y|0) = (1+1)/(2+1); p(1)/p(0) = 2
    wanted = math.log(2) + math.log(3 / 5 / (1 / 3)) + math.log(2 / 5 / (2 / 3))
    assert abs(model([["y", "x", "x"]]).item() - wanted) < 1e-12  # binary: a second x adds nothing


def test_tfidf_equals_sklearn():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectoriser = TfidfVectorizer(analyzer=analyse)
    wanted = vectoriser.fit_transform(TEXTS)
    for balanced in (True, False):
        ours = tfidf_regression(tokens(TEXTS), LABELS, strength=3.0, balanced=balanced)
        order = [ours.index[term] for term in vectoriser.get_feature_names_out()]
        for texts in (TEXTS, NEW):
            difference = ours.features(tokens(texts)).toarray()[:, order] - vectoriser.transform(texts).toarray()
            assert np.abs(difference).max() < 1e-12
        theirs = LogisticRegression(C=3.0, class_weight="balanced" if balanced else None, tol=1e-10, max_iter=9999)
        theirs.fit(wanted, LABELS)
        scores = theirs.decision_function(vectoriser.transform(NEW))
        assert np.abs(ours(tokens(NEW)).numpy() - scores).max() < 1e-3


def test_once_equals_binary_of_sklearn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [*TEXTS, "film film film", "a a b b b c"]
    vectoriser = TfidfVectorizer(analyzer=analyse, binary=True).fit(TEXTS)
    ours = tfidf_regression(tokens(TEXTS), LABELS, once=True)
    order = [ours.index[term] for term in vectoriser.get_feature_names_out()]
    difference = ours.features(tokens(texts)).toarray()[:, order] - vectoriser.transform(texts).toarray()
    assert np.abs(difference).max() < 1e-12


def test_ratio_equals_sklearn_on_weighted_features():
    from sklearn.linear_model import LogisticRegression

    bayes = naive_bayes(tokens(TEXTS), LABELS)
    ours = ratio_regression(tokens(TEXTS), LABELS, strength=2.0, bayes=0.0)
    assert ours.terms == bayes.terms
    r = bayes.weight.numpy()
    theirs = LogisticRegression(C=2.0, class_weight="balanced", tol=1e-10, max_iter=9999)
    theirs.fit(ours.features(tokens(TEXTS)).toarray() * r, LABELS)
    scores = theirs.decision_function(ours.features(tokens(NEW)).toarray() * r)
    assert np.abs(ours(tokens(NEW)).numpy() - scores).max() < 1e-3


def test_ratio_moves_to_naive_bayes():
    """Wang and Manning's interpolation, and its ends: nothing but the regression, nothing but the log ratios."""
    fitted, moved, whole = (ratio_regression(tokens(TEXTS), LABELS, bayes=share) for share in (0.0, 0.3, 1.0))
    r = naive_bayes(tokens(TEXTS), LABELS).weight.numpy()
    assert (r != 0).all()
    v = fitted.weight.numpy() / r
    assert np.abs(moved.weight.numpy() / r - (0.7 * v + 0.3 * np.abs(v).mean())).max() < 1e-12
    assert np.abs(whole.weight.numpy() / r - np.abs(v).mean()).max() < 1e-12 and whole.bias == 0
    assert moved.bias.item() == pytest.approx(0.7 * fitted.bias.item())


@pytest.mark.parametrize("fit", [naive_bayes, tfidf_regression, ratio_regression])
def test_weights_travel_through_a_state_dict(fit):
    model = fit(tokens(TEXTS), LABELS)
    copy = NGramModel(model.terms, model.low, model.high, model.binary)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(tokens(NEW)), model(tokens(NEW)))


def test_class_ratios_by_hand():
    texts, labels = [["x", "y"], ["x", "z"], ["x", "y"], ["z"]], np.array([1, 0, 1, 0])
    ratios, rows = ClassRatios.build(texts, labels, np.arange(4), folds=2)
    vocabulary = Vocabulary(["x", "y", "z"])
    assert ratios.vocabulary.tokens == vocabulary.tokens and len(ratios) == 5 + 2 * 17
    bayes = naive_bayes(texts, labels, 1, 2)
    ids = ratios.encode(["y", "x", "y", "new"])
    assert ids.shape == (4, 3) and ids[:, 0].tolist() == vocabulary.encode(["y", "x", "y", "new"])
    level = [round(2 * bayes.weight[bayes.index[term]].item()) + 8 for term in ("y", "x", "x\ty")]
    assert ids[:, 1].tolist() == [5 + level[0], 5 + level[1], 5 + level[0], 0]
    assert ids[:, 2].tolist() == [0, 0, 22 + level[2], 0]  # "y x" and "y new" were never seen
    assert len(rows) == 4 and ratios.encode([]).shape == (0, 3)


def test_class_ratios_of_a_training_text_do_not_know_its_label():
    rng = np.random.default_rng(0)
    texts = [list(rng.choice(list("abcdefgh"), 6)) for _ in range(40)]
    labels, groups = rng.integers(0, 2, 40), np.arange(40) % 10
    _, rows = ClassRatios.build(texts, labels, groups)
    for i in range(0, 40, 7):
        turned = labels.copy()
        turned[i] = 1 - turned[i]
        _, other = ClassRatios.build(texts, turned, groups)
        assert np.array_equal(rows[i], other[i])
        assert any(not np.array_equal(a, b) for a, b in zip(rows, other))  # but those of others do

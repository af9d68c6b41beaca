"""Oracles: scikit-learn's vectorisers and models, Bayes' rule by hand."""

import math

import numpy as np
import pytest
import torch

from helpers.ngrams import NGramModel, naive_bayes, ratio_regression, tfidf_regression
from helpers.text import ngrams, words

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
    assert abs(model([["y", "x", "x"]]).item() - wanted) < 1e-12        # binary: a second x adds nothing


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
    ours, bayes = ratio_regression(tokens(TEXTS), LABELS, strength=2.0), naive_bayes(tokens(TEXTS), LABELS)
    assert ours.terms == bayes.terms
    r = bayes.weight.numpy()
    theirs = LogisticRegression(C=2.0, class_weight="balanced", tol=1e-10, max_iter=9999)
    theirs.fit(ours.features(tokens(TEXTS)).toarray() * r, LABELS)
    scores = theirs.decision_function(ours.features(tokens(NEW)).toarray() * r)
    assert np.abs(ours(tokens(NEW)).numpy() - scores).max() < 1e-3


@pytest.mark.parametrize("fit", [naive_bayes, tfidf_regression, ratio_regression])
def test_weights_travel_through_a_state_dict(fit):
    model = fit(tokens(TEXTS), LABELS)
    copy = NGramModel(model.terms, model.low, model.high, model.binary)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(tokens(NEW)), model(tokens(NEW)))

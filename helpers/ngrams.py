"""Linear models on n-grams: naive Bayes, logistic regression on TF-IDF, and both in one; all can be stored."""

import numpy as np
import torch
import torch.nn as nn

from helpers.text import Vocabulary, ngrams


class NGramModel(nn.Module):
    """σ(x·w + b), x the n-grams of a text: binary counts, or TF-IDF of length 1 where `idf` is set.

    With `binary` a term that stands twice in a text counts once in TF-IDF, too. Holds what naive Bayes and logistic
    regression learn alike. forward(list of token lists) -> logits (N,).
    """

    def __init__(self, terms, low, high, binary=False):
        super().__init__()
        self.terms, self.low, self.high, self.binary = list(terms), low, high, binary
        self.index = {term: k for k, term in enumerate(self.terms)}
        self.register_buffer("weight", torch.zeros(len(self.terms), dtype=torch.float64))
        self.register_buffer("bias", torch.zeros((), dtype=torch.float64))
        self.register_buffer("idf", torch.zeros(len(self.terms), dtype=torch.float64))   # 0: binary counts

    @classmethod
    def of(cls, texts, low, high):
        """With all n-grams of these lists of tokens as terms."""
        return cls(Vocabulary.build(ngrams(tokens, low, high) for tokens in texts).tokens, low, high)

    def counts(self, texts):
        """(N, V) sparse: how often each term stands in each text."""
        from scipy.sparse import csr_array

        columns, ends = [], [0]
        for tokens in texts:
            found = map(self.index.get, ngrams(tokens, self.low, self.high))
            columns += [k for k in found if k is not None]
            ends.append(len(columns))
        shape = len(texts), len(self.terms)
        counts = csr_array((np.ones(len(columns)), np.array(columns, dtype=np.int64), ends), shape=shape)
        counts.sum_duplicates()
        return counts

    def features(self, texts):
        """(N, V) sparse: what the weights are multiplied with."""
        x = self.counts(texts)
        if self.binary or not self.idf.any():
            x.data[:] = 1                                               # does the term occur?
        if not self.idf.any():
            return x
        x.data *= self.idf.numpy()[x.indices]                           # tf · idf
        lengths = np.sqrt((x * x).sum(axis=1))
        x.data /= np.repeat(lengths, np.diff(x.indptr))
        return x

    def forward(self, texts):
        return torch.from_numpy(self.features(texts) @ self.weight.numpy()) + self.bias


def naive_bayes(texts, labels, low=1, high=2, smoothing=1.0, prior=True):
    """Multinomial naive Bayes on binary n-gram counts (Wang and Manning 2012): an NGramModel.

    w = log (p/|p|)/(q/|q|) with p = smoothing + Σ x over the texts of class 1, q over those of class 0;
    b = log n_1/n_0, or 0 without `prior` (both classes thought equally frequent).
    """
    model, labels = NGramModel.of(texts, low, high), np.asarray(labels)
    model.weight = torch.from_numpy(log_ratio(model.features(texts), labels, smoothing))
    if prior:
        model.bias += np.log((labels == 1).sum() / (labels == 0).sum())
    return model


def log_ratio(x, labels, smoothing=1.0):
    """(V,) log (p/|p|)/(q/|q|) from binary counts x (N, V): how much a term speaks for class 1."""
    p, q = (smoothing + x[np.flatnonzero(labels == k)].sum(axis=0) for k in (1, 0))
    return np.log(p / p.sum()) - np.log(q / q.sum())


def tfidf_regression(texts, labels, low=1, high=2, strength=10.0, balanced=True, ratio=False, once=False):
    """Logistic regression on TF-IDF of n-grams: an NGramModel.

    idf = 1 + log (1 + n)/(1 + df), rows scaled to length 1; `strength` is the C of scikit-learn, which does the
    fitting; `balanced` weighs the classes equally. With `ratio` each feature is multiplied by its log ratio, so
    that the penalty pulls towards naive Bayes instead of towards 0 (Wang and Manning 2012, there NBSVM). With `once`
    it does not matter how often a term stands in a text.
    """
    from sklearn.linear_model import LogisticRegression

    model, labels = NGramModel.of(texts, low, high), np.asarray(labels)
    model.binary = once
    binary = model.features(texts)                                      # as long as idf is 0
    model.idf = torch.from_numpy(1 + np.log((1 + len(texts)) / (1 + binary.sum(axis=0))))
    x, factor = model.features(texts), log_ratio(binary, labels) if ratio else 1.0
    if ratio:
        x.data *= factor[x.indices]
    fitted = LogisticRegression(C=strength, class_weight="balanced" if balanced else None, max_iter=1000)
    fitted.fit(x, labels)
    model.weight, model.bias = torch.from_numpy(fitted.coef_[0] * factor), torch.tensor(fitted.intercept_[0])
    return model


def ratio_regression(texts, labels, low=1, high=2, strength=2.0, balanced=True):
    """`tfidf_regression` with `ratio` and `once`: mostly the best linear model here.

    `strength` was chosen on films kept out of the training texts, English and Korean ones.
    """
    return tfidf_regression(texts, labels, low, high, strength, balanced, ratio=True, once=True)

"""Linear models on n-grams: naive Bayes, logistic regression on TF-IDF, and both in one; all can be stored."""

import numpy as np
import torch
import torch.nn as nn

from helpers.data.vocabulary import PAD, Vocabulary
from helpers.sentiment.text import ngrams


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
        self.register_buffer("idf", torch.zeros(len(self.terms), dtype=torch.float64))  # 0: binary counts

    @classmethod
    def of(cls, texts, low, high):
        """With all n-grams of these lists of tokens as terms."""
        return cls(Vocabulary.build(ngrams(tokens, low, high) for tokens in texts).tokens, low, high)

    def counts(self, texts):
        """(N, V) sparse: how often each term stands in each text.

        As CountVectorizer(analyzer=..., vocabulary=...) of scikit-learn, which would check all V terms at each call.
        """
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
            x.data[:] = 1  # does the term occur?
        if not self.idf.any():
            return x
        x.data *= self.idf.numpy()[x.indices]  # tf · idf
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


def tfidf_regression(texts, labels, low=1, high=2, strength=10.0, balanced=True, ratio=False, once=False, bayes=0.0):
    """Logistic regression on TF-IDF of n-grams: an NGramModel.

    idf = 1 + log (1 + n)/(1 + df), rows scaled to length 1; `strength` is the C of scikit-learn, which does the
    fitting; `balanced` weighs the classes equally. With `once` it does not matter how often a term stands in a text.
    With `ratio` each feature is multiplied by its log ratio, so that naive Bayes is the model whose weights v are all
    equal; `bayes` moves the fitted ones that far towards it (Wang and Manning 2012, there NBSVM):
    v' = (1 - bayes) v + bayes mean|v|.
    """
    from sklearn.linear_model import LogisticRegression

    model, labels = NGramModel.of(texts, low, high), np.asarray(labels)
    model.binary = once
    binary = model.features(texts)  # as long as idf is 0
    model.idf = torch.from_numpy(1 + np.log((1 + len(texts)) / (1 + binary.sum(axis=0))))
    x, factor = model.features(texts), log_ratio(binary, labels) if ratio else 1.0
    if ratio:
        x.data *= factor[x.indices]
    fitted = LogisticRegression(C=strength, class_weight="balanced" if balanced else None, max_iter=1000)
    fitted.fit(x, labels)
    v = (1 - bayes) * fitted.coef_[0] + bayes * np.abs(fitted.coef_[0]).mean()
    model.weight, model.bias = torch.from_numpy(v * factor), torch.tensor((1 - bayes) * fitted.intercept_[0])
    return model


def ratio_regression(texts, labels, low=1, high=2, strength=4.0, balanced=True, bayes=0.75):
    """`tfidf_regression` with `ratio`, `once` and `bayes`: the best linear model here.

    `strength` was chosen on films kept out of the training texts, English and Korean ones; so was `bayes`, and it
    came out at what Wang and Manning advise.
    """
    return tfidf_regression(texts, labels, low, high, strength, balanced, ratio=True, once=True, bayes=bayes)


class ClassRatios:
    """Tokens with class-ratio features: an encoded text is (T, 1 + high), to be summed by `recurrent.encoder.Encoder`.

    A token's number in `vocabulary`, then for n = 1..high a number that says how much the n-gram which ends there
    speaks for class 1: its log ratio in steps of 1/2 from -4 to 4, <pad> for an n-gram that was not seen.
    """

    LEVELS = 17

    def __init__(self, tokens, terms, levels, high=2):
        self.vocabulary, self.high = Vocabulary(tokens), high
        self.levels = dict(zip(terms, levels))

    @classmethod
    def build(cls, texts, labels, groups, min_count=2, high=2, folds=8, seed=0):
        """From lists of tokens (N) -> (ClassRatios, the encoded training texts).

        A training text's own label must not be in its features: the network would learn to trust them blindly.
        So the groups are dealt into `folds`, and the ratios for each fold come from the others.
        """
        tokens, names = Vocabulary.build(texts, min_count).tokens, np.unique(np.asarray(groups))
        fold = np.random.default_rng(seed).permutation(len(names)) % folds
        fold = fold[np.searchsorted(names, groups)]
        rows = [None] * len(texts)
        for k in range(folds):
            others = cls(tokens, *_levels([texts[i] for i in np.flatnonzero(fold != k)], labels[fold != k], high), high)
            for i in np.flatnonzero(fold == k):
                rows[i] = others.encode(texts[i])
        return cls(tokens, *_levels(texts, labels, high), high), rows

    def __len__(self):
        return len(self.vocabulary) + self.high * self.LEVELS

    def encode(self, tokens):
        out = np.full((len(tokens), 1 + self.high), PAD, dtype=np.int64)
        out[:, 0] = self.vocabulary.encode(tokens)
        for n in range(1, self.high + 1):
            first = len(self.vocabulary) + (n - 1) * self.LEVELS
            for t, term in enumerate(ngrams(tokens, n, n), start=n - 1):
                if term in self.levels:
                    out[t, n] = first + self.levels[term]
        return out


def _levels(texts, labels, high):
    """The terms of lists of tokens, and the level of each, 0..LEVELS - 1."""
    model = NGramModel.of(texts, 1, high)
    ratio = log_ratio(model.features(texts), np.asarray(labels))
    half = ClassRatios.LEVELS // 2
    return model.terms, (np.clip(np.round(2 * ratio), -half, half).astype(int) + half).tolist()

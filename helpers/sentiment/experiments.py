"""The experiments of lecture 09 on sentiment: arms for `helpers.course.experiments`.

In the ladder a seed is a fold: the films are dealt into five, and a model that learned
from four of them is tested on the fifth, so each review is tested once. In the other experiments the seed draws the
films that are tested on, a fifth of the texts (a tenth of the Korean ones). Which epoch is kept is chosen on further
films; nothing is chosen on the tested ones.
"""

import os
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from helpers.course import training
from helpers.course.errors import UserError
from helpers.data.texts import Table, film_reviews, load_tsv, split_groups
from helpers.data.vocabulary import Sequences, Vocabulary
from helpers.recurrent.encoder import Encoder
from helpers.sentiment import transformer
from helpers.sentiment.model import LINEAR
from helpers.sentiment.readers import Reader, reading_step
from helpers.sentiment.text import UNITS, shuffled
from helpers.sentiment.train import evaluate, train_classifier

CPU = {"device": "cpu", "precision": "no"}
FOLDS = {"reviews": 5, "nsmc": 10}


@lru_cache(maxsize=2)
def _reviews(limit, share, seed):
    """Two Tables of reviews of different films: `limit` texts to learn from (all of them if None), and others."""
    table = film_reviews()
    train, test = split_groups(table.groups, share, seed)
    return table.rows(train[:limit]), table.rows(test[:limit])


def fold_rows(groups, folds, fold):
    """Indices (learned from, tested) of one fold: whole groups, each tested in just one of the folds.

    They are dealt as scikit-learn's GroupKFold(shuffle=True) deals them, with a draw of our own, which its versions
    cannot change.
    """
    if not 0 <= fold < folds:
        raise UserError(f"--seeds must be at most {folds}, the number of folds; got fold number {fold}")
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    tested = (np.random.default_rng(0).permutation(len(names)) % folds == fold)[number]
    return np.flatnonzero(~tested), np.flatnonzero(tested)


@lru_cache(maxsize=2)
def _fold_of_reviews(limit, fold):
    """Two Tables of reviews, those of four fifths of the films and those of the others."""
    table = film_reviews()
    train, test = fold_rows(table.groups, FOLDS["reviews"], fold)
    return table.rows(train[:limit]), table.rows(test[:limit])


def _mixed(table, seed):
    """The same texts, their words in random order."""
    return Table(shuffled(table.texts, seed=seed), table.labels, table.groups, table.classes)


# ---------------------------------------------------------------- one table for all models


RECIPE = {"batch_size": 64, "lr": 3e-3} | CPU  # of all readers; `train_classifier` has the rest


def _rung(kind, epochs, limit, mix, fold):
    """One model on one fold: its scores, also with the words of the tested texts in random order.

    With `mix` the words of the training texts are in random order as well, and only then is it tested.
    """
    train, test = _fold_of_reviews(limit, fold)
    if kind == "majority":
        larger = int(train.labels.mean() > 0.5)
        return {"accuracy": float((test.labels == larger).mean()), "balanced": 0.5, "shuffled": 0.5}
    own = {} if kind in LINEAR else {"epochs": epochs} | RECIPE
    model = train_classifier(_mixed(train, fold) if mix else train, kind, seed=fold, members=1, **own)[0]
    scores, moved = (evaluate(model, part) for part in (test, _mixed(test, fold)))
    if mix:
        return {"shuffled": moved["balanced_accuracy"]}
    return {
        "accuracy": scores["accuracy"],
        "balanced": scores["balanced_accuracy"],
        "shuffled": moved["balanced_accuracy"],
    }


@lru_cache(maxsize=2)
def _sentence_vectors(limit, fold):
    """(N, 384) of all reviews by the pretrained transformer, or of them with their words shuffled for a fold."""
    model, pieces = transformer.load()
    table = film_reviews()
    texts = (table if fold is None else _mixed(table, fold)).texts
    return transformer.embed(model, [pieces.encode(text, 64) for text in texts[:limit]]).numpy()


def _frozen(limit, fold):
    """A linear classifier on what the pretrained transformer makes of a sentence; the transformer stays as it is."""
    table = film_reviews()
    table = table.rows(np.arange(len(table))[:limit])
    train, test = fold_rows(table.groups, FOLDS["reviews"], fold)
    x = _sentence_vectors(limit, None)
    head, strength = transformer.linear_head(x[train], table.labels[train], table.groups[train], seed=fold)
    right = head.predict(x[test]) == table.labels[test]
    recalls = [right[table.labels[test] == k].mean() for k in (0, 1)]
    return {"accuracy": float(right.mean()), "balanced": float(np.mean(recalls)), "C": float(strength)}


LADDER = {
    "majority": "majority",
    "naive Bayes": "naive-bayes",
    "TF-IDF, logistic": "tfidf",
    "linear, NB-weighted": "linear",
    "bag of embeddings": "bag",
    "CNN": "cnn",
    "RNN": "rnn",
    "LSTM": "lstm",
    "biLSTM": "bilstm",
    "biLSTM with class-ratio features": "class-ratio",
}
MIXED = {"linear, trained on shuffled words": "linear", "LSTM, trained on shuffled words": "lstm"}
PRETRAINED = "pretrained transformer, frozen"


def ladder(scale):
    """From guessing to readers and to a pretrained transformer: the same films for all, one fold a seed."""
    epochs, limit = {"tiny": (1, 100), "small": (3, None), "full": (10, None)}[scale]
    rungs = {name: partial(_rung, kind, epochs, limit, False) for name, kind in LADDER.items()}
    rungs["LSTM, four times the epochs"] = partial(_rung, "lstm", 4 * epochs, limit, False)
    if scale != "tiny":  # a quick run downloads nothing
        rungs[PRETRAINED] = partial(_frozen, limit)
    return rungs | {name: partial(_rung, kind, epochs, limit, True) for name, kind in MIXED.items()}


# ---------------------------------------------------------------- padding


class Padded(Reader):
    """A `Reader` that takes padding for text: rows of at least `length`, every position read and pooled."""

    def __init__(self, encoder, pooling, length):
        super().__init__(encoder, pooling)
        self.length = length

    def forward(self, ids):
        ids = F.pad(ids, (0, max(0, self.length - ids.shape[1])))  # (B, T), T >= length
        all_ = torch.ones_like(ids, dtype=torch.bool)
        return self.head(self.pool(self.encoder(ids, all_.sum(dim=1)), all_)).squeeze(1)


def _padding(length, pooling, epochs, limit, seed):
    """An LSTM that masks the padding (length None), or reads it after texts filled up to `length`."""
    train, test = _reviews(limit, 0.2, seed)
    train_rows, valid_rows = split_groups(train.groups, 0.1, seed)
    lists = [UNITS["word"](text) for text in train.texts]
    vocabulary = Vocabulary.build(lists, 2)
    sets = [
        Sequences([vocabulary.encode(tokens) for tokens in texts], torch.from_numpy(labels))
        for texts, labels in (
            ([lists[i] for i in train_rows], train.labels[train_rows]),
            ([lists[i] for i in valid_rows], train.labels[valid_rows]),
            ([UNITS["word"](text) for text in test.texts], test.labels),
        )
    ]
    torch.manual_seed(seed)
    encoder = Encoder(len(vocabulary))
    model = Reader(encoder, pooling) if length is None else Padded(encoder, pooling, length)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    training.fit(
        model,
        *sets[:2],
        step=reading_step,
        optimizer=optimizer,
        epochs=epochs,
        seed=seed,
        clip=1.0,
        keep="best",
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        monitor="valid_correct",
        mode="max",
        **CPU,
    )
    return {"accuracy": training.evaluate(model, sets[2], step=reading_step, **CPU)["correct"]}


def padding(scale):
    """The last state of an LSTM: masked, or after a row of padding; and the mean over all positions."""
    epochs, limit = {"tiny": (1, 100), "small": (4, 4000), "full": (8, None)}[scale]
    arms = {"last, masked": (None, "last"), "mean, masked": (None, "mean")}
    arms |= {f"{pooling}, padded to {length}": (length, pooling) for length in (40, 80) for pooling in ("last", "mean")}
    return {arm: partial(_padding, *settings, epochs, limit) for arm, settings in arms.items()}


# ---------------------------------------------------------------- units of Korean


@lru_cache(maxsize=1)
def naver_reviews(limit=None):
    """Naver film reviews with their film as a Table: train.tsv of $DLM_SHARED/data/nsmc.

    With a `limit`, without any file: so many sentences of a few made-up words, for a quick run of the code.
    """
    if limit:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, limit)
        ends = [["재미없었다", "지루하다", "별로네요"], ["재미있었다", "감동이다", "최고네요"]]
        texts = [
            f"{rng.choice(['영화가', '배우들이', '내용은'])} {rng.choice(['정말', '너무'])} {rng.choice(ends[k])}"
            for k in labels
        ]
        return Table(texts, labels, rng.integers(0, 10, limit), ["0", "1"])
    shared = os.environ.get("DLM_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared")
    return load_tsv(Path(shared) / "data" / "nsmc" / "train.tsv", group="movie")


def _korean(kind, unit, epochs, limit, options, seed):
    """One unit and model: accuracy on reviews of films that were not trained on, a tenth of all reviews."""
    table = naver_reviews(limit)
    train, test = (table.rows(part) for part in split_groups(table.groups, 0.1, seed))
    own = {} if kind in LINEAR else {"epochs": epochs} | options | CPU
    classifier, report = train_classifier(train, kind, unit, seed=seed, **own)
    scores = evaluate(classifier, test)
    return {
        "accuracy": scores["accuracy"],
        "balanced": scores["balanced_accuracy"],
        "training seconds": report["seconds"],
        "vocabulary": report["vocabulary"],
    }


def korean(scale):
    """What a Korean review is cut into, for the linear model and an LSTM; three readers with class-ratio features."""
    from importlib.util import find_spec

    epochs, limit = {"tiny": (1, 60), "small": (2, None), "full": (8, None)}[scale]
    able = scale != "tiny" or find_spec("kiwipiepy")  # it is optional, and a quick run needs none
    units = ["space", "syllable", "jamo"] + ["morpheme"] * bool(able)
    kinds = [("linear", unit, {}) for unit in [*units, "syllable+joined"] + ["syllable+morpheme"] * bool(able)]
    kinds += [("lstm", unit, {}) for unit in units] + [("class-ratio", units[-1], {"members": 3})]
    return {f"{kind}, {unit}": partial(_korean, kind, unit, epochs, limit, options) for kind, unit, options in kinds}


def _fold(unit, limit, seed):
    """A linear model that learns from all films but those of one fold, number `seed`, and is tested on these."""
    table = naver_reviews(limit)
    train, test = (table.rows(part) for part in fold_rows(table.groups, FOLDS["nsmc"], seed))
    classifier, report = train_classifier(train, "linear", unit)
    scores = evaluate(classifier, test)
    return {"accuracy": scores["accuracy"], "training seconds": report["seconds"], "n": scores["n"]}


def korean_folds(scale):
    """The linear model on runs of characters, each review tested once: ten folds by film, a seed is a fold."""
    limit = 60 if scale == "tiny" else None
    return {unit: partial(_fold, unit, limit) for unit in ("syllable", "syllable+joined")}

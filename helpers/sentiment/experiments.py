"""The experiments of lecture 09 on sentiment: arms for `helpers.course.experiments`.

The seed draws the films that are tested on, a fifth of the texts, and starts the weights. Which epoch is kept is
chosen on further films; nothing is chosen on the tested ones.
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
from helpers.sentiment.model import LINEAR
from helpers.sentiment.readers import Reader, reading_step
from helpers.sentiment.text import UNITS, shuffled
from helpers.sentiment.train import evaluate, train_classifier

CPU = {"device": "cpu", "precision": "no"}


@lru_cache(maxsize=2)
def _reviews(limit, share, seed):
    """Two Tables of reviews of different films: `limit` texts to learn from (all of them if None), and others."""
    table = film_reviews()
    train, test = split_groups(table.groups, share, seed)
    return table.rows(train[:limit]), table.rows(test[:limit])


# ---------------------------------------------------------------- one table for all models


def _rung(kind, epochs, limit, options, seed):
    """One model on one split: accuracies, also with the words of the tested texts in random order."""
    train, test = _reviews(limit, 0.2, seed)
    if kind == "majority":
        larger = int(train.labels.mean() > 0.5)
        return {"accuracy": float((test.labels == larger).mean()), "balanced": 0.5, "shuffled": 0.5}
    own = {} if kind in LINEAR else {"epochs": epochs} | options | CPU
    classifier, report = train_classifier(train, kind, seed=seed, **own)
    mixed = Table(shuffled(test.texts, seed=seed), test.labels, test.groups, test.classes)
    scores, moved = (evaluate(classifier, part) for part in (test, mixed))
    return {
        "accuracy": scores["accuracy"],
        "balanced": scores["balanced_accuracy"],
        "shuffled": moved["balanced_accuracy"],
        "training seconds": report["seconds"],
    }


LADDER = {
    "majority": "majority",
    "naive Bayes": "naive-bayes",
    "TF-IDF, logistic": "tfidf",
    "linear, NB-weighted": "linear",
    "bag of embeddings": "bag",
    "RNN": "rnn",
    "LSTM": "lstm",
    "biLSTM": "bilstm",
}


def ladder(scale):
    """From guessing to three readers with class-ratio features, the same films and epochs for all."""
    epochs, limit = {"tiny": (1, 100), "small": (4, None), "full": (10, None)}[scale]
    return {name: partial(_rung, kind, epochs, limit, {}) for name, kind in LADDER.items()} | {
        "biLSTM with class-ratio features, three": partial(_rung, "class-ratio", epochs, limit, {"members": 3})
    }


# ---------------------------------------------------------------- what the order of the words is worth


def _order(kind, mix, epochs, limit, seed):
    """Trained and tested on texts whose words stand in their order, or (mix) in a random one."""
    train, test = _reviews(limit, 0.2, seed)
    if mix:
        train, test = (
            Table(shuffled(part.texts, seed=seed), part.labels, part.groups, part.classes) for part in (train, test)
        )
    own = {} if kind in LINEAR else {"epochs": epochs} | CPU
    classifier, _ = train_classifier(train, kind, seed=seed, **own)
    return {"balanced": evaluate(classifier, test)["balanced_accuracy"]}


def order(scale):
    """Texts as they are against texts whose words were shuffled before training: n-grams and an LSTM."""
    epochs, limit = {"tiny": (1, 100), "small": (5, None), "full": (10, None)}[scale]
    return {
        f"{name}, {'shuffled' if mix else 'in order'}": partial(_order, kind, mix, epochs, limit)
        for name, kind in (("linear", "linear"), ("LSTM", "lstm"))
        for mix in (False, True)
    }


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


FOLDS = 10


def _fold(unit, limit, seed):
    """A linear model that learns from all films but those of one fold, number `seed`, and is tested on these.

    The films are dealt as scikit-learn's GroupKFold(shuffle=True) deals them, with the draw that the record was made
    with.
    """
    if seed >= FOLDS:
        raise UserError(f"--seeds must be at most {FOLDS}, the number of folds; got fold number {seed}")
    table = naver_reviews(limit)
    films, film = np.unique(table.groups, return_inverse=True)
    tested = (np.random.default_rng(0).permutation(len(films)) % FOLDS == seed)[film]
    classifier, report = train_classifier(table.rows(np.flatnonzero(~tested)), "linear", unit)
    scores = evaluate(classifier, table.rows(np.flatnonzero(tested)))
    return {"accuracy": scores["accuracy"], "training seconds": report["seconds"], "n": scores["n"]}


def korean_folds(scale):
    """The linear model on runs of characters, each review tested once: ten folds by film, a seed is a fold."""
    limit = 60 if scale == "tiny" else None
    return {unit: partial(_fold, unit, limit) for unit in ("syllable", "syllable+joined")}

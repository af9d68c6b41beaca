"""Is a text for or against? Training, asking, storing and looking at the models of `ngrams` and `readers`."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn

from helpers.course.errors import UserError
from helpers.course.training import load_model, save_model
from helpers.data.vocabulary import UNKNOWN, Vocabulary, length_buckets, pad
from helpers.recurrent.encoder import Encoder
from helpers.sentiment.ngrams import Hints, NGramModel, naive_bayes, ratio_regression, tfidf_regression
from helpers.sentiment.readers import Reader
from helpers.sentiment.text import UNITS, Spelling

LONGEST = 1000  # a recurrent reader reads so many tokens of a text and no more


READERS = {  # --model NAME: the encoder's settings and the pooling
    "bag": ({"cell": None}, "mean"),
    "rnn": ({"cell": "rnn"}, "concat"),
    "lstm": ({"cell": "lstm"}, "concat"),
    "bilstm": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "attention": ({"cell": "lstm", "bidirectional": True}, "attention"),
    "spelled": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "best": ({"cell": "lstm", "bidirectional": True, "weight_drop": 0.3}, "concat"),
    "hinted": ({"cell": "lstm", "bidirectional": True}, "concat"),
}


HINTED = ("hinted",)  # these read tokens with `ngrams.Hints`, what counting says of them


SPELLED = ("spelled", "best")  # these read tokens with their character n-grams, of these lengths:


SPELLING = {unit: (3, 5) if unit == "word" else (1, 3) for unit in UNITS}


LINEAR = {"naive-bayes": naive_bayes, "tfidf": tfidf_regression, "linear": ratio_regression}


GRAMS = {
    "word": (1, 2),
    "space": (1, 2),
    "morpheme": (1, 2),
    "syllable": (1, 3),
    "jamo": (1, 7),
    "syllable+joined": (1, 3),
    "syllable+morpheme": (1, 3),
}


class Classifier:
    """One or several trained models (their scores are averaged) and what turns a text into their input.

    score(texts) -> (N,) float64, the probability of `classes[1]`. A text without a known token, an empty one
    for example, gets `prior`, the share of that class in training: there is nothing else to go by.
    """

    def __init__(self, kind, models, vocabulary, unit, classes, prior):
        self.kind, self.models, self.vocabulary = kind, models, vocabulary
        self.unit, self.classes, self.prior = unit, classes, prior

    def score(self, texts, batch_size=256):
        lists = [self._read_tokens(text) for text in texts]
        if not lists:
            return np.zeros(0)
        rows = [self.vocabulary.encode(tokens) for tokens in lists]
        if self.kind in LINEAR:
            scores = [torch.sigmoid(model(lists)).numpy() for model in self.models]
        else:
            scores = [self._read(model, rows, batch_size) for model in self.models]
        return np.where([known(row).any() for row in rows], np.mean(scores, axis=0), self.prior)

    def _read_tokens(self, text):
        tokens = UNITS[self.unit](text)
        return tokens if self.kind in LINEAR else tokens[:LONGEST]

    @torch.no_grad()
    def _read(self, model, rows, batch_size):
        device, scores = next(model.parameters()).device, torch.zeros(len(rows), dtype=torch.float64)
        for batch in length_buckets([len(row) for row in rows], batch_size):
            logits = model.eval()(pad([rows[i] for i in batch]).to(device))
            scores[batch] = torch.sigmoid(logits).double().cpu()
        return scores.numpy()

    def predict(self, texts):
        """A dict a text: label, score of the second class, tokens, how many were read, how many are known."""
        answers = []
        for text, score in zip(texts, self.score(texts)):
            read = self._read_tokens(text)
            answers.append(
                {
                    "label": self.classes[int(score > 0.5)],
                    "score": float(score),
                    "read": len(read),
                    "tokens": len(UNITS[self.unit](text)),
                    "known": int(known(self.vocabulary.encode(read)).sum()),
                }
            )
        return answers

    def save(self, out, half=False):
        """One file `sentiment.safetensors` in the folder `out`, with `half` in 16 bits a number."""
        config = {
            "task": "sentiment",
            "kind": self.kind,
            "unit": self.unit,
            "classes": self.classes,
            "prior": self.prior,
            "members": len(self.models),
        }
        if self.kind in SPELLED:
            config |= {"tokens": self.vocabulary.vocabulary.tokens, "grams": self.vocabulary.grams}
        elif self.kind in HINTED:
            config |= {
                "tokens": self.vocabulary.vocabulary.tokens,
                "terms": list(self.vocabulary.levels),
                "levels": list(self.vocabulary.levels.values()),
                "high": self.vocabulary.high,
            }
        else:
            config |= {"tokens": self.vocabulary.tokens}
        if self.kind in LINEAR:
            config |= {name: getattr(self.models[0], name) for name in ("terms", "low", "high", "binary")}
        models = nn.ModuleList(self.models)
        return save_model(Path(out) / "sentiment.safetensors", deepcopy(models).half() if half else models, config)

    @classmethod
    def load(cls, out):
        path = Path(out) / "sentiment.safetensors"
        state, config = load_model(path)
        if config.get("task") != "sentiment":
            raise UserError(f"{path} holds no sentiment model; give a folder that `sentiment train` wrote")
        kind, unit = config["kind"], config["unit"]
        if kind in SPELLED:
            vocabulary = Spelling(config["tokens"], config["grams"], *SPELLING[unit])
        elif kind in HINTED:
            vocabulary = Hints(config["tokens"], config["terms"], config["levels"], config["high"])
        else:
            vocabulary = Vocabulary(config["tokens"])
        if kind in LINEAR:
            models = [NGramModel(*(config[name] for name in ("terms", "low", "high", "binary")))]
        else:
            models = [reader(kind, len(vocabulary)) for _ in range(config["members"])]
        nn.ModuleList(models).load_state_dict(state)
        return cls(kind, models, vocabulary, unit, config["classes"], config["prior"])


def known(ids):
    """Which tokens of an encoded text a model knows something of, (T,): themselves or a part of them."""
    ids = np.asarray(ids)
    return (ids > UNKNOWN) if ids.ndim == 1 else (ids > UNKNOWN).any(axis=1)


def reader(kind, size):
    """A new, untrained Reader of one of the kinds in READERS for a vocabulary of `size`."""
    settings, pooling = READERS[kind]
    return Reader(Encoder(size, **settings), pooling)

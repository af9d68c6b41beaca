"""Is a text for or against? A classifier of texts around the models of `ngrams` and `readers`: ask, store, load it."""

import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn

from helpers.course.errors import UserError
from helpers.course.training import load_model, save_model
from helpers.data.vocabulary import UNKNOWN, Vocabulary, length_buckets, pad
from helpers.sentiment.ngrams import ClassRatios, NGramModel, naive_bayes, ratio_regression, tfidf_regression
from helpers.sentiment.readers import build_reader
from helpers.sentiment.text import UNITS, SubwordNgrams

MAX_TOKENS = 1000  # a recurrent reader reads so many tokens of a text and no more
CLASS_RATIO = ("class-ratio",)  # these read tokens with `ngrams.ClassRatios`, what counting says of them
SUBWORD = ("subword", "best")  # these read tokens with their character n-grams, of these lengths:
SUBWORD_LENGTHS = {unit: (3, 5) if unit == "word" else (1, 3) for unit in UNITS}
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

    A text without a known token, an empty one for example, gets `prior`, the share of `classes[1]` in training:
    there is nothing else to go by.
    """

    def __init__(self, kind, models, vocabulary, unit, classes, prior):
        self.kind, self.models, self.vocabulary = kind, models, vocabulary
        self.unit, self.classes, self.prior = unit, classes, prior

    def to(self, device):
        """Move the readers to a device (the linear models compute with SciPy, on the CPU) -> this classifier."""
        if self.kind not in LINEAR:
            for model in self.models:
                model.to(device)
        return self

    def score(self, texts, batch_size=256):
        """(N,) float64, the probability of `classes[1]`."""
        return self._score_tokens([self._tokens(text)[: self.max_tokens] for text in texts], batch_size)[0]

    def running_score(self, text, max_words=200):
        """Score after each piece of the text, as it is read: (pieces, scores (P,)); pieces end in white space.

        Every beginning of the text is one text to be scored, so it works for each model. At most `max_words` pieces.
        """
        pieces = re.findall(r"\s*\S+\s*", text)[:max_words]
        return pieces, self.score(["".join(pieces[: k + 1]) for k in range(len(pieces))])

    def predict(self, texts):
        """A dict a text: label, score of the second class, tokens, how many were read, how many are known."""
        lists = [self._tokens(text) for text in texts]
        read = [tokens[: self.max_tokens] for tokens in lists]
        return [
            {
                "label": self.classes[int(score > 0.5)],
                "score": float(score),
                "read": len(some),
                "tokens": len(tokens),
                "known": int(count),
            }
            for tokens, some, score, count in zip(lists, read, *self._score_tokens(read))
        ]

    @property
    def max_tokens(self):
        """So many tokens of a text are read; None for all of them."""
        return None if self.kind in LINEAR else MAX_TOKENS

    def _tokens(self, text):
        return UNITS[self.unit](text)

    def _score_tokens(self, lists, batch_size=256):
        """Scores (N,) of lists of tokens, and how many tokens of each are known (N,)."""
        if not lists:
            return np.zeros(0), np.zeros(0, dtype=np.int64)
        rows = [self.vocabulary.encode(tokens) for tokens in lists]
        counts = np.array([known(row).sum() for row in rows])
        if self.kind in LINEAR:
            scores = [torch.sigmoid(model(lists)).numpy() for model in self.models]
        else:
            scores = [self._read(model, rows, batch_size) for model in self.models]
        return np.where(counts > 0, np.mean(scores, axis=0), self.prior), counts

    @torch.no_grad()
    def _read(self, model, rows, batch_size):
        device, scores = next(model.parameters()).device, torch.zeros(len(rows), dtype=torch.float64)
        for batch in length_buckets([len(row) for row in rows], batch_size):
            logits = model.eval()(pad([rows[i] for i in batch]).to(device))
            scores[batch] = torch.sigmoid(logits).double().cpu()
        return scores.numpy()

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
        if self.kind in SUBWORD:
            config |= {"tokens": self.vocabulary.vocabulary.tokens, "grams": self.vocabulary.grams}
        elif self.kind in CLASS_RATIO:
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
        if kind in SUBWORD:
            vocabulary = SubwordNgrams(config["tokens"], config["grams"], *SUBWORD_LENGTHS[unit])
        elif kind in CLASS_RATIO:
            vocabulary = ClassRatios(config["tokens"], config["terms"], config["levels"], config["high"])
        else:
            vocabulary = Vocabulary(config["tokens"])
        if kind in LINEAR:
            models = [NGramModel(*(config[name] for name in ("terms", "low", "high", "binary")))]
        else:
            models = [build_reader(kind, len(vocabulary)) for _ in range(config["members"])]
        nn.ModuleList(models).load_state_dict(state)
        return cls(kind, models, vocabulary, unit, config["classes"], config["prior"])


def known(ids):
    """Which tokens of an encoded text a model knows something of, (T,): themselves or a part of them."""
    ids = np.asarray(ids)
    return (ids > UNKNOWN) if ids.ndim == 1 else (ids > UNKNOWN).any(axis=1)

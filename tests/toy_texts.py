"""Texts whose class is told by one word of them, and classifiers that have learned it."""

import numpy as np

from helpers.data.texts import Table
from helpers.sentiment.model import LINEAR
from helpers.sentiment.readers import READERS

KINDS = [*LINEAR, *READERS]
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

"""Looking at a sentiment model: the score as a text is read, marked text, shuffled text."""

import html
import re

import numpy as np

from helpers.sentiment.text import UNITS

# --- looking at it --------------------------------------------------------------------------------


def running_score(classifier, text, most=200):
    """Score after each piece of the text, as it is read: (pieces, scores (P,)); pieces end in white space.

    Every beginning of the text is one text to be scored, so it works for each model. At most `most` pieces.
    """
    pieces = re.findall(r"\s*\S+\s*", text)[:most]
    return pieces, classifier.score(["".join(pieces[: k + 1]) for k in range(len(pieces))])


def marked(pieces, scores):
    """HTML: each piece under its score in per cent, tinted orange (against) to blue (for); text is escaped."""
    spans = []
    for piece, score in zip(pieces, scores):
        colour, depth = ("86,180,233", score - 0.5) if score > 0.5 else ("230,159,0", 0.5 - score)
        spans.append(
            f'<ruby style="background:rgba({colour},{2 * depth:.2f})">{html.escape(piece)}'
            f"<rt>{100 * score:.0f}</rt></ruby>"
        )
    return f'<p dir="auto">{" ".join(spans)}</p>'


def shuffled(texts, unit="word", seed=0):
    """The same texts with their tokens in random order: what a model still knows of them, a bag would know.

    Words are shuffled for unit "word" and what stands between spaces for any other.
    """
    rng, split = np.random.default_rng(seed), UNITS["word" if unit == "word" else "space"]
    return [" ".join(rng.permutation(split(text)).tolist()) for text in texts]

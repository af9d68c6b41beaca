"""Figures of lecture 09 on sentiment that are longer than a notebook's cell, and marked text."""

import html

import matplotlib
import numpy as np

from helpers.course.claims import interval
from helpers.course.plots import COLOURS, MARKERS, use


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


def readers():
    """Three networks from words to a score: the bag, the RNN and the LSTM, with what each passes on -> figure."""
    fig, axes = use().subplots(1, 3, figsize=(9, 3.4))
    named = (
        ("bag of embeddings", "mean", ""),
        ("RNN", "last, mean or max", "h"),
        ("LSTM", "last, mean or max", "h, c"),
    )
    for ax, (name, pooling, state) in zip(axes, named):
        for k, word in enumerate(("not", "a", "masterpiece")):
            _box(ax, k, 0, word, "white")
            _box(ax, k, 1, f"vector {k + 1}", COLOURS[0])
            _arrow(ax, (k, 0.25), (k, 0.75))
            if state:
                _box(ax, k, 2, f"state {k + 1}", COLOURS[1])
                _arrow(ax, (k, 1.25), (k, 1.75))
                if k:
                    _arrow(ax, (k - 0.58, 2), (k - 0.42, 2))
                    ax.text(k - 0.5, 2.35, state, ha="center", fontsize=9)
            _arrow(ax, (k, 2.25 if state else 1.25), (1 + 0.2 * (k - 1), 2.75))
        _box(ax, 1, 3, f"pooling: {pooling}", COLOURS[2], width=2.2)
        _box(ax, 1, 4, "linear layer: score", "white", width=2.2)
        _arrow(ax, (1, 3.25), (1, 3.75))
        ax.set(title=name, xlim=(-0.6, 2.6), ylim=(-0.4, 4.4))
        ax.axis("off")
    return fig


def _box(ax, x, y, text, colour, width=0.84):
    face = (*matplotlib.colors.to_rgb(colour), 0.3)
    ax.add_patch(matplotlib.patches.Rectangle((x - width / 2, y - 0.25), width, 0.5, facecolor=face, edgecolor="black"))
    ax.text(x, y, text, ha="center", va="center", fontsize=8)


def _arrow(ax, start, end):
    ax.annotate("", xytext=start, xy=end, arrowprops={"arrowstyle": "->", "color": "black"})


def ladder(record, arms, splits=0.2):
    """A dot with its interval for each model: balanced accuracy over folds with overlapping training sets -> figure."""
    fig, ax = use().subplots(figsize=(7.4, 3.4))
    parts = [interval(record[name, "balanced"], splits=splits) for name in arms]
    mean, y = np.array([part.mean for part in parts]), np.arange(len(arms))
    error = [mean - [part.low for part in parts], [part.high for part in parts] - mean]
    ax.errorbar(mean, y, xerr=error, fmt=MARKERS[0], color=COLOURS[0], capsize=3)
    ax.set_yticks(y, arms)
    ax.invert_yaxis()
    ax.set_xlabel("balanced accuracy on films that were not trained on")
    return fig


def accuracy_by_unit(values, kinds, units, splits=0.1):
    """Accuracy with intervals: a row for each unit of text, a colour for each model -> figure.

    values(kind, unit) gives one accuracy a seed, or none where the pair was not measured; kinds {kind: its name}.
    """
    fig, ax = use().subplots(figsize=(7.2, 3.2))
    for k, (kind, name) in enumerate(kinds.items()):
        measured = [
            (y, interval(values(kind, unit), splits=splits)) for y, unit in enumerate(units) if values(kind, unit)
        ]
        mean = np.array([part.mean for _, part in measured])
        ax.errorbar(
            mean,
            np.array([y for y, _ in measured]) + 0.2 * (k - 1),
            xerr=[mean - [part.low for _, part in measured], [part.high for _, part in measured] - mean],
            fmt=MARKERS[k],
            color=COLOURS[k],
            capsize=3,
            label=name,
        )
    ax.set_yticks(range(len(units)), units)
    ax.set(xlabel="accuracy on films that were not trained on", ylim=ax.get_ylim()[::-1])
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig

"""Figures of lecture 09 on sentiment that are longer than a notebook's cell, and marked text."""

import html

import numpy as np

from helpers.course.claims import interval, proportion
from helpers.course.plots import COLOURS, MARKERS, bars, use


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


def ladder(record, arms):
    """Two dots with intervals for each model: balanced accuracy, with the words in order and shuffled -> figure."""
    fig, ax = use().subplots(figsize=(7.4, 3.6))
    values = [[record[name, what] for name in arms] for what in ("balanced", "shuffled")]
    bars(ax, arms, values, names=("in order", "words shuffled"))
    ax.set_xlabel("balanced accuracy")
    ax.legend(loc="lower left")
    return fig


def accuracy_by_length(found, edges):
    """A curve with Wilson's intervals for each model: {name: `train.accuracy_by_length(..., edges)`} -> figure."""
    fig, ax = use().subplots(figsize=(6.4, 3))
    for k, (name, rows) in enumerate(found.items()):
        parts = [proportion(round(share * n), n) for _, _, share, n in rows]
        x, y = np.array([edges.index(low) for low, *_ in rows]), np.array([p.mean for p in parts])
        ax.errorbar(
            x + 0.06 * k,
            y,
            [y - [p.low for p in parts], [p.high for p in parts] - y],
            capsize=3,
            color=COLOURS[k],
            marker=MARKERS[k],
            ls="-",
            label=name,
        )
    between = [f"{a} to {b - 1}" for a, b in zip(edges[1:-2], edges[2:-1])]
    ax.set_xticks(range(len(edges) - 1), [f"under {edges[1]}", *between, f"{edges[-2]} and more"])
    ax.set(xlabel="tokens in the sentence", ylabel="accuracy", ylim=(0.5, 0.95))
    ax.legend()
    return fig


def accuracy_by_unit(values, kinds, units):
    """Accuracy with intervals: a row for each unit of text, a colour for each model -> figure.

    values(kind, unit) gives one accuracy a seed, or none where the pair was not measured; kinds {kind: its name}.
    """
    fig, ax = use().subplots(figsize=(7.2, 3.2))
    for k, (kind, name) in enumerate(kinds.items()):
        measured = [(y, interval(values(kind, unit))) for y, unit in enumerate(units) if values(kind, unit)]
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

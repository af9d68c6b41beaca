"""Figures of lecture 09 that are longer than a notebook's cell.

A cell unrolled, an LSTM's inside, an alignment; and what the records of problems, translation and speed show.
"""

import html
from dataclasses import dataclass

import numpy as np

from helpers.course.plots import BLUE, COLOURS, GREEN, MARKERS, ORANGE, PINK, SKY, curve, use


def unrolled(steps=4):
    """A recurrent network drawn once with its loop, and unrolled over `steps` steps -> figure."""
    fig, ax = use().subplots(figsize=(8, 2.5))
    _cell(ax, 0, "$x_t$", "$h_t$")
    ax.annotate(
        "",
        (0.34, 0.8),
        (0.34, 1.2),
        arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.6, "connectionstyle": "arc3,rad=-1.6"},
    )
    ax.text(1.35, 1, "=", ha="center", va="center", fontsize=18)
    for t in range(1, steps + 1):
        x = 1.1 + 1.5 * t
        _arrow(ax, (x - 1.14 if t > 1 else x - 0.8, 1), (x - 0.36, 1), BLUE)
        if t == 1:
            ax.text(x - 0.85, 1, "$h_0$", ha="right", va="center")
        else:
            ax.text(x - 0.75, 1.14, f"$h_{t - 1}$", ha="center", color=BLUE)
        _cell(ax, x, f"$x_{t}$", f"$h_{t}$")
    ax.set(xlim=(-0.8, 1.7 + 1.5 * steps), ylim=(-0.15, 2.15))
    ax.axis("off")
    return fig


def _cell(ax, x, below, above):
    ax.text(
        x,
        1,
        "W, b",
        ha="center",
        va="center",
        fontsize=10,
        bbox={"boxstyle": "round,pad=0.55", "fc": SKY, "alpha": 0.6, "lw": 0},
    )
    _arrow(ax, (x, 0.18), (x, 0.66))
    _arrow(ax, (x, 1.34), (x, 1.8))
    ax.text(x, 0.02, below, ha="center", va="center")
    ax.text(x, 1.98, above, ha="center", va="center")


def _arrow(ax, start, end, colour="black"):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.6, "shrinkA": 0, "shrinkB": 0})


def lstm_inside():
    """The data flow of an LSTM cell: the cell state's straight line above, the four gates below -> figure."""
    fig, ax = use().subplots(figsize=(8, 3.2))
    high, low = 2.6, 0.55
    gates = {
        "forget $f_t$": (1.3, ORANGE),
        "input $i_t$": (2.9, GREEN),
        "update $g_t$": (4.1, SKY),
        "output $o_t$": (6.0, PINK),
    }
    _arrow(ax, (0, high), (8, high), BLUE)
    ax.text(-0.1, high, "$c_{t-1}$", ha="right", va="center")
    ax.text(8.1, high, "$c_t$", ha="left", va="center")
    ax.plot([0, 6.0], [low, low], color="black", lw=1.6)
    ax.text(-0.1, low, "$h_{t-1}$", ha="right", va="center")
    _arrow(ax, (0.5, 0.05), (0.5, low))
    ax.text(0.5, -0.1, "$x_t$", ha="center", va="center")
    for name, (x, colour) in gates.items():
        _arrow(ax, (x, low), (x, 0.95))
        ax.text(
            x,
            1.13,
            name,
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.35", "fc": colour, "alpha": 0.6, "lw": 0},
        )
    _arrow(ax, (1.3, 1.35), (1.3, high - 0.15))
    _dot(ax, 1.3, high, "×")
    _arrow(ax, (2.9, 1.35), (3.38, 1.78))
    _arrow(ax, (4.1, 1.35), (3.62, 1.78))
    _dot(ax, 3.5, 1.88, "×")
    _arrow(ax, (3.5, 2.02), (3.5, high - 0.15))
    _dot(ax, 3.5, high, "+")
    _arrow(ax, (7.0, high), (7.0, 2.12))
    ax.text(7.0, 1.95, "tanh", ha="center", va="center", fontsize=9)
    _arrow(ax, (7.0, 1.78), (7.0, 1.28))
    _arrow(ax, (6.55, 1.13), (6.86, 1.13))
    _dot(ax, 7.0, 1.13, "×")
    ax.plot([7.0, 7.0], [0.99, low], color="black", lw=1.6)
    _arrow(ax, (7.0, low), (8, low))
    ax.text(8.1, low, "$h_t$", ha="left", va="center")
    ax.set(xlim=(-0.6, 8.5), ylim=(-0.25, 2.85))
    ax.axis("off")
    return fig


def _dot(ax, x, y, sign):
    ax.text(x, y, sign, ha="center", va="center", fontsize=11, bbox={"boxstyle": "circle,pad=0.15", "fc": "white"})


@dataclass(frozen=True)
class Alignment:
    """Attention weights (T, S) as a table: a row for each token that was written, a column for each one read.

    HTML, because a plot's font may lack the letters of the language. Tokens are escaped.
    """

    written: list
    read: list
    weights: np.ndarray
    caption: str

    def __repr__(self):
        width = max(map(len, self.read))
        rows = [
            f"{word:<4}" + "".join(f"{w:>{width + 1}.2f}" for w in row)
            for word, row in zip(self.written, self.weights, strict=True)
        ]
        return "\n".join([self.caption, " " * 4 + "".join(f"{word:>{width + 1}}" for word in self.read), *rows])

    def _repr_html_(self):
        cell = "padding:.25em .5em;text-align:center"
        head = "".join(f'<th scope="col" style="{cell}">{html.escape(word)}</th>' for word in self.read)
        rows = "".join(
            f'<tr><th scope="row" style="{cell}">{html.escape(word)}</th>'
            + "".join(f'<td style="{cell};background:rgba(86,180,233,{w:.2f})">{w:.2f}</td>' for w in row)
            + "</tr>"
            for word, row in zip(self.written, self.weights, strict=True)
        )
        return (
            f'<div style="overflow-x:auto"><table style="font-size:.85em"><caption>{html.escape(self.caption)}'
            f"</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def problem_shares(record, problems, names):
    """A panel for each of the problems, a row of dots for each network: one seed's loss over no memory's -> figure."""
    fig, axes = use().subplots(1, len(problems), figsize=(9.6, 2.9), sharex=True, sharey=True)
    for ax, problem in zip(axes, problems):
        for i, name in enumerate(names):
            values = record[f"{problem}: {name}", "share"]
            ax.plot(values, [i] * len(values), ls="", color=COLOURS[i], marker=MARKERS[i])
        ax.axvline(1, color="black", ls=":", lw=1)
        ax.set(title=problem, xlabel="loss / no memory", xlim=(-0.06, 1.3))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return fig


def right_by_length(record, arms, lengths):
    """A curve for each arm of the translation: the share of right numbers against their length -> figure."""
    fig, ax = use().subplots(figsize=(7, 3.2))
    for i, arm in enumerate(arms):
        shares = np.array([record[arm, name] for name in lengths]).T  # (seeds, lengths)
        curve(ax, range(len(lengths)), shares, arm + " pairs", i)
    ax.set_xticks(range(len(lengths)), lengths)
    ax.set(xlabel="length of the English number", ylabel="share right", ylim=(-0.05, 1.05))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def bench_names(sizes):
    """The names of the sizes that were timed: rows of the benchmark with batch, steps, backward."""
    return [
        f"B = {row['batch']}, T = {row['steps']}, {'forward, backward' if row['backward'] else 'forward'}"
        for row in sizes
    ]


def share_of_limit(sizes, rungs):
    """A curve for each size: the share of the machine's limit that each rung of the ladder reaches -> figure."""
    fig, ax = use().subplots(figsize=(7.2, 3.4))
    for k, (row, name) in enumerate(zip(sizes, bench_names(sizes))):
        ax.plot(
            rungs,
            [row[rung]["share of limit"] for rung in rungs],
            color=COLOURS[k],
            marker=MARKERS[k],
            ls="--" if row["backward"] else "-",
            label=name,
        )
    ax.set(ylabel="share of the limit", ylim=(0, 1.05))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return fig

"""Figures of lecture 09 that are longer than a notebook's cell.

A cell unrolled, the three forms of work, an LSTM's inside, an alignment; and what the records of learning and
translation show.
"""

import html
from dataclasses import dataclass

import numpy as np

from helpers.course.plots import BLUE, COLOURS, GREEN, MARKERS, ORANGE, PINK, SKY, use


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


def forms():
    """The three forms of work: read all and answer once; answer at every step; read all, then write -> figure."""
    fig, axes = use().subplots(1, 3, figsize=(9.6, 2.7), gridspec_kw={"width_ratios": [1, 1, 1.5]})
    for ax, inputs, outputs, columns, title in (
        (axes[0], range(4), [3], 4, "sequence to vector"),
        (axes[1], range(4), range(4), 4, "sequence to sequence, step by step"),
        (axes[2], range(3), range(3, 6), 6, "encoder and decoder"),
    ):
        for t in range(columns):
            writes = columns == 6 and t >= 3
            _box(ax, t, 1, "", ORANGE if writes else SKY)
            if t:
                _arrow(ax, (t - 0.68, 1), (t - 0.32, 1), BLUE)
            if t in inputs:
                _arrow(ax, (t, 0.2), (t, 0.68))
                ax.text(t, 0, f"$x_{t + 1}$", ha="center", va="center")
            if t in outputs:
                _arrow(ax, (t, 1.32), (t, 1.8))
                k = t - 2 if columns == 6 else 1 if len(outputs) == 1 else t + 1
                ax.text(t, 2, "$\\hat y$" if len(outputs) == 1 else f"$\\hat y_{k}$", ha="center", va="center")
            if writes:
                _arrow(ax, (t, 0.2), (t, 0.68))
                ax.text(t, 0, "start" if t == 3 else f"$y_{t - 3}$", ha="center", va="center", fontsize=9)
        if columns == 6:
            ax.text(1, -0.5, "encoder reads", ha="center", va="center", fontsize=9)
            ax.text(4, -0.5, "decoder writes", ha="center", va="center", fontsize=9)
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.7, 2.25))
        ax.set_title(title, fontsize=10)
        ax.axis("off")
    return fig


PARTS = {  # of an LSTM's drawing: what a panel is about, and its colour
    "forget": ("1. forget: keep a part of $c_{t-1}$", ORANGE),
    "input": ("2. input: let new content in", GREEN),
    "add": ("3. add: the new cell state $c_t$", BLUE),
    "output": ("4. output: show a part as $h_t$", PINK),
}


def lstm_inside(part=None, ax=None):
    """The data flow of an LSTM cell; `part`, one of PARTS, is drawn in colour and the rest in grey -> figure."""
    if ax is None:
        _, ax = use().subplots(figsize=(7.6, 3.5))
    grey = "#c8c8c8"

    def colour(*names):
        return "black" if part is None else PARTS[part][1] if part in names else grey

    def dark(*names):
        return "black" if part is None or part in names else grey

    high, low = 3.1, 0.35
    ax.plot([0, 1.15], [high, high], color=colour("forget"), lw=1.8)
    _arrow(ax, (1.45, high), (3.32, high), colour("forget", "add"))
    _arrow(ax, (3.68, high), (8.2, high), colour("add"))
    ax.text(-0.1, high, "$c_{t-1}$", ha="right", va="center", color=dark("forget"))
    ax.text(8.3, high, "$c_t$", ha="left", va="center", color=dark("add"))
    every = colour("forget", "input", "output")
    ax.plot([0, 5.6], [low, low], color=every, lw=1.6)  # h_t-1 and x_t, joined, reach the four boxes
    _arrow(ax, (0.45, -0.25), (0.45, low), every)
    ax.text(-0.1, low, "$h_{t-1}$", ha="right", va="center", color=dark("forget", "input", "output"))
    ax.text(0.45, -0.42, "$x_t$", ha="center", va="center", color=dark("forget", "input", "output"))
    for x, sign, name, mine in (
        (1.3, "σ", "$f_t$", "forget"),
        (2.9, "σ", "$i_t$", "input"),
        (4.1, "tanh", "$g_t$", "input"),
        (5.6, "σ", "$o_t$", "output"),
    ):
        active = part is None or part == mine
        _arrow(ax, (x, low), (x, 0.88), colour(mine))
        face = next(c for key, (_, c) in PARTS.items() if key == mine) if active else "#eeeeee"
        _box(ax, x, 1.15, sign, face, "black" if active else grey)
        ax.text(x + 0.36, 1.62, name, ha="center", va="center", fontsize=10, color=dark(mine))
    _arrow(ax, (1.3, 1.42), (1.3, high - 0.18), colour("forget"))
    _node(ax, 1.3, high, "×", colour("forget"))
    _arrow(ax, (2.9, 1.42), (3.37, 2.05), colour("input"))
    _arrow(ax, (4.1, 1.42), (3.63, 2.05), colour("input"))
    _node(ax, 3.5, 2.2, "×", colour("input"))
    _arrow(ax, (3.5, 2.38), (3.5, high - 0.18), colour("input", "add"))
    _node(ax, 3.5, high, "+", colour("add"))
    _arrow(ax, (7.0, high), (7.0, 2.56), colour("output"))
    _box(ax, 7.0, 2.3, "tanh", PINK if part in (None, "output") else "#eeeeee", dark("output"))
    _arrow(ax, (7.0, 2.03), (7.0, 1.5), colour("output"))
    _arrow(ax, (5.95, 1.15), (6.8, 1.29), colour("output"))
    _node(ax, 7.0, 1.32, "×", colour("output"))
    _arrow(ax, (7.2, 1.32), (8.2, 1.32), colour("output"))
    ax.text(8.3, 1.32, "$h_t$", ha="left", va="center", color=dark("output"))
    ax.set(xlim=(-0.7, 8.8), ylim=(-0.65, 3.45))
    if part:
        ax.set_title(PARTS[part][0], fontsize=10)
    ax.axis("off")
    return ax.figure


def lstm_gates():
    """An LSTM in four pictures, one part after the other -> figure."""
    fig, axes = use().subplots(2, 2, figsize=(9.6, 5.4))
    for ax, part in zip(axes.flat, PARTS):
        lstm_inside(part, ax)
    return fig


def _box(ax, x, y, text, face, colour="black"):
    style = {"boxstyle": "round,pad=0.3", "fc": face, "alpha": 0.65, "lw": 0}
    ax.text(x, y, text or "    ", ha="center", va="center", fontsize=9, color=colour, bbox=style)


def _node(ax, x, y, sign, colour="black"):
    style = {"boxstyle": "circle,pad=0.12", "fc": "white", "ec": colour}
    ax.text(x, y, sign, ha="center", va="center", fontsize=10, color=colour, bbox=style)


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


def learning_curves(record, lengths):
    """A panel for each length, a colour for each arm: the share of the error that is left, a thin line a seed."""
    fig, axes = use().subplots(1, len(lengths), figsize=(9.6, 3.4), sharey=True)
    names = list(dict.fromkeys(arm.partition(" steps, ")[2] for arm in record.data["arms"]))
    for ax, length in zip(axes, lengths):
        for i, name in enumerate(names):
            arm = f"{length} steps, {name}"
            for k, shares in enumerate(record[arm, "share"] if arm in record.data["arms"] else ()):
                label = name if k == 0 else None
                ends = {"marker": MARKERS[i], "markevery": [len(shares) - 1]}
                ax.plot(range(1, len(shares) + 1), shares, color=COLOURS[i], lw=1, label=label, **ends)
        ax.axhline(1, color="black", ls=":", lw=1)
        ax.axhline(0.1, color="black", ls="--", lw=1)
        ax.set(title=f"{length} steps", xlabel="epoch", yscale="log", ylim=(0.015, 2))
    axes[0].set_ylabel("error / error of no memory")
    fig.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    return fig


def translation_curves(record, lengths):
    """Left, the share of right numbers by epoch; then by length, halfway and at the last epoch -> figure.

    A thick line is the mean over the seeds, a thin one is a seed.
    """
    fig, axes = use().subplots(1, 3, figsize=(9.6, 3.1), sharey=True)
    at, short = record["attention", "epoch"][0], [name.replace(" words or more", "+") for name in lengths]
    for i, arm in enumerate(("attention", "no attention")):
        runs = [record[arm, "greedy"]]  # seeds x epochs, then twice seeds x lengths
        for k in (len(at) // 2, -1):
            runs.append(np.array([[one[k] for one in record[arm, name]] for name in lengths]).T)
        for ax, x, values in zip(axes, (at, range(len(lengths)), range(len(lengths))), runs):
            ax.plot(x, np.mean(values, axis=0), color=COLOURS[i], marker=MARKERS[i], label=arm)
            for one in values:
                ax.plot(x, one, color=COLOURS[i], lw=0.7, alpha=0.7)
    axes[0].set(title="all lengths", xlabel="epoch", ylabel="share fully right", ylim=(-0.05, 1.05))
    axes[0].legend(fontsize=8, loc="lower right")
    for ax, epoch in zip(axes[1:], (at[len(at) // 2], at[-1])):
        ax.set_xticks(range(len(lengths)), [name.removesuffix(" words") for name in short])
        ax.set(title=f"after {epoch} epochs", xlabel="words of the English number")
    return fig

"""Figures of lecture 07 on augmentation that are longer than a notebook's cell."""

import numpy as np

from helpers.course.plots import BLUE, GREEN, ORANGE, curve, image, use


def pipeline(picture, versions, middle, batch=8):
    """Two rows of boxes: what training does to a picture, and what validation does -> figure.

    picture    (C, H, W), the stored one
    versions   three pictures, what the random transforms made of it in three epochs
    middle     what validation makes of it
    """
    fig, ax = use().subplots(figsize=(9.6, 3.7))
    ax.set(xlim=(0, 9.6), ylim=(0, 3.7))
    ax.axis("off")

    def shown(x, y, pixels, title, size=1.0):
        inset = ax.inset_axes([x, y, size, size], transform=ax.transData)
        inset.imshow(image(pixels))
        inset.set_axis_off()
        ax.text(x + size / 2, y - 0.06, title, ha="center", va="top", fontsize=9)

    def box(x, y, words, colour, wide=1.75):
        style = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour, "linewidth": 1.8}
        ax.text(x + wide / 2, y, words, ha="center", va="center", fontsize=9, bbox=style)

    def arrow(x, y, to, at=None):
        ax.annotate(
            "", (to, y if at is None else at), (x, y), arrowprops={"arrowstyle": "->", "color": "0.35", "lw": 1.3}
        )

    for y, name in ((2.6, "Training"), (0.75, "Validation")):
        ax.text(0.05, y + 0.62, name, fontsize=11, weight="bold", color="black", va="bottom")
        shown(0.05, y - 0.5, picture, "stored picture")
        arrow(1.1, y, 1.5)
    box(1.55, 2.6, "random flip\nrandom crop", ORANGE)
    box(1.55, 0.75, "no random change,\nmiddle of the picture", BLUE)
    for k, version in enumerate(versions):
        shown(3.75 + 1.02 * k, 2.15, version, f"epoch {k + 1}", 0.9)
    arrow(3.3, 2.6, 3.7)
    arrow(3.3, 0.75, 4.7)
    shown(4.77, 0.3, middle, "every epoch", 0.9)
    for y, colour in ((2.6, ORANGE), (0.75, BLUE)):
        arrow(6.75 if y > 2 else 5.75, y, 6.98)
        box(6.95, y, "to float,\nnormalise", colour, 1.2)
        arrow(8.05, y, 8.42)
    box(8.35, 2.6, f"batch of {batch},\nnetwork,\nloss, step", GREEN, 1.2)
    box(8.35, 0.75, "network,\naccuracy", GREEN, 1.2)
    return fig


def training_curves(curves, titles, every):
    """One panel for each arm: accuracy on its training and validation pictures while it trains -> figure.

    curves  {arm: (seeds, looks, 2)}: accuracy on training and on validation pictures, a look each `every` steps.
    Thin lines are seeds, thick ones their mean.
    """
    plt = use()
    fig, axes = plt.subplots(1, len(curves), sharey=True, figsize=(min(9.6, 3.6 * len(curves)), 3.3), squeeze=False)
    for ax, (arm, values) in zip(axes[0], curves.items()):
        values = np.asarray(values)
        x = every * np.arange(1, values.shape[1] + 1)
        for part, colour, marker, name in (
            (0, ORANGE, "s", "training pictures"),
            (1, BLUE, "o", "validation pictures"),
        ):
            ax.plot(x, values[:, :, part].T, color=colour, alpha=0.3, lw=0.8)
            ax.plot(x, values[:, :, part].mean(0), color=colour, marker=marker, lw=2, label=name)
        ax.set(title=titles[arm], xlabel="optimiser steps", ylim=(0, 1.03))
    axes[0, 0].set_ylabel("accuracy")
    axes[0, -1].legend(loc="lower right", fontsize=9)
    return fig


def budgets(record, arms, steps):
    """Accuracy on fresh leaves against the budget, and the differences to the first arm -> figure.

    record["ARM, N steps", "test"] holds one accuracy a seed; bands are 95 % intervals over the seeds.
    """
    fig, axes = use().subplots(1, 2, figsize=(9.2, 3.6))
    for i, arm in enumerate(arms):
        runs = np.array([record[f"{arm}, {n} steps", "test"] for n in steps]).T  # (seeds, budgets)
        curve(axes[0], steps, runs, arm, i)
        if i:
            apart = [record.difference(f"{arm}, {n} steps", f"{arms[0]}, {n} steps", "test") for n in steps]
            curve(axes[1], steps, np.array(apart).T, f"{arm} minus {arms[0]}", i)
    axes[1].axhline(0, color="black", lw=0.8)
    titles = ("accuracy on fresh leaves", f"difference to '{arms[0]}'")
    for ax, title in zip(axes, titles):
        ax.set(title=title, xlabel="optimiser steps (log scale)", xscale="log")
        ax.set_xticks(list(steps), [f"{n:,}" for n in steps])
        ax.minorticks_off()
        ax.legend(fontsize=8)
    axes[0].set_ylabel("accuracy")
    axes[1].set_ylabel("difference of accuracies")
    return fig

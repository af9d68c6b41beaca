"""Drawings of lecture 07: an autoencoder, rows of pictures with captions, a map, and how t-SNE pulls and pushes."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from helpers.course import plots


def sketch(ax, picture, copy, k):
    """An autoencoder of `k` latent dimensions: `picture` (1, H, W), encoder, code, decoder, `copy` (1, H, W)."""
    for left, x, words in ((0, picture, "input $x$"), (8.4, copy, "output $\\hat x$")):
        ax.imshow(x[0], cmap="gray", vmin=0, vmax=1, extent=(left, left + 1.6, 0.7, 2.3))
        ax.text(left + 0.8, 2.45, f"{words}\n{x.numel()} pixels", ha="center", va="bottom")
    wide, narrow = (0.7, 2.3), (1.2, 1.8)
    for left, right, (start, end), name in (
        (2.0, 4.3, (wide, narrow), "encoder $f$"),
        (5.7, 8.0, (narrow, wide), "decoder $g$"),
    ):
        corners = [(left, start[0]), (left, start[1]), (right, end[1]), (right, end[0])]
        ax.add_patch(plt.Polygon(corners, fc=plots.SKY, ec="black", lw=1))
        ax.text((left + right) / 2, 1.5, name, ha="center", va="center")
    ax.add_patch(plt.Rectangle((4.75, narrow[0]), 0.5, narrow[1] - narrow[0], fc=plots.ORANGE, ec="black", lw=1))
    ax.text(5, 2.45, f"code $z$\n{k} numbers", ha="center", va="bottom")
    for a, b in ((1.65, 1.95), (4.35, 4.7), (5.3, 5.65), (8.05, 8.35)):
        ax.annotate("", (b, 1.5), (a, 1.5), arrowprops={"arrowstyle": "->"})
    ax.plot([0.8, 0.8, 9.2, 9.2], [0.6, 0.25, 0.25, 0.6], color=plots.RED)
    ax.text(5, 0.15, "loss: how far is the output from the input?", ha="center", va="top", color=plots.RED)
    ax.set(xlim=(-0.2, 10.2), ylim=(-0.35, 3.4), aspect="equal")
    ax.axis("off")


def rows(named, alt, size=0.8):
    """Rows of pictures with their names on the left: {name: pictures (N, 1, H, W)}, N the same for all."""
    n = len(next(iter(named.values())))
    fig, axes = plt.subplots(len(named), n, figsize=(1.5 + n * size, len(named) * size), squeeze=False)
    for line, (name, pictures) in zip(axes, named.items()):
        for ax, x in zip(line, pictures):
            ax.imshow(plots.image(x), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    plots.show(fig, alt=alt)


def dots(ax, y, labels, title="", names=True):
    """A map `y` (N, 2), coloured by class, with the name of each class at its middle."""
    ax.scatter(*torch.as_tensor(y).T, c=labels, cmap="tab10", s=5, vmin=-0.5, vmax=9.5, lw=0)
    for c in labels.unique() if names else ():
        ax.text(
            *y[labels == c].median(0).values,
            str(int(c)),
            fontsize=9,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "alpha": 0.75, "lw": 0},
        )
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)


def forces(ax, y, arrows, labels, chosen, title):
    """Points `y` (N, 2) of a map, and an arrow at each of `chosen` to where `arrows` (N, 2) moves it."""
    ax.scatter(*y.T, c=labels, cmap="tab10", s=25, vmin=-0.5, vmax=9.5, lw=0)
    ax.quiver(
        *y[chosen].T, *arrows[chosen].T, angles="xy", scale_units="xy", scale=1, width=0.008, color="black", zorder=3
    )
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    ax.set_aspect("equal", "datalim")


def hexagons(n):
    """`n` points (n, 2) of the densest grid in the plane, those nearest its middle; the distance of neighbours is 1."""
    side = int(np.ceil(np.sqrt(n))) + 2
    i, j = np.meshgrid(np.arange(-side, side + 1), np.arange(-side, side + 1))
    grid = np.c_[(i + j / 2).ravel(), (j * np.sqrt(3) / 2).ravel()]
    return grid[np.argsort((grid**2).sum(1), kind="stable")[:n]]

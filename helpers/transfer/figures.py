"""Figures of lecture 06 that are longer than a cell: freezing, filters, feature maps, shares of a network."""

import numpy as np

from helpers.course.plots import BLUE, COLOURS, RED, SKY, image, use

GREY = "#c8c8c8"


def freezing(names, frozen):
    """A network as a row of boxes, the first `frozen` of them frozen, and how far both passes go -> figure."""
    plt = use()
    fig, ax = plt.subplots(figsize=(8, 2.3))
    last = len(names) - 1
    for i, name in enumerate(names):
        still = i < frozen
        ax.add_patch(
            plt.Rectangle((i + 0.08, 0.8), 0.84, 0.8, fc=GREY if still else SKY, hatch="///" if still else None, ec="w")
        )
        ax.text(i + 0.5, 1.2, name, ha="center", va="center", fontsize=9, bbox={"fc": "w", "lw": 0, "pad": 1.5})
    arrow = {"arrowstyle": "->", "lw": 2}
    ax.annotate("", (last + 1.3, 1.85), (-0.3, 1.85), arrowprops=arrow | {"color": BLUE})
    ax.text(last / 2 + 0.5, 1.95, "forward pass: through all blocks", ha="center", va="bottom", color=BLUE)
    ax.annotate("", (frozen + 0.02, 0.55), (last + 1.3, 0.55), arrowprops=arrow | {"color": RED})
    ax.text((frozen + last + 1) / 2, 0.45, "backward pass: stops here", ha="center", va="top", color=RED)
    if frozen:
        ax.text(frozen / 2, 0.45, "frozen: no gradient,\nno stored activations", ha="center", va="top", color="#444444")
    ax.text(-0.35, 1.2, "picture", ha="right", va="center")
    ax.text(last + 1.35, 1.2, "loss", ha="left", va="center")
    ax.set(xlim=(-1.2, last + 2), ylim=(-0.35, 2.4))
    ax.axis("off")
    return fig


def filters(weights, columns=8):
    """The filters of a first layer (N, 3, k, k) as colour pictures, each stretched to its own range -> figure."""
    rows = -(-len(weights) // columns)
    fig, axes = use().subplots(rows, columns, figsize=(columns * 0.62, rows * 0.62 + 0.35), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, w in zip(axes.flat, np.asarray(weights)):
        ax.imshow(((w - w.min()) / max(np.ptp(w), 1e-9)).transpose(1, 2, 0))
    fig.suptitle(
        f"the {len(weights)} filters of the first layer, each {weights.shape[-1]} x {weights.shape[-1]} pixels"
    )
    return fig


def feature_maps(picture, layers, columns=6):
    """A picture, and below it a row of maps for each layer -> figure.

    layers  {title: maps (C, H, W)}: the `columns` maps of the largest deviation are shown, each in its own range
    """
    fig, axes = use().subplots(len(layers), columns + 1, figsize=(columns * 1.05 + 1.9, len(layers) * 1.1 + 0.3))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    for row, (title, maps) in zip(axes, layers.items()):
        maps = np.asarray(maps)
        for ax, k in zip(row[1:], np.argsort(-maps.std((1, 2)), kind="stable")[:columns]):
            ax.imshow(maps[k])
        row[1].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
    axes[0, 0].imshow(image(picture))
    for ax, title in zip(axes[0], ["the leaf", *(f"map {k}" for k in range(1, columns + 1))]):
        ax.set_title(title, fontsize=9)
    for ax in axes[1:, 0]:
        ax.axis("off")
    return fig


def shares(rows, k):
    """A network's parts as shares of the whole, from `cost_table`; the first k are hatched -> (figure, its text)."""
    fig, ax = use().subplots(figsize=(7.2, 2.4))
    labels, left = ["parameters", "multiply-adds", "saved activations"], np.zeros(3)
    total = np.sum([row[1:] for row in rows], axis=0)
    drawn = [row for row in rows if any(row[1:])]
    for i, (name, *counts) in enumerate(drawn):
        widths = 100 * np.array(counts) / total
        hatch = "///" if rows.index(drawn[i]) < k else None
        ax.barh(labels, widths, left=left, label=name, edgecolor="white", hatch=hatch, color=COLOURS[i])
        left += widths
    ax.set(xlabel=f"share of the whole network, %; hatched: the first {k} children", xlim=(0, 100))
    ax.invert_yaxis()
    ax.legend(ncols=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1, columnspacing=1)
    held = np.sum([row[1:] for row in rows[:k]], axis=0) / total if k else np.zeros(3)
    return fig, (
        f"Stacked bars of ResNet-50's parts. The first {k} of its ten children, hatched, hold {held[0]:.1%} of "
        f"the parameters, {held[1]:.1%} of the multiply-adds and {held[2]:.1%} of the saved activations."
    )

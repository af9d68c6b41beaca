"""Drawings of lecture 08a: a convolution with numbers, kernels, heads, distorted digits, one stage and two."""

import numpy as np

from helpers.course.plots import BLACK, BLUE, GREEN, ORANGE, RED, SKY, YELLOW
from helpers.yolo import figures


def _bare(ax, title=""):
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    ax.grid(False)


def _box(ax, x, y, w, h, text, colour):
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch((x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0.02", fc=colour, ec=BLACK, alpha=0.35)
    ax.add_patch(shape)
    ax.text(x, y, text, ha="center", va="center", fontsize=8)


def _arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": BLACK, "lw": 1.2})


def heads(ax):
    """One chain of features and three heads: a class, a box, a class for every pixel."""
    ax.set(xlim=(0, 10), ylim=(0, 4))
    ax.axis("off")
    _box(ax, 0.9, 2, 1.4, 1.4, "picture\n3 x 48 x 48", SKY)
    for i, (side, text) in enumerate(((1.7, "16 x 24 x 24"), (1.3, "32 x 12 x 12"), (0.9, "48 x 6 x 6"))):
        _box(ax, 2.9 + 1.7 * i, 2, 1.15, side, text, YELLOW)
        _arrow(ax, (1.63 if i == 0 else 1.8 + 1.7 * i, 2), (2.28 + 1.7 * i, 2))
    ax.text(4.5, 3.45, "features: convolutions; three of them halve the side", ha="center", fontsize=9)
    for y, text, colour in (
        (3.3, "class head: 10 numbers", GREEN),
        (2.0, "box head: 4 numbers", ORANGE),
        (0.7, "pixel head: 3 numbers for each pixel", BLUE),
    ):
        _box(ax, 8.55, y, 2.7, 0.7, text, colour)
        _arrow(ax, (6.9, 2), (7.15, y))


def convolution(axes, image, kernel, at):
    """One output of a convolution with its numbers: image (H, W), kernel (3, 3), at (row, column) of the middle.

    Four axes: the picture with the place marked, the 3 x 3 pixels, the kernel, and the whole output.
    """
    from matplotlib.patches import Rectangle

    row, column = at
    patch = image[row - 1 : row + 2, column - 1 : column + 2]
    views = np.lib.stride_tricks.sliding_window_view(image, (3, 3))  # (H - 2, W - 2, 3, 3)
    output = (views * kernel).sum((2, 3))
    limit = abs(output).max()
    for ax, values, title, options in zip(
        axes,
        (image, patch, kernel, output),
        ("picture", "3 x 3 pixels", "kernel", "output: a feature map"),
        ({"cmap": "gray"}, {"cmap": "gray", "vmin": 0, "vmax": 1}, {"cmap": "RdBu", "vmin": -2, "vmax": 2}, None),
    ):
        ax.imshow(values, **(options or {"cmap": "RdBu", "vmin": -limit, "vmax": limit}))
        _bare(ax, title)
        if values.size == 9:
            for i, j in np.ndindex(3, 3):
                dark = values[i, j] < 0.5 if values is patch else abs(values[i, j]) > 1.5
                ax.text(
                    j, i, f"{values[i, j]:.1f}", ha="center", va="center", fontsize=8, color="white" if dark else BLACK
                )
    axes[0].add_patch(Rectangle((column - 1.5, row - 1.5), 3, 3, fill=False, ec=RED, lw=2))
    axes[3].add_patch(Rectangle((column - 1.5, row - 1.5), 1, 1, fill=False, ec=GREEN, lw=2))
    return float(output[row - 1, column - 1])


def kernels(fig, axes, rows):
    """Rows of kernels on one colour scale: rows {name: (n, h, w)}, axes (rows, n), with a colour bar."""
    limit = max(float(abs(k).max()) for k in rows.values())
    for line, (name, weights) in zip(axes, rows.items()):
        for ax, weight in zip(line, weights):
            shown = ax.imshow(weight, cmap="RdBu", vmin=-limit, vmax=limit)
            _bare(ax)
        line[0].set_ylabel(name, fontsize=9)
    fig.colorbar(shown, ax=axes, shrink=0.9, label="weight")


def changed(axes, image, changes):
    """One image (1, 1, H, W) under each of `shifts.CHANGES`: a row of axes for each kind."""
    for line, (kind, measures) in zip(axes, changes.items()):
        for ax in line[len(measures) :]:
            ax.axis("off")
        for ax, (name, several) in zip(line, measures.items()):
            picture = several[0](image) if several else image
            ax.imshow(picture[0, 0], cmap="gray", vmin=0, vmax=1)
            _bare(ax, name)
        line[0].set_ylabel(kind, fontsize=8)


def one_stage(ax, image, cell, stride=8):
    """The grid of a one-stage detector on an image (3, H, W), one cell (column, row) marked with what it answers."""
    from matplotlib.patches import Rectangle

    figures.canvas(ax, image, "one stage: each cell answers at once")
    figures.grid(ax, image.shape[-1], image.shape[-1] // stride)
    x, y = (k * stride - 0.5 for k in cell)
    ax.add_patch(Rectangle((x, y), stride, stride, fc=YELLOW, ec=YELLOW, alpha=0.7))
    ax.set_xlabel("a cell: 1 confidence + 4 box numbers\n+ 10 classes", fontsize=8)


def two_stages(axes, image, proposals, map_, chosen, cut):
    """Three axes: the proposals (n, 4) on an image, the chosen one on a map (h, w), and what was cut out (5, 5)."""
    stride = image.shape[-1] / map_.shape[-1]
    figures.canvas(axes[0], image, "two stages: 1. proposals")
    figures.boxes(axes[0], proposals, colour=SKY, width=1)
    figures.boxes(axes[0], proposals[[chosen]], colour=YELLOW, width=2.5)
    axes[0].set_xlabel("1 confidence + 4 box numbers\na cell; the best are kept", fontsize=8)
    left, top, right, bottom = (float(v) / stride - 0.5 for v in proposals[chosen])
    axes[1].imshow(map_, cmap="viridis")
    _bare(axes[1], "the place on the feature map")
    for k in range(6):
        x, y = left + (right - left) * k / 5, top + (bottom - top) * k / 5
        axes[1].plot([x, x], [top, bottom], color=YELLOW, lw=1)
        axes[1].plot([left, right], [y, y], color=YELLOW, lw=1)
    axes[1].set_xlabel("5 x 5 parts, wherever its\nedges fall: RoI align", fontsize=8)
    axes[2].imshow(cut, cmap="viridis", vmin=float(map_.min()), vmax=float(map_.max()))
    _bare(axes[2], "2. read the cut-out")
    axes[2].set_xlabel("always 5 x 5: a second network\nanswers class and better box", fontsize=8)

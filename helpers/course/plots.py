"""Figures in one style: colour-blind-safe, the same bytes for the same data, never without a description.

`show(fig, alt=...)` is how a figure reaches the page. The description goes with the picture, for
those who do not see it: it says what the figure *shows*, not that it is a figure.
"""

import base64
import io
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): distinct for every common colour vision
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"]
BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, BLACK = COLOURS
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]  # never colour alone


def use() -> ModuleType:
    """Set the style of the course; returns `matplotlib.pyplot`."""
    import matplotlib.pyplot as plt

    plt.rcdefaults()
    plt.rcParams.update(
        {
            "figure.dpi": 80,
            "savefig.dpi": 80,
            "figure.figsize": (7.2, 3.4),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "font.size": 10,
            "axes.titlesize": 10,
            "legend.frameon": False,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "lines.markersize": 5,
            "savefig.facecolor": "white",
        }
    )
    return plt


def show(fig: "Figure", alt: str) -> None:
    """Show a Matplotlib figure with its description, and close it.

    alt  what a reader who does not see it must know: what is drawn, and what it shows

    Raises ValueError for a description that is none, and where a part of the figure would be cut off.
    """
    if len(alt.strip()) < 20:
        raise ValueError("alt= must say what the figure shows, in a sentence")
    import matplotlib.pyplot as plt
    from IPython.display import display
    from PIL import Image

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    width, height = (round(x * fig.dpi) for x in fig.get_size_inches())
    (left, bottom, right, top), (wide, high) = fig.get_tightbbox().extents, fig.get_size_inches()  # in inches
    plt.close(fig)
    if max(-left, -bottom, right - wide, top - high) > 0.1:
        raise ValueError("a part of the figure lies outside it; for a legend say loc='outside lower center'")
    # a palette is a third of the size, and no eye sees the difference in a plot
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    display(
        {"image/png": base64.b64encode(small.getvalue()).decode(), "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"width": width, "height": height, "alt": alt}},
        raw=True,
    )


def image(x: "ArrayLike | torch.Tensor") -> np.ndarray:
    """An image as Matplotlib wants it: (C, H, W) or (H, W) tensor or array, uint8 or floats in [0, 1] -> (H, W, C)."""
    x = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    if x.ndim == 3 and x.shape[0] in (1, 3) and x.shape[2] not in (1, 3):
        x = x.transpose(1, 2, 0)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    return x if x.dtype == np.uint8 else np.clip(x, 0, 1)


def images(
    pictures: Sequence,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 8,
    alt: str,
    size: float = 1.1,
    colours: Sequence[str] | None = None,
) -> None:
    """A grid of pictures, each (C, H, W) or (H, W); titles above them, in `colours` where given."""
    plt = use()
    n = len(pictures)
    columns = min(columns, n)
    rows = -(-n // columns)
    lines = max((str(t).count("\n") + 1 for t in titles), default=0) if titles is not None else 0
    fig, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * (size + 0.17 * lines)), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i >= n:
            continue
        pixels = image(pictures[i])
        # the whole range, not each picture's own: a faint reconstruction should look faint
        ax.imshow(
            pixels, cmap="gray" if pixels.ndim == 2 else None, vmin=0, vmax=255 if pixels.dtype == np.uint8 else 1
        )
        if titles is not None:
            ax.set_title(titles[i], fontsize=8, color=colours[i] if colours else "black")
    show(fig, alt)


def curve(ax: "Axes", x: ArrayLike, runs: ArrayLike, label: str, i: int = 0) -> None:
    """Mean line and 95 % band of `runs` (seeds, len(x)); each curve has its own colour and marker."""
    from helpers.course.claims import interval

    parts = [interval(column) for column in np.asarray(runs, dtype=float).T]
    ax.plot(x, [p.mean for p in parts], color=COLOURS[i], marker=MARKERS[i % len(MARKERS)], label=label)
    ax.fill_between(x, [p.low for p in parts], [p.high for p in parts], color=COLOURS[i], alpha=0.18, lw=0)


def bars(
    ax: "Axes", labels: Sequence[str], groups: Sequence[Sequence[ArrayLike]], *, names: Sequence[str] | None = None
) -> None:
    """Points with 95 % intervals: `groups[g][k]` holds the seeds of label k; one colour and marker per group."""
    from helpers.course.claims import interval

    for g, group in enumerate(groups):
        parts = [interval(values) for values in group]
        y = np.arange(len(labels)) + (g - (len(groups) - 1) / 2) * 0.22
        mean = np.array([p.mean for p in parts])
        error = [mean - [p.low for p in parts], [p.high for p in parts] - mean]
        ax.errorbar(mean, y, xerr=error, fmt=MARKERS[g], color=COLOURS[g], capsize=3, label=names[g] if names else None)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()

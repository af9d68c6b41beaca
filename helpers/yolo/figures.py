"""Figures of lecture 08: boxes, masks and grids on scenes; the kinds of mistakes; the confidence against the IoU."""

import numpy as np

from helpers.course import plots
from helpers.course.plots import COLOURS, GREEN, MARKERS, RED, SKY, YELLOW


def canvas(ax, image, title=""):
    """The image (3, H, W), with no ticks and no grid."""
    ax.imshow(plots.image(image))
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    ax.grid(False)


def boxes(ax, xyxy, labels=None, scores=None, colour=YELLOW, style="-", width=1.6):
    """Draw boxes (N, 4) in pixels; the label and the score in the upper left corner."""
    from matplotlib.patches import Rectangle

    for i, (left, top, right, bottom) in enumerate(np.asarray(xyxy, dtype=float).reshape(-1, 4)):
        ax.add_patch(
            Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=colour, ls=style, lw=width)
        )
        if labels is not None:
            text = str(int(labels[i])) + (f" {float(scores[i]):.2f}" if scores is not None else "")
            ax.text(
                left,
                top - 1,
                text,
                fontsize=7,
                va="bottom",
                color="black",
                clip_on=True,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
            )


def masks(ax, shapes):
    """Colour the masks (N, H, W) bool of the objects, each its own."""
    from matplotlib.colors import to_rgba

    for i, mask in enumerate(shapes):
        layer = np.zeros((*mask.shape, 4))
        layer[mask] = to_rgba(COLOURS[i % 7], 0.85)
        ax.imshow(layer)


def grid(ax, side, cells):
    """Lines of a grid of `cells` x `cells` over an image of `side` pixels."""
    for k in range(1, cells):
        ax.axhline(k * side / cells - 0.5, color="white", lw=0.6, alpha=0.7)
        ax.axvline(k * side / cells - 0.5, color="white", lw=0.6, alpha=0.7)


def found(ax, image, detections, truth, threshold=0.3, title=""):
    """Detections above the threshold: green and solid where one finds its object (IoU >= 0.5 with its class), red and
    dashed where not; yellow and dotted the objects that none of them found. Returns (hits, wrong ones)."""
    from helpers.yolo.average_precision import match, overlaps

    chosen = np.asarray(detections["scores"]) >= threshold
    box, score, label = (np.asarray(detections[k])[chosen] for k in ("boxes", "scores", "labels"))
    overlap = overlaps(
        box.astype(float).reshape(-1, 4),
        np.asarray(truth["boxes"], dtype=float).reshape(-1, 4),
        np.zeros(len(truth["boxes"]), bool),
    )
    same = label[:, None] == np.asarray(truth["labels"])
    nothing = np.zeros(len(truth["boxes"]), bool)
    index = match(np.where(same, overlap, -1), nothing[None], nothing, [0.5])[0, 0]
    hit, missed = index >= 0, np.setdiff1d(np.arange(len(nothing)), index)
    canvas(ax, image, title)
    boxes(ax, np.asarray(truth["boxes"])[missed], None, None, YELLOW, ":", 2.2)
    for which, colour, style in ((hit, GREEN, "-"), (~hit, RED, "--")):
        boxes(ax, box[which], label[which], score[which], colour, style)
    return int(hit.sum()), int((~hit).sum())


def key(fig):
    """What the colours and lines of `found` mean, below the pictures."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=c, ls=s, lw=2) for c, s in ((GREEN, "-"), (RED, "--"), (YELLOW, ":"))]
    names = ["right place and class (score at least 0.3)", "wrong", "missed by all boxes"]
    fig.legend(lines, names, loc="outside lower center", ncols=3, fontsize=9, frameon=True, facecolor="#bbbbbb")


def followed(ax, image, cells, cell, wanted, predicted, anchors, answers):
    """One object (4,) with its cell (row, column), the anchors (A, 2) there and what the network predicts (4,).

    Boxes are xyxy in pixels; answers (A,) bool: the anchors that answer for the object are drawn solid.
    """
    from matplotlib.patches import Rectangle

    side, (row, column) = np.asarray(image).shape[-1], cell
    step = side / cells
    canvas(ax, image, f"cell: row {row}, column {column}")
    grid(ax, side, cells)
    ax.add_patch(Rectangle((column * step - 0.5, row * step - 0.5), step, step, fc=SKY, ec=SKY, alpha=0.5))
    x, y = (column + 0.5) * step, (row + 0.5) * step
    for (w, h), answer in zip(np.asarray(anchors), answers):
        boxes(ax, [[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], None, None, SKY, "-" if answer else ":", 1.4)
    boxes(ax, [wanted], None, None, YELLOW, "-", 2.4)
    boxes(ax, [predicted], None, None, RED, "--", 1.8)


def mistakes(ax, counts, names):
    """Horizontal bars side by side: `counts` is a list of dicts of `average_precision.sort_mistakes`."""
    kinds = [k for k in counts[0] if k != "correct"]
    y = np.arange(len(kinds))
    for i, (one, name) in enumerate(zip(counts, names)):
        bars = ax.barh(
            y + (i - (len(counts) - 1) / 2) * 0.8 / len(counts),
            [one[k] for k in kinds],
            0.8 / len(counts),
            color=COLOURS[i],
            label=name,
        )
        ax.bar_label(bars, padding=2, fontsize=8)
    ax.set_yticks(y, kinds)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)


def reliability(ax, results, names):
    """Mean IoU against mean confidence in bins; `results` are those of `average_precision.calibration`."""
    ax.plot([0, 1], [0, 1], color="black", lw=1, ls="--")
    for i, (one, name) in enumerate(zip(results, names)):
        ax.plot(one["confidence"], one["iou"], color=COLOURS[i], marker=MARKERS[i], label=name)
    ax.set(xlabel="confidence", ylabel="mean IoU with an object of the class", xlim=(0, 1), ylim=(0, 1))


def three_tasks(petals, kinds, named, groups, bmi, progress, line):
    """Petals (N, 2) by the class that they were given and by their group, patients with a line: a figure.

    kinds, named, groups  true, given and clustered number (N,) of each flower; bmi (M, 1) and progress (M,) of
    patients, line a regression of one on the other
    """
    fig, axes = plots.use().subplots(1, 3, figsize=(9, 2.9))
    for ax, answer, title in zip(axes, (named, groups), ("classification: labels given", "clustering: no labels")):
        for k in range(3):
            ax.scatter(*petals[answer == k].T, s=14, marker=MARKERS[k], color=COLOURS[k])
        ax.set(title=title, xlabel="petal length in cm", ylabel="petal width in cm")
    axes[0].scatter(*petals[named != kinds].T, s=70, facecolors="none", edgecolors="black")
    axes[2].scatter(bmi, progress, s=8, color=SKY)
    axes[2].plot([18, 42], line.predict([[18], [42]]), color=RED)
    axes[2].set(title="regression: a trend", xlabel="body mass index", ylabel="disease after a year")
    return fig


def table_of(ax, values, rows, columns):
    """Values (R, C) in 0..1 as colours and as numbers with two decimals; rows, columns: the names of the ticks."""
    ax.imshow(values, vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(False)
    for i, j in np.ndindex(values.shape):
        colour = "white" if values[i, j] < 0.6 else "black"
        ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=8, color=colour)


def ends_of_v1(record):
    """Average precision of the arms of the record `yolo-v1`, digits found and read or found: a figure."""
    arms = record.data["arms"]
    fig, ax = plots.use().subplots(figsize=(6.6, 2.8))
    plots.bars(
        ax,
        arms,
        [[record[arm, metric] for arm in arms] for metric in ("map50", "place")],
        names=("digits found and read: mAP50", "digits found: AP50"),
    )
    ax.set(xlabel="average precision on new scenes", xlim=(-0.03, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return fig


def by_class(classes):
    """AP50 and mAP of each class as bars; classes {name: {"map50", "map", "n"}}, the best first: a figure."""
    names = sorted(classes, key=lambda name: -classes[name]["map50"])
    fig, ax = plots.use().subplots(figsize=(6, 2.4))
    for i, (metric, label) in enumerate((("map50", "AP at IoU 0.5"), ("map", "mean over ten thresholds"))):
        heights = [classes[name][metric] for name in names]
        bars = ax.barh(np.arange(len(names)) + 0.4 * i - 0.2, heights, 0.38, color=COLOURS[i], label=label)
        ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    ax.set_yticks(range(len(names)), [f"{name} ({classes[name]['n']})" for name in names])
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.1), xlabel="average precision")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return fig

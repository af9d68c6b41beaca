"""Pictures of lecture 08: boxes, masks and grids on scenes; the kinds of mistakes; the confidence against the IoU."""

import numpy as np

from helpers.course.plots import COLOURS, GREEN, MARKERS, RED, YELLOW, picture


def canvas(ax, image, title=""):
    """The picture (3, H, W), with no ticks and no grid."""
    ax.imshow(picture(image))
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
    """Lines of a grid of `cells` x `cells` over a picture of `side` pixels."""
    for k in range(1, cells):
        ax.axhline(k * side / cells - 0.5, color="white", lw=0.6, alpha=0.7)
        ax.axvline(k * side / cells - 0.5, color="white", lw=0.6, alpha=0.7)


def found(ax, image, detections, truth, threshold=0.3, title=""):
    """Detections above the threshold: green and solid where one finds its object (IoU >= 0.5 with its class),
    red and dashed where not."""
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
    hit = match(np.where(same, overlap, -1), nothing[None], nothing, [0.5])[0, 0] >= 0
    canvas(ax, image, title)
    for which, colour, style in ((hit, GREEN, "-"), (~hit, RED, "--")):
        boxes(ax, box[which], label[which], score[which], colour, style)
    return int(hit.sum()), int((~hit).sum())


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

"""How sure is a score of a detector? Average precision and F1 again for pictures that are drawn with replacement.

    read = average_precision(found, truths)              # a function of picture numbers
    bootstrap(read, range(len(truths)), of="test pictures", resamples=500)

`helpers.course.intervals.bootstrap` draws the numbers. Every picture is matched with its objects once; a picture that
is drawn twice counts twice.
"""

import numpy as np

from helpers.yolo.average_precision import KINDS, interpolated, match, overlaps, sort_mistakes


def _matched(found, truths, label, threshold):
    """Of one class: picture, score and hit of every detection, the best first; the number of objects a picture."""
    picture, score, hit, objects = [], [], [], np.zeros(len(truths))
    for i, (f, t) in enumerate(zip(found, truths)):
        chosen, wanted = np.asarray(f["labels"]) == label, np.asarray(t["labels"]) == label
        scores = np.asarray(f["scores"], dtype=float)[chosen]
        best = np.argsort(-scores, kind="stable")
        boxes = np.asarray(f["boxes"], dtype=float).reshape(-1, 4)[chosen][best]
        nobody = np.zeros(wanted.sum(), bool)
        overlap = overlaps(boxes, np.asarray(t["boxes"], dtype=float).reshape(-1, 4)[wanted], nobody)
        hit.append(match(overlap, nobody[None], nobody, [threshold])[0, 0] >= 0)
        score.append(scores[best])
        picture.append(np.full(len(best), i))
        objects[i] = wanted.sum()
    picture, score, hit = (np.concatenate(one) for one in (picture, score, hit))
    order = np.argsort(-score, kind="stable")
    return picture[order], hit[order], objects


def average_precision(found, truths, threshold=0.5):
    """A function of picture numbers: the AP of these pictures at one IoU threshold, the mean over their classes."""
    labels = np.unique(np.concatenate([np.asarray(t["labels"]) for t in truths]))
    known = [_matched(found, truths, label, threshold) for label in labels]

    def score(rows):
        times = np.bincount(np.asarray(rows), minlength=len(truths))
        values = []
        for picture, hit, objects in known:
            n, weight = (times * objects).sum(), times[picture]
            if n:
                true, all_ = np.cumsum(weight * hit), np.cumsum(weight)
                values.append(interpolated(true / np.maximum(all_, 1), true / n).mean())
        return float(np.mean(values))

    return score


def f1(found, truths):
    """A function of picture numbers: F1, the harmonic mean of precision and recall, of these pictures."""
    counts = [sort_mistakes([f], [t]) for f, t in zip(found, truths)]
    correct = np.array([one["correct"] for one in counts])
    detected = np.array([sum(one[kind] for kind in KINDS if kind != "missed") for one in counts])
    objects = np.array([len(t["labels"]) for t in truths])

    def score(rows):
        rows = np.asarray(rows)
        return float(2 * correct[rows].sum() / (detected[rows].sum() + objects[rows].sum()))

    return score

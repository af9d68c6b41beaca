"""How good is a detector? Average precision as COCO defines it, the kinds of mistakes, the confidence.

One picture's detections are a dict {"boxes": (N, 4) xyxy, "scores": (N,), "labels": (N,)}; its ground truth
{"boxes": (M, 4) xyxy, "labels": (M,)} with, if wanted, "crowd" (M,) bool (the box covers a crowd of objects),
"ignore" (M,) bool (finding it is no hit, missing it no miss: VOC's `difficult`) and "area" (M,) (the
object's area; else the box's). Tensors, arrays and lists will do. Everything is NumPy in float64.

Source of the protocol: Lin et al., "Microsoft COCO", ECCV 2014, and the evaluation page of cocodataset.org.
"""

from typing import NamedTuple

import numpy as np

from helpers.course.errors import UserError

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # IoU from which a detection counts as a hit
RECALLS = np.linspace(0, 1, 101)  # where the precision is read off
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # px^2
MAX_DETECTIONS = (1, 10, 100)  # a picture and class
_TINY = np.spacing(1.0)


def precision_recall(correct, n_truth):
    """Precision and recall after each detection, best first: correct (..., N) bool -> two (..., N) arrays.

    precision = TP / (TP + FP) and recall = TP / n_truth, counted down to that detection.
    """
    true = np.cumsum(correct, -1, dtype=np.float64)
    false = np.cumsum(~correct, -1, dtype=np.float64)
    return true / (true + false + _TINY), true / n_truth


def interpolated(precision, recall, at=RECALLS):
    """The best precision that can be had at a recall of at least r, for every r in `at`; 0 beyond the last.

    precision, recall (N,) -> (len(at),). Its mean is the average precision, the area under the curve:
    with 101 points COCO's, with 11 points that of Pascal VOC 2007.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    position = np.searchsorted(recall, at, side="left")
    return np.append(envelope, 0.0)[position]


def overlaps(detected, truth, crowd):
    """IoU of detections (N, 4) with ground truth (M, 4), float64 (N, M).

    For a crowd the union is the detection's own area: a box wholly inside the crowd overlaps it by 1.
    """
    corner = np.maximum(detected[:, None, :2], truth[:, :2]), np.minimum(detected[:, None, 2:], truth[:, 2:])
    intersection = np.clip(corner[1] - corner[0], 0, None).prod(-1)
    own, other = _area(detected)[:, None], _area(truth)
    union = np.where(crowd, own, own + other - intersection)
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def match(overlap, ignore, crowd, thresholds=THRESHOLDS):
    """Give each detection, best score first, the ground truth it finds. -> (A, T, N) index, -1 for none.

    overlap (N, M); ignore (A, M) for A area ranges; crowd (M,). A detection takes the free object that it
    overlaps most, if by at least the threshold; a counted object goes before an ignored one whatever the
    overlap; a crowd is never used up. Of two equal overlaps the later object wins.
    """
    n, m = overlap.shape
    found = np.full((len(ignore), len(thresholds), n), -1)
    if m == 0:
        return found
    free = np.ones((len(ignore), len(thresholds), m), dtype=bool)
    bound = np.minimum(thresholds, 1 - 1e-10)[:, None]
    reaches = overlap[:, None] >= bound  # (N, T, M)
    for d in range(n):
        if not reaches[d, 0].any():  # thresholds ascend: not the lowest, then none
            continue
        candidate = reaches[d] & (free | crowd)  # (A, T, M)
        rank = np.where(candidate, overlap[d] + np.where(ignore, 0, 2)[:, None], -1)
        best = m - 1 - rank[..., ::-1].argmax(-1)  # (A, T): the last maximum
        hit = np.take_along_axis(candidate, best[..., None], -1)[..., 0]
        found[..., d] = np.where(hit, best, -1)
        a, t = np.nonzero(hit)
        free[a, t, best[a, t]] = False
    return found


class Evaluation(NamedTuple):
    """Result of `evaluate`. NaN where COCO's own tools print -1: nothing of that class or size exists."""

    labels: np.ndarray  # (K,) the classes
    precision: np.ndarray  # (T, 101, K, A, D) at the thresholds, recalls, classes, areas, max. detections
    scores: np.ndarray  # (T, 101, K, A, D) the score at which that recall is reached
    recall: np.ndarray  # (T, K, A, D) the highest recall
    thresholds: np.ndarray  # (T,)
    areas: tuple  # A names
    max_detections: tuple  # D

    def ap(self, threshold=None, area="all", label=None):
        """Average precision; over all thresholds and classes unless one is named."""
        values = self.precision[:, :, :, self.areas.index(area), -1]
        return _mean(self._choose(values, threshold, label, classes=2))

    def ar(self, max_detections=None, area="all"):
        """Average recall with that many detections a picture and class (None: the most)."""
        d = -1 if max_detections is None else self.max_detections.index(max_detections)
        return _mean(self.recall[:, :, self.areas.index(area), d])

    def curve(self, label=None, threshold=0.5):
        """(recall (101,), precision (101,)): the precision-recall curve, the mean of the classes or one."""
        values = self._choose(self.precision[:, :, :, 0, -1], threshold, label, classes=2)
        values = values[..., ~np.isnan(values).all((0, 1))]
        return RECALLS, values.mean((0, 2)) if values.size else np.full(len(RECALLS), np.nan)

    def summary(self):
        """COCO's twelve numbers by name."""
        result = {"map": self.ap(), "map50": self.ap(0.5), "map75": self.ap(0.75)}
        result |= {f"map_{size}": self.ap(area=size) for size in self.areas[1:]}
        result |= {f"ar{d}": self.ar(d) for d in self.max_detections}
        return result | {f"ar_{size}": self.ar(area=size) for size in self.areas[1:]}

    def _choose(self, values, threshold, label, classes):
        if threshold is not None:
            position = np.flatnonzero(np.isclose(self.thresholds, threshold))
            if not len(position):
                raise UserError(
                    f"IoU threshold {threshold} was not evaluated, only "
                    + ", ".join(f"{t:.2f}" for t in self.thresholds)
                )
            values = values[position]
        if label is not None:
            values = np.take(values, np.flatnonzero(self.labels == label), axis=classes)
        return values


def evaluate(detections, truths, thresholds=THRESHOLDS, areas=AREAS, max_detections=MAX_DETECTIONS):
    """COCO's evaluation of a list of pictures' detections against the list of their ground truths.

    Class by class: match in every picture, pool the detections of all pictures, sort them by score (stable:
    of equal scores the earlier picture first), count, interpolate at 101 recalls. A detection matched to an
    ignored object, or unmatched and outside the area range, counts neither way. -> `Evaluation`.
    Raises UserError for lists of different length and boxes that are not numbers.
    """
    detections, truths = _checked(detections, truths)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    labels = np.unique(np.concatenate([x["labels"] for x in detections + truths] or [np.zeros(0, dtype=int)]))
    low, high = np.array(list(areas.values()), dtype=np.float64).T[..., None]  # (A, 1): ignore is (A, M)
    shape = len(labels), len(areas), len(max_detections)
    precision = np.full((len(thresholds), len(RECALLS), *shape), np.nan)
    scores, recall = precision.copy(), np.full((len(thresholds), *shape), np.nan)

    for k, label in enumerate(labels):
        score, hit, skip, rank = [], [], [], []  # pooled over the pictures: one entry a detection
        n_truth = np.zeros(len(areas), dtype=int)
        for found, truth in zip(detections, truths):
            found, truth = _of(found, label), _of(truth, label)
            best = np.argsort(-found["scores"], kind="stable")[: max(max_detections)]
            boxes = found["boxes"][best]
            ignore = (truth["area"] < low) | (truth["area"] > high) | truth["ignore"] | truth["crowd"]
            index = match(overlaps(boxes, truth["boxes"], truth["crowd"]), ignore, truth["crowd"], thresholds)
            outside = (_area(boxes) < low) | (_area(boxes) > high)  # (A, N)
            ignored = np.take_along_axis(np.pad(ignore, ((0, 0), (0, 1))), index.reshape(len(ignore), -1), 1)
            ignored = ignored.reshape(index.shape)  # index -1 reads the padding: not ignored
            hit.append(index >= 0)
            skip.append(np.where(index >= 0, ignored, outside[:, None]))
            score.append(found["scores"][best])
            rank.append(np.arange(len(best)))
            n_truth += (~ignore).sum(1)
        score, rank = np.concatenate(score), np.concatenate(rank)
        hit, skip = np.concatenate(hit, -1), np.concatenate(skip, -1)  # (A, T, N)
        order = np.argsort(-score, kind="stable")
        for d, limit in enumerate(max_detections):
            chosen = order[rank[order] < limit]
            for a in np.flatnonzero(n_truth):
                for t in range(len(thresholds)):
                    counted = chosen[~skip[a, t, chosen]]
                    p, r = precision_recall(hit[a, t, counted], n_truth[a])
                    at = np.searchsorted(r, RECALLS, side="left")
                    precision[t, :, k, a, d] = interpolated(p, r)
                    scores[t, :, k, a, d] = np.append(score[counted], 0.0)[at]
                    recall[t, k, a, d] = r[-1] if len(r) else 0.0
    return Evaluation(labels, precision, scores, recall, thresholds, tuple(areas), tuple(max_detections))


def evaluate_dataset(found, data):
    """COCO's numbers of detections in a data set, and under "classes" those of each: {name: {"map", "map50", "n"}}."""
    truths = data.truths()
    result = evaluate(found, truths)
    counted = np.concatenate([t["labels"][~t["ignore"]] if "ignore" in t else t["labels"] for t in truths])
    classes = {}
    for k, name in enumerate(data.classes):
        n = int((counted == k).sum())
        known = n > 0  # the AP of a class that does not occur is no number
        classes[name] = {
            "map": result.ap(label=k) if known else float("nan"),
            "map50": result.ap(0.5, label=k) if known else float("nan"),
            "n": n,
        }
    return result.summary() | {"classes": classes}


# ---------------------------------------------------------------- which mistakes, and how sure

KINDS = ("correct", "localisation", "class", "both", "duplicate", "background", "missed")


def sort_mistakes(detections, truths, threshold=0.5, background=0.1):
    """Each detection's kind, and what was missed: the counts in a dict over KINDS.

    A detection that finds its object (IoU >= threshold, same class, object still free) is correct. Of the
    others, the first that applies: *duplicate* (IoU >= threshold with an object of its class that is taken),
    *class* (IoU >= threshold with another class), *localisation* (IoU >= background with its class), *both*
    (IoU >= background with another class), *background*. *missed* are the objects that no detection found
    and that no localisation or class mistake pointed at. Objects to ignore, and what finds them, count
    nowhere. After Bolya et al., "TIDE", ECCV 2020. Apply your score threshold to the detections first.
    """
    detections, truths = _checked(detections, truths)
    counts = dict.fromkeys(KINDS, 0)
    for found, truth in zip(detections, truths):
        ignore = truth["ignore"] | truth["crowd"]
        order = np.argsort(-found["scores"], kind="stable")
        overlap = overlaps(found["boxes"][order], truth["boxes"], truth["crowd"])  # (N, M)
        same = found["labels"][order][:, None] == truth["labels"]
        index = match(np.where(same, overlap, -1), ignore[None], truth["crowd"], [threshold])[0, 0]
        pointed_at = ignore.copy()
        pointed_at[index[index >= 0]] = True
        counts["correct"] += int((~ignore[index[index >= 0]]).sum())
        for d in np.flatnonzero(index < 0):
            own, other = (np.where(mask & ~ignore, overlap[d], -1.0) for mask in (same[d], ~same[d]))
            best, best_other = own.max(initial=-1), other.max(initial=-1)
            if best >= threshold:
                kind = "duplicate"
            elif best_other >= threshold:
                kind, pointed_at[other.argmax()] = "class", True
            elif best >= background:
                kind, pointed_at[own.argmax()] = "localisation", True
            else:
                kind = "both" if best_other >= background else "background"
            counts[kind] += 1
        counts["missed"] += int((~pointed_at).sum())
    return counts


def calibration(detections, truths, bins=10):
    """Does a confidence of 0.8 mean an overlap of 0.8? Detections in equal bins of their score.

    -> dict of (bins,) arrays: "confidence" and "iou" (mean score, and mean IoU with the best object of the
    same class, 0 if there is none), "precision" (share with IoU >= 0.5), "n"; NaN in an empty bin; and
    "error", a number: the mean |confidence - iou| weighed by n. Objects to ignore count as objects here.
    """
    detections, truths = _checked(detections, truths)
    score, best = [np.zeros(0)], [np.zeros(0)]
    for found, truth in zip(detections, truths):
        same = found["labels"][:, None] == truth["labels"]
        score.append(found["scores"])
        overlap = overlaps(found["boxes"], truth["boxes"], truth["crowd"])
        best.append(np.where(same, overlap, 0).max(1, initial=0))
    score, best = np.concatenate(score), np.concatenate(best)
    place = np.clip((score * bins).astype(int), 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, x, minlength=bins) for x in (score, best, best >= 0.5)]
    confidence, overlap, precision = (np.divide(x, n, out=np.full(bins, np.nan), where=n > 0) for x in sums)
    error = np.abs(sums[0] - sums[1]).sum() / n.sum() if n.sum() else float("nan")
    return {"confidence": confidence, "iou": overlap, "precision": precision, "n": n, "error": error}


# ---------------------------------------------------------------- reading what is passed in


def _area(boxes):
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)


def _of(image, label):
    chosen = image["labels"] == label
    return {name: value[chosen] for name, value in image.items()}


def _mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _checked(detections, truths):
    if len(detections) != len(truths):
        raise UserError(
            f"got {len(detections)} lists of detections, but ground truth for {len(truths)} images: "
            "give one entry per image, empty ones too"
        )
    return (
        [_arrays(x, i, "detections", ("scores",)) for i, x in enumerate(detections)],
        [_arrays(x, i, "ground truth", ()) for i, x in enumerate(truths)],
    )


def _arrays(image, i, what, more):
    boxes = np.asarray(image["boxes"], dtype=np.float64).reshape(-1, 4)
    result = {"boxes": boxes, "labels": np.asarray(image["labels"], dtype=np.int64).reshape(-1)}
    for name in more:
        result[name] = np.asarray(image[name], dtype=np.float64).reshape(-1)
    if what == "ground truth":
        for name in ("crowd", "ignore"):
            result[name] = np.asarray(image.get(name, np.zeros(len(boxes))), dtype=bool).reshape(-1)
        result["area"] = np.asarray(image.get("area", _area(boxes)), dtype=np.float64).reshape(-1)
    for name, value in result.items():
        if len(value) != len(boxes):
            raise UserError(f"{what} of image {i}: got {len(boxes)} boxes but {len(value)} {name}")
        if not np.isfinite(value).all():
            raise UserError(f"{what} of image {i}: {name} must be finite numbers")
    return result

"""Average precision against faster-coco-eval and pycocotools."""

import numpy as np
import pytest

from helpers.course.errors import UserError
from helpers.yolo import average_precision as ap

NAMES = [
    "map",
    "map50",
    "map75",
    "map_small",
    "map_medium",
    "map_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
]


def with_pycocotools(truth, results):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    return COCOeval(coco, coco.loadRes(results), "bbox")


def with_faster_coco_eval(truth, results):
    from faster_coco_eval import COCO, COCOeval_faster

    coco = COCO(truth)
    return COCOeval_faster(coco, coco.loadRes(results), "bbox")


EVALUATORS = [
    pytest.param(with_faster_coco_eval, id="faster-coco-eval"),
    pytest.param(with_pycocotools, id="pycocotools"),
]


def as_coco(detections, truths, classes):
    """The same data in COCO's JSON form. Annotation ids start at 1: an id of 0 counts as 'not matched'."""
    annotations, results = [], []
    for i, (found, truth) in enumerate(zip(detections, truths)):
        for j, box in enumerate(np.asarray(truth["boxes"]).reshape(-1, 4)):
            xywh = [*box[:2], *(box[2:] - box[:2])]
            crowd = int(truth["crowd"][j]) if "crowd" in truth else 0
            area = truth["area"][j] if "area" in truth else xywh[2] * xywh[3]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "iscrowd": crowd,
                    "category_id": int(truth["labels"][j]),
                    "bbox": xywh,
                    "area": float(area),
                }
            )
        for box, score, label in zip(found["boxes"], found["scores"], found["labels"]):
            results.append(
                {
                    "image_id": i + 1,
                    "category_id": int(label),
                    "score": float(score),
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                }
            )
    return {
        "info": {},
        "images": [{"id": i + 1, "width": 600, "height": 600} for i in range(len(truths))],
        "categories": [{"id": k, "name": str(k)} for k in classes],
        "annotations": annotations,
    }, results


def reference(evaluator, detections, truths, classes, areas=None, max_detections=None):
    evaluation = evaluator(*as_coco(detections, truths, classes))
    if areas:
        evaluation.params.areaRng, evaluation.params.areaRngLbl = map(list, (areas.values(), areas))
    if max_detections:
        evaluation.params.maxDets = list(max_detections)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def scenes(seed, pictures=12, classes=4, most=14, crowds=0.0, ties=False, whole=False, spread=0.1):
    """Random ground truth and detections around it, among them doubles, wrong classes and inventions."""
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for _ in range(pictures):
        n = rng.integers(0, most)
        corner, side = rng.uniform(0, 400, (n, 2)), np.exp(rng.uniform(np.log(8), np.log(180), (n, 2)))
        boxes, labels = np.concatenate([corner, corner + side], 1), rng.integers(1, classes + 1, n)
        again = rng.integers(0, n, int(n * 1.6)) if n else np.zeros(0, int)
        moved = boxes[again] + rng.normal(0, spread, (len(again), 4)) * np.tile(side[again], 2)
        extra = rng.uniform(0, 300, (rng.integers(0, 5), 4))
        extra[:, 2:] += extra[:, :2]
        found = np.concatenate([moved, extra])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        scores = rng.random(len(found))
        wrong = rng.random(len(found)) < 0.15
        found_labels = np.concatenate([labels[again], rng.integers(1, classes + 1, len(extra))])
        found_labels[wrong] = rng.integers(1, classes + 1, wrong.sum())
        if whole:  # whole pixels: equal overlaps, IoU exactly at thresholds
            boxes, found = boxes.round(-1), found.round(-1)
        if ties:
            scores = scores.round(1)
        truth = {"boxes": boxes, "labels": labels}
        if crowds:
            truth["crowd"] = rng.random(n) < crowds
            truth["area"] = rng.uniform(0.3, 1, n) * (boxes[:, 2:] - boxes[:, :2]).prod(1)
        truths.append(truth)
        detections.append({"boxes": found, "scores": scores, "labels": found_labels})
    return detections, truths


def assert_equal(ours, theirs, standard=True):
    """All of both precision and recall tables, then the summary. COCO's -1 is our NaN."""
    precision = theirs.eval["precision"].reshape(ours.precision.shape)
    recall = theirs.eval["recall"].reshape(ours.recall.shape)
    assert np.array_equal(precision == -1, np.isnan(ours.precision))
    assert np.abs(np.nan_to_num(ours.precision, nan=-1) - precision).max(initial=0) < 1e-10
    assert np.abs(np.nan_to_num(ours.recall, nan=-1) - recall).max(initial=0) < 1e-10
    # from recall 0.01 on: for recall 0 they give the score of the first detection, counted or not
    scores = np.asarray(theirs.eval["scores"]).reshape(ours.scores.shape)[:, 1:]
    assert np.abs(np.nan_to_num(ours.scores[:, 1:], nan=-1) - scores).max(initial=0) < 1e-7
    if standard:
        theirs.summarize()
        values = np.nan_to_num([ours.summary()[name] for name in NAMES], nan=-1)
        assert np.abs(values - np.asarray(theirs.stats)[:12]).max() < 1e-10


CASES = {
    "plain": {},
    "crowds": {"crowds": 0.25},
    "ties": {"ties": True},
    "whole": {"whole": True, "ties": True},
    "whole_crowds": {"whole": True, "crowds": 0.3, "ties": True},
    "tight": {"spread": 0.02},
    "many": {"pictures": 3, "most": 150, "classes": 1},
}


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(2))
def test_equals_coco(evaluator, case, seed):
    options = {"classes": 4} | CASES[case]
    detections, truths = scenes(seed, **options)
    ours = ap.evaluate(detections, truths)
    assert 0.02 < ours.summary()["map"] < 0.98
    assert_equal(ours, reference(evaluator, detections, truths, range(1, options["classes"] + 1)))


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_equals_coco_with_other_areas_and_limits(evaluator):
    detections, truths = scenes(5, pictures=20, most=30, crowds=0.1)
    areas, limits = {"all": (0, 1e10), "tiny": (0, 400), "rest": (400, 1e10)}, (2, 5, 7)
    ours = ap.evaluate(detections, truths, areas=areas, max_detections=limits)
    assert_equal(ours, reference(evaluator, detections, truths, range(1, 5), areas, limits), standard=False)


def nothing():
    return {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_equals_coco_where_something_is_missing(evaluator):
    detections, truths = scenes(7)
    detections[0], detections[3] = nothing(), nothing()  # pictures without detections
    truths[1], truths[3] = nothing(), nothing()  # pictures without objects
    for found in detections:  # a class that is never found
        found["labels"] = np.where(found["labels"] == 2, 1, found["labels"])
    for truth in truths:  # a class that does not exist
        truth["labels"] = np.where(truth["labels"] == 3, 1, truth["labels"])
    ours = ap.evaluate(detections, truths)
    assert ours.ap(label=2) == 0 and np.isnan(ours.ap(label=3))
    assert_equal(ours, reference(evaluator, detections, truths, range(1, 5)))


def test_nothing_at_all():
    detections, truths = scenes(1)
    assert all(np.isnan(v) for v in ap.evaluate([nothing()], [nothing()]).summary().values())
    assert all(np.isnan(v) for v in ap.evaluate([], []).summary().values())
    empty = ap.evaluate([nothing()] * len(truths), truths).summary()
    assert empty["map"] == 0 and empty["ar100"] == 0
    assert np.isnan(ap.evaluate(detections, [nothing()] * len(truths)).summary()["map"])


def test_ignored_objects_equal_objects_outside_the_area_range():
    """COCO's JSON has no field for `ignore`, but its area ranges ignore objects in the very same way."""
    detections, truths = scenes(3, crowds=0)
    rng = np.random.default_rng(0)
    for truth in truths:
        truth["ignore"] = rng.random(len(truth["boxes"])) < 0.3
    ours = ap.evaluate(detections, truths, areas={"all": (0, 1e10)})
    # an ignored object gets an area outside, every other object and every detection has one inside
    beyond = [{**t, "area": np.where(t["ignore"], 1e9, 10.0)} for t in truths]
    theirs = reference(with_faster_coco_eval, detections, beyond, range(1, 5), {"all": (0, 1e8)})
    assert np.abs(ours.precision[..., 0, :] - theirs.eval["precision"][..., 0, :]).max() < 1e-10


def test_perfect_detections_are_perfect():
    _, truths = scenes(2)
    perfect = [{**t, "scores": np.ones(len(t["boxes"]))} for t in truths]
    summary = ap.evaluate(perfect, truths).summary()
    assert summary["map"] == pytest.approx(1, abs=1e-12) and summary["ar100"] == 1


def test_average_precision_by_hand():
    """One hit on two objects: precision 1 up to recall 0.5, so 51 of 101 recalls; VOC 2007: 6 of 11."""
    precision, recall = ap.precision_recall(np.array([True]), 2)
    assert ap.interpolated(precision, recall).mean() == pytest.approx(51 / 101)
    assert ap.interpolated(precision, recall, np.linspace(0, 1, 11)).mean() == pytest.approx(6 / 11)
    precision, recall = ap.precision_recall(np.array([True, False, True]), 2)
    assert np.allclose(precision, [1, 1 / 2, 2 / 3]) and np.allclose(recall, [0.5, 0.5, 1])
    assert ap.interpolated(precision, recall).mean() == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_order_of_pictures_matters_only_for_ties():
    detections, truths = scenes(4)
    there, back = ap.evaluate(detections, truths), ap.evaluate(detections[::-1], truths[::-1])
    assert np.allclose(there.precision, back.precision, equal_nan=True, atol=1e-12)


def test_curve_is_the_mean_of_the_classes():
    detections, truths = scenes(6)
    result = ap.evaluate(detections, truths)
    recall, precision = result.curve(threshold=0.5)
    assert precision.mean() == pytest.approx(result.ap(0.5)) and len(recall) == 101
    assert (np.diff(precision) <= 1e-12).all()
    assert result.curve(label=2)[1].mean() == pytest.approx(result.ap(0.5, label=2))


# ---------------------------------------------------------------- mistakes and confidence


def picture(*rows):
    """Rows (x, label, score): boxes 10 wide and high at x."""
    rows = np.array(rows, dtype=float).reshape(-1, 3)
    x = rows[:, 0]
    return {"boxes": np.stack([x, 0 * x, x + 10, 0 * x + 10], 1), "labels": rows[:, 1], "scores": rows[:, 2]}


def test_each_kind_of_mistake_is_found():
    truth = picture((0, 1, 0), (100, 1, 0), (200, 1, 0), (300, 1, 0), (400, 1, 0))
    found = picture(
        (0, 1, 0.9),  # correct
        (1, 1, 0.8),  # duplicate: IoU 9/11, its object is taken
        (106, 1, 0.7),  # localisation: IoU 4/16
        (201, 2, 0.7),  # class
        (306, 2, 0.7),  # both
        (500, 1, 0.7),
    )  # background
    counts = ap.sort_mistakes([found], [truth])
    assert counts == {
        "correct": 1,
        "duplicate": 1,
        "localisation": 1,
        "class": 1,
        "both": 1,
        "background": 1,
        "missed": 2,
    }  # at 300 (only `both` points there) and at 400


def test_mistakes_are_a_partition():
    detections, truths = scenes(8, crowds=0.2)
    for threshold in (0.3, 0.5, 0.9):
        counts = ap.sort_mistakes(detections, truths, threshold)
        n, m = (sum(len(x["boxes"]) for x in y) for y in (detections, truths))
        crowds = sum(x["crowd"].sum() for x in truths)
        assert counts["correct"] + counts["missed"] <= m - crowds
        found = sum(counts.values()) - counts["missed"]
        assert n - 8 * crowds <= found <= n
        everything = ap.evaluate(detections, truths, thresholds=[threshold], max_detections=(1000,))
        objects = [sum(((t["labels"] == label) & ~t["crowd"]).sum() for t in truths) for label in everything.labels]
        hits = np.nansum(everything.recall[0, :, 0, 0] * objects)
        assert counts["correct"] == round(hits)  # the hits that `evaluate` counts


def test_ignored_objects_are_no_mistakes():
    truth = picture((0, 1, 0), (100, 1, 0)) | {"ignore": [False, True]}
    assert ap.sort_mistakes([picture((0, 1, 0.9), (100, 1, 0.8))], [truth]) == dict.fromkeys(ap.KINDS, 0) | {
        "correct": 1
    }
    assert sum(ap.sort_mistakes([picture()], [truth]).values()) == 1


def test_calibration_by_hand():
    truth = picture((0, 1, 0), (100, 1, 0))
    found = picture((0, 1, 0.95), (105, 1, 0.92), (100, 2, 0.15))  # IoU 1, 1/3 and, wrong class, 0
    result = ap.calibration([found], [truth])
    assert result["n"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert result["iou"][9] == pytest.approx(2 / 3) and result["iou"][1] == 0 and np.isnan(result["iou"][0])
    assert result["precision"][9] == 0.5 and result["confidence"][9] == pytest.approx(0.935)
    assert result["error"] == pytest.approx((2 * abs(0.935 - 2 / 3) + 0.15) / 3)
    assert np.isnan(ap.calibration([nothing()], [truth])["error"])


@pytest.mark.parametrize(
    "change, what", [({"scores": [1.0]}, "2 boxes but 1 scores"), ({"scores": [1.0, np.nan]}, "scores must be finite")]
)
def test_bad_input_is_explained(change, what):
    good = picture((0, 1, 0.9), (5, 1, 0.8))
    with pytest.raises(UserError, match=f"detections of image 0: .*{what}|{what}"):
        ap.evaluate([good | change], [good])
    with pytest.raises(UserError, match="1 lists of detections, but ground truth for 0"):
        ap.evaluate([good], [])
    with pytest.raises(UserError, match="0.55 was not evaluated"):
        ap.evaluate([good], [good], thresholds=[0.5]).ap(0.55)


def test_a_data_set_is_evaluated_class_by_class():
    """The whole is `evaluate`; a class without objects that count has no AP, and ignored objects are not counted."""

    class Data:
        classes = ["zero", "one", "two"]

        def truths(self):
            truth = {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], "labels": [0, 1, 2]}
            return [{k: np.array(v) for k, v in truth.items()} | {"ignore": np.array([False, False, True])}]

    found = [{"boxes": [[0, 0, 10, 10], [60, 0, 70, 10]], "labels": [0, 1], "scores": [0.9, 0.8]}]
    scores = ap.evaluate_dataset(found, Data())
    assert scores["map50"] == ap.evaluate(found, Data().truths()).ap(0.5) == pytest.approx(0.5)
    assert scores["classes"]["zero"] == {"map": pytest.approx(1), "map50": pytest.approx(1), "n": 1}
    assert scores["classes"]["one"] == {"map": 0, "map50": 0, "n": 1}
    assert scores["classes"]["two"]["n"] == 0 and np.isnan(scores["classes"]["two"]["map"])

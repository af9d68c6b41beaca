"""What lecture 08b measures by training: the ablation, the end of YOLOv1, what a confidence means, real photographs.

The scenes of an experiment are drawn from its seed, training and test scenes from digits and photographs that
share nothing (helpers/data/scenes.py). Nothing is chosen on the test scenes: an arm changes one thing of `BASE`.
"""

from functools import lru_cache, partial

import numpy as np
import torch

from helpers.course.devices import engine, moved
from helpers.course.errors import UserError
from helpers.course.training import fit
from helpers.data.store import fetch
from helpers.data.voc import VocSet
from helpers.yolo import v1
from helpers.yolo.average_precision import calibration, evaluate, evaluate_dataset, overlaps
from helpers.yolo.boxes import nms
from helpers.yolo.detect import detect_batch, detect_dataset, postprocess
from helpers.yolo.grid import decode, split
from helpers.yolo.model import make_augment
from helpers.yolo.scene_set import SceneSet
from helpers.yolo.train import train_detector


@lru_cache(maxsize=6)
def draw(n, seed, split, size):
    """n scenes of a split: a `SceneSet`, kept for the next arm."""
    return SceneSet(n, split, size, seed)


def coco(found, truths, size):
    """mAP and mAP50 of the same detections by another program, faster-coco-eval (ids from 1: 0 means unmatched)."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise UserError("this comparison needs faster-coco-eval: pip install faster-coco-eval") from None
    boxes = [(i, *row) for i, t in enumerate(truths, 1) for row in zip(t["boxes"], t["labels"])]
    results = [(i, *row) for i, f in enumerate(found, 1) for row in zip(f["boxes"], f["labels"], f["scores"])]

    def entry(i, box, label):
        left, top, right, bottom = (float(v) for v in box)
        xywh = [left, top, right - left, bottom - top]
        return {"image_id": i, "category_id": int(label), "bbox": xywh, "area": xywh[2] * xywh[3]}

    truth = COCO(
        {
            "info": {},
            "images": [{"id": i, "width": size, "height": size} for i in range(1, len(truths) + 1)],
            "categories": [{"id": k, "name": str(k)} for k in sorted({int(b[2]) for b in boxes})],
            "annotations": [entry(*b) | {"id": j, "iscrowd": 0} for j, b in enumerate(boxes, 1)],
        }
    )
    run = COCOeval_faster(
        truth,
        truth.loadRes([entry(*r[:3]) | {"score": float(r[3])} for r in results]),
        "bbox",
        print_function=lambda *_: None,
    )
    run.evaluate()
    run.accumulate()
    run.summarize()
    return {"map": float(run.stats[0]), "map50": float(run.stats[1])}


# ---------------------------------------------------------------- the recorded ablation

# What each arm changes one thing of: what `train_detector` is called with. Three anchors a head, k-means on the
# training boxes; every anchor whose shape overlaps an object by 0.4 answers for it; two heads; the box part of the
# loss is 5 (1 - CIoU); the objectness of a box with IoU > 0.7 is left alone; the target of an object is 1.
BASE = {
    "anchors": 3,
    "strides": (8, 16),
    "box_loss": "ciou",
    "box_weight": 5.0,
    "ignore": 0.7,
    "rescore": False,
    "anchor_iou": 0.4,
}
ABLATION = {
    "base": {},
    "best anchor only": {"anchor_iou": 1.0},
    "COCO's anchors": {"anchors": "coco"},
    "one anchor a head": {"anchors": 1},
    "box loss of v3": {"box_loss": "v3", "box_weight": 1.0},
    "CIoU, weight 1": {"box_weight": 1.0},
    "GIoU": {"box_loss": "giou"},
    "one head": {"strides": (8,), "anchors": 6},  # the same six anchors
    "no ignore": {"ignore": 1.0},
    "target IoU": {"rescore": True},
}
COCO_ANCHORS = [[10, 14], [23, 27], [37, 58], [81, 82], [135, 169], [344, 319]]  # of yolov3-tiny, pixels of 416


def train(data, settings=None, *, epochs, seed, width=8):
    """A small YOLO of the settings BASE | `settings` on a `SceneSet`, by the recipe of `train_detector`."""
    settings = BASE | (settings or {})
    if settings["anchors"] == "coco":
        settings["anchors"] = torch.tensor(COCO_ANCHORS) * data.size[1] / 416
    model, _ = train_detector(
        data, epochs=epochs, seed=seed, width=width, residuals=1, batch_size=8, label="", **settings
    )
    return model


def hits(found, truths, at_least=0.5):
    """Scores and IoU, two arrays, of all detections that overlap an object of their class by `at_least`."""
    scores, best = [], []
    for f, t in zip(found, truths):
        a, b = (np.asarray(x["boxes"], dtype=float).reshape(-1, 4) for x in (f, t))
        overlap = overlaps(a, b, np.zeros(len(b), bool))
        same = np.asarray(f["labels"])[:, None] == np.asarray(t["labels"])
        scores.append(np.asarray(f["scores"], dtype=float))
        best.append(np.where(same, overlap, 0).max(1, initial=0))
    scores, best = np.concatenate(scores), np.concatenate(best)
    return scores[best >= at_least], best[best >= at_least]


def score(model, test):
    """What the ablation looks at: COCO's numbers, and how confidence and IoU belong together."""
    from scipy.stats import spearmanr

    found = detect_batch(model, test.images)
    summary = evaluate(found, test.truths()).summary()
    sure = [{k: v[f["scores"] >= 0.1] for k, v in f.items()} for f in found]
    confidence, overlap = hits(sure, test.truths())
    values = {name: summary[name] for name in ("map", "map50", "map75", "map_small", "map_medium")}
    values["gap"] = calibration(sure, test.truths())["error"]
    if len(confidence) > 2:
        values["rank"] = float(spearmanr(confidence, overlap).statistic)
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _ablation(settings, n, n_test, size, epochs, width, seed):
    model = train(draw(n, seed, "train", size), settings, epochs=epochs, seed=seed, width=width)
    return score(model, draw(n_test, seed, "test", size))


def ablation(scale):
    """The small YOLO with one thing changed at a time."""
    settings = {"tiny": (16, 12, 96, 1, 4), "small": (400, 200, 128, 12, 8), "full": (8000, 1000, 160, 60, 16)}[scale]
    return {arm: partial(_ablation, change, *settings) for arm, change in ABLATION.items()}


# ---------------------------------------------------------------- what the end of YOLOv1 costs


def any_digit(images, limit=0.45):
    """The same boxes, all of one class: is there a digit at all? Of detections, doubles across the classes go."""
    one_class = []
    for image in images:
        image = image | {"labels": image["labels"] * 0}
        if "scores" in image:
            kept = nms(image["boxes"], image["scores"], limit)
            image = {name: value[kept] for name, value in image.items()}
        one_class.append(image)
    return one_class


def place(found, truths, limit=0.45):
    """AP50 of finding any digit, without naming it; of two boxes that overlap by more than `limit` one goes."""
    return evaluate(any_digit(found, limit), any_digit(truths)).ap(0.5)


def train_v1(data, *, epochs, seed, connected=True, lr=2e-3, batch_size=16):
    """A YOLOv1 on a `SceneSet`, with the augmentation and the cycle of the learning rate of `train_detector`."""
    side = data.size[0] // 16
    torch.manual_seed(seed)
    model = v1.network(side, connected=connected).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * -(-len(data) // batch_size), pct_start=0.2, cycle_momentum=False
    )
    fit(
        model,
        data,
        step=v1.make_step(side),
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        augment=make_augment(),
        clip=10.0,
        seed=seed,
        label="YOLOv1",
    )
    return model


def _end(kind, seed, n, n_test, size, epochs):
    data, test = draw(n, seed, "train", size), draw(n_test, seed, "test", size)
    if kind == "v3":
        model, _ = train_detector(data, epochs=epochs, seed=seed, strides=(16,), residuals=0, label="YOLOv3")
    else:
        model = train_v1(data, epochs=epochs, seed=seed, connected=kind == "connected")
    found = detect_batch(model, test.images)
    return {
        "map50": evaluate(found, test.truths()).ap(0.5),
        "place": place(found, test.truths()),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def ends(scale):
    """YOLOv1, the same with convolutions for its fully connected layers, and a v3 head: four convolutions before
    each, one grid, the same scenes."""
    sizes = {"tiny": (16, 12, 96, 1), "small": (1000, 200, 128, 5), "full": (8000, 1000, 160, 40)}
    few = dict(zip(("n", "n_test", "size", "epochs"), sizes[scale]))
    many = few | {"epochs": 4 * few["epochs"]}
    return {
        "v1": partial(_end, "connected", **few),
        "v1, four times as long": partial(_end, "connected", **many),
        "v1, convolutions at its end": partial(_end, "convolutions", **few),
        "v3": partial(_end, "v3", **few),
    }


# ---------------------------------------------------------------- what a confidence means


@torch.no_grad()
def detect_objects(model, images, threshold=0.05, nms=0.45, batch_size=64):
    """Detections (N, 3, H, W) by objectness alone: no class has a say in the score or in NMS; all labels are 0."""
    model.eval()
    found = []
    for batch in images.split(batch_size):
        heads = [split(head, len(end.mask)) for head, end in zip(model(batch.float() / 255), model.heads)]
        boxes = [decode(raw, end.anchors[end.mask], images.shape[-2:]) for raw, end in zip(heads, model.heads)]
        boxes = torch.cat([one.flatten(1, 3) for one in boxes], 1)  # (B, N, 4)
        objectness = torch.cat([raw[..., 4:5].sigmoid().flatten(1, 3) for raw in heads], 1)  # (B, N, 1)
        scale = boxes.new_tensor([images.shape[3], images.shape[2]] * 2)
        found += [postprocess(b, s, threshold, nms, 100) for b, s in zip(boxes * scale, objectness)]
    return found


def reliability(found, truths):
    """How far a confidence is from the share of hits and from the mean IoU: `calibration` with the two errors
    "hits" and "iou error", means over the detections."""
    gauge = calibration(found, truths)
    known = gauge["n"] > 0
    apart = np.abs(gauge["confidence"] - gauge["precision"])[known]
    hits = float((apart * gauge["n"][known]).sum() / gauge["n"].sum()) if known.any() else float("nan")
    return gauge | {"hits": hits, "iou error": float(gauge["error"])}


def _confidence(rescore, n, n_test, size, epochs, width, seed):
    data, test = draw(n, seed, "train", size), draw(n_test, seed, "test", size)
    model, _ = train_detector(data, epochs=epochs, seed=seed, width=width, residuals=1, batch_size=8, rescore=rescore)
    found = detect_batch(model, test.images)
    sure = [{k: v[f["scores"] >= 0.05] for k, v in f.items()} for f in found]
    values = {"map50": evaluate(found, test.truths()).ap(0.5)}
    for name, gauge in (
        ("objectness", reliability(detect_objects(model, test.images), any_digit(test.truths()))),
        ("score", reliability(sure, test.truths())),
    ):
        values |= {f"{name}, hits": gauge["hits"], f"{name}, IoU": gauge["iou error"]}
        values |= {f"{name}, {key}": gauge[key].tolist() for key in ("confidence", "precision", "iou")}
    return {name: value for name, value in values.items() if np.isfinite(value).all()}  # a bin may be empty


def confidence(scale):
    """The small YOLO whose objectness is told 1 for an object, as in v3, and the same told the IoU, as in v1 and v2."""
    settings = {"tiny": (16, 12, 96, 1, 4), "small": (1000, 400, 128, 6, 16), "full": (8000, 1000, 160, 30, 16)}[scale]
    return {"target 1": partial(_confidence, False, *settings), "target IoU": partial(_confidence, True, *settings)}


# ---------------------------------------------------------------- real photographs, downloaded

PHOTOGRAPHS = {"bccd": (320, "both"), "voc2007": (416, "horizontal")}  # largest side, mirror images


def photographs(name, seed, epochs=150):
    """Train from nothing on "bccd" or "voc2007", weights chosen on the validation split: `evaluate_dataset`
    of the test split."""
    place, (side, flip) = fetch(name), PHOTOGRAPHS[name]
    train_set = VocSet(place, "train", side)
    valid, test = (VocSet(place, split, train_set.size, train_set.classes) for split in ("valid", "test"))
    model, _ = train_detector(
        train_set,
        valid,
        epochs=epochs,
        seed=seed,
        config={"flip": flip},
        augment=make_augment(flip),
        label=f"YOLO on {name}",
    )
    with moved(model, engine().device):
        return evaluate_dataset(detect_dataset(model, test), test)

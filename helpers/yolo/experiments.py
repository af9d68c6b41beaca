"""What lecture 08 measures about YOLO: anchors, the ceiling of the coding, and the recorded ablations.

The scenes of an experiment are drawn from its seed, training and test scenes from digits and photographs that
share nothing (helpers/data/scenes.py). Nothing is chosen on the test scenes: an arm changes one thing of `BASE`.
"""

from functools import lru_cache, partial

import numpy as np
import torch

from helpers.course.devices import engine, moved
from helpers.course.errors import UserError
from helpers.course.progress import track
from helpers.course.training import fit
from helpers.data.store import fetch
from helpers.data.voc import VocSet
from helpers.yolo import model as yolo_model
from helpers.yolo import v1 as yolo_v1
from helpers.yolo.average_precision import calibration, evaluate, overlaps
from helpers.yolo.boxes import kmeans_anchors, mean_best_iou, nms, xyxy_to_cxcywh
from helpers.yolo.detect import detections
from helpers.yolo.grid import best_anchor, decode_v3, offsets, targets
from helpers.yolo.scene_set import SceneSet
from helpers.yolo.train import FLIPS, find, train_detector
from helpers.yolo.train import score as coco_score

CLASSES = 10


@lru_cache(maxsize=6)
def draw(n, seed, split, size):
    """n scenes of a split: a `SceneSet`, kept for the next arm."""
    return SceneSet(n, split, size, seed)


def sizes(data):
    """(width, height) in pixels of every box of a `SceneSet`: (M, 2)."""
    return torch.cat([xyxy_to_cxcywh(torch.as_tensor(t["boxes"]))[:, 2:] for t in data.truths()])


def coco(found, truths, size):
    """mAP and mAP50 of the same detections by another program, faster-coco-eval (ids from 1: 0 means unmatched)."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise UserError("the comparison needs faster-coco-eval: pip install faster-coco-eval") from None
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


# ---------------------------------------------------------------- anchors


def euclid_anchors(sizes, k, seed=0):
    """k-means under the Euclidean distance of (width, height): the control. (N, 2) -> (k, 2)."""
    from sklearn.cluster import KMeans

    return torch.as_tensor(KMeans(k, n_init=3, random_state=seed).fit(np.asarray(sizes)).cluster_centers_).double()


def random_anchors(sizes, k, seed=0):
    """k boxes picked at random: the other control. (N, 2) -> (k, 2)."""
    return sizes[torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))[:k]].double()


METHODS = {"k-means, 1 - IoU": kmeans_anchors, "k-means, Euclid": euclid_anchors, "random boxes": random_anchors}


def anchor_curves(ks, seeds, train, test):
    """{method: (seeds, len(ks)) mean best IoU with the held-out sizes `test` (M, 2)}; fitted on `train` (N, 2)."""
    return {
        name: np.array(
            [
                [mean_best_iou(test.double(), make(train, k, seed)).item() for k in ks]
                for seed in track(range(seeds), name)
            ]
        )
        for name, make in METHODS.items()
    }


# ---------------------------------------------------------------- the ceiling of the coding


def perfect_heads(truth, anchors, masks, strides, size, classes=CLASSES, sure=12.0):
    """The logits of a network without any error: what it is told, written the way it speaks.

    truth (B, T, 5), anchors (n, 2) in pixels, a mask and a stride for each head -> list of (B, A (5 + K), H, W).
    """
    best, heads = best_anchor(truth, anchors, size), []
    for mask, stride in zip(masks, strides):
        told = targets(truth, best, mask, anchors, (size[0] // stride, size[1] // stride), size, classes)
        place = offsets(told.box, anchors[mask], size)
        middle = place[..., :2].clamp(1e-6, 1 - 1e-6).logit()
        yes = torch.cat([told.present[..., None], told.classes > 0], -1)
        logits = torch.cat([middle, place[..., 2:], torch.where(yes, sure, -sure)], -1)  # (B, A, H, W, 5 + K)
        heads.append(logits.movedim(-1, 2).flatten(1, 2))
    return heads


def ceiling(data, anchors, masks, strides, size, nms=0.45):
    """The evaluation of a perfect network on the scenes of a `SceneSet`: what is missing at 1, the coding lost."""
    scale = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32)
    heads = perfect_heads(data.truth, anchors, masks, strides, size)
    decoded = [decode_v3(head, anchors[mask], size) for head, mask in zip(heads, masks)]
    boxes, scores = (torch.cat(parts, 1) for parts in zip(*decoded))
    return evaluate([detections(b * scale, s, 0.5, nms) for b, s in zip(boxes, scores)], data.truths())


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

    found = yolo_model.predict(model, test.images)
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


def any_digit(pictures, limit=0.45):
    """The same boxes, all of one class: is there a digit at all? Of detections, doubles across the classes go."""
    one_class = []
    for picture in pictures:
        picture = picture | {"labels": picture["labels"] * 0}
        if "scores" in picture:
            kept = nms(picture["boxes"], picture["scores"], limit)
            picture = {name: value[kept] for name, value in picture.items()}
        one_class.append(picture)
    return one_class


def place(found, truths):
    """AP50 of finding any digit, without naming it."""
    return evaluate(any_digit(found), any_digit(truths)).ap(0.5)


def train_v1(data, *, epochs, seed, connected=True, lr=2e-3, batch_size=16):
    """A YOLOv1 on a `SceneSet`, with the augmentation and the cycle of the learning rate of `train_detector`."""
    side = data.size[0] // 16
    torch.manual_seed(seed)
    model = yolo_v1.network(side, connected=connected).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * -(-len(data) // batch_size), pct_start=0.2, cycle_momentum=False
    )
    fit(
        model,
        data,
        step=yolo_v1.make_step(side),
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        augment=yolo_model.make_augment(),
        clip=10.0,
        seed=seed,
        label="YOLOv1",
    )
    return model


def _end(kind, seed, n, n_test, size, epochs):
    data, test = draw(n, seed, "train", size), draw(n_test, seed, "test", size)
    if kind == "v3":
        model, _ = train_detector(data, epochs=epochs, seed=seed, strides=(16,), residuals=0, label="YOLOv3")
        found = yolo_model.predict(model, test.images)
    else:
        model = train_v1(data, epochs=epochs, seed=seed, connected=kind == "connected")
        found = yolo_v1.predict(model, test.images, size // 16)
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


# ---------------------------------------------------------------- real photographs, downloaded

PHOTOGRAPHS = {"bccd": (320, "both"), "voc2007": (416, "horizontal")}  # largest side, mirror images


def photographs(name, seed, epochs=150):
    """Train from nothing on "bccd" or "voc2007", weights chosen on the validation split: `yolo_train.score` of the
    test split."""
    place, (side, flip) = fetch(name), PHOTOGRAPHS[name]
    train_set = VocSet(place, "train", side)
    valid, test = (VocSet(place, split, train_set.size, train_set.classes) for split in ("val", "test"))
    model, _ = train_detector(
        train_set,
        valid,
        epochs=epochs,
        seed=seed,
        config={"flip": flip},
        augment=yolo_model.make_augment(FLIPS[flip]),
        label=f"YOLO on {name}",
    )
    with moved(model, engine().device):
        return coco_score(find(model, test), test)

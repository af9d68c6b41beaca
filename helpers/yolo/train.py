"""Training a small YOLO, on rendered scenes or on a folder in the layout of Pascal VOC.

    train, valid = SceneSet(4000), SceneSet(400, "valid")
    model, result = train_detector(train, valid, epochs=4)
    score(find(model, valid), valid)                        # {"map": ..., "map50": ..., ...}

A data set here is a `SceneSet` or a `voc.VocSet`: its samples are (picture (3, h, w) uint8, truth (T, 5)), and
it knows its `classes`, the network's `size` (height, width), the `shapes` of its pictures in pixels and its
`truths()`. The notebook and the command line use the same functions.
"""

import numpy as np
import torch

from helpers.course.errors import UserError
from helpers.course.training import fit, load_model, save_model
from helpers.data.geometry import unletterbox
from helpers.yolo import average_precision
from helpers.yolo import model as yolo_model
from helpers.yolo.boxes import cxcywh_to_xyxy, kmeans_anchors, xyxy_to_cxcywh
from helpers.yolo.darknet.network import Darknet
from helpers.yolo.scene_set import SceneSet

# What `train_detector` is called with where nothing else is said. Found on the validation splits alone.
RECIPES = {"scenes": {"epochs": 8, "size": 160, "flip": "none"}, "voc": {"epochs": 150, "size": 320, "flip": "both"}}


FLIPS = {"none": False, "horizontal": True, "both": "both"}


def anchors_of(data, n, seed=0):
    """(n, 2) anchors in pixels of the network's input, by k-means over the objects of a data set."""
    shown = data.truth[data.truth[..., 4] >= 0][:, 2:4] * torch.tensor(data.size[::-1])
    if not len(shown):
        raise UserError("there is no object to learn from in the training pictures")
    distinct = len(shown.unique(dim=0))
    found = kmeans_anchors(shown, min(n, distinct), seed)
    return torch.cat([found, found[-1:].expand(n - len(found), 2)])  # fewer sizes than anchors: repeat


def train_detector(
    train,
    valid=None,
    *,
    epochs,
    width=16,
    strides=(8, 16),
    anchors=3,
    residuals=2,
    box_loss="ciou",
    box_weight=5.0,
    ignore=0.7,
    rescore=False,
    anchor_iou=0.4,
    augment=None,
    lr=6e-3,
    weight_decay=5e-3,
    warmup=0.2,
    batch_size=16,
    seed=0,
    judgements=5,
    config=None,
    **options,
):
    """Train a small YOLO on a data set: (model, `Result` of `training.fit`, which takes `options`).

    width, strides, residuals   the network, see `yolo_model.small_cfg`
    anchors                     how many a head, by k-means on `train`; or all of them, (A, 2) in pixels
    box_loss ... anchor_iou     the loss, see `yolo_model.make_step`
    augment                     see `yolo_model.make_augment`; None: zoom, shift and tint, no flips
    lr, warmup                  the largest learning rate of AdamW, reached after `warmup` of all steps; from there it
                                falls to 0 as a cosine does
    judgements                  so often, in the second half, the mAP on `valid` is taken; the best weights are kept

    `model.config` holds the cfg and what else `save` writes. Without `valid` the last weights are kept.
    """
    torch.manual_seed(seed)
    if isinstance(anchors, int):
        anchors = anchors_of(train, anchors * len(strides))
    cfg = yolo_model.small_cfg(len(train.classes), anchors, train.size, width, strides, residuals)
    # in memory the channels of a pixel lie side by side: a fifth faster on a CPU
    model = yolo_model.new(cfg).to(memory_format=torch.channels_last)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]  # biases and batch norms do not decay
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}], lr
    )
    steps = epochs * -(-len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=warmup, cycle_momentum=False, final_div_factor=1e3
    )
    every = max(1, epochs // (2 * judgements))

    def judge(model, epoch):
        if (epochs - epoch) % every or 2 * epoch < epochs:
            return None
        found = score(find(model, valid), valid)
        return {"valid_map": found["map"], "valid_map50": found["map50"]}

    facts = {
        "kind": "yolo",
        "classes": train.classes,
        "size": list(train.size),
        "width": width,
        "strides": list(strides),
        "residuals": residuals,
        "seed": seed,
        "epochs": epochs,
        "lr": lr,
        "box_loss": box_loss,
        "box_weight": box_weight,
        "ignore": ignore,
        "rescore": rescore,
        "anchor_iou": anchor_iou,
        "weight_decay": weight_decay,
        "warmup": warmup,
    } | (config or {})
    model.config = facts | {"cfg": cfg}
    result = fit(
        model,
        train,
        step=yolo_model.make_step(box_loss, ignore, rescore, box_weight, anchor_iou),
        augment=augment or yolo_model.make_augment(),
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        clip=10.0,
        seed=seed,
        config=facts,
        **({} if valid is None else {"judge": judge, "monitor": "valid_map", "mode": "max", "keep": "best"}),
        **options,
    )
    return model, result


def check(strides, side, box_loss):
    """Complain before any picture is read: raises UserError for a network or a loss that cannot be."""
    yolo_model.small_cfg(1, [[8, 8]] * len(strides), (max(strides, default=1),) * 2, 2, strides)
    if side % max(strides) or side // max(strides) < 2:
        raise UserError(f"size {side}: must be a multiple of the largest stride, {max(strides)}, twice at least")
    if box_loss not in ("v3", "iou", "giou", "ciou"):
        raise UserError(f"box_loss '{box_loss}': choose v3, iou, giou or ciou")


def quick(seed=0, n=4000, epochs=4, size=160, **options):
    """The lecture's live training: scenes rendered, a detector trained, in under two minutes on two cores.

    -> (model, `Result`). Without validation in between: judge the model afterwards.
    """
    return train_detector(SceneSet(n, "train", size, seed), epochs=epochs, seed=seed, **options)


# ---------------------------------------------------------------- what a trained one finds


def find(model, data, threshold=0.005, nms=0.55, most=100, batch_size=32):
    """Detections in every picture of a data set: what `average_precision.evaluate` wants, xyxy in its pixels.

    A model that was trained on mirror images (`flip` in its config) is asked about them, too.
    """
    found, flip = [], mirrors(model)
    for start in range(0, len(data), batch_size):
        rows = list(range(start, min(start + batch_size, len(data))))
        images, _ = data.collate(data.__getitems__(rows))
        found += yolo_model.predict(model, images, threshold, nms, most, flip=flip)
    return [in_picture(one, shape, data.size) for one, shape in zip(found, data.shapes)]


def mirrors(model):
    """The `flip` of `yolo_model.predict` that suits a trained model."""
    return FLIPS[model.config.get("flip", "none")]


def in_picture(found, shape, size):
    """One picture's detections in pixels of the network's input -> in those of the picture, cut at its edges."""
    (height, width), (net_height, net_width) = shape, size
    fractions = xyxy_to_cxcywh(found["boxes"]) / torch.tensor([net_width, net_height] * 2)
    boxes = cxcywh_to_xyxy(unletterbox(fractions, *shape, *size))
    return found | {"boxes": boxes.clamp(min=0).minimum(torch.tensor([width, height] * 2))}


def score(found, data):
    """COCO's numbers, and the AP of each class under "classes": {name: {"map", "map50", "n"}}."""
    truths = data.truths()
    result = average_precision.evaluate(found, truths)
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


# ---------------------------------------------------------------- kept in a file


def save(path, model):
    """Weights, cfg and class names in one file, which `load` reads."""
    return save_model(path, model, model.config)


def load(path):
    """The model that `save` wrote, with its `config`."""
    weights, config = load_model(path)
    if config.get("kind") != "yolo":
        raise UserError(f"{path} holds no detector: give the folder that `yolo train` wrote")
    model = Darknet(config["cfg"])
    model.load_state_dict(weights)
    model.config = config
    return model.eval()

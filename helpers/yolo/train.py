"""Training a small YOLO, on rendered scenes or on a folder in the layout of Pascal VOC.

    train, valid = SceneSet(4000), SceneSet(400, "valid")
    model, result = train_detector(train, valid, epochs=4)
    evaluate_dataset(detect_dataset(model, valid), valid)   # {"map": ..., "map50": ..., ...}

A data set here is a `SceneSet` or a `voc.VocSet`: its samples are (image (3, h, w) uint8, truth (T, 5)), and
it knows its `classes`, the network's `size` (height, width), the `shapes` of its images in pixels and its
`truths()`. The notebook and the command line use the same functions.
"""

import torch

from helpers.course.errors import UserError
from helpers.course.training import fit, load_model, save_model
from helpers.yolo import backbone as borrowed
from helpers.yolo.average_precision import evaluate_dataset
from helpers.yolo.boxes import kmeans_anchors
from helpers.yolo.darknet.network import Darknet
from helpers.yolo.detect import detect_dataset
from helpers.yolo.loss import BOX_LOSSES
from helpers.yolo.model import make_augment, make_step, new, small_cfg

# What `train_detector` is called with where nothing else is said. Found on the validation splits alone; with a
# backbone a first guess.
RECIPES = {
    "scenes": {
        "none": {"epochs": 8, "size": 160, "flip": "none"},
        "efficientnet_lite0": {"epochs": 8, "size": 160, "flip": "none"},
    },
    "voc": {
        "none": {"epochs": 150, "size": 320, "flip": "both"},
        "efficientnet_lite0": {"epochs": 40, "size": 256, "flip": "horizontal"},
    },
}
DEFAULT_BACKBONE = {"scenes": "none", "voc": "none"}
# the largest learning rate, and the strides, where nothing else is said
LR = {"none": 6e-3, "efficientnet_lite0": 2e-3}
HEADS = {"none": (8, 16), "efficientnet_lite0": (16, 32)}


def anchors_of(data, n, seed=0):
    """(n, 2) anchors in pixels of the network's input, by k-means over the objects of a data set."""
    shown = data.truth[data.truth[..., 4] >= 0][:, 2:4] * torch.tensor(data.size[::-1])
    if not len(shown):
        raise UserError("the training images hold no object to learn from")
    distinct = len(shown.unique(dim=0))
    found = kmeans_anchors(shown, min(n, distinct), seed)
    return torch.cat([found, found[-1:].expand(n - len(found), 2)])  # fewer sizes than anchors: repeat


def train_detector(
    train,
    valid=None,
    *,
    epochs,
    width=16,
    strides=None,
    anchors=3,
    residuals=2,
    box_loss="ciou",
    box_weight=5.0,
    ignore=0.7,
    rescore=False,
    anchor_iou=0.4,
    augment=None,
    lr=None,
    weight_decay=5e-3,
    warmup=0.2,
    batch_size=16,
    seed=0,
    judgements=5,
    backbone="none",
    freeze="half",
    config=None,
    **options,
):
    """Train a small YOLO on a data set: (model, `Result` of `training.fit`, which takes `options`).

    width, strides, residuals   the network from nothing, see `model.small_cfg`; strides None: `HEADS`
    backbone, freeze            "none": that network; else borrowed features, see `backbone.Borrowed` and
                                `backbone.hold`, that learn at a tenth of the rate; no `width` and `residuals` then
    anchors                     how many a head, by k-means on `train`; or all of them, (A, 2) in pixels
    box_loss ... anchor_iou     the loss, see `model.make_step`
    augment                     see `model.make_augment`; None: zoom, shift and tint, no flips
    lr, warmup                  the largest learning rate of AdamW (None: `LR`), reached after `warmup` of all steps;
                                from there it falls to 0 as a cosine does
    judgements                  so often, in the second half, the mAP on `valid` is taken; the best weights are kept

    `model.config` holds the cfg and what else `save` writes. Without `valid` the last weights are kept.
    """
    borrowed.check(backbone, freeze, strides or HEADS.get(backbone))
    strides, lr = strides or HEADS[backbone], lr or LR[backbone]
    torch.manual_seed(seed)
    if isinstance(anchors, int):
        anchors = anchors_of(train, anchors * len(strides))
    if backbone == "none":
        cfg = small_cfg(len(train.classes), anchors, train.size, width, strides, residuals)
        model, own = new(cfg), {"width": width, "residuals": residuals}
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]  # biases and batch norms do not decay
        learn = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        built = {"cfg": cfg}
    else:
        model = borrowed.hold(borrowed.Borrowed(len(train.classes), anchors, train.size, strides), freeze)
        learn, own = borrowed.groups(model, lr, weight_decay), {"backbone": backbone, "freeze": freeze}
        built = {"anchors": torch.as_tensor(anchors).tolist()}
    # in memory the channels of a pixel lie side by side: a fifth faster on a CPU
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(learn, lr)
    steps = epochs * -(-len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=warmup,
        cycle_momentum=False,
        final_div_factor=1e3,
    )
    every = max(1, epochs // (2 * judgements))

    def judge(model, epoch):
        if (epochs - epoch) % every or 2 * epoch < epochs:
            return None
        scores = evaluate_dataset(detect_dataset(model, valid), valid)
        return {"valid_map": scores["map"], "valid_map50": scores["map50"]}

    facts = {
        "kind": "yolo",
        "classes": train.classes,
        "size": list(train.size),
        "strides": list(strides),
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
    }
    facts |= own | (config or {})
    model.config = facts | built
    result = fit(
        model,
        train,
        step=make_step(box_loss, ignore, rescore, box_weight, anchor_iou),
        augment=augment or make_augment(),
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


def check(strides, side, box_loss, backbone="none", freeze="half"):
    """Complain before any image is read: raises UserError for a network or a loss that cannot be."""
    borrowed.check(backbone, freeze, strides)
    small_cfg(1, [[8, 8]] * len(strides), (max(strides, default=1),) * 2, 2, strides)
    if side % max(strides) or side // max(strides) < 2:
        raise UserError(
            f"the size must be a multiple of the largest stride, {max(strides)}, and at least twice it; got {side}"
        )
    if box_loss not in BOX_LOSSES:
        raise UserError(f"the box loss must be one of {', '.join(BOX_LOSSES)}; got {box_loss!r}")


# ---------------------------------------------------------------- kept in a file


def save(path, model):
    """Weights, cfg and class names in one file, which `load` reads."""
    return save_model(path, model, model.config)


def load(path):
    """The model that `save` wrote, with its `config`."""
    weights, config = load_model(path)
    if config.get("kind") != "yolo":
        raise UserError(f"{path} holds no detector: name the folder that `yolo train` wrote")
    if config.get("backbone", "none") == "none":
        model = Darknet(config["cfg"])
    else:
        size, strides = config["size"], config["strides"]
        model = borrowed.Borrowed(len(config["classes"]), config["anchors"], size, strides, pretrained=False)
        model.to(memory_format=torch.channels_last)  # as it was trained, hence the same sums
    model.load_state_dict(weights)
    model.config = config
    return model.eval()

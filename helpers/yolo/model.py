"""A small YOLO of our own: its network (a Darknet cfg), its training step, its augmentation.

    cfg = small_cfg(classes=10, anchors=kmeans_anchors(sizes, 6), size=(160, 160))
    model = new(cfg)
    truth = grid.pad_truth(boxes, labels, 160, 160)
    fit(model, Tensors(images, truth), step=make_step(), augment=make_augment(), optimizer=..., epochs=20)
    evaluate(detect_batch(model, test_images), test_truths).summary()

The network *is* a cfg, so that `export` only has to write it down for the C program to run it.
"""

import math
from pathlib import Path

import torch
from torch.nn.functional import affine_grid, grid_sample

from helpers.course.errors import UserError
from helpers.yolo.darknet.cfg import cfg_text
from helpers.yolo.darknet.layers import Yolo
from helpers.yolo.darknet.network import Darknet, write_weights
from helpers.yolo.detect import MIRRORS
from helpers.yolo.loss import loss_v3


def small_cfg(classes, anchors, size=(160, 160), width=16, strides=(8, 16), residuals=2):
    """The cfg of a YOLOv3 in small: one head a stride, `width` filters at stride 2, twice as many a halving.

    anchors (A len(strides), 2) in pixels of `size` (height, width), smallest first: the finest grid gets
    the smallest. `strides` (8,), (8, 16) or (8, 16, 32); more `residuals` make it deeper.
    """
    anchors = [[round(float(v), 2) for v in pair] for pair in anchors]
    if not strides or len(anchors) % len(strides) or list(strides) != sorted(2 ** round(math.log2(s)) for s in strides):
        raise UserError(
            "the strides must be ascending powers of 2, each with the same number of anchors; "
            f"got strides {tuple(strides)} and {len(anchors)} anchors"
        )
    if any(n % strides[-1] for n in size):
        raise UserError(
            f"width and height must be multiples of the largest stride, {strides[-1]}; got {size[1]} x {size[0]}"
        )
    per_head = len(anchors) // len(strides)
    sections = [("net", {"height": size[0], "width": size[1], "channels": 3})]

    def add(kind, **options):
        sections.append((kind, options))
        return len(sections) - 2  # its layer number

    def conv(filters, kernel, stride=1):
        return add(
            "convolutional", batch_normalize=1, filters=filters, size=kernel, stride=stride, pad=1, activation="leaky"
        )

    filters = {2**k: width * 2 ** (k - 1) for k in range(1, int(math.log2(strides[-1])) + 1)}
    maps = {}  # stride -> the last layer of its stage
    for stride, n in filters.items():
        maps[stride] = conv(n, 3, 2)
        for _ in range(residuals if stride > 2 else 0):
            conv(n // 2, 1)
            conv(n, 3)
            maps[stride] = add("shortcut", **{"from": -3, "activation": "linear"})
    branch = None
    for head in reversed(range(len(strides))):
        stride = strides[head]
        if branch is not None:  # the coarser head's view, enlarged
            add("route", layers=[branch])
            conv(filters[stride] // 2, 1)
            add("upsample", stride=strides[head + 1] // stride)
            add("route", layers=[-1, maps[stride]])
        branch = conv(filters[stride], 3)
        add("convolutional", filters=per_head * (5 + classes), size=1, stride=1, pad=1, activation="linear")
        add(
            "yolo",
            mask=list(range(head * per_head, (head + 1) * per_head)),
            classes=classes,
            anchors=[v for pair in anchors for v in pair],
            num=len(anchors),
            ignore_thresh=0.7,
            truth_thresh=1,
        )
    return cfg_text(sections)


def new(cfg):
    """A fresh `Darknet`, its heads so set that at first nothing is an object (probability 2 %)."""
    model = Darknet(cfg)
    for before, layer in zip(model.layers, list(model.layers)[1:]):
        if isinstance(layer, Yolo):
            with torch.no_grad():
                before.conv.weight.normal_(0, 0.01)
                before.conv.bias.zero_().view(len(layer.mask), -1)[:, 4] = -4.0
    return model


def make_step(box_loss="ciou", ignore=0.7, rescore=False, box_weight=5.0, anchor_iou=1.0):
    """The step for `training.fit`: batches are (images (B, 3, H, W) uint8, truth (B, T, 5)).

    `box_weight` multiplies the box part (YOLOv3 itself: box_loss="v3", box_weight=1): an object's 1 - CIoU
    is a tenth of what its class and the empty cells around it cost.
    """

    def step(model, batch):
        images, truth = batch
        heads = [head.float() for head in model(images.float() / 255)]
        ends = model.heads
        parts = loss_v3(
            heads,
            truth,
            ends[0].anchors,
            [end.mask for end in ends],
            images.shape[-2:],
            ignore,
            box_loss,
            rescore,
            anchor_iou,
        )
        return parts | {"loss": parts["loss"] + (box_weight - 1) * parts["box"]}

    return step


def make_augment(flip="none", zoom=1.25, shift=0.15, colour=0.3):
    """`augment` for `training.fit`: zoom, stretch, move (and mirror: not digits!), tint. Boxes move along.

    flip: "none", "horizontal" (left and right) or "both" (also upside down: for what has no up, such as cells).
    What comes in from outside is grey. A box of which less than 40 % stays in the image is dropped.
    """
    if flip not in MIRRORS:
        raise UserError(f"flip must be one of {', '.join(MIRRORS)}; got {flip!r}")

    def augment(batch, generator):
        images, truth = batch
        b, device = len(images), images.device

        def uniform(low, high, *shape):
            return (torch.rand(b, *shape, generator=generator) * (high - low) + low).to(device)

        both, stretch = uniform(-1, 1, 1), uniform(-1, 1, 1)
        scale = zoom**both * 1.1 ** torch.cat([stretch, -stretch], 1)  # (B, 2): x, y
        if flip != "none":
            upright = uniform(-1, 1, 1).sign() if flip == "both" else torch.ones(b, 1, device=device)
            scale = scale * torch.cat([uniform(-1, 1, 1).sign(), upright], 1)
        move = uniform(-shift, shift, 2)  # of the middle, as a fraction
        theta = torch.cat([torch.diag_embed(1 / scale), (-2 * move / scale)[..., None]], -1)  # (B, 2, 3)
        grid = affine_grid(theta, images.shape, align_corners=False)
        pixels = images.float() / 255 - 0.5
        pixels = grid_sample(pixels, grid, align_corners=False)  # outside: 0
        pixels = pixels * uniform(1 - colour, 1 + colour, 3, 1, 1) + uniform(-colour, colour, 3, 1, 1) / 3
        images = ((pixels + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)

        middle = (truth[..., :2] - 0.5) * scale[:, None] + move[:, None] + 0.5
        half = truth[..., 2:4] * scale[:, None].abs() / 2
        low, high = (middle - half).clamp(0, 1), (middle + half).clamp(0, 1)
        kept = (high - low).prod(-1) >= 0.4 * (4 * half.prod(-1))
        label = torch.where(kept, truth[..., 4], -1)
        return images, torch.cat([(low + high) / 2, high - low, label[..., None]], -1)

    return augment


def export(model, cfg, folder, names, header=None):
    """Write yolo.cfg, yolo.weights, yolo.names and yolo.data, which `darknet detector test` runs on."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "yolo.cfg").write_text(cfg)
    write_weights(model, folder / "yolo.weights", header)
    (folder / "yolo.names").write_text("".join(f"{name}\n" for name in names))
    (folder / "yolo.data").write_text(f"classes={len(names)}\nnames={folder / 'yolo.names'}\n")

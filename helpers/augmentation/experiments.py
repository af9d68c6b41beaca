"""The experiments of lecture 07, image augmentation: arms for `helpers.course.experiments`.

Small pictures and a small network, so that seeds, sizes and controls fit into minutes of one CPU core. Within
an experiment every arm takes the same number of optimiser steps on batches of the same size: an arm with
augmentation sees more *different* pictures, not more pictures. Test pictures are drawn apart from all others,
and nothing is chosen on them.
"""

import tempfile
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.augmentation import transforms
from helpers.augmentation.folder import load_folder, write_copies
from helpers.course.augment import hflip, vflip
from helpers.course.batches import Tensors, seed_everything
from helpers.course.choice import validated
from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.training import evaluate, fit, predict
from helpers.data import leaves, sets, store
from helpers.data.images import ImageItems, folder_items, split

SIDE, BATCH = 32, 40
# Eight leaves that differ by what lies on them as much as by their outline
KINDS = [
    "Apple___Apple_scab",
    "Apple___Black_rot",
    "Apple___healthy",
    "Grape___Black_rot",
    "Grape___healthy",
    "Potato___Early_blight",
    "Potato___Late_blight",
    "Potato___healthy",
]


def network(classes, channels=3, width=16):
    """Three convolutions with batch norm, then the mean over the picture: (B, C, H, W) uint8 -> logits (B, K)."""
    layers = [Pixels()]
    for c, d, stride in ((channels, width, 2), (width, 2 * width, 1), (2 * width, 4 * width, 1)):
        layers += [nn.Conv2d(c, d, 3, stride, padding=1, bias=False), nn.BatchNorm2d(d), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] * (stride == 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


class Pixels(nn.Module):
    """uint8 0..255 -> float -1..1: pictures stay uint8 until the network, so augmentation works on bytes."""

    def forward(self, x):  # channels last: a third faster on a CPU, and what a GPU's tensor cores want
        return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def train(data, classes, steps, augment=None, seed=0, batch_size=BATCH, lr=4e-3):
    """A fresh network after `steps` steps of AdamW with a learning rate that ends at 0."""
    seed_everything(seed)
    model = network(classes, data.tensors[0].shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    per_epoch = -(-len(data) // batch_size)
    if steps % per_epoch:
        raise ValueError(f"{steps} steps are no whole number of epochs of {per_epoch}")
    fit(
        model,
        data,
        step=classify,
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=steps // per_epoch,
        batch_size=batch_size,
        augment=augment,
        seed=seed,
        label="",
    )
    return model


def accuracy(model, data):
    """The share of right answers."""
    return evaluate(model, data, step=classify)["accuracy"]


def small_leaves(per_class, seed, kinds=KINDS, side=SIDE):
    """`leaves` of some kinds, `per_class` of each: `Tensors` of uint8 (N, 3, side, side) and (N,). The beginning of
    a larger set with the same seed is the smaller one."""
    x = [leaves.render(kind, seed, size=side, index=i) for i in range(per_class) for kind in kinds]
    return Tensors(torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).contiguous(), torch.arange(len(x)) % len(kinds))


# ---------------------------------------------------------------- does it help?


def gap_augments():
    """{name: augment}: what is compared on leaves. All of it keeps a leaf's label."""
    from torchvision.transforms import v2

    crop, flip = transforms.RandomCrop(SIDE, padding=4, mode="reflect"), transforms.RandomFlip(0.5)
    return {
        "none": None,
        "crop": crop,
        "flip": flip,
        "flip + crop": transforms.Compose(flip, crop),
        "TrivialAugment": transforms.PerImage(v2.TrivialAugmentWide()),
        "MixUp": transforms.MixUp(len(KINDS), alpha=0.2),
    }


@lru_cache(maxsize=4)
def rendered(most, test, seed, side=SIDE):
    """(`most` leaves of each of `KINDS` to train on, `test` others), rendered; the kinds take turns."""
    return small_leaves(most, seed, side=side), small_leaves(test, 10_000 + seed, side=side)


@lru_cache(maxsize=4)
def photographed(most, test, seed, side=SIDE):
    """The same of PlantVillage's photographs, downloaded. A fresh one may show a leaf that was trained on, too, see
    `plant_sets` of lecture 06."""
    place, rng = store.fetch("plantvillage"), np.random.default_rng(seed)
    names = dict(zip(leaves.CLASSES, leaves.folders(p.name for p in place.iterdir())))
    files = [rng.permutation([path for path, _ in folder_items(place, [names[kind]])]) for kind in KINDS]
    if short := [kind for kind, mine in zip(KINDS, files) if len(mine) < most + test]:
        raise UserError(f"{place} has fewer than {most + test} photographs of {short[0]}")
    return tuple(
        ImageItems([(mine[i], k) for i in rows for k, mine in enumerate(files)], side).cached()
        for rows in (range(most), range(most, most + test))
    )


def _gap(name, per_class, most, test, steps, seed, source):
    pool, fresh = source(most, test, seed)
    n = per_class * len(KINDS)
    few = Tensors(*(t[:n] for t in pool.tensors))
    model = train(few, len(KINDS), steps, gap_augments()[name], seed)
    x, y = fresh.tensors
    sure = (predict(model, x).softmax(1) + predict(model, x.flip(-1)).softmax(1)) / 2
    return {
        "train": accuracy(model, few),
        "test": accuracy(model, fresh),
        "tta": (sure.argmax(1) == y).float().mean().item(),
    }


def gap(scale, source=rendered):
    """Every augmentation at every size: accuracy on the training pictures themselves and on fresh ones, and
    that of the mean over a fresh picture and its mirror image (test-time augmentation).

    source: whence the leaves come, `rendered` or `photographed`.
    """
    sizes, test, steps = {
        "tiny": ((5, 10), 2, 2),
        "small": ((10, 20, 40), 80, 240),
        "full": ((10, 20, 40, 80, 160, 640), 400, 6400),
    }[scale]
    return {
        f"{name}, {n}": partial(_gap, name, n, sizes[-1], test, steps, source=source)
        for n in sizes
        for name in gap_augments()
    }


# ---------------------------------------------------------------- copies before or after the split


def _leak(order, per_class, copies, test, steps, seed):
    """Copies in a folder, as the lecture makes them. Accuracy on the validation pictures of the folder and on
    pictures that have no copy anywhere; `shared`: validation pictures whose source is trained on, too."""
    import cv2

    pool, fresh = small_leaves(per_class, seed), small_leaves(test, 10_000 + seed)
    with tempfile.TemporaryDirectory() as room:
        folder, out = Path(room, "leaves"), Path(room, "copies")
        for i, (x, y) in enumerate(zip(*pool.tensors)):
            place = folder / KINDS[y]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{i:04d}.png"), cv2.cvtColor(x.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR))
        first = order == "copies, then split"
        write_copies(folder, out, copies, seed, valid=0 if first else 0.25, progress=False)
        train_set = load_folder(out, "train")
        valid_set = train_set if first else load_folder(out, "val")
    rows, valid_rows = split(train_set.labels.tolist(), 0.25, seed) if first else (slice(None), slice(None))
    model = train(Tensors(train_set.images[rows], train_set.labels[rows]), len(KINDS), steps, seed=seed, batch_size=50)
    known = set(np.array(train_set.sources)[rows])
    return {
        "valid": accuracy(model, Tensors(valid_set.images[valid_rows], valid_set.labels[valid_rows])),
        "fresh": accuracy(model, fresh),
        "shared": float(np.mean([source in known for source in np.array(valid_set.sources)[valid_rows]])),
    }


def leak(scale):
    """The same pictures and the same copies, split by file after copying or by source before it."""
    scales = {"tiny": (4, 1, 2, 2), "small": (30, 4, 80, 252), "full": (100, 9, 400, 9000)}
    per_class, copies, test, steps = scales[scale]
    return {
        order: partial(_leak, order, per_class, copies, test, steps)
        for order in ("copies, then split", "split, then copies")
    }


# ---------------------------------------------------------------- where it hurts


class RandomHalfTurn(transforms.Augment):
    """Turn each picture by 180 degrees with probability p."""

    def __init__(self, p=0.5):
        self.p = p

    def images(self, x, generator):
        mask = torch.rand(len(x), generator=generator) < self.p
        return vflip(hflip(x, mask), mask)


DIGIT_AUGMENTS = {
    "none": None,
    "shift": transforms.RandomCrop(28, padding=2),
    "flip": transforms.RandomFlip(0.5),
    "half turn": RandomHalfTurn(0.5),
}


@lru_cache(maxsize=2)
def digit_sets(per_class, valid, test, seed):
    """MNIST-5k: (training, validation, test) digits, so many of each class, uint8 (N, 1, 28, 28); none is in two."""
    parts = sets.split_digits(per_class, valid, test, seed=seed, per_class=True)
    return tuple(Tensors(torch.from_numpy(images)[:, None], torch.from_numpy(labels)) for images, labels in parts)


def _digits(name, rates, per_class, valid, test, steps, seed):
    few, held, fresh = digit_sets(per_class, valid, test, seed)
    choice, values = validated(
        {f"{rate:g}": rate for rate in rates},
        lambda rate: train(few, 10, steps, DIGIT_AUGMENTS[name], seed, batch_size=50, lr=rate),
        held,
        {"accuracy": fresh},
    )
    y = fresh.tensors[1]
    right = predict(choice.model, fresh).argmax(1) == y

    def share(*digits):
        return right[torch.isin(y, torch.tensor(digits))].float().mean().item()

    return values | {"rate": float(choice.name), "6 and 9": share(6, 9), "2 and 5": share(2, 5), "0 and 8": share(0, 8)}


def digits(scale):
    """Digits under flips and half turns, and a small shift as the augmentation that keeps their labels.

    The longer budget is three times the shorter one (at full scale four times), a training of its own; each arm picks
    its learning rate on validation digits. 500 digits in batches of 50 are 10 steps an epoch.
    """
    counts, rates, *sizes = {
        "tiny": ((2, 4), (4e-3,), 5, 2, 5),
        "small": ((240, 720), (2e-3, 6e-3), 50, 50, 100),
        "full": ((7800, 31200), (1e-3, 2e-3, 4e-3, 8e-3), 300, 100, 100),
    }[scale]
    return {
        f"{name}, {steps} steps": partial(_digits, name, rates, *sizes, steps)
        for steps in counts
        for name in DIGIT_AUGMENTS
    }

"""The experiments of lecture 06: arms for `helpers.course.experiments`.

Pictures are 64 x 64, as in the lecture. Training, validation and test pictures of `leaves` come from
disjoint seeds; nothing is chosen on the test pictures.
"""

from functools import lru_cache, partial

import numpy as np
import torch

from helpers.course.batches import Tensors
from helpers.course.classify import classify
from helpers.course.training import evaluate
from helpers.data import leaves, sets, store
from helpers.data.images import ImageItems, class_folder
from helpers.transfer.model import Classifier, blocks
from helpers.transfer.train import train_classifier

SIZE = 64


def leaf_set(per_class, seed, domain="lab", size=SIZE):
    """`leaves` as `Tensors`: pictures (N, 3, size, size) uint8, classes (N,)."""
    x, y = leaves.dataset(per_class, seed, domain, size)
    return Tensors(torch.as_tensor(x), torch.as_tensor(y))


def plant_sets(seed=0, size=SIZE):
    """The real thing, PlantVillage's photographs of the same 33 classes, downloaded: (train, test) `Tensors`, each in
    random order; a fifth of every class is for testing.

    Many leaves were photographed more than once (Mohanty et al., Frontiers in Plant Science 7, 2016), and this edition
    does not say which: a test photograph may show a leaf that was trained on.
    """
    parts = class_folder(store.fetch("plantvillage"), seed=seed, classes=leaves.folders)[:2]
    rng = np.random.default_rng(seed)
    return tuple(ImageItems([items[i] for i in rng.permutation(len(items))], size).cached() for items in parts)


def enlarged(x, y, size=SIZE):
    """Digits (N, 28, 28) uint8 as pictures (N, 3, size, size) uint8 with their labels: `Tensors`."""
    z = torch.as_tensor(x).float()[:, None]
    z = torch.nn.functional.interpolate(z, (size, size), mode="bilinear", antialias=True)
    return Tensors(z.round().clamp(0, 255).byte().expand(-1, 3, -1, -1).contiguous(), torch.as_tensor(y))


def digit_set(per_class, seed, test=500):
    """MNIST-5k as images (N, 3, 64, 64): (`per_class` a class to train on, `test` others), split by `seed`."""
    train, held = sets.split_digits(per_class, test // 10, seed=seed, per_class=True)
    return enlarged(*train), enlarged(*held)


@lru_cache(maxsize=6)
def _leaves(per_class, seed, test):
    """(train, lab test, field test) of one seed; the test pictures share no seed with any training set."""
    return (leaf_set(per_class, seed), leaf_set(test, 10_000 + seed), leaf_set(test, 20_000 + seed, "field"))


def _strategy(name, epochs, per_class, test, seed):
    """One training on leaves: accuracy on fresh pictures of both domains."""
    lab, *tests = _leaves(per_class, seed, test)
    torch.manual_seed(seed)
    model = Classifier(len(leaves.CLASSES), pretrained=name != "scratch")
    naive = name == "random head"  # what most tutorials do: everything at once, from a fresh head
    train_classifier(
        model,
        lab,
        strategy="none" if naive else name,
        epochs=epochs,
        lp_first=not naive,
        live_statistics=naive,
        seed=seed,
    )
    return {domain: evaluate(model, t, step=classify)["accuracy"] for domain, t in zip(("lab", "field"), tests)}


def leaves_epochs(scale):
    """Epochs of each strategy: enough for its loss on the training pictures to level off."""
    return {
        "tiny": {"scratch": 1, "base": 2, "half": 1, "random head": 1, "none": 1},
        "small": {"scratch": 24, "base": 30, "half": 8, "random head": 8, "none": 8},
        "full": {"scratch": 200, "base": 100, "half": 50, "random head": 50, "none": 50},
    }[scale]


def strategies(scale):
    """Scratch, frozen base, half, everything from a random head, and LP-FT ("none"), on 20 pictures a class."""
    per_class, test = {"tiny": (2, 1), "small": (20, 15), "full": (20, 60)}[scale]
    return {name: partial(_strategy, name, epochs, per_class, test) for name, epochs in leaves_epochs(scale).items()}


# ---------------------------------------------------------------- the 2x2 rule


def _cell(kind, per_class, epochs, strategy, test, seed):
    if kind == "leaves":
        train_set, test_set, _ = _leaves(per_class, seed, test)
        classes = len(leaves.CLASSES)
    else:
        train_set, test_set = digit_set(per_class, seed, 10 if test == 1 else 500)
        classes = 10
    torch.manual_seed(seed)
    model = Classifier(classes, pretrained=strategy != "scratch")
    train_classifier(model, train_set, strategy=strategy, epochs=epochs, seed=seed, augment=kind == "leaves")
    return {"accuracy": evaluate(model, test_set, step=classify)["accuracy"]}


def rule(scale):
    """large/small x similar/different, every strategy in every cell, the same number of samples seen per cell size."""
    test = {"tiny": 1, "small": 15, "full": 60}[scale]
    cells = {
        "tiny": {"small similar": ("leaves", 2, 1), "large different": ("digits", 4, 1)},
        "small": {
            "small similar": ("leaves", 5, 20),
            "large similar": ("leaves", 40, 4),
            "small different": ("digits", 5, 40),
            "large different": ("digits", 100, 4),
        },
        "full": {
            "small similar": ("leaves", 5, 100),
            "large similar": ("leaves", 500, 20),
            "small different": ("digits", 5, 100),
            "large different": ("digits", 400, 20),
        },
    }[scale]
    return {
        f"{cell}: {strategy}": partial(_cell, kind, n, 30 if strategy == "base" else epochs, strategy, test)
        for cell, (kind, n, epochs) in cells.items()
        for strategy in ("base", "half", "none")
    }


# ---------------------------------------------------------------- block by block


def _depth(frozen, epochs, per_class, test, seed):
    lab, lab_test, _ = _leaves(per_class, seed, test)
    torch.manual_seed(seed)
    model = Classifier(len(leaves.CLASSES))
    train_classifier(model, lab, strategy=frozen, epochs=epochs, seed=seed)
    return {"lab": evaluate(model, lab_test, step=classify)["accuracy"]}


def depth(scale):
    """Freeze the first k blocks of the network, k = 0 ... all, and train the others."""
    epochs, per_class, test = {"tiny": (1, 2, 1), "small": (5, 20, 15), "full": (50, 20, 60)}[scale]
    count = len(blocks(Classifier(2, pretrained=False).base))
    steps = {"tiny": [0, count]}.get(scale, [0, 3, 6, 8, count])
    return {f"{k} blocks": partial(_depth, k, epochs, per_class, test) for k in steps}

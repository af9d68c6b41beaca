"""The pictures of lecture 06: rendered leaves, PlantVillage's photographs, and enlarged digits.

Pictures are 64 x 64, as in the lecture. Training, validation and test pictures of `leaves` come from
disjoint seeds; nothing is chosen on the test pictures. `head` and `rule` hold the recorded runs.
"""

from functools import lru_cache

import numpy as np
import torch

from helpers.course.batches import Tensors
from helpers.data import leaves, store
from helpers.data.images import ImageItems, class_folder

SIZE = 64


def leaf_set(per_class, seed, domain="lab", size=SIZE, kinds=None):
    """`leaves` as `Tensors`: pictures (N, 3, size, size) uint8, classes (N,); the classes take turns.

    kinds  some of `leaves.CLASSES`; class k is then kinds[k]. Their leaves are those of the whole set
    """
    if kinds is None:
        x, y = leaves.dataset(per_class, seed, domain, size)
        return Tensors(torch.as_tensor(x), torch.as_tensor(y))
    drawn = [leaves.render(kind, seed, domain, size, index) for index in range(per_class) for kind in kinds]
    x = torch.as_tensor(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()
    return Tensors(x, torch.arange(len(x)) % len(kinds))


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


@lru_cache(maxsize=6)
def _leaves(per_class, seed, test):
    """(train, lab test, field test) of one seed; the test pictures share no seed with any training set."""
    return (leaf_set(per_class, seed), leaf_set(test, 10_000 + seed), leaf_set(test, 20_000 + seed, "field"))

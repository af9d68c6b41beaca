"""The rule of thumb for transfer learning, measured with one factor at a time.

    few pictures, similar to ImageNet     freeze the base          few, different     freeze less
    many, similar                         fine-tune half of it     many, different    fine-tune everything

What each cell of an experiment has in common for its three strategies: the pictures, their augmentation, and the head
that all of them start from, brought to its optimum on features of several augmented views. `base` stays there. `half`
and `none` go on from there, with the learning rate and the number of steps that validation pictures choose from one
grid. So a difference between strategies is what fine-tuning adds, and nothing else.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch.nn import functional as F

from helpers.course.augment import flip_and_shift
from helpers.course.batches import Tensors, mixed
from helpers.course.choice import choose, validated
from helpers.course.classify import classify
from helpers.course.training import evaluate
from helpers.data import leaves, sets
from helpers.data.images import fit_square
from helpers.transfer import photographs
from helpers.transfer.experiments import enlarged
from helpers.transfer.model import Classifier
from helpers.transfer.train import features, linear_probe, train_classifier

STRATEGIES = ("base", "half", "none")
DECAYS = (1e-3, 1e-2, 1e-1, 1.0)  # l2 of the head
DRAWN = 192  # leaves are rendered at this side, the largest there is, and then resized
# Four crops, three classes each
KINDS = (
    *("Apple___Apple_scab", "Apple___Black_rot", "Apple___healthy"),
    *("Grape___Black_rot", "Grape___Esca_(Black_Measles)", "Grape___healthy"),
    *("Potato___Early_blight", "Potato___Late_blight", "Potato___healthy"),
    *("Tomato___Bacterial_spot", "Tomato___Leaf_Mold", "Tomato___healthy"),
)


@dataclass(frozen=True)
class Cell:
    """One cell of an experiment: its pictures, and what its strategies may choose from."""

    kind: str  # "leaves", "digits", "cells", one of `photographs.PHOTOGRAPHS`, or a catalogue entry with class folders
    size: int  # side of the pictures in pixels
    per_class: int  # training pictures a class
    valid: int  # validation pictures a class
    test: int  # test pictures a class
    views: int  # augmented views of a training picture that the head is fitted to
    settings: tuple  # (learning rate, steps) to choose from; steps are rounded up to whole epochs
    kinds: tuple = KINDS  # the classes of leaves
    batch_size: int = 16

    @property
    def augment(self):
        """What all strategies augment with. A mirrored digit is none, so digits stay as they are."""
        return None if self.kind == "digits" else flip_and_shift


# ---------------------------------------------------------------- pictures


@lru_cache(maxsize=6)
def _drawn(kinds, per_class, seed):
    """[`per_class` leaves of each class, (192, 192, 3) uint8]; the classes take turns."""
    return [leaves.render(kind, seed, size=DRAWN, index=i) for i in range(per_class) for kind in kinds]


def leaf_sets(kinds, per_class, valid, test, size, seed):
    """(train, validation, test) of rendered leaves. Another `size` shows the same leaves, larger or smaller."""
    parts = []
    for count, first in ((per_class, 0), (valid, 30_000), (test, 10_000)):
        x = torch.stack([fit_square(image, size) for image in _drawn(kinds, count, first + seed)])
        parts.append(Tensors(x, torch.arange(len(x)) % len(kinds)))
    return tuple(parts)


@lru_cache(maxsize=2)
def pictures(cell, seed):
    """(train, validation, test) of a cell: `Tensors` of uint8 (N, 3, size, size) and classes (N,)."""
    counts = (cell.per_class, cell.valid, cell.test, cell.size, seed)
    if cell.kind == "leaves":
        return leaf_sets(cell.kinds, *counts)
    if cell.kind == "digits":
        parts = sets.split_digits(cell.per_class, cell.valid, cell.test, seed=seed, per_class=True)
        return tuple(enlarged(*part, cell.size) for part in parts)
    if cell.kind == "cells":
        return photographs.cell_sets(*counts)
    if cell.kind in photographs.PHOTOGRAPHS:
        return photographs.photograph_sets(cell.kind, *counts)
    return photographs.folder_sets(cell.kind, *counts)


# ---------------------------------------------------------------- the head that all strategies start from


def view_features(model, data, augment, views, seed, batch_size=64):
    """Features of `views` augmented copies of every picture: (views N, D), and the classes (views N,).

    augment  augment((x, y), generator) -> (x, y), or None: then all views are alike
    """
    rows = []
    for view in range(views):
        parts = []
        for i, x in enumerate(data.tensors[0].split(batch_size)):
            generator = torch.Generator().manual_seed(mixed(seed, view, i))
            parts.append(augment((x, None), generator)[0] if augment else x)
        rows.append(features(model, Tensors(torch.cat(parts))))
    return torch.cat(rows), data.tensors[1].repeat(views)


@lru_cache(maxsize=1)
def probed(cell, seed):
    """A pretrained classifier with the best linear head for the cell's training pictures, and what it took: (model,
    {"l2", "valid": accuracy on the validation pictures})."""
    train, valid, _ = pictures(cell, seed)
    torch.manual_seed(seed)
    model = Classifier(int(train.tensors[1].max()) + 1)
    x, y = view_features(model, train, cell.augment, cell.views if cell.augment else 1, seed)
    z, labels = features(model, valid), valid.tensors[1]

    def score(head):
        logits = z @ head[0].T + head[1]  # (N, classes)
        return (logits.argmax(1) == labels).float().mean().item(), -F.cross_entropy(logits, labels).item()

    grid = {f"{l2:g}": l2 for l2 in DECAYS}
    choice = choose(grid, lambda l2: linear_probe(x, y, model.head.out_features, l2), score)
    with torch.no_grad():
        for parameter, value in zip((model.head.weight, model.head.bias), choice.model):
            parameter.copy_(value)
    return model, {"l2": grid[choice.name], "valid": choice.scores[choice.name][0]}


# ---------------------------------------------------------------- arms


def epochs_of(steps, pictures, batch_size):
    """Whole epochs of at least `steps` steps."""
    return -(-steps // -(-pictures // batch_size))


def _arm(cell, strategy, seed):
    """Accuracy on the test pictures and on the validation pictures, and what was chosen."""
    train_set, valid, test = pictures(cell, seed)
    start, found = probed(cell, seed)
    if strategy == "base":
        return {"accuracy": evaluate(start, test, step=classify)["accuracy"]} | found

    def train(setting):
        rate, steps = setting
        model = copy.deepcopy(start)
        train_classifier(
            model,
            train_set,
            strategy=strategy,
            epochs=epochs_of(steps, len(train_set), cell.batch_size),
            lr=rate,
            lp_first=False,  # it is at its optimum already
            batch_size=cell.batch_size,
            augment=cell.augment is not None,
            seed=seed,
        )
        return model

    grid = {f"{rate:g}, {steps} steps": (rate, steps) for rate, steps in cell.settings}
    choice, values = validated(grid, train, valid, {"accuracy": test})
    rate, steps = grid[choice.name]
    per_epoch = -(-len(train_set) // cell.batch_size)
    taken = per_epoch * epochs_of(steps, len(train_set), cell.batch_size)
    return values | {"rate": rate, "steps": taken, "l2": found["l2"]}


def _arms(cells, strategies=STRATEGIES):
    return {
        f"{name}: {strategy}": partial(_arm, cell, strategy) for name, cell in cells.items() for strategy in strategies
    }


SHORT = ((3e-4, 24), (3e-4, 96))
LONG = tuple((rate, steps) for rate in (1e-4, 3e-4, 1e-3) for steps in (100, 400, 1600))


def resolution(scale):
    """Leaves at three resolutions. `small` asks where the rule is quoted most: few pictures, frozen or fine-tuned."""
    if scale == "tiny":
        tiny = ((1e-3, 1),)
        return _arms({f"1 a class, {s} px": Cell("leaves", s, 1, 1, 1, 2, tiny, KINDS[:2], 4) for s in (32, 48)})
    if scale == "small":
        cells = {f"5 a class, {s} px": Cell("leaves", s, 5, 10, 30, 8, SHORT) for s in (64, 128, 224)}
        return _arms(cells, ("base", "none"))
    sizes = [(n, s) for s in (64, 128, 224) for n in (5, 40, 400)]
    all_kinds = tuple(leaves.CLASSES)
    return _arms({f"{n} a class, {s} px": Cell("leaves", s, n, 20, 60, 8, LONG, all_kinds, 32) for n, s in sizes})


# (kind, its name, (few, many)): of photographs and digits 5 and 40 a class. Blood cells are so easy that few means 2
REAL = (("everyday", "everyday photographs", (5, 40)), ("digits", "digits", (5, 40)), ("cells", "blood cells", (2, 40)))
FOLDERS = (("hymenoptera", "ants and bees", (5, 40)), ("plantvillage", "PlantVillage", (5, 40)))


def real(scale):
    """Real pictures at 128 pixels, similar to ImageNet's (photographs) and different ones (digits, cells under a
    microscope): few and many, the three strategies. The full scale adds photographs that have to be fetched."""
    if scale == "tiny":
        cells = {name: Cell(kind, 32, 1, 1, 1, 2, ((1e-3, 1),), batch_size=4) for kind, name, _ in REAL[:2]}
        return _arms({f"{name}, 1 a class": cell for name, cell in cells.items()})
    side, settings, valid, chosen = (128, SHORT, 10, REAL) if scale == "small" else (224, LONG, 20, REAL + FOLDERS)
    views = lambda n: 4 if n == 40 and scale == "small" else 8
    return _arms(
        {
            f"{name}, {n} a class": Cell(kind, side, n, valid, 40, views(n), settings)
            for kind, name, numbers in chosen
            for n in numbers
        }
    )

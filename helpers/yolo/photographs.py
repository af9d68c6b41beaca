"""Few photographs of one's own: a detector from nothing, and one on borrowed features (`backbone`).

The photographs are the 160 of the folder raccoon, in the layout of Pascal VOC. A seed is a fold: an eighth of them,
20, is scored once, at the end; from the others 35, 70 or 140 are drawn. The last weights are kept, so nothing is
chosen on the fold.

The trainings are shorter than what `yolo train` does by itself, at most about three minutes of one core: the longer
side has 224 pixels. On borrowed features, 20 epochs of 140 photographs; from nothing, whose steps are cheaper, 60.
With fewer photographs an arm takes as many steps as with 140.
"""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from helpers.course.devices import engine, moved
from helpers.course.errors import UserError
from helpers.data.voc import VocSet, split_names
from helpers.yolo.average_precision import evaluate_dataset
from helpers.yolo.detect import detect_dataset
from helpers.yolo.model import make_augment
from helpers.yolo.scene_set import SceneSet
from helpers.yolo.train import train_detector

FOLDS = 8
NETWORKS = {
    "from nothing": {"backbone": "none"},
    "frozen": {"backbone": "efficientnet_lite0", "freeze": "base"},
    "half": {"backbone": "efficientnet_lite0", "freeze": "half"},
    "full": {"backbone": "efficientnet_lite0", "freeze": "none"},
}


def folder():
    """The folder raccoon in $DLM_SHARED/data, else beside the checkout; raises UserError where there is none."""
    shared = os.environ.get("DLM_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared")
    place = Path(shared) / "data" / "raccoon"
    if not place.is_dir():
        raise UserError(f"there is no folder {place}: set DLM_SHARED to the folder that holds data/raccoon")
    return place.resolve()


def fold(place, seed, n):
    """Names (train, test) of the photographs in train and val: `n` to train, one of `FOLDS` parts to test.

    The folds are the same for all n, and the photographs of a smaller n are among those of a larger one.
    """
    names = sorted(split_names(place, "train") + split_names(place, "valid"))
    order = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
    test = order[seed % FOLDS :: FOLDS]
    rest = sorted(set(order) - set(test))
    if n > len(rest):
        raise UserError(f"{place} has {len(rest)} photographs outside a fold, not {n}")
    return [rest[i] for i in np.random.default_rng(seed).permutation(len(rest))[:n]], test


def sets(seed, n, side, place=None):
    """The two parts of `fold` as a `VocSet` each, both of the training photographs' shape."""
    place = Path(place or folder())
    with TemporaryDirectory() as made:
        lists = Path(made) / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        for part in ("JPEGImages", "Annotations"):
            (Path(made) / part).symlink_to(place.resolve() / part)
        for split, names in zip(("train", "val"), fold(place, seed, n)):
            (lists / f"{split}.txt").write_text("\n".join(names))
        train = VocSet(made, "train", side)  # small enough to be kept in memory, so the lists may go
        return train, VocSet(made, "valid", train.size, train.classes)


def drawn(seed, n, side):
    """Rendered scenes in their place, for a quick run that needs no photograph."""
    return SceneSet(n, "train", side, seed), SceneSet(8, "test", side, seed)


def run(network, n, side, epochs, draw, seed):
    """Train one of `NETWORKS` on n pictures and score it on those held out: its mAP and mAP50.

    draw(seed, n, side) -> (train, test): `sets`, or `drawn`
    """
    train, test = draw(seed, n, side)
    model, _ = train_detector(
        train,
        epochs=epochs,
        seed=seed,
        augment=make_augment("horizontal"),
        config={"flip": "horizontal"},
        label=f"YOLO, {network}",
        **NETWORKS[network],
    )
    with moved(model, engine().device):
        scores = evaluate_dataset(detect_dataset(model, test), test)
    return {name: scores[name] for name in ("map", "map50")}


def arms(scale):
    """From nothing, frozen, half and full, each with 35, 70 and 140 photographs."""
    counts, side, borrowed, own, draw = {
        "tiny": ((8,), 96, 1, 1, drawn),
        "small": ((35, 70, 140), 224, 20, 60, sets),
        "full": ((35, 70, 140), 320, 80, 300, sets),
    }[scale]
    return {
        f"{network}, {n}": partial(
            run, network, n, side, (own if network == "from nothing" else borrowed) * counts[-1] // n, draw
        )
        for network in NETWORKS
        for n in counts
    }

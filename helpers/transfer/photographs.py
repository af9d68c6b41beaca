"""Real photographs with classes, for the cells of the 2x2 rule: what every machine has, blood cells, and folders.

Each function gives (train, validation, test) as `Tensors` of uint8 pictures (N, 3, size, size) and classes (N,), the
classes taking turns, so that every beginning of the training set is balanced. No pixel of a validation or a test
picture is in a training picture.
"""

import os
from pathlib import Path

import numpy as np
import torch

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.data import leaves, sets, store
from helpers.data.images import class_folder, fit_square, read_image
from helpers.data.voc import read_annotation

# In scikit-image and scikit-learn. Their other photographs (coins, grass, tissue, ...) are told apart without an error
PHOTOGRAPHS = {"everyday": ("astronaut", "camera", "cat", "china", "coffee", "flower", "rocket")}
SHARES = (0.5, 0.2, 0.3)  # of a photograph's longer side: training, validation, test
CELLS = ("Platelets", "RBC", "WBC")  # platelets, red and white blood cells


def in_turn(columns):
    """`Tensors` of lists of pictures (3, s, s), one list a class; the classes take turns."""
    x = torch.stack([picture for row in zip(*columns, strict=True) for picture in row])
    return Tensors(x, torch.arange(len(x)) % len(columns))


def strips(photo, seed):
    """(training, validation, test) parts of a photograph (H, W, 3): strips across its longer side that do not overlap.

    `seed` draws which end is trained on.
    """
    axis = int(photo.shape[1] > photo.shape[0])
    cuts = np.cumsum([round(share * photo.shape[axis]) for share in SHARES[:2]])
    if np.random.default_rng(seed).random() < 0.5:
        photo = np.flip(photo, axis)  # and each part is flipped back
        return tuple(np.flip(part, axis) for part in np.split(photo, cuts, axis))
    return tuple(np.split(photo, cuts, axis))


def photograph_sets(group, per_class, valid, test, size, seed):
    """Which of seven photographs does a square come from? Squares of a fifth of its shorter side, at random places.

    group  of `PHOTOGRAPHS`. The three sets are cut from separate strips of each photograph (`strips`).
    """
    if group not in PHOTOGRAPHS:
        raise UserError(f"there is no group {group!r}; choose one of {', '.join(PHOTOGRAPHS)}")
    pictures, columns = sets.photographs(), ([], [], [])
    for k, name in enumerate(PHOTOGRAPHS[group]):
        photo = pictures[name]
        side = min(photo.shape[:2]) // 5
        for part, (strip, count) in enumerate(zip(strips(photo, [seed, k]), (per_class, valid, test))):
            rng = np.random.default_rng([seed, k, part])
            corners = [[int(rng.integers(0, s - side + 1)) for s in strip.shape[:2]] for _ in range(count)]
            columns[part].append([fit_square(strip[i : i + side, j : j + side], size) for i, j in corners])
    return tuple(in_turn(part) for part in columns)


# ---------------------------------------------------------------- blood cells


def cells_folder():
    """The folder of BCCD: a copy in $DLM_SHARED/data, or what `data fetch bccd` brought."""
    copies = os.environ.get("DLM_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared")
    copy = Path(copies) / "data" / "bccd"
    return copy if copy.is_dir() else store.fetch("bccd")


def square(box, height, width):
    """The window around a box xyxy, as (top, left, side) in whole pixels: its longer side, centred, moved into the
    picture; at most as large as the picture's shorter side."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side = min(max(1, round(max(x1 - x0, y1 - y0))), height, width)
    top, left = ((low + high - side) / 2 for low, high in ((y0, y1), (x0, x1)))
    return int(np.clip(round(top), 0, height - side)), int(np.clip(round(left), 0, width - side)), side


def cell_crops(place, names, count, size, rng, classes=CELLS, least=12):
    """[[`count` pictures (3, size, size)] for each class]: at most one cell of a class from each photograph.

    place, names  a folder in the layout of Pascal VOC, and which of its photographs to use, in this order
    least         shorter sides of a box in pixels are no cell but a slip
    """
    images = {p.stem: p for p in (Path(place) / "JPEGImages").iterdir()}
    columns = {name: [] for name in classes}
    for name in names:
        found, boxes, _ = read_annotation(Path(place) / "Annotations" / f"{name}.xml")
        large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= least if len(boxes) else []
        photo = None
        for one, column in columns.items():
            rows = [i for i, other in enumerate(found) if other == one and large[i]]
            if not rows or len(column) == count:
                continue
            photo = read_image(images[name]) if photo is None else photo
            top, left, side = square(boxes[rng.choice(rows)], *photo.shape[:2])
            column.append(fit_square(photo[top : top + side, left : left + side], size))
        if all(len(column) == count for column in columns.values()):
            break
    if short := [f"{len(column)} of {one}" for one, column in columns.items() if len(column) < count]:
        raise UserError(f"{place} has too few photographs for {count} cells a class: {', '.join(short)}")
    return list(columns.values())


def cell_sets(per_class, valid, test, size, seed, place=None):
    """Blood cells, cut out of microscope photographs along their boxes: is it a platelet, a red or a white cell?

    Every photograph belongs to one of the three sets alone; half of them are for training.
    """
    place = Path(place or cells_folder())
    stems = sorted(p.stem for p in (place / "Annotations").glob("*.xml"))
    rng = np.random.default_rng(seed)
    order = [stems[i] for i in rng.permutation(len(stems))]
    cuts = np.cumsum([round(share * len(order)) for share in SHARES[:2]])
    parts = (order[: cuts[0]], order[cuts[0] : cuts[1]], order[cuts[1] :])
    return tuple(
        in_turn(cell_crops(place, names, count, size, rng)) for names, count in zip(parts, (per_class, valid, test))
    )


# ---------------------------------------------------------------- folders of photographs


def folder_sets(name, per_class, valid, test, size, seed):
    """Photographs of an entry of the catalogue that is laid out in class folders: "hymenoptera" or "plantvillage".

    PlantVillage shows some leaves more than once, see `plant_sets`.
    """
    some = leaves.folders if name == "plantvillage" else None
    first, second, names = class_folder(store.fetch(name), seed=seed, classes=some)
    rng, columns = np.random.default_rng(seed), ([], [], [])
    for k, called in enumerate(names):
        mine = sorted(path for path, label in first + second if label == k)
        if len(mine) < per_class + valid + test:
            raise UserError(f"{name} has {len(mine)} photographs of {called}, not {per_class + valid + test}")
        order = iter(rng.permutation(len(mine)))
        for part, count in zip(columns, (per_class, valid, test)):
            part.append([fit_square(read_image(mine[next(order)]), size) for _ in range(count)])
    return tuple(in_turn(part) for part in columns)

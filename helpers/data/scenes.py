"""Scenes: real handwritten digits on real photographs, with exact boxes and masks. Rendered, so endless.

    images, boxes, labels = dataset(1000, seed=0, split="train")       # images (1000, 3, 160, 160) uint8

Three splits that share nothing. Digits: of MNIST-5k's 500 a class, 350 are for training, 50 for validation
and 100 for testing; with digits="mnist" MNIST's 10,000 test digits are for testing, of its 60,000 others the
first 50,000 for training and the rest for validation. Photographs: the left 40 % of each, the next 30 % and the
right 30 %, at the same magnification. Random numbers: the split is part of the seed. A scene is a function of
(split, seed, index, size, digits, most) and nothing else.

A labelled digit can be read: its ink differs in luminance from the photograph behind it by at least 0.35
of the range *and* by 2.5 standard deviations of what is behind it, it is at least a tenth of the image
high, it covers no other digit's ink, and at most a tenth of the smaller box is shared with any other. Where no
such place is found the digit is left out, so a scene has one to `most` of them.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.course.errors import UserError
from helpers.course.files import empty_folder
from helpers.course.progress import track
from helpers.data.sets import mnist, photographs, split_digits

SPLITS = {"train": (0.0, 0.4), "valid": (0.4, 0.7), "test": (0.7, 1.0)}  # which band of every photograph
DIGITS = {"train": 350, "valid": 50, "test": 100}  # of each class of MNIST-5k
MOST = 6  # digits in a scene
SMALLEST, LARGEST = 0.11, 0.45  # height of a digit, as a fraction of the image's side
CONTRAST, DEVIATIONS = 0.35, 2.5  # the two rules of legibility
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


class Scene(NamedTuple):
    image: np.ndarray  # (3, H, W) uint8
    boxes: np.ndarray  # (n, 4) float32, xyxy in pixels, tight around the ink
    labels: np.ndarray  # (n,) int64, the digit
    masks: np.ndarray  # (n, H, W) bool, the ink


@lru_cache
def _digits(split, digits="mnist5k"):
    """Ink 0..1 of this split's digits, each cropped to its own box, and their labels."""
    if digits == "mnist":
        images, labels = mnist("test" if split == "test" else "train")
        cut = len(labels) * 5 // 6
        chosen = {"train": slice(cut), "valid": slice(cut, None), "test": slice(None)}[split]
        images, labels = images[chosen], labels[chosen]
    else:
        images, labels = dict(zip(DIGITS, split_digits(*DIGITS.values(), seed=8, per_class=True)))[split]
    crops = []
    for image in images:
        rows, columns = np.nonzero(image > 64)
        crop = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        crops.append(crop.astype(np.float32) / 255)
    return crops, labels


@lru_cache
def _photographs(split):
    """This split's vertical band (H, W', 3) of every photograph, float32 0..1, and the side 0.3 W of the
    largest square that is cut from it. Photographs are at most 640 pixels wide."""
    import cv2

    left, right = SPLITS[split]
    bands = []
    for photograph in photographs().values():
        shrink = min(1, 640 / photograph.shape[1])
        photograph = cv2.resize(photograph, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        height, width = photograph.shape[:2]
        band = photograph[:, round(left * width) : round(right * width)]
        bands.append((band.astype(np.float32) / 255, min(height, int(0.3 * width))))
    return bands


def _background(dice, split, size):
    """A square of a photograph, mirrored or not, its own contrast reduced at random: (size, size, 3)."""
    import cv2

    bands = _photographs(split)
    band, largest = bands[dice.integers(len(bands))]
    side = min(int(dice.uniform(0.6, 1) * largest), *band.shape[:2])
    top, left = (dice.integers(0, n - side + 1) for n in band.shape[:2])
    square = cv2.resize(
        band[top : top + side, left : left + side],
        (size, size),
        interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC,
    )
    if dice.random() < 0.5:
        square = square[:, ::-1]
    mean = square.mean((0, 1))
    return mean + (square - mean) * np.float32(dice.uniform(0.4, 1))


def _ink(dice, crop, height):
    """The digit at that height, turned by up to 12 degrees and stretched by up to 15 %: (h, w) 0..1."""
    import cv2

    scale = height / crop.shape[0]
    angle, stretch = np.deg2rad(dice.uniform(-12, 12)), dice.uniform(0.85, 1.15)
    matrix = scale * np.array([[np.cos(angle) * stretch, -np.sin(angle)], [np.sin(angle) * stretch, np.cos(angle)]])
    reach = np.abs(matrix) @ np.array(crop.shape[::-1])  # (width, height) after the turn
    out = np.ceil(reach).astype(int) + 2
    shift = out / 2 - matrix @ (np.array(crop.shape[::-1]) / 2)
    return cv2.warpAffine(crop, np.hstack([matrix, shift[:, None]]), tuple(int(n) for n in out), flags=cv2.INTER_LINEAR)


def _colour(dice, behind):
    """A random dark or light colour that can be read on this luminance (h, w), or None."""
    colour = dice.random(3).astype(np.float32) * 0.3
    if dice.random() < 0.5:
        colour = 1 - colour
    for candidate in (colour, 1 - colour):
        difference = abs(candidate @ LUMINANCE - behind.mean())
        if difference >= CONTRAST and difference >= DEVIATIONS * behind.std():
            return candidate
    return None


def _crowded(box, boxes):
    """Does the box share more than a tenth of the smaller area with another?"""
    for other in boxes:
        shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None).prod()
        if shared > 0.1 * min((box[2:] - box[:2]).prod(), (other[2:] - other[:2]).prod()):
            return True
    return False


def scene(
    index: int, seed: int, split: str = "train", size: int = 160, digits: str = "mnist5k", most: int = MOST
) -> Scene:
    """One `Scene` of at most `most` digits, of "mnist5k" or "mnist". The same arguments give the same bytes."""
    if split not in SPLITS:
        raise UserError(f"the split must be train, valid or test; got {split!r}")
    if digits not in ("mnist5k", "mnist"):
        raise UserError(f"the digits must be those of mnist5k or mnist; got {digits!r}")
    if size < 96:
        raise UserError(f"a scene must be at least 96 pixels wide, or its small digits cannot be read; got {size}")
    dice = np.random.default_rng([list(SPLITS).index(split), seed, index])
    crops, names = _digits(split, digits)
    image = _background(dice, split, size)
    light = image @ LUMINANCE  # (size, size)
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    masks: list[np.ndarray] = []
    wanted = dice.integers(1, most + 1)
    for attempt in range(60):  # for all digits together; few scenes need more than 20
        if len(boxes) == wanted or attempt >= 10 * wanted and boxes:
            break
        which = dice.integers(len(crops))
        height = size * np.exp(dice.uniform(np.log(SMALLEST), np.log(LARGEST)))
        ink = _ink(dice, crops[which], height)
        rows, columns = np.nonzero(ink > 0.4)
        tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        ink = ink[tight[1] : tight[3], tight[0] : tight[2]]
        h, w = ink.shape
        if max(h, w) > size - 2:
            continue
        top, left = dice.integers(1, size - h), dice.integers(1, size - w)
        box = np.array([left, top, left + w, top + h])
        mask = np.zeros((size, size), bool)
        mask[top : top + h, left : left + w] = ink > 0.4
        if _crowded(box, boxes) or any((mask & other).any() for other in masks):
            continue
        margin = max(2, h // 8)
        behind = light[max(0, top - margin) : top + h + margin, max(0, left - margin) : left + w + margin]
        colour = _colour(dice, behind)
        if colour is None:
            continue
        place = image[top : top + h, left : left + w]
        place += (colour - place) * np.minimum(1.2 * ink, 1)[..., None]
        light[top : top + h, left : left + w] = place @ LUMINANCE
        boxes.append(box)
        labels.append(names[which])
        masks.append(mask)
    if not boxes:
        return scene(index + 2**40, seed, split, size, digits, most)  # a photograph on which nothing can be read
    image = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(2, 0, 1)
    return Scene(np.ascontiguousarray(image), np.array(boxes, np.float32), np.array(labels, np.int64), np.array(masks))


def dataset(
    n: int, seed: int, split: str = "train", size: int = 160, digits: str = "mnist5k"
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """n scenes: images (n, 3, size, size) uint8, list of boxes (n_i, 4) float32, list of labels (n_i,)."""
    images, boxes, labels = np.zeros((n, 3, size, size), np.uint8), [], []
    for i in track(range(n), f"{split} scenes"):
        one = scene(i, seed, split, size, digits)
        images[i] = one.image
        boxes.append(one.boxes)
        labels.append(one.labels)
    return images, boxes, labels


def write_folder(out: str | Path, counts: dict[str, int], seed: int = 0, size: int = 160) -> None:
    """Scenes as a folder in the layout of Pascal VOC, as a labelling program leaves it.

    counts  {"train": n, "valid": n, "test": n}; the names of the classes are "0" to "9". An annotation counts pixels
    from 1 and names the first and the last pixel of an object. Refuses a folder that is not empty.
    """
    from xml.etree import ElementTree as tree

    import cv2

    folder = Path(empty_folder(out))
    scene(0, seed, "train", size)  # complains before anything is written
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for split, n in counts.items():
        name = "val" if split == "valid" else split  # as Pascal VOC spells it
        stems = [f"{name}_{seed}_{i:05}" for i in range(n)]
        for i, stem in enumerate(track(stems, f"{split} scenes")):
            one = scene(i, seed, split, size)
            ok, jpeg = cv2.imencode(".jpg", one.image.transpose(1, 2, 0)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            (folder / "JPEGImages" / f"{stem}.jpg").write_bytes(jpeg.tobytes())
            root = tree.Element("annotation")
            tree.SubElement(root, "filename").text = f"{stem}.jpg"
            for label, (left, top, right, bottom) in zip(one.labels, one.boxes.astype(int)):
                thing = tree.SubElement(root, "object")
                tree.SubElement(thing, "name").text = str(label)
                tree.SubElement(thing, "difficult").text = "0"
                box = tree.SubElement(thing, "bndbox")
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom)):
                    tree.SubElement(box, key).text = str(value)
            tree.indent(root)
            (folder / "Annotations" / f"{stem}.xml").write_bytes(tree.tostring(root))
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))

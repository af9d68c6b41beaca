"""Images with boxes in the layout of Pascal VOC, the form in which most labelling programs save.

    PATH/JPEGImages/NAME.jpg      PATH/Annotations/NAME.xml      PATH/ImageSets/Main/{train,val,test}.txt

The text files hold one NAME a line. Without them the images are split by a seed: 70 % to train, 15 % to
validate, 15 % to test. An annotation counts pixels from 1 and names the first and the last pixel of an
object, so its box is [xmin - 1, xmax] x [ymin - 1, ymax] in the real coordinates of helpers/yolo/boxes.py.
(If first and last are the same, that is a slip of the mouse and no object one pixel wide: it has no area.)
Objects marked `difficult` are not shown in training and count neither way in evaluation.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge", development kits of 2007 and 2012.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.course.errors import UserError
from helpers.course.progress import track
from helpers.data.geometry import fitted, letterbox
from helpers.data.images import CACHE_BYTES, EXTENSIONS, read_image

SPLITS = {"train": "train", "valid": "val", "test": "test"}  # and how Pascal VOC spells them on the disk
SHARES = (0.70, 0.15, 0.15)


def read_annotation(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """One file of Annotations -> (names, boxes (n, 4) float64 xyxy in pixels, difficult (n,) bool)."""
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise UserError(
            f"there is no annotation {path}: every picture of a split needs one, even without objects"
        ) from error
    except (ElementTree.ParseError, OSError, UnicodeError) as error:
        raise UserError(
            f"{path} is not readable XML ({error}): repair it, or take the picture out of its split"
        ) from error
    names, boxes, difficult = [], [], []
    for i, thing in enumerate(root.findall("object"), 1):
        try:
            name = (thing.findtext("name") or "").strip()
            corners = [float(thing.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            hard = int(float(thing.findtext("difficult", "0") or 0)) != 0
        except ValueError:
            name = ""
        if not name or not np.isfinite(corners).all():
            raise UserError(
                f"{path}: object {i} needs a <name> and a <bndbox> with numbers in xmin, ymin, xmax "
                "and ymax: repair it, or take it out"
            )
        names.append(name)
        boxes.append(corners)
        difficult.append(hard)
    return names, np.array(boxes).reshape(-1, 4) - [1, 1, 0, 0], np.array(difficult, bool)


def split_names(path: str | Path, split: str, seed: int = 0) -> list[str]:
    """The image names of a split ("train", "valid" or "test"), in order."""
    path = Path(path)
    if split not in SPLITS:
        raise UserError(f"the split must be one of {', '.join(SPLITS)}; got {split!r}")
    if not (path / "JPEGImages").is_dir() or not (path / "Annotations").is_dir():
        raise UserError(f"{path} is not in the layout of Pascal VOC: it needs the folders JPEGImages and Annotations")
    lists = path / "ImageSets" / "Main"
    files = {name: lists / f"{spelled}.txt" for name, spelled in SPLITS.items()}
    if any(file.is_file() for file in files.values()):
        file = files[split]
        if not file.is_file():
            there = ", ".join(name for name, other in files.items() if other.is_file())
            raise UserError(f"{file} does not exist, so this data set has no split '{split}', only {there}")
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = list(dict.fromkeys(_stem(line.strip()) for line in lines if line.strip()))
    else:
        every = sorted(p.stem for p in (path / "Annotations").glob("*.xml"))
        order = np.random.default_rng(seed).permutation(len(every))
        first, second = (round(len(every) * share) for share in np.cumsum(SHARES)[:2])
        part = dict(zip(SPLITS, np.split(order, [first, second])))[split]
        names = [every[i] for i in sorted(part)]
    if not names:
        raise UserError(f"the split '{split}' of {path} holds no picture")
    return names


def _stem(line):
    """`NAME`, also of lines such as `NAME.jpg` or `NAME 1`."""
    word = line.rsplit(maxsplit=1)
    line = word[0] if len(word) == 2 and word[1] in ("1", "-1", "0") else line
    return line[: -len(Path(line).suffix)] if Path(line).suffix.lower() in EXTENSIONS else line


class VocSet(Dataset):
    """A split as the network sees it: sample i is (image (3, h, w) uint8 letterboxed to `size`, truth (T, 5)).

    `path`, `split`, `seed`  as above
    `size`     (height, width) of the network's input, or the largest side: the shape then follows the images
    `classes`  their names in order; those found in train and valid, sorted, if left out

    Holds lists over the images: `files`, `shapes` (height, width) in pixels, `boxes` (n, 4) xyxy in the
    pixels of the file, `labels` (n,), `difficult` (n,) bool; and `summary`, one line on what was found and mended.
    All files are opened once, at the start. Images that fit into memory are kept, the others read when needed.
    """

    def __init__(
        self,
        path: str | Path,
        split: str,
        size: int | tuple[int, int],
        classes: Iterable[str] | None = None,
        seed: int = 0,
        multiple: int = 32,
    ):
        path = Path(path)
        names = split_names(path, split, seed)
        annotations = {name: read_annotation(path / "Annotations" / f"{name}.xml") for name in names}
        self.classes = list(classes) if classes else found_classes(path, seed, {split: annotations})
        if strange := sorted({n for found, _, _ in annotations.values() for n in found} - set(self.classes)):
            raise UserError(
                f"the split '{split}' of {path} has the classes {', '.join(strange)}, which are not among "
                f"{', '.join(self.classes)}"
            )
        images = {p.stem: p for p in sorted((path / "JPEGImages").iterdir()) if p.suffix.lower() in EXTENSIONS}
        if missing := [name for name in names if name not in images]:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(
                f"{path / 'JPEGImages'} lacks the picture {missing[0]}{more}, which {SPLITS[split]}.txt lists"
            )
        self.files = [images[name] for name in names]
        self.size = size if isinstance(size, tuple) else network_shape(self.files, size, multiple)
        self._read([annotations[name] for name in names], path, split)

    def _read(self, annotations, path, split):
        height, width = self.size
        keep = len(self.files) * 3 * height * width <= CACHE_BYTES
        self.images = torch.empty(len(self.files) if keep else 0, 3, height, width, dtype=torch.uint8)

        def read(i):
            try:
                image = read_image(self.files[i])
                if keep:
                    self.images[i] = boxed(image, self.size)
            except UserError as error:
                return error
            return image.shape[:2]

        with ThreadPoolExecutor() as pool:  # PIL decodes outside Python's lock
            results = list(track(pool.map(read, range(len(self.files))), "reading pictures", len(self.files)))
        if broken := [r for r in results if isinstance(r, UserError)]:
            raise UserError(f"{broken[0]}" + f" ({len(broken) - 1} more like it)" * (len(broken) > 1))
        self.shapes, self.boxes, self.labels, self.difficult = results, [], [], []
        clipped = dropped = 0
        for (names, boxes, difficult), (h, w) in zip(annotations, self.shapes):
            inside = boxes.clip(0, [w, h, w, h])
            sound = (inside[:, 2:] > inside[:, :2]).all(1) & (boxes[:, 2:] - boxes[:, :2] > 1).all(1)
            clipped += int((np.abs(inside - boxes).max(1, initial=0) > 1)[sound].sum())  # 1: counted from 0
            dropped += int((~sound).sum())
            labels = np.array([self.classes.index(name) for name in names], int)
            self.boxes.append(inside[sound].astype(np.float32))
            self.labels.append(labels[sound])
            self.difficult.append(difficult[sound])
        self.truth = self._truth()
        empty, hard = sum(len(k) == 0 for k in self.labels), int(sum(d.sum() for d in self.difficult))
        parts = [
            f"{path}, {SPLITS[split]}: {len(self)} pictures, {sum(map(len, self.labels))} objects of "
            f"{len(self.classes)} classes"
        ]
        parts += [
            f"{n} {what}"
            for n, what in (
                (empty, "pictures without objects"),
                (hard, "difficult"),
                (clipped, "boxes clipped to the picture"),
                (dropped, "without area in the picture dropped"),
            )
            if n
        ]
        self.summary = ", ".join(parts)

    def _truth(self):
        """(N, T, 5): x, y, w, h as fractions of the network's input, class; -1 marks an empty row."""
        shown = [~d for d in self.difficult]
        truth = torch.zeros(len(self), max([1, *(int(s.sum()) for s in shown)]), 5)
        truth[..., 4] = -1
        for row, keep, boxes, labels, shape in zip(truth, shown, self.boxes, self.labels, self.shapes):
            n = int(keep.sum())
            row[:n, :4] = into(torch.from_numpy(boxes[keep]), shape, self.size)
            row[:n, 4] = torch.from_numpy(labels[keep])
        return truth

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        image = self.images[i] if len(self.images) else boxed(read_image(self.files[i]), self.size)
        return image, self.truth[i]

    def __getitems__(self, indices):
        if len(self.images):  # a whole batch is one indexing operation
            return [(self.images[indices], self.truth[indices])]
        return [self[i] for i in indices]

    def collate(self, batch: list) -> list:
        return batch[0] if len(self.images) else torch.utils.data.default_collate(batch)

    def truths(self) -> list[dict]:
        """For `average_precision.evaluate`: boxes in the pixels of the files, the difficult ones ignored."""
        return [{"boxes": b, "labels": k, "ignore": d} for b, k, d in zip(self.boxes, self.labels, self.difficult)]


def found_classes(path: str | Path, seed: int = 0, read: dict[str, dict] | None = None) -> list[str]:
    """The class names in train and valid, sorted. `read`: annotations already read, {split: {name: ...}}."""
    found = set()
    for split in ("train", "valid"):
        try:
            names = split_names(path, split, seed)
        except UserError:  # data with a test part alone has no others to look at
            names = []
        known = (read or {}).get(split, {})
        for name in names:
            one = known.get(name) or read_annotation(Path(path) / "Annotations" / f"{name}.xml")
            found |= set(one[0])
    for annotations in (read or {}).values():
        found |= {name for one in annotations.values() for name in one[0]}
    if not found:
        raise UserError(f"no annotation in the splits train and valid of {path} holds an object")
    return sorted(found)


def network_shape(files: Sequence[Path], side: int, multiple: int = 32) -> tuple[int, int]:
    """(height, width) with the proportions of most images, the longer one `side`, both multiples."""
    from PIL import Image

    proportions = []
    for file in files[:200]:
        try:
            with Image.open(file) as image:
                proportions.append(image.height / image.width)
        except (OSError, SyntaxError, ValueError):  # said, with its name, when the images are read
            continue
    ratio = float(np.median(proportions or [1.0]))
    fit = lambda x: max(multiple, round(x / multiple) * multiple)
    return (fit(side * ratio), fit(side)) if ratio <= 1 else (fit(side), fit(side / ratio))


def boxed(image: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """An image (H, W, 3) uint8 -> (3, h, w) uint8, letterboxed."""
    x = torch.tensor(image).permute(2, 0, 1).float() / 255
    return (letterbox(x, *size) * 255).round().to(torch.uint8)


def into(boxes: torch.Tensor, shape: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Boxes (n, 4) xyxy in an image's pixels -> (n, 4) cxcywh as fractions of the letterboxed input."""
    (height, width), (net_height, net_width) = shape, size
    h, w = fitted(height, width, net_height, net_width)
    left, top = (net_width - w) // 2, (net_height - h) // 2
    x0, y0, x1, y1 = (boxes * torch.tensor([w / width, h / height] * 2) + torch.tensor([left, top] * 2)).unbind(-1)
    return torch.stack(
        [(x0 + x1) / 2 / net_width, (y0 + y1) / 2 / net_height, (x1 - x0) / net_width, (y1 - y0) / net_height], -1
    )

"""Images from disk: any file that a camera, a scanner or the web leaves behind, as RGB bytes.

`folder:PATH` is torchvision's ImageFolder layout: `train/CLASS/*` and `val/CLASS/*`, or the
classes directly, and then a seeded split that keeps the share of every class.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.progress import track

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
SPLIT_NAMES = ("train", "val", "valid", "validation", "test")  # of folders, in any case
CACHE_BYTES = 2**31  # images of a training run that fit in here are decoded once and kept


def read_image(path: str | Path) -> np.ndarray:
    """One image file -> RGB, uint8 array (H, W, 3).

    Turned upright by its EXIF tag; 16-bit grey is scaled by its range, transparency laid on white,
    CMYK, palette and grey converted, of an animation the first frame. Raises UserError naming the file.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            file.load()
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith(("I", "F")):  # 16 and 32 bits a pixel: PIL's own conversion would clip them
                return np.repeat(_to_bytes(np.asarray(image), image.mode)[:, :, None], 3, axis=2)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"there is no picture {path}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"the picture {path} is too large ({error})") from error
    except (OSError, SyntaxError, ValueError) as error:  # PIL raises SyntaxError for some broken PNGs
        raise UserError(f"{path} is not a readable picture: replace it, or remove it from the folder") from error


def _to_bytes(x, mode):
    """Grey values (H, W) of more than 8 bits -> uint8, by the range that they were stored with.

    "I;16" says 16 bits. 32-bit integers ("I") and floats ("F") do not say: the smallest usual range that
    holds them all is taken, 0..1 (floats only), 0..255 or 0..65535, and beyond these their own largest value.
    """
    x = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    most = x.max()
    ranges = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(mode, (65535.0,))
    top = next((top for top in ranges if most <= top), most)
    return np.clip(x / top * 255 + 0.5, 0, 255).astype(np.uint8)


def fit_square(image: np.ndarray, size: int) -> torch.Tensor:
    """(H, W, 3) -> (3, size, size) uint8: the largest square in the middle, resized.

    Antialiased (bicubic), unlike a plain `F.interpolate`: a shrunk photograph that is not smoothed
    first has patterns that the pretrained weights never saw.
    """
    from PIL import Image, ImageOps

    square = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BICUBIC)  # only the square is resized
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


class ImageItems(Dataset):
    """Image files with labels: sample i is ((3, size, size) uint8, label). `items`: list of (path, label)."""

    def __init__(self, items: Sequence[tuple[Path, int]], size: int):
        self.items, self.size = items, size

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        path, label = self.items[i]
        return fit_square(read_image(path), self.size), label

    def cached(self, label: str = "reading pictures") -> Dataset:
        """The same as `Tensors` in memory, every file decoded once, on all cores; itself where that is too much.

        Either way every file is opened now: a broken one is named before the training starts, not after an hour.
        """
        keep = len(self) * 3 * self.size**2 <= CACHE_BYTES
        x = torch.empty(len(self) if keep else 0, 3, self.size, self.size, dtype=torch.uint8)

        def read(i):
            path = self.items[i][0]
            try:
                image = read_image(path)
            except UserError as error:
                return path, error
            if keep:
                x[i] = fit_square(image, self.size)

        with ThreadPoolExecutor() as pool:  # PIL decodes outside Python's lock
            broken = [b for b in track(pool.map(read, range(len(self))), label, len(self)) if b is not None]
        if broken:
            rest = [str(path) for path, _ in broken[1:4]] + [f"{len(broken) - 4} more"] * (len(broken) > 4)
            raise UserError(f"{broken[0][1]}{'; the same for ' * bool(rest) + ', '.join(rest)}")
        return Tensors(x, torch.tensor([y for _, y in self.items])) if keep else self


def _images(folder):
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    images = [p for p in files if p.suffix.lower() in EXTENSIONS]
    others = len(files) - len(images)
    if others:
        what = "1 file that is not a picture" if others == 1 else f"{others} files that are not pictures"
        print(f"{folder}: skipped {what}, judging by the name", file=sys.stderr)
    return images


def class_names(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted, without hidden ones."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def split_folders(path: Path) -> dict[str | None, Path]:
    """{"train": PATH/train, "val": PATH/val, ...}, those that are there; {None: PATH} where there is no train."""
    found: dict[str | None, Path] = {n.lower(): path / n for n in class_names(path) if n.lower() in SPLIT_NAMES}
    return found if "train" in found else {None: path}


def folder_items(folder: Path, classes: Iterable[str]) -> list[tuple[Path, int]]:
    """[(path, label)] of the images in folder/CLASS/, in order; every class must hold one at least."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    items = []
    for label, name in enumerate(classes):
        images = _images(folder / name) if (folder / name).is_dir() else []
        if not images:
            raise UserError(f"the class folder {folder / name} holds no picture ({', '.join(sorted(EXTENSIONS))})")
        items += [(path, label) for path in images]
    return items


def split(labels: ArrayLike, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Stratified split: indices (train, valid), with round(share * n) of every class, at least one, in valid."""
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    valid: list[int] = []
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        if len(mine) < 2:
            raise UserError(f"a split needs two samples of each class or more; class {label} has {len(mine)}")
        valid += mine[: max(1, round(share * len(mine)))].tolist()
    keep = np.ones(len(labels), bool)
    keep[valid] = False
    return np.flatnonzero(keep).tolist(), sorted(valid)


def class_folder(
    path: str | Path,
    *,
    valid: float = 0.2,
    seed: int = 0,
    classes: Sequence[str] | Callable[[list[str]], Sequence[str]] | None = None,
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]], list[str]]:
    """Read the ImageFolder layout: (train items, valid items, class names); an item is (path, label).

    classes  use these only; they must all be there. Or a function that picks them from the names that are there
             (`leaves.folders`: the 33 of lecture 06 out of PlantVillage's 38).
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: folder:PATH needs PATH/train/CLASS/* or PATH/CLASS/*")
    parts = split_folders(path)
    inside = parts.get("train", path)
    found = class_names(inside)
    if len(found) < 2:
        raise UserError(f"{inside} needs two class folders or more; it has {len(found)}")
    names = list((classes(found) if callable(classes) else classes) or found)
    if missing := sorted(set(names) - set(found)):
        raise UserError(f"{inside} lacks the class folders {', '.join(missing)}")
    items = folder_items(inside, names)
    for name in ("val", "valid", "validation"):
        if other := parts.get(name):
            if strange := sorted(set(class_names(other)) - set(found)):
                raise UserError(f"{other} has the class folders {', '.join(strange)}, which {inside} lacks")
            return items, folder_items(other, names), names
    labels = [label for _, label in items]
    if lonely := [name for label, name in enumerate(names) if labels.count(label) < 2]:
        raise UserError(f"{inside / lonely[0]} holds one picture; splitting off a validation set needs two")
    train, held = split(labels, valid, seed)
    return [items[i] for i in train], [items[i] for i in held], names

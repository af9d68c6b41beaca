"""Augmented copies of a folder of pictures, with OpenCV, and the way back into one tensor.

Copies of one picture on both sides of a split make a validation accuracy that means nothing. So a folder is
split by *source picture*, before anything is copied, and the manifest says of every file what it was made of.
"""

import csv
import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from helpers.augmentation.sources import SPLITS, classes_in, scan, split_sources
from helpers.course.errors import UserError
from helpers.course.files import TEMPORARY, sha256, write_atomically
from helpers.course.progress import track
from helpers.data.images import folder_items, read_image

OPERATIONS = ("hflip", "vflip", "rotate", "colour")


def _change(image, rng, operations, crop):
    """One augmented copy of an image (H, W, 3): flips with probability 1/2, a turn of up to 15 degrees,
    contrast by up to 20 % and brightness by up to 25 levels, then a crop at a random place."""
    import cv2

    h, w = image.shape[:2]
    if "hflip" in operations and rng.random() < 0.5:
        image = cv2.flip(image, 1)
    if "vflip" in operations and rng.random() < 0.5:
        image = cv2.flip(image, 0)
    if "rotate" in operations:
        turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), rng.uniform(-15, 15), 1.0)
        image = cv2.warpAffine(image, turn, (w, h), borderMode=cv2.BORDER_REFLECT_101)  # bilinear
    if "colour" in operations:
        gain, bias = rng.uniform(0.8, 1.2), rng.uniform(-25, 25)  # addWeighted rounds and stays in 0..255
        image = cv2.addWeighted(image, gain, image, 0, bias)
    if crop:
        top, left = rng.integers(h - crop + 1), rng.integers(w - crop + 1)
        image = image[top : top + crop, left : left + crop]
    return image


def _files_of(source, copies, ending):
    """(copy number, file below the output folder); copy 0 is the picture itself."""
    numbers = range(copies + 1 if source.split == "train" else 1)
    return [(k, f"{source.split}/{source.label}/{source.path.name}.{k}{ending}") for k in numbers]


def _write(path, data):
    """All of a picture or nothing of it. The manifest has its hash: what a power cut takes is made anew."""
    write_atomically(path, data, durable=False)


# ---------------------------------------------------------------- the manifest

COLUMNS = ("file", "split", "class", "source", "copy", "source_sha256", "sha256")


def _rows(table):
    """The rows of a manifest by file. A last line that a killed run left unfinished is passed over."""
    if not table.exists():
        return {}
    with open(table, newline="", encoding="utf-8") as lines:
        rows = [r for r in csv.DictReader(lines) if len(r.get("sha256") or "") == 64]
    return {r["file"]: r for r in rows if ".." not in r["file"] and not Path(r["file"]).is_absolute()}


def _csv(rows):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _prepare(out, settings, planned, force):
    """Make the output folder ready, or refuse it. The rows that an earlier run with these settings left."""
    table, note = out / "manifest.csv", out / "manifest.json"
    # compared as text: a manifest of somebody else's is simply not ours
    text = json.dumps(settings, indent=1).encode()
    same = note.exists() and note.read_bytes() == text
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose another output folder")
    if out.is_dir() and any(out.iterdir()) and not same and not force:
        what = "was written with other settings" if note.exists() else "is not empty"
        raise UserError(f"{out} {what}: choose another output folder, or --force to write over it")
    earlier = _rows(table)
    for file in earlier if force else earlier.keys() - planned:  # ours, and no longer wanted
        (out / file).unlink(missing_ok=True)
    earlier = {} if force else {file: row for file, row in earlier.items() if file in planned}
    for place in sorted({(out / file).parent for file in planned}):
        place.mkdir(parents=True, exist_ok=True)
        for leftover in place.glob(TEMPORARY + "*"):  # of a process that was killed
            leftover.unlink()
    write_atomically(note, text)
    write_atomically(table, _csv(earlier.values()))
    return earlier


# ---------------------------------------------------------------- there and back


def write_copies(
    folder,
    out,
    copies,
    seed=0,
    *,
    operations=("hflip", "rotate", "colour"),
    crop=None,
    valid=0.2,
    jpeg=None,
    force=False,
    progress=True,
):
    """Write a class-folder tree to `out`, with `copies` augmented copies of each training picture.

    folder      `train/CLASS/*` with `val/CLASS/*` and so on, which stay apart as they are, or `CLASS/*`,
                which is first split by source picture: a share `valid` of each class to `val` (0: no split)
    out         new or empty folder. Gets train/CLASS/NAME.0.png (the picture), NAME.1.png, NAME.2.png, ...,
                val/CLASS/NAME.0.png, `manifest.json` (the settings) and `manifest.csv` (a row for each file,
                with its source and its SHA-256)
    operations  of "hflip", "vflip", "rotate", "colour"
    crop        side in pixels of what is written: copies from a random place, the rest from the middle
    jpeg        quality 1 to 100 for JPEG files; without it PNG, which keeps every byte of the pixels
    force       write into a folder that is in use: files of an earlier run are removed, others stay

    Pictures are read as `images.read_image` does: upright by their EXIF tag, as RGB; grey, palette and CMYK
    converted, 16-bit grey scaled to 8, transparency laid on white. A copy is a function of (seed, source bytes,
    number of the copy). The same call on the same `out` goes on where it was stopped; files that are
    there and intact are kept. Only `train` gets copies.

    Returns numbers of pictures: {"sources", "files", "written", "kept", "train", "val", ...}.
    Raises UserError: no such folder, an empty class; a picture that is unreadable or smaller than the crop;
    one picture in two splits or classes; an output folder in use or not writable.
    """
    import cv2

    folder, out = Path(folder), Path(out)
    unknown = sorted(set(operations) - set(OPERATIONS))
    if unknown:
        raise UserError(f"there is no operation {', '.join(unknown)}: choose from {', '.join(OPERATIONS)}")
    if copies < 0 or seed < 0 or not 0 <= valid < 1 or (crop is not None and crop < 1):
        raise UserError("copies and seed must be 0 or more, valid from 0 to below 1, and a crop 1 or more")
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise UserError(f"the JPEG quality must be from 1 to 100; got {jpeg}")
    if folder.resolve() in [out.resolve(), *out.resolve().parents]:
        raise UserError(f"{out} lies in {folder}, where its copies would count as pictures: choose another")
    sources = split_sources(scan(folder), valid, seed)
    settings = {
        "copies": copies,
        "seed": seed,
        "operations": sorted(operations),
        "crop": crop,
        "valid": valid,
        "jpeg": jpeg,
    }
    ending, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg]) if jpeg else (".png", [])

    def work(source):
        """Write what is missing of one source; its rows of the manifest, and how many files are new."""
        rows, new, image = [], 0, None
        for k, file in _files_of(source, copies, ending):
            row, path = earlier.get(file), out / file
            known = row is not None and row["source_sha256"] == source.digest and path.exists()
            if not (known and sha256(path) == row["sha256"]):
                if image is None:  # RGB, whatever the file holds; OpenCV's order of channels is B, G, R
                    image = cv2.cvtColor(read_image(source.path), cv2.COLOR_RGB2BGR)
                h, w = image.shape[:2]
                if crop and crop > min(h, w):
                    raise UserError(f"{source.path} is {h}x{w} pixels, smaller than the crop of {crop}")
                if k:
                    rng = np.random.default_rng([seed, k, int(source.digest[:16], 16)])
                    result = _change(image, rng, operations, crop)
                elif crop:
                    top, left = (h - crop) // 2, (w - crop) // 2
                    result = image[top : top + crop, left : left + crop]
                else:
                    result = image
                data = cv2.imencode(ending, result, options)[1].tobytes()
                _write(path, data)
                digest = hashlib.sha256(data).hexdigest()
                values = (file, source.split, source.label, source.name, k, source.digest, digest)
                row, new = dict(zip(COLUMNS, values)), new + 1
            rows.append(row)
        return rows, new

    everything, written, pool = [], 0, ThreadPoolExecutor(os.cpu_count())
    try:
        planned = {file for source in sources for _, file in _files_of(source, copies, ending)}
        earlier = _prepare(out, settings, planned, force)
        with open(out / "manifest.csv", "a", newline="", encoding="utf-8") as lines:
            journal, done = csv.DictWriter(lines, COLUMNS), pool.map(work, sources)
            for rows, new in track(done, "augmenting", len(sources)) if progress else done:
                everything += rows
                written += new
                if new:
                    journal.writerows(rows)
                    lines.flush()
        write_atomically(out / "manifest.csv", _csv(everything))
    except OSError as error:
        where = error.filename or out
        raise UserError(
            f"{where} cannot be written ({error.strerror}): mend that and run it again to go on, or choose "
            "another output folder"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    counts = {split: sum(row["split"] == split for row in everything) for split in SPLITS}
    total = {"sources": len(sources), "files": len(everything), "written": written}
    return total | {"kept": len(everything) - written} | {split: n for split, n in counts.items() if n}


class LabelledImages(NamedTuple):
    """What `load_folder` returns."""

    images: torch.Tensor  # (N, 3, H, W) uint8, RGB
    labels: torch.Tensor  # (N,) int64, index into classes
    classes: list  # names, alphabetical
    sources: list  # the id of the picture that each one was made of


def load_folder(folder, split="train"):
    """All pictures of `folder/split/CLASS/*` (or `folder/CLASS/*` with split=None) as `LabelledImages`.

    Sources come from the manifest that `write_copies` left; without one every file is its own source. Raises
    UserError for a missing folder, an unreadable picture, and pictures of several sizes.
    """
    folder = Path(folder)
    root = folder / split if split else folder
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    classes, manifest = classes_in(root), _rows(folder / "manifest.csv")
    items = folder_items(root, classes)
    images, sources = [], []
    for path, _ in items:
        image = read_image(path)
        if images and image.shape != images[0].shape:
            size, other = ("x".join(map(str, x.shape[:2])) for x in (image, images[0]))
            raise UserError(f"{path} is {size} pixels, those before {other}: bring them to one size")
        images.append(image)
        row = manifest.get(path.relative_to(folder).as_posix())
        sources.append(row["source"] if row else path.relative_to(root).as_posix())
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
    return LabelledImages(stacked, torch.tensor([label for _, label in items]), classes, sources)

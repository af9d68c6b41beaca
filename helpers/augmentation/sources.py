"""Source pictures of a class-folder tree, split before anything is copied, so that no picture is on both sides."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.course.errors import UserError
from helpers.course.files import sha256
from helpers.data.images import class_names, folder_items

SPLITS = ("train", "val", "valid", "validation", "test")


class Source(NamedTuple):
    """One file of a class-folder tree."""

    path: Path
    split: str | None  # None: the folder has no splits yet
    label: str
    name: str  # the source id: the path below the folder
    digest: str  # SHA-256 of the file


def scan(folder):
    """The images of a class-folder tree, in a fixed order, as `Source`s.

    Raises UserError: no such folder, no class folders, an empty class, a file that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give one with a sub-folder of pictures for each class")
    parts = {name.lower(): folder / name for name in class_names(folder) if name.lower() in SPLITS}
    sources = []
    for split, root in parts.items() if "train" in parts else [(None, folder)]:
        classes = classes_in(root)
        for path, label in folder_items(root, classes):
            name = path.relative_to(folder).as_posix()
            try:
                sources.append(Source(path, split, classes[label], name, sha256(path)))
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror})") from None
    return sources


def classes_in(root):
    """The class names of a folder of class folders; raises UserError where there is none."""
    names = class_names(root)
    if not names:
        raise UserError(f"{root} holds no class folders: pictures belong in {root / 'CLASS'}")
    return names


def split_sources(sources, valid, seed):
    """Give every source a split, "train" or "val", `valid` of each class; folders that have splits keep theirs.

    Files with the same bytes are one picture and stay together. Raises UserError where one picture has two classes or
    splits, and for a class too small to be split.
    """
    first = {}
    for source in sources:
        twin = first.setdefault(source.digest, source)
        if twin.label != source.label:
            raise UserError(f"{twin.path} and {source.path} are one picture in two classes: remove one")
        if twin.split != source.split:
            raise UserError(f"{twin.path} and {source.path} are one picture in two splits: remove one")
    if sources[0].split is not None:
        return sources
    valid_digests = set()
    for k, label in enumerate(sorted({s.label for s in sources})):
        images = list(dict.fromkeys(s.digest for s in sources if s.label == label))
        count = max(1, round(valid * len(images))) if valid else 0
        if count >= len(images):
            raise UserError(
                f"class {label} has {len(images)} different picture(s); validation would take {count}: "
                "add pictures, or keep a smaller share for validation"
            )
        order = np.random.default_rng([seed, k]).permutation(len(images))
        valid_digests.update(images[i] for i in order[:count])
    return [s._replace(split="val" if s.digest in valid_digests else "train") for s in sources]

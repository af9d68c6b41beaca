"""A folder of small random pictures in classes, and what a folder of copies holds."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def tree(root, classes=("cat", "dog"), n=10, size=(24, 32), split=None):
    for k, label in enumerate(classes):
        for i in range(n):
            x = np.random.default_rng([k, i, len(split or "")]).integers(0, 256, (*size, 3), dtype=np.uint8)
            save(root / (split or "") / label / f"p{i}.png", x)
    return root


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def manifest(out):
    with open(out / "manifest.csv", newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))

"""The course's data: fetched once, checked always, loaded as arrays and tables.

    path = fetch("hymenoptera")            # the folder, downloaded and unpacked on first use
    images, labels = mnist5k()             # the loaders fetch by themselves

`helpers.data.catalogue` says what there is. Every file has a SHA-256, checked on every fresh download and again
when it is opened (on size and modification time if it was hashed before; `verify` always reads every byte).
The cache is `platformdirs`' user cache; the environment variable DLM_CACHE moves it. `<cache>/<name>` holds
all of an entry: copy that folder to use the data on a machine without a network.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.course.errors import UserError
from helpers.data.checksums import FASHION, PHOTOGRAPHS
from helpers.data.store import fetch, find, installed_files, state

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import torch

    Arrays = tuple[np.ndarray, np.ndarray]  # pictures and labels

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def digits() -> Arrays:
    """Scikit-learn's digits: images (1797, 8, 8) float32 from 0 to 16, labels (1797,) int64."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32), bunch.target.astype(np.int64)


def mnist5k() -> Arrays:
    """5,000 digits of MNIST: images (5000, 28, 28) uint8, labels (5000,) int64; 500 a class."""
    import numpy as np
    import pandas

    table = pandas.read_csv(fetch("mnist-5k"), header=None, dtype=np.uint8).to_numpy()  # (5000, 784 + 1)
    return np.ascontiguousarray(table[:, :-1]).reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def split_digits(*sizes: int, seed: int, per_class: bool = False) -> list[Arrays]:
    """Parts of MNIST-5k that share no digit: for each size (images (n, 28, 28) uint8, labels (n,) int64).

    sizes      digits in each part, in the random order of `seed`; at most 5,000 together
    per_class  the sizes count digits of each class (at most 500 together); a part is ordered by class
    """
    import numpy as np

    images, labels = mnist5k()
    order = np.random.default_rng(seed).permutation(len(labels))
    groups = [order[labels[order] == digit] for digit in range(10)] if per_class else [order]
    if sum(sizes) > (most := min(map(len, groups))):
        unit = " of each class" if per_class else ""
        raise UserError(f"MNIST-5k has {most:,} digits{unit}; got a split into {' + '.join(map(str, sizes))}")
    ends = np.cumsum(sizes)
    rows = [np.concatenate([group[end - n : end] for group in groups]) for n, end in zip(sizes, ends)]
    return [(images[chosen], labels[chosen]) for chosen in rows]


def photographs() -> dict[str, np.ndarray]:
    """Real photographs {name: (H, W, 3) uint8 RGB}; the grey ones have three equal channels.

    They are read as files from inside the installed packages, so nothing is ever downloaded.
    """
    import numpy as np
    from PIL import Image

    pictures = {}
    for name, path in zip(PHOTOGRAPHS, installed_files(find("photographs")), strict=True):
        with Image.open(path) as picture:
            pictures[name] = np.array(picture.convert("RGB"))
    return pictures


def lite0_state_dict() -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0's ImageNet weights as published: an ordered dict of 296 tensors on the CPU.

    Their names differ from timm's `efficientnet_lite0`, their order does not.
    """
    import torch

    return torch.load(fetch("efficientnet-lite0"), map_location="cpu", weights_only=True)


def stocks() -> pandas.DataFrame:
    """Monthly adjusted closing prices 1990-01 to 2022-06: (390, 10) float64, indexed by the first of a month.

    AMZN, DELL and GOOGL are NaN before they were listed; ^GSPC and ^IXIC are indices. The file also has rows
    within a month, all of them empty, and ends with a copy of its last month; both are left out.
    """
    import pandas

    table = pandas.read_csv(fetch("stocks"), comment="#", index_col="Date", parse_dates=True)
    return table[table.index.day == 1]


def mnist(split: str = "train") -> Arrays:
    """MNIST, all of it: images (N, 28, 28) uint8, labels (N,) int64; N = 60,000 for "train", 10,000 for "test"."""
    check_split("mnist", split)
    return read_idx("mnist", fetch("mnist"), split, {})


def fashion_mnist(split: str = "train") -> Arrays:
    """Fashion-MNIST: images (N, 28, 28) uint8, labels (N,) int64; N = 60,000 for "train", 10,000 for "test".

    Taken from the cache, else from Debian's package dataset-fashion-mnist, else downloaded; the unpacked
    bytes are checked against the same SHA-256 whichever it was.
    """
    check_split("fashion-mnist", split)
    there = DEBIAN_FASHION if state(find("fashion-mnist")) != "cached" and DEBIAN_FASHION.is_dir() else None
    return read_idx(
        "fashion-mnist",
        there or fetch("fashion-mnist"),
        split,
        {file: known for file, (_, _, known) in FASHION.items()},
    )


def check_split(name: str, split: str) -> None:
    """Raise UserError unless `split` is "train" or "test", the splits that the data set `name` was published with."""
    if split not in ("train", "test"):
        raise UserError(f"{name} has the splits train and test, not {split!r}")


def read_idx(name: str, folder: Path, split: str, unpacked: dict[str, str]) -> Arrays:
    """Images (N, 28, 28) uint8 and labels (N,) int64 out of MNIST's format, a header and then bytes.

    `unpacked`: {file: SHA-256 of what is in the .gz}; a file that is not named is taken as it is.
    """
    import numpy as np

    prefix, arrays = {"train": "train", "test": "t10k"}[split], []
    for file, header in ((f"{prefix}-images-idx3-ubyte.gz", 16), (f"{prefix}-labels-idx1-ubyte.gz", 8)):
        try:
            content = gzip.decompress((folder / file).read_bytes())
        except (OSError, EOFError) as error:
            raise UserError(f"{name}: cannot read {folder / file}: {error}") from error
        actual = hashlib.sha256(content).hexdigest()
        if actual != unpacked.get(file, actual):
            raise UserError(f"{name}: {folder / file} unpacks to SHA-256 {actual}, expected {unpacked[file]}")
        arrays.append(np.frombuffer(content, dtype=np.uint8, offset=header))
    return arrays[0].reshape(-1, 28, 28).copy(), arrays[1].astype(np.int64)

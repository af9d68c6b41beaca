"""The course's data: fetched once, checked always, loaded as arrays and tables.

    path = fetch("hymenoptera")            # the folder, downloaded and unpacked on first use
    images, labels = mnist5k()             # the loaders fetch by themselves

`helpers.catalogue` says what there is. Every file has a SHA-256, checked on every fresh download and again
when it is opened (on size and modification time if it was hashed before; `verify` always reads every byte).
The cache is `platformdirs`' user cache; the environment variable DLM_CACHE moves it. `<cache>/<name>` holds
all of an entry: copy that folder to use the data on a machine without a network.
"""

import difflib
import gzip
import hashlib
import importlib.util
import os
from contextlib import contextmanager
from pathlib import Path

from helpers.catalogue import CATALOGUE, FASHION, PHOTOGRAPHS
from helpers.download import TREE, Unreachable, UserError, complete, damaged, expected, is_complete, sha256

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def cache():
    """The folder that holds what was fetched: DLM_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("DLM_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("deep-learning-measured"))


def catalogue():
    """All entries, in the order of the tiers."""
    return list(CATALOGUE.values())


def find(name):
    """The entry called `name`; UserError with the nearest name otherwise."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"there is no data set {name!r}: {hint}`python -m helpers data list` shows all of them")


@contextmanager
def clear_errors(entry):
    """Turn what the operating system says into one line that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or cache()
        raise UserError(
            f"{entry.name}: {error.strerror or error} ({where}); make room or give access there, "
            "or set DLM_CACHE to another folder"
        ) from error


def fetch(name, progress=True):
    """The path of an entry's file, or of its folder when it has several; downloaded first if need be.

    A damaged file is fetched again, a wrong one from the network is refused. Raises UserError saying what to
    do when the data cannot be had.
    """
    entry = find(name)
    if entry.installed:
        return installed(entry)
    folder = cache() / entry.name
    place = folder / TREE / entry.place if entry.unpacked else folder / entry.place
    with clear_errors(entry):
        if not is_complete(folder, entry.files, entry.unpacked):
            try:
                complete(folder, entry.files, entry.wheel, entry.unpacked, progress)
            except Unreachable as error:
                files = ", ".join(file.path for file in entry.files)
                raise UserError(
                    f"{name}: {error}. If this machine has no network, run `python -m helpers "
                    f"data fetch {name}` on one that has, and copy {files} from {name} in its "
                    f"cache into {folder}"
                ) from error
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
    if not place.exists():
        raise UserError(f"{entry.name}: there is no {entry.place} in its archive; look into {folder / TREE}")
    return place


def installed(entry):
    """Path of an entry inside an installed package: the file, or the folder of the first of several."""
    paths = [package_file(file.path) for file in entry.files]
    for path, file in zip(paths, entry.files):
        if path is None or not path.exists():
            raise UserError(
                f"{entry.name}: {file.path} is not installed; run `pip install -e .` in the course's folder"
            )
    return paths[0] if len(paths) == 1 else paths[0].parent


def package_file(path):
    """Where `package/sub/file` lies on this machine, without importing it; None without such a package."""
    package, _, rest = path.partition("/")
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) / rest if spec else None


def used(paths):
    """The names of the entries that these files belong to; `make notebooks` notes what a lecture has read."""
    paths = {str(path).replace(os.sep, "/") for path in paths}
    folder = str(cache()).replace(os.sep, "/")
    return [
        entry.name
        for entry in catalogue()
        if any(path.startswith(f"{folder}/{entry.name}/") for path in paths)
        or entry.installed
        and any(path.endswith(f"/{file.path}") for file in entry.files for path in paths)
    ]


def fetch_all(tier=1, progress=True):
    """Fetch and check every entry up to `tier`; returns [(name, path)]. `make book` calls it for tier 1."""
    return [(entry.name, fetch(entry.name, progress)) for entry in catalogue() if entry.tier <= tier]


def problems(entry, always_hash=False):
    """{file: "missing" | "corrupt"} of one entry, empty when all is well; `always_hash` reads every byte.

    Files in installed packages are hashed only with `always_hash`: no package manager changes them by half.
    """
    if not entry.installed:
        folder = cache() / entry.name
        bad = damaged(folder, expected(folder, entry.files), always_hash)
        if not bad and not is_complete(folder, entry.files, entry.unpacked):
            bad = {TREE: "missing"}  # the archive was copied here, nothing has been unpacked yet
        return bad
    bad = {}
    for file in entry.files:
        path = package_file(file.path)
        if path is None or not path.exists():
            bad[file.path] = "missing"
        elif always_hash and sha256(path) != file.sha256:
            bad[file.path] = "corrupt"
    return bad


def state(entry, always_hash=False):
    """ "installed" (in a package), "cached", "not unpacked", "missing", or "corrupt: " and the files."""
    with clear_errors(entry):
        bad = problems(entry, always_hash)
    if not bad:
        return "installed" if entry.installed else "cached"
    if bad == {TREE: "missing"}:
        return "not unpacked"
    if set(bad.values()) == {"missing"} and all(file.path in bad for file in entry.files):
        return "missing"
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return "corrupt: " + ", ".join(list(bad)[:3]) + more


def rows():
    """For `data list`: [{name, tier, size (bytes), licence, state, what}], quick: see `problems`."""
    return [
        {
            "name": entry.name,
            "tier": entry.tier,
            "size": entry.size,
            "licence": entry.licence,
            "state": state(entry),
            "what": entry.what,
        }
        for entry in catalogue()
    ]


def verify(name=None):
    """For `data verify`: [(name, state)] after hashing every byte, of one entry or of all.

    The next `fetch` of an entry that is "corrupt: ..." repairs it.
    """
    return [(entry.name, state(entry, always_hash=True)) for entry in ([find(name)] if name else catalogue())]


def empty_folder(path):
    """`path` as a Path, for what is written into a new folder; raises UserError where something lies there."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is not an empty folder: choose a new one, nothing was written")
    return path


def digits():
    """Scikit-learn's digits: images (1797, 8, 8) float32 from 0 to 16, labels (1797,) int64."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32), bunch.target.astype(np.int64)


def mnist5k():
    """5,000 digits of MNIST: images (5000, 28, 28) uint8, labels (5000,) int64; 500 a class."""
    import numpy as np
    import pandas

    table = pandas.read_csv(fetch("mnist-5k"), header=None, dtype=np.uint8).to_numpy()  # (5000, 784 + 1)
    return np.ascontiguousarray(table[:, :-1]).reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def photographs():
    """Real photographs {name: (H, W, 3) uint8 RGB}; the grey ones have three equal channels.

    They are read as files from inside the installed packages, so nothing is ever downloaded.
    """
    import numpy as np
    from PIL import Image

    fetch("photographs")
    pictures = {}
    for name, (path, *_) in PHOTOGRAPHS.items():
        with Image.open(package_file(path)) as picture:
            pictures[name] = np.array(picture.convert("RGB"))
    return pictures


def lite0_state_dict():
    """EfficientNet-Lite0's ImageNet weights as published: an ordered dict of 296 tensors on the CPU.

    Their names differ from timm's `efficientnet_lite0`, their order does not.
    """
    import torch

    return torch.load(fetch("efficientnet-lite0"), map_location="cpu", weights_only=True)


def reviews():
    """Sentences of film critics, columns text, label (1 fresh, 0 rotten), film: 12,752 rows, 507 films.

    Of the 12,808 fresh and rotten rows, white space around the text is stripped and of rows with the same
    text the first is kept: no text carries two labels, but 37 stand under two or three films, 35 of them
    because one film is there under two titles. Left in, they could stand on both sides of a split by film.
    """
    import pandas

    table = pandas.read_csv(fetch("reviews"))
    table = table[table["category"].isin(["fresh", "rotten"])]
    table = pandas.DataFrame(
        {
            "text": table["text"].str.strip(),
            "label": (table["category"] == "fresh").astype("int64"),
            "film": table["movie_name"],
        }
    )
    return table.drop_duplicates("text", ignore_index=True)


def stocks():
    """Monthly adjusted closing prices 1990-01 to 2022-06: (390, 10) float64, indexed by the first of a month.

    AMZN, DELL and GOOGL are NaN before they were listed; ^GSPC and ^IXIC are indices. The file also has rows
    within a month, all of them empty, and ends with a copy of its last month; both are left out.
    """
    import pandas

    table = pandas.read_csv(fetch("stocks"), comment="#", index_col="Date", parse_dates=True)
    return table[table.index.day == 1]


def mnist(split="train"):
    """MNIST, all of it: images (N, 28, 28) uint8, labels (N,) int64; N = 60,000 for "train", 10,000 for "test"."""
    _split("mnist", split)
    return _idx("mnist", fetch("mnist"), split, {})


def fashion_mnist(split="train"):
    """Fashion-MNIST: images (N, 28, 28) uint8, labels (N,) int64; N = 60,000 for "train", 10,000 for "test".

    Taken from the cache, else from Debian's package dataset-fashion-mnist, else downloaded; the unpacked
    bytes are checked against the same SHA-256 whichever it was.
    """
    _split("fashion-mnist", split)
    there = DEBIAN_FASHION if state(find("fashion-mnist")) != "cached" and DEBIAN_FASHION.is_dir() else None
    return _idx(
        "fashion-mnist",
        there or fetch("fashion-mnist"),
        split,
        {file: known for file, (_, _, known) in FASHION.items()},
    )


def _split(name, split):
    if split not in ("train", "test"):
        raise UserError(f"{name} has the splits train and test, not {split!r}")


def _idx(name, folder, split, unpacked):
    """Images and labels out of MNIST's format: a header, then bytes; `unpacked` {file: SHA-256 of what is in it}."""
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


def rt_polarity():
    """Sentence polarity, columns text and label (1 positive): 10,662 rows, the positive first."""
    import pandas

    folder = fetch("rt-polarity")
    table = []
    for kind, label in (("pos", 1), ("neg", 0)):
        lines = (folder / f"rt-polarity.{kind}").read_text(encoding="latin-1").split("\n")
        table += [(line.strip(), label) for line in lines if line.strip()]
    return pandas.DataFrame(table, columns=["text", "label"])


def imdb(split="train"):
    """IMDb reviews, columns text and label (1 positive): 25,000 rows for "train" and for "test"."""
    import pandas

    _split("imdb", split)
    folder = fetch("imdb") / split
    table = [
        (path.read_text(encoding="utf-8"), label)
        for kind, label in (("neg", 0), ("pos", 1))
        for path in sorted((folder / kind).glob("*.txt"))
    ]
    return pandas.DataFrame(table, columns=["text", "label"])


def nsmc(split="train"):
    """Korean film reviews, columns text and label (1 positive), without the few that have no text."""
    import csv

    import pandas

    _split("nsmc", split)
    table = pandas.read_csv(
        fetch("nsmc") / f"ratings_{split}.txt",
        sep="\t",
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        usecols=["document", "label"],
    )
    table = table.rename(columns={"document": "text"})
    return table[table["text"].str.strip() != ""].reset_index(drop=True)

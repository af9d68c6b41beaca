"""Loaders: arrays with the promised shapes and values, read a second way, and look-alikes of what is downloaded."""

import csv
import gzip
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import digest, look_alike

from helpers.course.errors import UserError
from helpers.data import sets as data
from helpers.data import store
from helpers.data.checksums import FASHION

ROOT = Path(__file__).resolve().parents[2]


def test_import_is_light():
    code = "import sys, helpers.data.sets; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "sklearn", "requests", "pooch"} & set(run.stdout.split())


def test_digits():
    images, labels = data.digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 16) and labels.dtype == np.int64
    table = np.loadtxt(gzip.open(store.fetch("digits")), delimiter=",")  # the file itself, read another way
    assert (table[:, :-1].reshape(-1, 8, 8) == images).all() and (table[:, -1] == labels).all()


def test_mnist5k():
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = data.mnist5k()
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8 and images.flags.writeable
    assert labels.shape == (5000,) and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [500] * 10 and (images.min(), images.max()) == (0, 255)
    flat = images.reshape(5000, -1).astype(np.float32)
    assert KNeighborsClassifier(1).fit(flat[::2], labels[::2]).score(flat[1::2], labels[1::2]) > 0.9
    table = list(csv.reader(gzip.open(store.fetch("mnist-5k"), "rt")))
    for i in (0, 2345, 4999):
        assert [int(float(value)) for value in table[i]] == [*images[i].ravel().tolist(), labels[i]]


def test_photographs_need_no_network(monkeypatch):
    import skimage.data
    from sklearn.datasets import load_sample_image

    def refuse(*args):
        raise AssertionError("photographs() opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pictures = data.photographs()
    assert {"china", "flower", "cat", "coffee", "rocket", "brick", "grass", "gravel"} <= set(pictures)
    for name, picture in pictures.items():
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3, name
        assert min(picture.shape[:2]) >= 300 and picture.std() > 10, name
    again = data.photographs()
    assert all((pictures[name] == again[name]).all() for name in pictures)
    assert (pictures["china"] == load_sample_image("china.jpg")).all()
    assert (pictures["flower"] == load_sample_image("flower.jpg")).all()
    for name in ("astronaut", "cat", "coffee", "rocket"):
        assert (pictures[name] == getattr(skimage.data, name)()).all(), name
    for name in ("brick", "grass", "gravel", "camera", "coins"):
        assert (pictures[name] == getattr(skimage.data, name)()[:, :, None]).all(), name


def test_stocks_are_monthly():
    import pandas

    table = data.stocks()
    assert table.shape == (390, 10)
    assert " ".join(table.columns) == "IBM AAPL MSFT XRX AMZN DELL GOOGL ADBE ^GSPC ^IXIC"
    assert list(table.index.to_period("M")) == list(pandas.period_range("1990-01", "2022-06", freq="M"))
    assert all(kind == np.float64 for kind in table.dtypes)
    # Listed in May 1997, August 2016 and August 2004: the first whole month is the next. No gaps after it.
    starts = {"AMZN": "1997-06", "DELL": "2016-09", "GOOGL": "2004-09"}
    for ticker in table:
        first = table[ticker].first_valid_index()
        assert f"{first:%Y-%m}" == starts.get(ticker, "1990-01") and table.loc[first:, ticker].notna().all()
    with open(store.fetch("stocks")) as file:
        first = next(line for line in file if line.startswith("1990-01-01")).strip().split(",")
    assert table.iloc[0]["IBM"] == float(first[1]) and table.iloc[0]["^IXIC"] == float(first[-1])


def test_lite0_weights_fit_timm_in_order():
    import timm
    import torch

    weights = data.lite0_state_dict()
    tensors = list(weights.values())
    assert len(tensors) == 296 and all(isinstance(tensor, torch.Tensor) for tensor in tensors)
    model = timm.create_model("efficientnet_lite0", pretrained=False)
    assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in model.state_dict().values()]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.65e6, rel=0.002)  # "4.65 million"
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors)


# Tiers 2 and 3: on look-alikes and on Debian's copy


@pytest.mark.skipif(not data.DEBIAN_FASHION.is_dir(), reason="no Debian package dataset-fashion-mnist here")
@pytest.mark.parametrize("split, n, prefix", [("train", 60000, "train"), ("test", 10000, "t10k")])
def test_fashion_mnist_from_debian(cache, tmp_path, split, n, prefix):
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images, labels = data.fashion_mnist(split)
    assert images.shape == (n, 28, 28) and images.dtype == np.uint8 and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [n // 10] * 10
    for kind, read, ours in (("images-idx3", read_image_file, images), ("labels-idx1", read_label_file, labels)):
        raw = tmp_path / kind
        raw.write_bytes(gzip.open(data.DEBIAN_FASHION / f"{prefix}-{kind}-ubyte.gz").read())
        assert (read(str(raw)).numpy() == ours).all()


def test_fashion_mnist_refuses_other_pixels(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DEBIAN_FASHION", tmp_path)
    for name in FASHION:
        (tmp_path / name).write_bytes(gzip.compress(b"\0" * 100))
    with pytest.raises(UserError, match=f"unpacks to SHA-256 {digest(bytes(100))}, expected c59f468a"):
        data.fashion_mnist()
    for name in FASHION:
        (tmp_path / name).write_bytes(b"not gzip")
    with pytest.raises(UserError, match="fashion-mnist: cannot read .*train-images"):
        data.fashion_mnist()
    with pytest.raises(UserError, match="train and test, not 'valid'"):
        data.fashion_mnist("valid")


def test_mnist_look_alike(cache, server, monkeypatch):
    """Downloaded from a server; and the autoencoder's parts of it: its own test digits, a tenth for validation."""
    from helpers.embedding import train

    bodies, wanted = [], {}
    for split, n in (("train", 40), ("test", 10)):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        wanted[split] = images, labels
        bodies += [
            gzip.compress(struct.pack(">4i", 2051, n, 28, 28) + images.tobytes()),
            gzip.compress(struct.pack(">2i", 2049, n) + labels.tobytes()),
        ]
    look_alike("mnist", server, monkeypatch, bodies)
    for split, (images, labels) in wanted.items():
        found, theirs = data.mnist(split)
        assert (found == images).all() and (theirs == labels).all() and theirs.dtype == np.int64
        assert found.flags.writeable
    assert len(server.asked) == 4
    parts = train.splits("mnist", 0)
    assert {part: tuple(x.shape) for part, (x, _) in parts.items()} == {
        "train": (36, 1, 28, 28),
        "valid": (4, 1, 28, 28),
        "test": (10, 1, 28, 28),
    }
    assert torch.equal(parts["test"][0][:, 0], torch.from_numpy(wanted["test"][0]) / 255)
    seen = torch.cat([parts["train"][0], parts["valid"][0]]).flatten(1)
    assert len(torch.unique(seen, dim=0)) == 40
    with pytest.raises(UserError, match="mnist has the splits train and test, not 'valid'"):
        data.mnist("valid")

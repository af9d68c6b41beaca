"""What a shift of the image does to classifiers with ever more pooling."""

from functools import partial

import torch
from torch import nn

from helpers.course.batches import Tensors
from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.training import fit, predict
from helpers.data.sets import split_digits


def shifted(x, dx):
    """Images (N, C, H, W) moved by dx pixels to the right (to the left if negative), zeros follow."""
    if dx == 0:
        return x
    y = torch.zeros_like(x)
    if dx > 0:
        y[..., dx:] = x[..., :-dx]
    else:
        y[..., :dx] = x[..., -dx:]
    return y


KINDS = ("no convolution", "no pooling", "pooling", "pooling to one")


def classifier(kind, filters=16, hidden=64):
    """Features, pooling, fully connected layers: (B, 1, 28, 28) in 0..1 -> logits (B, 10).

    "no convolution" connects pixels at once; "no pooling" keeps the whole map; "pooling" halves it twice;
    "pooling to one" takes each channel's maximum over the whole image.
    """

    def conv(c, d):
        return [nn.Conv2d(c, d, 3, padding=1), nn.ReLU()]

    if kind == "no convolution":
        features, side, filters = [], 28, 1
    elif kind == "no pooling":
        features, side = conv(1, filters) + conv(filters, filters), 28
    elif kind == "pooling":
        features = [*conv(1, filters), nn.MaxPool2d(2), *conv(filters, filters), nn.MaxPool2d(2)]
        side = 7
    elif kind == "pooling to one":
        features = [
            *conv(1, filters),
            nn.MaxPool2d(2),
            *conv(filters, 2 * filters),
            *conv(2 * filters, 2 * filters),
            nn.AdaptiveMaxPool2d(1),
        ]
        side, filters = 1, 2 * filters
    else:
        raise UserError(f"a classifier must be one of {', '.join(KINDS)}; got {kind!r}")
    return nn.Sequential(
        *features, nn.Flatten(), nn.Linear(filters * side**2, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


def digits(n, n_test, seed):
    """n digits to train on and n_test others: (N, 1, 28, 28) in 0..1 and labels, twice."""
    parts = split_digits(n, n_test, seed=seed)
    return tuple((torch.from_numpy(x).float()[:, None] / 255, torch.from_numpy(y)) for x, y in parts)


def train(kind, x, y, epochs, seed):
    """A `classifier` after some epochs on digits x (N, 1, 28, 28), y (N,)."""
    torch.manual_seed(seed)
    model = classifier(kind)
    fit(
        model,
        Tensors(x, y),
        step=classify,
        optimizer=torch.optim.AdamW(model.parameters(), 2e-3),
        epochs=epochs,
        batch_size=32,
        seed=seed,
        label="",
    )
    return model


def tolerance(model, test, labels):
    """{"0 px": accuracy, ..., "4 px": that on images moved by 4 pixels to the right and to the left}."""
    right = {dx: (predict(model, shifted(test, dx)).argmax(1) == labels).double().mean().item() for dx in range(-4, 5)}
    return {f"{d} px": (right[d] + right[-d]) / 2 for d in range(5)}


def _shift(kind, n, n_test, epochs, seed):
    (x, y), (test, labels) = digits(n, n_test, seed)
    return tolerance(train(kind, x, y, epochs, seed), test, labels)


def shifts(scale):
    """Trained on centred digits, tested on shifted ones, with ever more pooling."""
    settings = {"tiny": (64, 32, 1), "small": (2000, 1500, 6), "full": (3500, 1500, 30)}[scale]
    return {kind: partial(_shift, kind, *settings) for kind in KINDS}

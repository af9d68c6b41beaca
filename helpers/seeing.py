"""What a convolutional network sees: how far one output looks, and what a shift of the picture does to it.

receptive_field([(3, 1), (2, 2), (3, 1)])            # (kernel, stride) of each layer -> 8 pixels
measured_field(nn.Sequential(...), channels=3)       # the same, from gradients
"""

from functools import partial

import numpy as np
import torch
from torch import nn

from helpers.data import UserError, mnist5k
from helpers.training import Tensors, fit, predict

# ---------------------------------------------------------------- the receptive field


def receptive_field(layers):
    """Side in pixels of what one output sees, from (kernel, stride) of each layer: r_l = r_{l-1} + (k_l - 1) j_{l-1}.

    j is the distance in pixels between two neighbours of a map; a stride multiplies it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field


def kernels(model):
    """(kernel, stride) of the convolutions and poolings of a `nn.Sequential` or Darknet-like chain, in order."""
    pair = lambda v: v[0] if isinstance(v, tuple) else v
    return [
        (pair(m.kernel_size), pair(m.stride))
        for m in model.modules()
        if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
    ]


def sensitivity(model, channels=3, size=64, pictures=32, seed=0):
    """|d output / d pixel| of the output in the middle of the map, mean over random pictures: (size, size).

    Max pooling passes the gradient to one pixel only, another one in another picture: hence several pictures.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(pictures, channels, size, size, generator=generator, requires_grad=True)
    y = model(x)  # (N, C, H, W)
    middle = y[:, :, y.shape[2] // 2, y.shape[3] // 2]
    weights = torch.randn(middle.shape, generator=generator)  # no two channels may cancel each other
    return torch.autograd.grad((middle * weights).sum(), x)[0].abs().mean((0, 1))


def measured_field(model, channels=3, size=64, pictures=32):
    """(height, width) of the smallest box around all pixels that the middle output depends on at all."""
    rows, columns = (sensitivity(model, channels, size, pictures) > 0).nonzero().T
    field = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    if size in field:
        raise UserError(f"the receptive field reaches the border of a picture of {size} pixels: take a larger one")
    return field


def chain(kinds, filters=8, channels=3):
    """A network from the letters of `kinds`: c a convolution 3 x 3, s one of stride 2, p a max pooling 2 x 2."""
    layers = []
    for kind in kinds:
        if kind == "p":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, filters, 3, 2 if kind == "s" else 1, 1), nn.LeakyReLU(0.1)]
            channels = filters
    return nn.Sequential(*layers)


# ---------------------------------------------------------------- shifts


def shifted(x, dx):
    """Pictures (N, C, H, W) moved by dx pixels to the right (to the left if negative), zeros follow."""
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
    "pooling to one" takes each channel's maximum over the whole picture.
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
        raise UserError(f"classifier '{kind}': choose {', '.join(KINDS)}")
    return nn.Sequential(
        *features, nn.Flatten(), nn.Linear(filters * side**2, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


def _step(model, batch):
    x, y = batch
    return {"loss": nn.functional.cross_entropy(model(x), y, reduction="sum")}


def digits(n, n_test, seed):
    """n digits to train on and n_test others: (N, 1, 28, 28) in 0..1 and labels, twice."""
    images, labels = mnist5k()
    order = np.random.default_rng(seed).permutation(len(labels))
    x, y = torch.from_numpy(images[order]).float()[:, None] / 255, torch.from_numpy(labels[order]).long()
    return (x[:n], y[:n]), (x[n : n + n_test], y[n : n + n_test])


def train(kind, x, y, epochs, seed):
    """A `classifier` after some epochs on digits x (N, 1, 28, 28), y (N,)."""
    torch.manual_seed(seed)
    model = classifier(kind)
    fit(
        model,
        Tensors(x, y),
        step=_step,
        optimizer=torch.optim.AdamW(model.parameters(), 2e-3),
        epochs=epochs,
        batch_size=32,
        seed=seed,
        label="",
    )
    return model


def tolerance(model, test, labels):
    """{"0 px": accuracy, ..., "4 px": that on pictures moved by 4 pixels to the right and to the left}."""
    right = {dx: (predict(model, shifted(test, dx)).argmax(1) == labels).double().mean().item() for dx in range(-4, 5)}
    return {f"{d} px": (right[d] + right[-d]) / 2 for d in range(5)}


def _shift(kind, n, n_test, epochs, seed):
    (x, y), (test, labels) = digits(n, n_test, seed)
    return tolerance(train(kind, x, y, epochs, seed), test, labels)


def shifts(scale):
    """Trained on centred digits, tested on shifted ones, with ever more pooling."""
    settings = {"tiny": (64, 32, 1), "small": (2000, 1500, 6), "full": (3500, 1500, 30)}[scale]
    return {kind: partial(_shift, kind, *settings) for kind in KINDS}

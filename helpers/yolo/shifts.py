"""What a shift or a distortion of the image does to classifiers: no convolution, convolutions, and ways to shrink maps.

Trained on centred digits, tested on digits that are shifted, rotated, scaled or bent (`CHANGES`).
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

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


def warped(x, degrees=0.0, scale=1.0):
    """Images (N, C, H, W) rotated about their middle by `degrees` and enlarged by `scale`, zeros follow."""
    turn = torch.deg2rad(torch.tensor(float(degrees), dtype=x.dtype, device=x.device))
    c, s, zero = turn.cos() / scale, turn.sin() / scale, torch.zeros_like(turn)
    matrix = torch.stack([torch.stack([c, -s, zero]), torch.stack([s, c, zero])]).expand(len(x), 2, 3)
    return F.grid_sample(x, F.affine_grid(matrix, list(x.shape), align_corners=False), align_corners=False)


def bent(x, pixels, seed=0, smooth=4.0):
    """Elastic distortion: every pixel of images (N, C, H, W) moves by a smooth random field of `pixels` on average.

    The field is white noise, blurred by a Gaussian of `smooth` pixels (Simard et al. 2003), another one an image.
    """
    n, _, h, w = x.shape
    noise = torch.randn(n, 2, h, w, generator=torch.Generator().manual_seed(seed)).to(x)
    r = round(3 * smooth)
    kernel = torch.exp(-(torch.arange(-r, r + 1, dtype=x.dtype, device=x.device) ** 2) / (2 * smooth**2)).expand(
        2, 1, -1
    )
    field = F.conv2d(noise, kernel[:, :, None], padding=(0, r), groups=2)
    field = F.conv2d(field, kernel[..., None], padding=(r, 0), groups=2)  # (N, 2, H, W)
    field = pixels * field / field.norm(dim=1).mean((1, 2))[:, None, None, None]
    still = torch.eye(2, 3, dtype=x.dtype, device=x.device).expand(n, 2, 3)
    places = F.affine_grid(still, [n, 1, h, w], align_corners=False)  # (N, H, W, 2), the image is 2 wide
    places = places + field.permute(0, 2, 3, 1) * 2 / torch.tensor([w, h], dtype=x.dtype, device=x.device)
    return F.grid_sample(x, places, align_corners=False)


def _both(change, name, amount):
    """To the right and to the left, clockwise and the other way; nothing at all for an amount of 0."""
    return [partial(change, **{name: sign * amount}) for sign in (1, -1)] if amount else []


CHANGES = {  # {kind: {name of a measure: what is done to the images; the mean accuracy of several, [] for nothing}}
    "shift in pixels": {f"{d} px": _both(shifted, "dx", d) for d in range(5)},
    "rotation in degrees": {f"{d} deg": _both(warped, "degrees", d) for d in (0, 10, 20, 30, 40)},
    "scale": {f"x {s}": [partial(warped, scale=s)] if s != 1 else [] for s in (0.6, 0.8, 1.0, 1.2, 1.4)},
    "elastic, mean pixels": {f"bent {d}": [partial(bent, pixels=d)] if d else [] for d in (0, 1, 2, 3)},
}
KINDS = ("no convolution", "no pooling", "every second pixel", "pooling", "pooling to one")


def classifier(kind, filters=16, hidden=64):
    """Features, a smaller map, fully connected layers: (B, 1, 28, 28) in 0..1 -> logits (B, 10).

    "no convolution" connects pixels at once; "no pooling" keeps the whole map; "pooling" halves it twice by the largest
    of 2 x 2; "every second pixel" halves it as often, without looking for the largest; "pooling to one" takes each
    channel's maximum over the whole image.
    """

    def conv(c, d):
        return [nn.Conv2d(c, d, 3, padding=1), nn.ReLU()]

    if kind == "no convolution":
        features, side, filters = [], 28, 1
    elif kind == "no pooling":
        features, side = conv(1, filters) + conv(filters, filters), 28
    elif kind in ("pooling", "every second pixel"):
        half = nn.MaxPool2d(2) if kind == "pooling" else nn.MaxPool2d(1, 2)
        features = [*conv(1, filters), half, *conv(filters, filters), half]
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


def moved(batch, generator):
    """The images of a batch (images, labels), each shifted by up to 4 pixels to the left or to the right."""
    x, y = batch
    amounts = torch.randint(-4, 5, (len(x),), generator=generator).to(x.device)
    columns = torch.arange(x.shape[-1], device=x.device) - amounts[:, None]  # where each column comes from, (N, W)
    there = (columns >= 0) & (columns < x.shape[-1])
    index = columns.clamp(0, x.shape[-1] - 1)[:, None, None].expand_as(x)
    return x.gather(-1, index) * there[:, None, None], y


def train(kind, x, y, epochs, seed, augment=None):
    """A `classifier` trained on digits x (N, 1, 28, 28), y (N,) by AdamW: learning rate 0.002, batches of 32."""
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
        augment=augment,
        label="",
    )
    return model


def tolerance(model, test, labels):
    """{"0 px": accuracy, ..., "20 deg": ..., "bent 2": ...}: the accuracy after each of the `CHANGES`."""
    right = lambda x: (predict(model, x).argmax(1) == labels).double().mean().item()
    plain = right(test)
    return {
        name: sum(right(one(test)) for one in several) / len(several) if several else plain
        for changes in CHANGES.values()
        for name, several in changes.items()
    }


def _shift(kind, n, n_test, epochs, seed, augment=None):
    (x, y), (test, labels) = digits(n, n_test, seed)
    return tolerance(train(kind, x, y, epochs, seed, augment), test, labels)


LONGER, TAUGHT = ", 3 x the epochs", ", shifted in training"  # endings of arms; the latter has 3 x the epochs, too


def shifts(scale):
    """Trained on centred digits, tested on changed ones; with 3 times the epochs; and trained on shifted ones."""
    n, n_test, epochs = {"tiny": (64, 32, 1), "small": (1500, 500, 6), "full": (3500, 1500, 30)}[scale]
    arms = {kind: partial(_shift, kind, n, n_test, epochs) for kind in KINDS}
    arms |= {kind + LONGER: partial(_shift, kind, n, n_test, 3 * epochs) for kind in KINDS[1:4]}
    arms["no pooling" + TAUGHT] = partial(_shift, "no pooling", n, n_test, 3 * epochs, augment=moved)
    return arms

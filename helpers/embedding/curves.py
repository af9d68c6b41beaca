"""Training an autoencoder for long: its error by epoch, beside PCA's, for `helpers.course.experiments`.

The network may stop where the error on validation pictures is lowest, and the same pictures choose its learning rate.
The test error is recorded along the way, to be drawn; nothing is chosen by it.
"""

from functools import lru_cache, partial

import torch

from helpers.course.choice import choose
from helpers.embedding import autoencoder
from helpers.embedding.scores import pca, squared_error
from helpers.embedding.train import fit_images, splits

PARTS = ("train", "valid", "test")


def epochs_looked_at(last):
    """1, 2, ..., 10, then every fifth, and the last: where the errors are measured."""
    return [epoch for epoch in range(1, last + 1) if epoch <= 10 or epoch % 5 == 0 or epoch == last]


@lru_cache(maxsize=2)
def digits(count, seed):
    """{part: pictures (N, 1, 28, 28)}: `count` to train on, 500 to validate, 500 to test."""
    found = {part: images for part, (images, _) in splits("mnist5k", seed).items()}
    return found | {"train": found["train"][:count]}


def errors(reconstruct, parts):
    """{part: mean squared error of a picture, a sum over its pixels} of a function from pictures to pictures."""
    return {part: squared_error(x, reconstruct(x)).mean().item() for part, x in parts.items()}


def trained(k, rate, epochs, parts, seed):
    """A dense autoencoder of `k` latent dimensions: {part: [error at each of `epochs_looked_at`]}."""
    torch.manual_seed(seed)
    model = autoencoder.build("dense", parts["train"].shape[1:], k)
    looks, found = set(epochs_looked_at(epochs)), {part: [] for part in parts}

    def judge(model, epoch):
        if epoch in looks:
            for part, error in errors(partial(autoencoder.reconstruct, model), parts).items():
                found[part].append(error)

    fit_images(model, parts["train"], epochs=epochs, batch_size=64, lr=rate, seed=seed, judge=judge)
    return found


def stopped(curves, epochs):
    """(index, epoch) where the validation error is lowest; of equals the first."""
    best = min(range(len(epochs)), key=lambda i: curves["valid"][i])
    return best, epochs[best]


def _curve(kind, k, rates, epochs, count, seed):
    parts = digits(count, seed)
    if kind == "pca":
        model = pca(parts["train"], k)
        found = errors(lambda x: model.decode(model.encode(x)).view_as(x), parts)
        return {"error": found["test"], "train error": found["train"]}
    grid, looks = {f"{rate:g}": rate for rate in rates}, epochs_looked_at(epochs)
    choice = choose(
        grid, lambda rate: trained(k, rate, epochs, parts, seed), lambda curves: min(curves["valid"]), larger=False
    )
    curves = choice.model
    best, epoch = stopped(curves, looks)
    return {
        "error": curves["test"][best],
        "train error": curves["train"][best],
        "stopped at": epoch,
        "last": curves["test"][-1],
        "rate": grid[choice.name],
        "epochs": looks,
    } | {f"{part} curve": curves[part] for part in PARTS}


def curves(scale):
    """Dense autoencoders against PCA at the same number of latent dimensions, 64 at `small`; digits of 28 x 28."""
    widths, rates, epochs, count = {
        "tiny": ((8,), (3e-3,), 2, 200),
        "small": ((64,), (3e-4, 1e-3, 3e-3), 150, 4000),
        "full": ((8, 16, 32, 64), (3e-4, 1e-3, 3e-3), 1000, 4000),
    }[scale]
    return {f"{kind} {k}": partial(_curve, kind, k, rates, epochs, count) for k in widths for kind in ("dense", "pca")}

"""Training an autoencoder for long: its error by epoch, beside PCA's, for `helpers.course.experiments`.

Each learning rate is an arm. The network stops where the error on validation pictures is lowest, and the same pictures
choose the rate (`chosen`). The test error is recorded along the way, to be drawn; nothing is chosen by it.
"""

from functools import lru_cache, partial

import torch

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


def trained(k, rate, epochs, patience, parts, seed):
    """A dense autoencoder of `k` latent dimensions: {part: [error at each of `epochs_looked_at`]}.

    It stops early, after `patience` epochs without a lower validation error.
    """
    torch.manual_seed(seed)
    model = autoencoder.build("dense", parts["train"].shape[1:], k)
    looks, found = set(epochs_looked_at(epochs)), {part: [] for part in parts}

    def judge(model, epoch):
        if epoch in looks:
            for part, error in errors(partial(autoencoder.reconstruct, model), parts).items():
                found[part].append(error)
            return {"valid_error": found["valid"][-1]}

    settings = {"judge": judge, "monitor": "valid_error", "mode": "min", "patience": patience}
    fit_images(model, parts["train"], epochs=epochs, batch_size=64, lr=rate, seed=seed, **settings)
    return found


def stopped(curves, epochs):
    """(index, epoch) where the validation error is lowest; of equals the first."""
    best = min(range(len(curves["valid"])), key=lambda i: curves["valid"][i])
    return best, epochs[best]


def _pca(k, count, seed):
    parts = digits(count, seed)
    model = pca(parts["train"], k)
    found = errors(lambda x: model.decode(model.encode(x)).view_as(x), parts)
    return {"error": found["test"], "train error": found["train"]}


def _curve(k, rate, epochs, patience, count, seed):
    curves = trained(k, rate, epochs, patience, digits(count, seed), seed)
    looks = epochs_looked_at(epochs)[: len(curves["valid"])]
    best, epoch = stopped(curves, looks)
    return {
        "error": curves["test"][best],
        "train error": curves["train"][best],
        "valid error": curves["valid"][best],
        "stopped at": epoch,
        "last": curves["test"][-1],
        "epochs": looks,
    } | {f"{part} curve": curves[part] for part in PARTS}


def chosen(record, k=64):
    """For each seed the arm of the rate with the lowest validation error, from the record `autoencoder-curve`."""
    arms = [arm for arm in record["arms"] if arm.startswith(f"dense {k},")]
    by_seed = zip(*(record[arm, "valid error"] for arm in arms))
    return [min(zip(errors, arms))[1] for errors in by_seed]


def curves(scale):
    """Dense autoencoders against PCA at the same number of latent dimensions, 64 at `small`; digits of 28 x 28."""
    widths, rates, epochs, patience, count = {
        "tiny": ((8,), (3e-3,), 2, 2, 200),
        "small": ((64,), (1e-4, 3e-4, 1e-3), 600, 50, 4000),
        "full": ((8, 16, 32, 64), (1e-4, 3e-4, 1e-3, 3e-3), 2000, 200, 4000),
    }[scale]
    settings = epochs, patience, count
    return {f"dense {k}, rate {rate:g}": partial(_curve, k, rate, *settings) for k in widths for rate in rates} | {
        f"pca {k}": partial(_pca, k, count) for k in widths
    }

"""The experiments of lecture 07 on autoencoders and t-SNE: arms for `helpers.course.experiments`.

The seed draws the pictures that are trained on and tested, or the points of a map, and starts the model
or the descent. Nothing is chosen on the test pictures.
"""

from functools import lru_cache, partial

import numpy as np
import torch

from helpers.data import sets
from helpers.embedding import autoencoder
from helpers.embedding.scores import centroid_correlation, knn_accuracy, pca, squared_error, trustworthiness
from helpers.embedding.train import fit_images, splits
from helpers.embedding.tsne import tsne

# ---------------------------------------------------------------- what a code of width k holds


def patches(n, seed, size=28):
    """Grey patches (n, 1, size, size) in [0, 1] from real photographs: pictures that are no digits."""
    rng = np.random.default_rng(seed)
    photos = [x for x in sets.photographs().values() if min(x.shape[:2]) >= 64]
    cuts = []
    for i in range(n):
        photo = photos[i % len(photos)]
        top, left = (int(rng.integers(0, side - 2 * size + 1)) for side in photo.shape[:2])
        grey = photo[top : top + 2 * size, left : left + 2 * size].astype(np.float32).mean(-1) / 255
        cuts.append(grey.reshape(size, 2, size, 2).mean((1, 3)))  # two pixels in one
    return torch.as_tensor(np.stack(cuts), dtype=torch.float32)[:, None]


def roc_auc(normal, outliers):
    """Share of pairs in which the outlier has the higher score: the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.zeros(len(normal)), np.ones(len(outliers))]
    return float(roc_auc_score(truth, np.r_[np.asarray(normal), np.asarray(outliers)]))


def outliers(test, seed):
    """{name: images}: what a detector of anomalies has to find, beside the digits `test` (N, 1, H, H)."""
    return {"turned": test.rot90(1, (2, 3)).contiguous(), "patches": patches(len(test), seed, test.shape[-1])}


def _width(kind, k, epochs, train, seed):
    """One code: its test error, the accuracy of 10-NN among codes, ROC AUC against outliers."""
    parts = splits("mnist5k", seed)
    (x, labels), (test, test_labels) = (parts[p] for p in ("train", "test"))
    x, labels, unlike = x[:train], labels[:train], outliers(test, seed)
    if kind == "pixels":
        return {"knn": knn_accuracy(x, labels, test, test_labels)}
    if kind == "pca":
        model = pca(x, k)
        encode, reconstruct = model.encode, lambda z: model.decode(model.encode(z))
    else:
        torch.manual_seed(seed)
        model = autoencoder.build(kind, x.shape[1:], k)
        fit_images(model, x, epochs=epochs, batch_size=64, lr=3e-3, seed=seed)
        encode, reconstruct = partial(autoencoder.encode, model), partial(autoencoder.reconstruct, model)
    normal = squared_error(test, reconstruct(test))
    return {"error": normal.mean().item(), "knn": knn_accuracy(encode(x), labels, encode(test), test_labels)} | {
        f"auc {name}": roc_auc(normal, squared_error(z, reconstruct(z))) for name, z in unlike.items()
    }


def widths(scale):
    """Dense autoencoder against PCA at the same width, and the raw pixels; digits of 28 x 28."""
    epochs, train, ks = {
        "tiny": (1, 200, (8,)),
        "small": (20, 4000, (2, 4, 8, 16, 32, 64)),
        "full": (300, 4000, (2, 4, 8, 16, 32, 64)),
    }[scale]
    kinds = [(kind, k) for k in ks for kind in ("dense", "pca")]
    return {f"{kind} {k}": partial(_width, kind, k, epochs, train) for kind, k in kinds} | {
        "pixels": partial(_width, "pixels", 0, 0, train)
    }


# ---------------------------------------------------------------- noise

SIGMAS = (0.1, 0.3, 0.5)


def _denoise(noise, short, long, train, seed):
    """PSNR of what the model makes of noisy pictures, after `short` epochs and after `long` ones."""
    parts = splits("digits", seed)
    x, test = parts["train"][0][:train], parts["test"][0]
    torch.manual_seed(seed)
    model, values = autoencoder.build("dense", x.shape[1:], 16), {}

    def look(entry):
        if entry["epoch"] in (short, long):
            when = "early" if entry["epoch"] == short else "late"
            for sigma in SIGMAS:
                source = autoencoder.noisy(test, sigma, torch.Generator().manual_seed(seed))
                cleaned = autoencoder.reconstruct(model, source)
                values[f"{when} {sigma}"] = autoencoder.psnr(cleaned, test).mean().item()
                values[f"none {sigma}"] = autoencoder.psnr(source, test).mean().item()

    fit_images(model, x, epochs=long, noise=noise, lr=3e-3, seed=seed, log=look)
    return values


def denoise(scale):
    """An autoencoder that was shown noise against a plain one, early in the training and late."""
    settings = {"tiny": (1, 2, 100), "small": (10, 60, 2000), "full": (10, 400, 2000)}[scale]
    return {name: partial(_denoise, noise, *settings) for name, noise in (("plain", 0.0), ("denoising", 0.3))}


# ---------------------------------------------------------------- the start of t-SNE


def clusters(centres, per_class, seed, spread=1.0, dims=10):
    """Normal clusters around `centres` (C, 2) in `dims` dimensions: points (N, dims), labels (N,).

    `spread` is one standard deviation or one a cluster; the truth about every distance and size is known.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(centres)), per_class)
    x = rng.normal(size=(len(labels), dims)) * np.broadcast_to(spread, len(centres))[labels, None]
    x[:, :2] += np.asarray(centres, dtype=float)[labels]
    return torch.as_tensor(x), torch.as_tensor(labels)


def worlds(n, seed):
    """{name: (points, labels)} of data sets with about `n` points, from touching clusters to real digits."""
    grid = np.array([(i, j) for i in range(3) for j in range(3)], dtype=float)
    line = np.array([(i, 0) for i in range(10)], dtype=float)
    x, labels = sets.digits()
    rows = np.random.default_rng(seed).permutation(len(x))[:n]
    return {
        "touching grid": clusters(3 * grid, n // 9, seed),
        "separated grid": clusters(20 * grid, n // 9, seed),
        "line": clusters(20 * line, n // 10, seed),
        "digits": (torch.as_tensor(x[rows]).flatten(1), torch.as_tensor(labels[rows])),
    }


def scores(x, y, labels):
    """The scores of a map `y` (N, 2) of the points `x`, from local to global."""
    return {
        "knn": knn_accuracy(y, labels),
        "trust": trustworthiness(x, y),
        "global": centroid_correlation(x, y, labels),
    }


def _start(world, init, n, n_iter, seed):
    x, labels = worlds(n, seed)[world]
    y, history = tsne(x, n_iter=n_iter, init=init, seed=seed, record_every=n_iter)
    return scores(x, y, labels) | {"kl": history.kl[-1]}


def starts(scale):
    """PCA against a random start on four data sets."""
    n, n_iter = {"tiny": (100, 20), "small": (600, 500), "full": (1797, 1000)}[scale]
    names = ("touching grid", "separated grid", "line", "digits")
    return {f"{w}: {init}": partial(_start, w, init, n, n_iter) for w in names for init in ("pca", "random")}


# ---------------------------------------------------------------- what to feed it, and the perplexity


@lru_cache(maxsize=2)
def _codes(n, epochs, seed):
    """n pictures that the autoencoder has not seen: pixels, labels, codes, PCA codes fitted on the others."""
    parts = splits("mnist5k", seed)
    x = parts["train"][0]
    z, labels = (torch.cat([parts["valid"][i], parts["test"][i]])[:n] for i in (0, 1))
    torch.manual_seed(seed)
    model = autoencoder.build("dense", x.shape[1:], 16)
    fit_images(model, x, epochs=epochs, batch_size=64, lr=3e-3, seed=seed)
    return z.flatten(1), labels, autoencoder.encode(model, z), pca(x, 50).encode(z)


def _input(name, perplexity, n, n_iter, epochs, seed):
    pixels, labels, codes, components = _codes(n, epochs, seed)
    x = {"pixels": pixels, "PCA-50": components, "codes": codes}[name]
    y, history = tsne(x, perplexity, n_iter, seed=seed, record_every=n_iter)
    return scores(pixels, y, labels) | {"kl": history.kl[-1]}  # the data are the pixels, whatever t-SNE was fed


def inputs(scale):
    """Pixels, 50 principal components or an autoencoder's codes; then the perplexity, on PCA-50."""
    n, n_iter, epochs = {"tiny": (100, 20, 1), "small": (600, 500, 8), "full": (1000, 1000, 200)}[scale]
    fed = {f"{name}, 30": (name, 30) for name in ("pixels", "PCA-50", "codes")}
    sweep = {f"PCA-50, {u}": ("PCA-50", u) for u in ((5,) if scale == "tiny" else (2, 5, 15, 60, 120, 240))}
    return {arm: partial(_input, *what, n, n_iter, epochs) for arm, what in (fed | sweep).items()}

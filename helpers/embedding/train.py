"""Training an autoencoder: on images, on one of the course's data sets, or, the linear one, to its very minimum."""

from functools import partial

import torch
from torch import nn

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import fit
from helpers.data import sets
from helpers.embedding.autoencoder import build, denoising, encode, linear, noisy, reconstruct, step, to_images
from helpers.embedding.scores import knn_accuracy, pca

# ---------------------------------------------------------------- data

DATA = ("mnist5k", "mnist", "digits", "fashion-mnist")


def splits(name, seed=0):
    """{"train", "valid", "test": (pictures (N, 1, H, W), labels (N,))} of one of `DATA`.

    A tenth is for validation, a tenth for the test (MNIST and Fashion-MNIST: their own 10,000); `seed` draws them.
    """
    if name not in DATA:
        raise UserError(f"there is no data set {name!r}; choose one of {', '.join(DATA)}")
    if name == "mnist5k":
        drawn = sets.split_digits(4000, 500, 500, seed=seed)
        return {part: (to_images(x), torch.as_tensor(y)) for part, (x, y) in zip(("train", "valid", "test"), drawn)}
    whole = {"mnist": sets.mnist, "fashion-mnist": sets.fashion_mnist}.get(name)
    if whole:
        x, labels = whole("train")
    else:
        x, labels = sets.digits()
        x = x / 16  # 0..16 as scikit-learn gives them
    x, labels, tenth = to_images(x), torch.as_tensor(labels), len(x) // 10
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    parts = {"valid": order[:tenth], "test": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    if whole:
        parts = {"valid": order[:tenth], "train": order[tenth:]}
    found = {part: (x[rows], labels[rows]) for part, rows in parts.items()}
    if whole:
        x, labels = whole("test")
        found["test"] = to_images(x), torch.as_tensor(labels)
    return found


# ---------------------------------------------------------------- training


def fit_images(model, x, valid=None, *, epochs, noise=0.0, lr=1e-3, batch_size=64, seed=0, **options):
    """Train `model` on pictures `x` (N, C, H, W); returns the `Result` of `training.fit`, which takes `options`.

    noise  standard deviation of the noise that the model has to remove (a denoising autoencoder), 0: none
    """
    x = to_images(x)
    if tuple(x.shape[1:]) != tuple(model.config["shape"]):
        raise UserError(f"the model takes images of shape {tuple(model.config['shape'])}; got {tuple(x.shape[1:])}")
    if valid is not None:
        clean = to_images(valid)
        valid = Tensors(noisy(clean, noise, torch.Generator().manual_seed(seed)), clean)
    augment = partial(denoising, sigma=noise) if noise else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    return fit(
        model,
        Tensors(x),
        valid,
        step=step,
        optimizer=optimizer,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        augment=augment,
        label=f"{model.config['kind']} autoencoder",
        **options,
    )


def train(name, latent=16, kind="conv", *, epochs=20, loss=None, noise=0.0, seed=0, half=False, **options):
    """Train on a data set of `DATA` and judge on its test part: (model, report), the command line's work.

    The report: "error", the mean squared error per picture (a sum over pixels; of the clean picture where
    there is noise), beside "pca_error" at the same width and "mean_error" of the mean picture; "knn", the
    accuracy of 10 nearest neighbours among the codes, beside "pca_knn"; "n", "epochs",
    "resumed_from", "history". With `half` the trained weights are rounded to 16 bits before they are judged.
    Other options (out, resume, device, ...) go to `fit`.
    """
    if noise < 0:
        raise UserError(f"noise must be a standard deviation of 0 or more; got {noise}")
    parts = splits(name, seed)
    (x, labels), (valid, _), (test, test_labels) = parts["train"], parts["valid"], parts["test"]
    torch.manual_seed(seed)
    model = build(kind, x.shape[1:], latent, loss)
    config = model.config | {"data": name, "noise": noise}
    result = fit_images(model, x, valid, epochs=epochs, noise=noise, seed=seed, config=config, **options)
    if half:
        model.half().float()
    device = {"device": options.get("device", "auto")}
    source = noisy(test, noise, torch.Generator().manual_seed(seed)) if noise else test
    control = pca(x, latent)
    codes, test_codes = encode(model, x, **device), encode(model, source, **device)
    squared = lambda y: (y - test.flatten(1)).square().sum(1).mean().item()
    return model, {
        "data": name,
        "model": kind,
        "latent": latent,
        "loss": model.loss,
        "noise": noise,
        "n": len(test),
        "error": squared(reconstruct(model, source, **device).flatten(1)),
        "pca_error": squared(control.decode(control.encode(source))),
        "mean_error": squared(x.flatten(1).mean(0)),
        "knn": knn_accuracy(codes, labels, test_codes, test_labels),
        "pca_knn": knn_accuracy(control.codes, labels, control.encode(source), test_labels),
        "epochs": result.epochs,
        "resumed_from": result.resumed_from,
        "history": result.history,
    }


# ---------------------------------------------------------------- the linear one, to the end


def fit_linear(x, latent, seed=0, n_iter=1000):
    """A linear autoencoder of pictures `x` (N, C, H, W) at the minimum of its squared error, in float64.

    L-BFGS on all of `x` at once from a random start. The minimum is PCA (Baldi & Hornik, 1989): the error is
    the sum of the discarded variances, and W_d spans the same subspace, though not with the same axes.
    """
    x = to_images(x).double()
    n, d = len(x), x[0].numel()
    if not 1 <= latent <= min(n, d):
        raise UserError(f"{n} pictures of {d} pixels have at most {min(n, d)} components, not {latent}")
    torch.manual_seed(seed)
    model = linear(tuple(x.shape[1:]), latent).double().to(x.device)
    mean = x.mean(0, keepdim=True)
    for p in model.parameters():
        # small: what W_e starts with in directions where the pictures hardly vary, the descent hardly removes
        nn.init.normal_(p, std=1e-3)
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=n_iter,
        history_size=30,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = step(model, (x - mean,))["loss"] / n
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():  # trained on centred pictures; the biases take the mean in: x - mean -> x
        model.encoder[1].bias -= model.encoder[1].weight @ mean.flatten()
        model.decoder[0].bias += mean.flatten()
    return model.eval()

"""Training autoencoders: the linear one against PCA, reproducibility, the report, the splits."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.embedding import autoencoder as ae
from helpers.embedding import train
from helpers.embedding.scores import pca


@pytest.fixture(scope="module")
def digits():
    return train.splits("digits")


@pytest.fixture(scope="module")
def trained(digits):
    """A small dense model after a few epochs, and its training Result."""
    torch.manual_seed(0)
    model = ae.build("dense", (1, 8, 8), 8)
    result = train.fit_images(model, digits["train"][0], digits["valid"][0], epochs=12, device="cpu")
    return model, result


# ---------------------------------------------------------------- the linear one is PCA


@pytest.mark.parametrize("k, seed", [(2, 0), (8, 1), (32, 0)])
def test_a_linear_autoencoder_trained_to_the_end_is_pca(digits, k, seed):
    from sklearn.decomposition import PCA

    x = digits["train"][0][:700]
    model = train.fit_linear(x, k, seed)
    flat = x.double().flatten(1)
    theirs = PCA(k, svd_solver="full").fit(flat.numpy())
    best = np.square(theirs.inverse_transform(theirs.transform(flat.numpy())) - flat.numpy()).sum(1).mean()
    with torch.no_grad():
        error = ae.step(model, (x.double(),))["squared_error"].item() / len(x)
        span = torch.linalg.qr(model.decoder[0].weight).Q  # (D, k)
    assert best * (1 - 1e-9) <= error <= best * (1 + 1e-6)
    assert pca(x, k).variances[k:].sum().item() == pytest.approx(best, rel=1e-9)
    v = torch.tensor(theirs.components_)
    assert torch.linalg.matrix_norm(v - (v @ span) @ span.T, 2) < 2e-3  # the sine of the largest angle
    # the same subspace, but not the same axes: PCA's are orthonormal, nothing makes the decoder's so
    overlap = nn.functional.normalize(model.decoder[0].weight, dim=0).T @ v.T
    assert overlap.abs().max(1).values.min() < 0.999


# ---------------------------------------------------------------- training


def test_training_beats_the_mean_image_on_new_ones(digits, trained):
    model, result = trained
    test = digits["test"][0]
    mean = (digits["train"][0].mean(0) - test).square().flatten(1).sum(1).mean()
    error = (ae.reconstruct(model, test, device="cpu") - test).square().flatten(1).sum(1).mean()
    assert error < 0.5 * mean
    assert result.last["valid_loss"] < result.history[0]["valid_loss"]
    assert result.epochs == 12


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_training_is_reproducible(digits, noise):
    def run(seed):
        torch.manual_seed(seed)
        model = ae.build("conv", (1, 8, 8), 4)
        result = train.fit_images(model, digits["train"][0][:256], epochs=2, noise=noise, seed=seed, device="cpu")
        return model.state_dict(), result.last["loss"]

    (a, loss_a), (b, loss_b), (_, loss_c) = run(0), run(0), run(1)
    assert loss_a == loss_b != loss_c
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_denoising_autoencoder_removes_noise_that_a_plain_one_keeps(digits):
    x, test = digits["train"][0], digits["test"][0]
    source = ae.noisy(test, 0.3, torch.Generator().manual_seed(0))
    decibel = {}
    for noise in (0.0, 0.3):
        torch.manual_seed(0)
        model = ae.build("dense", (1, 8, 8), 16)
        train.fit_images(model, x, epochs=40, noise=noise, lr=2e-3, device="cpu")
        decibel[noise] = ae.psnr(ae.reconstruct(model, source, device="cpu"), test).mean()
    assert decibel[0.3] > decibel[0.0] + 1
    assert decibel[0.3] > ae.psnr(source, test).mean() + 2


def test_train_reports_against_pca_and_resumes(digits, tmp_path):
    options = dict(latent=4, kind="dense", seed=2, device="cpu", batch_size=128)
    whole, report = train.train("digits", epochs=3, out=tmp_path / "whole", **options)
    assert json.loads(json.dumps(report)) == report  # plain JSON
    assert report["n"] == 179 and report["epochs"] == 3 and report["resumed_from"] is None
    parts = train.splits("digits", seed=2)
    x, test = (parts[part][0].flatten(1).double() for part in ("train", "test"))
    p = pca(x, 4)
    assert report["pca_error"] == pytest.approx((p.decode(p.encode(test)) - test).square().sum(1).mean().item())
    assert report["mean_error"] == pytest.approx((test - x.mean(0)).square().sum(1).mean().item(), rel=1e-5)
    assert 0.1 < report["knn"] < report["pca_knn"] + 0.2 < 1.2

    train.train("digits", epochs=2, out=tmp_path / "halves", **options)
    resumed, second = train.train("digits", epochs=3, out=tmp_path / "halves", resume=True, **options)
    assert second["resumed_from"] == {"epoch": 2, "step": 0}
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)
    assert second["error"] == report["error"]
    ae.save(tmp_path / "model.safetensors", resumed)
    loaded = ae.load(tmp_path / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), loaded.parameters()))
    assert loaded.config == {"kind": "dense", "shape": [1, 8, 8], "latent": 4, "loss": "bce"}


# ---------------------------------------------------------------- data


def test_sets_do_not_overlap_and_stay_in_range(digits):
    assert [len(digits[part][0]) for part in ("train", "valid", "test")] == [1439, 179, 179]
    rows = torch.cat([digits[part][0].flatten(1) for part in digits])
    from sklearn.datasets import load_digits

    whole = torch.tensor(load_digits().data / 16).float()
    assert torch.equal(rows.sort(0).values, whole.sort(0).values)  # all of them, once
    assert rows.min() == 0 and rows.max() == 1
    assert not torch.equal(train.splits("digits", seed=1)["test"][1], digits["test"][1])


# ---------------------------------------------------------------- errors


def tiny(**config):
    return ae.build(**({"kind": "dense", "shape": (1, 8, 8), "latent": 2} | config))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: train.splits("cifar"), "no data set 'cifar'; choose one of mnist5k"),
        (lambda: train.train("digits", noise=-1, epochs=1), "standard deviation"),
        (lambda: train.fit_images(tiny(), torch.rand(9, 1, 8, 8) * 16, epochs=1), r"run from .* to 1\d.*: .*rescale"),
        (lambda: train.fit_images(tiny(), torch.full((9, 1, 8, 8), torch.nan), epochs=1), "run from nan to nan"),
        (lambda: train.fit_images(tiny(), torch.rand(9, 1, 4, 4), epochs=1), r"of shape \(1, 8, 8\); got \(1, 4"),
        (lambda: train.fit_images(tiny(), torch.empty(0, 1, 8, 8), epochs=1), "one or more of each"),
        (lambda: train.fit_linear(torch.rand(3, 1, 8, 8), 4), "3 pictures of 64 pixels have at most 3"),
    ],
)
def test_errors_are_one_clear_line(call, words):
    with pytest.raises(UserError, match=words) as e:
        call()
    assert "\n" not in str(e.value)

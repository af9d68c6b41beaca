"""Autoencoders: the linear one against PCA, shapes, training, and what is done with a trained one."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.course.training import load_model
from helpers.embedding import autoencoder as ae
from helpers.embedding.scores import pca


@pytest.fixture(scope="module")
def digits():
    return ae.sets("digits")


@pytest.fixture(scope="module")
def trained(digits):
    """A small dense model after a few epochs, and its training Result."""
    torch.manual_seed(0)
    model = ae.build("dense", (1, 8, 8), 8)
    result = ae.fit_pictures(model, digits["train"][0], digits["valid"][0], epochs=12, device="cpu")
    return model, result


# ---------------------------------------------------------------- the linear one is PCA


@pytest.mark.parametrize("k, seed", [(2, 0), (8, 1), (32, 0)])
def test_a_linear_autoencoder_trained_to_the_end_is_pca(digits, k, seed):
    from sklearn.decomposition import PCA

    x = digits["train"][0][:700]
    model = ae.fit_linear(x, k, seed)
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


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("kind", ae.MODELS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 12, 16)])
def test_shapes_are_those_in_the_comments(kind, shape):
    model = ae.build(kind, shape, 5)
    c, h, w = shape
    names = {"B": 2, "C": c, "H": h, "W": w, "D": c * h * w, "K": 5}
    source = __import__("inspect").getsource(ae.MODELS[kind])
    commented = re.findall(r"# \((B, [^)]*)\)", source)
    x, seen = torch.rand(2, *shape), []
    for layer in [*model.encoder, *model.decoder]:
        x = layer(x)
        seen.append(tuple(x.shape))

    def value(text):  # "32 H/4 W/4" -> 32 * H//4 * W//4
        return math.prod(eval(part.replace("/", "//"), names) for part in text.split())

    if kind == "linear":
        assert seen == [(2, c * h * w), (2, 5), (2, c * h * w), (2, *shape)]
        return
    # a comment stands after each line, and a line may hold a layer and its ReLU
    places = iter([(2, *shape), *seen])
    for comment in commented:
        wanted = tuple(value(part) for part in comment.split(", "))
        assert any(place == wanted for place in places), (comment, wanted)
    assert len(commented) >= 8 and seen[-1] == (2, *shape) and (2, 5) in seen


def test_a_step_runs_where_the_model_is():
    for kind in ae.MODELS:
        model = ae.build(kind, (1, 8, 8), 3).to("meta")
        x = torch.rand(4, 1, 8, 8, device="meta")
        for batch in ((x,), ae.denoising((x,), torch.Generator().manual_seed(0), 0.3)):
            ae.step(model, batch)["loss"].backward()
        assert all(p.grad.device.type == "meta" for p in model.parameters())


# ---------------------------------------------------------------- loss


def test_losses_are_the_written_formulas():
    x = torch.rand(3, 1, 4, 4)
    model = ae.build("dense", (1, 4, 4), 2)
    s = torch.sigmoid(model(x)).double()
    sums = ae.step(model, (x,))
    cross = -(x * s.log() + (1 - x) * (1 - s).log()).sum()
    torch.testing.assert_close(sums["loss"].double(), cross, rtol=1e-5, atol=0)
    torch.testing.assert_close(sums["squared_error"].double(), (s - x).square().sum(), rtol=1e-5, atol=0)
    model = ae.build("dense", (1, 4, 4), 2, "mse")
    sums = ae.step(model, (x,))
    torch.testing.assert_close(sums["loss"], (model(x) - x).square().sum())
    assert torch.equal(sums["loss"], sums["squared_error"])


def test_denoising_asks_for_the_clean_picture():
    x = torch.rand(500, 1, 8, 8)
    source, target = ae.denoising((x,), torch.Generator().manual_seed(0), 0.1)
    again, _ = ae.denoising((x,), torch.Generator().manual_seed(0), 0.1)
    assert torch.equal(target, x) and torch.equal(source, again) and not torch.equal(source, x)
    inside = (x > 0.4) & (x < 0.6)  # far from the ends, where noise is cut off
    assert (source - x)[inside].std().item() == pytest.approx(0.1, rel=0.05)
    assert source.min() >= 0 and source.max() <= 1


# ---------------------------------------------------------------- training


def test_training_beats_the_mean_picture_on_new_ones(digits, trained):
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
        result = ae.fit_pictures(model, digits["train"][0][:256], epochs=2, noise=noise, seed=seed, device="cpu")
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
        ae.fit_pictures(model, x, epochs=40, noise=noise, lr=2e-3, device="cpu")
        decibel[noise] = ae.psnr(ae.reconstruct(model, source, device="cpu"), test).mean()
    assert decibel[0.3] > decibel[0.0] + 1
    assert decibel[0.3] > ae.psnr(source, test).mean() + 2


def test_train_reports_against_pca_and_resumes(digits, tmp_path):
    options = dict(latent=4, kind="dense", seed=2, device="cpu", batch_size=128)
    whole, report = ae.train("digits", epochs=3, out=tmp_path / "whole", **options)
    assert json.loads(json.dumps(report)) == report  # plain JSON
    assert report["n"] == 179 and report["epochs"] == 3 and report["resumed_from"] is None
    parts = ae.sets("digits", seed=2)
    x, test = (parts[part][0].flatten(1).double() for part in ("train", "test"))
    p = pca(x, 4)
    assert report["pca_error"] == pytest.approx((p.decode(p.encode(test)) - test).square().sum(1).mean().item())
    assert report["mean_error"] == pytest.approx((test - x.mean(0)).square().sum(1).mean().item(), rel=1e-5)
    assert 0.1 < report["knn"] < report["pca_knn"] + 0.2 < 1.2

    ae.train("digits", epochs=2, out=tmp_path / "halves", **options)
    resumed, second = ae.train("digits", epochs=3, out=tmp_path / "halves", resume=True, **options)
    assert second["resumed_from"] == {"epoch": 2, "step": 0}
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)
    assert second["error"] == report["error"]
    loaded = ae.load(tmp_path / "halves" / "model.safetensors")
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
    assert not torch.equal(ae.sets("digits", seed=1)["test"][1], digits["test"][1])


def test_pictures_are_taken_as_uint8_arrays_and_tensors():
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    a = ae.pictures(x)
    assert a.shape == (5, 1, 8, 8) and a.dtype == torch.float32
    np.testing.assert_allclose(a[:, 0], x / 255, rtol=1e-6)
    assert torch.equal(ae.pictures(a), a)


# ---------------------------------------------------------------- a trained one


def test_encode_decode_reconstruct_agree_with_the_model(digits, trained):
    model, x = trained[0], digits["test"][0]
    with torch.no_grad():
        whole, codes = torch.sigmoid(model(x)), model.encoder(x)
    options = {"device": "cpu", "batch_size": 50}
    torch.testing.assert_close(ae.reconstruct(model, x, **options), whole)
    torch.testing.assert_close(ae.encode(model, x, **options), codes)
    torch.testing.assert_close(ae.decode(model, codes, **options), whole)
    score = ae.anomaly_score(model, x, **options)
    torch.testing.assert_close(score, (whole - x).square().sum((1, 2, 3)))


def test_anomalies_score_higher(digits, trained):
    from sklearn.metrics import roc_auc_score

    x = digits["test"][0]
    strange = x.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))].view_as(x)
    score = ae.anomaly_score(trained[0], torch.cat([x, strange]), device="cpu")
    assert roc_auc_score(np.repeat([0, 1], len(x)), score) > 0.95


def test_a_walk_begins_and_ends_at_the_reconstructions(digits, trained):
    a, b = digits["test"][0][:2]
    way = ae.walk(trained[0], a, b, 7, device="cpu")
    assert way.shape == (7, 1, 8, 8)
    torch.testing.assert_close(way[[0, 6]], ae.reconstruct(trained[0], torch.stack([a, b]), device="cpu"))


def test_psnr_is_scikit_images(digits):
    from skimage.metrics import peak_signal_noise_ratio

    x = digits["test"][0][:4]
    y = ae.noisy(x, 0.2, torch.Generator().manual_seed(0))
    wanted = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(x, y)]
    np.testing.assert_allclose(ae.psnr(x, y), wanted, rtol=1e-5)


# ---------------------------------------------------------------- errors


def tiny(**config):
    return ae.build(**({"kind": "dense", "shape": (1, 8, 8), "latent": 2} | config))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: tiny(kind="deep"), "no autoencoder 'deep'; choose one of dense, conv, linear"),
        (lambda: tiny(loss="mae"), "no loss 'mae'"),
        (lambda: tiny(latent=0), "not 0"),
        (lambda: tiny(kind="conv", shape=(1, 10, 8)), "10 x 8 is not divisible by 4"),
        (lambda: ae.sets("cifar"), "no data set 'cifar'; choose one of mnist5k"),
        (lambda: ae.train("digits", noise=-1, epochs=1), "standard deviation"),
        (lambda: ae.fit_pictures(tiny(), torch.rand(9, 1, 8, 8) * 16, epochs=1), r"run from .* to 1\d.*: .*rescale"),
        (lambda: ae.fit_pictures(tiny(), torch.full((9, 1, 8, 8), torch.nan), epochs=1), "run from nan to nan"),
        (lambda: ae.fit_pictures(tiny(), torch.rand(9, 1, 4, 4), epochs=1), r"for pictures \(1, 8, 8\), not \(1, 4"),
        (lambda: ae.fit_pictures(tiny(), torch.empty(0, 1, 8, 8), epochs=1), "must be a picture"),
        (lambda: ae.encode(tiny(), torch.rand(3, 64)), r"not \(3, 64\)"),
        (lambda: ae.fit_linear(torch.rand(3, 1, 8, 8), 4), "3 pictures of 64 pixels have at most 3"),
    ],
)
def test_errors_are_one_clear_line(call, words):
    with pytest.raises(UserError, match=words) as e:
        call()
    assert "\n" not in str(e.value)


def test_a_foreign_file_is_refused(tmp_path):
    from helpers.course.training import save_model

    save_model(tmp_path / "x.safetensors", nn.Linear(2, 2), {"kind": "lstm"})
    with pytest.raises(UserError, match="holds no autoencoder"):
        ae.load(tmp_path / "x.safetensors")
    assert load_model(tmp_path / "x.safetensors")[1] == {"kind": "lstm"}

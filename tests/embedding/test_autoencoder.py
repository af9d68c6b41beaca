"""Autoencoders: shapes, loss, and what is done with a trained one."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.course.training import load_model
from helpers.embedding import autoencoder as ae
from helpers.embedding import train


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


# ---------------------------------------------------------------- loss and input


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


def test_denoising_asks_for_the_clean_image():
    x = torch.rand(500, 1, 8, 8)
    source, target = ae.denoising((x,), torch.Generator().manual_seed(0), 0.1)
    again, _ = ae.denoising((x,), torch.Generator().manual_seed(0), 0.1)
    assert torch.equal(target, x) and torch.equal(source, again) and not torch.equal(source, x)
    inside = (x > 0.4) & (x < 0.6)  # far from the ends, where noise is cut off
    assert (source - x)[inside].std().item() == pytest.approx(0.1, rel=0.05)
    assert source.min() >= 0 and source.max() <= 1


def test_images_are_taken_as_uint8_arrays_and_tensors():
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    a = ae.to_images(x)
    assert a.shape == (5, 1, 8, 8) and a.dtype == torch.float32
    np.testing.assert_allclose(a[:, 0], x / 255, rtol=1e-6)
    assert torch.equal(ae.to_images(a), a)


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
    outliers = x.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))].view_as(x)
    score = ae.anomaly_score(trained[0], torch.cat([x, outliers]), device="cpu")
    assert roc_auc_score(np.repeat([0, 1], len(x)), score) > 0.95


def test_an_interpolation_begins_and_ends_at_the_reconstructions(digits, trained):
    a, b = digits["test"][0][:2]
    way = ae.interpolate(trained[0], a, b, 7, device="cpu")
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
        (lambda: tiny(latent=0), "latent must be 1 or more; got 0"),
        (lambda: tiny(kind="conv", shape=(1, 10, 8)), "divisible by 4; got 10 x 8"),
        (lambda: ae.encode(tiny(), torch.rand(3, 64)), r"got \(3, 64\)"),
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

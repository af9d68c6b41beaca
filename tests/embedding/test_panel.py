"""What the panel of lecture 07 gets of an autoencoder: every layer with its numbers, in the order of the network.

What the panel makes of it, in Chromium: `tests/test_panels.py`.
"""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.embedding import autoencoder, panel, places


@pytest.fixture(scope="module")
def atlas():
    rng = torch.Generator().manual_seed(0)
    codes, y = (torch.randn(40, k, generator=rng).half().float() for k in (5, 2))
    return places.Atlas(codes, y, torch.arange(40) % 10)


def rebuilt(layers, arrays, part):
    """The network that the listed layers describe, made by PyTorch."""
    made = []
    for k, layer in enumerate(layers):
        kind, weight = layer["kind"], arrays.get(f"{part}.{k}.weight")
        if kind == "Linear":
            module = nn.Linear(weight.shape[1], layer["out"])
        elif kind == "Conv2d":
            sizes = layer["size"], layer["stride"], layer["padding"]
            module = nn.Conv2d(weight.shape[1], layer["out"], *sizes)
        elif kind == "Unflatten":
            module = nn.Unflatten(1, layer["shape"])
        else:
            module = nn.Upsample(scale_factor=layer["factor"]) if kind == "Upsample" else getattr(nn, kind)()
        if weight is not None:
            state = {name: torch.from_numpy(arrays[f"{part}.{k}.{name}"]).float() for name in ("weight", "bias")}
            module.load_state_dict(state)
        made.append(module)
    return nn.Sequential(*made)


@pytest.mark.parametrize("kind", ["dense", "conv", "linear"])
def test_the_listed_layers_are_the_network(kind, atlas):
    torch.manual_seed(1)
    model = autoencoder.build(kind, panel.SHAPE, 5).half().float()
    facts, arrays = panel.contents(model, atlas, [], 1.0)
    x = torch.rand(3, *panel.SHAPE)
    with torch.no_grad():
        codes = rebuilt(facts["encoder"], arrays, "encoder")(x)
        assert torch.equal(codes, model.encoder(x))
        assert torch.equal(rebuilt(facts["decoder"], arrays, "decoder")(codes), model(x))
    assert facts["latent"] == 5 and "samples" not in arrays


def test_samples_and_the_map_keep_their_numbers(atlas):
    samples = torch.randint(0, 256, (4, 1, 28, 28)) / 255
    _, arrays = panel.contents(autoencoder.build("conv", panel.SHAPE, 5), atlas, samples, 1.0)
    assert np.array_equal(arrays["samples"] / np.float32(255), samples[:, 0].numpy())
    assert np.array_equal(arrays["y"].astype(np.float32), atlas.y.numpy()) and arrays["labels"].dtype == np.uint8


def test_what_the_panel_cannot_show_is_refused(atlas):
    model = autoencoder.build("dense", (1, 8, 8), 5)
    with pytest.raises(UserError, match="28 x 28 pixels; got the shape"):
        panel.show(model, torch.rand(20, 1, 8, 8), torch.arange(20), [])
    model.encoder.append(nn.Tanh())
    with pytest.raises(UserError, match="no layer Tanh; it has Linear"):
        panel.contents(model, atlas, [], 1.0)

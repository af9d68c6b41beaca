"""Single layers against libdarknet, closed forms and PyTorch's own."""

import pytest
import torch
from darknet_networks import CONV, HEAD, WIDE, both, compare_layers, random_network
from torch import nn

from helpers.yolo.darknet import layers as darknet_layers


@pytest.mark.parametrize(
    "name, layers",
    {
        "maxpools": "[maxpool]\nsize=2\nstride=1\n[maxpool]\nsize=3\nstride=2\n[maxpool]\nsize=5\nstride=1\n"
        "[maxpool]\nsize=2\nstride=2\npadding=0\n[maxpool]\nsize=3\nstride=1\npadding=1\n",
        "activations": "".join(
            f"[activation]\nactivation={a}\n"
            for a in ("leaky", "elu", "selu", "tanh", "loggy", "hardtan", "relie", "ramp", "logistic", "relu", "linear")
        ),
        "shortcut_half": CONV.format(f=6, s=1) + CONV.format(f=4, s=2) + "[shortcut]\nfrom=-2\nactivation=relu\n",
        "shortcut_double": CONV.format(f=6, s=2) + CONV.format(f=8, s=1) + "[upsample]\nstride=2\n"
        "[shortcut]\nfrom=-2\nactivation=linear\nalpha=.5\nbeta=2\n",
        "upsample": CONV.format(f=4, s=2) + "[upsample]\nstride=3\nscale=.5\n",
        "reorg": CONV.format(f=8, s=1) + "[reorg]\nstride=2\n",
        "routes": CONV.format(f=3, s=1) + "[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1,0,-2\n[route]\nlayers=1\n",
        "local": WIDE + "[local]\nsize=3\npad=1\nstride=2\nfilters=5\nactivation=leaky\n"
        "[local]\nsize=1\nstride=1\nfilters=3\nactivation=tanh\n",
        "connected": "[connected]\noutput=10\nbatch_normalize=1\nactivation=leaky\n[connected]\noutput=6\n"
        "activation=linear\n[softmax]\ngroups=2\ntemperature=2\n",
        "crop": "[crop]\ncrop_height=8\ncrop_width=6\n[dropout]\n[crop]\ncrop_height=5\ncrop_width=5\nnoadjust=1\n",
    }.items(),
)
def test_single_layers_equal_libdarknet(darknet, tmp_path, name, layers):
    text = HEAD.format(w=12, h=20, c=3) + layers
    network = random_network(text, seed=2)
    net = both(darknet, tmp_path, network, text)
    x = torch.randn(1, 3, 20, 12, generator=torch.Generator().manual_seed(3)) * 2  # negative ones too
    assert compare_layers(darknet, net, network, x) < 1e-5
    darknet.free_network(net)


def test_max_pooling_pads_with_minus_infinity():
    """The defect of a well-known reimplementation: with zeros the right and lower border is wrong."""
    pooled = darknet_layers.MaxPool(2, 1, 1)(-torch.ones(1, 1, 3, 3))
    assert torch.equal(pooled, -torch.ones(1, 1, 3, 3))


def test_reorg_is_not_pixel_unshuffle():
    x = torch.arange(2 * 8 * 4 * 4.0).view(2, 8, 4, 4)
    ours, other = darknet_layers.Reorg(2)(x), nn.functional.pixel_unshuffle(x, 2)
    assert ours.shape == other.shape and not torch.equal(ours, other)

"""Networks of Darknet's package with random weights, ours and the C library's, for tests and a benchmark."""

import re

import numpy as np
import torch
from torch import nn

from helpers.yolo.darknet.network import Darknet, write_weights


def at_size(text, height, width, slimmer=1):
    """A cfg for smaller pictures; slimmer=4 leaves a quarter of the filters inside, the ends stay whole."""
    text = re.sub(r"(?m)^height\s*=.*", f"height={height}", text)
    text = re.sub(r"(?m)^width\s*=.*", f"width={width}", text)
    if slimmer == 1:
        return text
    parts = re.split(r"(?m)^(?=\[)", text)
    for i, part in enumerate(parts):
        end = i + 1 == len(parts) or re.match(r"\[(yolo|region|avgpool|softmax)", parts[i + 1])
        if part.startswith(("[convolutional]", "[local]")) and not end:
            parts[i] = re.sub(r"filters\s*=\s*(\d+)", lambda m: f"filters={max(1, int(m[1]) // slimmer)}", part)
    return "".join(parts)


def random_network(text, seed=0, **size):
    """A network with random weights and statistics under which its signals about keep their size."""
    generator = torch.Generator().manual_seed(seed)
    network = Darknet(text, **size).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                nn.init.normal_(parameter, 0, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.running_mean, 0, 0.1, generator=generator)
    for layer, following in zip(network.layers, network.sections[1:]):
        if following.kind == "shortcut" and getattr(layer, "norm", None):  # else sums grow without end
            layer.norm.weight.data *= 0.3
        if following.kind in ("yolo", "region"):  # else all scores are 0 or 1
            layer.conv.weight.data *= 0.5
    return network


def both(darknet, folder, network, text):
    """The same network and weights in the C library."""
    (folder / "net.cfg").write_text(text)
    write_weights(network, folder / "net.weights")
    return darknet.network(folder / "net.cfg", folder / "net.weights")


def compare_layers(darknet, net, network, x):
    """The largest difference in any layer, relative to the layer's largest number (at least 1)."""
    with torch.no_grad():
        outputs = network.outputs(x)
    darknet.forward(net, x.numpy())
    assert darknet.dk_layers(net) == len(outputs)
    worst = 0
    for i, ours in enumerate(outputs):
        ours, theirs = ours.numpy().ravel(), darknet.output(net, i)
        assert ours.shape == theirs.shape, f"layer {i} [{network.sections[i].kind}]"
        assert np.abs(theirs).max() > 1e-6
        worst = max(worst, np.abs(ours - theirs).max() / max(1, np.abs(theirs).max()))
    return worst


# the ends and the connected layers of yolov1 need its map to be square; slimmer=4 keeps the suite short
NETWORKS = {
    "yolov1": (128, 128, 4),
    "yolov1-tiny": (128, 128, 4),
    "yolov2": (96, 128, 4),
    "yolov2-tiny": (96, 128, 1),
    "yolov2-tiny-voc": (128, 96, 1),
    "yolov3": (96, 64, 4),
    "yolov3-tiny": (96, 128, 1),
    "yolov3-spp": (64, 96, 4),
    "darknet19": (96, 64, 4),
    "darknet53": (64, 96, 4),
    "resnet18": (96, 64, 1),
    "resnet50": (96, 64, 4),
    "resnext50": (64, 64, 1),
    "densenet201": (64, 96, 1),
    "alexnet": (96, 96, 4),
    "cifar": (28, 28, 1),
}


# The C program gives [local] a quarter of the memory it needs and writes past it, unless some convolution
# asks for more: this one does.
WIDE = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=7\npad=1\nstride=1\nactivation=leaky\n"


HEAD = "[net]\nwidth={w}\nheight={h}\nchannels={c}\n"


CONV = "[convolutional]\nfilters={f}\nsize=3\npad=1\nstride={s}\nactivation=leaky\n"


def cfg(*layers, net="width=32\nheight=32\n"):
    return f"[net]\n{net}" + "".join(layers)

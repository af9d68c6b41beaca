"""Transfer learning: pretrained weights, a new head, and what to freeze (lecture 06).

A `Classifier` is a backbone that turns pictures into features, and a linear head that turns
features into scores. Strategies differ in what is trained:

    scratch   everything, from random weights (the control)
    base      the head alone; the base is frozen, so its features are computed once
    half      the head and the later half of the blocks
    none      everything, nothing frozen ("full fine-tuning")

With a pretrained base the head is brought to its optimum first and the rest is trained from there:
linear probing, then fine-tuning (LP-FT, Kumar et al., ICLR 2022). That head was fitted to features that
batch norm makes with its *stored* statistics, so fine-tuning goes on with these (`freeze_statistics`): the
statistics of a small batch would change every feature before the first step. The lecture measures this, and
other heads to start from (`head`).
"""

import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.course.freezing import freeze, freeze_statistics, unfreeze
from helpers.data.sets import lite0_state_dict

__all__ = ["Classifier", "backbone", "blocks", "freeze", "freeze_first", "freeze_statistics", "unfreeze"]


def backbone(name="efficientnet_lite0", pretrained=True):
    """A timm network without its classifier, and the input (mean, std) per channel, for pixels in [0, 1].

    "efficientnet_lite0" comes with built-in ImageNet weights. They were trained in TensorFlow: "SAME"
    padding, batch-norm epsilon 0.001, inputs (x - 127) / 128; timm calls that variant `tf_efficientnet_lite0`.
    Other names are timm's, their weights are downloaded. Raises UserError for unknown names and no network.
    """
    import timm

    known = "tf_efficientnet_lite0" if name == "efficientnet_lite0" else name
    if not timm.is_model(known):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "efficientnet_lite0, resnet50"
        raise UserError(f"there is no backbone {name!r} in timm; did you mean one of {close}?")
    builtin = name == "efficientnet_lite0"
    try:
        net = timm.create_model(known, pretrained=pretrained and not builtin)
    except Exception as error:  # timm passes on whatever its download raises
        raise UserError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}); use efficientnet_lite0, "
            "whose weights are built in, or --no-pretrained"
        ) from error
    if builtin and pretrained:
        # the file names its tensors otherwise, but lists the same 296 in the same order
        net.load_state_dict(dict(zip(net.state_dict(), lite0_state_dict().values(), strict=True)))
    if builtin:
        return net, ([127 / 255] * 3, [128 / 255] * 3)
    return net, (list(net.default_cfg["mean"]), list(net.default_cfg["std"]))


class Classifier(nn.Module):
    """Pictures (B, 3, H, W), uint8 -> scores (B, classes), by a backbone's features (B, D) and a linear head."""

    def __init__(self, classes, name="efficientnet_lite0", pretrained=True):
        super().__init__()
        self.base, (mean, std) = backbone(name, pretrained)
        self.base.reset_classifier(0)  # head surgery: what remains ends with the pooled features
        self.head = nn.Linear(self.base.num_features, classes)
        nn.init.zeros_(self.head.weight)  # the first loss is ln(classes), and no direction is favoured
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def features(self, x):
        x = (x.float() / 255 - self.mean) / self.std  # (B, 3, H, W), as the weights have always been fed
        return self.base(x)  # (B, D)

    def forward(self, x):
        return self.head(self.features(x))


def blocks(base):
    """[(name, module)] of a network from input to output, stages one by one; only those with parameters."""
    out = []
    for name, child in base.named_children():
        stages = isinstance(child, nn.Sequential) and all(isinstance(c, nn.Sequential) for c in child) and len(child)
        out += [(f"{name}.{i}", c) for i, c in child.named_children()] if stages else [(name, child)]
    return [(name, module) for name, module in out if any(True for _ in module.parameters())]


def freeze_first(base, count):
    """Freeze the first `count` blocks of a network; returns the names of the frozen ones."""
    parts = blocks(base)
    if not 0 <= count <= len(parts):
        raise UserError(f"cannot freeze {count} of {len(parts)} blocks: give a number from 0 to {len(parts)}")
    for _, module in parts[:count]:
        freeze(module)
    return [name for name, _ in parts[:count]]

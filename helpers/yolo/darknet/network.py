"""Darknet's networks in PyTorch: built from a `.cfg`, with weights from and to a `.weights` file.

network = Darknet("yolov3-tiny.cfg")
read_weights(network, "yolov3-tiny.weights")
network.detect(image)                                 # image (3, H, W) in 0..1
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from helpers.course import files
from helpers.course.draws import Dropout
from helpers.course.errors import UserError
from helpers.data.geometry import letterbox
from helpers.yolo.darknet import layers
from helpers.yolo.darknet.cfg import read_cfg
from helpers.yolo.detect import detect_batch, to_image


class Darknet(nn.Module):
    """The network of a cfg (a path, or the text itself); `size` (height, width) replaces that in [net].

    `forward(x)`, x (B, C, H, W) in 0..1, returns the heads' logits as a list, or the last layer's output
    where there is no head. `outputs(x)` returns what every layer of the C program holds. Raises UserError
    naming section and line of what does not fit.
    """

    def __init__(self, cfg, size=None):
        super().__init__()
        net, *self.sections = read_cfg(cfg)
        self.size = tuple(size or (net["height"], net["width"]))
        self.channels = net["channels"]
        if min(*self.size, self.channels) < 1:
            raise net.error("width, height and channels are needed, each at least 1")
        if not self.sections:
            raise net.error("no layer follows")
        self.layers, self.shapes = nn.ModuleList(), []  # shapes: (C, H, W) a layer
        for section in self.sections:
            shape = self.shapes[-1] if self.shapes else (self.channels, *self.size)
            layer, shape = _build(section, shape, self.shapes)
            if min(shape) < 1:
                raise section.error(f"nothing is left of the map: {shape[0]} x {shape[1]} x {shape[2]}")
            self.layers.append(layer)
            self.shapes.append(shape)

    @property
    def heads(self):
        """The layers that end in boxes."""
        return [layer for layer in self.layers if isinstance(layer, layers.Head)]

    def _run(self, x):
        outputs = []
        for layer in self.layers:
            back = isinstance(layer, layers.Route | layers.Shortcut)
            x = layer(x, outputs) if back else layer(x)
            outputs.append(x)
        return outputs

    def forward(self, x):
        outputs = self._run(x)
        found = [y for y, layer in zip(outputs, self.layers) if isinstance(layer, layers.Head)]
        return found or outputs[-1]

    def outputs(self, x):
        """What every layer holds, the heads' activated as in Darknet."""
        return [
            layer.activate(y) if isinstance(layer, layers.Head) else y for y, layer in zip(self._run(x), self.layers)
        ]

    def decode(self, heads):
        """Logits of all heads -> boxes (B, N, 4) cxcywh as fractions of the input, scores (B, N, K)."""
        decoded = [head.decode(x, self.size) for head, x in zip(self.heads, heads)]
        return tuple(torch.cat(parts, 1) for parts in zip(*decoded))

    def detect(self, image, threshold=0.25, nms=0.45):
        """Letterbox, run, decode, NMS: image (3, H, W) in 0..1 -> {"boxes" xyxy in its pixels, "scores", "labels"}."""
        if not self.heads:
            raise UserError("this cfg has no [detection], [region] or [yolo] section: it does not find boxes")
        x = letterbox(image, *self.size)[None]
        (found,) = detect_batch(self, x, threshold, nms, max_detections=None)
        return to_image(found, image.shape[-2:], self.size, cut=False)  # as Darknet itself


# ---------------------------------------------------------------- one section -> one layer


def _build(section, shape, before):
    """The layer of a section, and its output shape (C, H, W); `before` are the shapes of all earlier ones."""
    (c, h, w), o, kind = shape, section.options, section.kind
    for option in ("filters", "size", "stride", "groups", "output"):
        if option in o and o[option] < (0 if kind == "maxpool" and option == "size" else 1):
            raise section.error(f"{option}={o[option]}: at least 1", option)
    if o.get("activation", "linear") not in layers.ACTIVATIONS:
        known = ", ".join(layers.ACTIVATIONS)
        raise section.error(f"activation={o['activation']}: choose {known}", "activation")

    if kind == "convolutional":
        padding = o["size"] // 2 if o["pad"] else o["padding"]
        if c % o["groups"] or o["filters"] % o["groups"]:
            raise section.error(
                f"{c} input channels and {o['filters']} filters do not split into {o['groups']} groups", "groups"
            )
        layer = layers.Convolutional(
            c, o["filters"], o["size"], o["stride"], padding, o["groups"], bool(o["batch_normalize"]), o["activation"]
        )
        return layer, (o["filters"], *_places(h, w, o["size"], o["stride"], 2 * padding))
    if kind == "local":
        if o["size"] not in (1, 3) or o["size"] == 3 and not o["pad"] == 1:
            raise section.error("only size=1, or size=3 with pad=1: Darknet's own sizes disagree for others")
        padding = o["size"] // 2
        places = _places(h, w, o["size"], o["stride"], 2 * padding)
        layer = layers.Local(c, o["filters"], o["size"], o["stride"], padding, places, o["activation"])
        return layer, (o["filters"], *places)
    if kind == "connected":
        layer = layers.Connected(c * h * w, o["output"], bool(o["batch_normalize"]), o["activation"])
        return layer, (o["output"], 1, 1)
    if kind == "activation":
        return layers.Activation(o["activation"]), shape
    if kind == "maxpool":
        size = o["size"] or o["stride"]
        padding = size - 1 if o["padding"] < 0 else o["padding"]
        return layers.MaxPool(size, o["stride"], padding), (c, *_places(h, w, size, o["stride"], padding))
    if kind == "avgpool":
        return layers.AvgPool(), (c, 1, 1)
    if kind == "upsample":
        return layers.Upsample(o["stride"], o["scale"]), (c, h * o["stride"], w * o["stride"])
    if kind == "reorg":
        s = o["stride"]
        if o["reverse"] or c % s**2 or h % s or w % s:
            raise section.error(
                f"cannot reorganise {c} x {h} x {w} by stride {s}" + (" in reverse" if o["reverse"] else ""), "stride"
            )
        return layers.Reorg(s), (c * s * s, h // s, w // s)
    if kind == "route":
        chosen = [_earlier(section, "layers", i, before) for i in o["layers"]]
        shapes = [before[i] for i in chosen]
        if len({s[1:] for s in shapes}) != 1:
            found = ", ".join(f"layer {i}: {s[1]} x {s[2]}" for i, s in zip(chosen, shapes)) or "no layer"
            raise section.error(f"the maps to join differ in size ({found})", "layers")
        return layers.Route(chosen), (sum(s[0] for s in shapes), *shapes[0][1:])
    if kind == "shortcut":
        source = _earlier(section, "from", o["from"], before)
        (_, h2, w2) = before[source]
        if (h2 // h, h // h2) != (w2 // w, w // w2):
            raise section.error(f"a map of {h2} x {w2} cannot be added to one of {h} x {w}", "from")
        return layers.Shortcut(source, o["alpha"], o["beta"], o["activation"]), shape
    if kind == "crop":
        if o["crop_height"] > h or o["crop_width"] > w:
            raise section.error(f"{o['crop_height']} x {o['crop_width']} is more than the {h} x {w} there is")
        layer = layers.Crop(o["crop_height"], o["crop_width"], not o["noadjust"])
        return layer, (c, o["crop_height"], o["crop_width"])
    if kind == "dropout":
        if not 0 <= o["probability"] <= 1:
            raise section.error(f"a probability of {o['probability']} is not between 0 and 1", "probability")
        return Dropout(o["probability"]), shape
    if kind == "softmax":
        if c * h * w % o["groups"]:
            raise section.error(f"{c * h * w} numbers do not split into {o['groups']} groups", "groups")
        return layers.Softmax(o["groups"], o["temperature"]), shape
    if kind == "cost":
        return nn.Identity(), shape
    return _head(section, shape), shape


def _head(section, shape):
    """[detection], [region] or [yolo], once it is sure that the layer before has as many channels."""
    o, (c, h, w) = section.options, shape
    if section.kind == "detection":
        needed = o["side"] ** 2 * ((1 + o["coords"]) * o["num"] + o["classes"])
        if needed != c * h * w or o["coords"] != 4:
            raise section.error(
                f"coords=4 and, for its side, num and classes, {needed} inputs are needed; "
                f"the layer before gives {c * h * w}"
            )
        return layers.Detection(o)
    if len(o["anchors"]) != 2 * o["num"]:
        raise section.error(f"num={o['num']} anchors are {2 * o['num']} numbers, not {len(o['anchors'])}", "anchors")
    if section.kind == "region":
        used = o["num"]
        if o["coords"] != 4 or o["background"]:
            raise section.error("only coords=4 without background is supported")
    else:
        o["mask"] = o["mask"] or list(range(o["num"]))
        used = len(o["mask"])
        if not set(o["mask"]) <= set(range(o["num"])):
            raise section.error(f"mask={o['mask']}: there are anchors 0 to {o['num'] - 1}", "mask")
    needed = used * (5 + o["classes"])
    if c != needed:
        raise section.error(
            f"{used} anchors x (5 + {o['classes']} classes) = {needed} channels are needed, "
            f"but the layer before has {c} (its `filters`)",
            "classes",
        )
    return (layers.Region if section.kind == "region" else layers.Yolo)(o)


def _places(h, w, size, stride, padding):
    return (h + padding - size) // stride + 1, (w + padding - size) // stride + 1


def _earlier(section, option, index, before):
    """The layer number that `index` means: negative ones count back from this layer."""
    number = len(before) + index if index < 0 else index
    if not 0 <= number < len(before):
        raise section.error(f"{option}={index} is no earlier layer (this is layer {len(before)})", option)
    return number


# ---------------------------------------------------------------- weights


class Header(NamedTuple):
    """The start of a weights file. `seen` counts training pictures: 8 bytes from version 0.2 on, else 4."""

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def wide(self):
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    @property
    def transposed(self):
        """Very old files hold the matrices of [connected] the other way round."""
        return self.major > 1000 or self.minor > 1000

    @property
    def dtype(self):
        return np.dtype([("version", "<i4", 3), ("seen", "<u8" if self.wide else "<u4")])


def _tensors(network, upto=None):
    """(section, tensor, is it a matrix of [connected]) in the order of the file."""
    for section, layer in zip(network.sections[:upto], network.layers):
        if isinstance(layer, layers.Convolutional):
            yield section, layer.conv.bias if layer.norm is None else layer.norm.bias, False
            if layer.norm is not None:
                yield from ((section, t, False) for t in _statistics(layer.norm))
            yield section, layer.conv.weight, False
        elif isinstance(layer, layers.Connected):
            yield section, layer.linear.bias if layer.norm is None else layer.norm.bias, False
            yield section, layer.linear.weight, True
            if layer.norm is not None:
                yield from ((section, t, False) for t in _statistics(layer.norm))
        elif isinstance(layer, layers.Local):
            yield from ((section, t, False) for t in (layer.bias, layer.weight))


def _statistics(norm):
    return norm.weight, norm.running_mean, norm.running_var


@torch.no_grad()
def read_weights(network, path, upto=None):
    """Fill `network` from a Darknet weights file; returns its Header.

    `upto` reads only the first so many sections and allows the file to end there, for the files with which
    a training starts (darknet53.conv.74: upto=74). Raises UserError for a file that is too short or long.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) < 16:
        raise UserError(f"{path}: {len(data)} bytes are too few for a Darknet weights file")
    header = Header(*(int(x) for x in data[:12].view("<i4")))
    size = header.dtype.itemsize
    if len(data) < size or (len(data) - size) % 4:
        raise UserError(f"{path}: {len(data)} bytes do not end with a whole number: truncated? Get it again")
    header = header._replace(seen=int(data[:size].view(header.dtype)["seen"][0]))
    values, position = data[size:].view("<f4"), 0
    needed = sum(tensor.numel() for _, tensor, _ in _tensors(network, upto))
    for section, tensor, matrix in _tensors(network, upto):
        part = values[position : position + tensor.numel()]
        if len(part) < tensor.numel():
            raise section.error(
                f"the weights in {path} end here: {len(values):,} of {needed:,} numbers. "
                "Truncated, or the weights of another cfg"
            )
        part = torch.from_numpy(part.astype(np.float32))
        if matrix and header.transposed:
            part = part.view(tensor.shape[::-1]).T
        tensor.copy_(part.reshape(tensor.shape))
        position += tensor.numel()
    if upto is None and position < len(values):
        raise UserError(
            f"{path}: {len(values):,} numbers, but the cfg has places for {needed:,}: "
            f"weights of another cfg (its last section is [{network.sections[-1].kind}], "
            f"line {network.sections[-1].line})"
        )
    return header


@torch.no_grad()
def write_weights(network, path, header=None):
    """Write the weights of `network` for the C program, by default as version 0.2. Atomic."""
    path, header = Path(path), header or Header()
    start = np.zeros(1, header.dtype)
    start["version"], start["seen"] = header[:3], header.seen
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written (there is no folder {path.parent})")
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(start.tobytes())
        for _, tensor, matrix in _tensors(network):
            tensor = tensor.T if matrix and header.transposed else tensor
            file.write(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())

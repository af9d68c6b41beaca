"""Darknet's `.cfg`: a network as a list of sections, read, checked and written.

    [convolutional]
    filters=32
    size=3
    activation=leaky

Source: `parser.c` of github.com/pjreddie/darknet, as of September 2018. Darknet ignores what it does not
know and takes its defaults instead; here a misspelt option is an error that names its line.
"""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

from helpers.course.errors import UserError

# The options of each section that changes what the network computes, with Darknet's defaults. The type of
# the default is the type of the option: int, float, str, and lists of numbers for [] and [0.5].
LAYERS = {
    "convolutional": {
        "filters": 1,
        "size": 1,
        "stride": 1,
        "pad": 0,
        "padding": 0,
        "groups": 1,
        "batch_normalize": 0,
        "activation": "logistic",
    },
    "local": {"filters": 1, "size": 1, "stride": 1, "pad": 0, "activation": "logistic"},
    "connected": {"output": 1, "batch_normalize": 0, "activation": "logistic"},
    "activation": {"activation": "linear"},
    "maxpool": {"stride": 1, "size": 0, "padding": -1},  # 0, -1: from the other options
    "avgpool": {},
    "upsample": {"stride": 2, "scale": 1.0},
    "reorg": {"stride": 1, "reverse": 0},
    "route": {"layers": []},
    "shortcut": {"from": 0, "activation": "linear", "alpha": 1.0, "beta": 1.0},
    "crop": {
        "crop_height": 1,
        "crop_width": 1,
        "flip": 0,
        "angle": 0.0,
        "saturation": 1.0,
        "exposure": 1.0,
        "shift": 0.0,
        "noadjust": 0,
    },
    "dropout": {"probability": 0.5},
    "softmax": {"groups": 1, "temperature": 1.0},
    "cost": {"type": "sse", "scale": 1.0, "ratio": 0.0, "noobject_scale": 1.0, "thresh": 0.0},
    "detection": {
        "coords": 1,
        "classes": 1,
        "rescore": 0,
        "num": 1,
        "side": 7,
        "softmax": 0,
        "sqrt": 0,
        "max": 90,
        "coord_scale": 1.0,
        "forced": 0,
        "object_scale": 1.0,
        "noobject_scale": 1.0,
        "class_scale": 1.0,
        "jitter": 0.2,
        "random": 0,
        "reorg": 0,
    },
    "region": {
        "coords": 4,
        "classes": 20,
        "num": 1,
        "anchors": [0.5],
        "softmax": 0,
        "rescore": 0,
        "thresh": 0.5,
        "bias_match": 0,
        "background": 0,
        "max": 30,
        "jitter": 0.2,
        "random": 0,
        "classfix": 0,
        "absolute": 0,
        "log": 0,
        "sqrt": 0,
        "coord_scale": 1.0,
        "object_scale": 1.0,
        "noobject_scale": 1.0,
        "mask_scale": 1.0,
        "class_scale": 1.0,
    },
    "yolo": {
        "classes": 20,
        "num": 1,
        "mask": [],
        "anchors": [0.5],
        "jitter": 0.2,
        "ignore_thresh": 0.5,
        "truth_thresh": 1.0,
        "random": 0,
        "max": 90,
    },
}
ALIASES = {
    "network": "net",
    "conv": "convolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "soft": "softmax",
}
NOT_HERE = {
    "batchnorm",
    "rnn",
    "gru",
    "lstm",
    "crnn",
    "deconvolutional",
    "deconv",
    "normalization",
    "lrn",
    "iseg",
    "logistic",
    "logxent",
    "l2norm",
}  # [batchnorm] alone crashes the C program on a CPU
NET = {"width": 0, "height": 0, "channels": 3}
# How Darknet would train: allowed in [net] and in every layer, and left alone here.
TRAINING = {
    "batch",
    "subdivisions",
    "learning_rate",
    "momentum",
    "decay",
    "angle",
    "saturation",
    "exposure",
    "hue",
    "aspect",
    "burn_in",
    "max_batches",
    "policy",
    "steps",
    "scales",
    "step",
    "scale",
    "gamma",
    "power",
    "max_crop",
    "min_crop",
    "max_ratio",
    "min_ratio",
    "center",
    "clip",
    "adam",
    "B1",
    "B2",
    "eps",
    "seen",
    "inputs",
    "time_steps",
    "notruth",
    "random",
}
LAYER_TRAINING = {"learning_rate", "stopbackward", "onlyforward", "clip", "smooth"}


@dataclass
class Section:
    """One section: its kind, all its options with their types, and where it stands."""

    kind: str
    line: int
    source: str
    options: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)  # option -> line number

    def __getitem__(self, name):
        return self.options[name]

    def error(self, message, option=None):
        """A UserError that names file, line and section."""
        line = self.lines.get(option, self.line)
        return UserError(f"{self.source}, line {line}, section [{self.kind}]: {message}")


def read_cfg(source):
    """The sections of a cfg: of a file if `source` is a path, of a text if it has several lines.

    The first section is [net]. Raises UserError naming section and line.
    """
    if "\n" in str(source):
        name, text = "cfg", str(source)
    else:
        name = Path(source).name
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{source}: not a readable cfg file ({error})") from None
    sections = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = "".join(raw.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            kind = line.strip("[]")
            kind = ALIASES.get(kind, kind)
            sections.append(Section(kind, number, name))
            _check_kind(sections)
        elif not sections:
            raise UserError(f"{name}, line {number}: '{line}' stands before the first section")
        elif "=" not in line:
            raise sections[-1].error(f"'{line}' at line {number} is neither a section nor option=value")
        else:
            key, value = line.split("=", 1)
            if key not in sections[-1].options:  # Darknet, too, takes the first of two
                sections[-1].options[key], sections[-1].lines[key] = value, number
    if not sections:
        raise UserError(f"{name}: there is no section in it")
    for section in sections:
        _convert(section)
    return sections


def _check_kind(sections):
    section = sections[-1]
    if (section.kind == "net") != (len(sections) == 1):
        raise section.error("a cfg starts with [net], and has only one")
    if section.kind in NOT_HERE:
        raise section.error("Darknet has such layers, but they are not supported here")
    if section.kind not in LAYERS and section.kind != "net":
        raise section.error("unknown section" + _meant(section.kind, LAYERS))


def _convert(section):
    """Give every option its type, and its default where it is missing."""
    net = section.kind == "net"
    defaults, training = (NET, TRAINING) if net else (LAYERS[section.kind], LAYER_TRAINING)
    values = dict(defaults)
    for key, text in section.options.items():
        if key in defaults:
            values[key] = _value(section, key, text, defaults[key])
        elif key in training:
            values[key] = text
        else:
            raise section.error(f"unknown option '{key}'" + _meant(key, [*defaults, *training]), key)
    section.options = values


def _value(section, key, text, default):
    if isinstance(default, str):
        return text
    try:
        if not isinstance(default, list):
            return type(default)(text)
        number = float if default else int
        return [number(part) for part in text.split(",") if part]
    except ValueError:
        wanted = {int: "a whole number", float: "a number", list: "numbers with commas"}[type(default)]
        raise section.error(f"{key}={text}: {wanted} is needed", key) from None


def _meant(word, known):
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def cfg_text(sections):
    """The text of a cfg from (kind, {option: value}) pairs; lists become comma-separated."""
    blocks = []
    for kind, options in sections:
        lines = [f"[{kind}]"]
        for name, value in options.items():
            many = isinstance(value, list | tuple)
            lines.append(f"{name}={','.join(map(str, value)) if many else value}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)

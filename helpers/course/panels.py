"""Panels that answer the reader's own input: what they need of a model, as a script; and a panel in a notebook.

A page that is opened from a disk may not read a file beside it, but it may load a script. So the weights are a script
that calls `dlm.weights(name, facts, arrays, text)`: `facts` is JSON, `arrays` lists (name, kind, shape) of each array,
`text` holds all of them, one after the other, deflated and in base64. `book/_static/panels/weights.js` reads it.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.course.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "book" / "_static" / "panels"

SCRIPTS = {  # of each panel, in the order in which they are loaded, before its weights
    "sentiment": ["weights.js", "sentiment.js", "sentiment-panel.js"],
    "detector": ["weights.js", "pictures.js", "network.js", "detector.js", "detector-panel.js"],
    "augmentation": ["weights.js", "pictures.js", "augmentation.js", "augmentation-panel.js"],
    "autoencoder": ["weights.js", "pictures.js", "autoencoder.js", "autoencoder-panel.js"],
}

# ---------------------------------------------------------------- arrays to text


def float24(values: NDArray[Any]) -> NDArray[np.uint32]:
    """float32 (...) -> uint32 (...): sign, 8 bits of exponent and 15 of mantissa, rounded; 0 in the last byte."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (bits + 128) & np.uint32(0xFFFFFF00)


def array_bytes(values: NDArray[Any] | str) -> tuple[str, list[int], bytes]:
    """(kind, shape, bytes) of an array or a text; all first bytes, then all second ones: they deflate better so.

    float16, uint16 and uint8 are kept as they are, float32 becomes a `float24`, a str UTF-8.
    """
    if isinstance(values, str):
        data = values.encode()
        return "text", [len(data)], data
    kind, shape = values.dtype.name, list(values.shape)
    if kind == "float32":
        kind, values = "float24", float24(values)
    wide = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).reshape(-1, 1).view(np.uint8)
    planes = wide[:, 1:] if kind == "float24" else wide
    return kind, shape, np.ascontiguousarray(planes.T).tobytes()


def script(name: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any] | str]) -> str:
    """The text of `weights-NAME.js`; facts: JSON values, arrays: {name: array or str}."""
    listed, parts = [], []
    for key, values in arrays.items():
        kind, shape, data = array_bytes(values)
        listed.append([key, kind, shape])
        parts.append(data)
    text = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
    head = ", ".join(json.dumps(value, ensure_ascii=False) for value in (name, facts, listed))
    return f'dlm.weights({head}, "{text}");\n'


# ---------------------------------------------------------------- in a notebook


class Panel:
    """A panel as the output of a cell: a page of its own in a frame, with the book's scripts and these numbers."""

    def __init__(self, name: str, title: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any] | str]):
        if not FOLDER.is_dir():
            raise UserError(f"there is no folder {FOLDER}: the panels are in the course's own folder, work inside it")
        self.name, self.title, self.weights = name, title, script(name, facts, arrays)

    def page(self) -> str:
        """The whole page."""
        read = lambda file: (FOLDER / file).read_text(encoding="utf-8")
        scripts = [*map(read, ["panels.js", *SCRIPTS[self.name]]), self.weights, read("frame.js")]
        closed = [text.replace("</script", "<\\/script") for text in scripts]  # in a string; nothing else may hold it
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>\n'
            f"<style>{read('frame.css')}{read('panels.css')}</style></head>\n"
            f'<body><main class="dlm-panel dlm-framed" data-panel="{self.name}"></main>\n'
            + "".join(f"<script>{text}</script>\n" for text in closed)
            + "</body></html>\n"
        )

    def _repr_html_(self) -> str:
        return (
            f'<div><iframe title="{escape(self.title)}" style="width: 100%; height: 900px; border: 0" '
            f'srcdoc="{escape(self.page())}"></iframe></div>'
        )

    def __repr__(self) -> str:
        return f"Panel: {self.title}"

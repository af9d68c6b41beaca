"""Are two outputs of a cell the same? Text letter by letter, decimals within a tolerance, pictures by their ink.

The notebooks' tests (`conftest.py`), `python -m helpers check` and `python -m tools.notebooks --spread` all ask here.
A decimal has a point or an exponent (0.123, 1e-5; not 12, not 2.14.1): whole numbers are counts, ranks, sizes, and
are compared as text. Tolerances stand in `DEFAULTS`; tags of a cell such as `nbval-atol=0.05` override them.
"""

import base64
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# rtol, atol: of decimals; picture: the share of a picture's ink that may differ
DEFAULTS = {"rtol": 1e-3, "atol": 1e-6, "picture": 0.2}
# A decimal: has a point or an exponent, and is no part of a word, a version (2.14.1) or a colour (#4e9000).
NUMBER = re.compile(r"(?<![\w.#])[-+−]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?(?!\w|\.\d)")
PICTURES = ("image/png", "image/jpeg")


def numbers(text: str) -> list[tuple[float, float]]:
    """The decimals in a text, each with the unit of its last printed place: 0.25 -> (0.25, 0.01)."""
    found = []
    for number in NUMBER.findall(text):
        mantissa, _, exponent = number.replace("−", "-").lower().partition("e")
        places = len(mantissa.partition(".")[2]) - int(exponent or 0)
        found.append((float(f"{mantissa}e{exponent or 0}"), float(f"1e{-places}")))
    return found


def skeleton(text: str) -> str:
    """The text without its decimals, and without the blanks that a sign or a digit more moves around."""
    text = NUMBER.sub("\0", text)
    text = re.sub(r"[ \t]*\0[ \t]*", "\0", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def limit(a: float, b: float, unit: float, rtol: float, atol: float) -> float:
    """How far apart two decimals may be: atol, or rtol times the larger one's size, or, where three places or more
    are printed, one `unit` of the last: 0.12349 and 0.1235 print as 0.123 and 0.124.
    """
    return max(rtol * max(abs(a), abs(b)), atol, unit if unit <= 1.001e-3 else 0.0)


class Moved(NamedTuple):
    """A decimal that lies further from the stored one than `limit` allows."""

    place: int  # among the decimals of the text, from 1
    stored: float
    now: float
    unit: float  # of the last place that is stored
    allowed: float


def moved(stored: str, new: str, rtol: float = 0.0, atol: float = 0.0) -> list[Moved]:
    """The decimals of two texts with the same `skeleton` that differ by more than `limit`."""
    found = []
    for place, ((a, unit), (b, _)) in enumerate(zip(numbers(stored), numbers(new), strict=True), 1):
        most = limit(a, b, unit, rtol, atol)
        if a != b and not abs(a - b) <= most * (1 + 1e-9) < math.inf:
            found.append(Moved(place, a, b, unit, most))
    return found


def differences(stored: str, new: str, rtol: float = 0.0, atol: float = 0.0) -> list[str]:
    """Why two outputs differ: a list of lines, empty when they agree within `limit`."""
    if stored == new:
        return []
    if skeleton(stored) != skeleton(new):
        return ["the text around the decimals differs"]
    return [
        f"decimal {place}: stored {a:g}, now {b:g}, differs by {abs(a - b):.3g}, allowed {most:.3g}"
        for place, a, b, _, most in moved(stored, new, rtol, atol)
    ]


def thumbnail(data: str) -> tuple[list[float], tuple[int, int]]:
    """A picture's ink, 32 x 32 values from 0 (white) to 1 (black), and its size, from an output's base64."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")
    return [1 - v / 255 for v in flat.resize((32, 32), Image.Resampling.BOX).tobytes()], image.size


def ink(stored: str, new: str) -> float:
    """The share of the ink of two pictures (base64) that differs; infinite where a side changed by over 10 %."""
    (a, size_a), (b, size_b) = thumbnail(stored), thumbnail(new)
    if any(abs(x - y) > 0.1 * max(x, y) for x, y in zip(size_a, size_b)):
        return math.inf
    return sum(abs(x - y) for x, y in zip(a, b)) / max(sum(a), sum(b), 1e-9)


def picture_differences(stored: str, new: str, most: float) -> list[str]:
    """Why two pictures differ: a side that changed by over 10 %, or more than `most` of the ink moved.

    Tried on plots: recompressed 0.004, training curves with noise of 0.02: 0.12, a scatter plot turned: 0.67,
    bars in another order: 0.36, empty axes: 0.67, nothing drawn: 1.
    """
    share = ink(stored, new)
    if share == math.inf:
        was, now = thumbnail(stored)[1], thumbnail(new)[1]
        return [f"the picture was {was[0]} x {was[1]} pixels and is now {now[0]} x {now[1]}"]
    return [f"the picture differs in {share:.3f} of its ink, allowed {most:g}"] if share > most else []


def tolerance(tags: Iterable[str]) -> dict[str, float]:
    """{"rtol", "atol", "picture"} of a cell with these tags."""
    given = dict(re.findall(r"\bnbval-(rtol|atol|picture)=(\S+)", " ".join(tags)))
    return DEFAULTS | {name: float(value) for name, value in given.items()}


def seen(outputs: Sequence[Any]) -> list[Any]:
    """The outputs that show something: a progress bar that has ended is an empty display."""
    return [
        out
        for out in outputs
        if "data" not in out
        or any("".join(value) if isinstance(value, list) else value for value in out["data"].values())
    ]


def displays(outputs: Sequence[Any]) -> list[list[tuple[str, str]]]:
    """What a cell's outputs show, one after the other, each as [(kind, text)]: a stream, joined; an error; the forms
    of one display, sorted by kind.

    Kinds that a front end chooses itself (widgets) are left out; a picture is its base64.
    """
    found: list[list[tuple[str, str]]] = []
    for out in seen(outputs):
        if out["output_type"] == "stream":
            text = "".join(out["text"])
            if found and found[-1][0][0] == out["name"]:
                text = found.pop()[0][1] + text
            found.append([(out["name"], text)])
        elif out["output_type"] == "error":
            found.append([("error", f"{out['ename']}: {out['evalue']}")])
        else:
            forms = []
            for kind in sorted(out["data"]):
                value = out["data"][kind]
                if "widget" not in kind:
                    joined = "".join(value) if isinstance(value, list) else value
                    forms.append((kind, joined if isinstance(joined, str) else json.dumps(joined, sort_keys=True)))
            found += [forms] if forms else []
    return found


def parts(outputs: Sequence[Any]) -> list[tuple[str, str]]:
    """The same as one list: streams joined, errors, each form of each display."""
    return [part for forms in displays(outputs) for part in forms]

"""What a panel gets of a model, packed and unpacked again, and a panel as the output of a cell; in a browser:
`tests/test_panels.py`."""

import base64
import json
import math
import re
import zlib
from html import unescape

import numpy as np
import pytest

from helpers.course import panels
from helpers.course.errors import UserError
from helpers.course.panels import Panel, script


def test_packed_arrays_come_back():
    rng = np.random.default_rng(0)
    arrays = {
        "half": rng.normal(size=(3, 5)).astype(np.float16),
        "single": rng.normal(size=7).astype(np.float32),
        "word": np.array([0, 1, 255, 256, 65535], np.uint16),
        "text": "não\n영화",
    }
    call = re.fullmatch(r'dlm\.weights\((.*), "([^"]*)"\);\n', script("some", {"bias": 0.5}, arrays))
    name, facts, listed = json.loads(f"[{call[1]}]")
    assert name == "some" and facts == {"bias": 0.5}
    data = zlib.decompress(base64.b64decode(call[2]))
    for key, kind, shape in listed:
        size = {"text": 1, "uint16": 2, "float16": 2, "float24": 3}[kind]
        part, data = data[: size * math.prod(shape)], data[size * math.prod(shape) :]
        if kind == "text":
            assert part.decode() == arrays[key]
            continue
        planes = np.frombuffer(part, np.uint8).reshape(size, -1)
        bits = sum(plane.astype(np.uint32) << 8 * (k + (kind == "float24")) for k, plane in enumerate(planes))
        if kind == "float24":  # 15 bits of mantissa: half a step is 2^-16 of the number
            assert bits.view(np.float32) == pytest.approx(arrays[key], rel=2**-16, abs=0)
        else:
            assert np.array_equal(bits.astype(np.uint16), np.atleast_1d(arrays[key]).view(np.uint16).ravel())
    assert data == b""


def test_a_panel_in_a_notebook_is_one_page_with_all_that_it_needs():
    panel = Panel("augmentation", "A <picture>", {"samples": ["</script><b>"]}, {"one": np.zeros(3, np.uint8)})
    html = panel._repr_html_()
    page = unescape(re.fullmatch(r'<div><iframe title="[^"]*" style="[^"]*" srcdoc="([^"]*)"></iframe></div>', html)[1])
    assert page == panel.page() and "<title>A &lt;picture&gt;</title>" in page
    scripts = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == page.count("<script>") == 2 + 1 + len(panels.SCRIPTS["augmentation"])
    assert 'dlm.weights("augmentation", {"samples": ["<\\/script><b>"]}' in page
    assert " src=" not in page and "<link" not in page
    assert repr(panel) == "Panel: A <picture>"


def test_every_script_is_there():
    for files in panels.SCRIPTS.values():
        assert all((panels.FOLDER / file).is_file() for file in files)


def test_without_the_course_folder_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(panels, "FOLDER", tmp_path / "none")
    with pytest.raises(UserError, match="there is no folder .*none: the panels are in the course's own folder"):
        Panel("augmentation", "A picture", {}, {})

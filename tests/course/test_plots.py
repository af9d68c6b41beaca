"""Figures: described, the same bytes in every process, and told apart by people who see fewer colours."""

import base64
import hashlib
import inspect
import io
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.course import plots
from helpers.course.claims import interval

ALT = "A line that rises from zero to one over ten steps."


@pytest.fixture
def shown(monkeypatch):
    """What reached the page: a list of (picture, data, metadata)."""
    pages = []

    def display(data, metadata=None, raw=False):
        assert raw
        pages.append((Image.open(io.BytesIO(base64.b64decode(data["image/png"]))), data, metadata))

    monkeypatch.setattr("IPython.display.display", display)
    return pages


def line():
    plt = plots.use()
    fig, ax = plt.subplots()
    ax.plot(np.linspace(0, 1, 10))
    return fig


def test_a_figure_needs_a_description():
    for alt in ("", "   ", "Figure", "                        x"):
        with pytest.raises(ValueError, match="alt= must say"):
            plots.show(line(), alt)
    with pytest.raises(TypeError):
        plots.show(line())
    with pytest.raises(TypeError, match="alt"):
        plots.images([np.zeros((4, 4))])


def test_what_would_be_cut_off_is_refused(shown):
    alt = "A line, with its name in a legend below it."

    def drawn(**place):
        fig, ax = plots.use().subplots()
        ax.plot([0, 1], label="a line")
        fig.legend(**place)
        return fig

    with pytest.raises(ValueError, match="lies outside"):
        plots.show(drawn(loc="lower center", bbox_to_anchor=(0.5, -0.2)), alt)
    plots.show(drawn(loc="outside lower center"), alt)
    assert len(shown) == 1


def test_the_description_goes_with_the_picture(shown):
    import matplotlib.pyplot as plt

    fig = line()
    plots.show(fig, ALT)
    picture, data, metadata = shown[0]
    assert metadata["image/png"]["alt"] == ALT and ALT in data["text/plain"]
    assert picture.format == "PNG" and picture.mode == "P"  # a palette: small in the repository
    assert (metadata["image/png"]["width"], metadata["image/png"]["height"]) == picture.size == (576, 272)
    assert not plt.fignum_exists(fig.number)  # else the notebook would show it a second time


def busy():
    """A figure with all that the course draws: curves with bands, points with intervals, text, pictures."""
    rng = np.random.default_rng(0)
    plt = plots.use()
    fig, (left, right) = plt.subplots(1, 2)
    plots.curve(left, range(5), rng.random((4, 5)), "accuracy", 2)
    left.legend()
    plots.bars(right, ["one", "two"], rng.random((2, 2, 3)), names=["lab", "field"])
    plots.show(fig, ALT)
    plots.images(rng.random((5, 3, 8, 8)), list("abcde"), alt="Five pictures of noise.")


ALONE = """
import base64, hashlib
import IPython.display
import numpy as np
from helpers.course import plots
def display(data, metadata, raw):
    print(hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest())
IPython.display.display = display
"""


def test_the_same_bytes_in_every_process(shown):
    busy()
    ours = [hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest() for _, data, _ in shown]
    busy()
    assert shown[2][1] == shown[0][1] and shown[3][1] == shown[1][1]
    script = f"{ALONE}\nALT = {ALT!r}\n{inspect.getsource(busy)}\nbusy()"
    theirs = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
    )
    assert theirs.stdout.split() == ours and len(set(ours)) == 2


# ------------------------------------------------------------------ pictures


def test_pictures_of_every_kind_become_what_matplotlib_draws():
    x = np.random.default_rng(0).random((3, 6, 5))
    assert np.array_equal(plots.image(x), x.transpose(1, 2, 0))
    assert np.array_equal(plots.image(torch.tensor(x, requires_grad=True)), x.transpose(1, 2, 0))
    assert np.array_equal(plots.image(x[:1]), x[0]) and np.array_equal(plots.image(x[0]), x[0])
    assert np.array_equal(plots.image(x * 3 - 1), np.clip(x * 3 - 1, 0, 1).transpose(1, 2, 0))
    byte = (x * 255).astype(np.uint8)
    assert plots.image(byte).dtype == np.uint8 and np.array_equal(plots.image(byte), byte.transpose(1, 2, 0))


def pure(picture, colour, tolerance=4):
    """How many pixels of a figure have about this colour."""
    return int((np.abs(np.asarray(picture.convert("RGB")).astype(int) - colour).max(2) <= tolerance).sum())


def test_a_grid_shows_every_picture_once(shown):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    pictures = [np.full((4, 4, 3), c, np.uint8).transpose(2, 0, 1) for c in colours]
    plots.images(pictures, columns=3, alt="Five squares in five colours.")
    sizes = [pure(shown[0][0], c) for c in colours]
    assert min(sizes) > 1000 and max(sizes) < 1.1 * min(sizes)
    assert shown[0][0].size == (round(3 * 1.1 * 80), round(2 * 1.1 * 80))  # two rows of three


@pytest.mark.parametrize("value", [np.full((4, 4), 51, np.uint8), np.full((4, 4), 0.2), torch.full((1, 4, 4), 0.2)])
def test_grey_is_not_stretched(shown, value):
    """0.2 of the range is drawn as 0.2, also when it is all there is in the picture."""
    plots.images([value], alt="A dark grey square, evenly filled.")
    assert pure(shown[0][0], (51, 51, 51)) > 1000


def test_titles_may_have_colours(shown):
    colours = [plots.GREEN, plots.RED]
    for given in (colours, None):
        plots.images(np.zeros((2, 4, 4)), ["right", "wrong"], colours=given, alt="Two black squares, titled.")
    for colour in colours:  # letters are a pixel wide, and their edges are blended with the white around them
        count = [pure(picture, [int(colour[i : i + 2], 16) for i in (1, 3, 5)], 60) for picture, *_ in shown]
        assert count[0] > 4 and count[1] == 0


# ------------------------------------------------------------------ curves with intervals


def test_curves_and_bars_draw_the_intervals():
    runs = np.random.default_rng(0).random((4, 3))
    plt = plots.use()
    fig, (left, right) = plt.subplots(1, 2)
    plots.curve(left, [1, 2, 3], runs, "x", i=1)
    parts = [interval(c) for c in runs.T]
    assert np.allclose(left.lines[0].get_ydata(), [p.mean for p in parts])
    band = left.collections[0].get_paths()[0].vertices
    for x, p in zip((1, 2, 3), parts):
        ys = band[np.isclose(band[:, 0], x), 1]
        assert (ys.min(), ys.max()) == pytest.approx((p.low, p.high))
    assert left.lines[0].get_marker() == plots.MARKERS[1] and left.lines[0].get_color() == plots.COLOURS[1]
    plots.bars(right, ["a", "b", "c"], [runs.T, runs.T + 1], names=["g", "h"])
    segments = [s for c in right.collections for s in c.get_segments()]
    assert np.allclose(sorted(s[0][0] for s in segments), sorted([p.low + g for p in parts for g in (0, 1)]))
    assert np.allclose(sorted(s[1][0] for s in segments), sorted([p.high + g for p in parts for g in (0, 1)]))
    assert [t.get_text() for t in right.get_yticklabels()] == ["a", "b", "c"]
    plt.close(fig)


# ------------------------------------------------------------------ colours

# Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, severity 1.0; for linear RGB
VISION = {
    "everyone": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def smallest_distance(colours, matrix):
    """The two colours that are nearest to each other for these eyes: CIEDE2000 (about 2 is just visible)."""
    from matplotlib.colors import to_rgb
    from skimage.color import deltaE_ciede2000, rgb2lab

    x = np.array([to_rgb(c) for c in colours])
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) @ np.array(matrix).T
    linear = linear.clip(0, 1)
    lab = rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))
    return min(float(deltaE_ciede2000(a, b)) for a, b in combinations(lab, 2))


@pytest.mark.parametrize("eyes", VISION)
def test_colours_are_told_apart_by_all_eyes(eyes):
    assert len(set(plots.COLOURS)) == len(plots.COLOURS) == len(set(plots.MARKERS)) == 8
    assert smallest_distance(plots.COLOURS, VISION[eyes]) > 10
    use = plots.use()
    assert use.rcParams["axes.prop_cycle"].by_key()["color"] == plots.COLOURS


def test_the_check_of_colours_can_fail():
    """Matplotlib's own colours fail it."""
    tab10 = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"]
    assert smallest_distance(tab10, VISION["everyone"]) > 10
    assert smallest_distance(tab10, VISION["protanopia"]) < 2

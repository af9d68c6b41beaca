"""What is drawn is what was given: boxes, maps and bars read back from the figures."""

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from helpers.transfer import figures  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_the_first_boxes_are_hatched_and_the_backward_pass_ends_there(frozen):
    ax = figures.freezing(["a", "b", "c", "d"], frozen).axes[0]
    boxes = sorted(ax.patches, key=lambda box: box.get_x())
    assert [bool(box.get_hatch()) for box in boxes] == [i < frozen for i in range(4)]
    ends = {text.xy[0] for text in ax.texts if hasattr(text, "arrow_patch") and text.arrow_patch is not None}
    assert round(min(ends)) == frozen and max(ends) > 4
    assert any("frozen" in text.get_text() for text in ax.texts) == bool(frozen)


def test_each_filter_is_a_picture_in_its_own_range():
    weights = np.random.default_rng(0).normal(size=(5, 3, 3, 3))
    axes = figures.filters(weights, columns=4).axes
    shown = [ax.images[0].get_array() for ax in axes if ax.images]
    assert len(shown) == 5 and all(x.shape == (3, 3, 3) and x.min() == 0 and x.max() == 1 for x in shown)
    assert np.allclose(shown[2] * np.ptp(weights[2]) + weights[2].min(), weights[2].transpose(1, 2, 0))


def test_the_maps_that_vary_most_are_shown_by_layer():
    maps = np.zeros((4, 6, 6))
    maps[2, 0, 0], maps[1, 0, 0], maps[3, 0, 0] = 3, 2, 1
    fig = figures.feature_maps(np.zeros((8, 8, 3), np.uint8), {"one": maps, "two": 2 * maps}, columns=3)
    assert [[ax.images[0].get_array().max() for ax in row] for row in np.reshape(fig.axes, (2, 4))[:, 1:]] == [
        [3, 2, 1],
        [6, 4, 2],
    ]


def test_bars_are_shares_of_the_whole():
    rows = [("a", 10, 50, 0), ("none", 0, 0, 0), ("b", 30, 50, 0), ("c", 60, 100, 8)]
    fig, told = figures.shares(rows, 3)
    bars = fig.axes[0].patches
    assert [round(bar.get_width()) for bar in bars] == [10, 25, 0, 30, 25, 0, 60, 50, 100]
    assert [bool(bar.get_hatch()) for bar in bars] == [True] * 6 + [False] * 3
    assert "first 3" in told and "40.0% of the parameters, 50.0%" in told and "0.0% of the saved" in told
    assert "0.0% of the parameters" in figures.shares(rows, 0)[1]

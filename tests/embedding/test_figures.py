"""Drawings of lecture 07: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from helpers.course import plots
from helpers.embedding import figures


def test_the_sketch_names_its_parts_and_shows_both_pictures(ax):
    x, copy = torch.rand(1, 8, 8), torch.rand(1, 8, 8)
    figures.sketch(ax, x, copy, 7)
    words = " ".join(text.get_text() for text in ax.texts)
    for word in ("encoder", "decoder", "7 numbers", "64 pixels", "loss"):
        assert word in words
    np.testing.assert_array_equal([image.get_array() for image in ax.images], [x[0], copy[0]])


def test_rows_have_their_names_and_pictures(monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: seen.append((fig, alt)))
    a, b = torch.rand(3, 1, 5, 5), torch.rand(3, 1, 5, 5)
    figures.rows({"a": a, "b": b}, alt="two rows")
    [(fig, alt)] = seen
    axes = np.reshape(fig.axes, (2, 3))
    assert alt == "two rows" and [row[0].get_ylabel() for row in axes] == ["a", "b"]
    np.testing.assert_array_equal(axes[1, 2].images[0].get_array(), b[2, 0])
    plt.close(fig)


def test_dots_are_all_points_and_a_name_for_each_class(ax):
    y, labels = torch.rand(30, 2), torch.arange(30) % 3
    figures.dots(ax, y, labels, "title")
    np.testing.assert_allclose(ax.collections[0].get_offsets(), y)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"] and ax.get_title() == "title"
    figures.dots(ax, y, labels, names=False)
    assert len(ax.texts) == 3


def test_forces_begin_at_the_chosen_points(ax):
    y, arrows = torch.rand(10, 2), torch.rand(10, 2)
    figures.forces(ax, y, arrows, torch.zeros(10), [2, 5], "pull")
    quiver = ax.collections[1]
    np.testing.assert_allclose(quiver.get_offsets(), y[[2, 5]])
    np.testing.assert_allclose(np.c_[quiver.U, quiver.V], arrows[[2, 5]])


@pytest.mark.parametrize("n, longest", [(1, None), (3, 1), (7, 2), (19, 4)])
def test_hexagons_have_neighbours_at_one(n, longest):
    grid = figures.hexagons(n)
    assert grid.shape == (n, 2)
    if longest:
        assert [pdist(grid).min(), pdist(grid).max()] == pytest.approx([1, longest])

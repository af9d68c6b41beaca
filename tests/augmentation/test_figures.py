"""The drawings of the lecture: what stands in them, and that nothing is cut off."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers.augmentation import figures
from helpers.course.experiments import Record, write


def inside(fig):
    """Whether every text of a drawn figure lies inside the canvas."""
    fig.canvas.draw()
    width, height = fig.canvas.get_width_height()
    texts = [t for t in fig.findobj(plt.Text) if t.get_text().strip() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    return all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes)


def test_the_pipeline_has_its_steps_in_two_rows():
    picture = torch.zeros(3, 64, 64, dtype=torch.uint8)
    fig = figures.pipeline(picture, [picture[:, :52, :52]] * 3, picture[:, 6:58, 6:58], batch=20)
    said = " ".join(t.get_text() for t in fig.findobj(plt.Text))
    for words in ("Training", "Validation", "random crop", "no random change", "epoch 3", "batch of 20"):
        assert words in said
    assert len(fig.axes[0].child_axes) == 6 and inside(fig)
    plt.close(fig)


def test_curves_are_the_means_of_the_seeds():
    values = np.random.default_rng(0).random((5, 4, 2))
    fig = figures.training_curves({"none": values, "flip": 1 - values}, {"none": "A", "flip": "B"}, every=20)
    thick = [line for line in fig.axes[0].lines if line.get_linewidth() == 2]
    assert [line.get_label() for line in thick] == ["training pictures", "validation pictures"]
    assert np.allclose(thick[1].get_ydata(), values[:, :, 1].mean(0)) and thick[1].get_xdata().tolist() == [
        20,
        40,
        60,
        80,
    ]
    assert [ax.get_title() for ax in fig.axes] == ["A", "B"]
    plt.close(fig)


def test_budgets_draw_the_record(tmp_path):
    arms, steps = ("none", "flip"), (10, 100)
    runs = [
        {"arm": f"{arm}, {n} steps", "seed": seed, "test": 0.5 + 0.1 * a + 0.001 * n + 0.01 * seed, "seconds": 1.0}
        for a, arm in enumerate(arms)
        for n in steps
        for seed in range(3)
    ]
    write("budgets", "t", "augmentation", "c", runs, folder=tmp_path, seconds=1)
    fig = figures.budgets(Record("budgets", tmp_path), arms, steps)
    left, right = fig.axes
    assert left.lines[1].get_ydata() == pytest.approx([0.62, 0.71]) and left.get_xscale() == "log"
    assert right.lines[0].get_ydata() == pytest.approx([0.1, 0.1])
    plt.close(fig)

"""The drawings of lecture 08a: what they show, and the number that one of them returns."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers.course import plots
from helpers.yolo import shifts, sketches


@pytest.fixture
def plt():
    plt = plots.use()
    yield plt
    plt.close("all")


def test_a_convolution_returns_what_torch_computes(plt):
    rng = np.random.default_rng(0)
    image, kernel = rng.random((9, 7)), rng.standard_normal((3, 3))
    fig, axes = plt.subplots(1, 4)
    value = sketches.convolution(axes, image, kernel, (4, 2))
    out = F.conv2d(torch.from_numpy(image)[None, None], torch.from_numpy(kernel)[None, None])[0, 0]
    assert value == pytest.approx(out[3, 1].item())
    assert np.allclose(axes[3].images[0].get_array(), out)
    assert len(axes[1].texts) == len(axes[2].texts) == 9 and all(ax.get_title() for ax in axes)


def test_heads_names_three(plt):
    fig, ax = plt.subplots()
    sketches.heads(ax)
    text = " ".join(t.get_text() for t in ax.texts)
    assert all(word in text for word in ("class head", "box head", "pixel head"))


def test_kernels_share_one_scale(plt):
    fig, axes = plt.subplots(2, 3)
    sketches.kernels(fig, axes, {"before": torch.rand(3, 5, 5), "after": -2 * torch.ones(3, 5, 5)})
    assert {ax.images[0].get_clim() for ax in axes.flat} == {(-2.0, 2.0)}
    assert [line[0].get_ylabel() for line in axes] == ["before", "after"]


def test_every_change_is_drawn_and_named(plt):
    fig, axes = plt.subplots(4, 5)
    sketches.changed(axes, torch.rand(1, 1, 28, 28), shifts.CHANGES)
    shown = [ax.get_title() for ax in axes.flat if ax.images]
    assert shown == [name for measures in shifts.CHANGES.values() for name in measures]


def test_stages(plt):
    fig, axes = plt.subplots(1, 4)
    proposals = torch.tensor([[8.0, 8, 32, 40], [50, 50, 80, 90]])
    sketches.one_stage(axes[0], torch.rand(3, 96, 96), (2, 3))
    sketches.two_stages(axes[1:], torch.rand(3, 96, 96), proposals, torch.rand(12, 12), 1, torch.rand(5, 5))
    assert all(ax.get_title() and ax.get_xlabel() for ax in axes)
    xs = [line.get_xdata()[0] for line in axes[2].lines]
    assert min(xs) == pytest.approx(50 / 8 - 0.5)  # pixel edges on the map

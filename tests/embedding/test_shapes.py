"""The gallery of known shapes: they are what they say, and their scores are right where the answer is known."""

import numpy as np
import pytest
import torch

from helpers.course.errors import UserError
from helpers.embedding import shapes


def test_the_shapes_are_what_they_say():
    found = shapes.gallery(300, 1)
    assert list(found) == ["line", "rings", "cloud", "clusters"]
    for name, (x, labels, low) in found.items():
        assert x.shape == (300, 10) and labels.shape == (300,) and 1 < low < 100, name
    assert found["line"].x[:, 0].diff().mean() * 299 == pytest.approx(100, abs=2)
    radius = found["rings"].x[:, :2].norm(dim=1)
    assert [radius[:150].mean().item(), radius[150:].mean().item()] == pytest.approx([1, 3], abs=0.01)
    assert found["cloud"].x.std().item() == pytest.approx(1, abs=0.05)
    again, other = shapes.gallery(300, 1), shapes.gallery(300, 2)
    for name in found:
        assert torch.equal(found[name].x, again[name].x) and not torch.equal(found[name].x, other[name].x)


def test_the_scores_of_the_data_are_the_truth():
    found = shapes.gallery(600, 0)
    truth = {key: score(found[name].x, found[name].labels) for key, (name, score) in shapes.SCORES.items()}
    assert list(truth.values()) == pytest.approx([1, 1, 1, 10, 10], rel=0.15)


def test_straightness_of_a_half_circle_and_a_closed_one():
    t = torch.linspace(0, np.pi, 1000)
    half = torch.stack([t.cos(), t.sin()], 1)
    nine = np.pi / 20  # half of a tenth of the half circle: the first and the last mean are so far from its ends
    assert shapes.straightness(half) == pytest.approx(np.cos(nine) / (9 * np.sin(nine)), rel=1e-3)  # chord over chords
    closed = torch.stack([(2 * t).cos(), (2 * t).sin()], 1)
    assert shapes.straightness(closed) == pytest.approx(1 / 9, rel=0.02)  # one chord; the last point is the first


def test_inside_counts_the_points_of_the_first_half():
    turn = torch.linspace(0, 2 * np.pi, 41)[:40]
    ring = torch.stack([turn.cos(), turn.sin()], 1)
    assert shapes.inside(torch.cat([0.5 * ring, ring])) == 1
    assert shapes.inside(torch.cat([ring, 0.5 * ring])) == 0
    assert shapes.inside(torch.cat([0.5 * ring + torch.tensor([1.0, 0]), ring])) == pytest.approx(0.5, abs=0.15)


def test_evenness_of_random_points_of_a_grid_and_of_pairs():
    rng = np.random.default_rng(0)
    assert shapes.evenness(rng.random((4000, 2))) == pytest.approx(1, abs=0.04)
    grid = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2)
    assert shapes.evenness(grid) == pytest.approx(2, abs=0.1)  # neighbours at 1, area 1 a point
    middle = rng.random((2000, 2))
    assert shapes.evenness(np.concatenate([middle, middle + 1e-4])) < 0.1


def test_ratios_of_two_and_three_groups():
    x = torch.tensor([[-1.0, 0], [1, 0], [8, 0], [12, 0], [0, 30], [0, 34]])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert shapes.size_ratio(x, labels) == pytest.approx(2)
    assert shapes.distance_ratio(x, labels) == pytest.approx(np.hypot(10, 32) / 10)


def test_too_few_points_are_one_clear_line():
    with pytest.raises(UserError, match="20 points or more; got 12"):
        shapes.gallery(12, 0)

"""Classes against features: the worlds' best accuracy, and that nobody beats it."""

import numpy as np
import pytest

from helpers.yolo import tasks


@pytest.mark.parametrize("world", tasks.WORLDS)
def test_best_possible_is_what_knowing_f_gives(world):
    """Bayes' rule, applied to a large sample, has the accuracy that the integral says (within four errors)."""
    x, y = tasks.sample(world, 200_000, 3)
    accuracy = ((tasks.WORLDS[world](x) > 0) == y).mean()
    best = tasks.best_possible(world)
    assert accuracy == pytest.approx(best, abs=4 * (best * (1 - best) / 200_000) ** 0.5)
    assert 0.8 < best < 1 and 0.25 < y.mean() < 0.75


@pytest.mark.parametrize("world", tasks.WORLDS)
def test_probability_is_the_share_of_class_one(world):
    x = np.repeat(np.random.default_rng(0).uniform(-3, 3, (1, 2)), 3, 0)
    p = tasks.probability(world, x)
    assert p.shape == (3,) and ((p > 0.5) == (tasks.WORLDS[world](x) > 0)).all()
    a, b = tasks.sample(world, 50, 0), tasks.sample(world, 50, 0)
    assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    assert not np.array_equal(a[0], tasks.sample(world, 50, 1)[0])


def test_nobody_beats_bayes_and_the_shape_decides():
    scores = tasks.compare(n=300, seeds=3)
    for (world, name), values in scores.items():
        assert np.mean(values) <= tasks.best_possible(world) + 0.01, (world, name)
    mean = {key: np.mean(values) for key, values in scores.items()}
    assert mean["line", "logistic regression"] > tasks.best_possible("line") - 0.01
    assert mean["checkerboard", "logistic regression"] == pytest.approx(0.5, abs=0.06)  # no line helps
    assert mean["checkerboard", "quadratic discriminant"] > mean["checkerboard", "decision tree"]
    assert mean["steps", "decision tree"] > mean["steps", "SVM, RBF kernel"]
    assert mean["ring", "SVM, RBF kernel"] > mean["ring", "logistic regression"] + 0.2


def test_boundaries_draw_every_classifier():
    from helpers.course import plots

    plt = plots.use()
    fig, axes = plt.subplots(1, len(tasks.classifiers()))
    tasks.boundaries(axes, "ring")
    assert all(ax.collections for ax in axes)
    plt.close(fig)

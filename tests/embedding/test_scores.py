"""PCA and the scores against scikit-learn and SciPy."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.course.errors import UserError
from helpers.embedding import scores as embedding


@pytest.fixture(scope="module")
def digits():
    x, labels = load_digits(return_X_y=True)
    return x[:600], labels[:600]


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (50, 50)])
def test_pca_is_scikit_learns(shape):
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(3, 0.1, shape[1])) + 5
    ours, theirs = embedding.pca(x, 6), PCA(6, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(ours.variances[:6], theirs.explained_variance_ * (shape[0] - 1) / shape[0])
    np.testing.assert_allclose(ours.components.abs(), np.abs(theirs.components_), atol=1e-9)
    back = theirs.inverse_transform(theirs.transform(x))
    np.testing.assert_allclose(ours.decode(ours.codes), back, atol=1e-9)
    torch.testing.assert_close(ours.encode(torch.tensor(x)), ours.codes)
    assert (ours.components.gather(1, ours.components.abs().argmax(1, keepdim=True)) > 0).all()


def test_pca_error_is_the_sum_of_the_discarded_variances(digits):
    x = torch.tensor(digits[0])
    p = embedding.pca(x, 7)
    error = (p.decode(p.codes) - x).square().sum(1).mean()
    torch.testing.assert_close(error, p.variances[7:].sum(), rtol=1e-12, atol=0)


def test_pca_takes_constant_columns_and_images(digits):
    x = torch.tensor(digits[0]).float().view(-1, 1, 8, 8)
    p = embedding.pca(torch.cat([x, torch.ones_like(x)], 1), 3)
    assert p.codes.shape == (600, 3) and torch.isfinite(p.codes).all()
    torch.testing.assert_close(p.codes.abs(), embedding.pca(x, 3).codes.abs())


def test_squared_error_is_a_sum_over_pixels():
    a, b = torch.rand(5, 1, 4, 4), torch.rand(5, 1, 4, 4)
    wanted = [sum((p - q) ** 2 for p, q in zip(x.flatten().tolist(), y.flatten().tolist())) for x, y in zip(a, b)]
    np.testing.assert_allclose(embedding.squared_error(a, b), wanted, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_knn_accuracy_is_scikit_learns(digits, k):
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    x, labels = digits
    x = x[:, ::4] + np.random.default_rng(0).normal(0, 0.1, (600, 16))  # hard, and without tied distances
    model = KNeighborsClassifier(k, algorithm="brute")
    held_out = model.fit(x[:400], labels[:400]).score(x[400:], labels[400:])
    assert held_out < 1
    ours = embedding.knn_accuracy(x[:400], labels[:400], x[400:], labels[400:], k=k)
    assert ours == pytest.approx(held_out)
    left_out = cross_val_score(model, x[:200], labels[:200], cv=LeaveOneOut()).mean()
    assert embedding.knn_accuracy(x[:200], labels[:200], k=k) == pytest.approx(left_out)


def test_trustworthiness_is_one_for_the_same_points_and_half_for_noise(digits):
    x = digits[0] + np.random.default_rng(0).normal(0, 0.1, (600, 64))  # no tied distances
    assert embedding.trustworthiness(x, 3 * x[:, ::-1]) == 1
    noise = np.random.default_rng(0).normal(size=(600, 2))
    assert embedding.trustworthiness(x, noise) == pytest.approx(0.5, abs=0.03)


def test_centroid_correlation(digits):
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    x, labels = digits
    y = x[:, 10:40:7]
    means = [np.array([z[labels == c].mean(0) for c in range(10)]) for z in (x, y)]
    expected = spearmanr(pdist(means[0]), pdist(means[1])).statistic
    assert embedding.centroid_correlation(x, y, labels) == pytest.approx(expected)
    assert embedding.centroid_correlation(x, 2 * x + 1, labels) == pytest.approx(1)
    # on a line: the distances 1, 3, 2 of 0, 1, 3 have ranks 1 3 2, those of 0, 3, 1 have 3 1 2
    line, swapped = torch.tensor([[0.0], [1], [3]]), torch.tensor([[0.0], [3], [1]])
    assert embedding.centroid_correlation(line, swapped, [0, 1, 2]) == pytest.approx(-1)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: embedding.points([[1.0, float("nan")]]), "point 0 has nan as feature 1"),
        (lambda: embedding.points([[1.0], [float("inf")]]), "point 1 has inf as feature 0"),
        (lambda: embedding.points([1.0, 2.0]), r"rows \(N, D\)"),
        (lambda: embedding.points(torch.empty(0, 3)), "empty set"),
        (lambda: embedding.points(torch.empty(3, 0)), "empty set"),
        (lambda: embedding.pca(torch.rand(5, 3), 4), "1 to 3 components, not 4"),
        (lambda: embedding.pca(torch.rand(5, 3), 0), "not 0"),
        (
            lambda: embedding.knn_accuracy(torch.rand(5, 3), [0, 1, 0, 1, 0], k=5),
            "k must be from 1 to 4, as k-NN has 5 points; got 5",
        ),
        (lambda: embedding.knn_accuracy(torch.rand(5, 3), [0, 1], k=2), "one label a point; got 2"),
        (lambda: embedding.trustworthiness(torch.rand(9, 3), torch.rand(8, 2), 2), "got 9, 8 and k = 2"),
        (lambda: embedding.centroid_correlation([[0.0], [1]], [[0.0], [1]], [0, 1]), "got 2 classes"),
    ],
)
def test_errors_are_one_clear_line(call, words):
    with pytest.raises(UserError, match=words) as e:
        call()
    assert "\n" not in str(e.value)

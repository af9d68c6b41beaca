"""What the recorded experiments of lecture 07 are made of: outliers, clusters whose truth is known, scores."""

import numpy as np
import pytest
import torch

from helpers.data.sets import photographs
from helpers.embedding import experiments


def test_patches_are_cut_from_the_photographs():
    first = experiments.patches(12, 3)
    assert first.shape == (12, 1, 28, 28) and 0 <= first.min() and first.max() <= 1
    assert torch.equal(experiments.patches(12, 3), first) and not torch.equal(experiments.patches(12, 4), first)
    photo = next(x for x in photographs().values() if min(x.shape[:2]) >= 64).mean(-1) / 255  # the first patch's
    halves = [photo[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    found = False
    for top in (0, 1):  # a patch may begin at an odd row or column
        for left in (0, 1):
            h, w = (min(x.shape[d] for x in halves) - 1 for d in (0, 1))
            small = (
                sum(photo[top + i :: 2, left + j :: 2][:h, :w] for i in (0, 1) for j in (0, 1)) / 4
            )  # two pixels in one
            corner = np.argwhere(np.abs(small[: h - 27, : w - 27] - first[0, 0, 0, 0].item()) < 1e-5)
            found |= any(np.allclose(small[r : r + 28, c : c + 28], first[0, 0], atol=1e-5) for r, c in corner)
    assert found


def test_outliers_are_the_test_images_turned_and_as_many_patches():
    test = torch.rand(6, 1, 28, 28)
    found = experiments.outliers(test, 0)
    assert list(found) == ["turned", "patches"] and all(len(z) == 6 for z in found.values())
    np.testing.assert_array_equal(found["turned"][2, 0], np.rot90(test[2, 0].numpy()))


def test_roc_auc_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    normal, other = rng.normal(size=40), rng.normal(0.7, 1, 30)
    wanted = np.mean([b > a for a in normal for b in other])
    assert experiments.roc_auc(normal, other) == pytest.approx(wanted)
    assert experiments.roc_auc([1.0, 2.0], [3.0]) == 1 and experiments.roc_auc([1.0], [1.0]) == 0.5


def test_clusters_are_as_wide_and_as_far_apart_as_asked():
    x, labels = experiments.clusters([(0, 0), (30, 40)], 2000, seed=1, spread=(1.0, 3.0), dims=5)
    assert x.shape == (4000, 5) and labels.tolist() == [0] * 2000 + [1] * 2000
    means = [x[labels == c].mean(0) for c in (0, 1)]
    assert (means[1] - means[0]).norm().item() == pytest.approx(50, rel=0.01)
    for c, spread in ((0, 1.0), (1, 3.0)):
        np.testing.assert_allclose(x[labels == c].std(0), [spread] * 5, rtol=0.05)


def test_worlds_have_points_and_labels_for_the_start_of_t_sne():
    for name, (x, labels) in experiments.worlds(90, 0).items():
        assert len(x) == len(labels) == 90 and len(labels.unique()) == (9 if "grid" in name else 10), name
    grid = experiments.worlds(900, 0)["separated grid"]
    centres = torch.stack([grid[0][grid[1] == c].mean(0)[:2] for c in range(9)])
    np.testing.assert_allclose(centres, [(20 * i, 20 * j) for i in range(3) for j in range(3)], atol=0.5)


def test_scores_of_the_points_themselves_are_perfect():
    x, labels = experiments.clusters([(0, 0), (50, 0), (0, 90)], 30, seed=0, dims=2)
    assert experiments.scores(x, x, labels) == pytest.approx({"knn": 1, "trust": 1, "global": 1})

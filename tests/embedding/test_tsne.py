"""t-SNE against scikit-learn, openTSNE, autograd and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.datasets import load_digits
from sklearn.manifold import _t_sne

from helpers.course.errors import UserError
from helpers.embedding import tsne as t
from helpers.embedding.scores import centroid_correlation, knn_accuracy


@pytest.fixture(scope="module")
def digits():
    x, labels = load_digits(return_X_y=True)
    return torch.tensor(x), torch.tensor(labels)


def random_pair(n=60, k=2, seed=0):
    """A random P and a picture wide enough for p and q to differ by orders of magnitude; float64."""
    g = torch.Generator().manual_seed(seed)
    p = torch.rand(n, n, generator=g, dtype=torch.float64).pow(8).fill_diagonal_(0)
    p = (p + p.T) / (2 * p.sum())
    return p, 3 * torch.randn(n, k, generator=g, dtype=torch.float64)


def plain_kl(p, y):
    """The KL divergence straight from its definition, differentiable."""
    off = ~torch.eye(len(y), dtype=torch.bool)
    w = 1 / (1 + (y[:, None] - y[None]).square().sum(2))
    q = w / w[off].sum()
    return torch.special.xlogy(p[off], p[off]).sum() - (p[off] * q[off].log()).sum()


# ---------------------------------------------------------------- P


@pytest.mark.parametrize("perplexity", [2, 30, 200])
def test_every_row_has_the_asked_entropy(digits, perplexity):
    x = digits[0][:500]
    d = torch.tensor(squareform(pdist(x.numpy(), "sqeuclidean")))
    p = t.conditional_probabilities(d, torch.arange(500), perplexity)
    torch.testing.assert_close(p.sum(1), torch.ones(500, dtype=p.dtype), rtol=1e-12, atol=0)
    assert (p.diagonal() == 0).all()
    bits = -torch.xlogy(p, p).sum(1) / math.log(2)
    assert (bits - math.log2(perplexity)).abs().max() < 1e-5


def test_entropy_also_for_an_outlier_and_for_tiny_and_huge_units(digits):
    x = digits[0][:200].clone()
    x[7] += 1e4  # the distances of point 7 are equal to 3 digits: exp(-beta d) would underflow for all
    for unit in (1e-9, 1.0, 1e9):
        d = torch.tensor(squareform(pdist((unit * x).numpy(), "sqeuclidean")))
        p = t.conditional_probabilities(d, torch.arange(200), 10)
        bits = -torch.xlogy(p, p).sum(1) / math.log(2)
        assert (bits - math.log2(10)).abs().max() < 1e-5


def test_p_is_scikit_learns(digits):
    x = digits[0][:700]
    theirs = squareform(_t_sne._joint_probabilities(squareform(pdist(x.numpy(), "sqeuclidean")), 30, 0))
    ours = t.joint_probabilities(x, 30.0, dtype=torch.float64).numpy()
    # scikit-learn's search stops at an entropy error of 1e-5 and works from float32 distances
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-13)
    assert (ours == ours.T).all() and ours.sum() == pytest.approx(1, abs=1e-12)


def test_p_is_open_tsnes(digits):
    from openTSNE.affinity import PerplexityBasedNN

    x = digits[0][:400]
    theirs = PerplexityBasedNN(x.numpy(), perplexity=30, method="exact", k_neighbors=399).P.toarray()
    ours = t.joint_probabilities(x, 30, dtype=torch.float64).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-13)


def test_blocks_do_not_change_p_or_its_symmetry(digits, monkeypatch):
    x = digits[0][:300]
    whole = t.joint_probabilities(x, dtype=torch.float64)
    monkeypatch.setattr(t, "_rows", lambda n, device: 77)
    blocks = t.joint_probabilities(x, dtype=torch.float64)
    torch.testing.assert_close(blocks, whole, rtol=1e-7, atol=1e-18)
    assert (blocks == blocks.T).all()


# ---------------------------------------------------------------- KL and gradient


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("block", [None, 13])
def test_gradient_is_autograds_and_finite_differences(k, block, monkeypatch):
    if block:
        monkeypatch.setattr(t, "_rows", lambda n, device: block)
    p, y = random_pair(k=k)
    y.requires_grad_()
    (auto,) = torch.autograd.grad(plain_kl(p, y), y)
    y = y.detach()
    ours = t.gradient(p, y)
    assert (ours - auto).abs().max() < 1e-10 * auto.abs().max()
    torch.testing.assert_close(t.kl_divergence(p, y), plain_kl(p, y), rtol=1e-12, atol=0)

    h, numeric = 1e-5, torch.zeros_like(y)
    for i in range(5):
        for j in range(k):
            e = torch.zeros_like(y)
            e[i, j] = h
            numeric[i, j] = (t.kl_divergence(p, y + e) - t.kl_divergence(p, y - e)) / (2 * h)
    assert (ours[:5] - numeric[:5]).abs().max() < 1e-6 * auto.abs().max()


def test_gradient_is_scikit_learns_and_four_times_open_tsnes():
    from openTSNE.tsne import kl_divergence_bh
    from scipy.sparse import csr_matrix

    p, y = random_pair()
    n = len(p)
    kl, theirs = _t_sne._kl_divergence(y.numpy().ravel(), squareform(p.numpy(), checks=False), 1, n, 2)
    ours = t.gradient(p, y).numpy()
    np.testing.assert_allclose(ours, theirs.reshape(n, 2), atol=1e-10 * abs(theirs).max())
    assert t.kl_divergence(p, y).item() == pytest.approx(kl, rel=1e-10)

    _, quarter = kl_divergence_bh(y.numpy(), csr_matrix(p.numpy()), dof=1, bh_params={"theta": 0})
    np.testing.assert_allclose(ours, 4 * quarter, atol=1e-8 * abs(theirs).max())


def test_exaggeration_multiplies_the_attraction_only():
    p, y = random_pair()
    y.requires_grad_()
    w = 1 / (1 + (y[:, None] - y[None]).square().sum(2))
    log_w = w.log().fill_diagonal_(0)
    z = w.sum() - len(y)
    (auto,) = torch.autograd.grad(-(12 * p * log_w).sum() + z.log(), y)  # the KL with 12 P in the place of P
    torch.testing.assert_close(t.gradient(p, y.detach(), 12.0), auto, rtol=1e-9, atol=1e-12)


def test_float32_gradient_is_the_float64_one_on_a_real_map(digits):
    x = digits[0][:500]
    y, _ = t.tsne(x, n_iter=300)
    exact = t.gradient(t.joint_probabilities(x, dtype=torch.float64), y.double())
    rough = t.gradient(t.joint_probabilities(x), y)
    assert (rough - exact).norm() < 1e-3 * exact.norm()


def test_gradient_runs_where_its_inputs_are():
    p, y = torch.empty(50, 50, device="meta"), torch.empty(50, 2, device="meta")
    assert t.gradient(p, y).device.type == "meta" and t.gradient(p, y).shape == (50, 2)
    assert t.kl_divergence(p, y).device.type == "meta"
    assert t.initial_map(torch.rand(9, 4), "random").device.type == "cpu"


# ---------------------------------------------------------------- the descent


def test_twenty_steps_are_open_tsnes():
    from openTSNE.tsne import gradient_descent, kl_divergence_bh
    from scipy.sparse import csr_matrix

    p, y = random_pair()
    # openTSNE adds its smallest gain (.01) to a falling one; scikit-learn and we keep gains above .01 instead
    theirs, optimizer = y.numpy().copy(), gradient_descent()
    for exaggeration, momentum in ((12, 0.5), (1, 0.8)):
        _, theirs = optimizer(
            theirs,
            csr_matrix(p.numpy()),
            10,
            kl_divergence_bh,
            learning_rate=60.0,
            momentum=momentum,
            exaggeration=exaggeration,
            theta=0,
            min_gain=0,
        )
    ours, _ = t.optimise(p, y, 20, exaggeration_iter=10, learning_rate=60.0)
    assert (ours - (y - y.mean(0))).norm(dim=1).max() > 5
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_as_good_as_open_tsne_from_the_same_p_and_start_on_all_digits(digits):
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN

    x, labels = digits
    affinities = PerplexityBasedNN(x.numpy(), perplexity=30, method="exact")
    p = torch.tensor(affinities.P.toarray())
    y0 = t.initial_map(x)
    theirs = TSNEEmbedding(y0.numpy(), affinities, negative_gradient_method="bh")
    theirs = theirs.optimize(250, exaggeration=12, momentum=0.5).optimize(750, momentum=0.8)
    theirs = torch.tensor(np.asarray(theirs))
    ours, history = t.optimise(p.float(), y0, 1000, record_every=1000)

    condensed = squareform(p.numpy(), checks=False)
    kl = lambda y: _t_sne._kl_divergence(np.asarray(y, "f8").ravel(), condensed, 1, len(y), 2)[0]  # for both
    assert kl(ours) <= 1.02 * kl(theirs)
    assert history.kl[-1] == pytest.approx(kl(ours), rel=1e-4)
    assert knn_accuracy(ours, labels) >= knn_accuracy(theirs, labels) - 0.01
    assert knn_accuracy(ours, labels) > 0.97  # pixels: 0.976; PCA in two dimensions: 0.65


def test_a_pca_start_keeps_the_global_structure_which_random_ones_lose():
    # nine clusters on a 3 x 3 grid, too far apart to be neighbours: here the truth is known
    labels = torch.arange(9).repeat_interleave(30)
    x = torch.randn(270, 20, generator=torch.Generator().manual_seed(0))
    x[:, :2] += 10 * torch.stack([labels // 3, labels % 3], 1)
    p = t.joint_probabilities(x, 10)
    score = lambda y: centroid_correlation(x, t.optimise(p, y, 500)[0], labels)
    assert score(t.initial_map(x)) > 0.9
    assert max(score(t.initial_map(x, "random", seed)) for seed in range(3)) < 0.7


def test_few_points_that_shrink_do_not_vanish(digits):
    # under early exaggeration 150 digits at perplexity 30 shrink by ten to the seven every fifty steps. Some libraries
    # switch numbers below 1e-38 off for the whole process; a map that has become zero can grow no more
    x = digits[0][:150]
    kl = []
    for switched_off in (False, True):
        torch.set_flush_denormal(switched_off)
        try:
            kl.append(t.tsne(x, n_iter=800, exaggeration_iter=500, record_every=100)[1].kl)
        finally:
            torch.set_flush_denormal(False)
    assert kl[0] == kl[1] and kl[0][-1] < kl[0][0] / 3


def test_history_and_frames(digits):
    x = digits[0][:200]
    y, history = t.tsne(x, n_iter=120, record_every=50, exaggeration_iter=60)
    assert history.iteration == [0, 50, 100, 120]
    assert history.frames.shape == (4, 200, 2)
    torch.testing.assert_close(history.frames[-1], y)
    torch.testing.assert_close(history.frames[0], t.initial_map(x).float())
    p = t.joint_probabilities(x, dtype=torch.float64)
    for kl, frame in zip(history.kl, history.frames):
        assert kl == pytest.approx(plain_kl(p, frame.double()).item(), rel=1e-4)
    assert history.kl[-1] < history.kl[0]
    torch.testing.assert_close(y.mean(0), torch.zeros(2), rtol=0, atol=1e-4)


def test_the_seed_decides_and_nothing_else(digits):
    x = digits[0][:150]
    torch.manual_seed(1)
    a, _ = t.tsne(x, 10, 60, init="random", seed=3)
    torch.manual_seed(2)
    b, _ = t.tsne(x, 10, 60, init="random", seed=3)
    c, _ = t.tsne(x, 10, 60, init="random", seed=4)
    assert torch.equal(a, b) and not torch.allclose(a, c)
    d, e = (t.tsne(x, 10, 60, seed=s)[0] for s in (3, 4))
    assert not torch.equal(d, e)


def test_images_arrays_and_own_maps_are_taken(digits):
    x = digits[0][:60].float()
    a, _ = t.tsne(x, 8, 30)
    b, _ = t.tsne(x.view(60, 1, 8, 8).numpy(), 8, 30)
    torch.testing.assert_close(a, b)
    y, _ = t.tsne(x, 8, 30, init=torch.randn(60, 3))
    assert y.shape == (60, 3)
    assert torch.get_float32_matmul_precision() == "highest"


def test_duplicates_constant_columns_and_equal_points_work(digits):
    x = digits[0][:60].clone()
    x[1:40] = x[0]  # 40 times the same point, at perplexity 8: the asked entropy cannot be reached
    x[:, 3] = 5  # a constant column
    p = t.joint_probabilities(x, 8)
    assert torch.isfinite(p).all() and p.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(p[0, 1:40], p[0, 1].expand(39))
    y, history = t.tsne(x, 8, 600)
    assert torch.isfinite(y).all() and math.isfinite(history.kl[-1])
    same, history = t.tsne(torch.ones(30, 5), 5, 300)  # all equal: P is uniform, and so is Q where all lie together
    assert torch.isfinite(same).all() and history.kl[-1] == pytest.approx(0, abs=1e-6)
    line, _ = t.tsne(torch.arange(20.0)[:, None], 3, 300)
    assert torch.isfinite(line).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: t.tsne(torch.rand(20, 3), 30), "perplexity 30 does not fit 20 points.*at most 6.33"),
        (lambda: t.tsne(torch.rand(20, 3), 19), "perplexity 19"),
        (lambda: t.tsne(torch.rand(20, 3), 1), "perplexity 1 "),
        (lambda: t.tsne(torch.rand(20, 3), float("nan")), "perplexity nan"),
        (lambda: t.tsne(torch.rand(1, 3)), "not a set of 1"),
        (lambda: t.tsne(torch.empty(0, 3)), "not an empty set"),
        (lambda: t.tsne([]), "rows"),
        (lambda: t.tsne(torch.tensor([[1.0, 2], [3, 4], [5, float("nan")]])), "point 2 has nan as feature 1"),
        (lambda: t.tsne(torch.tensor([[1.0, 2], [float("inf"), 4], [5, 6]])), "point 1 has inf as feature 0"),
        (lambda: t.tsne(torch.rand(20, 3), 5, init="spectral"), "init must be pca, random or a tensor.*got 'spectral'"),
        (lambda: t.tsne(torch.rand(20, 3), 5, init=torch.rand(19, 2)), "19 rows for 20 points"),
        (lambda: t.tsne(torch.rand(20, 3), 5, init=torch.full((20, 2), torch.nan)), "the start of t-SNE needs"),
        (lambda: t.tsne(torch.rand(20, 3), 5, -1), "n_iter must be 0 or more; got -1"),
        (lambda: t.tsne(torch.rand(20, 3), 5, 50, learning_rate=float("inf")), "diverged"),
        (lambda: t.joint_probabilities(torch.zeros(1, 3).expand(4_000_000, 3)), "needs 64000.* GB"),
    ],
)
def test_errors_are_one_clear_line(call, words):
    with pytest.raises(UserError, match=words) as e:
        call()
    assert "\n" not in str(e.value)


def test_memory_is_what_memory_says():
    from torch.profiler import ProfilerActivity, profile

    x = torch.rand(2500, 5)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        t.tsne(x, n_iter=2)
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")  # taken +, given back -
    peak = np.cumsum([size for _, size in changes]).max()
    assert 0.7 < peak / t.memory(2500) <= 1

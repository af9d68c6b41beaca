"""Few numbers for many: principal components, and scores for a map of high-dimensional points.

Nobody scores their t-SNE plots. Three scores, from local to global: do the neighbours in the
map belong to the same class (`knn_accuracy`), were they neighbours before
(`trustworthiness`), and do far classes stay far (`centroid_correlation`)?
"""

from typing import NamedTuple

import torch

from helpers.course.errors import UserError


def points(x, least=1, what="this"):
    """`x` (tensor or array, (N, ...)) as finite floats (N, D) on its device; float64 where the device has it.

    Raises UserError for fewer than `least` points, no features, NaN or infinity.
    """
    x = torch.as_tensor(x)
    if x.ndim < 2:
        raise UserError(f"{what} needs points as rows (N, D), not shape {tuple(x.shape)}")
    if len(x) < least or x[0].numel() == 0:
        how = "an empty set" if x.numel() == 0 else f"a set of {len(x)}"
        raise UserError(f"{what} needs at least {least} points with one feature or more, not {how}")
    x = x.detach().flatten(1).to(torch.float32 if x.device.type == "mps" else torch.float64)
    if not torch.isfinite(x).all():
        i, j = (~torch.isfinite(x)).nonzero()[0].tolist()
        raise UserError(f"point {i} has {x[i, j].item()} as feature {j}: {what} needs finite numbers")
    return x


# ---------------------------------------------------------------- principal components


class PCA(NamedTuple):
    """`codes` (N, k), `components` (k, D), orthonormal rows, `mean` (D,), `variances` (min(N, D),), falling.

    The variances are the eigenvalues of the covariance (1/N) X^T X of the centred points, all of them, so
    the smallest possible mean squared error per point at width k is `variances[k:].sum()`.
    """

    codes: torch.Tensor
    components: torch.Tensor
    mean: torch.Tensor
    variances: torch.Tensor

    def encode(self, x):
        """Codes (N, k) of other points (N, ...)."""
        return (x.flatten(1).to(self.mean) - self.mean) @ self.components.T

    def decode(self, codes):
        """Points (N, D) from codes (N, k)."""
        return codes.to(self.mean) @ self.components + self.mean


def pca(x, k):
    """The k principal components of the points `x` (N, ...), in closed form; a `PCA`.

    X = U S V^T for the centred points X: the rows of V^T are the components, S²/N the variances. The sign of
    a component is free; here its largest entry is positive, so that every machine draws the same map.
    Raises UserError where k is not in 1..min(N, D).
    """
    x = points(x, what="PCA")
    mean = x.mean(0)
    x = x - mean
    n, d = x.shape
    if not 1 <= k <= min(n, d):
        raise UserError(f"PCA of {n} points with {d} features has 1 to {min(n, d)} components, not {k}")
    # a tall X and its triangular factor R (X = QR) share S and V, and R is only (D, D)
    _, s, vt = torch.linalg.svd(torch.linalg.qr(x, mode="r").R if n > d else x, full_matrices=False)
    vt = vt[:k]
    vt = vt * vt.gather(1, vt.abs().argmax(1, keepdim=True)).sign()
    return PCA(x @ vt.T, vt, mean, s.square() / n)


def squared_error(x, y):
    """Squared error (N,) of each of the images or points `y` (N, ...) against `x`: a sum over pixels."""
    return (x.flatten(1) - y.flatten(1)).square().sum(1)


# ---------------------------------------------------------------- scores of a map


def knn_accuracy(x, labels, test_x=None, test_labels=None, k=10):
    """Share of points whose class is the majority among their k nearest neighbours (ties: the smaller label).

    Neighbours come from `x` (N, ...); judged are the points of `test_x`, or, without it, of `x` itself, each
    one left out of its own neighbours.
    """
    x, labels = points(x, what="k-NN"), torch.as_tensor(labels)
    leave_one_out = test_x is None
    q = x if leave_one_out else points(test_x, what="k-NN")
    answer = labels if leave_one_out else torch.as_tensor(test_labels)
    if not 1 <= k <= len(x) - leave_one_out:
        raise UserError(f"k must be from 1 to {len(x) - leave_one_out}, as k-NN has {len(x)} points; got {k}")
    if len(labels) != len(x) or len(answer) != len(q):
        raise UserError(
            f"k-NN needs one label a point; got {len(labels)} and {len(answer)} for {len(x)} and {len(q)} points"
        )
    labels, answer, right = labels.to(x.device), answer.to(x.device), 0
    classes = int(labels.max()) + 1
    for rows in torch.arange(len(q), device=x.device).split(max(1, 2**22 // len(x))):
        d = torch.cdist(q[rows], x)  # (B, N)
        if leave_one_out:
            d[torch.arange(len(rows), device=x.device), rows] = torch.inf
        near = labels[d.topk(k, largest=False).indices]  # (B, k)
        votes = torch.zeros(len(rows), classes, dtype=torch.long, device=x.device)
        votes.scatter_add_(1, near, torch.ones_like(near))
        right += (votes.argmax(1) == answer[rows]).sum()
    return int(right) / len(q)


def trustworthiness(x, y, k=12):
    """How far the k nearest neighbours in the map `y` (N, K) were near in `x` (N, ...): 0 to 1 (all).

    scikit-learn's, after Venna and Kaski (2001). Memory: O(N²).
    """
    from sklearn.manifold import trustworthiness as score

    x, y = points(x, what="trustworthiness"), points(y, what="trustworthiness")
    if len(x) != len(y) or not 1 <= k < len(x) / 2:
        raise UserError(f"trustworthiness needs N points twice and k < N/2; got {len(x)}, {len(y)} and k = {k}")
    return float(score(x.cpu().numpy(), y.cpu().numpy(), n_neighbors=k))


def centroid_correlation(x, y, labels):
    """Spearman's rank correlation, over pairs of classes, of the distances of their means in `x` and in `y`.

    1: the map keeps the order of all class distances (its global structure); near 0: it says nothing
    about them.
    """
    from scipy.stats import spearmanr

    x, y = points(x, what="the correlation"), points(y, what="the correlation")
    labels = torch.as_tensor(labels)
    classes = labels.unique()
    if len(classes) < 3 or not len(x) == len(y) == len(labels):
        raise UserError(
            "the correlation of class distances needs 3 classes or more and one label a point; "
            f"got {len(classes)} classes and {len(x)}, {len(y)} and {len(labels)} rows"
        )
    pairs = [torch.pdist(torch.stack([z[labels.to(z.device) == c].mean(0) for c in classes])) for z in (x, y)]
    return float(spearmanr(*(d.cpu().numpy() for d in pairs)).statistic)

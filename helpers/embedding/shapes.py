"""Shapes whose truth is known, to see what a t-SNE map makes of them, and a score for each.

`gallery` gives a line, nested rings, a cloud without structure, and clusters of unequal size. A score is computed in
the same way from the points and from a map of them, so the two numbers can stand side by side.
"""

from typing import NamedTuple

import numpy as np
import torch

from helpers.course.errors import UserError
from helpers.embedding.experiments import clusters
from helpers.embedding.scores import points

DIMS = 10  # of the space in which every shape lies; the shape itself lies in the first two


class Shape(NamedTuple):
    """`x` (N, 10), `labels` (N,) for the colours, and a `low` perplexity at which a map of it goes wrong."""

    x: torch.Tensor
    labels: torch.Tensor
    low: float


def gallery(n, seed):
    """{name: Shape} of `n` points each (the clusters: of a multiple of 3); what differs from seed to seed is the noise.

    line      of length 100, noise 0.3; the labels go from 0 to 9 along it
    rings     radius 1 (the first half of the points) and 3, noise 0.02
    cloud     one normal cloud: no structure at all
    clusters  three, the last ten times as wide as the others; the first two are 40 apart, the last is 400 away
    """
    if n < 20:
        raise UserError(f"the shapes need 20 points or more; got {n}")
    rng = np.random.default_rng(seed)
    half, along = n // 2, np.linspace(0, 1, n)
    turn = 2 * np.pi * np.r_[np.arange(half) / half, np.arange(n - half) / (n - half)]
    radius = np.where(np.arange(n) < half, 1.0, 3.0)

    def noisy(plane, sigma):
        x = sigma * rng.normal(size=(n, DIMS))
        x[:, :2] += plane
        return torch.as_tensor(x)

    line = noisy(np.c_[100 * along, 0 * along], 0.3)
    rings = noisy(np.c_[radius * np.cos(turn), radius * np.sin(turn)], 0.02)
    x, labels = clusters([(0, 0), (40, 0), (400, 0)], n // 3, seed, spread=(1.0, 1.0, 10.0), dims=DIMS)
    return {
        "line": Shape(line, torch.as_tensor(9 * along), 10.0),
        "rings": Shape(rings, torch.as_tensor((radius > 2) * 1.0), 10.0),
        "cloud": Shape(noisy(0.0, 1.0), torch.zeros(n), 3.0),
        "clusters": Shape(x, labels.double(), 10.0),
    }


# ---------------------------------------------------------------- scores


def straightness(x):
    """Distance of the ends of a path over its length; the path goes through the means of ten pieces of `x` (N, D).

    1 for a straight line. The rows of `x` are in the order of the line.
    """
    stops = torch.stack([piece.mean(0) for piece in points(x, least=20, what="straightness").tensor_split(10)])
    return ((stops[-1] - stops[0]).norm() / stops.diff(dim=0).norm(dim=1).sum()).item()


def inside(x):
    """Share of the first half of `x` (N, D) inside the ring of the other half, in the first two dimensions."""
    from matplotlib.path import Path

    plane = points(x, least=6, what="the ring")[:, :2].cpu().numpy()
    half = len(plane) // 2
    return float(Path(plane[half:]).contains_points(plane[:half]).mean())


def evenness(x):
    """Clark and Evans' index (1954) of the first two dimensions of `x` (N, D): near 1 for points spread at random.

    The mean distance to the nearest neighbour, over what N random points in the same area (the convex hull) would
    have, 0.5 sqrt(area / N). Below 1 the points stand in clumps.
    """
    from scipy.spatial import ConvexHull, cKDTree

    plane = points(x, least=4, what="the index")[:, :2].cpu().numpy()
    nearest = cKDTree(plane).query(plane, 2)[0][:, 1]
    return float(nearest.mean() / (0.5 * np.sqrt(ConvexHull(plane).volume / len(plane))))


def size_ratio(x, labels):
    """Radius of the widest class over that of the narrowest; a radius is the root of the mean squared distance."""
    x = points(x, what="the ratio")
    groups = [x[labels == c] for c in labels.unique()]
    radius = [(g - g.mean(0)).square().sum(1).mean().sqrt().item() for g in groups]
    return max(radius) / min(radius)


def distance_ratio(x, labels):
    """The longest over the shortest distance between the means of two classes."""
    x = points(x, what="the ratio")
    distance = torch.pdist(torch.stack([x[labels == c].mean(0) for c in labels.unique()]))
    return (distance.max() / distance.min()).item()


SCORES = {  # {what is scored: (name of the shape, its score of points and labels)}
    "line: straightness": ("line", lambda x, labels: straightness(x)),
    "rings: share of the inner one inside the outer": ("rings", lambda x, labels: inside(x)),
    "cloud: evenness": ("cloud", lambda x, labels: evenness(x)),
    "clusters: widest over narrowest": ("clusters", size_ratio),
    "clusters: longest over shortest distance": ("clusters", distance_ratio),
}

"""A place on a finished t-SNE map for a new point, and how far off such places are.

t-SNE moves the points that it was given and learns no function, so it has no place for a new one. Here the new point
goes to the median of the places of its nearest codes, as openTSNE (Poličar et al., 2024) starts one before it moves it
on. Points of the map that are left out, one by one, and placed again tell the error.
"""

from typing import NamedTuple

import torch

from helpers.course.checkpoint import load as load_tree
from helpers.course.checkpoint import save as save_tree
from helpers.course.errors import UserError
from helpers.embedding.autoencoder import encode
from helpers.embedding.train import splits
from helpers.embedding.tsne import tsne

NEAR = 3  # neighbours that say the place; lecture 07 chooses it on validation digits


class Atlas(NamedTuple):
    """A map with what it was made of: `codes` (N, K), their places `y` (N, 2) and `labels` (N,)."""

    codes: torch.Tensor
    y: torch.Tensor
    labels: torch.Tensor


# ---------------------------------------------------------------- the map


def samples(labels):
    """The number of the first picture of each class, in the order of the classes."""
    return [int((labels == c).nonzero()[0]) for c in labels.unique()]


def unseen(name, seed=0):
    """Pictures of the data set `name` that choose no weight: ((pictures, labels) for a map, the same of samples).

    The map gets the validation pictures, then the test pictures; the samples are the first test picture of each class.
    """
    parts = splits(name, seed)
    (valid, valid_labels), (test, test_labels) = parts["valid"], parts["test"]
    chosen = samples(test_labels)
    rest = torch.ones(len(test), dtype=torch.bool)
    rest[chosen] = False
    mapped = torch.cat([valid, test[rest]]), torch.cat([valid_labels, test_labels[rest]])
    return mapped, (test[chosen], test_labels[chosen])


def draw(model, x, labels, **options):
    """The `Atlas` of the codes of the pictures `x` (N, C, H, W), rounded to 16 bits a number; `options` of `tsne`."""
    codes = encode(model, x, device="cpu").half().float()
    y, _ = tsne(codes, **options)
    return Atlas(codes, y.half().float(), labels)


def save(path, atlas):
    """The map in one hashed file."""
    return save_tree(path, {"codes": atlas.codes.half(), "y": atlas.y.half(), "labels": atlas.labels.to(torch.uint8)})


def load(path):
    """The map that `save` wrote."""
    tree = load_tree(path)
    if not isinstance(tree, dict) or set(tree) != {"codes", "y", "labels"}:
        raise UserError(f"{path} holds no map: give a file that `autoencoder map` wrote")
    return Atlas(tree["codes"].float(), tree["y"].float(), tree["labels"].long())


# ---------------------------------------------------------------- a new point


def nearest(codes, z, k=NEAR, left_out=False):
    """The numbers (M, k) of the k codes (N, K) nearest to each of `z` (M, K), the nearest first.

    left_out  `z` are the codes themselves, and none is its own neighbour
    """
    if not 1 <= k <= len(codes) - left_out:
        raise UserError(f"k must be from 1 to {len(codes) - left_out}, as so many codes are there; got {k}")
    d = torch.cdist(z.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")  # (M, N)
    if left_out:
        d.fill_diagonal_(torch.inf)
    return d.topk(k, largest=False).indices


def place(atlas, z, k=NEAR, left_out=False):
    """Places (M, 2) on the map for codes `z` (M, K): the median, in each direction, of the k nearest codes' places."""
    return atlas.y[nearest(atlas.codes, z, k, left_out)].double().quantile(0.5, dim=1)


# ---------------------------------------------------------------- its error


def radius(y):
    """The size of a map `y` (N, 2): the root of the mean squared distance from its middle."""
    return (y - y.mean(0)).square().sum(1).mean().sqrt()


class Errors(NamedTuple):
    """Of each point of a map: `distance` (N,) from its place, in radii of the map; `own` (N,), is the nearest other
    point of its class?"""

    distance: torch.Tensor
    own: torch.Tensor


def errors(atlas, found):
    """`Errors` of the places `found` (N, 2), one for each point of the map, made without that point."""
    y, found = atlas.y.double(), found.double()
    d = torch.cdist(found, y).fill_diagonal_(torch.inf)  # to the others
    own = atlas.labels[d.argmin(1)] == atlas.labels
    return Errors((found - y).square().sum(1).sqrt() / radius(y), own)


def shuffled(atlas, seed=0):
    """The control: places (N, 2), each that of another point of the map, drawn at random."""
    n, generator = len(atlas.y), torch.Generator().manual_seed(seed)
    return atlas.y[(torch.arange(n) + torch.randint(1, n, (n,), generator=generator)) % n]

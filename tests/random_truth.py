"""Random logits and objects for the tests of the grid and of the loss."""

import numpy as np
import torch

ANCHORS = torch.tensor([[10.0, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119]])
MASKS = [[3, 4, 5], [0, 1, 2]]
CLASSES = 4


def logits(n, classes, h, w, seed=0, batch=1, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, n * (5 + classes), h, w, generator=generator) * scale


def objects(n, seed=0, classes=CLASSES, rows=20):
    """(1, rows, 5): n random objects, then padding."""
    rng = np.random.default_rng(seed)
    truth = torch.zeros(1, rows, 5)
    truth[..., 4] = -1
    size = np.exp(rng.uniform(np.log(0.03), np.log(0.8), (n, 2)))
    centre = rng.uniform(0.02, 0.98, (n, 2))
    truth[0, :n] = torch.tensor(np.concatenate([centre, size, rng.integers(0, classes, (n, 1))], 1)).float()
    return truth

"""The step of every classifier for `training.fit`: cross-entropy, and how many were right."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy


def classify(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Sums over a batch (x, y): "loss", the cross-entropy, and "accuracy", the number of hits.

    y  classes (B,), or probabilities (B, K) such as mixed images have: a hit is then the most probable class
    """
    x, y = batch
    logits = model(x)  # (B, K)
    hard = y if y.ndim == 1 else y.argmax(1)
    return {"loss": cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == hard).sum()}

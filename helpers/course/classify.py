"""The step of every classifier: what `training.fit` minimises and `training.evaluate` reports."""

import torch
from torch import nn
from torch.nn import functional as F


def classify(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Sums over a batch (x, y): {"loss": cross-entropy in nats, "accuracy": hits}, tensors on the model's device.

    model(x) gives logits (B, K); y are classes (B,) or, after mixing, probabilities (B, K), whose largest one counts
    as the class. Divided by B, the sums are the mean loss and the accuracy.
    """
    x, y = batch
    logits = model(x)  # (B, K)
    truth = y if y.ndim == 1 else y.argmax(1)
    return {"loss": F.cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == truth).sum()}

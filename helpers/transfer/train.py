"""Strategies of transfer learning: what is trained, from which head, for how long."""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as F

from helpers.course.augment import flip_and_shift
from helpers.course.batches import Tensors
from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.training import fit, predict
from helpers.transfer.model import blocks, freeze, freeze_first, freeze_statistics, unfreeze

STRATEGIES = ("scratch", "base", "half", "none")


def prepare(model, strategy):
    """Freeze what the strategy says: nothing, the whole base, half of its blocks, or its first k blocks."""
    if strategy not in STRATEGIES and not isinstance(strategy, int):
        raise UserError(f"strategy must be one of {', '.join(STRATEGIES)}, or a number of blocks; got {strategy!r}")
    unfreeze(model)
    if isinstance(strategy, int):
        freeze_first(model.base, strategy)
    if strategy == "base":
        freeze(model.base)
    if strategy == "half":
        freeze_first(model.base, len(blocks(model.base)) // 2)
    return model


def trainable(model):
    """The parameters an optimiser should get: Adam and weight decay would move the others too."""
    return [p for p in model.parameters() if p.requires_grad]


# ---------------------------------------------------------------- the head alone


def features(model, data, **kw):
    """Features (N, D) of all pictures: what a frozen base needs to compute only once."""
    return predict(model, data, forward=model.features, **kw)


def linear_probe(x, y, classes, l2=1e-2):
    """The best linear head on fixed features: a convex problem, brought to its optimum.

    minimise  1/n sum_i CE(W z_i + b, y_i) + l2/2 |W|^2,   z = (x - mean) / s,   W (classes, D), b (classes,)

    by SciPy's L-BFGS in double precision. The mean is one per feature; s, the deviation of all features together, is
    a single number: dividing each feature by its own would blow up those that hardly vary. The optimum is
    that of scikit-learn's LogisticRegression(C=1/(n l2)) on z. Returns (W, b) for x itself, in float32.
    """
    x = x.double()
    mean, s = x.mean(0), x.std()
    # The best rows of W lie in the span of the z_i (what is outside costs l2 and changes no loss), so they are sought
    # in its coordinates: min(n, D) numbers a class instead of D.
    span = torch.linalg.svd((x - mean) / s, full_matrices=False).Vh  # (min(n, D), D), orthonormal rows
    z = (x - mean) / s @ span.T  # (n, min(n, D))

    @torch.enable_grad()
    def objective(flat):  # (classes min(n, D) + classes,) float64 -> the loss and its gradient
        both = torch.from_numpy(flat).to(x.device).requires_grad_()
        w, b = both[:-classes].view(classes, -1), both[-classes:]
        loss = F.cross_entropy(z @ w.T + b, y) + l2 / 2 * w.square().sum()
        loss.backward()
        return loss.item(), both.grad.cpu().numpy()

    settings = {"maxiter": 1000, "maxcor": 20, "gtol": 1e-7, "ftol": 1e-15}
    found = minimize(objective, np.zeros(classes * (z.shape[1] + 1)), jac=True, method="L-BFGS-B", options=settings)
    both = torch.from_numpy(found.x).to(x.device)
    w, b = both[:-classes].view(classes, -1) @ span, both[-classes:]  # (classes, D), (classes,)
    return (w / s).float(), (b - w @ mean / s).float()  # W z + b = (W/s) x + (b - W mean/s)


def probe(model, train, **kw):
    """Bring the head of `model` to its optimum on the features of `train`; returns these features."""
    x = features(model, train, **kw)
    w, b = linear_probe(x, _labels(train).cpu(), model.head.out_features)
    with torch.no_grad():
        model.head.weight.copy_(w)
        model.head.bias.copy_(b)
    return x


# ---------------------------------------------------------------- a whole training


def train_classifier(
    model,
    data,
    valid=None,
    *,
    strategy="base",
    epochs=10,
    lr=None,
    batch_size=32,
    lp_first=True,
    live_statistics=False,
    augment=True,
    seed=0,
    **kw,
):
    """Train a `Classifier` by one of the strategies and return `training.Result`; extra arguments go to `fit`.

    base: the head on features that are computed once (no augmentation: each picture has one feature).
    half, none, k: first the head to its optimum (`lp_first`), then everything that is not frozen, AdamW under a
    cosine schedule from `lr` to 0, batch norm on its stored statistics unless `live_statistics`.
    scratch: everything from random weights, with a larger rate and live statistics.
    """
    prepare(model, strategy)
    place = {k: kw[k] for k in ("device", "workers") if k in kw}
    if strategy == "base":
        parts = [
            Tensors(features(model, part, **place), _labels(part)) if part is not None else None
            for part in (data, valid)
        ]
        head = Scaled(model.head, parts[0].tensors[0])
        result = _descend(head, *parts, epochs=epochs, lr=lr or 3e-3, batch_size=batch_size, seed=seed, **kw)
        head.fold(model.head)
        model.eval()
        return result
    if strategy != "scratch" and lp_first:
        probe(model, data, **place)
    if strategy != "scratch" and not live_statistics:
        freeze_statistics(model)
    # the better of 3e-4 and 1e-3 on leaves of other seeds than those that the experiments test on
    rate = lr or (2e-3 if strategy == "scratch" else 3e-4 if lp_first else 1e-3)
    return _descend(
        model,
        data,
        valid,
        epochs=epochs,
        lr=rate,
        batch_size=batch_size,
        seed=seed,
        augment=flip_and_shift if augment else None,
        **kw,
    )


def _labels(data):
    return data.tensors[1] if isinstance(data, Tensors) else torch.tensor([label for _, label in data.items])


def _descend(model, data, valid, *, epochs, lr, batch_size, **kw):
    optimizer = torch.optim.AdamW(trainable(model), lr, weight_decay=0.01)
    steps = epochs * -(-len(data) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return fit(
        model,
        data,
        valid,
        step=classify,
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        **kw,
    )


class Scaled(nn.Module):
    """A linear head on (x - mean) / s, as in `linear_probe`: inputs of size 1 suit the learning rates in use."""

    def __init__(self, head, x):
        super().__init__()
        self.linear = nn.Linear(head.in_features, head.out_features)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("s", x.std())

    def forward(self, x):
        return self.linear((x - self.mean) / self.s)

    @torch.no_grad()
    def fold(self, head):
        """Write the same map into a plain linear layer on raw features."""
        w = self.linear.weight / self.s
        head.weight.copy_(w)
        head.bias.copy_(self.linear.bias - w @ self.mean)

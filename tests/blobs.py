"""A network and data of a few numbers, for the tests of the loop."""

import os

import torch
from torch import nn
from torch.nn import functional as F

from helpers.course.batches import Tensors
from helpers.course.training import fit


def step(model, batch):
    x, y = batch
    logits = model(x)
    return {"loss": F.cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == y).sum()}


def blobs(n=100, dtype=torch.float32):
    g = torch.Generator().manual_seed(3)
    y = torch.arange(n) % 3
    return Tensors(torch.randn(n, 5, generator=g, dtype=dtype) + y[:, None], y)


def net(dropout=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3)).to(dtype)


def run(model=None, data=None, **kw):
    model, data = model or net(), blobs() if data is None else data
    kw = dict(epochs=3, batch_size=7, device="cpu") | kw
    opt = kw.pop("optimizer", None) or torch.optim.Adam(model.parameters(), 0.01)
    return model, fit(model, data, step=step, optimizer=opt, **kw)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def pair(accumulate, out):
    """History and weights of a short run in float64; the last batch has one sample: nothing for a second process."""
    model, judged = net(dtype=torch.float64), []

    def judge(model, epoch):
        judged.append(epoch)
        return {"valid_score": 1 / epoch, "valid_process": int(os.environ.get("RANK", "0"))}

    result = fit(
        model,
        blobs(dtype=torch.float64),
        blobs(31, dtype=torch.float64),
        step=step,
        epochs=2,
        batch_size=9,
        optimizer=torch.optim.Adam(model.parameters(), 0.01),
        device="cpu",
        accumulate=accumulate,
        judge=judge,
        keep="best",
        monitor="valid_score",
        mode="max",
        out=out,
        save_seconds=0,  # after every step: then one process holds the sums of all
        look_every=1,
    )
    return result.history, [p.tolist() for p in model.parameters()], judged

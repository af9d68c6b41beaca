"""What the training loop costs over a bare PyTorch loop on the same batches, paired in one run.

    python benchmarks/loop.py [--rounds 9] [--json]

Both loops train the same network on the same batches in the same order. A round times both, one after the
other; the overhead is the median over the rounds of (ours / bare - 1). The bare loop is what a tutorial
writes: forward, loss, backward, step, with no figures kept.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.course.batches import Batches, Tensors, loader, mixed  # noqa: E402
from helpers.course.training import fit  # noqa: E402


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def step(model, batch):
    x, y = batch
    logits = model(x)
    return {"loss": F.cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == y).sum()}


def ours(data, epochs, batch_size):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    fit(model, data, step=step, optimizer=optimizer, epochs=epochs, batch_size=batch_size)
    return model


def bare(data, epochs, batch_size):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    batches = Batches(len(data), batch_size, shuffle=True)
    feed = loader(data, batches)
    model.train()
    for epoch in range(epochs):
        batches.epoch = epoch
        for x, y in feed:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def run(rounds=9, n=2048, epochs=1, batch_size=64):
    """{"overhead": median of ours/bare - 1, "rounds": [...], "ms_per_step": ...}; both loops end with one model."""
    g = torch.Generator().manual_seed(mixed(1))
    data = Tensors(torch.randn(n, 1, 28, 28, generator=g), torch.randint(0, 10, (n,), generator=g))
    a, b = ours(data, 1, batch_size), bare(data, 1, batch_size)  # warm up, and compare
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
    ratios, times = [], []
    for i in range(rounds):
        spent = {}
        for loop in (ours, bare) if i % 2 else (bare, ours):
            start = time.perf_counter()
            loop(data, epochs, batch_size)
            spent[loop] = time.perf_counter() - start
        ratios.append(spent[ours] / spent[bare] - 1)
        times.append(spent[bare] / (epochs * -(-n // batch_size)))
    return {
        "overhead": statistics.median(ratios),
        "rounds": ratios,
        "ms_per_step": 1000 * statistics.median(times),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = run(arguments.rounds)
    print(
        json.dumps(result)
        if arguments.json
        else f"overhead {100 * result['overhead']:.2f} % on steps of {result['ms_per_step']:.1f} ms"
    )

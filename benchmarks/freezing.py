"""What freezing saves, paired in one run: full training, frozen first five children, frozen base, cached features.

    python benchmarks/freezing.py [--rounds 9] [--json] [--record]

The lecture's ResNet-50 with 33 classes. Every round times one step of each kind on the same batch; a ratio is
the median of the ratios within the rounds. "parameters of five children" is `requires_grad=False` alone, with
batch norm still in training mode; "first five children" is frozen wholly.

By arithmetic, a backward pass costs two forward passes, so a full step is 3 forward passes; a frozen prefix with
the share f of the multiply-adds has no backward pass, 3 - 2 f remain; with the whole base frozen 1 remains; with
E epochs on cached features 1 forward pass serves them all. The clock need not agree: early layers have large
maps and little arithmetic per byte. So the share of the *time* that the prefix takes is measured too.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torchvision
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.transfer.costs import cost_table  # noqa: E402
from helpers.transfer.model import freeze  # noqa: E402

KINDS = ("full", "parameters of five children", "first five children", "base", "cached features")


def setting(kind, x, y):
    """A function that makes one training step of a kind."""
    net = torchvision.models.resnet50(num_classes=33)
    children = list(net.children())
    for child in children[:5]:
        if kind == "first five children":
            freeze(child)
        if kind == "parameters of five children":
            child.requires_grad_(False)
    base = torch.nn.Sequential(*children[:-1], torch.nn.Flatten())
    if kind in ("base", "cached features"):
        freeze(base)
    net.train()
    cached = base(x).detach() if kind == "cached features" else None
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        features = cached if cached is not None else base(x)
        F.cross_entropy(net.fc(features), y).backward()
        optimizer.step()

    return step


def run(rounds=9, batch=8, side=128):
    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, side, side), torch.randint(0, 33, (batch,))
    steps = {kind: setting(kind, x, y) for kind in KINDS}
    for step in steps.values():
        step()
    times = {kind: [] for kind in KINDS}
    net = torchvision.models.resnet50(num_classes=33).train()
    prefix = torch.nn.Sequential(*list(net.children())[:5])
    forward = {"prefix": [], "whole": []}
    for i in range(rounds):
        for kind in KINDS if i % 2 else reversed(KINDS):
            start = time.perf_counter()
            steps[kind]()
            times[kind].append(time.perf_counter() - start)
        for name, module in (("prefix", prefix), ("whole", net)):
            start = time.perf_counter()
            module(x)
            forward[name].append(time.perf_counter() - start)
    ratio = {kind: statistics.median(a / b for a, b in zip(times["full"], times[kind])) for kind in KINDS}
    rows = cost_table(torchvision.models.resnet50(num_classes=33), (1, 3, side, side))
    share = sum(r[2] for r in rows[:5]) / sum(r[2] for r in rows)
    epochs = 10
    spent = {kind: statistics.median(times[kind]) for kind in KINDS}
    cached = epochs * spent["base"] / (spent["base"] + (epochs - 1) * spent["cached features"])
    return {
        "faster": ratio,
        "rounds of first five children": [a / b for a, b in zip(times["full"], times["first five children"])],
        "by arithmetic": {"first five children": 3 / (3 - 2 * share), "base": 3.0},
        "share of multiply-adds": share,
        "share of forward time": statistics.median(a / b for a, b in zip(forward["prefix"], forward["whole"])),
        "epochs": epochs,
        "cached over recomputed": cached,
        "cached ceiling": float(epochs),
        "batch": batch,
        "side": side,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def runs(result):
    """The runs of the record, one a kind of step, and its facts."""
    rows = [{"arm": kind, "times faster": ratio} for kind, ratio in result["faster"].items()]
    for row in rows:
        if row["arm"] in result["by arithmetic"]:
            row["by arithmetic"] = result["by arithmetic"][row["arm"]]
        if f"rounds of {row['arm']}" in result:
            row["times faster, by round"] = result[f"rounds of {row['arm']}"]
    names = ("share of multiply-adds", "share of forward time", "epochs", "cached over recomputed", "cached ceiling")
    return rows, {name: result[name] for name in (*names, "batch", "side", "rounds")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="write results/bench-freezing.json")
    arguments = parser.parse_args()
    result = run(arguments.rounds)
    if arguments.record:
        from helpers.course.experiments import write

        write(
            "bench-freezing",
            "What freezing saves of a training step",
            "transfer",
            f"python benchmarks/freezing.py --rounds {arguments.rounds} --record",
            *runs(result),
            threads=result["threads"],
        )
    print(json.dumps(result, indent=None if arguments.json else 1))

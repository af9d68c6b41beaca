"""The ladder of lecture 09: one LSTM layer as eight products a step, fused, hoisted, and `nn.LSTM`.

    python benchmarks/rnn.py [--device cpu] [--rounds 9] [--json] [--record]

Each round times every rung once, one after the other, so that a slower moment of the machine hits all alike;
a ratio is the median of the ratios within the rounds. The limit is the time, in the same rounds, of the
matrix products alone that the best order of computing needs: the input's and the weights' gradients' in one
product each, the recurrent one T times because each waits for the one before. The share of the limit says how
much of the time is products; above 100 % it means that a library multiplies faster than `torch.mm` does.
--record writes it all to results/bench-rnn.json, which lecture 09 draws from.
"""

import argparse
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn as nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers import rnn  # noqa: E402

SIZES = [(batch, steps) for batch in (1, 32) for steps in (50, 200)]
INPUTS, HIDDEN = 128, 256


def clock(work, device):
    """Seconds of one call, the device's queue included."""
    wait = getattr(torch, device.type).synchronize if device.type != "cpu" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def forward_backward(run, x, parameters):
    torch.autograd.grad(run(x).sum(), parameters)


@torch.no_grad()
def products(lstm, x, train):
    """The matrix products of one pass and nothing else."""
    batch, steps, _ = x.shape
    h, flat = x.new_ones(batch, HIDDEN), x.flatten(0, 1)
    projected = torch.mm(flat, lstm.weight_ih_l0.T)                        # (B·T, 4H)
    for _ in range(steps):
        torch.mm(h, lstm.weight_hh_l0.T)                                   # (B, 4H)
    if train:
        for gradient in projected.view(steps, batch, -1):
            torch.mm(gradient, lstm.weight_hh_l0)                          # (B, H)
        torch.mm(projected.T, flat)                                        # dW_ih (4H, E)
        torch.mm(projected.T, projected[:, :HIDDEN])                       # dW_hh (4H, H)


def measure(batch, steps, device, rounds, train):
    """One size: seconds of each rung (median), its ratio to the rung before, share of the limit."""
    torch.manual_seed(0)
    lstm = nn.LSTM(INPUTS, HIDDEN, batch_first=True).to(device)
    x = torch.randn(batch, steps, INPUTS, device=device)
    rungs = {"separate": partial(rnn.separate, lstm), "fused": partial(rnn.fused, lstm),
             "hoisted": partial(rnn.hoisted, lstm), "nn.LSTM": lambda x: lstm(x)[0]}
    if train:
        parameters = list(lstm.parameters())
        works = {name: partial(forward_backward, run, x, parameters) for name, run in rungs.items()}
    else:
        works = {name: torch.no_grad()(partial(run, x)) for name, run in rungs.items()}
    works["products"] = partial(products, lstm, x, train)
    for work in works.values():                         # warm up: allocator, caches, kernel choice
        work()
    rows = [{name: clock(work, device) for name, work in works.items()} for _ in range(rounds)]

    result, before = {"batch": batch, "steps": steps, "train": train}, None
    for name in rungs:
        result[name] = {"seconds": statistics.median(row[name] for row in rows),
                        "share of limit": statistics.median(row["products"] / row[name] for row in rows)}
        if before:
            ratio = statistics.median(row[before] / row[name] for row in rows)
            result[name]["times faster than " + before] = ratio
        before = name
    return result


def run(device="cpu", rounds=9):
    """All sizes -> list of dicts, forward only and with backward."""
    device = torch.device(device)
    return [measure(batch, steps, device, rounds, train) for train in (False, True) for batch, steps in SIZES]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--record", action="store_true", help="write results/bench-rnn.json")
    options = parser.parse_args()
    results = run(options.device, options.rounds)
    for row in results:
        print(f"B={row['batch']} T={row['steps']} {'forward and backward' if row['train'] else 'forward'}")
        for name in ("separate", "fused", "hoisted", "nn.LSTM"):
            cell = row[name]
            faster = next((f"{v:5.2f} x" for k, v in cell.items() if k.startswith("times")), "")
            print(f"  {name:9s} {cell['seconds'] * 1e3:8.2f} ms  {cell['share of limit']:5.0%} of the limit"
                  f"  {faster}")
    facts = {"rnn": results, "device": options.device, "threads": torch.get_num_threads()}
    if options.record:
        from helpers.experiments import write

        write("bench-rnn", f"python benchmarks/rnn.py --device {options.device} --rounds {options.rounds} --record",
              {"inputs": INPUTS, "hidden": HIDDEN} | facts)
    if options.json:
        print(json.dumps(facts | {"torch": torch.__version__}))


if __name__ == "__main__":
    main()

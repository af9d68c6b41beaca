"""The ladder of lecture 09: one LSTM layer as eight products a step, fused, hoisted, and `nn.LSTM`.

    python benchmarks/rnn.py [--device cpu] [--rounds 9] [--threads 1] [--json] [--record]

Each round times every rung once, one after the other, so that a slower moment of the machine hits all alike;
a ratio is the median of the ratios within the rounds. The limit is what the machine can do at best: the time
of as many multiply-adds as the layer needs, all in one large square matrix product, at the highest rate that any
of PRODUCTS reached in any round. No order of computing needs fewer, and no shape that an LSTM has is multiplied
faster, so a share of the limit is at most about 100 %. What is missing has three causes, which the share does not
tell apart: small products, which read more than they multiply (the recurrent one has B rows and must be done
T times, one after the other); gates and sums, which multiply nothing; and the time between two calls.
--record writes it all to results/bench-rnn.json, which the page of results shows.
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
from helpers.recurrent import cells as rnn  # noqa: E402

SIZES = [(batch, steps) for batch in (1, 32) for steps in (50, 200)]
INPUTS, HIDDEN = 128, 256
RUNGS = ("separate", "fused", "hoisted", "nn.LSTM")
PRODUCTS = (512, 1024, 1536)  # sizes of the square products that the limit is taken from


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


def multiply_adds(batch, steps, train):
    """How many a layer needs: E + H a gate and step, as many again for the gradients of the weights, and H a gate
    for what each step but the first hands back to the one before.
    """
    forward = batch * steps * 4 * HIDDEN * (INPUTS + HIDDEN)
    return 2 * forward + batch * (steps - 1) * 4 * HIDDEN * HIDDEN if train else forward


def measure(batch, steps, device, rounds, train):
    """One size: seconds of each rung (median), its ratio to the rung before; multiply-adds a second at best."""
    torch.manual_seed(0)
    lstm = nn.LSTM(INPUTS, HIDDEN, batch_first=True).to(device)
    x = torch.randn(batch, steps, INPUTS, device=device)
    rungs = dict(
        zip(RUNGS, [partial(run, lstm) for run in (rnn.separate, rnn.fused, rnn.hoisted)] + [lambda x: lstm(x)[0]])
    )
    if train:
        parameters = list(lstm.parameters())
        works = {name: partial(forward_backward, run, x, parameters) for name, run in rungs.items()}
    else:
        works = {name: torch.no_grad()(partial(run, x)) for name, run in rungs.items()}
    squares = {n: torch.randn(n, n, device=device) for n in PRODUCTS}
    works |= {n: partial(torch.mm, square, square) for n, square in squares.items()}
    for work in works.values():  # warm up: allocator, caches, kernel choice
        work()
    rows = [{name: clock(work, device) for name, work in works.items()} for _ in range(rounds)]

    result, before = {"batch": batch, "steps": steps, "backward": train}, None
    for name in rungs:
        result[name] = {"seconds": statistics.median(row[name] for row in rows)}
        if before:
            ratio = statistics.median(row[before] / row[name] for row in rows)
            result[name]["times faster than " + before] = ratio
        before = name
    return result, max(n**3 / row[n] for row in rows for n in PRODUCTS)


def run(device="cpu", rounds=9):
    """All sizes, forward only and with backward -> (list of dicts, GFLOP/s of the limit)."""
    device = torch.device(device)
    found = [measure(batch, steps, device, rounds, train) for train in (False, True) for batch, steps in SIZES]
    rate = max(rate for _, rate in found)  # of the machine: the same for all sizes
    for row, _ in found:
        row["limit, seconds"] = multiply_adds(row["batch"], row["steps"], row["backward"]) / rate
        for name in RUNGS:
            row[name]["share of limit"] = row["limit, seconds"] / row[name]["seconds"]
    return [row for row, _ in found], 2e-9 * rate


def runs(results):
    """The runs of the record: one a size and rung, and the limit of each size."""
    rows, before = [], "times faster than the rung before"
    for row in results:
        size = {key: row[key] for key in ("batch", "steps", "backward")}
        for name in RUNGS:
            cell = {before if key.startswith("times") else key: value for key, value in row[name].items()}
            rows.append({"arm": name} | size | cell)
        rows.append({"arm": "limit"} | size | {"seconds": row["limit, seconds"]})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="for the CPU; lecture 09 trains with one")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--record", action="store_true", help="write results/bench-rnn.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results, rate = run(options.device, options.rounds)
    print(f"the limit: {rate:.0f} GFLOP/s, two operations a multiply-add")
    for row in results:
        print(
            f"B={row['batch']} T={row['steps']} {'forward and backward' if row['backward'] else 'forward'}, "
            f"limit {row['limit, seconds'] * 1e3:.2f} ms"
        )
        for name in RUNGS:
            cell = row[name]
            faster = next((f"{v:5.2f} x" for k, v in cell.items() if k.startswith("times")), "")
            print(f"  {name:9s} {cell['seconds'] * 1e3:8.2f} ms  {cell['share of limit']:5.0%} of the limit  {faster}")
    facts = {"rows": results, "device": options.device, "threads": torch.get_num_threads()}
    if options.record:
        from helpers.course.experiments import write

        write(
            "bench-rnn",
            "How fast is an LSTM layer, step by step to the library?",
            "recurrent",
            f"python benchmarks/rnn.py --device {options.device} --rounds {options.rounds} "
            f"--threads {options.threads} --record",
            runs(results),
            {"inputs": INPUTS, "hidden": HIDDEN, "limit, GFLOP/s": rate},
            device=options.device,
            threads=facts["threads"],
        )
    if options.json:
        print(json.dumps(facts | {"torch": torch.__version__}))


if __name__ == "__main__":
    main()

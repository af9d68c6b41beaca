"""How fast is what lecture 08 writes out: its NMS, and its network beside the C program's.

    python benchmarks/yolo.py [--rounds 15] [--threads 1] [--json] [--record]

NMS of N boxes, ten jittered ones an object: ours (`detection.nms`, matrices), torchvision's (C++) and a loop in
Python; all keep the same boxes, which is checked. The forward pass of one picture by `darknet.Darknet` and by
libdarknet, from the same cfg and weights (the Debian package `darknet` and gcc are needed; left out where they are
not there). Every round times every way once, one after the other, so that a slower moment of the machine hits
all alike; a ratio is the median over the rounds of (its time / our time), with the interval of the middle 95 %
of 2,000 medians of rounds drawn again (bootstrap). --record writes results/bench-yolo.json.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from helpers.yolo import boxes as detection  # noqa: E402
from helpers.yolo import model as yolo_model  # noqa: E402
from helpers.yolo.darknet import network as darknet  # noqa: E402

SIZES = (100, 300, 1000, 3000)


def crowded(n, seed=0):
    """n boxes around n / 10 objects of a 640 x 640 picture, and their scores."""
    rng = np.random.default_rng(seed)
    middle, size = rng.uniform(50, 590, (n // 10, 2)), rng.uniform(20, 120, (n // 10, 2))
    which = rng.integers(n // 10, size=n)
    middle = middle[which] + rng.normal(0, 0.15, (n, 2)) * size[which]
    half = size[which] * np.exp(rng.normal(0, 0.15, (n, 2))) / 2
    boxes = torch.tensor(np.concatenate([middle - half, middle + half], 1), dtype=torch.float32)
    return boxes, torch.tensor(rng.permutation(n) / n, dtype=torch.float32)


def loop_nms(boxes, scores, threshold):
    """Greedy NMS as it is told: two loops over lists of numbers."""
    order = scores.argsort(descending=True).tolist()
    boxes, kept = boxes.tolist(), []
    for i in order:
        x0, y0, x1, y1 = boxes[i]
        for j in kept:
            a0, b0, a1, b1 = boxes[j]
            shared = max(0, min(x1, a1) - max(x0, a0)) * max(0, min(y1, b1) - max(y0, b0))
            if shared > threshold * ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared):
                break
        else:
            kept.append(i)
    return torch.tensor(kept)


def compare(ways, rounds):
    """{"seconds": {way: median}, "ratio": {way: {"median", "low", "high"}}}: how many times ours each one takes."""
    for way in ways.values():  # caches, the allocator, the choice of kernels
        way()
    rows = []
    for _ in range(rounds):
        row = {}
        for name, way in ways.items():
            repeats, start = 0, time.perf_counter()
            while repeats == 0 or time.perf_counter() - start < 0.02:  # short ones until the clock can tell
                way()
                repeats += 1
            row[name] = (time.perf_counter() - start) / repeats
        rows.append(row)
    first, rng, ratios = next(iter(ways)), np.random.default_rng(0), {}
    for name in ways:
        if name != first:
            values = np.array([row[name] / row[first] for row in rows])
            medians = np.median(rng.choice(values, (2000, len(values))), 1)
            low, high = np.quantile(medians, [0.025, 0.975])
            ratios[name] = {"median": float(np.median(values)), "low": float(low), "high": float(high)}
    return {"seconds": {name: statistics.median(row[name] for row in rows) for name in ways}, "ratio": ratios}


def nms_rows(rounds):
    from torchvision.ops import nms

    rows = []
    for n in SIZES:
        boxes, scores = crowded(n)
        ways = {
            "ours": lambda b=boxes, s=scores: detection.nms(b, s, 0.45),
            "torchvision": lambda b=boxes, s=scores: nms(b, s, 0.45),
            "Python loop": lambda b=boxes, s=scores: loop_nms(b, s, 0.45),
        }
        kept = [way() for way in ways.values()]
        if not all(torch.equal(kept[0], other) for other in kept):
            sys.exit(f"the three ways keep different boxes of {n}")
        rows.append({"what": "NMS", "n": n, "kept": len(kept[0])} | compare(ways, rounds))
    return rows


def forward_rows(rounds, folder):
    """The small YOLO of the course, and the C program's own yolov3-tiny, at random weights."""
    from darknet_oracle import Oracle, config, pointer

    oracle, rows = Oracle(folder), []
    anchors = [[10, 14], [16, 24], [24, 34], [34, 44], [44, 56], [54, 70]]
    networks = {"small YOLO, 160 px": yolo_model.small_cfg(10, anchors), "yolov3-tiny, 416 px": config("yolov3-tiny")}
    for name, cfg in networks.items():
        torch.manual_seed(0)
        model = darknet.Darknet(cfg).eval()
        (folder / "a.cfg").write_text(cfg)
        darknet.write_weights(model, folder / "a.weights")
        theirs = oracle.network(folder / "a.cfg", folder / "a.weights")
        x = torch.rand(1, 3, *model.size)
        flat = np.ascontiguousarray(x.numpy().ravel())
        reference = model.outputs(x)[-1].detach().numpy().ravel()
        oracle.forward(theirs, flat)
        difference = float(np.abs(oracle.output(theirs, len(model.layers) - 1) - reference).max())
        if difference > 1e-3:
            sys.exit(f"{name}: the outputs differ by {difference:.1e}")
        side_by_side = darknet.Darknet(cfg).eval()
        side_by_side.load_state_dict(model.state_dict())
        side_by_side.to(memory_format=torch.channels_last)
        xs = x.to(memory_format=torch.channels_last)
        ways = {
            "ours": lambda m=model, x=x: m(x),
            "libdarknet": lambda n=theirs, f=flat: oracle.network_predict(n, pointer(f)),
            "ours, channels last": lambda m=side_by_side, x=xs: m(x),
        }
        rows.append({"what": "forward", "network": name, "difference": difference} | compare(ways, rounds))
        oracle.free_network(theirs)
    return rows


@torch.no_grad()
def measure(rounds=15, threads=1):
    torch.set_num_threads(threads)
    rows = nms_rows(rounds)
    from darknet_oracle import package_file

    if package_file("/libdarknet.so") and shutil.which("gcc"):
        with tempfile.TemporaryDirectory() as folder:
            rows += forward_rows(rounds, Path(folder))
    else:
        print("no libdarknet or no gcc: the forward pass is left out", file=sys.stderr)
    return {"rounds": rounds, "threads": threads, "rows": rows}


def runs(result):
    """The runs of the record, one a task and way, with the ratio to ours and its interval; and its facts."""
    rows = []
    for row in result["rows"]:
        task = {key: value for key, value in row.items() if key not in ("seconds", "ratio")}
        for way, seconds in row["seconds"].items():
            ratio = row["ratio"].get(way, {})
            named = {"times ours" if key == "median" else f"times ours, {key}": x for key, x in ratio.items()}
            rows.append({"arm": way} | task | {"seconds": seconds} | named)
    return rows, {"rounds": result["rounds"]}


def main():
    about = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about[0], epilog=about[2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--record", action="store_true", help="write results/bench-yolo.json")
    options = parser.parse_args()
    if options.rounds < 5 or options.threads < 1:
        parser.error("take 5 rounds or more, and a thread or more")
    start = time.monotonic()
    result = measure(options.rounds, options.threads)
    if options.record:
        from helpers.course.experiments import write

        words = f"--rounds {options.rounds} --threads {options.threads} --record"
        write(
            "bench-yolo",
            "Speed of our NMS and of our network, beside C and C++",
            "yolo",
            f"python benchmarks/yolo.py {words}",
            *runs(result),
            threads=options.threads,
            seconds=round(time.monotonic() - start, 1),
        )
    if options.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print(
            f"{row['what']}: {row.get('network') or str(row['n']) + ' boxes'}; ours "
            f"{row['seconds']['ours'] * 1e3:.2f} ms"
        )
        for name, ratio in row["ratio"].items():
            print(f"  {name:20} {ratio['median']:8.2f} times ours ({ratio['low']:.2f} to {ratio['high']:.2f})")


if __name__ == "__main__":
    main()

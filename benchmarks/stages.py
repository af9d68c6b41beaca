"""One stage against two: computing time for a picture against the number of proposals, paired in one run.

    python benchmarks/stages.py [--rounds 9] [--json] [--record]

torchvision's ssdlite320_mobilenet_v3_large and fasterrcnn_mobilenet_v3_large_320_fpn with random weights (no
download), on the same noise. Both score a fixed grid of anchors. Then the two-stage detector cuts out the best
`proposals` of them and runs a second network on each; the one-stage detector has nothing left but non-maximum
suppression among the best `proposals`. With random weights the boxes mean nothing, the work is the same: the
proposal network's own suppression and thresholds are opened so that just the asked number of proposals comes out.
Both know one class: with K classes, K times as many boxes would go into the suppression at the end. Measured is the
time that one thread computes, which does not count what other programs take from it.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torchvision.models import detection

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROPOSALS = (10, 30, 100, 200, 400, 700, 1000)
PARTS = ("two stages", "second stage", "one stage")


def two_stage():
    net = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        rpn_score_thresh=0.0,
        rpn_nms_thresh=1.0,
        rpn_pre_nms_top_n_test=1000,
    )
    return net.eval()


def one_stage():
    net = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2, score_thresh=0.0)
    return net.eval()


def count(net, picture):
    """How many proposals the second stage really gets."""
    seen = []
    hook = net.roi_heads.box_head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    net([picture])
    hook.remove()
    return seen[0]


@torch.no_grad()
def run(rounds=9, side=320, proposals=PROPOSALS):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    picture = torch.rand(3, side, side)
    two, one = two_stage(), one_stage()
    spent, part = {(kind, n): [] for kind in PARTS for n in proposals}, []
    box = {"start": 0.0}
    two.roi_heads.register_forward_pre_hook(lambda *_: box.update(start=time.process_time()))
    two.roi_heads.register_forward_hook(lambda *_: part.append(time.process_time() - box["start"]))

    def measure(kind, n):
        if kind == "two":
            two.rpn._post_nms_top_n = {"training": n, "testing": n}
            start = time.process_time()
            two([picture])
            spent["two stages", n].append(time.process_time() - start)
            spent["second stage", n].append(part[-1])
        else:
            one.topk_candidates = one.detections_per_img = n
            start = time.process_time()
            one([picture])
            spent["one stage", n].append(time.process_time() - start)

    given = {}
    for n in proposals:  # warm up, and look
        measure("one", n)
        measure("two", n)
        given[n] = count(two, picture)
    spent = {key: [] for key in spent}
    for i in range(rounds):
        for n in proposals if i % 2 else reversed(proposals):
            for kind in ("one", "two") if i % 2 else ("two", "one"):
                measure(kind, n)
    median = {kind: [statistics.median(spent[kind, n]) for n in proposals] for kind in PARTS}
    ratio = {kind: [a / b for a, b in zip(spent[kind, proposals[-1]], spent[kind, proposals[0]])] for kind in PARTS}
    x, y = np.array(proposals), np.array(median["second stage"])
    slope, start = np.polyfit(x, y, 1)
    return {
        "proposals": list(proposals),
        "given": [given[n] for n in proposals],
        "milliseconds": {kind: [1000 * t for t in times] for kind, times in median.items()},
        f"{proposals[-1]} over {proposals[0]} in every round": ratio,
        "line through the second stage": {
            "milliseconds a proposal": 1000 * slope,
            "milliseconds at none": 1000 * start,
            "share explained": float(np.corrcoef(x, y)[0, 1] ** 2),
        },
        "side": side,
        "rounds": rounds,
        "threads": 1,
    }


def runs(result):
    """The runs of the record, one a part and number of proposals, then the ratios of each part; and its facts."""
    spent, numbers = result["milliseconds"], list(zip(result["proposals"], result["given"]))
    rows = [
        {"arm": kind, "proposals": n, "given": given, "milliseconds": time}
        for kind, times in spent.items()
        for (n, given), time in zip(numbers, times)
    ]
    name = next(key for key in result if key.endswith("in every round"))
    rows += [{"arm": kind, name: ratios} for kind, ratios in result[name].items()]
    line = {f"line, {key}": value for key, value in result["line through the second stage"].items()}
    return rows, line | {"side": result["side"], "rounds": result["rounds"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="write results/bench-stages.json")
    arguments = parser.parse_args()
    result = run(arguments.rounds)
    if arguments.record:
        from helpers.course.experiments import write

        write(
            "bench-stages",
            "One stage against two: run time by the number of proposals",
            "yolo",
            f"python benchmarks/stages.py --rounds {arguments.rounds} --record",
            *runs(result),
            threads=1,
        )
    print(json.dumps(result, indent=None if arguments.json else 1))

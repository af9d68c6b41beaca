"""How far our networks are from the C program Darknet, layer by layer, in random weights and one picture.

    python benchmarks/darknet_parity.py [--json] [--record]

Takes the cfgs of Debian's package `darknet` at small sizes, writes random weights (helpers.yolo.darknet), lets
libdarknet read them (tests/darknet_oracle.py), and compares every layer's output: the largest difference over the
largest number in the layer. tests/yolo/darknet/test_network.py asserts the same on more networks.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
NETWORKS = ("yolov1-tiny", "yolov2-tiny", "yolov3-tiny", "yolov3-spp", "darknet19", "resnet50", "densenet201")


def run(names=NETWORKS):
    import darknet_networks as t
    import numpy as np
    from darknet_oracle import Oracle, config

    torch.set_num_threads(1)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        darknet = Oracle(folder)
        for name in names:
            text = t.at_size(config(name), *t.NETWORKS[name])
            network = t.random_network(text)
            net = t.both(darknet, folder, network, text)
            x = torch.rand(1, network.channels, *network.size, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                ours = [y.numpy().ravel() for y in network.outputs(x)]
            darknet.forward(net, x.numpy())
            theirs = [darknet.output(net, i) for i in range(len(ours))]
            differences = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs)]
            rows[name] = {
                "layers": len(ours),
                "height": network.size[0],
                "width": network.size[1],
                "parameters": sum(p.numel() for p in network.parameters()),
                "difference of each layer": differences,
                "largest": max(differences),
            }
            darknet.free_network(net)
    return {"networks": rows}


def runs(result):
    """The runs of the record: one a network."""
    return [{"arm": name} | row for name, row in result["networks"].items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="write results/bench-darknet.json")
    arguments = parser.parse_args()
    result = run()
    if arguments.record:
        from helpers.course.experiments import write

        write(
            "bench-darknet",
            "Layer by layer, our networks against libdarknet",
            "yolo",
            "python benchmarks/darknet_parity.py --record",
            runs(result),
        )
    print(json.dumps(result, indent=None if arguments.json else 1))

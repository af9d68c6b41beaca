"""Our small YOLO beside the smallest of Ultralytics: the same scenes, the same CPU time, the same evaluator.

    python -m venv /tmp/u && /tmp/u/bin/python -m pip install ultralytics
    python benchmarks/ultralytics.py --python /tmp/u/bin/python [--model yolo11n.yaml] [--scenes 4000] [--epochs 7]
                                     [--test 500] [--seeds 1] [--threads 1] [--json] [--record]

Both start from random weights. Ours trains first, `train_detector` with its defaults for --epochs epochs; then
theirs gets as many seconds of CPU time (its option `time`, which plans its learning rate for them; the clock that
it reads shows CPU time, so that nothing else that runs takes from either), through its public interface, in a
process of its own environment: the package is under the AGPL and no part of this course. It keeps its own
defaults, but for what the task and the short time ask for: no mirror images (digits), one epoch of warm-up,
mosaics off in the last epoch. Both answer with the boxes of the same test scenes, scored by
`helpers.yolo.average_precision`. Nothing is downloaded. --record writes results/bench-ultralytics.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
CHILD = """
import json, resource, sys, time, types
options = json.loads(sys.argv[1])
import torch
from ultralytics import YOLO, __version__
from ultralytics.engine import trainer
torch.set_num_threads(options["threads"])
cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
trainer.time = types.SimpleNamespace(time=lambda: cpu() / options["threads"])
model = YOLO(options["model"])
start, used = time.monotonic(), cpu()
model.train(data=options["data"], imgsz=options["size"], time=options["seconds"] / 3600, batch=16, workers=0,
            cache="ram", device="cpu", pretrained=False, amp=False, val=False, plots=False, fliplr=0.0,
            warmup_epochs=1.0, close_mosaic=1, seed=options["seed"], project=options["folder"], name="run",
            verbose=False)
seconds, cpu_seconds = time.monotonic() - start, cpu() - used
epochs = model.trainer.epoch + 1
best = YOLO(model.trainer.last)
found = []
for path in options["pictures"]:
    boxes = best.predict(path, imgsz=options["size"], conf=0.005, max_det=100, device="cpu", verbose=False)[0].boxes
    found.append({"boxes": boxes.xyxy.tolist(), "scores": boxes.conf.tolist(), "labels": boxes.cls.tolist()})
json.dump({"version": __version__, "seconds": seconds, "cpu_seconds": cpu_seconds, "epochs": epochs, "found": found,
           "parameters": sum(p.numel() for p in model.model.parameters())}, open(options["answer"], "w"))
"""


def write_folder(folder, sets):
    """The sets as PNG files and text labels (class, centre, size as fractions). -> the path of data.yaml."""
    from PIL import Image

    for split, data in sets.items():
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True)
        for i, (image, truth) in enumerate(zip(data.images.numpy(), data.truth.numpy())):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / "images" / split / f"{i:05}.png", compress_level=1)
            lines = [f"{int(k)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h, k in truth if k >= 0]
            (folder / "labels" / split / f"{i:05}.txt").write_text("".join(lines))
    names = "".join(f"  {k}: '{name}'\n" for k, name in enumerate(sets["train"].classes))
    text = f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}"
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def theirs(python, folder, data, model, seconds, seed, threads, test):
    """Train and answer in the other environment, without network."""
    options = {
        "data": str(data),
        "model": model,
        "seconds": seconds,
        "seed": seed,
        "threads": threads,
        "size": test.size[0],
        "folder": str(folder),
        "answer": str(folder / "answer.json"),
        "pictures": [str(p) for p in sorted((folder / "images" / "test").iterdir())],
    }
    offline = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(folder)}
    environment = os.environ | offline | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "-c", CHILD, json.dumps(options)], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"the other environment failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    answer = json.loads((folder / "answer.json").read_text())
    found = [
        {name: np.array(value).reshape((-1, 4) if name == "boxes" else -1) for name, value in one.items()}
        for one in answer.pop("found")
    ]
    return answer, found


def measure(python, model="yolo11n.yaml", scenes=4000, epochs=7, test=500, seeds=1, threads=1):
    """{"rows": one a detector and seed, ...}."""
    import torch

    from helpers.yolo import scene_set
    from helpers.yolo import train as yolo_train
    from helpers.yolo.average_precision import evaluate_dataset
    from helpers.yolo.detect import detect_dataset

    torch.set_num_threads(threads)
    rows, held = [], scene_set.SceneSet(test, "test")
    for seed in range(seeds):
        train = scene_set.SceneSet(scenes, "train", seed=seed)
        start, used = time.monotonic(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        ours, _ = yolo_train.train_detector(train, epochs=epochs, seed=seed, device="cpu", label="ours")
        seconds, cpu = time.monotonic() - start, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - used
        facts = {
            "seconds": seconds,
            "cpu_seconds": cpu,
            "epochs": epochs,
            "parameters": sum(p.numel() for p in ours.parameters()),
        }
        answers = [("ours", facts, detect_dataset(ours, held))]
        with tempfile.TemporaryDirectory() as folder:
            data = write_folder(Path(folder), {"train": train, "test": held, "val": scene_set.SceneSet(16, "valid")})
            facts, found = theirs(python, Path(folder), data, model, cpu / threads, seed, threads, held)
        answers.append((f"Ultralytics {facts.pop('version')}, {model.removesuffix('.yaml')}", facts, found))
        for name, facts, found in answers:
            scores = evaluate_dataset(found, held)
            rows.append({"detector": name, "seed": seed, "map": scores["map"], "map50": scores["map50"]} | facts)
    return {"scenes": scenes, "test": test, "size": held.size[0], "threads": threads, "rows": rows}


def runs(result):
    """The runs of the record, one a detector and seed, and its facts."""
    rows = [{"arm": row["detector"]} | {k: v for k, v in row.items() if k != "detector"} for row in result["rows"]]
    return rows, {"training scenes": result["scenes"], "test scenes": result["test"], "size": result["size"]}


def main():
    about = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about[0], epilog=about[2])
    parser.add_argument("--python", required=True, help="the interpreter of an environment with ultralytics")
    parser.add_argument("--model", default="yolo11n.yaml", help="a yaml, so that no weights are fetched")
    parser.add_argument("--scenes", type=int, default=4000, help="training scenes")
    parser.add_argument("--epochs", type=int, default=7, help="of ours; theirs gets the seconds that they take")
    parser.add_argument("--test", type=int, default=500, help="test scenes")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--record", action="store_true", help="write results/bench-ultralytics.json")
    options = vars(parser.parse_args())
    as_json, record = options.pop("json"), options.pop("record")
    if not options["model"].endswith(".yaml"):
        parser.error("--model takes a yaml: weights would have to be downloaded")
    if min(options[name] for name in ("scenes", "epochs", "test", "seeds", "threads")) < 1:
        parser.error("all numbers must be at least 1")
    result = measure(**options)
    if record:
        from helpers.course.experiments import write

        words = " ".join(f"--{name} {value}" for name, value in options.items() if name != "python")
        write(
            "bench-ultralytics",
            "The same CPU time: our small YOLO and the smallest of Ultralytics",
            "yolo",
            f"python benchmarks/ultralytics.py --python PYTHON {words} --record",
            *runs(result),
            threads=result["threads"],
            seconds=sum(row["seconds"] for row in result["rows"]),
        )
    if as_json:
        print(json.dumps(result))
        return
    print(f"{'':34}{'seed':>5}{'mAP':>8}{'mAP50':>8}{'CPU s':>8}{'epochs':>8}{'parameters':>12}")
    for row in result["rows"]:
        print(
            f"{row['detector']:34}{row['seed']:5}{row['map']:8.3f}{row['map50']:8.3f}{row['cpu_seconds']:8.0f}"
            f"{row['epochs']:8}{row['parameters']:12,}"
        )


if __name__ == "__main__":
    main()

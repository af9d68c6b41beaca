"""Pictures augmented a second: whole batches at once against one after the other, and the copy that bounds both.

    python benchmarks/augmentation.py [--device cpu] [--threads 2] [--rounds 15] [--json]
                                      [--record]

A batch of 256 pictures, 3 x 64 x 64, uint8, goes in and an augmented batch comes out, each picture with draws of
its own. Every round times every way once, one after the other, so that a slower moment of the machine hits all
alike; a ratio is the median of the ratios within the rounds. The limit is one copy of the batch in memory.

Each library gets its own kind of picture for nothing: Pillow images, NumPy arrays (H, W, C) and, for kornia, a
float batch are made beforehand. What comes out is gathered in one batch, but for Pillow's. "v2, 2 workers" is a
DataLoader with two processes that stay alive, eight batches long, so that its pipe is filled. "v2, whole batch"
gives all pictures one draw: fast, and not an augmentation of each picture; it is there to be told apart.
--record writes it all to results/bench-augmentation.json, which lecture 07 draws from.
"""

import argparse
import json
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.augmentation import transforms as A  # noqa: E402

B, C, SIDE, MARGIN, DEGREES, AMOUNT = 256, 3, 64, 4, 15, 0.2
WORK = ("flip + crop", "rotation", "colours", "erasing")
OURS = {
    "flip + crop": A.Compose(A.RandomFlip(0.5), A.RandomCrop(SIDE, padding=MARGIN)),
    "rotation": A.RandomAffine(DEGREES),
    "colours": A.ColorJitter(AMOUNT, AMOUNT, AMOUNT),
    "erasing": A.RandomErasing(1.0),
}


class Stream(Dataset):
    """Pictures, transformed in the worker that reads them."""

    def __init__(self, x, transform, times):
        self.x, self.transform, self.times = x, transform, times

    def __len__(self):
        return len(self.x) * self.times

    def __getitem__(self, i):
        return self.transform(self.x[i % len(self.x)])


def torchvision_transforms():
    from torchvision.transforms import v2

    bilinear = v2.InterpolationMode.BILINEAR
    return {
        "flip + crop": v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomCrop(SIDE, padding=MARGIN)]),
        "rotation": v2.RandomAffine(DEGREES, interpolation=bilinear),
        "colours": v2.ColorJitter(AMOUNT, AMOUNT, AMOUNT),
        "erasing": v2.RandomErasing(1.0),
    }


def opencv_functions():
    import cv2

    rng = np.random.default_rng(0)

    def flip_crop(x):
        x = cv2.flip(x, 1) if rng.random() < 0.5 else x
        x = cv2.copyMakeBorder(x, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT)
        top, left = rng.integers(0, 2 * MARGIN + 1, 2)
        return x[top : top + SIDE, left : left + SIDE]

    def rotation(x):
        middle = (SIDE - 1) / 2
        turn = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-DEGREES, DEGREES), 1.0)
        return cv2.warpAffine(x, turn, (SIDE, SIDE))

    def colours(x):
        bright, contrast, saturation = rng.uniform(1 - AMOUNT, 1 + AMOUNT, 3)
        x = cv2.convertScaleAbs(x, alpha=bright)
        mean = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).mean()
        x = cv2.addWeighted(x, contrast, x, 0, (1 - contrast) * mean)
        grey = cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(x, saturation, grey, 1 - saturation, 0)

    def erasing(x):
        area, ratio = rng.uniform(0.02, 0.33) * SIDE**2, np.exp(rng.uniform(np.log(0.3), np.log(3.3)))
        h, w = (min(SIDE, round(v)) for v in ((area * ratio) ** 0.5, (area / ratio) ** 0.5))
        top, left = rng.integers(SIDE - h + 1), rng.integers(SIDE - w + 1)
        x = x.copy()
        x[top : top + h, left : left + w] = 0
        return x

    return dict(zip(WORK, (flip_crop, rotation, colours, erasing)))


def albumentations_transforms():
    import os

    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for a newer version otherwise
    import albumentations as L

    return {
        "flip + crop": L.Compose(
            [L.HorizontalFlip(p=0.5), L.PadIfNeeded(SIDE + 2 * MARGIN, SIDE + 2 * MARGIN), L.RandomCrop(SIDE, SIDE)]
        ),
        "rotation": L.Affine(rotate=(-DEGREES, DEGREES), p=1.0),
        "colours": L.ColorJitter(
            (1 - AMOUNT, 1 + AMOUNT), (1 - AMOUNT, 1 + AMOUNT), (1 - AMOUNT, 1 + AMOUNT), (0.0, 0.0), p=1.0
        ),
        "erasing": L.Erasing((0.02, 0.33), (0.3, 3.3), p=1.0),
    }


def kornia_transforms():
    import kornia.augmentation as K

    return {
        "flip + crop": K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5), K.RandomCrop((SIDE, SIDE), padding=MARGIN)
        ),
        "rotation": K.RandomAffine(float(DEGREES), p=1.0),
        "colours": K.ColorJitter(AMOUNT, AMOUNT, AMOUNT, p=1.0),
        "erasing": K.RandomErasing((0.02, 0.33), (0.3, 3.3), p=1.0),
    }


def ways(device):
    """{work: {way: function without arguments}}, and {way: why it was left out}."""
    from PIL import Image

    g = torch.Generator().manual_seed(0)
    cpu = torch.randint(0, 256, (B, C, SIDE, SIDE), dtype=torch.uint8, generator=g)
    x, real = cpu.to(device), (cpu / 255).to(device)
    arrays = [np.ascontiguousarray(p.permute(1, 2, 0).numpy()) for p in cpu]
    images = [Image.fromarray(a) for a in arrays]
    v2, cv, left_out = torchvision_transforms(), opencv_functions(), {}
    others = {}
    for name, make in (("albumentations", albumentations_transforms), ("kornia", kornia_transforms)):
        if find_spec(name):
            others[name] = make()
        else:
            left_out[name] = "not installed"

    def table(work):
        row = {
            "copy": x.clone,
            "ours": lambda: OURS[work](x, g),
            "v2, tensors": lambda: torch.stack([v2[work](p) for p in x]),
            "v2, whole batch": lambda: v2[work](x),
            "OpenCV": lambda: np.stack([cv[work](a) for a in arrays]),
        }
        if work != "erasing":  # v2.RandomErasing takes tensors only
            row["v2, Pillow"] = lambda: [v2[work](i) for i in images]
        loader = DataLoader(Stream(cpu, v2[work], 8), batch_size=B, num_workers=2, persistent_workers=True)
        row["v2, 2 workers"] = lambda: [None for _ in loader]
        if "albumentations" in others:
            t = others["albumentations"][work]
            row["albumentations"] = lambda: np.stack([t(image=a)["image"] for a in arrays])
        if "kornia" in others:
            row["kornia"] = lambda: others["kornia"][work](real)
        return row

    return {work: table(work) for work in WORK}, left_out


def clock(call, device):
    """Seconds of one call, the device's queue included."""
    wait = getattr(torch, device.type).synchronize if device.type != "cpu" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def measure(calls, device, rounds):
    """{way: {"seconds", "images_per_second", "times_v2", "times_copy"}} of one kind of work, medians of rounds."""
    for call in calls.values():  # warm up: allocator, caches, worker processes
        call()
    batches = {way: 8 if way == "v2, 2 workers" else 1 for way in calls}
    rows = [{way: clock(call, device) / batches[way] for way, call in calls.items()} for _ in range(rounds)]
    result = {}
    for way in calls:
        seconds = statistics.median(row[way] for row in rows)
        result[way] = {
            "seconds": seconds,
            "images_per_second": B / seconds,
            "times_v2": statistics.median(row["v2, tensors"] / row[way] for row in rows),
            "times_copy": statistics.median(row[way] / row["copy"] for row in rows),
        }
    return result


def run(device="cpu", rounds=15, threads=None):
    """All kinds of work -> ({work: {way: figures}}, {way: why it was left out})."""
    import cv2

    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    device = torch.device(device)
    calls, left_out = ways(device)
    return {work: measure(calls[work], device, rounds) for work in WORK}, left_out


def runs(results):
    """The runs of the record: one a way and kind of work."""
    return [{"arm": way, "work": work} | cell for work, row in results.items() for way, cell in row.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of PyTorch and OpenCV; without it, what they choose")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--record", action="store_true", help="write results/bench-augmentation.json")
    options = parser.parse_args()
    results, left_out = run(options.device, options.rounds, options.threads)
    for work, row in results.items():
        print(f"{work}\n  {'':16s} {'ms a batch':>10s} {'images/s':>11s} {'times v2':>9s} {'copies':>8s}")
        for way, cell in sorted(row.items(), key=lambda item: item[1]["seconds"]):
            print(
                f"  {way:16s} {cell['seconds'] * 1e3:10.2f} {cell['images_per_second']:11,.0f} "
                f"{cell['times_v2']:9.1f} {cell['times_copy']:8.1f}"
            )
    for way, why in left_out.items():
        print(f"{way}: left out, {why}")
    facts = {
        "augmentation": results,
        "left_out": left_out,
        "device": options.device,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
    }
    if options.record:
        from helpers.course.experiments import write

        words = " ".join(f"--{name} {facts[name]}" for name in ("device", "rounds", "threads"))
        write(
            "bench-augmentation",
            "Augmentation in batches, and picture by picture",
            "augmentation",
            f"python benchmarks/augmentation.py {words} --record",
            runs(results),
            {"rounds": options.rounds} | {f"{way} left out": why for way, why in left_out.items()},
            device=options.device,
            threads=facts["threads"],
        )
    if options.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()

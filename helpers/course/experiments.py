"""Recorded runs: experiments that need more than a notebook's four minutes.

An experiment is a question with arms. `arms(scale)` of its module gives {arm: function(seed) -> {metric:
number}}; `run` measures every arm with every seed and writes `results/NAME.json` after each one, so a
run that was stopped goes on where it was. A notebook draws from the record, measures one arm again
live, and `agrees` says whether the two belong together.
"""

import importlib
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from pathlib import Path

from helpers.course import files
from helpers.course.errors import UserError
from helpers.course.lectures import lectures
from helpers.course.progress import bar

ROOT = Path(__file__).resolve().parents[2]
SCALES = ("tiny", "small", "full")


def experiments() -> dict[str, tuple[str, str]]:
    """{name: ("module:function" that gives its arms, the question that it answers)} of all lectures."""
    return {
        name: (f"helpers.{package}.{one.function}", one.question)
        for package, lecture in lectures().items()
        for name, one in lecture.experiments.items()
    }


def arms(name, scale):
    """{arm: function(seed)} of an experiment."""
    known = experiments()
    if name not in known:
        raise UserError(f"there is no experiment {name!r}; there are {', '.join(known)}")
    if scale not in SCALES:
        raise UserError(f"scale {scale!r} is not one of {', '.join(SCALES)}")
    module, function = known[name][0].split(":")
    return getattr(importlib.import_module(module), function)(scale)


def versions():
    """The versions that a result depends on."""
    from importlib.metadata import version

    names = ("torch", "torchvision", "timm", "accelerate", "numpy", "scikit-learn", "opencv-python-headless")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def write(name, command, facts, folder=None):
    """results/NAME.json of what was measured otherwise, by a benchmark say: `facts` with command, date, versions."""
    record = {"command": command, "date": date.today().isoformat(), "versions": versions()} | facts
    path = Path(folder or ROOT / "results") / f"{name}.json"
    files.write_atomically(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    return record


def _one(name, scale, arm, seed, threads):
    import torch

    torch.set_num_threads(threads)
    started = time.monotonic()
    values = arms(name, scale)[arm](seed)
    return values | {"seconds": time.monotonic() - started}


def run(name, seeds=3, scale="small", folder=None, jobs=1, log=None):
    """Measure all arms with seeds 0..seeds-1 and write the record; what it already holds is kept.

    jobs  processes at once, which share the cores. Returns the record.
    """
    if seeds < 1 or jobs < 1:
        raise UserError("seeds and jobs must be at least 1")
    names = list(arms(name, scale))
    path = Path(folder or ROOT / "results") / f"{name}.json"
    empty = dict.fromkeys(("name", "question", "scale", "command", "arms")) | {"scale": scale, "runs": []}
    old = _read(path) if path.exists() else empty
    if old["scale"] != scale:
        raise UserError(f"{path} was measured at scale {old['scale']}: move it away, or use another --folder")
    count = max([seeds] + [r["seed"] + 1 for r in old["runs"]])  # the command names all seeds that it holds
    command = f"python -m helpers experiment {name} --seeds {count} --scale {scale}"
    record = old | {"name": name, "question": experiments()[name][1], "command": command, "arms": names}
    done = {(r["arm"], r["seed"]) for r in record["runs"]}
    tasks = [(arm, seed) for seed in range(seeds) for arm in names if (arm, seed) not in done]

    def keep(arm, seed, values):
        record["runs"].append({"arm": arm, "seed": seed, **{k: round(v, 6) for k, v in values.items()}})
        record["runs"].sort(key=lambda r: (names.index(r["arm"]) if r["arm"] in names else -1, r["seed"]))
        record.update(
            date=date.today().isoformat(),
            versions=versions(),
            cores=os.cpu_count(),
            jobs=jobs,
            seconds=round(sum(r["seconds"] for r in record["runs"])),
        )
        files.write_atomically(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        if log:
            log({"arm": arm, "seed": seed} | values)

    with bar(name, len(tasks)) as progress:
        if jobs == 1:
            import torch

            for i, (arm, seed) in enumerate(tasks, 1):
                keep(arm, seed, _one(name, scale, arm, seed, torch.get_num_threads()))
                progress.update(i)
        else:
            import multiprocessing

            context = multiprocessing.get_context("spawn")  # forking after OpenMP has started can hang
            with ProcessPoolExecutor(jobs, mp_context=context) as pool:
                threads = max(1, (os.cpu_count() or 1) // jobs)
                waiting = {pool.submit(_one, name, scale, *task, threads): task for task in tasks}
                for i, future in enumerate(as_completed(waiting), 1):
                    keep(*waiting[future], future.result())
                    progress.update(i)
    return record


def _read(path):
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"the record {path} is damaged ({error}): delete it and run the experiment again") from error
    if not isinstance(record, dict) or not {"name", "scale", "runs"} <= record.keys():
        raise UserError(f"{path} is no record of an experiment: use another --folder")
    return record


class Record:
    """A record as a notebook reads it: `record["arm", "metric"]` is the list of values, one per seed."""

    def __init__(self, name, folder=None):
        path = Path(folder or ROOT / "results") / f"{name}.json"
        if not path.exists():
            raise UserError(f"there is no record {path}: run python -m helpers experiment {name}")
        self.data = _read(path)

    def _by_seed(self, arm, metric):
        values = {r["seed"]: r[metric] for r in self.data["runs"] if r["arm"] == arm and metric in r}
        if not values:
            raise KeyError(f"no {metric} of {arm}; the arms are {self.data['arms']}")
        return values

    def __getitem__(self, key):
        return list(self._by_seed(*key).values())

    def difference(self, arm, other, metric):
        """Paired differences arm - other, seed by seed: what both share (the data of the seed) cancels."""
        a, b = self._by_seed(arm, metric), self._by_seed(other, metric)
        return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]

    def agrees(self, arm, metric, value):
        """Does one new measurement belong to the recorded ones? (low, high) of the 95 % prediction interval,
        mean +- t_{n-1} s sqrt(1 + 1/n), and whether `value` lies inside.
        """
        import numpy as np
        from scipy.stats import t

        x = np.array(self[arm, metric])
        if len(x) < 2:
            raise ValueError(f"a prediction interval needs two seeds or more; {arm} has {len(x)}")
        half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) * (1 + 1 / len(x)) ** 0.5
        low, high = x.mean() - half, x.mean() + half
        return float(low), float(high), bool(low <= value <= high)

    def _repr_html_(self):
        d = self.data
        return (
            f"<p>Recorded run <code>{d['command']}</code>: {d['date']}, {d['seconds'] / 60:.0f} CPU minutes with "
            f"{d['cores']} cores, torch {d['versions']['torch']}.</p>"
        )

    def __repr__(self):
        return f"Recorded run `{self.data['command']}`, {self.data['date']}, torch {self.data['versions']['torch']}"

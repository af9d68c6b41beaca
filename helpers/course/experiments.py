"""Recorded runs: experiments that need more than a notebook's four minutes.

An experiment is a question with arms. `arms(scale)` of its module gives {arm: function(seed) -> {metric: number}}; in
the place of a number there may be a list of them, a curve. `run` measures every arm with every seed and writes
`results/NAME.json` after each one, so a run that was stopped goes on where it was. A notebook draws from the record,
measures one arm again live, and `agrees` says whether the two belong together.
"""

import importlib
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from pathlib import Path
from typing import Any

from helpers.course import files
from helpers.course.errors import UserError
from helpers.course.lectures import lectures
from helpers.course.progress import bar

ROOT = Path(__file__).resolve().parents[2]
SCALES = ("tiny", "small", "full")
SCALAR = {"type": ["number", "string", "boolean", "null"]}
VALUE = {"anyOf": [SCALAR, {"type": "array", "items": SCALAR}]}
TEXT, COUNT, TIME = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}, {"type": "number"}
SCHEMA = {  # of every file in results/, in the language of json-schema.org
    "type": "object",
    "required": ["name", "title", "lecture", "command", "date", "versions", "arms", "runs"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,  # of the file
        "title": TEXT,  # an experiment's question
        "lecture": TEXT,  # the package that knows what its short names stand for
        "scale": {"enum": list(SCALES)},  # of an experiment: its runs are shown as means over the seeds
        "command": TEXT,
        "commands": {"type": "array", "items": TEXT},  # where it took more than one
        "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "versions": {"type": "object", "additionalProperties": TEXT},
        "seconds": TIME,
        "cores": COUNT,
        "jobs": COUNT,
        "threads": COUNT,
        "device": TEXT,
        "facts": {"type": "object", "additionalProperties": VALUE},  # what holds for all runs
        "arms": {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["arm"],
                "properties": {"arm": TEXT, "seed": {"type": "integer"}, "seconds": VALUE},
                "additionalProperties": VALUE,
            },
        },
    },
}


def experiments() -> dict[str, tuple[str, str]]:
    """{name: ("module:function" that gives its arms, the question that it answers)} of all lectures."""
    return {
        name: (f"helpers.{package}.{one.function}", one.question)
        for package, lecture in lectures().items()
        for name, one in lecture.experiments.items()
    }


def arms(name: str, scale: str) -> dict[str, Callable[[int], dict[str, Any]]]:
    """{arm: function(seed)} of an experiment."""
    known = experiments()
    if name not in known:
        raise UserError(f"there is no experiment {name!r}; there are {', '.join(known)}")
    if scale not in SCALES:
        raise UserError(f"scale {scale!r} is not one of {', '.join(SCALES)}")
    module, function = known[name][0].split(":")
    return getattr(importlib.import_module(module), function)(scale)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    from importlib.metadata import version

    names = ("torch", "torchvision", "timm", "accelerate", "numpy", "scikit-learn", "opencv-python-headless")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def write(
    name: str,
    title: str,
    lecture: str,
    command: str,
    runs: list[dict],
    facts: dict | None = None,
    folder: Path | None = None,
    **header: Any,
) -> dict:
    """results/NAME.json of what was measured otherwise, by a benchmark say. Returns the record.

    facts   {name: value} of what holds for all runs; header: seconds, threads, device, commands (see SCHEMA)
    """
    record = {"name": name, "title": title, "lecture": lecture, "command": command} | header
    record |= {"date": date.today().isoformat(), "versions": versions(), "facts": facts or {}}
    record |= {"arms": list(dict.fromkeys(run["arm"] for run in runs)), "runs": runs}
    _save(Path(folder or ROOT / "results") / f"{name}.json", record)
    return record


def _rounded(value):
    """A measure to six decimals: a number, or a list of them (a curve)."""
    return [_rounded(one) for one in value] if isinstance(value, list) else round(value, 6)


def _save(path, record):
    files.write_atomically(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def _one(name, scale, arm, seed, threads):
    import torch

    torch.set_num_threads(threads)
    started = time.monotonic()
    values = arms(name, scale)[arm](seed)
    return values | {"seconds": time.monotonic() - started}


def run(
    name: str,
    seeds: int = 3,
    scale: str = "small",
    folder: Path | None = None,
    jobs: int = 1,
    log: Callable[[dict], None] | None = None,
) -> dict:
    """Measure all arms with seeds 0..seeds-1 and write the record; what it already holds is kept.

    jobs  processes at once, which share the cores. Returns the record.
    """
    if seeds < 1 or jobs < 1:
        raise UserError("seeds and jobs must be at least 1")
    names = list(arms(name, scale))
    path = Path(folder or ROOT / "results") / f"{name}.json"
    empty: dict[str, Any] = dict.fromkeys(("name", "title", "lecture", "scale", "command", "arms")) | {
        "scale": scale,
        "runs": [],
    }
    old = _read(path) if path.exists() else empty
    old.pop("question", None)  # what the title was called
    if old.get("scale") != scale:
        raise UserError(f"{path} was measured at scale {old.get('scale')}: move it away, or use another --folder")
    count = max([seeds] + [r["seed"] + 1 for r in old["runs"]])  # the command names all seeds that it holds
    command = f"python -m helpers experiment {name} --seeds {count} --scale {scale}"
    function, question = experiments()[name]
    lecture = function.removeprefix("helpers.").partition(".")[0]
    record = old | {"name": name, "title": question, "lecture": lecture, "command": command, "arms": names}
    done = {(r["arm"], r["seed"]) for r in record["runs"]}
    tasks = [(arm, seed) for seed in range(seeds) for arm in names if (arm, seed) not in done]

    def keep(arm, seed, values):
        record["runs"].append({"arm": arm, "seed": seed, **{k: _rounded(v) for k, v in values.items()}})
        record["runs"].sort(key=lambda r: (names.index(r["arm"]) if r["arm"] in names else -1, r["seed"]))
        record.update(
            date=date.today().isoformat(),
            versions=versions(),
            cores=os.cpu_count(),
            jobs=jobs,
            seconds=round(sum(r["seconds"] for r in record["runs"])),
        )
        _save(path, record)
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
    if not isinstance(record, dict) or not {"name", "runs"} <= record.keys():
        raise UserError(f"{path} is no record of an experiment: use another --folder")
    return record


class Record:
    """A record as a notebook reads it: `record["arm", "metric"]` is the list of values, one per seed.

    `record["command"]` or any other single name is an entry of the record, or one of its facts.
    """

    def __init__(self, name: str, folder: Path | None = None):
        path = Path(folder or ROOT / "results") / f"{name}.json"
        if not path.exists():
            raise UserError(f"there is no record {path}: run python -m helpers experiment {name}")
        self.data = _read(path)

    def _by_seed(self, arm, metric):
        values = {r["seed"]: r[metric] for r in self.data["runs"] if r["arm"] == arm and metric in r}
        if not values:
            raise KeyError(f"no {metric} of {arm}; the arms are {self.data['arms']}")
        return values

    def __getitem__(self, key: str | tuple[str, str]) -> Any:
        if isinstance(key, str):
            return self.data[key] if key in self.data else self.data["facts"][key]
        return list(self._by_seed(*key).values())

    def rows(self, *keys: str) -> list[dict]:
        """The runs that have all `keys`, those with the same values of them side by side: [{key: value, arm: run}]."""
        found: dict[tuple, dict] = {}
        for run in self.data["runs"]:
            if all(key in run for key in keys):
                row = found.setdefault(tuple(run[key] for key in keys), {key: run[key] for key in keys})
                row[run["arm"]] = row.get(run["arm"], {}) | run
        return list(found.values())

    def difference(self, arm: str, other: str, metric: str) -> list[float]:
        """Paired differences arm - other, seed by seed: what both share (the data of the seed) cancels."""
        a, b = self._by_seed(arm, metric), self._by_seed(other, metric)
        return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]

    def agrees(self, arm: str, metric: str, value: float) -> tuple[float, float, bool]:
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

    def weak(self, arm: str, metric: str, span: float | None = None) -> bool:
        """Whether the band of `agrees` is wider than a third of `span`: then a value inside it tells little.

        span  what the band is held against; without it, the range of the arms' means in this metric. A band that
              holds most of that range would agree with the other arms as well. `claim(..., weak=...)` says so.
        """
        low, high, _ = self.agrees(arm, metric, 0.0)
        if span is None:
            found = [[r[metric] for r in self.data["runs"] if r["arm"] == a and metric in r] for a in self.data["arms"]]
            means = [sum(values) / len(values) for values in found if values]
            span = max(means) - min(means)
        return high - low > span / 3

    def _repr_html_(self):
        d = self.data
        return (
            f"<p>Recorded run <code>{d['command']}</code>: {d['date']}, {d['seconds'] / 60:.0f} CPU minutes with "
            f"{d['cores']} cores, torch {d['versions']['torch']}.</p>"
        )

    def __repr__(self):
        return f"Recorded run `{self.data['command']}`, {self.data['date']}, torch {self.data['versions']['torch']}"

"""Recorded runs: every experiment on its tiny scale, resumption, and the records that the book draws from."""

import json
import math
import re
import sys
import types
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import torch
from scipy import stats

from helpers.course import experiments
from helpers.course.errors import UserError
from helpers.course.experiments import SCHEMA, Record, run
from helpers.course.lectures import lectures

RESULTS = Path(__file__).parents[2] / "results"
EVERY = sorted(RESULTS.glob("*.json"))
# timings are of benchmarks/, and what `yolo eval --record` writes is looked at in tests/yolo/test_cli.py
RECORDS = [p for p in EVERY if not p.name.startswith("bench-") and p.stem != "yolo-bccd"]


@pytest.fixture
def fake(monkeypatch):
    """An experiment of two arms whose values are known; `fake.calls` holds what was measured."""
    module = types.ModuleType("fake_study")
    module.calls = []

    def measure(arm, slope, seed):
        module.calls.append((arm, seed))
        if (arm, seed) == getattr(module, "breaks", None):
            raise KeyboardInterrupt
        return {"accuracy": slope * seed, "loss": 1 / 3}

    module.study = lambda scale: {
        "flat": lambda seed: measure("flat", 0, seed),
        "steep": lambda seed: measure("steep", 0.5, seed),
    }
    monkeypatch.setitem(sys.modules, "fake_study", module)
    known = experiments.experiments() | {"fake": ("fake_study:study", "Is it steep?")}
    monkeypatch.setattr(experiments, "experiments", lambda: known)
    return module


def test_every_arm_is_measured_with_every_seed(fake, tmp_path):
    lines = []
    record = run("fake", 3, "tiny", tmp_path, log=lines.append)
    assert [(r["arm"], r["seed"]) for r in record["runs"]] == [(a, s) for a in ("flat", "steep") for s in range(3)]
    assert [r["accuracy"] for r in record["runs"]] == [0, 0, 0, 0, 0.5, 1] and record["runs"][0]["loss"] == 0.333333
    assert sorted(fake.calls) == sorted((r["arm"], r["seed"]) for r in record["runs"])
    assert json.loads((tmp_path / "fake.json").read_text()) == record
    assert record["title"] == "Is it steep?" and record["arms"] == ["flat", "steep"] and record["scale"] == "tiny"
    assert record["command"] == "python -m helpers experiment fake --seeds 3 --scale tiny"
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert date.fromisoformat(record["date"]) <= date.today()
    assert len(lines) == 6 and lines[0].keys() == {"arm", "seed", "accuracy", "loss", "seconds"}
    assert [p.name for p in tmp_path.iterdir()] == ["fake.json"]


def test_a_stopped_experiment_goes_on_where_it_was(fake, tmp_path):
    fake.breaks = ("steep", 1)
    with pytest.raises(KeyboardInterrupt):
        run("fake", 3, "tiny", tmp_path)
    kept = json.loads((tmp_path / "fake.json").read_text())
    assert [(r["arm"], r["seed"]) for r in kept["runs"]] == [("flat", 0), ("flat", 1), ("steep", 0)]
    fake.calls.clear()
    fake.breaks = None
    record = run("fake", 3, "tiny", tmp_path)
    assert fake.calls == [("steep", 1), ("flat", 2), ("steep", 2)]  # nothing is measured again
    assert len(record["runs"]) == 6 and all(r in record["runs"] for r in kept["runs"])


def test_a_finished_experiment_stays_as_it_is_and_more_seeds_are_added(fake, tmp_path):
    first = run("fake", 2, "tiny", tmp_path)
    before = (tmp_path / "fake.json").read_bytes()
    fake.calls.clear()
    assert run("fake", 2, "tiny", tmp_path) == first and run("fake", 1, "tiny", tmp_path)["runs"] == first["runs"]
    assert fake.calls == [] and (tmp_path / "fake.json").read_bytes() == before
    more = run("fake", 3, "tiny", tmp_path)
    assert fake.calls == [("flat", 2), ("steep", 2)] and "--seeds 3 " in more["command"]


def test_what_cannot_be_run_ends_in_one_line(fake, tmp_path):
    run("fake", 1, "tiny", tmp_path)
    for arguments, words in (
        (("fake", 1, "small", tmp_path), "measured at scale tiny"),
        (("fake", 1, "huge", tmp_path), "'huge' is not one of tiny, small, full"),
        (("fakes", 1, "tiny", tmp_path), "no experiment 'fakes'"),
        (("fake", 0, "tiny", tmp_path), "at least 1"),
    ):
        with pytest.raises(UserError, match=words):
            run(*arguments)
    whole = (tmp_path / "fake.json").read_text()
    for text, words in ((whole[:100], "is damaged"), ("[]", "no record"), ('{"a": 1}', "no record")):
        (tmp_path / "fake.json").write_text(text)
        for attempt in (lambda: run("fake", 1, "tiny", tmp_path), lambda: Record("fake", tmp_path)):
            with pytest.raises(UserError, match=words) as caught:
                attempt()
            assert str(tmp_path / "fake.json") in str(caught.value)
    with pytest.raises(UserError, match="run python -m helpers experiment fake"):
        Record("fake", tmp_path / "elsewhere")


# ------------------------------------------------------------------ reading a record


def written(tmp_path, **values):
    """A record with these values: arm=[one per seed]."""
    runs = [{"arm": arm, "seed": seed, "accuracy": v} for arm, row in values.items() for seed, v in enumerate(row)]
    data = {
        "name": "r",
        "scale": "small",
        "runs": runs,
        "arms": list(values),
        "command": "python -m helpers <x>",
        "date": "2026-01-02",
        "seconds": 90,
        "cores": 2,
        "versions": {"torch": "2.9"},
    }
    (tmp_path / "r.json").write_text(json.dumps(data))
    return Record("r", tmp_path)


def test_values_and_paired_differences(tmp_path):
    record = written(tmp_path, a=[0.5, 0.75, 1.0], b=[0.25, 0.25, 0.75, 0.9])
    assert record["a", "accuracy"] == [0.5, 0.75, 1.0]
    assert record.difference("a", "b", "accuracy") == [0.25, 0.5, 0.25]  # of the seeds that both have
    for attempt in (
        lambda: record["c", "accuracy"],
        lambda: record["a", "loss"],
        lambda: record.difference("a", "c", "accuracy"),
    ):
        with pytest.raises(KeyError, match="the arms are"):
            attempt()
    assert "torch 2.9" in repr(record) and "<code>" in record._repr_html_()


def test_agreement_is_the_prediction_interval(tmp_path):
    """Of n values with mean m and deviation s: m +- t s sqrt(1 + 1/n). For 1, 2, 3: 2 +- 4.3027 sqrt(4/3)."""
    record = written(tmp_path, a=[1.0, 2.0, 3.0])
    half = 4.302653 * math.sqrt(4 / 3)
    low, high, agrees = record.agrees("a", "accuracy", 2 + half - 1e-4)
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-5) and agrees is True
    assert record.agrees("a", "accuracy", 2 + half + 1e-4)[2] is False
    with pytest.raises(ValueError, match="two seeds"):
        written(tmp_path, a=[1.0]).agrees("a", "accuracy", 1.0)


def test_a_new_measurement_agrees_in_95_of_100_cases(tmp_path):
    rng = stats.norm(0.8, 0.02)
    draws = rng.rvs((400, 4), random_state=0)
    hits = [written(tmp_path, a=list(row[:3])).agrees("a", "accuracy", row[3])[2] for row in draws]
    assert abs(sum(hits) / 400 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_a_band_wider_than_a_third_of_the_range_between_the_arms_is_weak(tmp_path):
    """Of 1, 2, 3 the band is 2 * 4.3027 sqrt(4/3) = 9.94 wide: a third of 29.8."""
    for other, weak in ((2 + 29.9, False), (2 + 29.7, True), (2 - 29.7, True)):
        assert written(tmp_path, a=[1.0, 2.0, 3.0], b=[other]).weak("a", "accuracy") is weak
    alone = written(tmp_path, a=[1.0, 2.0, 3.0])
    assert alone.weak("a", "accuracy") is True  # nothing to tell it from
    assert alone.weak("a", "accuracy", span=29.9) is False and alone.weak("a", "accuracy", span=29.7) is True


# ------------------------------------------------------------------ the course's experiments


def numbers(run):
    """The metrics of one run, all of them finite numbers or curves of such; a control may have fewer than the arm it
    stands beside."""
    metrics = run.keys() - {"arm", "seed", "seconds"}
    for k in (*metrics, "seconds"):
        assert all(math.isfinite(v) for v in (run[k] if isinstance(run[k], list) else [run[k]])), k
    return metrics


def test_a_curve_is_recorded_point_by_point(fake, tmp_path):
    fake.study = lambda scale: {arm: lambda seed: {"error": [seed + 1 / 3, 0.25]} for arm in ("flat", "steep")}
    record = run("fake", 2, "tiny", tmp_path)
    jsonschema.validate(record, SCHEMA)
    assert Record("fake", tmp_path)["flat", "error"] == [[0.333333, 0.25], [1.333333, 0.25]]


@pytest.mark.parametrize("name", experiments.experiments())
def test_every_experiment_runs_on_its_tiny_scale(name, tmp_path):
    record = run(name, 1, "tiny", tmp_path)
    assert [r["arm"] for r in record["runs"]] == record["arms"] and len(record["arms"]) >= 2
    assert all(numbers(r) for r in record["runs"])
    assert len(record["title"]) > 20 and record["title"].endswith("?")


def test_several_processes_measure_the_same(tmp_path, monkeypatch):
    """Two processes at once, each with as many threads as this one: the same numbers."""
    monkeypatch.setattr(experiments.os, "cpu_count", lambda: 2 * torch.get_num_threads())
    one, two = (run("autoencoder-width", 1, "tiny", tmp_path / str(jobs), jobs) for jobs in (1, 2))
    assert [r | {"seconds": 0} for r in one["runs"]] == [r | {"seconds": 0} for r in two["runs"]]
    assert two["jobs"] == 2


# ------------------------------------------------------------------ the records in results/


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_every_record_has_the_one_form(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(record, SCHEMA)
    assert record["name"] == path.stem and record["lecture"] in lectures()
    assert record["arms"] == list(dict.fromkeys(run["arm"] for run in record["runs"]))
    assert date.fromisoformat(record["date"]) <= date.today()


@pytest.mark.parametrize(
    "fault",
    [
        {"rows": []},
        {"date": "yesterday"},
        {"runs": [{"seed": 0}]},
        {"runs": [{"arm": "a", "classes": {"RBC": 1}}]},
        {"arms": ["a", "a"]},
        {"scale": "huge"},
    ],
    ids=str,
)
def test_another_form_is_noticed(fault, fake, tmp_path):
    record = run("fake", 1, "tiny", tmp_path)
    jsonschema.validate(record, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record | fault, SCHEMA)


def test_what_a_benchmark_writes_is_read_side_by_side(tmp_path):
    runs = [{"arm": arm, "n": n, "seconds": n * slope} for n in (1, 2) for arm, slope in (("ours", 2), ("theirs", 3))]
    runs.append({"arm": "ours", "exponent": 1.0})
    record = experiments.write("b", "How fast?", "yolo", "python b.py", runs, {"side": 3}, tmp_path, threads=2)
    jsonschema.validate(record, SCHEMA)
    assert json.loads((tmp_path / "b.json").read_text()) == record and record["arms"] == ["ours", "theirs"]
    read = Record("b", tmp_path)
    assert (read["side"], read["threads"], read["command"]) == (3, 2, "python b.py")
    assert [row["n"] for row in read.rows("n")] == [1, 2] and read.rows("n")[1]["theirs"]["seconds"] == 6
    [whole] = read.rows()
    assert whole["ours"]["exponent"] == 1.0 and whole.keys() == {"ours", "theirs"}
    assert [row["ours"]["exponent"] for row in read.rows("exponent")] == [1.0]
    with pytest.raises(KeyError):
        read["colour"]


@pytest.mark.skipif(not RECORDS, reason="results/ holds no record yet")
@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_records_are_complete_and_belong_to_the_code(path):
    record = json.loads(path.read_text())
    name = path.stem
    assert record["name"] == name and name in experiments.experiments(), f"{name} is no experiment any more"
    assert record["title"] == experiments.experiments()[name][1] and record["scale"] in ("small", "full")
    command = re.fullmatch(r"python -m helpers experiment (\S+) --seeds (\d+) --scale (\w+)", record["command"])
    assert command and command[1] == name and command[3] == record["scale"]
    seeds = int(command[2])
    assert seeds >= 3, "an interval needs three seeds or more"
    assert record["arms"] == list(experiments.arms(name, record["scale"])), "the arms have changed: measure again"
    assert sorted((r["arm"], r["seed"]) for r in record["runs"]) == sorted(
        (arm, seed) for arm in record["arms"] for seed in range(seeds)
    ), "not every arm has every seed"
    metrics = {arm: [numbers(r) for r in record["runs"] if r["arm"] == arm] for arm in record["arms"]}
    assert all(one and one == other for found in metrics.values() for one, other in zip(found, found[1:]))
    assert record["seconds"] == pytest.approx(sum(r["seconds"] for r in record["runs"]), abs=1)
    assert date.fromisoformat(record["date"]) <= date.today() and record["cores"] >= 1 and record["jobs"] >= 1
    assert {"python", "torch", "torchvision", "timm", "numpy"} <= record["versions"].keys()
    # measured, not typed in: no arm with the same value for all seeds in everything
    found = (Record(name)[arm, m] for arm in record["arms"] for m in metrics[arm][0])
    assert any(len({json.dumps(value) for value in values}) > 1 for values in found)

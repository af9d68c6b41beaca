"""Tolerances are derived: each is as wide as the spread that was measured, and not ten times wider."""

import json
from pathlib import Path

import nbformat
import pytest

from tools import spread

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_tolerance_fits_the_spread_that_was_seen(path):
    known = json.loads((spread.FOLDER / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert spread.judge(nbformat.read(path, 4), known) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_spread_was_measured_under_every_setting(path):
    known = json.loads((spread.FOLDER / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert {"stored", *spread.settings()} <= set(known["runs"])


def printed(text):
    return [("stdout", text)]


def test_what_moves_in_a_cell():
    entry = spread.of_cell({"stored": printed("error 0.50, n 7"), "a": printed("error 0.52, n 7")})
    assert entry["atol"] == 0.02 and entry["rtol"] == pytest.approx(0.02 / 0.52, rel=1e-2)
    assert entry["numbers"] == [{"part": 0, "kind": "stdout", "place": 1, "low": 0.5, "high": 0.52}]
    assert "words differ" not in entry


def test_what_the_defaults_allow_does_not_move():
    assert spread.of_cell({"stored": printed("0.5000"), "a": printed("0.5004")}) is None  # a thousandth of it
    assert spread.of_cell({"stored": printed("0.123"), "a": printed("0.124")}) is None  # one unit of the last place


def test_other_words_are_named_and_their_numbers_left_out():
    entry = spread.of_cell({"stored": printed("true 0.5"), "a": printed("false 0.9"), "b": printed("true 0.5")})
    assert entry["words differ"] == ["a"] and "atol" not in entry


def notebook(text="error 0.50", tags=(), picture=None):
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    cell = nbformat.v4.new_code_cell("print(error)", outputs=outputs, metadata={"tags": list(tags)}, execution_count=1)
    return nbformat.v4.new_notebook(cells=[cell])


def measured(*texts):
    entry = spread.of_cell({str(i): printed(text) for i, text in enumerate(texts)})
    return {"runs": [], "cells": {"0": entry} if entry else {}}


def wrong(tags=(), texts=("error 0.50", "error 0.53")):
    return spread.judge(notebook(texts[0], tags), measured(*texts))


def test_a_tolerance_that_is_too_small_is_found():
    assert "nbval-atol=0.06" in wrong()[0]  # twice the spread
    assert wrong(["nbval-atol=0.02"])
    assert wrong(["nbval-atol=0.03"]) == wrong(["nbval-atol=0.3"]) == wrong(["nbval-rtol=0.06"]) == []


def test_a_tolerance_that_is_blind_is_found():
    assert "blind" in wrong(["nbval-atol=0.31"])[0] and "nbval-atol=0.06 would do" in wrong(["nbval-atol=0.31"])[0]
    assert "the defaults would do" in wrong(["nbval-atol=0.01"], ("error 0.50", "error 0.50"))[0]


def test_what_is_stored_since_counts_as_well():
    known = measured("error 0.50", "error 0.53")
    assert spread.judge(notebook("error 0.51", ["nbval-atol=0.04"]), known) == []
    assert "ranges from 0.5 to 0.58" in spread.judge(notebook("error 0.58", ["nbval-atol=0.04"]), known)[0]


def test_a_tolerance_for_rounding_errors_is_not_blind():
    oracle = ("error 3.35, from the oracle by 0.0000021", "error 3.35, from the oracle by 0.0000021")
    assert wrong(["nbval-atol=1e-3"], oracle) == []  # 3.35 is compared within .00335 anyway
    assert "blind" in wrong(["nbval-atol=0.01"], oracle)[0]  # this would let 3.36 pass


@pytest.mark.parametrize("spread_, fit", [(0.03, 0.06), (0.0553, 0.12), (0.5, 1.0), (0.0002, 0.0004), (0.26, 0.6)])
def test_what_is_suggested_is_twice_the_spread_rounded_up(spread_, fit):
    assert spread.suggested(spread_) == pytest.approx(fit)


def test_words_that_differ_are_no_matter_of_tolerance():
    assert "its words differ in 1" in wrong(["nbval-atol=1"], ("above 0.5", "below 0.4"))[0]


def test_a_record_of_other_outputs_is_refused():
    known = measured("error 0.50", "error 0.53")
    assert "measure the spread again" in spread.judge(notebook("the error is 0.50"), known)[0]


def test_tolerances_are_fitted_where_they_are_wrong_and_left_where_they_are_right():
    for tags, after in (
        ((), ["nbval-atol=0.06"]),
        (("nbval-atol=0.5", "hide-input"), ["hide-input", "nbval-atol=0.06"]),
    ):
        nb, known = notebook(tags=tags), measured("error 0.50", "error 0.53")
        assert spread.fit(nb, known) == [(0, list(tags), after)]
        assert spread.judge(nb, known) == [] and spread.fit(nb, known) == []
    nb, known = notebook(tags=["nbval-atol=0.2"]), measured("error 0.50", "error 0.53")
    assert spread.fit(nb, known) == []
    nb.cells[0].update(source="# nbval-atol=0.9: trained just now\nprint(error)")
    nb.cells[0].metadata["tags"] = ["nbval-atol=0.9"]
    spread.fit(nb, known)
    assert nb.cells[0].source == "# nbval-atol=0.06: trained just now\nprint(error)"
    nb = notebook(tags=["nbval-atol=0.9"])
    assert spread.fit(nb, measured("error 0.50", "error 0.50"))[0][2] == []  # the defaults do


def test_a_training_that_is_disturbed_moves_by_roundings_only():
    import subprocess
    import sys

    code = (  # each in a process of its own, which is a fork: PyTorch is imported once
        "import os, sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "from tools.rounding import disturb\n"
        "train = lambda m: torch.optim.SGD(m.parameters(), lr=.1)\n"
        "train(torch.nn.Linear(1, 1))\n"
        "for seed in (0, 1, 2):\n"
        "    if not os.fork():\n"
        "        if seed: disturb(seed)\n"
        "        torch.manual_seed(0); m = torch.nn.Linear(50, 1); train(m)\n"
        "        print(m.weight.tolist()[0], torch.rand(1).item(), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT], capture_output=True, text=True, check=True)
    runs = []
    for line in done.stdout.splitlines():
        weights, drawn = line.rsplit(" ", 1)
        runs.append((json.loads(weights), drawn))
    assert len(runs) == 3
    plain, one, two = (weights for weights, _ in runs)
    assert len({drawn for _, drawn in runs}) == 1  # the lecture's random numbers stay as they are
    for a, b in ((plain, one), (one, two)):
        moved = [abs(x - y) / abs(x) for x, y in zip(a, b)]
        assert 1e-7 < max(moved) < 1e-5

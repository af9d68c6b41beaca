"""The page of results: every number of every record, in tables."""

import json
import re
import sys
from pathlib import Path

import jsonschema
import pytest

from helpers.course import ledger
from helpers.course.claims import interval
from helpers.course.experiments import SCHEMA

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import bookresults as results  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def notebook(*cards, heading="## Part"):
    """The JSON of a notebook with these cards, stored as a kernel stores them."""
    outputs = [
        {
            "output_type": "display_data",
            "metadata": {},
            "data": card._repr_mimebundle_() | {"text/html": card._repr_html_(), "text/plain": repr(card)},
        }
        for card in cards
    ]
    return {
        "cells": [
            {"cell_type": "markdown", "source": f"# Title\n\n{heading}"},
            {"cell_type": "code", "source": "claim(...)", "outputs": outputs},
        ]
    }


# ------------------------------------------------------------------ results
def cells(table):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return rows[0], rows[2:]


HEADER = {
    "name": "x",
    "title": "On cells",
    "lecture": "yolo",
    "command": "python benchmarks/x.py",
    "date": "2026-11-24",
    "versions": {"torch": "2.14.1"},
}


def record(runs, **more):
    whole = HEADER | more | {"arms": list(dict.fromkeys(run["arm"] for run in runs)), "runs": runs}
    jsonschema.validate(whole, SCHEMA)
    return whole


def test_an_experiment_is_shown_by_its_means_and_intervals():
    runs = [
        {"arm": arm, "seed": s, "accuracy": v, "seconds": 2.0}
        for arm, values in (("a", (0.5, 0.7)), ("b", (0.9, 0.9)))
        for s, v in enumerate(values)
    ]
    head, rows = cells(results.tables(record(runs, scale="small"))[0])
    assert head == ["arm", "accuracy", "seeds", "seconds a run"]
    known = interval([0.5, 0.7])
    assert rows[0][1].startswith(f"{known.mean:.1f}") and rows[1] == ["b", "0.9", "2", "2"]
    shown = [float(x) for x in re.findall(r"-?\d+\.\d+", rows[0][1])]
    assert shown == pytest.approx([known.mean, known.low, known.high], abs=0.06)


def test_a_curve_is_shown_as_its_mean_at_each_point():
    runs = [{"arm": "a", "seed": s, "curve": [1.0 + s, 4.0], "seconds": 2.0} for s in (0, 1)]
    _, [row] = cells(results.tables(record(runs, scale="small"))[0])
    assert row[:2] == ["a", "1.5, 4"]


def test_an_experiment_with_more_measures_than_arms_stands_upright():
    """`kl` is a short name of another lecture, so it stays as it is."""
    runs = [
        {"arm": arm, "seed": 0, "map": 0.5, "map50": v, "kl": 1.5, "seconds": 2.0} for arm, v in (("a", 0.7), ("b", 1))
    ]
    head, rows = cells(results.tables(record(runs, scale="small"))[0])
    names = ["mAP", "mAP50", "kl", "seeds", "seconds a run"]
    assert head == ["measure", "a", "b"] and [row[0] for row in rows] == names
    assert rows[1][1:] == ["0.7", "1"] and rows[3][1:] == ["1", "1"]
    other = results.tables(record(runs, scale="small", lecture="embedding"))[0]
    assert [row[0] for row in cells(other)[1]][:3] == ["map", "map50", "KL divergence"]


def test_an_arm_without_a_measure_leaves_its_cell_empty():
    runs = [{"arm": a, "seed": 0, m: 0.5, "seconds": 2.0} for a, m in (("a", "map"), ("b", "gap"), ("c", "gap"))]
    [table] = results.tables(record(runs, scale="small"))
    head, rows = cells(table)
    assert head == ["arm", "mAP", "calibration error", "seeds", "seconds a run"]
    assert [row[1:3] for row in rows] == [["0.5", ""], ["", "0.5"], ["", "0.5"]]


def test_other_runs_are_shown_one_by_one():
    runs = [{"arm": "ours", "map50": 0.81234, "n": 12345}, {"arm": "theirs", "n": 7}]
    whole = record(runs, seconds=7200.0, threads=1, device="cpu", facts={"side": 320, "left out": "kornia"})
    first, second = results.tables(whole)
    assert cells(first) == (["arm", "mAP50", "n"], [["ours", "0.8123", "12,345"], ["theirs", "", "7"]])
    assert cells(second) == (["quantity", "value"], [["side", "320"], ["left out", "kornia"]])
    said = results.origin(whole)
    for fact in ("2026", "2.0 hours", "1 thread;", "device cpu", "torch 2", "```shell\npython benchmarks/x.py\n```"):
        assert fact in said
    assert "results/x.json" in said and "3 seeds" not in said
    two = results.origin(whole | {"commands": ["a --seed 0", "a --seed 1"]})
    assert "\na --seed 0\n" in two and "\na --seed 1\n" in two


def test_runs_of_another_kind_get_a_table_of_their_own():
    runs = [{"arm": "a", "n": 1, "time": 2.5}, {"arm": "a", "by round": [1, 2.5]}, {"arm": "b", "n": 3}]
    first, second = map(cells, results.tables(record(runs)))
    assert first == (["arm", "n", "time"], [["a", "1", "2.5"], ["b", "3", ""]])
    assert second == (["arm", "by round"], [["a", "1, 2.5"]])


def test_every_number_of_every_committed_record_is_on_the_page():
    """Benchmarks: each value, rounded to the four figures that are shown; experiments: each arm."""
    page = results.results(ROOT / "results")
    for stem, whole in results.load(ROOT / "results").items():
        part = page.partition(f"(record-{stem})=")[2].partition("(record-")[0]
        assert f"results/{stem}.json" in part
        names = list(whole["arms"])
        if "scale" not in whole:
            values = [value for run in whole["runs"] for value in run.values()]
            names += [results.number(value) for value in [*values, *whole.get("facts", {}).values()]]
        missing = [name for name in names if ledger.plain(name) not in part]
        assert not missing, (stem, missing)
        assert all(command in part for command in whole.get("commands", [whole["command"]]))
        assert "\\{'" not in part, f"{stem}: a Python object instead of a table"


def test_a_record_stands_in_its_part_of_the_page():
    every = results.load(ROOT / "results")
    parts = {kind: [stem for stem in every if results.kind(every[stem]) == kind] for kind in results.KINDS}
    assert parts["On real data"] == ["sentiment-folds", "sentiment-nsmc", "transfer-photographs", "yolo-bccd"]
    assert all(stem.startswith("bench-") for stem in parts["Against others"]) and len(parts["Against others"]) >= 8
    assert not any(stem.startswith("bench-") for stem in parts["Experiments of the lectures"])


def test_a_long_list_is_folded_behind_its_range():
    table = results.tables(record([{"arm": "a", "differences": list(range(results.LONG + 1))}]))[0]
    assert "<details><summary>13 values, 0 to 12</summary>0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12</details>" in table


def test_a_record_leads_to_the_lectures_that_draw_from_it(tmp_path):
    for stem in ("a-b", "a-b-c"):
        (tmp_path / f"{stem}.json").write_text(json.dumps(record([{"arm": "a", "x": 1}], name=stem)))
    page = results.results(tmp_path, {"[One](/one.ipynb)": 'Record("a-b")', "[Two](/two.ipynb)": 'Record("a-b-c")'})
    parts = [page.partition(f"(record-{stem})=")[2].partition("(record-")[0] for stem in ("a-b", "a-b-c")]
    assert ["[One]" in part for part in parts] == [True, False] and ["[Two]" in part for part in parts] == [False, True]


def test_a_damaged_record_names_its_file(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1')
    with pytest.raises(ValueError, match=r"x\.json is no JSON"):
        results.load(tmp_path)


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.123456, "0.1235"),
        (1234567, "1,234,567"),
        (123456.7, "123,457"),
        (0.0, "0"),
        (1e-9, "1e-09"),
        (True, "yes"),
        (None, ""),
        ("a", "a"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers(value, shown):
    assert results.number(value) == shown

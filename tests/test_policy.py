"""The policy of the claims: what its report finds in small notebooks, and how much it may find in those of the book."""

import json
from pathlib import Path

import pytest

from helpers.course.claims import MIME, Card, Table, _cell
from helpers.course.intervals import Interval
from tools import policy

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lecture_follows_the_policy(path):
    found = policy.findings(json.loads(path.read_text(encoding="utf-8")), path.stem)
    assert not any(policy.counts(found).values()), f"python -m tools.policy {path.relative_to(ROOT)} lists them"


# ------------------------------------------------------------------ small notebooks


def notebook(*shown, source="claim(...)"):
    """A notebook whose one cell shows these cards and tables, as a kernel stores them."""
    outputs = []
    for one in shown:
        facts = {MIME: one.facts} if isinstance(one, Card) else {}
        outputs.append({"data": facts | {"text/html": one._repr_html_().splitlines(True), "text/plain": repr(one)}})
    return {
        "cells": [
            {"cell_type": "markdown", "source": "# T"},
            {"cell_type": "code", "source": source} | {"outputs": outputs},
        ]
    }


def card(sentence, low, high, n=5, at=(0.0, None), unit="", **options):
    return Card(sentence, Interval((low + high) / 2, low, high, n), *at, unit, 3, **options)


def kinds(*shown, **options):
    return [one.kind for one in policy.findings(notebook(*shown, **options), "01_lecture")]


@pytest.mark.parametrize(
    "words", ["A flip helps", "It hurts", "a beats b", "is better", "gain in mAP", "It costs little"]
)
def test_less_than_five_seeds_say_nothing_of_help(words):
    few, enough = card(words, 0.1, 0.2, n=4), card(words, 0.1, 0.2, n=5)
    assert kinds(few) == ["seeds"] and kinds(enough) == []
    assert kinds(card(words, 0.1, 0.1, n=1)) == []  # one number has no interval


def test_other_sentences_may_have_fewer_seeds():
    assert kinds(card("The loss is below one with a helper", 0.1, 0.2, n=3)) == []


@pytest.mark.parametrize(
    "sentence, low, high, wrong",
    [
        ("Its accuracy", 0.9, 1.002, True),
        ("The AUC of the best", -0.01, 0.3, True),
        ("mAP50 of the base", 0.95, 1.01, True),
        ("Its accuracy", 0.9, 1.0, False),
        ("Accuracy lost", -0.02, 0.03, False),
        ("Difference of the AUC", -0.02, 0.03, False),
        ("The map of the digits", -0.02, 0.03, False),
        ("Its time over ours", 0.9, 1.3, False),
    ],
)
def test_a_score_inside_its_bounds(sentence, low, high, wrong):
    assert kinds(card(sentence, low, high)) == ["bounds"] * wrong


def test_bounds_that_a_card_names_are_believed():
    assert kinds(card("A share of no memory", 0.9, 1.2, bounds=(0, float("inf")))) == []
    assert kinds(card("A correlation", 0.9, 1.2, bounds=(-1, 1))) == ["bounds"]
    assert kinds(card("Correct answers", -0.1, 0.2, bounds=(0, float("inf")))) == ["bounds"]


def test_an_equivalence_needs_its_margin():
    between = {"at": (-0.02, 0.02)}
    assert kinds(card("No difference", -0.01, 0.01, **between)) == ["margins"]
    assert kinds(card("No difference", -0.01, 0.01, **between, equal=(0.0, 0.02))) == []
    assert kinds(card("No difference", -0.01, 0.01, **between, unit="%")) == ["margins"]
    assert kinds(card("Nearly half", 0.4, 0.6, at=(0.3, 0.7))) == []  # zero is not between
    assert kinds(card("Measured again", 0.01, 0.01, n=1, **between)) == []


def rows(head, *values):
    return Table(head, tuple(tuple(_cell(x, 3) for x in row) for row in values))


def test_columns_of_scores_in_tables():
    wide, fine = Interval(0.95, 0.88, 1.02, 3), Interval(0.5, 0.4, 0.6, 3)
    assert kinds(rows(("way", "patches", "other"), ["a", wide, fine], ["b & c", fine, fine])) == ["bounds"]
    assert kinds(rows(("way", "score"), ["a", fine])) == []
    assert kinds(rows(("way", "ratio"), ["a", wide], ["b", Interval(1.4, 1.3, 1.5, 3)])) == []  # no score
    assert kinds(rows(("way", "accuracy lost"), ["a", Interval(0.01, -0.1, 0.1, 3)])) == []
    assert kinds(rows(("way", "accuracy"), ["a minus b", Interval(0.01, -0.1, 0.1, 3)])) == []
    told = rows(("way", "share of no memory"), ["a", wide])
    assert kinds(told) == ["bounds"] and kinds(told, source="table(..., bounds=(0, math.inf))") == []


def test_fifteen_cards_and_no_more_but_in_an_appendix():
    cards = [card(f"Sentence {i}", 0.1, 0.2) for i in range(17)]
    assert kinds(*cards[:15]) == []
    found = policy.findings(notebook(*cards), "01_lecture")
    assert policy.counts(found) == {"cards": 2, "seeds": 0, "bounds": 0, "margins": 0}
    assert policy.findings(notebook(*cards), "appendix_checks") == []


def test_the_report_names_lecture_kind_and_sentence(tmp_path, capsys):
    path = tmp_path / "01_lecture.ipynb"
    path.write_text(json.dumps(notebook(card("A beats b", 0.1, 0.2, n=3))), encoding="utf-8")
    policy.main([path])
    assert capsys.readouterr().out.splitlines() == [
        "01_lecture: cards 0, seeds 1, bounds 0, margins 0",
        "    seeds   n = 3: A beats b",
    ]

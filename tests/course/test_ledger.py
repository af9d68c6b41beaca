"""The ledger: every claim of every notebook as its card shows it."""

import json
import re
from pathlib import Path

import pytest

from helpers.course import ledger
from helpers.course.claims import MIME, Card, Interval

ROOT = Path(__file__).parents[2]


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


def test_a_claim_is_read_as_its_card_shows_it():
    seeds = Card("A | b_c beats <d> by 10 %", Interval(0.25, 0.2, 0.3, 5), 0.1, None, "%", 2)
    one = Card("One number", Interval(3, 3, 3, 1), 2, 4, "", 0)
    a, b = ledger.claims(notebook(seeds, one))
    assert a[:6] == ("A | b_c beats <d> by 10 %", "0.25 %", "0.20", "0.30", 5, "at least 0.10 %")
    assert (b.sentence, b.value, b.low, b.n, b.bound) == ("One number", "3", "", 1, "between 2 and 4")
    assert a.section == "Part" and re.fullmatch("claim-[0-9a-f]{8}", a.anchor) and a.anchor != b.anchor


def test_what_a_card_remarks_stands_in_the_ledger():
    guard = Card("A beats b", Interval(0.25, 0.2, 0.3, 5), 0.1, None, "", 2, given="one test set", guard=True)
    plain = Card("C beats d", Interval(0.25, 0.2, 0.3, 5), 0.1, None, "", 2)
    found = ledger.claims(notebook(guard, plain))
    assert [claim.remarks for claim in found] == [guard.remarks, ""] and "Regression guard" in guard.remarks
    rows = ledger.table(found, "").splitlines()
    assert "A beats b</a> Conditional on one test set. Regression guard: the bound was set" in rows[2]
    assert "C beats d</a> | 0.25 |" in rows[3]


def test_a_card_in_another_form_is_noticed():
    broken = notebook(Card("x", Interval(1, 1, 1, 1), 0, None, "", 1))
    del broken["cells"][1]["outputs"][0]["data"][MIME]
    with pytest.raises(ValueError, match="cannot read"):
        ledger.claims(broken)


def test_a_sentence_means_nothing_but_itself_in_markdown():
    markdown_it = pytest.importorskip("markdown_it")
    sentence = "a_b_c *d* `e` |f| [g](h) <i> & $j$ \\k ~l~ 2^3 #m {n}"
    html = (
        markdown_it.MarkdownIt()
        .enable("table")
        .render(ledger.table([ledger.Claim(sentence, "1", "", "", 1, "at least 0", "", "claim-0")], "page.html"))
    )
    text = re.sub("<[^>]+>", "", html)
    import html as entities

    assert sentence in entities.unescape(text)
    assert html.count("<td") == 5 and 'href="page.html#claim-0"' in html


def test_tiny_numbers_are_shown_in_powers_of_ten():
    rows = ledger.table(
        [
            ledger.Claim("x", "0.000000000000001", "", "", 1, "at most 0.0000010 rad", "", "claim-0"),
            ledger.Claim("y", "0.123456 x", "0.1", "0.2", 3, "at least 12.000000", "", "claim-1"),
        ],
        "",
    )
    assert "| 1e-15 | one\u00a0number | 1 | at most 1e-06 rad |" in rows
    assert "| 0.123456 x | 0.1\u00a0to\u00a00.2 | 3 | at least 12.000000 |" in rows


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_claim_of_a_notebook_is_in_the_ledger(path):
    """Counted in the file's text, which the ledger does not read."""
    stored = path.read_text(encoding="utf-8")
    found = ledger.claims(json.loads(stored))
    assert len(found) == stored.count('<div class=\\"claim\\" ') >= (1 if path.stem.startswith("appendix_") else 5)
    lines = re.findall(r'"(  measured .+?)(?:\\n)?"', stored)  # remarks may follow in a line of their own
    told = [line for line in lines if "; needed " in line]  # the cards' own text
    assert len(told) == len(found)
    for claim, line in zip(found, told):
        between = f" (95 % interval {claim.low} to {claim.high}, n = {claim.n})" if claim.low else ""
        assert line == f"  measured {claim.value}{between}; needed {claim.bound}: holds"
    anchors = [claim.anchor for claim in found]
    assert len(set(anchors)) == len(anchors), "two claims of one lecture in the same words: their cards share one id"


def test_the_ledger_counts():
    card = Card("x", Interval(0.25, 0.2, 0.3, 5), 0.1, None, "", 2)
    text = ledger.ledger(
        [("notebooks/a", "A", notebook(card)), ("notebooks/b", "B", notebook(card, card))],
        lambda name: f"../{name}.html",
    )
    assert "3 claims in 2 lectures. 3 of them are means" in text and text.count("| <a ") == 3
    assert "../notebooks/b.html#claim-" in text
    more = [("notebooks/a", "A", notebook(card)), ("notebooks/appendix_a", "Appendix A", notebook(card, card))]
    assert "3 claims in 1 lectures, 2 of them in appendices. 3" in ledger.ledger(more, str)

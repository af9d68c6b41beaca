"""Claims: what holds shows a card, what does not raises; their intervals are tested in test_intervals."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from helpers.course.claims import MIME, Card, ClaimFailed, Interval, Table, _cell, claim, interval, proportion, table
from helpers.course.errors import UserError


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], np.nan])
def test_nothing_or_nan_cannot_be_claimed(bad):
    with pytest.raises(ValueError, match="finite"):
        claim("x", bad, at_least=0)


# ------------------------------------------------------------------ claiming


def test_the_end_of_the_interval_decides_and_not_the_mean(capsys):
    values = [0.1, 0.2, 0.3]  # 0.2 [-0.048, 0.448]
    for bound in ({"at_least": 0}, {"at_most": 0.4}, {"between": (0, 1)}, {"between": (-1, 0.4)}):
        with pytest.raises(ClaimFailed):
            claim("a gain", values, **bound)
        claim("a gain", 0.2, **bound)  # the mean alone would do
    for bound in ({"at_least": -0.05}, {"at_most": 0.45}, {"between": (-0.05, 0.45)}):
        claim("a gain", values, **bound)
    assert capsys.readouterr().out.count("holds") == 7


def test_bounds_are_inclusive_and_failures_say_everything():
    for bound in ({"at_least": 0.5}, {"at_most": 0.5}, {"between": (0.5, 0.5)}):
        claim("exactly", 0.5, **bound)
    with pytest.raises(ClaimFailed) as failed:
        claim("cats beat dogs", [0.1, 0.2, 0.3], at_least=0.1, unit="%", digits=2)
    text = str(failed.value)
    assert text == "cats beat dogs: measured 0.20 % (95 % interval -0.05 to 0.45, n = 3), needed at least 0.10 %"
    assert issubclass(ClaimFailed, AssertionError)


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"at_least": 0, "at_most": 1},
        {"at_least": 0, "between": (0, 1)},
        {"at_least": 0, "at_most": 1, "between": (0, 1)},
    ],
)
def test_just_one_bound_is_needed(bounds):
    with pytest.raises(TypeError, match="just one of"):
        claim("x", 0.5, **bounds)


def test_an_interval_can_be_claimed_as_it_is(capsys):
    claim("most are right", proportion(95, 100), at_least=0.88)
    with pytest.raises(ClaimFailed):
        claim("most are right", proportion(95, 100), at_least=0.89)  # its low end is 0.888
    assert "n = 100" in capsys.readouterr().out


class Parsed(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    "sentence", ["frozen beats scratch", "a < b & \"c\" > 'd'", "<script>alert(1)</script>", "전이 학습 ≥ 0.9"]
)
def test_cards_carry_their_figures_and_escape_their_text(sentence):
    card = Card(sentence, interval([0.91, 0.92, 0.93]), 0.88, None, "%", 3)
    page = Parsed(card._repr_html_())
    assert [tag for tag, _ in page.tags] == ["div", "strong", "br", "span", "strong"]  # and no script
    assert sentence in page.text and "holds" in page.text and "at least 0.880 %" in page.text
    anchor = page.tags[0][1]["id"]
    facts = card._repr_mimebundle_()[MIME]
    assert (
        json.loads(json.dumps(facts))
        == facts
        == {
            "id": anchor,
            "sentence": sentence,
            "value": 0.92,
            "low": 0.89516,
            "high": 0.94484,
            "n": 3,
            "unit": "%",
            "digits": 3,
            "bound": "at least 0.880 %",
            "verdict": "holds",
            "shown": {"value": "0.920 %", "low": "0.895", "high": "0.945"},
        }
    )
    assert re.fullmatch("claim-[0-9a-f]{8}", anchor)
    assert card._repr_html_() == Card(sentence, interval([0.91, 0.92, 0.93]), 0.88, None, "%", 3)._repr_html_()
    assert sentence in repr(card) and "<div" not in repr(card)


def test_a_kernel_sends_html_text_and_figures():
    """IPython adds HTML and text to what `_repr_mimebundle_` gives; one value has no interval."""
    from IPython.core.interactiveshell import InteractiveShell

    shown, _ = InteractiveShell.instance().display_formatter.format(Card("one", interval(3), 2, 4, "s", 0))
    assert shown.keys() == {MIME, "text/html", "text/plain"} and MIME.endswith("+json")
    assert shown[MIME]["shown"] == {"value": "3 s", "low": "", "high": ""} and shown[MIME]["n"] == 1


def test_cards_look_the_same_in_every_process():
    """The id comes from a checksum: Python's own hash of a string differs from process to process."""
    card = Card("a sentence", interval(1.0), 0.5, None, "", 3)
    assert 'id="claim-a71a1427"' in card._repr_html_()


def test_a_table_shows_numbers_intervals_and_seeds():
    shown = Table(("way", "score", "n"), (_row("a & b", [1.0, 3.0], 12345), _row("c", Interval(0.5, 0.25, 0.75, 3), 7)))
    assert repr(shown).splitlines() == [
        "way    score                    n",
        "a & b  2.000 [-10.706, 14.706]  12,345",
        "c      0.500 [0.250, 0.750]     7",
    ]
    html = shown._repr_html_()
    assert 'scope="row" style="text-align:left">a &amp; b<' in html and html.count('<th scope="col"') == 3
    assert re.findall(r'text-align:(\w+)">(?:2\.000|way)', html) == ["left", "right"]
    assert '<span style="white-space:nowrap">[0.250, 0.750]</span>' in html


def _row(*values):
    return tuple(_cell(value, 3) for value in values)


def test_a_column_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="needs a name"):
        table(["", "b"], ["a", 1])


def test_a_table_prints_without_a_notebook(capsys):
    table(["what", "share"], ["one value", [0.25]], ["a text", "none"], digits=2)
    assert capsys.readouterr().out == "what       share\none value  0.25\na text     none\n"


@pytest.mark.parametrize("rows", [[], [["a", 1, 2]], [["a", 1], ["b"]]])
def test_a_table_with_holes_is_an_error(rows):
    with pytest.raises(ValueError, match="rows of 2 cells"):
        table(["a", "b"], *rows)


@pytest.mark.parametrize("value", [[], float("nan")])
def test_where_nothing_was_measured_another_scale_says_so(monkeypatch, capsys, value):
    monkeypatch.setenv("COURSE_SCALE", "tiny")
    claim("A mean of none", value, at_least=0.5)
    said = capsys.readouterr().out
    assert "measured nothing; needed at least 0.500: does not hold in a tiny run" in said
    card = Card("A mean of none", Interval(np.nan, np.nan, np.nan, 0), 0.5, None, "", 3)
    assert "NaN" not in card._repr_html_() and "Measured nothing" in card._repr_html_()
    assert card.facts["value"] is None and json.loads(json.dumps(card.facts, allow_nan=False)) == card.facts
    monkeypatch.setenv("COURSE_SCALE", "small")
    with pytest.raises(ValueError, match="finite numbers"):
        claim("A mean of none", value, at_least=0.5)


def test_at_full_scale_a_bound_is_reported_on_and_stops_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "full")
    claim("Enough", 0.9, at_least=0.5)
    claim("Too little", 0.1, at_least=0.5)
    assert capsys.readouterr().out.count(": holds\n") == 1
    card = Card("Too little", interval(0.1), 0.5, None, "", 3)
    assert repr(card).endswith("needed at least 0.500: does not hold on the data of the full scale")
    assert "does not hold on the data of the full scale" in card._repr_html_() and "#d55e00" in card._repr_html_()
    monkeypatch.setenv("COURSE_SCALE", "small")
    with pytest.raises(ClaimFailed, match="Too little"):
        claim("Too little", 0.1, at_least=0.5)


# ------------------------------------------------------------------ what becomes of a cell whose claim fails


def test_a_claim_that_fails_shows_its_card_before_it_raises(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_CLAIMS", raising=False)
    for value in ("", "raise"):
        if value:
            monkeypatch.setenv("COURSE_CLAIMS", value)
        with pytest.raises(ClaimFailed, match="Too little"):
            claim("Too little", 0.1, at_least=0.5)
        assert capsys.readouterr().out.endswith("measured 0.100; needed at least 0.500: does not hold\n")


def test_where_claims_are_reported_the_cell_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CLAIMS", "report")
    claim("Too little", 0.1, at_least=0.5)
    claim("A mean of none", [], at_most=0.5)
    claim("Enough", 0.9, at_least=0.5)
    ends = re.findall(r"measured (.*);.*: (.*)\n", capsys.readouterr().out)
    assert ends == [("0.100", "does not hold"), ("nothing", "does not hold"), ("0.900", "holds")]


def test_another_word_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CLAIMS", "ignore")
    with pytest.raises(UserError, match="COURSE_CLAIMS must be one of raise, report; got 'ignore'"):
        claim("Too little", 0.1, at_least=0.5)


# ------------------------------------------------------------------ what stands on a card where it is used

REMARKS = [
    ({"at_least": 0, "given": "one test set of 300 leaves."}, "Conditional on one test set of 300 leaves.", "remarks"),
    ({"at_least": 0, "guard": True}, "Regression guard: the bound was set from a measured value.", "guard"),
    ({"between": (0, 1), "weak": True}, "Weak check: the band is wider than a third of the range", "weak"),
    ({"at_least": 0, "splits": (80, 20)}, "Interval: corrected for overlapping training sets (Nadeau", "remarks"),
]


def shown(monkeypatch, *values, **options):
    """The card that `claim` shows."""
    cards = []
    monkeypatch.setattr("helpers.course.claims._show", cards.append)
    claim(*values, **options)
    return cards[0]


@pytest.mark.parametrize("options, text, fact", REMARKS)
def test_a_remark_stands_on_the_card_in_all_its_forms(monkeypatch, options, text, fact):
    card = shown(monkeypatch, "x", [0.4, 0.5, 0.45], **options)
    assert text in repr(card) and text in Parsed(card._repr_html_()).text and text in card.facts["remarks"]
    plain = shown(monkeypatch, "x", [0.4, 0.5, 0.45], at_least=0)
    assert fact in card.facts and not plain.facts.keys() & {"remarks", "guard", "weak", "bounds", "margin"}
    assert len(repr(plain).splitlines()) == 2 and plain._repr_html_().count("<br>") == 1
    assert "<b>" not in shown(monkeypatch, "x", 1, at_least=0, given="<b>")._repr_html_()


def test_the_interval_of_a_bounded_score_stays_inside(monkeypatch):
    values = [0.99, 1.0, 0.96]
    card = shown(monkeypatch, "x", values, at_least=0.5, bounds=(0, 1))
    assert card.value == interval(values, bounds=(0, 1)) and card.value.high < 1 < interval(values).high
    assert card.facts["bounds"] == [0, 1] and card.remarks == ""
    loss = shown(monkeypatch, "x", [0.1, 0.2], at_least=0, bounds=(0, math.inf))
    assert json.loads(json.dumps(loss.facts, allow_nan=False))["bounds"] == [0, None]
    with pytest.raises(ValueError, match="leaves the bounds"):
        claim("x", interval(values), at_least=0.5, bounds=(0, 1))
    with pytest.raises(ValueError, match="cannot be 1.1"):
        claim("x", [1.1, 0.5], at_least=0, bounds=(0, 1))
    assert shown(monkeypatch, "x", proportion(20, 20), at_least=0.5, bounds=(0, 1)).value.high == 1


def test_splits_widen_the_interval_of_a_list_and_of_nothing_else(monkeypatch):
    card = shown(monkeypatch, "x", [0.4, 0.5, 0.45], at_least=0, splits=0.2)
    assert card.value == interval([0.4, 0.5, 0.45], splits=0.2)
    with pytest.raises(TypeError, match="splits= belongs to a list"):
        claim("x", interval([0.4, 0.5]), at_least=0, splits=0.2)


def test_an_equivalence_states_its_margin(monkeypatch):
    same = [0.001, -0.002, 0.003, 0.0, -0.001]  # 0.0002 [-0.0022, 0.0026]
    card = shown(monkeypatch, "No difference", same, margin=0.02)
    assert card.bound == "within 0.020 of zero (equivalence margin)" and card.facts["margin"] == 0.02
    ratio = shown(monkeypatch, "As fast", [1.0, 1.01, 0.99], margin=0.1, around=1.0, unit="x", digits=2)
    assert ratio.bound == "within 0.10 x of 1.00 x (equivalence margin)"
    for values in ([0.01, 0.02, 0.03], [-0.01, -0.02, -0.03]):  # the whole interval, as everywhere
        with pytest.raises(ClaimFailed, match="needed within 0.020 of zero"):
            claim("No difference", values, margin=0.02)
    for wrong, error in (({"margin": 0.1, "at_least": 0}, TypeError), ({"margin": 0.0}, ValueError)):
        with pytest.raises(error, match="just one of|above zero"):
            claim("x", 0.0, **wrong)


def test_a_table_keeps_its_scores_inside_their_bounds(capsys):
    row = ["a", [1.0, 0.9], [-0.1, 0.1], Interval(0.5, 0.25, 0.75, 3)]
    table(["way", "accuracy", "gain", "known"], row, bounds={"accuracy": (0, 1)})
    said = capsys.readouterr().out
    ends = interval([1.0, 0.9], bounds=(0, 1))
    assert f"[{ends.low:.3f}, {ends.high:.3f}]" in said and "[-1.271, 1.271]" in said and "[0.250, 0.750]" in said
    table(["way", "accuracy"], row[:2], bounds=(0, 1))
    assert f"[{ends.low:.3f}, {ends.high:.3f}]" in capsys.readouterr().out
    with pytest.raises(ValueError, match="cannot be -0.1"):
        table(["way", "accuracy", "gain", "known"], row, bounds=(0, 1))
    with pytest.raises(ValueError, match="that the table has not: .'f1'"):
        table(["way", "accuracy"], row[:2], bounds={"f1": (0, 1)})

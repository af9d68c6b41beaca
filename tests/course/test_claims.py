"""Claims: intervals against SciPy, published tables and coverage; what holds shows a card, what does not raises."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers.course.claims import MIME, Card, ClaimFailed, Interval, Table, _cell, claim, interval, proportion, table
from helpers.course.errors import UserError


@settings(deadline=None)
# no subnormal numbers: some libraries switch them off for the whole process
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=20), st.sampled_from([0.9, 0.95, 0.99])
)
def test_the_t_interval_is_scipys(values, level):
    got = interval(values, level)
    if np.ptp(values) < 1e-9:  # SciPy has no interval of width zero
        assert got.low == pytest.approx(got.high, abs=1e-6)
        return
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert got.mean == pytest.approx(np.mean(values)) and got.n == len(values)


def test_the_t_interval_in_numbers():
    """Two values a, b: mean +- 12.706 |a - b| / 2, from the t table; three: 4.303 s / sqrt(3)."""
    got = interval([1.0, 3.0])
    assert (got.mean, got.low, got.high, got.n) == pytest.approx((2, 2 - 12.706, 2 + 12.706, 2), abs=1e-3)
    got = interval([1.0, 2.0, 3.0])
    assert (got.low, got.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_one_value_has_no_interval_and_equal_values_have_width_zero():
    assert interval([0.7]) == interval(0.7) == Interval(0.7, 0.7, 0.7, 1)
    assert interval([0.5] * 4) == Interval(0.5, 0.5, 0.5, 4)
    assert str(interval(0.7)) == "0.700" and str(Interval(0.5, 0.25, 0.75, 3)) == "0.500 [0.250, 0.750]"


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], np.nan])
def test_an_interval_of_nothing_or_nan_is_an_error(bad):
    with pytest.raises(ValueError, match="finite"):
        interval(bad)
    with pytest.raises(ValueError, match="finite"):
        claim("x", bad, at_least=0)


def test_the_intervals_cover_what_they_promise():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (4000, 4))
    covered = np.mean([i.low <= 3 <= i.high for i in map(interval, x)])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / 4000) ** 0.5  # 4 standard errors


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (Wilson without continuity correction)
NEWCOMBE = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]


@pytest.mark.parametrize("hits, n, low, high", [*NEWCOMBE, (29, 29, 1 - 0.1170, 1.0), (5, 10, 0.2366, 0.7634)])
def test_wilsons_interval_in_published_numbers(hits, n, low, high):
    got = proportion(hits, n)
    assert (got.low, got.high) == pytest.approx((low, high), abs=6e-5) and (got.mean, got.n) == (hits / n, n)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_ends_solve_his_equation(case):
    """Both ends p satisfy (hits/n - p)^2 = z^2 p (1 - p) / n (Wilson 1927)."""
    hits, n = case
    got = proportion(hits, n)
    for p in (got.low, got.high):
        assert (hits / n - p) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n, abs=1e-6)
    assert 0 <= got.low <= got.mean <= got.high <= 1


@pytest.mark.parametrize("hits, n", [(0, 0), (-1, 3), (4, 3)])
def test_a_share_of_nothing_is_an_error(hits, n):
    with pytest.raises(ValueError, match="hits"):
        proportion(hits, n)


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

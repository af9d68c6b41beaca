"""Claims: a sentence that could be false, the number that was measured, and the bound it must keep.

`claim(...)` shows a card in the notebook and in the book, and raises where the claim does not
hold, so a page whose sentence stopped being true cannot be built. With COURSE_SCALE=full the bounds,
which were set for the small data, are only reported on: what does not hold there is a finding, not a
fault. Beside its HTML and text a card carries its figures as JSON, from which the ledger page collects them.
`book/howto.md` tells readers the policy of the cards; `python -m tools.policy` finds those that do not follow it.

COURSE_CLAIMS says what becomes of a cell whose claim does not hold at the small scale:

raise    it ends there, with the card and a `ClaimFailed`; the default, and how notebooks and tests run
report   the card says so, and the cell goes on to the next claim; only `python -m helpers check` sets this
"""

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from helpers.course.errors import UserError
from helpers.course.intervals import Bounds, Interval, interval
from helpers.course.intervals import proportion as proportion  # notebooks take it from here
from helpers.course.scale import scale

MIME = "application/vnd.dlm.claim+json"  # a card's figures among the outputs of a cell


class ClaimFailed(AssertionError):
    """A measured claim does not hold."""


def raises() -> bool:
    """Whether a claim that does not hold ends its cell, as COURSE_CLAIMS and the scale have it."""
    value = os.environ.get("COURSE_CLAIMS", "raise")
    if value not in ("raise", "report"):
        raise UserError(f"COURSE_CLAIMS must be one of raise, report; got {value!r}")
    return value == "raise" and scale() == "small"


def claim(
    sentence: str,
    value: ArrayLike | Interval,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    between: tuple[float, float] | None = None,
    margin: float | None = None,
    around: float = 0.0,
    unit: str = "",
    digits: int = 3,
    bounds: Bounds | None = None,
    splits: float | tuple[float, float] | None = None,
    given: str = "",
    guard: bool = False,
    weak: bool = False,
) -> None:
    """Measure a sentence: show its card, then raise `ClaimFailed` where it does not hold (at small scale).

    value     a number, an `Interval`, or a list with one value per seed (then its t-interval is used)
    at_least  lower bound: the *low end* of the interval must reach it
    at_most   upper bound: the *high end* must not exceed it
    between   (low, high): the whole interval must lie inside
    margin    an equivalence: the whole interval must lie within `margin` of `around`; the card names the margin
    unit      "%", "x", "s"... shown behind the numbers; digits: decimals shown

    What follows stands on the card where it is used:

    bounds    (low, high) that the score cannot leave, as (0, 1) for an accuracy: the interval stays inside
    splits    (train, test) sizes or the test's share, where a list comes from repeated splits of one data set
    given     what the interval is conditional on: "one test set of 300 leaves"
    guard     the bound was set from a measured value: a guard against regressions, no prediction
    weak      the bound is a band too wide to tell much: `Record.weak` says so

    Nothing is claimed without a bound, so one of the first four is needed.
    """
    if sum(bound is not None for bound in (at_least, at_most, between, margin)) != 1:
        raise TypeError("claim needs just one of at_least=, at_most=, between=, margin=")
    if margin is not None:
        if not margin > 0:
            raise ValueError(f"a margin of equivalence is above zero, got {margin}")
        between = (around - margin, around + margin)
    try:
        known = _known(value, bounds, splits)
    except ValueError:  # no value, or the mean of none: at another scale a cell may have nothing to measure
        if raises():
            raise
        known = Interval(math.nan, math.nan, math.nan, 0)
    low, high = between if between is not None else (at_least, at_most)
    equal = None if margin is None else (around, margin)
    card = Card(sentence, known, low, high, unit, digits, bounds, equal, given, guard, weak)
    _show(card)
    if not card.holds and raises():
        raise ClaimFailed(f"{sentence}: measured {card.measured}, needed {card.bound}")


def _known(value, bounds, splits):
    if not isinstance(value, Interval):
        return interval(value, bounds=bounds, splits=splits)
    if splits is not None:
        raise TypeError("splits= belongs to a list of values: an Interval was made with it or without")
    if bounds is not None and not bounds[0] <= value.low <= value.high <= bounds[1]:
        raise ValueError(f"the interval {value} leaves the bounds {bounds} of its score: make it with bounds=")
    return value


def table(
    head: Sequence[str], *rows: Sequence[Any], digits: int = 3, bounds: Bounds | Mapping[str, Bounds] | None = None
) -> None:
    """Show measurements as a table: a page's width in the book, aligned text in a terminal.

    head    the names of the columns; the first one names the rows
    rows    one list each: its name, then texts, numbers, `Interval`s, or lists with one value per seed, which are
            shown as mean and t-interval; digits: decimals of numbers that are not whole
    bounds  (low, high) that the scores in lists cannot leave, as (0, 1) for accuracies: their intervals stay inside;
            {column: (low, high)} where only some columns are such scores
    """
    if not all(head):
        raise ValueError("every column of a table needs a name, also the first")
    wrong = [row[0] for row in rows if len(row) != len(head)]
    if wrong or not rows:
        raise ValueError(f"a table needs rows of {len(head)} cells, one a column" + f"; look at {wrong}" * bool(wrong))
    of = bounds if isinstance(bounds, Mapping) else dict.fromkeys(head, bounds)
    if not of.keys() <= set(head):
        raise ValueError(f"bounds for columns that the table has not: {sorted(of.keys() - set(head))}")
    shown = [tuple(_cell(x, digits, of.get(column)) for column, x in zip(head, row)) for row in rows]
    _show(Table(tuple(map(str, head)), tuple(shown)))


def _cell(x, digits, bounds=None):
    """A value as (number or text, interval or "")."""
    if isinstance(x, str):
        return x, ""
    if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
        return f"{x:,}", ""
    known = x if isinstance(x, Interval) else interval(x, bounds=bounds)
    part = "" if known.n == 1 else f"[{known.low:.{digits}f}, {known.high:.{digits}f}]"
    return f"{known.mean:.{digits}f}", part


def _show(thing):
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = lambda: None  # noqa: E731
    if get_ipython() is None:
        print(thing)
    else:
        display(thing)


@dataclass(frozen=True)
class Table:
    """What `table` shows: a line of text a row, and the same as HTML."""

    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]

    def _right(self, column):
        return any(row[column][0].lstrip("-+")[:1].isdigit() for row in self.rows)

    def __repr__(self) -> str:
        lines = [self.head, *([f"{text} {part}".strip() for text, part in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        side = ["right" if i and self._right(i) else "left" for i in range(len(self.head))]
        html = '<table class="measured"><thead><tr>'
        html += "".join(f'<th scope="col" style="text-align:{s}">{escape(h)}</th>' for h, s in zip(self.head, side))
        html += "</tr></thead><tbody>"
        for row in self.rows:
            html += f'<tr><th scope="row" style="text-align:left">{escape(row[0][0])}</th>'
            for (text, part), s in zip(row[1:], side[1:]):
                part = f' <span style="white-space:nowrap">{escape(part)}</span>' if part else ""
                html += f'<td style="text-align:{s}">{escape(text)}{part}</td>'
            html += "</tr>"
        return html + "</tbody></table>"


@dataclass(frozen=True)
class Card:
    """How a claim looks: a line of text, the same as HTML, and its figures as JSON."""

    sentence: str
    value: Interval
    low: float | None
    high: float | None
    unit: str
    digits: int
    bounds: Bounds | None = None  # of the score
    equal: tuple[float, float] | None = None  # (around, margin) of an equivalence
    given: str = ""
    guard: bool = False
    weak: bool = False

    @property
    def holds(self) -> bool:
        v = self.value
        return (self.low is None or v.low >= self.low) and (self.high is None or v.high <= self.high)

    @property
    def verdict(self) -> str:
        at = {"tiny": "in a tiny run, where nothing is claimed", "full": "on the data of the full scale"}
        return "holds" if self.holds else f"does not hold {at.get(scale(), '')}".strip()

    def _number(self, x):
        return f"{x:.{self.digits}f}{' ' * bool(self.unit) + self.unit}"

    @property
    def measured(self) -> str:
        v = self.value
        if v.n == 0:
            return "nothing"
        if v.low == v.high:
            return self._number(v.mean)
        return f"{self._number(v.mean)} (95 % interval {v.low:.{self.digits}f} to {v.high:.{self.digits}f}, n = {v.n})"

    @property
    def bound(self) -> str:
        if self.equal is not None:
            around, margin = self.equal
            return f"within {self._number(margin)} of {self._number(around) if around else 'zero'} (equivalence margin)"
        if self.low is not None and self.high is not None:
            return f"between {self._number(self.low)} and {self._number(self.high)}"
        return f"at least {self._number(self.low)}" if self.high is None else f"at most {self._number(self.high)}"

    @property
    def remarks(self) -> str:
        """What must be known to read the interval or the bound, in sentences; "" for most cards."""
        said = []
        if self.value.note:
            said.append(f"Interval: {self.value.note}.")
        if self.given:
            said.append(f"Conditional on {self.given.rstrip('.')}.")
        if self.guard:
            said.append("Regression guard: the bound was set from a measured value.")
        if self.weak:
            said.append("Weak check: the band is wider than a third of the range between the arms.")
        return " ".join(said)

    def __repr__(self) -> str:
        said = f"Claim: {self.sentence}\n  measured {self.measured}; needed {self.bound}: {self.verdict}"
        return said + f"\n  {self.remarks}" * bool(self.remarks)

    @property
    def anchor(self) -> str:
        """The id of the card on its page: a checksum of the sentence, the same in every process."""
        return f"claim-{zlib.crc32(self.sentence.encode()):08x}"

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger reads: the figures, two decimals finer than they are shown, and `shown`, as on the card."""
        v, several = self.value, self.value.low != self.value.high
        mean, low, high = (round(x, self.digits + 2) if v.n else None for x in (v.mean, v.low, v.high))
        ends = [f"{x:.{self.digits}f}" if several else "" for x in (v.low, v.high)]
        known = {
            "id": self.anchor,
            "sentence": self.sentence,
            "value": mean,
            "low": low,
            "high": high,
            "n": v.n,
            "unit": self.unit,
            "digits": self.digits,
            "bound": self.bound,
            "verdict": self.verdict,
            "shown": {"value": self._number(v.mean) if v.n else self.measured, "low": ends[0], "high": ends[1]},
        }
        asked = {
            "bounds": [x if math.isfinite(x) else None for x in self.bounds or ()],  # JSON has no infinity
            "margin": self.equal and self.equal[1],
            "guard": self.guard,
            "weak": self.weak,
            "remarks": self.remarks,
        }
        return known | {name: value for name, value in asked.items() if value}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME: self.facts}  # IPython adds HTML and text

    def _repr_html_(self) -> str:
        edge, tint = ("#009e73", "0,158,115") if self.holds else ("#d55e00", "213,94,0")
        return (
            f'<div class="claim" id="{self.anchor}" role="note" '
            f'style="border-left:4px solid {edge};padding:.4em .8em;margin:.4em 0;background:rgba({tint},.08)">'
            f"<strong>Claim.</strong> {escape(self.sentence)}<br>"
            f"<span>Measured {escape(self.measured)}; needed {escape(self.bound)}: <strong>{self.verdict}</strong>"
            f"</span>{f'<br><span>{escape(self.remarks)}</span>' if self.remarks else ''}</div>"
        )

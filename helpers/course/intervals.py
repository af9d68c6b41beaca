"""Intervals: how far a measured mean can be from the true one, and which comparisons of a table may be believed.

interval     a mean over seeds, folds or paired differences: Student's t, bounded where the score is bounded
proportion   a share of independent examples: Wilson
crossed      a mean over seeds that all met the same test examples: both samplings are in it
bootstrap    any other number, over the units that were sampled: test pictures, months in blocks
family       the comparisons of one table: one declared primary, or Holm's correction over all of them

Every choice between two methods was made by how often their intervals hold the true value in a simulation;
`tests/course/test_intervals.py` repeats it. Randomness comes from a seed, so a notebook shows the same interval again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Bounds = tuple[float, float]
FEWEST = 5  # seeds, folds or months, before a sentence may say "helps" or "hurts"


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % confidence interval around it; n = 1 has no interval (low = mean = high)."""

    mean: float
    low: float
    high: float
    n: int
    note: str = ""  # how it was made, where it is not Student's t over seeds; cards show it

    def __str__(self) -> str:
        if self.n == 1:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(
    values: ArrayLike,
    level: float = 0.95,
    bounds: Bounds | None = None,
    splits: float | tuple[float, float] | None = None,
) -> Interval:
    """Student's t-interval of the mean m of `values`, one per seed, fold or paired difference.

    m +- t_{n-1} * s * sqrt(v), s with n - 1 degrees of freedom, v = 1/n (Student, Biometrika 6, 1908).

    bounds  (low, high) of the score, such as (0, 1): the interval is made on the logit scale and stays inside. With
            u = (m - low) / (high - low) it is expit(logit u +- t s sqrt(v) / (u (1 - u))) with s of the scaled values:
            the delta method around the mean. high may be math.inf, as for a loss: then the scale is the logarithm.
            Simulated for n = 3, 5, 8 and Beta scores with means of 0.9 to 0.98 and deviations of 0.02 to 0.09: the true
            mean was inside in 93.5 to 95.1 of 100 cases, without bounds in 88.5 to 94.1, with the BCa bootstrap in 66
            to 90. Scores that are nearly all 1 (mean 0.99, deviation 0.018) stay hard: 88 to 90 of 100, without
            bounds 74 to 80.
    splits  (train, test) sizes of the splits, or the test's share, where the values come from repeated splits of one
            data set. Their training sets overlap, so the values are not independent; then v = 1/n + test/train
            (Nadeau and Bengio, Machine Learning 52, 2003). With 8 splits of 80 to 20 the interval is 1.7 times as wide.

    Values that are all equal give an interval of width zero, also at a bound: that says nothing about the test
    examples; `proportion` and `crossed` do. Raises ValueError for no value, and for one that is not finite or out of
    bounds.
    """
    x = np.asarray(values, dtype=float).ravel()
    if x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"an interval needs finite numbers, got {x.tolist()}")
    if bounds is not None:
        _check(bounds, x)
    ratio, note = _overlap(splits)
    if x.size == 1:
        return Interval(x[0].item(), x[0].item(), x[0].item(), 1)
    error = x.std(ddof=1) * math.sqrt(1 / x.size + ratio)
    return Interval(x.mean().item(), *_ends(x.mean().item(), error, x.size - 1, level, bounds), x.size, note)


def _check(bounds, x):
    low, high = bounds
    if not (math.isfinite(low) and low < high):
        raise ValueError(f"bounds must be (low, high) with a finite low, got {bounds}")
    if x.min() < low or x.max() > high:
        raise ValueError(f"a score between {low:g} and {high:g} cannot be {x[(x < low) | (x > high)][0]:g}")


def _overlap(splits: float | tuple[float, float] | None) -> tuple[float, str]:
    """(test/train, what a card says of it) of repeated splits; (0, "") of independent values."""
    if splits is None:
        return 0.0, ""
    train, test = splits if isinstance(splits, tuple) else (1 - splits, splits)
    if not (train > 0 and test > 0):
        raise ValueError(f"splits must be (train, test) sizes or the test's share between 0 and 1, got {splits}")
    return test / train, "corrected for overlapping training sets (Nadeau and Bengio)"


def _ends(mean: float, error: float, freedom: float, level: float, bounds: Bounds | None) -> tuple[float, float]:
    """(low, high) of mean +- t * error; with bounds on the scale on which they are infinitely far away."""
    from scipy.special import expit, logit
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, freedom)) * float(error)
    if bounds is None or half == 0:
        return mean - half, mean + half
    low, high = bounds
    above = mean - low
    if high == math.inf:
        return low + above * math.exp(-half / above), low + above * math.exp(half / above)
    u = above / (high - low)
    wide = half / (high - low) / (u * (1 - u))
    left, right = (low + (high - low) * float(expit(logit(u) + side * wide)) for side in (-1, 1))
    return max(left, low), min(right, high)  # low + (high - low) may round to above high


def proportion(hits: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's interval for a share hits/n (Wilson, JASA 22, 1927): right also near 0 and 1."""
    from scipy.stats import binomtest

    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} hits of {n} are no share")
    known = binomtest(hits, n).proportion_ci(level, method="wilson")
    return Interval(hits / n, float(known.low), float(known.high), n)


def crossed(scores: ArrayLike, level: float = 0.95, bounds: Bounds | None = None) -> Interval:
    """The interval of the mean of `scores` (S, N): S seeds, all tested on the same N examples.

    It holds both samplings: other seeds, and other test examples. An interval over the S means alone holds only the
    first. scores[s, i] is 1 where seed s is right on example i, or any number; of a comparison, the difference.

    With the mean squares A of the seeds, B of the examples and E of the rest of a two-way analysis of variance the
    mean's variance is (A + B - E) / (S N), here never less than A or B alone would give; Student's t with
    Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946). `bounds` as in `interval`. Where all scores lie
    at one of the bounds (0, 1), Wilson's interval over the examples is left.

    Simulated for 3 to 10 seeds and 50 to 1,000 examples of unequal difficulty with bounds (0, 1): the truth was inside
    in 93.7 to 96.5 of 100 cases. Resampling rows and columns (Owen's pigeonhole bootstrap, Annals of Applied
    Statistics 1, 2007) gave 84 to 99 of 100, too few with few seeds; seeds alone 61 to 95.

    n of the result is S. Raises ValueError for fewer than two seeds or examples, and as `interval` does.
    """
    x = np.asarray(scores, dtype=float)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(f"crossed needs scores (S, N) of two seeds and two examples or more, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("crossed needs finite scores")
    if bounds is not None:
        _check(bounds, x)
    s, n = x.shape
    note = f"over seeds and {n:,} test examples"
    if bounds == (0, 1) and x.min() == x.max() and x[0, 0] in (0, 1):
        return replace(proportion(int(x[0].sum()), n, level), n=s, note=note)
    seeds, examples = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    a, b = n * seeds.var(ddof=1), s * examples.var(ddof=1)
    e = ((x - seeds - examples + x.mean()) ** 2).sum() / ((s - 1) * (n - 1))
    total = max(a + b - e, a, b)
    parts = a**2 / (s - 1) + b**2 / (n - 1) + e**2 / ((s - 1) * (n - 1))
    freedom = total**2 / parts if parts else 1.0
    return Interval(
        x.mean().item(), *_ends(x.mean().item(), math.sqrt(total / (s * n)), freedom, level, bounds), s, note
    )


def bootstrap(
    statistic: Callable[..., float],
    *columns: Any,
    block: int = 1,
    of: str = "units",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The interval of `statistic(*columns)` over the n units that were sampled, rows of all columns alike.

    statistic  a number from the columns, or from rows of them that were drawn with replacement. For what needs more
               than arrays let the column be `range(n)`: the statistic then gets the numbers of the units
    block      months that follow each other are alike: with block = 6 runs of 6 rows are drawn (the moving blocks of
               Künsch, Annals of Statistics 17, 1989). A block should outlast the correlation; n / block blocks count
    of         what the units are, for the card: "months", "test pictures"

    The ends are quantiles of the resampled statistics, moved outwards for a small number k = n / block of blocks to
    the level Phi(-sqrt(k / (k - 1)) t_{k-1}) (Hesterberg, The American Statistician 69, 2015). Simulated for means of
    skewed scores the truth was inside in 88, 92 and 95 of 100 cases with n = 10, 20 and 150 (plain quantiles 84, 88
    and 94, BCa 86, 91 and 93); for 60 to 240 months with a correlation of 0.5 from one to the next in 92 to 93 with
    block = 12, 89 to 91 with block = 6, and 73 to 76 when each month was drawn alone.

    Raises ValueError for columns of unequal length, for fewer than two blocks, and where a resample has no number.
    """
    from scipy.stats import norm, t

    arrays = [np.asarray(column) for column in columns]
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(f"a bootstrap needs columns of one length, got {[len(array) for array in arrays]}")
    n = lengths.pop()
    if not 1 <= block <= n / 2:
        raise ValueError(f"a bootstrap needs two blocks or more: {n} {of} in blocks of {block}")
    starts = np.random.default_rng(seed).integers(0, n - block + 1, (resamples, math.ceil(n / block), 1))
    rows = (starts + np.arange(block)).reshape(resamples, -1)[:, :n]
    known = float(statistic(*arrays))
    values = np.array([float(statistic(*(array[row] for array in arrays))) for row in rows])
    if not np.isfinite(values).all() or not math.isfinite(known):
        raise ValueError("the statistic has no number for some draws of the units: too few of them, or of one kind")
    k = n / block
    tail = norm.cdf(math.sqrt(k / (k - 1)) * t.ppf(0.5 - level / 2, k - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    note = f"bootstrap over {n:,} {of}" + f" in blocks of {block}" * (block > 1)
    return Interval(known, float(low), float(high), n, note)


# ------------------------------------------------------------------ several comparisons


def p_value(differences: ArrayLike, splits: float | tuple[float, float] | None = None) -> float:
    """The two-sided p of Student's paired t-test: could these differences come from a true mean of zero?

    `splits` as in `interval`: the corrected resampled t-test of Nadeau and Bengio. Raises ValueError for fewer than
    two differences. Differences that are all alike give 0, or 1 where they are zero.
    """
    from scipy.stats import t

    x = np.asarray(differences, dtype=float).ravel()
    if x.size < 2 or not np.isfinite(x).all():
        raise ValueError(f"a t-test needs two finite differences or more, got {x.tolist()}")
    error = x.std(ddof=1) * math.sqrt(1 / x.size + _overlap(splits)[0])
    if error == 0:
        return float(x[0] == 0)
    return float(2 * t.sf(abs(x.mean()) / error, x.size - 1))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p of several tests: those below 0.05 hold together, with at most 5 % chance that one is wrong.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than the one before it
    (Holm, Scandinavian Journal of Statistics 6, 1979). Raises ValueError for what is no p.
    """
    wrong = {name: one for name, one in p.items() if not 0 <= one <= 1}
    if wrong:
        raise ValueError(f"p lies between 0 and 1, got {wrong}")
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, p[name] * (len(p) - rank)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


@dataclass(frozen=True)
class Comparison:
    """What one comparison of a `family` may say."""

    interval: Interval  # of the mean difference; it excludes zero just where p is below 5 %
    p: float  # after Holm's correction, if there was one
    verdict: str  # "higher", "lower", "open", "too few" (fewer than 5 differences), "exploratory"

    def __str__(self) -> str:
        return f"{self.interval}, p = {self.p:.3f}: {self.verdict}"


def family(
    differences: Mapping[str, ArrayLike],
    primary: str | None = None,
    level: float = 0.95,
    splits: float | tuple[float, float] | None = None,
) -> dict[str, Comparison]:
    """What the comparisons of one table may say: {name: Comparison} of {name: paired differences, one a seed}.

    primary  the one comparison that the table was made for, named before it was run: it is judged at 5 %, and all
             others are "exploratory", whatever their numbers are. Without it Holm's correction covers them all

    Under Holm an interval is widened to the level at which it excludes zero just where the adjusted p is below 5 %:
    1 - 0.05 p / adjusted p. So `claim(..., found[name].interval, at_least=0)` holds just where the table says so.
    Raises ValueError for no comparison and for a primary that is none of them.
    """
    values = {name: np.asarray(one, dtype=float).ravel() for name, one in differences.items()}
    if not values or primary not in (None, *values):
        raise ValueError(f"there is no comparison {primary!r}; there are {', '.join(values) or 'none'}")
    raw = {name: p_value(one, splits) if one.size > 1 else 1.0 for name, one in values.items()}
    adjusted = raw if primary else holm(raw)
    found = {}
    for name, one in values.items():
        p, share = adjusted[name], raw[name] / adjusted[name] if adjusted[name] else 1 / len(values)
        known = interval(one, level if primary else 1 - (1 - level) * share, splits=splits)
        if name == primary:
            said = f"the primary comparison of {len(values)}"
        else:
            said = "exploratory" if primary else f"after Holm's correction over {len(values)} comparisons"
        notes = [known.note, said if len(values) > 1 else ""]
        known = replace(known, note="; ".join(filter(None, notes)))
        if one.size < FEWEST:
            verdict = "too few"
        elif primary and name != primary:
            verdict = "exploratory"
        else:
            verdict = "open" if p >= 1 - level else "higher" if known.mean > 0 else "lower"
        found[name] = Comparison(known, p, verdict)
    return found

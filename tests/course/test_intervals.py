"""Intervals against SciPy, published numbers, closed forms, and by how often they hold the truth in a simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from helpers.course.intervals import (
    Comparison,
    Interval,
    bootstrap,
    crossed,
    family,
    holm,
    interval,
    p_value,
    proportion,
)


def share_inside(found, truth):
    """How often the truth lies inside, and four standard errors of that share."""
    hits = np.mean([one.low <= truth <= one.high for one in found])
    return hits, 4 * math.sqrt(0.95 * 0.05 / len(found))


# ------------------------------------------------------------------ one mean


# numbers that are not subnormal: some libraries switch those off for the whole process
@settings(deadline=None)
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


@pytest.mark.parametrize("bounds", [None, (0, 1), (0, math.inf)])
def test_one_value_has_no_interval_and_equal_values_have_width_zero(bounds):
    assert interval([0.7], bounds=bounds) == interval(0.7, bounds=bounds) == Interval(0.7, 0.7, 0.7, 1)
    for value in (0.0, 0.5, 1.0):  # at a bound, too, where the logit is infinite
        assert interval([value] * 4, bounds=bounds) == Interval(value, value, value, 4)
    assert str(interval(0.7)) == "0.700" and str(Interval(0.5, 0.25, 0.75, 3)) == "0.500 [0.250, 0.750]"


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], np.nan])
def test_an_interval_of_nothing_or_nan_is_an_error(bad):
    with pytest.raises(ValueError, match="finite"):
        interval(bad)


def test_the_intervals_cover_what_they_promise():
    rng = np.random.default_rng(0)
    hits, error = share_inside([interval(x) for x in rng.normal(3, 2, (2000, 4))], 3)
    assert abs(hits - 0.95) < error


# ------------------------------------------------------------------ bounded scores


def test_a_bounded_interval_is_the_delta_method_on_the_logit():
    """0.9, 0.96, 0.99: m = 0.95, s = 0.0458; d logit(m) = dm / (m (1 - m)); t of 2 degrees is 4.3027."""
    half = 4.302653 * np.std([0.9, 0.96, 0.99], ddof=1) / math.sqrt(3) / (0.95 * 0.05)
    got = interval([0.9, 0.96, 0.99], bounds=(0, 1))
    assert (got.low, got.high) == pytest.approx((expit(logit(0.95) - half), expit(logit(0.95) + half)), abs=1e-6)
    moved = interval([80.0, 92.0, 98.0], bounds=(-100, 100))  # the same scores on another scale
    assert (moved.low, moved.high) == pytest.approx((200 * got.low - 100, 200 * got.high - 100), abs=1e-4)
    loss = interval([1.0, 2.0, 3.0], bounds=(0, math.inf))  # e^(log 2 -+ 4.3027 / sqrt(3) / 2)
    assert (loss.low, loss.high) == pytest.approx((2 * math.exp(-1.24206), 2 * math.exp(1.24206)), abs=1e-4)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=9),
    st.sampled_from([(0, 1), (0, math.inf), (-1, 1), (0, 3)]),
)
def test_a_bounded_interval_never_leaves_its_bounds(values, bounds):
    got = interval(values, bounds=bounds)
    assert bounds[0] <= got.low <= got.mean + 1e-12 and got.mean - 1e-12 <= got.high <= bounds[1]
    assert math.isfinite(got.low) and math.isfinite(got.high)


def test_far_from_the_bounds_they_make_no_difference():
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 0.001, 5)
    plain, bounded = interval(x), interval(x, bounds=(0, 1))
    assert (bounded.low, bounded.high) == pytest.approx((plain.low, plain.high), abs=1e-7)


def test_what_cannot_be_such_a_score_is_an_error():
    with pytest.raises(ValueError, match="between 0 and 1 cannot be 1.2"):
        interval([0.5, 1.2], bounds=(0, 1))
    with pytest.raises(ValueError, match="cannot be -3"):
        interval(-3, bounds=(0, math.inf))
    for bounds in ((1, 0), (0, 0), (-math.inf, 0)):
        with pytest.raises(ValueError, match="finite low"):
            interval([0, 0], bounds=bounds)


@pytest.mark.parametrize(
    "mean, size, least", [(0.9, 50, 0.948), (0.95, 50, 0.942), (0.98, 50, 0.935), (0.99, 30, 0.877)]
)
@pytest.mark.parametrize("n", [3, 5, 8])
def test_bounded_intervals_cover_better_than_unbounded_ones(mean, size, least, n):
    """Beta scores near 1. `least` is what 20,000 draws gave, and the 800 drawn here may
    stay below by four standard errors; nowhere more than two points above 95 of 100."""
    scores = np.random.default_rng(n).beta(mean * size, (1 - mean) * size, (800, n))
    bounded, error = share_inside([interval(x, bounds=(0, 1)) for x in scores], mean)
    plain, _ = share_inside([interval(x) for x in scores], mean)
    assert least - error < bounded < 0.97 and bounded > plain


def test_the_bca_bootstrap_covers_less_with_few_seeds():
    """Why bounded scores have the logit and not SciPy's BCa bootstrap: 66 to 90 of 100 where the logit has 94."""
    scores = np.random.default_rng(0).beta(0.95 * 50, 0.05 * 50, (300, 5))
    ends = [stats.bootstrap((x,), np.mean, n_resamples=300, random_state=0).confidence_interval for x in scores]
    assert np.mean([low <= 0.95 <= high for low, high in ends]) < 0.88
    assert share_inside([interval(x, bounds=(0, 1)) for x in scores], 0.95)[0] > 0.9


# ------------------------------------------------------------------ repeated splits of one data set


def test_overlapping_training_sets_widen_the_interval():
    """8 splits of 80 to 20: sqrt((1/8 + 20/80) / (1/8)) = sqrt(3); ten folds: sqrt((1/10 + 1/9) / (1/10))."""
    x = np.random.default_rng(0).normal(0, 1, 8)
    plain, corrected = interval(x), interval(x, splits=(80, 20))
    assert corrected.high - corrected.low == pytest.approx(math.sqrt(3) * (plain.high - plain.low))
    same = interval(x, splits=0.2)
    assert (same.low, same.high) == pytest.approx((corrected.low, corrected.high)) and "Nadeau" in same.note
    folds = np.arange(10.0)
    factor = (interval(folds, splits=0.1).high - 4.5) / (interval(folds).high - 4.5)
    assert factor == pytest.approx(math.sqrt(19 / 9))
    for splits in (0, 1.0, (10, 0)):
        with pytest.raises(ValueError, match="splits must be"):
            interval(x, splits=splits)


def test_with_overlapping_training_sets_only_the_corrected_interval_covers():
    """A mean learnt from 80 of 100 numbers and tested on the other 20, eight splits: its squared error is 1 + 1/80.

    Uncorrected the truth is inside in about 75 of 100 cases; corrected in about 95."""
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(600):
        y = rng.normal(size=100)
        order = np.stack([rng.permutation(100) for _ in range(8)])
        errors = ((y[order[:, 80:]] - y[order[:, :80]].mean(1, keepdims=True)) ** 2).mean(1)
        plain.append(interval(errors))
        corrected.append(interval(errors, splits=(80, 20)))
    assert share_inside(plain, 1 + 1 / 80)[0] < 0.85
    hits, error = share_inside(corrected, 1 + 1 / 80)
    assert abs(hits - 0.95) < error


# ------------------------------------------------------------------ shares

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


# ------------------------------------------------------------------ seeds x examples


def test_where_only_one_side_varies_the_t_interval_of_that_side_is_left():
    rng = np.random.default_rng(0)
    seeds, examples = rng.normal(size=(6, 1)), rng.normal(size=(1, 40))
    for scores, side in ((np.repeat(seeds, 40, 1), seeds), (np.repeat(examples, 6, 0), examples)):
        low, high = stats.ttest_1samp(side.ravel(), 0).confidence_interval()
        got = crossed(scores)
        assert (got.low, got.high) == pytest.approx((low, high)) and got.n == 6
    assert got.note == "over seeds and 40 test examples"


def test_of_a_sum_the_variances_add():
    """x[s, i] = a[s] + b[i] leaves no rest, so the mean's variance is var(a)/S + var(b)/N; t by Satterthwaite."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 1)), rng.normal(0, 4, (1, 30))
    parts = np.array([a.var(ddof=1) / 5, b.var(ddof=1) / 30])
    half = stats.t.ppf(0.975, parts.sum() ** 2 / (parts**2 / [4, 29]).sum()) * math.sqrt(parts.sum())
    got = crossed(a + b)
    assert got.high - got.low == pytest.approx(2 * half) and got.mean == pytest.approx(a.mean() + b.mean())


@pytest.mark.parametrize("value, low, high", [(1, 1 - 0.1611, 1), (0, 0, 0.1611)])
def test_where_all_are_right_the_examples_still_leave_room(value, low, high):
    got = crossed(np.full((5, 20), value), bounds=(0, 1))  # Newcombe's 0 of 20, above
    assert (got.mean, got.low, got.high) == pytest.approx((value, low, high), abs=6e-5) and got.n == 5


def drawn(rng, s, n, seeds, examples, at):
    """Right or wrong of s seeds on n examples, log-odds at + N(0, seeds) + N(0, examples)."""
    odds = at + rng.normal(0, seeds, (s, 1)) + rng.normal(0, examples, (1, n))
    return (rng.random((s, n)) < expit(odds)).astype(float)


@pytest.mark.parametrize(
    "s, n, seeds, examples, at",
    [(5, 100, 0.2, 2, 2.5), (8, 50, 0.3, 3, 4), (3, 300, 0.5, 1, 1.5), (5, 300, 0.1, 1, 1.5)],
)
def test_both_samplings_are_in_the_interval(s, n, seeds, examples, at):
    """The truth is an integral over both normals. Inside in 93.7 to 96.5 of 100 in 4,000 draws; here 400."""
    x, w = np.polynomial.hermite_e.hermegauss(60)
    truth = (w * expit(at + math.hypot(seeds, examples) * x)).sum() / w.sum()
    rng = np.random.default_rng(s + n)
    tables = [drawn(rng, s, n, seeds, examples, at) for _ in range(400)]
    hits, error = share_inside([crossed(x, bounds=(0, 1)) for x in tables], truth)
    assert 0.937 - error < hits < 0.965 + error
    if examples >= 2:  # the examples dominate: what the seeds' means alone say is too narrow
        assert share_inside([interval(x.mean(1)) for x in tables], truth)[0] < 0.87


@pytest.mark.parametrize("bad", [[0.5, 1], [[1, 0, 1]], [[1], [0]], [[np.nan, 1], [0, 1]]])
def test_one_seed_alone_cannot_be_crossed(bad):
    with pytest.raises(ValueError, match="crossed needs"):
        crossed(bad)


def test_a_crossed_score_out_of_bounds_is_an_error():
    with pytest.raises(ValueError, match="cannot be 2"):
        crossed([[0, 1], [2, 1]], bounds=(0, 1))


# ------------------------------------------------------------------ the bootstrap


def test_the_bootstrap_is_scipys_at_the_moved_level():
    """For n = 30 the tail is Phi(-sqrt(30/29) 2.045) = 0.0188, so SciPy's percentile interval of 96.25 % is meant."""
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    tail = stats.norm.cdf(-math.sqrt(30 / 29) * stats.t.ppf(0.975, 29))
    assert tail == pytest.approx(0.0188, abs=1e-4)
    same = dict(n_resamples=4000, method="percentile", confidence_level=1 - 2 * tail, paired=True, vectorized=False)
    for statistic, data in ((np.median, (x,)), (lambda a, b: np.corrcoef(a, b)[0, 1], (x, x + y))):
        low, high = stats.bootstrap(data, statistic, random_state=1, **same).confidence_interval
        got = bootstrap(statistic, *data, resamples=4000)
        assert got.mean == pytest.approx(statistic(*data)) and got.n == 30
        assert (got.low, got.high) == pytest.approx((low, high), abs=0.06)  # two draws of 4,000


def test_blocks_are_runs_of_neighbours():
    """The mean of resamples has the variance of overlapping block means over the number of blocks (Künsch 1989)."""
    x = np.cumsum(np.random.default_rng(0).normal(size=60))
    values, rows = [], []

    def statistic(months, t):
        values.append(months.mean())
        rows.append(t)
        return values[-1]

    got = bootstrap(statistic, x, range(60), block=5, of="months", resamples=4000)
    blocks = np.lib.stride_tricks.sliding_window_view(x, 5).mean(1)
    assert np.mean(values[1:]) == pytest.approx(blocks.mean(), abs=4 * blocks.std() / math.sqrt(12 * 4000))
    assert np.var(values[1:]) == pytest.approx(blocks.var() / 12, rel=0.1)  # 4,000 draws: 2.2 % a standard error
    steps = np.diff(np.array(rows[1:]).reshape(4000, 12, 5))
    assert (steps == 1).all() and (got.n, got.note) == (60, "bootstrap over 60 months in blocks of 5")


def test_the_bootstrap_gives_the_same_again_and_goes_through_all_columns():
    x = np.arange(20.0)
    one = bootstrap(lambda a, b: float((a == b).mean()), x, list(x), of="test pictures", resamples=50)
    assert one == Interval(1, 1, 1, 20, "bootstrap over 20 test pictures")  # rows stay together
    assert bootstrap(np.mean, x) == bootstrap(np.mean, x) != bootstrap(np.mean, x, seed=1)
    assert bootstrap(np.mean, x[:11], block=4).n == 11  # the last block is cut


def test_months_need_blocks_to_cover():
    """Months with a correlation of 0.5: in blocks of 12 about 92 of 100, one by one about 74."""
    rng = np.random.default_rng(0)
    noise, x = rng.normal(size=(150, 150)), np.zeros((150, 150))
    for i in range(1, 150):
        x[:, i] = 0.5 * x[:, i - 1] + noise[:, i]
    mean = lambda months: months.mean()
    single, _ = share_inside([bootstrap(mean, row[30:], resamples=300) for row in x], 0)
    blocks, _ = share_inside([bootstrap(mean, row[30:], block=12, resamples=300) for row in x], 0)
    assert single < 0.85 and blocks > 0.85  # standard errors: 3.6 and 2.2 points


def test_test_pictures_cover():
    """Twenty pictures with skewed scores: about 92 of 100, where plain quantiles have 88."""
    scores = np.random.default_rng(0).beta(1.8, 0.2, (200, 20))
    hits, _ = share_inside([bootstrap(lambda x: x.mean(), x, resamples=500) for x in scores], 0.9)
    assert 0.88 < hits < 0.97


def test_what_cannot_be_resampled_is_an_error():
    with pytest.raises(ValueError, match="columns of one length"):
        bootstrap(np.corrcoef, [1, 2], [1, 2, 3])
    for block in (0, 6):
        with pytest.raises(ValueError, match="two blocks or more: 10 months"):
            bootstrap(np.mean, range(10), block=block, of="months")
    with pytest.raises(ValueError, match="no number for some draws"):
        bootstrap(lambda x: math.nan if len(set(x)) == 1 else 1.0, [0, 1, 1], resamples=100)


# ------------------------------------------------------------------ several comparisons


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=2, max_size=12))
def test_the_p_of_differences_is_scipys(x):
    if np.std(x) < 1e-6:
        return
    assert p_value(x) == pytest.approx(stats.ttest_1samp(x, 0).pvalue, rel=1e-9, abs=1e-12)


def test_the_p_and_the_interval_agree_also_for_splits():
    x = np.random.default_rng(3).normal(0.9, 1, 8)
    for splits in (None, 0.2, (50, 50)):
        p = p_value(x, splits)
        assert interval(x, 1 - p, splits=splits).low == pytest.approx(0, abs=1e-9)  # at its own level it touches zero
    assert p_value([2.0, 2.0]) == 0 and p_value([0.0, 0.0]) == 1
    with pytest.raises(ValueError, match="two finite differences"):
        p_value([1.0])


def test_holm_in_numbers():
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    got = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert got == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}) and list(got) == list("abcd")
    assert holm({}) == {} and holm({"one": 0.04}) == {"one": 0.04}
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm({"a": math.nan})


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p):
    """The adjusted p of one test is the largest Bonferroni p of all sets that hold it (Marcus et al. 1976)."""
    sets = [s for r in range(1, len(p) + 1) for s in combinations(range(len(p)), r)]
    expected = [max(min(1, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))]
    assert list(holm(dict(enumerate(p))).values()) == pytest.approx(expected)


SEEDS = np.random.default_rng(0).normal(0, 1, (3, 8))
TABLE = {"clear": SEEDS[0] + 3, "near": SEEDS[1] - SEEDS[1].mean() + 0.95 * SEEDS[1].std(ddof=1), "none": SEEDS[2]}


def test_without_a_primary_holm_covers_the_table():
    raw = {name: stats.ttest_1samp(x, 0).pvalue for name, x in TABLE.items()}
    assert raw["near"] < 0.05 < 2 * raw["near"]  # significant alone, and not beside two others
    found = family(TABLE)
    assert {name: one.verdict for name, one in found.items()} == {"clear": "higher", "near": "open", "none": "open"}
    assert found["near"].p == pytest.approx(2 * raw["near"]) and found["near"].interval.low < 0
    assert found["near"].interval.note == "after Holm's correction over 3 comparisons"
    assert str(found["none"]).endswith(": open")
    lower = family({"a": -TABLE["clear"]})["a"]
    assert lower.verdict == "lower" and lower.interval == interval(-TABLE["clear"])  # one alone: nothing to correct


def test_a_primary_comparison_is_judged_alone():
    found = family(TABLE, primary="near")
    assert {name: one.verdict for name, one in found.items()} == {
        "clear": "exploratory",
        "near": "higher",
        "none": "exploratory",
    }
    low, high = stats.ttest_1samp(TABLE["near"], 0).confidence_interval()
    assert (found["near"].interval.low, found["near"].interval.high) == pytest.approx((low, high))
    assert found["near"].interval.note == "the primary comparison of 3" and found["none"].interval.note == "exploratory"
    for table, primary in ((TABLE, "other"), ({}, None)):
        with pytest.raises(ValueError, match="no comparison"):
            family(table, primary)


def test_with_less_than_five_seeds_nothing_helps_or_hurts():
    found = family({"four": [1.0, 1.1, 0.9, 1.0], "five": [1.0, 1.1, 0.9, 1.0, 1.0], "one": [3.0]})
    assert {name: one.verdict for name, one in found.items()} == {"four": "too few", "five": "higher", "one": "too few"}
    assert isinstance(found["one"], Comparison) and found["one"].p == 1


def test_splits_go_into_interval_and_verdict():
    x = {"folds": np.arange(8) - 1.0}  # 2.5 with a deviation of 2.45: t = 2.89, and 1.67 with the factor sqrt(3)
    plain, corrected = family(x)["folds"], family(x, splits=0.2)["folds"]
    assert (plain.verdict, corrected.verdict) == ("higher", "open")
    assert corrected.interval == interval(x["folds"], splits=0.2)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_an_interval_excludes_zero_where_the_verdict_says_so(seed, m):
    rng = np.random.default_rng(seed)
    found = family({str(i): rng.normal(rng.uniform(-2, 2), 1, 6) for i in range(m)})
    for one in found.values():
        side = "higher" if one.interval.low > 0 else "lower" if one.interval.high < 0 else "open"
        assert one.verdict == side


def test_fifteen_comparisons_without_an_effect_rarely_find_one():
    """Of 300 tables of 15 comparisons, where nothing differs, about 5 % find something; uncorrected about 54 %."""
    rng = np.random.default_rng(0)
    tables = [holm(dict(enumerate(p_value(x) for x in rng.normal(size=(15, 5))))) for _ in range(300)]
    assert np.mean([min(p.values()) < 0.05 for p in tables]) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean([min(p.values()) / 15 < 0.05 for p in tables]) > 0.4

"""Oracles: windows and errors by hand, the theory of the lag-1 error, and no look-ahead."""

import math

import numpy as np
import pytest

from helpers.recurrent import forecast


def test_walk_forward_trains_on_the_past_only():
    folds = forecast.walk_forward(100, 60, 15)
    assert folds == [(60, 75), (75, 90), (90, 100)]


def test_windows_and_scaler():
    series = np.arange(20.0).reshape(10, 2)
    series[2, 1] = np.nan
    x, y, where = forecast.windows(series, 3, 2, 8)
    assert x.shape == (len(y), 3, 1) and y.shape == (len(y), 1)
    assert [tuple(w) for w in where] == [(3, 0), (4, 0), (5, 0), (6, 0), (6, 1), (7, 0), (7, 1)]
    for (t, k), window, target in zip(where, x, y):
        assert window[:, 0].tolist() == series[t - 3 : t, k].tolist() and target.item() == series[t, k]
    scaler = forecast.Scaler(series, min_count=2)
    scaled = scaler.scale(series)
    assert np.allclose(np.nanmean(scaled, axis=0), 0) and np.allclose(np.nanstd(scaled, axis=0), 1)
    assert np.isnan(scaled[2, 1]) and np.allclose(scaler.unscale(scaled), series, equal_nan=True)
    assert np.isnan(forecast.Scaler(series, min_count=10).scale(series)).all(axis=0).tolist() == [False, True]


def walk(steps=70, shares=3, seed=0):
    rng = np.random.default_rng(seed)
    return 50 * np.exp(np.cumsum(0.01 + 0.05 * rng.standard_normal((steps, shares)), axis=0))


FAST = {"length": 4, "first": 45, "size": 15, "epochs": 1, "device": "cpu"}


@pytest.mark.parametrize("on", ["returns", "prices"])
def test_no_forecast_knows_the_future(on):
    prices = walk()
    found = forecast.forecast_prices(prices, on, **FAST)
    assert len(found["truth"]) == 25 * 3 and np.array_equal(found["lag-1"], found["last"])
    t, k = found["when"].T
    assert np.array_equal(found["truth"], prices[t, k]) and np.array_equal(found["last"], prices[t - 1, k])
    other = prices.copy()
    other[50:] *= np.random.default_rng(1).uniform(0.5, 2, (20, 3))  # another future from month 50 on
    changed = forecast.forecast_prices(other, on, **FAST)
    for name in ("lstm", "lag-1", "drift"):
        assert np.array_equal(found[name][t <= 50], changed[name][t <= 50]), name
        assert not np.allclose(found[name][t > 50], changed[name][t > 50]), name


def test_forecast_errors_by_hand():
    found = {"a": np.array([110.0, 90.0]), "truth": np.array([100.0, 100.0])}
    errors = forecast.forecast_errors(found, "a")
    assert errors["price %"] == pytest.approx(10)
    assert errors["return"] == pytest.approx(math.sqrt((math.log(1.1) ** 2 + math.log(0.9) ** 2) / 2))


def test_by_month_by_hand():
    when = np.array([[7, 0], [7, 1], [9, 0]])
    found = {"when": when, "a": np.array([1.0, 1.0, np.e]), "truth": np.array([np.e, np.e**2, np.e])}
    assert forecast.by_month(found, "a") == pytest.approx([1 + 4, 0])


def test_a_share_without_a_past_takes_no_part():
    prices = walk()
    prices[:45, 2] = np.nan
    found = forecast.forecast_prices(prices, **FAST)
    assert set(found["when"][:, 1].tolist()) == {0, 1} and np.isfinite(found["lstm"]).all()


def test_the_lstm_finds_what_can_be_found():
    """Returns that swing back (r_t = -0.9 r_t-1 + noise): here the lag-1 forecast can be beaten, and is."""
    rng = np.random.default_rng(0)
    returns = np.zeros((260, 5))
    for t in range(1, 260):
        returns[t] = -0.9 * returns[t - 1] + 0.02 * rng.standard_normal(5)
    found = forecast.forecast_prices(
        50 * np.exp(np.cumsum(returns, axis=0)), length=4, first=200, size=60, epochs=25, device="cpu"
    )
    error = {name: forecast.forecast_errors(found, name)["return"] for name in ("lstm", "lag-1", "drift")}
    assert 0.018 < error["lstm"] < 0.6 * error["lag-1"]  # the noise is 0.02: nobody gets below
    assert abs(error["lag-1"] / (0.02 / math.sqrt(1 - 0.81)) - 1) < 0.2  # theory: σ/√(1 - 0.9²)

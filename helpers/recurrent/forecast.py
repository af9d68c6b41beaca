"""Forecasting a series of prices with an LSTM, by walking forward in time.

Shapes: prices and returns (T, K) months and shares.
"""

import numpy as np
import torch
import torch.nn as nn

from helpers.course.batches import Tensors
from helpers.course.training import fit, predict


def walk_forward(n, first, size):
    """Folds (start, stop): train on what lies before `start`, test on start..stop-1, then move on by `size`."""
    return [(start, min(start + size, n)) for start in range(first, n, size)]


class Scaler:
    """Mean 0 and standard deviation 1 on `past` (T, K), NaN left out; the future is scaled as the past was.

    A column with fewer than `min_count` values is too young: it becomes NaN and so takes no part.
    """

    def __init__(self, past, min_count=24):
        count = (~np.isnan(past)).sum(axis=0)
        count = np.where(count < min_count, np.nan, count)
        self.mean = np.nansum(past, axis=0) / count
        self.std = np.sqrt(np.nansum((past - self.mean) ** 2, axis=0) / count)

    def scale(self, x):
        return (x - self.mean) / self.std

    def unscale(self, z, columns=slice(None)):
        return z * self.std[columns] + self.mean[columns]


def windows(series, length, start, stop):
    """Pairs for the times start..stop-1 of series (T, K): x (N, length, 1) the values before, y (N, 1).

    Each column gives its own pairs; those with a NaN are left out. -> x, y, where: (N, 2) time and column.
    """
    x, y, where = [], [], []
    for t in range(max(start, length), stop):
        for k in np.flatnonzero(~np.isnan(series[t - length : t + 1]).any(axis=0)):
            x.append(series[t - length : t, k])
            y.append(series[t, k])
            where.append((t, k))
    x, y = np.array(x, dtype=np.float32), np.array(y, dtype=np.float32)
    return torch.from_numpy(x).view(-1, length, 1), torch.from_numpy(y).view(-1, 1), np.array(where)


class Forecaster(nn.Module):
    """LSTM over x (B, T, 1), a linear reading of its last state -> (B, 1)."""

    def __init__(self, hidden=32):
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


def forecast_step(model, batch):
    """Sums over the batch: squared error."""
    x, y = batch
    return {"loss": (model(x) - y).square().sum()}


def forecast_prices(prices, on="returns", length=12, first=240, size=30, epochs=20, seed=0, **options):
    """One-step forecasts of prices (T, K) in walk-forward folds: a fresh LSTM a fold, scaled on its past only.

    on: what the LSTM reads and predicts, log "returns" or "prices". -> dict: `when` (N, 2) time and column, `last`
    (N,) the price before, `truth` (N,), and the forecasts of the price (N,): `lstm`; `lag-1`, the last price
    again; `drift`, the last price grown by the share's mean return of the past.
    """
    returns = np.full_like(prices, np.nan)
    returns[1:] = np.diff(np.log(prices), axis=0)
    series = {"returns": returns, "prices": prices}[on]
    found = {name: [] for name in ("when", "last", "truth", "lstm", "lag-1", "drift")}
    for fold, (start, stop) in enumerate(walk_forward(len(prices), first, size)):
        scaler = Scaler(series[:start])
        scaled = scaler.scale(series)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + fold)
            model = Forecaster()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        x, y, _ = windows(scaled, length, 0, start)
        fit(
            model,
            Tensors(x, y),
            step=forecast_step,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=64,
            clip=1.0,
            seed=1000 * seed + fold,
            label=f"fold {fold + 1}",
            **options,
        )
        x, _, where = windows(scaled, length, start, stop)
        t, k = where.T
        answer = scaler.unscale(predict(model, Tensors(x)).numpy().ravel(), k)
        last = prices[t - 1, k]
        drift = Scaler(returns[:start]).mean[k]
        for name, value in {
            "when": where,
            "last": last,
            "truth": prices[t, k],
            "lag-1": last,
            "lstm": last * np.exp(answer) if on == "returns" else answer,
            "drift": last * np.exp(drift),
        }.items():
            found[name].append(value)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def forecast_errors(found, name):
    """Root mean squared errors of one forecast of `forecast`: of the log return, and of the price in per cent."""
    gap = np.log(np.clip(found[name], 1e-9, None) / found["truth"])
    relative = found[name] / found["truth"] - 1
    return {"return": float(np.sqrt((gap**2).mean())), "price %": float(100 * np.sqrt((relative**2).mean()))}


def by_month(found, name):
    """Squared errors of the log return, added up over the shares: one number a month, in the order of time."""
    gap = np.log(np.clip(found[name], 1e-9, None) / found["truth"])
    months = found["when"][:, 0]
    return [float((gap[months == t] ** 2).sum()) for t in np.unique(months)]

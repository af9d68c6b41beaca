"""What the arms of lecture 09's experiments on recurrent networks do."""

import numpy as np
import pytest

from helpers.recurrent import experiments as study
from helpers.recurrent import forecast, memory


def test_survival_is_told_as_a_factor_a_step():
    arms = study.survival("tiny")
    assert list(arms) == list(memory.INITS)
    row, left = arms["LSTM"](3), memory.survival_of("LSTM", 20, 16, seed=3)
    for kind in ("measured", "predicted", "at rest"):
        assert row[kind] ** 20 == pytest.approx(left[kind][-1].item())
    assert row["measured 10"] == left["measured"][9].item() and "measured 25" not in row


def test_lstms_learn_the_long_distance_and_the_plain_rnn_both():
    arms = study.problems("tiny")
    plain = {f"{steps} steps, RNN, rate {rate}" for steps in (10, 5) for rate in ("0.005", "0.001")}
    assert set(arms) == {f"10 steps, {name}, rate 0.005" for name in study.LSTMS} | plain
    assert set(study.LSTMS) <= set(memory.INITS)
    row = arms["5 steps, RNN, rate 0.001"](0)
    assert row["best"] == min(row["share"]) and row["epochs"] == 2  # not within its one epoch


def test_parts_by_length_make_up_all_of_greedys_sentences(monkeypatch):
    found = {1: {1: (1, 2), 4: (0, 6)}, 2: {1: (2, 2), 4: (3, 6)}}
    report = {"beam": 0.8, "bleu": 0.9, "curve": found}
    monkeypatch.setattr(study, "train_translator", lambda *settings, **options: (None, None, report))
    row = study.translation("tiny")["no attention"](0)
    parts = {"epoch": [1, 2], "greedy": [1 / 8, 5 / 8], "1 to 4 words": [1 / 8, 5 / 8]}
    assert row == {"beam": 0.8, "bleu": 0.9} | parts


def test_skill_is_what_is_saved_of_lag_1s_squared_error():
    arms = study.forecasting("tiny")
    again, drift = (arms[name](0) for name in ("last price again", "mean return of the past"))
    assert again["skill"] == 0 and drift["skill"] == pytest.approx(1 - (drift["return"] / again["return"]) ** 2)
    prices = study.sets.stocks().to_numpy()
    found = forecast.forecast_prices(prices, "returns", first=380, size=10, epochs=1, device="cpu")
    months = again.pop("months")
    assert again == forecast.forecast_errors(found, "lag-1") | {"skill": 0.0}
    assert len(months) == len(np.unique(found["when"][:, 0]))
    assert sum(months) == pytest.approx(len(found["truth"]) * again["return"] ** 2)
    assert np.isfinite(arms["LSTM on prices"](0)["return"])

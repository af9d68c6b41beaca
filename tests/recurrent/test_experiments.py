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


def test_every_network_meets_both_problems():
    arms = study.problems("tiny")
    assert set(arms) == {f"{problem}: {name}" for problem in ("adding 30", "copying 5") for name in memory.INITS}
    row = arms["adding 30: RNN"](0)
    assert row["share"] == pytest.approx(row["loss"] / memory.ADDING_BASELINE)


def test_parts_by_length_make_up_all_of_greedys_sentences(monkeypatch):
    report = {"greedy": 0.7, "beam": 0.8, "bleu": 0.9, "by_length": {1: (2, 2), 4: (3, 6), 5: (1, 1), 11: (1, 1)}}
    monkeypatch.setattr(study, "train_translator", lambda *settings, **options: (None, None, report))
    row = study.translation("tiny")["no attention, 50"](0)
    assert row == {"greedy": 0.7, "beam": 0.8, "bleu": 0.9} | {
        "1 to 4 words": 5 / 8,
        "5 to 7 words": 1.0,
        "11 words or more": 1.0,
    }


def test_skill_is_what_is_saved_of_lag_1s_squared_error():
    arms = study.forecasting("tiny")
    again, drift = (arms[name](0) for name in ("last price again", "mean return of the past"))
    assert again["skill"] == 0 and drift["skill"] == pytest.approx(1 - (drift["return"] / again["return"]) ** 2)
    prices = study.sets.stocks().to_numpy()
    found = forecast.forecast_prices(prices, "returns", first=380, size=10, epochs=1, device="cpu")
    assert again == forecast.forecast_errors(found, "lag-1") | {"skill": 0.0}
    assert np.isfinite(arms["LSTM on prices"](0)["return"])

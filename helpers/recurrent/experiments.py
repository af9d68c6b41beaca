"""The experiments of lecture 09 on memory, translation and forecasting: arms for `helpers.course.experiments`.

The seed starts the weights and draws the sequences or the numbers; the share prices are the same for all seeds.
"""

from functools import lru_cache, partial

from helpers.data import sets
from helpers.recurrent import forecast, memory
from helpers.recurrent.translate import train_translator

# ---------------------------------------------------------------- how much gradient is left


def _survival(name, steps, hidden, seed):
    """Gradient left after `steps` steps as a factor a step: measured, without input, and predicted."""
    left = memory.survival_of(name, steps, hidden, seed=seed)
    return {kind: float(values[-1] ** (1 / steps)) for kind, values in left.items()} | {
        f"measured {t}": float(left["measured"][t - 1]) for t in (10, 25, 50, 100) if t <= steps
    }


def survival(scale):
    """The six networks of `memory.INITS` before any training."""
    steps, hidden = {"tiny": (20, 16), "small": (100, 64), "full": (200, 128)}[scale]
    return {name: partial(_survival, name, steps, hidden) for name in memory.INITS}


# ---------------------------------------------------------------- a problem that needs a memory

LSTMS, RATES = ("LSTM", "LSTM, forget bias 1", "LSTM, chrono"), (5e-3, 1e-3)


def _problem(name, length, lr, n, hidden, epochs, seed):
    """The curves of `memory.learn`, and how many epochs it took until a tenth of the error was left."""
    curves = memory.learn(name, length, lr, epochs, seed=seed, n=n, hidden=hidden)
    until = memory.epochs_until(curves["share"])
    return curves | {"best": min(curves["share"]), "epochs": min(until, epochs + 1)}


def problems(scale):
    """The adding problem: how many epochs an LSTM's starts need over the long distance, and a plain RNN over both."""
    n, hidden, long, short = {  # (steps, epochs at most)
        "tiny": (100, 8, (10, 1), (5, 1)),
        "small": (5000, 32, (100, 24), (30, 60)),
        "full": (50_000, 128, (400, 40), (100, 40)),
    }[scale]
    tried = [(name, *long, RATES[0]) for name in LSTMS]
    tried += [("RNN", *distance, rate) for distance in (long, short) for rate in RATES]
    return {
        f"{length} steps, {name}, rate {lr:g}": partial(_problem, name, length, lr, n, hidden, epochs)
        for name, length, epochs, lr in tried
    }


# ---------------------------------------------------------------- translation

EDGES = (1, 5, 8, 11, 99)  # source words


def _translate(attention, n, at, digits, tests, seed):
    """Greedy's exact matches after each epoch in `at`: of all sentences, and by length of the source."""
    _, _, report = train_translator(attention, n, digits, at[-1], seed=seed, tests=tests, at=at, device="cpu")
    curves = {"epoch": list(at), "greedy": []}
    for epoch in at:
        found = report["curve"][epoch]
        curves["greedy"].append(_share(found.values()))
        for low, high in zip(EDGES, EDGES[1:]):
            part = [pair for length, pair in found.items() if low <= length < high]
            name = f"{low} to {high - 1} words" if high < 99 else f"{low} words or more"
            if part:
                curves.setdefault(name, []).append(_share(part))
    return curves | {"beam": report["beam"], "bleu": report["bleu"]}


def _share(pairs):
    right, of = map(sum, zip(*pairs))
    return right / of


def translation(scale):
    """Encoder-decoder from English to Korean numbers, with attention and without: how soon, and how long a number."""
    n, at, digits, tests = {
        "tiny": (50, (1, 2), 3, 20),
        "small": (6000, (4, 8, 12, 20, 40), 8, 1000),
        "full": (50_000, (4, 8, 12, 20, 40), 12, 2000),
    }[scale]
    return {
        name: partial(_translate, name == "attention", n, at, digits, tests) for name in ("attention", "no attention")
    }


# ---------------------------------------------------------------- forecasting


@lru_cache(maxsize=4)
def _forecast(on, epochs, first, size, seed):
    prices = sets.stocks().to_numpy()
    return forecast.forecast_prices(prices, on, first=first, size=size, epochs=epochs, seed=seed, device="cpu")


def _errors(name, on, settings, seed):
    """Errors of one forecast on all folds, its skill, the share of lag-1's squared error that it saves, and `months`:
    the squared errors of the returns, added up for each month, which follow each other in time.
    """
    found = _forecast(on, *settings, seed)
    own, naive = (forecast.forecast_errors(found, n) for n in (name, "lag-1"))
    months = forecast.by_month(found, name)
    return own | {"skill": 1 - (own["return"] / naive["return"]) ** 2, "months": months}


def forecasting(scale):
    """Monthly share prices, one month ahead: LSTMs that read prices or returns, against two forecasts without one."""
    epochs, few, first, size = {"tiny": (1, 1, 380, 10), "small": (20, 4, 240, 30), "full": (200, 4, 240, 6)}[scale]
    arms = {
        "LSTM on prices": ("lstm", "prices", epochs),
        "LSTM on returns": ("lstm", "returns", epochs),
        "LSTM on returns, few epochs": ("lstm", "returns", few),
        "last price again": ("lag-1", "returns", epochs),
        "mean return of the past": ("drift", "returns", epochs),
    }
    return {arm: partial(_errors, name, on, (n, first, size)) for arm, (name, on, n) in arms.items()}

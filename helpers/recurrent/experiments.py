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


# ---------------------------------------------------------------- two problems that need a memory

LEARNING = {"adding": {"lr": 5e-3}, "copying": {"lr": 1e-2, "symbols": 4, "memory": 3}}


def _problem(problem, name, length, n, hidden, epochs, seed):
    """Loss on fresh sequences, and its share of the loss of who remembers nothing."""
    result = memory.learn(
        problem, name, length, seed=seed, n=n, hidden=hidden, epochs=epochs, device="cpu", **LEARNING[problem]
    )
    return {"loss": result["loss"], "share": result["share"]}


def problems(scale):
    """Each network on the adding problem and on the copy problem (three symbols of four kinds), at several lengths."""
    n, hidden, epochs, adding, copying = {
        "tiny": (100, 8, 1, (30,), (5,)),
        "small": (5000, 32, 8, (30, 100), (5, 15)),
        "full": (50_000, 128, 20, (50, 100, 200, 400), (10, 30, 100)),
    }[scale]
    tasks = [("adding", length) for length in adding] + [("copying", gap) for gap in copying]
    return {
        f"{problem} {length}: {name}": partial(_problem, problem, name, length, n, hidden, epochs)
        for problem, length in tasks
        for name in memory.INITS
    }


# ---------------------------------------------------------------- translation

EDGES = (1, 5, 8, 11, 99)  # source words


def _translate(attention, n, epochs, digits, tests, seed):
    """Exact matches of greedy and beam search, BLEU, and greedy's exact matches by length of the source."""
    _, _, report = train_translator(attention, n, digits, epochs, seed=seed, tests=tests, device="cpu")
    parts = {}
    for low, high in zip(EDGES, EDGES[1:]):
        found = [pair for length, pair in report["by_length"].items() if low <= length < high]
        right, of = map(sum, zip(*found)) if found else (0, 0)
        if of:
            parts[f"{low} to {high - 1} words" if high < 99 else f"{low} words or more"] = right / of
    return {name: report[name] for name in ("greedy", "beam", "bleu")} | parts


def translation(scale):
    """Encoder-decoder from English to Korean numbers, with attention and without; little and more data."""
    sizes, epochs, digits, tests = {
        "tiny": ((50,), 1, 3, 20),
        "small": ((2000, 6000), 12, 8, 1000),
        "full": ((2000, 6000, 50_000), 30, 12, 2000),
    }[scale]
    return {
        f"{name}, {n}": partial(_translate, name == "attention", n, epochs, digits, tests)
        for n in sizes
        for name in ("attention", "no attention")
    }


# ---------------------------------------------------------------- forecasting


@lru_cache(maxsize=4)
def _forecast(on, epochs, first, size, seed):
    prices = sets.stocks().to_numpy()
    return forecast.forecast_prices(prices, on, first=first, size=size, epochs=epochs, seed=seed, device="cpu")


def _errors(name, on, settings, seed):
    """Errors of one forecast on all folds, and its skill: the share of lag-1's squared error that it saves."""
    found = _forecast(on, *settings, seed)
    own, naive = (forecast.forecast_errors(found, n) for n in (name, "lag-1"))
    return own | {"skill": 1 - (own["return"] / naive["return"]) ** 2}


def forecasting(scale):
    """Monthly share prices, one month ahead: an LSTM that reads prices or returns, against the last price again."""
    settings = {"tiny": (1, 380, 10), "small": (20, 240, 30), "full": (200, 240, 6)}[scale]
    arms = {
        "LSTM on prices": ("lstm", "prices"),
        "LSTM on returns": ("lstm", "returns"),
        "last price again": ("lag-1", "returns"),
        "mean return of the past": ("drift", "returns"),
    }
    return {arm: partial(_errors, name, on, settings) for arm, (name, on) in arms.items()}

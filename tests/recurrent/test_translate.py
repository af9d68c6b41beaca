"""Oracles: independent readers of numerals, brute force over all sentences, sacrebleu, closed forms, no look-ahead."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.course.training import evaluate
from helpers.data.vocabulary import PAD, pad
from helpers.recurrent import forecast, numerals
from helpers.recurrent import translate as sequences
from helpers.recurrent.translate import END, START, Translator, beam, greedy

# --- numerals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "english", "korean"),
    [
        (0, "zero", "영"),
        (7, "seven", "칠"),
        (10, "ten", "십"),
        (11, "eleven", "십 일"),
        (21, "twenty one", "이 십 일"),
        (100, "one hundred", "백"),
        (119, "one hundred nineteen", "백 십 구"),
        (1000, "one thousand", "천"),
        (10_000, "ten thousand", "만"),
        (11_111, "eleven thousand one hundred eleven", "만 천 백 십 일"),
        (20_105, "twenty thousand one hundred five", "이 만 백 오"),
        (340_000, "three hundred forty thousand", "삼 십 사 만"),
        (10_000_000, "ten million", "천 만"),
        (100_000_000, "one hundred million", "일 억"),
        (100_010_000, "one hundred million ten thousand", "일 억 일 만"),
        (1_000_000_000, "one billion", "십 억"),
    ],
)
def test_known_numbers(n, english, korean):
    assert numerals.english(n) == english.split() and numerals.korean(n) == korean.split()


def read_english(tokens):
    """Value of English words, by another route: a stack of sums."""
    small = {w: n for n, w in enumerate(numerals.ONES)} | {w: 10 * n for n, w in enumerate(numerals.TENS, start=2)}
    total = group = 0
    for word in tokens:
        if word in small:
            group += small[word]
        elif word == "hundred":
            group *= 100
        else:
            total, group = total + group * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word], 0
    return total + group


def read_korean(tokens):
    """Value of Korean syllables, by place value."""
    total = group = digit = 0
    for syllable in tokens:
        if syllable in "영일이삼사오육칠팔구":
            digit = "영일이삼사오육칠팔구".index(syllable)
        elif syllable in "십백천":
            group, digit = group + (digit or 1) * 10 ** (1 + "십백천".index(syllable)), 0
        else:
            total, group, digit = total + (group + digit or 1) * {"만": 10**4, "억": 10**8}[syllable], 0, 0
    return total + group + digit


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.integers(0, 9), st.integers(0, 10**5), st.integers(0, numerals.LARGEST)))
def test_numerals_can_be_read_again(n):
    assert read_english(numerals.english(n)) == n
    assert read_korean(numerals.korean(n)) == n


def test_numbers_are_different_and_of_all_lengths():
    found = numerals.numbers(4000, digits=6)
    assert len(set(found)) == 4000 and found == numerals.numbers(4000, digits=6) != sorted(found)
    lengths = np.bincount([len(str(n)) for n in found])[1:]
    assert lengths[0] == 10 and lengths[1] == 90 and (lengths[3:] > 700).all()
    for call in (lambda: numerals.numbers(11, digits=1), lambda: numerals.english(-1), lambda: numerals.korean(10**12)):
        with pytest.raises(ValueError):
            call()


# --- forecasting ----------------------------------------------------------------------------------


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
    scaler = forecast.Scaler(series, least=2)
    scaled = scaler.scale(series)
    assert np.allclose(np.nanmean(scaled, axis=0), 0) and np.allclose(np.nanstd(scaled, axis=0), 1)
    assert np.isnan(scaled[2, 1]) and np.allclose(scaler.unscale(scaled), series, equal_nan=True)
    assert np.isnan(forecast.Scaler(series, least=10).scale(series)).all(axis=0).tolist() == [False, True]


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


# --- encoder and decoder --------------------------------------------------------------------------


def translator(attention=True, size=6, seed=0):
    torch.manual_seed(seed)
    model = Translator(9, size, 4, 5, attention).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # make it opinionated
        model.embedding.weight[PAD].zero_()
    return model


SOURCE = pad([[2, 3, 4], [5], [8, 7, 6, 5, 4]])


@pytest.mark.parametrize("attention", [False, True])
def test_steps_equal_the_whole(attention):
    """Teacher forcing at once = token by token; nothing looks ahead; padding of the source changes nothing."""
    model, target = translator(attention), torch.tensor([[2, 4, 5, 1, 3]] * 3)
    whole = model(SOURCE, target)
    memory, real, state = model.encode(SOURCE)
    for t in range(5):
        logits, state, weight = model.decode(target[:, t : t + 1], memory, real, state)
        assert (logits[:, 0] - whole[:, t]).abs().max() < 1e-12
        if attention:
            assert (weight.sum(dim=2) - 1).abs().max() < 1e-12 and weight[:, 0][~real].abs().max() == 0
    assert weight is None or attention
    other = target.clone()
    other[:, 3:] = 5
    assert torch.equal(model(SOURCE, other)[:, :3], whole[:, :3])
    longer = torch.nn.functional.pad(SOURCE, (0, 9), value=PAD)
    assert (model(longer, target) - whole).abs().max() < 1e-12


def log_probability(model, source, tokens):
    logits = model(source, torch.tensor([[START, *tokens]]))[0].log_softmax(dim=1)
    return sum(logits[t, token].item() for t, token in enumerate(tokens))


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_of_all_sentences(attention, seed):
    model, longest = translator(attention, seed=seed), 3
    found = beam(model, SOURCE, longest, width=6**longest)
    for row, best in zip(SOURCE, found):
        scores = {}
        for length in range(longest + 1):
            said = list(itertools.product([t for t in range(6) if t != END], repeat=length))
            closed = [[*tokens, END][:longest] for tokens in said]
            target = torch.tensor([[START, *tokens] for tokens in closed])
            logits = model(row.expand(len(said), -1), target)[:, :-1].log_softmax(dim=2)
            scores |= dict(zip(said, logits.gather(2, target[:, 1:, None]).sum(dim=(1, 2)).tolist()))
        assert len(scores) == 1 + 5 + 25 + 125 and tuple(best) == max(scores, key=scores.get)


@pytest.mark.parametrize("attention", [False, True])
def test_a_beam_of_one_is_greedy_and_wider_is_no_worse(attention):
    better = 0
    for seed in range(8):
        model = translator(attention, seed=seed)
        one, many = greedy(model, SOURCE, 6), beam(model, SOURCE, 6, width=50)
        assert beam(model, SOURCE, 6, width=1) == one
        for row, a, b in zip(SOURCE, one, many):
            first, second = (log_probability(model, row[None], [*s, END] if len(s) < 6 else s) for s in (a, b))
            assert second >= first - 1e-9
            better += second > first + 1e-9
    assert better > 0


def test_translation_step_by_hand():
    model = translator()
    target = pad([[START, 4, 5, END], [START, END], [START, 1, END]])
    sums = sequences.translation_step(model, (SOURCE, target))
    wanted = -sum(
        log_probability(model, SOURCE[k : k + 1], tokens) / len(tokens)
        for k, tokens in enumerate([[4, 5, END], [END], [1, END]])
    )
    assert abs(sums["loss"].item() - wanted) < 1e-9
    own = [[START, *tokens, END] for tokens in greedy(model, SOURCE, 4)]  # what it says by itself is right
    ended = [len(row) < 6 for row in own]
    assert sequences.translation_step(model, (SOURCE, pad(own)))["correct"] >= sum(ended)
    own[0][1] = 1 if own[0][1] != 1 else 4  # one token changed, one sentence lost
    assert sequences.translation_step(model, (SOURCE, pad(own)))["correct"] < 3


@pytest.mark.parametrize("attention", [False, True])
def test_step_runs_on_another_device(attention):
    with torch.device("meta"):
        model = Translator(9, 7, attention=attention)
        batch = torch.ones(3, 5, dtype=torch.int64), torch.ones(3, 4, dtype=torch.int64)
    sequences.translation_step(model, batch)["loss"].backward()
    assert model.decoder.weight_hh_l0.grad.device.type == "meta"


def test_parallel_corpus():
    pairs = [(["a", "b"], ["x"]), (["a"], ["y", "x"])]
    data, source, target = sequences.parallel(pairs)
    assert source.tokens == ["a", "b"] and target.tokens == ["<s>", "</s>", "x", "y"]
    assert data.tensors[0].tolist() == [[2, 3], [2, 0]]
    assert data.tensors[1].tolist() == [[START, 4, END, 0], [START, 5, 4, END]]
    more, _, _ = sequences.parallel([(["c"], ["x"])], source, target)
    assert more.tensors[0].tolist() == [[1]] and more.tensors[1].tolist() == [[START, 4, END]]


def test_it_learns_to_translate_small_numbers():
    model, (source, target), report = sequences.train_translator(
        True, n=900, digits=3, epochs=25, lr=1e-2, tests=100, device="cpu"
    )
    assert report["greedy"] > 0.8 and abs(report["beam"] - report["greedy"]) < 0.2 and report["bleu"] > 0.6
    assert sum(of for _, of in report["by_length"].values()) == 100
    assert sum(right for right, _ in report["by_length"].values()) == round(100 * report["greedy"])
    pairs = [(numerals.english(n), numerals.korean(n)) for n in numerals.numbers(1000, 3, 0)[900:]]
    test, _, _ = sequences.parallel(pairs, source, target)  # all tokens right = the sentence is right
    assert evaluate(model, test, step=sequences.translation_step)["correct"] == pytest.approx(report["greedy"])


# --- BLEU -----------------------------------------------------------------------------------------


def test_bleu_by_hand():
    said, wanted = "the the the cat".split(), "the cat the mat".split()
    # 1-grams: the (2 of 3), cat (1 of 1) = 3/4; 2-grams: "the the" 0, "the cat" 1 of 3 = 1/3
    assert sequences.bleu([said], [wanted], order=2) == pytest.approx(math.sqrt(3 / 4 / 3))
    assert sequences.bleu([said[:2]], [wanted], order=1) == pytest.approx(math.exp(1 - 4 / 2))  # too short
    assert sequences.bleu([wanted], [wanted]) == 1 and sequences.bleu([[]], [wanted]) == 0
    assert sequences.bleu([said], [wanted]) == 0  # no 3-gram in common, no smoothing


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abc"), min_size=1, max_size=9)] * 2), min_size=1, max_size=6))
def test_bleu_equals_sacrebleu(pairs):
    sacrebleu = pytest.importorskip("sacrebleu", reason="the package sacrebleu is not installed")
    said, wanted = zip(*pairs)
    theirs = (
        sacrebleu.corpus_bleu(
            [" ".join(s) for s in said],
            [[" ".join(w) for w in wanted]],
            tokenize="none",
            smooth_method="none",
            force=True,
        ).score
        / 100
    )
    assert abs(sequences.bleu(said, wanted) - theirs) < 1e-9

"""Oracles: brute force over all sentences, the formula of BLEU written out, closed forms."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.course.training import evaluate
from helpers.data.vocabulary import PAD, pad
from helpers.recurrent import numerals
from helpers.recurrent import translate as sequences
from helpers.recurrent.translate import END, START, Translator, beam, greedy

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
    model, max_length = translator(attention, seed=seed), 3
    found = beam(model, SOURCE, max_length, width=6**max_length)
    for row, best in zip(SOURCE, found):
        scores = {}
        for length in range(max_length + 1):
            said = list(itertools.product([t for t in range(6) if t != END], repeat=length))
            closed = [[*tokens, END][:max_length] for tokens in said]
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
        True, n=900, digits=3, epochs=25, lr=1e-2, tests=100, device="cpu", at=(1, 25)
    )
    assert list(report["curve"]) == [1, 25] and report["curve"][25] == report["by_length"] != report["curve"][1]
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


def papineni(hypotheses, references, order=4):
    """The formula written out: exp(Σ log p_n / order) · min(1, exp(1 - r/c)).

    p_n the share of the hypotheses' n-grams that the reference has (each as often as it stands there), r and c the
    lengths of references and hypotheses in all.
    """
    r, c = sum(map(len, references)), sum(map(len, hypotheses))
    log_p = 0.0
    for n in range(1, order + 1):
        hits = total = 0
        for said, wanted in zip(hypotheses, references, strict=True):
            ours, theirs = (Counter(zip(*(tokens[k:] for k in range(n)))) for tokens in (said, wanted))
            hits += (ours & theirs).total()
            total += ours.total()
        if hits == 0:
            return 0.0
        log_p += math.log(hits / total) / order
    return math.exp(log_p + min(0.0, 1 - r / c))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abc"), max_size=9)] * 2), min_size=1, max_size=6))
def test_bleu_equals_the_formula_written_out(pairs):
    said, wanted = zip(*pairs)
    assert abs(sequences.bleu(said, wanted) - papineni(said, wanted)) < 1e-9

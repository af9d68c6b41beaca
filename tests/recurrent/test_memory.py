"""Oracles: autograd, closed forms, the theory of the trivial baselines."""

import math
from functools import partial

import pytest
import torch
import torch.nn as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.recurrent import cells as rnn
from helpers.recurrent import memory


def assert_same(a, b, tolerance):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= tolerance


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


# --- start values and the gradient that is left ---------------------------------------------------


@pytest.mark.parametrize("build", [lambda: rnn.LSTM(3, 32, 2), lambda: nn.LSTM(3, 32, 2)])
def test_start_values(build):
    lstm = memory.forget_bias_(build(), 1.0)
    for layer in (0, 1):
        _, _, bias_ih, bias_hh = rnn.weights(lstm, f"_l{layer}")
        total = bias_ih + bias_hh
        assert torch.equal(total[32:64], torch.ones(32))  # 1 in all, not 2
        assert total[:32].std() > 0.01 and total[64:].std() > 0.01  # the other gates are left alone
    lstm = memory.chrono_(build(), 100)
    _, _, bias_ih, bias_hh = rnn.weights(lstm)
    steps = (bias_ih + bias_hh)[32:64].exp()
    assert 1 <= steps.min() and steps.max() <= 99 and steps.max() - steps.min() > 50
    assert_same((bias_ih + bias_hh)[:32], -(bias_ih + bias_hh)[32:64], 0)
    block = memory.orthogonal_(build(), gain=2.0).weight_hh_l1[32:64]
    assert_same(block @ block.T, 4 * torch.eye(32), 1e-5)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_gradient_left_equals_autograd(kind):
    torch.manual_seed(0)
    module = kind(3, 8, batch_first=True).double()
    x = torch.randn(12, 3, dtype=torch.float64)
    zero = torch.zeros(1, 8, dtype=torch.float64)

    def end(steps, first):  # h_0 or c_0 -> h_T or c_T
        state = (zero, first) if kind is nn.LSTM else first
        return as_tuple(module(x[:steps], state)[1])[-1][0]

    left = memory.gradient_left(module, x)
    for steps in (1, 5, 12):
        jacobian = torch.autograd.functional.jacobian(partial(end, steps), zero)[:, 0]
        assert abs(left[steps - 1] / (jacobian.norm() / math.sqrt(8)) - 1) < 1e-10


def test_prediction_is_exact_where_it_must_be():
    torch.manual_seed(0)
    cut = nn.LSTM(3, 8, batch_first=True)  # gates that see only their bias:
    with torch.no_grad():  # nothing but f is left, f^t exactly
        cut.weight_ih_l0.zero_()
        cut.weight_hh_l0.zero_()
    x = torch.randn(40, 3, dtype=torch.float64)
    assert (memory.gradient_left(cut, x) / memory.predicted_left(cut, 40) - 1).abs().max() < 1e-10
    silent = memory.orthogonal_(nn.RNN(3, 8, batch_first=True), 0.9)  # no input, no bias: h = 0,
    with torch.no_grad():  # tanh' = 1, so 0.9^t exactly
        for name, parameter in silent.named_parameters():
            if name != "weight_hh_l0":
                parameter.zero_()
    assert (memory.gradient_left(silent, x) / 0.9 ** torch.arange(1, 41) - 1).abs().max() < 1e-5
    assert (memory.predicted_left(silent, 40) / 0.9 ** torch.arange(1, 41) - 1).abs().max() < 1e-5


def test_survival_says_what_the_lecture_says():
    result = memory.survival(steps=100, seeds=3)
    rate = {name: (r["measured"][:, -1].log().mean() / 100).exp().item() for name, r in result.items()}
    assert rate["RNN"] < rate["LSTM"] < rate["LSTM, forget bias 1"] < rate["LSTM, forget bias 2"]
    assert rate["LSTM"] < 0.7  # 1e-16 and less after 100 steps: not a memory
    assert rate["LSTM, chrono"] > 0.975
    guess = {name: (r["predicted"][:, -1].log().mean() / 100).exp().item() for name, r in result.items()}
    for name in ("RNN", "RNN, orthogonal", "LSTM, chrono"):
        assert abs(rate[name] - guess[name]) < 0.05, name
    for name in ("LSTM", "LSTM, forget bias 1", "LSTM, forget bias 2"):
        assert 0 < rate[name] - guess[name] < 0.15, name  # f^t leaves out the way back through the gates
        rest = (result[name]["at rest"][:, -1].log().mean() / 100).exp()
        assert abs(rate[name] - rest) < 0.03, name  # and that explains the difference


# --- problems -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 9), length=st.integers(2, 40), seed=st.integers(0, 99))
def test_adding_is_what_it_says(n, length, seed):
    x, y = memory.adding(n, length, torch.Generator().manual_seed(seed))
    assert x.shape == (n, length, 2) and y.shape == (n, 1)
    half = length // 2
    assert (x[:, :half, 1].sum(1) == 1).all() and (x[:, half:, 1].sum(1) == 1).all()
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        assert abs(sum(number for number, mark in row if mark) - target[0]) < 1e-6


def test_baselines_equal_theory():
    generator = torch.Generator().manual_seed(0)
    _, y = memory.adding(200_000, 4, generator)
    error = (y - 1).square()
    assert abs(error.mean() - memory.ADDING_BASELINE) < 4 * error.std() / math.sqrt(len(y))


def test_adding_is_learned_by_the_lstm():
    result = memory.learn("LSTM, forget bias 1", 20, 1e-2, 12, n=3000, hidden=24)
    assert result["share"][-1] <= 0.05 < min(result["share"][:-1])  # it ends when less than this is left
    assert len(result["share"]) == len(result["clipped"]) <= 12
    assert 1 < memory.epochs_until(result["share"]) <= len(result["share"])


def test_a_network_without_a_memory_stays_at_the_baseline():
    def forgetful(inputs, hidden, steps):  # W_hh = 0: it sees the last step only
        network = nn.RNN(inputs, hidden, batch_first=True)
        network.weight_hh_l0 = nn.Parameter(torch.zeros_like(network.weight_hh_l0), requires_grad=False)
        return network

    result = memory.learn(forgetful, 20, 1e-2, 4, n=2000, hidden=8)
    assert len(result["share"]) == 4 and 0.9 < min(result["share"]) and result["share"][-1] < 1.2
    assert memory.epochs_until(result["share"]) == math.inf


@pytest.mark.parametrize("clip, clipped", [(1e9, 0.0), (0.0, 1.0)])
def test_clipped_steps_are_counted(clip, clipped):
    assert memory.learn("RNN", 5, 1e-3, 2, n=120, hidden=4, clip=clip)["clipped"] == [clipped] * 2


def test_epochs_until_by_hand():
    assert memory.epochs_until([0.9, 0.1, 0.5]) == 2 and memory.epochs_until([0.3, 0.2], share=0.25) == 2

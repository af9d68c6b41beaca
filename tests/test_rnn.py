"""Oracles: nn.RNN/LSTM/GRU (values and every gradient), gradcheck, libdarknet, autograd, closed forms."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn as nn
from darknet_oracle import Oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers import rnn
from helpers.training import Tensors, evaluate, fit

PAIRS = [(rnn.RNN, nn.RNN), (rnn.LSTM, nn.LSTM), (rnn.GRU, nn.GRU)]
IDS = ["rnn", "lstm", "gru"]


def twins(ours, theirs, *args, seed=0, **options):
    """The same network twice, in float64: ours, and PyTorch's."""
    torch.manual_seed(seed)
    reference = theirs(*args, batch_first=True, **options).double()
    model = ours(*args, **options).double()
    model.load_state_dict(reference.state_dict())
    return model, reference


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def gradients(module, inputs, tensors):
    """All gradients of one random scalar of `tensors`: of the weights by name, then of the inputs."""
    generator = torch.Generator().manual_seed(7)
    scalar = sum((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in tensors)
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(scalar, [*parameters, *inputs])
    return dict(zip([*names, *(f"input {k}" for k in range(len(inputs)))], found, strict=True))


def assert_same(a, b, tolerance=1e-12):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= tolerance


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "two ways"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_equals_torch_with_all_gradients(ours, theirs, layers, bidirectional, packed):
    model, reference = twins(ours, theirs, 4, 5, num_layers=layers, bidirectional=bidirectional)
    batch, steps, directions = 6, 7, 1 + bidirectional
    x = torch.randn(batch, steps, 4, dtype=torch.float64, requires_grad=True)
    start = tuple(torch.randn(layers * directions, batch, 5, dtype=torch.float64, requires_grad=True)
                  for _ in range(ours.states))
    lengths = torch.tensor([7, 1, 3, 7, 2, 5]) if packed else None

    output, end = model(x, lengths, start)
    wanted_start = start if len(start) == 2 else start[0]
    if packed:
        packed_x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        wanted, wanted_end = reference(packed_x, wanted_start)
        wanted, _ = pad_packed_sequence(wanted, batch_first=True, total_length=steps)
    else:
        wanted, wanted_end = reference(x, wanted_start)

    assert_same(output, wanted)
    for a, b in zip(end, as_tuple(wanted_end), strict=True):
        assert_same(a, b)
    mine = gradients(model, (x, *start), (output, *end))
    theirs_ = gradients(reference, (x, *start), (wanted, *as_tuple(wanted_end)))
    assert mine.keys() == theirs_.keys() and len(mine) == 4 * layers * directions + 1 + len(start)
    for name in mine:
        assert_same(mine[name], theirs_[name])
        assert mine[name].abs().max() > 0


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)
def test_float32_and_start_values(ours, theirs):
    torch.manual_seed(3)
    model = ours(8, 16, num_layers=2, bidirectional=True)
    torch.manual_seed(3)
    reference = theirs(8, 16, num_layers=2, bidirectional=True, batch_first=True)
    assert model.state_dict().keys() == reference.state_dict().keys()
    for name, weight in reference.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name       # equal seeds, equal weights
    x = torch.randn(4, 20, 8)
    assert_same(model(x)[0], reference(x)[0], 2e-6)


@pytest.mark.parametrize("ours", [rnn.RNN, rnn.LSTM, rnn.GRU, rnn.ChoGRU])
def test_gradcheck(ours):
    torch.manual_seed(0)
    model = ours(2, 3).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    names = list(dict(model.named_parameters()))

    def run(x, *parameters):
        output, end = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))
        return (output, *end)

    assert torch.autograd.gradcheck(run, (x, *model.parameters()))


@pytest.mark.parametrize("ours", [rnn.RNN, rnn.LSTM, rnn.GRU, rnn.ChoGRU])
def test_causal_and_blind_to_padding(ours):
    torch.manual_seed(0)
    model = ours(3, 4, num_layers=2).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 6:] = torch.randn(2, 3, 3, dtype=torch.float64)
    assert torch.equal(model(x)[0][:, :6], model(changed)[0][:, :6])     # no output depends on the future
    assert not torch.equal(model(x)[0][:, 6:], model(changed)[0][:, 6:])

    both = ours(3, 4, num_layers=2, bidirectional=True).double()
    lengths = torch.tensor([6, 4])
    longer = torch.cat([x[:, :6], torch.full((2, 5, 3), 99.0, dtype=torch.float64)], dim=1)
    output, end = both(x[:, :6], lengths)
    output2, end2 = both(longer, lengths)
    assert_same(output, output2[:, :6])
    assert output2[:, 6:].abs().max() == 0 and output2[1, 4:].abs().max() == 0
    for a, b in zip(end, end2, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("ours", [rnn.RNN, rnn.LSTM, rnn.GRU, rnn.ChoGRU])
def test_runs_on_another_device(ours):
    model = ours(3, 4, 2, bidirectional=True).to("meta")
    output, end = model(torch.empty(2, 5, 3, device="meta"), torch.empty(2, dtype=torch.long, device="meta"))
    assert output.device.type == "meta" and output.shape == (2, 5, 8) and end[0].shape == (4, 2, 4)


def test_the_two_grus_differ_only_where_the_reset_gate_acts():
    torch.manual_seed(0)
    after, before = rnn.GRU(3, 4).double(), rnn.ChoGRU(3, 4).double()
    before.load_state_dict(after.state_dict())
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert not torch.allclose(after(x)[0], before(x)[0])
    with torch.no_grad():                                               # r = 1 everywhere: then they are one
        for model in (after, before):
            model.bias_ih_l0[:4] = 1e3
    assert_same(after(x)[0], before(x)[0])


# --- Darknet, a third opinion ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(("kind", "ours", "order"), [
    ("lstm", rnn.LSTM, "ifog"),       # Darknet's file has the gates in this order,
    ("gru", rnn.ChoGRU, "zrn"),       # first W_hh of each, then W_ih
], ids=["lstm", "gru"])
def test_equals_libdarknet(darknet, tmp_path, kind, ours, order):
    torch.manual_seed(0)
    model = ours(5, 6)
    weight_ih, weight_hh, bias_ih, bias_hh = (
        dict(zip("ifgo" if kind == "lstm" else "rzn", part.detach().chunk(len(order)), strict=True))
        for part in rnn.weights(model))
    (tmp_path / "net.cfg").write_text(
        f"[net]\ninputs=5\nbatch=1\ntime_steps=1\n\n[{kind}]\noutput=6\nbatch_normalize=0\n"
        + ("tanh=1\n" if kind == "gru" else ""))
    parts = [np.array([0, 2, 0, 0, 0], np.int32)]                        # version 0.2.0, `seen` in 8 bytes
    parts += [part[gate].numpy() for gate in order for part in (bias_hh, weight_hh)]
    parts += [part[gate].numpy() for gate in order for part in (bias_ih, weight_ih)]
    (tmp_path / "net.weights").write_bytes(b"".join(part.tobytes() for part in parts))
    net = darknet.network(tmp_path / "net.cfg", tmp_path / "net.weights")

    x = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))
    outputs = []
    for x_t in x[0]:                                                    # Darknet keeps its state
        darknet.forward(net, x_t.numpy())
        outputs.append(torch.from_numpy(darknet.output(net, 0)))
    assert_same(torch.stack(outputs), model(x)[0][0].detach(), 1e-6)


# --- tracing, truncation, the ladder --------------------------------------------------------------


def test_trace_tells_what_nn_lstm_did():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, batch_first=True).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    story = rnn.trace(lstm, x)
    output, (_, c) = lstm(x)
    assert_same(story["h"], output)
    assert_same(story["c"][:, -1], c[0])
    before = torch.cat([torch.zeros(2, 1, 4, dtype=torch.float64), story["c"][:, :-1]], dim=1)
    assert_same(story["c"], story["f"] * before + story["i"] * story["g"])
    assert_same(story["h"], story["o"] * torch.tanh(story["c"]))


def test_the_memory_cell_keeps_a_value():
    cell = rnn.memory_cell()
    x = torch.rand(1, 2000, 2) * 2 - 1
    x[..., 1] = 0
    x[0, 10] = torch.tensor([0.7, 1.0])
    x[0, 1000] = torch.tensor([-0.4, 1.0])
    c = rnn.trace(cell, x)["c"][0, :, 0]
    assert (c[10:1000] - math.tanh(0.7)).abs().max() < 1e-3
    assert (c[1000:] - math.tanh(-0.4)).abs().max() < 1e-3


@pytest.mark.parametrize("build", [rnn.LSTM, lambda e, h: nn.LSTM(e, h, batch_first=True), rnn.RNN,
                                   lambda e, h: nn.GRU(e, h, batch_first=True)])
def test_truncated_bptt(build):
    torch.manual_seed(0)
    model = build(3, 4).double()
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    full = gradients(model, (), (model(x)[0],))
    whole = gradients(model, (), (rnn.truncated(model, x, 12),))
    assert_same(rnn.truncated(model, x, 5), model(x)[0])                # forward, nothing is cut
    for name in full:
        assert_same(whole[name], full[name])
    short = gradients(model, (), (rnn.truncated(model, x, 4),))
    assert max((short[name] - full[name]).abs().max() for name in full) > 1e-3


@pytest.mark.parametrize("rung", [rnn.separate, rnn.fused, rnn.hoisted])
def test_every_rung_is_the_same_lstm(rung):
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 6, batch_first=True).double()
    x = torch.randn(3, 8, 5, dtype=torch.float64, requires_grad=True)
    wanted, output = lstm(x)[0], rung(lstm, x)
    assert_same(output, wanted)
    mine, theirs = gradients(lstm, (x,), (output,)), gradients(lstm, (x,), (wanted,))
    for name in mine:
        assert_same(mine[name], theirs[name])


# --- start values and the gradient that is left ---------------------------------------------------


@pytest.mark.parametrize("build", [lambda: rnn.LSTM(3, 32, 2), lambda: nn.LSTM(3, 32, 2)])
def test_start_values(build):
    lstm = rnn.forget_bias_(build(), 1.0)
    for layer in (0, 1):
        _, _, bias_ih, bias_hh = rnn.weights(lstm, f"_l{layer}")
        total = bias_ih + bias_hh
        assert torch.equal(total[32:64], torch.ones(32))                 # 1 in all, not 2
        assert total[:32].std() > 0.01 and total[64:].std() > 0.01       # the other gates are left alone
    lstm = rnn.chrono_(build(), 100)
    _, _, bias_ih, bias_hh = rnn.weights(lstm)
    memory = (bias_ih + bias_hh)[32:64].exp()
    assert 1 <= memory.min() and memory.max() <= 99 and memory.max() - memory.min() > 50
    assert_same((bias_ih + bias_hh)[:32], -(bias_ih + bias_hh)[32:64], 0)
    block = rnn.orthogonal_(build(), gain=2.0).weight_hh_l1[32:64]
    assert_same(block @ block.T, 4 * torch.eye(32), 1e-5)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_gradient_left_equals_autograd(kind):
    torch.manual_seed(0)
    module = kind(3, 8, batch_first=True).double()
    x = torch.randn(12, 3, dtype=torch.float64)
    zero = torch.zeros(1, 8, dtype=torch.float64)

    def end(steps, first):                                              # h_0 or c_0 -> h_T or c_T
        state = (zero, first) if kind is nn.LSTM else first
        return as_tuple(module(x[:steps], state)[1])[-1][0]

    left = rnn.gradient_left(module, x)
    for steps in (1, 5, 12):
        jacobian = torch.autograd.functional.jacobian(partial(end, steps), zero)[:, 0]
        assert abs(left[steps - 1] / (jacobian.norm() / math.sqrt(8)) - 1) < 1e-10


def test_prediction_is_exact_where_it_must_be():
    torch.manual_seed(0)
    cut = nn.LSTM(3, 8, batch_first=True)                               # gates that see only their bias:
    with torch.no_grad():                                               # nothing but f is left, f^t exactly
        cut.weight_ih_l0.zero_()
        cut.weight_hh_l0.zero_()
    x = torch.randn(40, 3, dtype=torch.float64)
    assert (rnn.gradient_left(cut, x) / rnn.predicted_left(cut, 40) - 1).abs().max() < 1e-10
    silent = rnn.orthogonal_(nn.RNN(3, 8, batch_first=True), 0.9)       # no input, no bias: h = 0,
    with torch.no_grad():                                               # tanh' = 1, so 0.9^t exactly
        for name, parameter in silent.named_parameters():
            if name != "weight_hh_l0":
                parameter.zero_()
    assert (rnn.gradient_left(silent, x) / 0.9 ** torch.arange(1, 41) - 1).abs().max() < 1e-5
    assert (rnn.predicted_left(silent, 40) / 0.9 ** torch.arange(1, 41) - 1).abs().max() < 1e-5


def test_survival_says_what_the_lecture_says():
    result = rnn.survival(steps=100, seeds=3)
    rate = {name: (r["measured"][:, -1].log().mean() / 100).exp().item() for name, r in result.items()}
    assert rate["RNN"] < rate["LSTM"] < rate["LSTM, forget bias 1"] < rate["LSTM, forget bias 2"]
    assert rate["LSTM"] < 0.7                        # 1e-16 and less after 100 steps: not a memory
    assert rate["LSTM, chrono"] > 0.975
    guess = {name: (r["predicted"][:, -1].log().mean() / 100).exp().item() for name, r in result.items()}
    for name in ("RNN", "RNN, orthogonal", "LSTM, chrono"):
        assert abs(rate[name] - guess[name]) < 0.05, name
    for name in ("LSTM", "LSTM, forget bias 1", "LSTM, forget bias 2"):
        assert 0 < rate[name] - guess[name] < 0.15, name     # f^t leaves out the way back through the gates
        rest = (result[name]["at rest"][:, -1].log().mean() / 100).exp()
        assert abs(rate[name] - rest) < 0.03, name           # and that explains the difference


# --- problems -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 9), length=st.integers(2, 40), seed=st.integers(0, 99))
def test_adding_is_what_it_says(n, length, seed):
    x, y = rnn.adding(n, length, torch.Generator().manual_seed(seed))
    assert x.shape == (n, length, 2) and y.shape == (n, 1)
    half = length // 2
    assert (x[:, :half, 1].sum(1) == 1).all() and (x[:, half:, 1].sum(1) == 1).all()
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        assert abs(sum(number for number, mark in row if mark) - target[0]) < 1e-6


def test_baselines_equal_theory():
    generator = torch.Generator().manual_seed(0)
    _, y = rnn.adding(200_000, 4, generator)
    error = (y - 1).square()
    assert abs(error.mean() - rnn.ADDING_BASELINE) < 4 * error.std() / math.sqrt(len(y))

    x, y = rnn.copying(500, 30, generator)
    assert x.shape == (500, 50, 10) and y.shape == (500, 50)
    symbols = x.argmax(2)
    assert torch.equal(symbols[:, :10], y[:, -10:]) and (symbols[:, 39] == 9).all()
    assert (symbols[:, 10:39] == 8).all() and (symbols[:, 40:] == 8).all() and (y[:, :40] == 8).all()
    blank = torch.zeros(50, 10)                         # who keeps nothing: blanks, then all symbols alike
    blank[:40, 8] = 60.0
    blank[40:, :8] = 60.0
    result = evaluate(Says(blank), Tensors(x, y), step=rnn.copying_step)
    assert abs(result["loss"] - rnn.copying_baseline(30)) < 1e-5
    assert abs(rnn.copying_baseline(30) - 10 * math.log(8) / 50) < 1e-12


class Says(nn.Module):
    """Always the same logits (T, O)."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits.expand(len(x), -1, -1)


def test_adding_is_learned_by_the_lstm():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    train, test = Tensors(*rnn.adding(4000, 20, generator)), Tensors(*rnn.adding(500, 20, generator))
    model = rnn.Remember(rnn.forget_bias_(nn.LSTM(2, 32, batch_first=True), 1.0), 1, last=True)
    fit(model, train, step=rnn.adding_step, optimizer=torch.optim.Adam(model.parameters(), 1e-2), epochs=12,
        batch_size=50, clip=1.0, seed=0)
    assert evaluate(model, test, step=rnn.adding_step)["loss"] < 0.01 < rnn.ADDING_BASELINE

"""Oracles: nn.RNN/LSTM/GRU (values and every gradient), gradcheck, libdarknet."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn as nn
from darknet_oracle import Oracle
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers.recurrent import cells as rnn

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
    start = tuple(
        torch.randn(layers * directions, batch, 5, dtype=torch.float64, requires_grad=True) for _ in range(ours.states)
    )
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
        assert torch.equal(model.state_dict()[name], weight), name  # equal seeds, equal weights
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
    assert torch.equal(model(x)[0][:, :6], model(changed)[0][:, :6])  # no output depends on the future
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
    with torch.no_grad():  # r = 1 everywhere: then they are one
        for model in (after, before):
            model.bias_ih_l0[:4] = 1e3
    assert_same(after(x)[0], before(x)[0])


# --- Darknet, a third opinion ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(
    ("kind", "ours", "order"),
    [
        ("lstm", rnn.LSTM, "ifog"),  # Darknet's file has the gates in this order,
        ("gru", rnn.ChoGRU, "zrn"),  # first W_hh of each, then W_ih
    ],
    ids=["lstm", "gru"],
)
def test_equals_libdarknet(darknet, tmp_path, kind, ours, order):
    torch.manual_seed(0)
    model = ours(5, 6)
    weight_ih, weight_hh, bias_ih, bias_hh = (
        dict(zip("ifgo" if kind == "lstm" else "rzn", part.detach().chunk(len(order)), strict=True))
        for part in rnn.weights(model)
    )
    (tmp_path / "net.cfg").write_text(
        f"[net]\ninputs=5\nbatch=1\ntime_steps=1\n\n[{kind}]\noutput=6\nbatch_normalize=0\n"
        + ("tanh=1\n" if kind == "gru" else "")
    )
    parts = [np.array([0, 2, 0, 0, 0], np.int32)]  # version 0.2.0, `seen` in 8 bytes
    parts += [part[gate].numpy() for gate in order for part in (bias_hh, weight_hh)]
    parts += [part[gate].numpy() for gate in order for part in (bias_ih, weight_ih)]
    (tmp_path / "net.weights").write_bytes(b"".join(part.tobytes() for part in parts))
    net = darknet.network(tmp_path / "net.cfg", tmp_path / "net.weights")

    x = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))
    outputs = []
    for x_t in x[0]:  # Darknet keeps its state
        darknet.forward(net, x_t.numpy())
        outputs.append(torch.from_numpy(darknet.output(net, 0)))
    assert_same(torch.stack(outputs), model(x)[0][0].detach(), 1e-6)


# --- tracing, the ladder --------------------------------------------------------------


def test_the_quick_rnn_is_nn_rnn_with_all_gradients():
    torch.manual_seed(0)
    quick, theirs = rnn.QuickRNN(3, 5).double(), nn.RNN(3, 5, batch_first=True).double()
    theirs.load_state_dict(quick.state_dict())
    x = torch.randn(4, 9, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 9, 5, dtype=torch.float64)
    both = []
    for layer in (quick, theirs):
        out, end = layer(x)
        both.append([out, end, *torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])])
    for ours, other in zip(*both, strict=True):
        assert ours.shape == other.shape and (ours - other).abs().max() < 1e-12


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


@pytest.mark.parametrize("train", [False, True])
def test_the_limit_of_the_benchmark_counts_what_pytorch_counts(train):
    from torch.utils.flop_counter import FlopCounterMode

    spec = importlib.util.spec_from_file_location("ladder", Path(__file__).parents[2] / "benchmarks" / "rnn.py")
    ladder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ladder)
    lstm = nn.LSTM(ladder.INPUTS, ladder.HIDDEN, batch_first=True)
    x, run = torch.randn(3, 20, ladder.INPUTS), lambda x: rnn.hoisted(lstm, x)
    with FlopCounterMode(display=False) as counted:
        ladder.forward_backward(run, x, list(lstm.parameters())) if train else torch.no_grad()(run)(x)
    assert counted.get_total_flops() == 2 * ladder.multiply_adds(3, 20, train)

"""Recurrent cells written out, unrolled in time, and what becomes of their gradients.

Parameters carry PyTorch's names, so `LSTM(3, 5).load_state_dict(nn.LSTM(3, 5).state_dict())` works and
everything here that takes a "recurrent module" takes ours and `nn.RNN`, `nn.LSTM`, `nn.GRU` alike.
Shapes: x (B, T, E) batch, time, features; h, c (B, H). Always batch first.
"""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import jacrev, vmap

# --- cells ----------------------------------------------------------------------------------------
# A step takes `projected` = W_ih x_t + b_ih (B, G·H), which does not depend on the past and is therefore
# computed for all t at once, the state of t-1, and the weights that act on that state. It returns the state
# of t, h first.


def rnn_step(projected, state, weight_hh, bias_hh):
    """Elman's cell (1990). projected (B, H), state (h,) -> (h,), each (B, H)."""
    (h,) = state
    # h_t = tanh(W_ih x_t + b_ih + W_hh h_t-1 + b_hh)
    h = torch.tanh(projected + F.linear(h, weight_hh, bias_hh))
    return (h,)


def lstm_gates(projected, h, weight_hh, bias_hh):
    """The four gates of an LSTM, each (B, H), from projected (B, 4H) and h (B, H)."""
    i, f, g, o = (projected + F.linear(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    i = torch.sigmoid(i)            # input gate    i_t = σ(W_ii x_t + b_ii + W_hi h_t-1 + b_hi)
    f = torch.sigmoid(f)            # forget gate   f_t = σ(W_if x_t + b_if + W_hf h_t-1 + b_hf)
    g = torch.tanh(g)               # update        g_t = tanh(W_ig x_t + b_ig + W_hg h_t-1 + b_hg)
    o = torch.sigmoid(o)            # output gate   o_t = σ(W_io x_t + b_io + W_ho h_t-1 + b_ho)
    return i, f, g, o


def lstm_step(projected, state, weight_hh, bias_hh):
    """Hochreiter and Schmidhuber (1997) with the forget gate of Gers (2000). state (h, c) -> (h, c)."""
    h, c = state
    i, f, g, o = lstm_gates(projected, h, weight_hh, bias_hh)
    c = f * c + i * g               # cell state    c_t = f_t ⊙ c_t-1 + i_t ⊙ g_t
    h = o * torch.tanh(c)           # hidden state  h_t = o_t ⊙ tanh(c_t)
    return h, c


def gru_step(projected, state, weight_hh, bias_hh):
    """The GRU of `nn.GRU` and cuDNN: the reset gate acts after the product with W_hn. state (h,) -> (h,)."""
    (h,) = state
    xr, xz, xn = projected.chunk(3, dim=-1)
    hr, hz, hn = F.linear(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(xr + hr)      # reset gate    r_t = σ(W_ir x_t + b_ir + W_hr h_t-1 + b_hr)
    z = torch.sigmoid(xz + hz)      # update gate   z_t = σ(W_iz x_t + b_iz + W_hz h_t-1 + b_hz)
    n = torch.tanh(xn + r * hn)     # candidate     n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_t-1 + b_hn))
    h = (1 - z) * n + z * h         # hidden state  h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_t-1
    return (h,)


def cho_gru_step(projected, state, weight_hh, bias_hh):
    """The GRU as first published (Cho 2014) and as in Darknet: the reset gate acts before the product."""
    (h,) = state
    size = h.shape[-1]
    xr, xz, xn = projected.chunk(3, dim=-1)
    hr, hz = F.linear(h, weight_hh[:2 * size], bias_hh[:2 * size]).chunk(2, dim=-1)
    r = torch.sigmoid(xr + hr)
    z = torch.sigmoid(xz + hz)
    # n_t = tanh(W_in x_t + b_in + W_hn (r_t ⊙ h_t-1) + b_hn)
    n = torch.tanh(xn + F.linear(r * h, weight_hh[2 * size:], bias_hh[2 * size:]))
    h = (1 - z) * n + z * h
    return (h,)


# --- layers ---------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """A cell unrolled in time, in `num_layers` layers, in one or both directions.

    forward(x (B, T, E), lengths=None, state=None) -> output (B, T, D·H), state: tuple of (L·D, B, H), with
    L layers and D directions. The state is a tuple for every cell: (h,) or (h, c).
    `lengths` (B,) says how many steps of each row are real: later steps change no state, give output 0, and
    the backward direction starts at the last real step, as with `pack_padded_sequence`.
    Start values U(-1/√H, 1/√H), drawn in the order of PyTorch: equal seeds give equal weights.
    """

    step, gates, states = None, None, None      # the cell, its number of gates, of state tensors

    def __init__(self, input_size, hidden_size, num_layers=1, bidirectional=False):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self.directions)
            for direction in self.directions:
                for name, shape in (("weight_ih", (self.gates * hidden_size, width)),
                                    ("weight_hh", (self.gates * hidden_size, hidden_size)),
                                    ("bias_ih", (self.gates * hidden_size,)),
                                    ("bias_hh", (self.gates * hidden_size,))):
                    self.register_parameter(f"{name}_l{layer}{direction}", nn.Parameter(torch.empty(shape)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    def forward(self, x, lengths=None, state=None):
        if state is None:
            shape = (self.num_layers * len(self.directions), len(x), self.hidden_size)
            state = (x.new_zeros(shape),) * self.states
        last = []                                                 # one state a layer and direction
        for layer in range(self.num_layers):
            outputs = []
            for direction in self.directions:
                start = tuple(s[len(last)] for s in state)        # (B, H) each
                output, end = self.unroll(x, f"_l{layer}{direction}", start, lengths)
                outputs.append(output)
                last.append(end)
            x = torch.cat(outputs, dim=2)                         # (B, T, D·H)
        return x, tuple(torch.stack(s) for s in zip(*last, strict=True))

    def unroll(self, x, name, state, lengths):
        """One layer in one direction: x (B, T, ·) -> output (B, T, H), state after the last real step."""
        weight_ih, weight_hh, bias_ih, bias_hh = weights(self, name)
        projected = F.linear(x, weight_ih, bias_ih)               # (B, T, G·H), all steps in one product
        times = range(x.shape[1])
        outputs = [None] * len(times)
        for t in reversed(times) if name.endswith("_reverse") else times:
            new = self.step(projected[:, t], state, weight_hh, bias_hh)
            if lengths is None:
                state, outputs[t] = new, new[0]
            else:
                real = (t < lengths).unsqueeze(1)                 # (B, 1)
                state = tuple(torch.where(real, a, b) for a, b in zip(new, state, strict=True))
                outputs[t] = torch.where(real, new[0], torch.zeros_like(new[0]))
        return torch.stack(outputs, dim=1), state


class RNN(Recurrent):
    """The plain recurrent network; equals `nn.RNN(..., batch_first=True)`."""

    step, gates, states = staticmethod(rnn_step), 1, 1


class LSTM(Recurrent):
    """Long short-term memory; equals `nn.LSTM(..., batch_first=True)`."""

    step, gates, states = staticmethod(lstm_step), 4, 2


class GRU(Recurrent):
    """Gated recurrent unit; equals `nn.GRU(..., batch_first=True)`."""

    step, gates, states = staticmethod(gru_step), 3, 1


class ChoGRU(Recurrent):
    """The gated recurrent unit of the first paper, which `nn.GRU` is not; Darknet's [gru] with tanh=1."""

    step, gates, states = staticmethod(cho_gru_step), 3, 1


def weights(module, name="_l0"):
    """(weight_ih, weight_hh, bias_ih, bias_hh) of one layer and direction of a recurrent module."""
    return tuple(getattr(module, part + name) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def trace(lstm, x):
    """What a one-layer LSTM does over time: x (B, T, E) -> dict i, f, g, o, c, h of (B, T, H)."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights(lstm)
    h = c = x.new_zeros(len(x), lstm.hidden_size)
    story = {name: [] for name in "ifgoch"}
    for projected in F.linear(x, weight_ih, bias_ih).unbind(dim=1):
        i, f, g, o = lstm_gates(projected, h, weight_hh, bias_hh)
        h, c = lstm_step(projected, (h, c), weight_hh, bias_hh)
        for name, value in zip("ifgoch", (i, f, g, o, c, h), strict=True):
            story[name].append(value)
    return {name: torch.stack(values, dim=1) for name, values in story.items()}


def memory_cell(sharpness=40.0):
    """An LSTM with one unit and weights set by hand: it stores x[0] when the switch x[1] is 1, else keeps it.

    i = σ(s(switch - ½)), f = σ(s(½ - switch)), g = tanh(value), o = 1: c_t = tanh(value) of the last switch.
    """
    cell = LSTM(2, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.weight_ih_l0.copy_(torch.tensor([[0, sharpness], [0, -sharpness], [1, 0], [0, 0]]))
        cell.bias_ih_l0.copy_(torch.tensor([-sharpness / 2, sharpness / 2, 0, sharpness]))
    return cell


def truncated(module, x, k):
    """Run over x (B, T, E), cutting the gradient (not the state) every k steps -> output (B, T, H).

    Truncated back-propagation through time; k >= T is the full one.
    """
    outputs, state = [], None
    for piece in x.split(k, dim=1):
        if isinstance(module, Recurrent):
            output, state = module(piece, state=state)
        else:
            output, state = module(piece, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        outputs.append(output)
    return torch.cat(outputs, dim=1)


# --- the ladder: one LSTM layer, four ways to the same numbers (the last rung is nn.LSTM) ---------


def separate(lstm, x):
    """Rung 1: eight small products a step, as the equations are printed. x (B, T, E) -> (B, T, H)."""
    weight_ih, weight_hh, bias_ih, bias_hh = (part.chunk(4) for part in weights(lstm))
    h = c = x.new_zeros(len(x), lstm.hidden_size)
    outputs = []
    for x_t in x.unbind(dim=1):
        i, f, g, o = (F.linear(x_t, weight_ih[k], bias_ih[k]) + F.linear(h, weight_hh[k], bias_hh[k])
                      for k in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def fused(lstm, x):
    """Rung 2: the four gates in one product (4H wide), two products a step."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights(lstm)
    state = (x.new_zeros(len(x), lstm.hidden_size),) * 2
    outputs = []
    for x_t in x.unbind(dim=1):
        state = lstm_step(F.linear(x_t, weight_ih, bias_ih), state, weight_hh, bias_hh)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


def hoisted(lstm, x):
    """Rung 3: the input's product leaves the loop: one large product, then one small one a step."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights(lstm)
    state = (x.new_zeros(len(x), lstm.hidden_size),) * 2
    outputs = []
    for projected in F.linear(x, weight_ih, bias_ih).unbind(dim=1):
        state = lstm_step(projected, state, weight_hh, bias_hh)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


# --- start values ---------------------------------------------------------------------------------


def forget_bias_(lstm, bias):
    """Set the forget gate's bias of every layer to `bias` (Jozefowicz 2015); works on ours and `nn.LSTM`.

    PyTorch keeps two biases that are added (b_ih, b_hh): filling both with 1 would give 2. One holds it, the
    other is set to 0.
    """
    return _gate_biases_(lstm, f=lambda b: torch.full_like(b, bias))


def chrono_(lstm, longest, generator=None):
    """Chrono start: b_f = log u, b_i = -b_f, u ~ U(1, longest - 1), for memories of 1..longest steps.

    Source: Tallec and Ollivier (2018).
    """
    def log_u(b):
        return torch.log(1 + (longest - 2) * torch.rand(b.shape, generator=generator).to(b))
    return _gate_biases_(lstm, f=log_u, i="-f")


def _gate_biases_(lstm, f, i=None):
    size = lstm.hidden_size
    with torch.no_grad():
        for name, bias in lstm.named_parameters():
            if name.startswith("bias_hh"):
                bias[size:2 * size] = 0
                if i:
                    bias[:size] = 0
            elif name.startswith("bias_ih"):
                bias[size:2 * size] = f(bias[size:2 * size])
                if i:
                    bias[:size] = -bias[size:2 * size]
    return lstm


def orthogonal_(rnn, gain=1.0):
    """Make every W_hh block `gain` times a random orthogonal matrix: it keeps lengths as they are."""
    with torch.no_grad():
        for name, weight in rnn.named_parameters():
            if name.startswith("weight_hh"):
                for block in weight.split(rnn.hidden_size):
                    nn.init.orthogonal_(block, gain)
    return rnn


STARTS = {      # the six networks of the experiment: (input size E, hidden size H, steps T) -> module
    "RNN": lambda e, h, t: nn.RNN(e, h, batch_first=True),
    "RNN, orthogonal": lambda e, h, t: orthogonal_(nn.RNN(e, h, batch_first=True)),
    "LSTM": lambda e, h, t: nn.LSTM(e, h, batch_first=True),
    "LSTM, forget bias 1": lambda e, h, t: forget_bias_(nn.LSTM(e, h, batch_first=True), 1.0),
    "LSTM, forget bias 2": lambda e, h, t: forget_bias_(nn.LSTM(e, h, batch_first=True), 2.0),
    "LSTM, chrono": lambda e, h, t: chrono_(nn.LSTM(e, h, batch_first=True), t),
}


# --- how much gradient is left after t steps ------------------------------------------------------


def gradient_left(module, x):
    """‖∂h_t/∂h_0‖_F/√H of an RNN or GRU, ‖∂c_t/∂c_0‖_F/√H of an LSTM, for t = 1..T, from h_0 = c_0 = 0.

    x (T, E) one sequence -> (T,) float64. Exact: the product of the Jacobians of the single steps; for the
    LSTM it counts every path from c_0 to c_t, also those through the gates.
    """
    step = {"RNN": rnn_step, "LSTM": lstm_step, "GRU": gru_step}[type(module).__name__]
    weight_ih, weight_hh, bias_ih, bias_hh = (w.detach().double() for w in weights(module))
    size = module.hidden_size
    count = 2 if step is lstm_step else 1

    def advance(state, projected):                                        # (count·H,), (G·H,) -> (count·H,)
        return torch.cat(step(projected, tuple(state.split(size)), weight_hh, bias_hh))

    projected = F.linear(x.double(), weight_ih, bias_ih)                  # (T, G·H)
    states = [projected.new_zeros(count * size)]
    for p in projected[:-1]:
        states.append(advance(states[-1], p))
    jacobians = vmap(jacrev(advance))(torch.stack(states), projected)     # (T, count·H, count·H)
    total, left = torch.eye(count * size, dtype=x.double().dtype, device=x.device), []
    for jacobian in jacobians:
        total = jacobian @ total                                          # ∂s_t/∂s_0 = J_t ... J_1
        left.append(torch.linalg.matrix_norm(total[-size:, -size:]) / math.sqrt(size))
    return torch.stack(left)


def predicted_left(module, steps):
    """What `gradient_left` should be, from the start values alone and without running anything -> (steps,).

    LSTM: along the cell path ∂c_t/∂c_t-1 = f_t; with f = σ(b_f) unit by unit, √mean(f^2t).
    RNN:  ρ^t with ρ² = (‖W_hh‖²_F/H) E[tanh'(a)²], a ~ N(0, q), q the fixed point of
          q = (‖W_ih‖²_F + ‖b_ih‖² + ‖b_hh‖²)/H + (‖W_hh‖²_F/H) E[tanh(a)²]  (mean field, inputs N(0, 1)).
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (w.detach().double().cpu() for w in weights(module))
    size = module.hidden_size
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    if len(weight_hh) == 4 * size:
        forget = torch.sigmoid((bias_ih + bias_hh)[size:2 * size])        # (H,)
        return (forget ** (2 * t[:, None])).mean(dim=1).sqrt()
    nodes, mass = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(61))
    mass = mass / mass.sum()                                      # ∫ f(z) N(z; 0, 1) dz = Σ mass f(nodes)
    spread = weight_hh.square().sum() / size
    drive = (weight_ih.square().sum() + bias_ih.square().sum() + bias_hh.square().sum()) / size
    q = drive
    for _ in range(200):
        q = drive + spread * (mass * torch.tanh(q.sqrt() * nodes).square()).sum()
    slope = 1 - torch.tanh(q.sqrt() * nodes).square()                     # tanh'
    return (spread * (mass * slope.square()).sum()).sqrt() ** t


def survival(steps=100, hidden=64, inputs=8, seeds=5):
    """The experiment: for each of STARTS, the gradient that is left after 1..steps steps, on inputs N(0, 1).

    -> dict name -> {"measured", "at rest", "predicted"}, each (seeds, steps). "at rest" is measured without
    input: it holds what comes back through the gates, which the prediction f^t of an LSTM leaves out.
    """
    result = {}
    for name, build in STARTS.items():
        measured, at_rest, predicted = [], [], []
        for seed in range(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                module = build(inputs, hidden, steps)
                x = torch.randn(steps, inputs, dtype=torch.float64)
                measured.append(gradient_left(module, x))
                at_rest.append(gradient_left(module, torch.zeros_like(x)))
                predicted.append(predicted_left(module, steps))
        result[name] = {"measured": torch.stack(measured), "at rest": torch.stack(at_rest),
                        "predicted": torch.stack(predicted)}
    return result


# --- two problems that need a memory --------------------------------------------------------------


def adding(n, length, generator=None):
    """The adding problem: the sum of the two marked numbers. -> x (n, T, 2) numbers and marks, y (n, 1).

    Numbers U(0, 1), one mark in each half. Always answering 1 leaves the mean squared error 1/6, the variance
    of the sum of two U(0, 1). Source: Hochreiter and Schmidhuber (1997), in the form of Arjovsky (2016).
    """
    if length < 2:
        raise ValueError(f"the adding problem needs two marks, so a length of at least 2, not {length}")
    numbers, marks, rows = torch.rand(n, length, generator=generator), torch.zeros(n, length), torch.arange(n)
    marks[rows, torch.randint(0, length // 2, (n,), generator=generator)] = 1
    marks[rows, torch.randint(length // 2, length, (n,), generator=generator)] = 1
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True)


ADDING_BASELINE = 1 / 6


def copying(n, gap, generator=None, symbols=8, memory=10):
    """The copy problem: say the first `memory` symbols again after `gap` steps.

    -> x (n, gap + 2·memory, symbols + 2) one-hot, y (n, gap + 2·memory) the symbol wanted at each step.
    Symbols are 0..symbols-1, then blank, then the signal to speak. Source: Arjovsky (2016).
    """
    if gap < 1:
        raise ValueError(f"the copy problem needs a gap of at least 1 for its signal, not {gap}")
    blank, signal = symbols, symbols + 1
    said = torch.randint(0, symbols, (n, memory), generator=generator)
    x = torch.full((n, gap + 2 * memory), blank)
    y = x.clone()
    x[:, :memory] = said
    x[:, memory + gap - 1] = signal
    y[:, -memory:] = said
    return F.one_hot(x, symbols + 2).float(), y


def copying_baseline(gap, symbols=8, memory=10):
    """Cross-entropy (nats a step) of who keeps nothing: memory·ln(symbols) over gap + 2·memory steps."""
    return memory * math.log(symbols) / (gap + 2 * memory)


class Remember(nn.Module):
    """A recurrent module and a linear reading of it: at the last step (adding) or at every step (copying)."""

    def __init__(self, recurrent, outputs, last):
        super().__init__()
        self.recurrent, self.last = recurrent, last
        self.out = nn.Linear(recurrent.hidden_size, outputs)

    def forward(self, x):                                                  # (B, T, E)
        h, _ = self.recurrent(x)                                           # (B, T, H)
        return self.out(h[:, -1] if self.last else h)                      # (B, O) or (B, T, O)


def adding_step(model, batch):
    """Sums over the batch: squared error."""
    x, y = batch
    return {"loss": (model(x) - y).square().sum()}


def copying_step(model, batch):
    """Sums over the batch of sequences: cross-entropy a step, share of the wanted symbols that are right."""
    x, y = batch
    logits = model(x)                                                      # (B, T, O)
    loss = F.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(dim=1).sum()
    spoken = y < logits.shape[2] - 2
    right = ((logits.argmax(dim=2) == y) & spoken).sum(dim=1) / spoken.sum(dim=1)
    return {"loss": loss, "correct": right.sum()}

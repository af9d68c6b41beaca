"""Recurrent cells written out, and unrolled in time.

Parameters carry PyTorch's names, so `LSTM(3, 5).load_state_dict(nn.LSTM(3, 5).state_dict())` works and
everything here that takes a "recurrent module" takes ours and `nn.RNN`, `nn.LSTM`, `nn.GRU` alike.
Shapes: x (B, T, E) batch, time, features; h, c (B, H). Always batch first.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

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
    i = torch.sigmoid(i)  # input gate    i_t = σ(W_ii x_t + b_ii + W_hi h_t-1 + b_hi)
    f = torch.sigmoid(f)  # forget gate   f_t = σ(W_if x_t + b_if + W_hf h_t-1 + b_hf)
    g = torch.tanh(g)  # update        g_t = tanh(W_ig x_t + b_ig + W_hg h_t-1 + b_hg)
    o = torch.sigmoid(o)  # output gate   o_t = σ(W_io x_t + b_io + W_ho h_t-1 + b_ho)
    return i, f, g, o


def lstm_step(projected, state, weight_hh, bias_hh):
    """Hochreiter and Schmidhuber (1997) with the forget gate of Gers (2000). state (h, c) -> (h, c)."""
    h, c = state
    i, f, g, o = lstm_gates(projected, h, weight_hh, bias_hh)
    c = f * c + i * g  # cell state    c_t = f_t ⊙ c_t-1 + i_t ⊙ g_t
    h = o * torch.tanh(c)  # hidden state  h_t = o_t ⊙ tanh(c_t)
    return h, c


def gru_step(projected, state, weight_hh, bias_hh):
    """The GRU of `nn.GRU` and cuDNN: the reset gate acts after the product with W_hn. state (h,) -> (h,)."""
    (h,) = state
    xr, xz, xn = projected.chunk(3, dim=-1)
    hr, hz, hn = F.linear(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(xr + hr)  # reset gate    r_t = σ(W_ir x_t + b_ir + W_hr h_t-1 + b_hr)
    z = torch.sigmoid(xz + hz)  # update gate   z_t = σ(W_iz x_t + b_iz + W_hz h_t-1 + b_hz)
    n = torch.tanh(xn + r * hn)  # candidate     n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_t-1 + b_hn))
    h = (1 - z) * n + z * h  # hidden state  h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_t-1
    return (h,)


def cho_gru_step(projected, state, weight_hh, bias_hh):
    """The GRU as first published (Cho 2014) and as in Darknet: the reset gate acts before the product."""
    (h,) = state
    size = h.shape[-1]
    xr, xz, xn = projected.chunk(3, dim=-1)
    hr, hz = F.linear(h, weight_hh[: 2 * size], bias_hh[: 2 * size]).chunk(2, dim=-1)
    r = torch.sigmoid(xr + hr)
    z = torch.sigmoid(xz + hz)
    # n_t = tanh(W_in x_t + b_in + W_hn (r_t ⊙ h_t-1) + b_hn)
    n = torch.tanh(xn + F.linear(r * h, weight_hh[2 * size :], bias_hh[2 * size :]))
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

    step, gates, states = None, None, None  # the cell, its number of gates, of state tensors

    def __init__(self, input_size, hidden_size, num_layers=1, bidirectional=False):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self.directions)
            for direction in self.directions:
                for name, shape in (
                    ("weight_ih", (self.gates * hidden_size, width)),
                    ("weight_hh", (self.gates * hidden_size, hidden_size)),
                    ("bias_ih", (self.gates * hidden_size,)),
                    ("bias_hh", (self.gates * hidden_size,)),
                ):
                    self.register_parameter(f"{name}_l{layer}{direction}", nn.Parameter(torch.empty(shape)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    def forward(self, x, lengths=None, state=None):
        if state is None:
            shape = (self.num_layers * len(self.directions), len(x), self.hidden_size)
            state = (x.new_zeros(shape),) * self.states
        last = []  # one state a layer and direction
        for layer in range(self.num_layers):
            outputs = []
            for direction in self.directions:
                start = tuple(s[len(last)] for s in state)  # (B, H) each
                output, end = self.unroll(x, f"_l{layer}{direction}", start, lengths)
                outputs.append(output)
                last.append(end)
            x = torch.cat(outputs, dim=2)  # (B, T, D·H)
        return x, tuple(torch.stack(s) for s in zip(*last, strict=True))

    def unroll(self, x, name, state, lengths):
        """One layer in one direction: x (B, T, ·) -> output (B, T, H), state after the last real step."""
        weight_ih, weight_hh, bias_ih, bias_hh = weights(self, name)
        projected = F.linear(x, weight_ih, bias_ih)  # (B, T, G·H), all steps in one product
        times = range(x.shape[1])
        outputs = [None] * len(times)
        for t in reversed(times) if name.endswith("_reverse") else times:
            new = self.step(projected[:, t], state, weight_hh, bias_hh)
            if lengths is None:
                state, outputs[t] = new, new[0]
            else:
                real = (t < lengths).unsqueeze(1)  # (B, 1)
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


class QuickRNN(nn.RNN):
    """`nn.RNN` of one layer, batch first, from h_0 = 0: the same numbers, a third of the time on one CPU core."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size, batch_first=True)

    def forward(self, x):
        weight_ih, weight_hh, bias_ih, bias_hh = weights(self)
        projected = F.linear(x.transpose(0, 1), weight_ih, bias_ih + bias_hh)  # (T, B, H)
        h = _Elman.apply(projected, weight_hh)
        return h.transpose(0, 1), h[-1:]


class _Elman(torch.autograd.Function):
    """h_t = tanh(projected_t + W h_t-1) with backpropagation through time by hand. projected (T, B, H), W (H, H)."""

    @staticmethod
    def forward(ctx, projected, weight):
        h = projected.new_zeros(len(projected) + 1, *projected.shape[1:])  # h[0] is the state before the first step
        for t, p in enumerate(projected):
            torch.addmm(p, h[t], weight.t(), out=h[t + 1]).tanh_()
        ctx.save_for_backward(h, weight)
        return h[1:]

    @staticmethod
    def backward(ctx, grad):
        h, weight = ctx.saved_tensors
        inside = 1 - h[1:].square()  # tanh' at each step; becomes the gradient of projected
        back = grad[-1]
        for t in range(len(grad) - 1, -1, -1):
            inside[t].mul_(back)
            if t:
                back = torch.addmm(grad[t - 1], inside[t], weight)
        return inside, inside.flatten(0, 1).t() @ h[:-1].flatten(0, 1)


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


# --- the ladder: one LSTM layer, four ways to the same numbers (the last rung is nn.LSTM) ---------


def separate(lstm, x):
    """Rung 1: eight small products a step, as the equations are printed. x (B, T, E) -> (B, T, H)."""
    weight_ih, weight_hh, bias_ih, bias_hh = (part.chunk(4) for part in weights(lstm))
    h = c = x.new_zeros(len(x), lstm.hidden_size)
    outputs = []
    for x_t in x.unbind(dim=1):
        i, f, g, o = (F.linear(x_t, weight_ih[k], bias_ih[k]) + F.linear(h, weight_hh[k], bias_hh[k]) for k in range(4))
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

"""What a recurrent network can remember: initialisation, the gradient that is left, two problems to be solved.

The functions take a recurrent module of one direction, ours or `nn.RNN`, `nn.LSTM`, `nn.GRU`.
Shapes: x (B, T, E).
"""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import jacrev, vmap

from helpers.recurrent.cells import QuickRNN, gru_step, lstm_step, rnn_step, weights

# --- initialisation ---------------------------------------------------------------------------------


def forget_bias_(lstm, bias):
    """Set the forget gate's bias of every layer to `bias` (Jozefowicz 2015); works on ours and `nn.LSTM`.

    PyTorch keeps two biases that are added (b_ih, b_hh): filling both with 1 would give 2. One holds it, the
    other is set to 0.
    """
    return _gate_biases_(lstm, f=lambda b: torch.full_like(b, bias))


def chrono_(lstm, max_steps, generator=None):
    """Chrono start: b_f = log u, b_i = -b_f, u ~ U(1, max_steps - 1), for memories of 1..max_steps steps.

    Source: Tallec and Ollivier (2018).
    """

    def log_u(b):
        return torch.log(1 + (max_steps - 2) * torch.rand(b.shape, generator=generator).to(b))

    return _gate_biases_(lstm, f=log_u, i="-f")


def _gate_biases_(lstm, f, i=None):
    size = lstm.hidden_size
    with torch.no_grad():
        for name, bias in lstm.named_parameters():
            if name.startswith("bias_hh"):
                bias[size : 2 * size] = 0
                if i:
                    bias[:size] = 0
            elif name.startswith("bias_ih"):
                bias[size : 2 * size] = f(bias[size : 2 * size])
                if i:
                    bias[:size] = -bias[size : 2 * size]
    return lstm


def orthogonal_(rnn, gain=1.0):
    """Make every W_hh block `gain` times a random orthogonal matrix: it keeps lengths as they are."""
    with torch.no_grad():
        for name, weight in rnn.named_parameters():
            if name.startswith("weight_hh"):
                for block in weight.split(rnn.hidden_size):
                    nn.init.orthogonal_(block, gain)
    return rnn


INITS = {  # the six networks of the experiment: (input size E, hidden size H, steps T) -> module
    "RNN": lambda e, h, t: QuickRNN(e, h),
    "RNN, orthogonal": lambda e, h, t: orthogonal_(QuickRNN(e, h)),
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
    step = {"RNN": rnn_step, "QuickRNN": rnn_step, "LSTM": lstm_step, "GRU": gru_step}[type(module).__name__]
    weight_ih, weight_hh, bias_ih, bias_hh = (w.detach().double() for w in weights(module))
    size = module.hidden_size
    count = 2 if step is lstm_step else 1

    def advance(state, projected):  # (count·H,), (G·H,) -> (count·H,)
        return torch.cat(step(projected, tuple(state.split(size)), weight_hh, bias_hh))

    projected = F.linear(x.double(), weight_ih, bias_ih)  # (T, G·H)
    states = [projected.new_zeros(count * size)]
    for p in projected[:-1]:
        states.append(advance(states[-1], p))
    jacobians = vmap(jacrev(advance))(torch.stack(states), projected)  # (T, count·H, count·H)
    total, left = torch.eye(count * size, dtype=x.double().dtype, device=x.device), []
    for jacobian in jacobians:
        total = jacobian @ total  # ∂s_t/∂s_0 = J_t ... J_1
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
        forget = torch.sigmoid((bias_ih + bias_hh)[size : 2 * size])  # (H,)
        return (forget ** (2 * t[:, None])).mean(dim=1).sqrt()
    nodes, mass = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(61))
    mass = mass / mass.sum()  # ∫ f(z) N(z; 0, 1) dz = Σ mass f(nodes)
    spread = weight_hh.square().sum() / size
    drive = (weight_ih.square().sum() + bias_ih.square().sum() + bias_hh.square().sum()) / size
    q = drive
    for _ in range(200):
        q = drive + spread * (mass * torch.tanh(q.sqrt() * nodes).square()).sum()
    slope = 1 - torch.tanh(q.sqrt() * nodes).square()  # tanh'
    return (spread * (mass * slope.square()).sum()).sqrt() ** t


def survival(steps=100, hidden=64, inputs=8, seeds=5):
    """The experiment: for each of INITS, the gradient that is left after 1..steps steps, on inputs N(0, 1).

    -> dict name -> {"measured", "at rest", "predicted"}, each (seeds, steps). "at rest" is measured without
    input: it holds what comes back through the gates, which the prediction f^t of an LSTM leaves out.
    """
    runs = {name: [survival_of(name, steps, hidden, inputs, seed) for seed in range(seeds)] for name in INITS}
    return {
        name: {kind: torch.stack([run[kind] for run in found]) for kind in found[0]} for name, found in runs.items()
    }


def survival_of(name, steps=100, hidden=64, inputs=8, seed=0):
    """One network of `survival`: {"measured", "at rest", "predicted"}, each (steps,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = INITS[name](inputs, hidden, steps)
        x = torch.randn(steps, inputs, dtype=torch.float64)
    return {
        "measured": gradient_left(module, x),
        "at rest": gradient_left(module, torch.zeros_like(x)),
        "predicted": predicted_left(module, steps),
    }


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


class Remember(nn.Module):
    """A recurrent module and a linear reading of its last state."""

    def __init__(self, recurrent, outputs):
        super().__init__()
        self.recurrent = recurrent
        self.out = nn.Linear(recurrent.hidden_size, outputs)

    def forward(self, x):  # (B, T, E)
        h, _ = self.recurrent(x)  # (B, T, H)
        return self.out(h[:, -1])  # (B, O)


def learn(init, length, lr, epochs, seed=0, n=5000, hidden=32, batch=50, clip=1.0, stop=0.05):
    """Train a network on the adding problem of this length with Adam -> dict of curves, one value an epoch.

    init: one of INITS, or a function like them. share: the error on 1,000 other sequences over that of who remembers
    nothing (1: nothing was learned). clipped: the share of the steps whose gradient was longer than `clip`. The
    training ends after `epochs` epochs of `n` sequences, or when the share is at most `stop`.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = adding(n, length, generator)
    valid_x, valid_y = adding(1000, length, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Remember((INITS[init] if isinstance(init, str) else init)(2, hidden, length), 1)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    shares, clipped = [], []
    for _ in range(epochs):
        long = 0
        for rows in torch.randperm(n, generator=generator).split(batch):
            loss = (model(x[rows]) - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            long = long + (nn.utils.clip_grad_norm_(model.parameters(), clip) > clip)  # a tensor: no step waits
            optimizer.step()
        with torch.no_grad():
            shares.append((model(valid_x) - valid_y).square().mean().item() / ADDING_BASELINE)
        clipped.append(float(long) / math.ceil(n / batch))
        if shares[-1] <= stop:
            break
    return {"share": shares, "clipped": clipped}


def epochs_until(curve, share=0.1):
    """The first epoch (from 1) at which a curve of `learn` is at most `share`; math.inf where it never is."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value <= share), math.inf)

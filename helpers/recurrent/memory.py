"""What a recurrent network can remember: initialisation, the gradient that is left, two problems to be solved.

The functions take a recurrent module of one direction, ours or `nn.RNN`, `nn.LSTM`, `nn.GRU`.
Shapes: x (B, T, E).
"""

import math
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import jacrev, vmap

from helpers.recurrent.cells import gru_step, lstm_step, rnn_step, weights

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

    def forward(self, x):  # (B, T, E)
        h, _ = self.recurrent(x)  # (B, T, H)
        return self.out(h[:, -1] if self.last else h)  # (B, O) or (B, T, O)


def adding_step(model, batch):
    """Sums over the batch: squared error."""
    x, y = batch
    return {"loss": (model(x) - y).square().sum()}


def copying_step(model, batch):
    """Sums over the batch of sequences: cross-entropy a step, share of the wanted symbols that are right."""
    x, y = batch
    logits = model(x)  # (B, T, O)
    loss = F.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(dim=1).sum()
    spoken = y < logits.shape[2] - 2
    right = ((logits.argmax(dim=2) == y) & spoken).sum(dim=1) / spoken.sum(dim=1)
    return {"loss": loss, "correct": right.sum()}


def learn(
    problem, init, length, seed=0, n=5000, hidden=64, epochs=10, lr=1e-3, clip=1.0, symbols=8, memory=10, **options
):
    """Train a network on "adding" or "copying" of this length -> dict loss, baseline, share (loss/baseline).

    init: one of INITS or a function like them. The loss is that of 1,000 fresh sequences; a share of 1 means
    that nothing was remembered. Copying uses a gap of `length`, `memory` symbols of `symbols` kinds. Other options
    go to `training.fit`.
    """
    from helpers.course.batches import Tensors
    from helpers.course.training import evaluate, fit

    generator = torch.Generator().manual_seed(seed)
    if problem == "adding":
        inputs, outputs, baseline, make, step = 2, 1, ADDING_BASELINE, adding, adding_step
    elif problem == "copying":
        inputs = outputs = symbols + 2
        baseline, step = copying_baseline(length, symbols, memory), copying_step
        make = partial(copying, symbols=symbols, memory=memory)
    else:
        raise ValueError(f"the problem is adding or copying, not {problem!r}")
    train, test = Tensors(*make(n, length, generator)), Tensors(*make(1000, length, generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recurrent = (INITS[init] if isinstance(init, str) else init)(inputs, hidden, length)
        model = Remember(recurrent, outputs, last=problem == "adding")
    optimizer = torch.optim.Adam(model.parameters(), lr)
    fit(
        model,
        train,
        step=step,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=50,
        clip=clip,
        seed=seed,
        label=f"{problem}, {length} steps",
        **options,
    )
    loss = evaluate(model, test, step=step, device=options.get("device", "auto"))["loss"]
    return {"loss": loss, "baseline": baseline, "share": loss / baseline}

"""Random masks and picks that are the same on every computer: dropout, and one of several things by their weights.

`torch.rand`, `randn`, `randint` and `randperm` of the CPU are made of the numbers of one generator, a Mersenne Twister,
and agree everywhere (`randn` up to rounding). `bernoulli_` does not: where PyTorch was built with MKL and the processor
is Intel's, it takes one of those numbers as the seed of another generator, MKL's; `exponential_` does so in some
versions. On them stand `nn.Dropout`, `F.dropout`, the `dropout=` of `nn.LSTM`, `torch.multinomial` and
`F.gumbel_softmax`: from one seed they give one thing on Linux and another on macOS, and what a notebook prints would
depend on whose computer trained its network. See https://github.com/pytorch/pytorch/issues/121595.

So what is here is made of `torch.rand` alone, and tests/test_random.py looks that the course draws in no other way.
"""

import torch
from torch import nn

from helpers.course.errors import UserError


def dropout(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """x with a share p of its numbers, chosen at random, set to 0 and the others divided by 1 - p, which keeps the
    mean; x itself where not `training`.

    The mask is drawn in 32 bits whatever x has, so that a network in 16 bits drops what it drops in 32.
    """
    _check(p)
    if not training or p == 0:
        return x
    kept = torch.rand(x.shape, dtype=torch.float32, device=x.device) >= p  # u < 1: with p = 1 nothing is kept
    return x * kept * (1 / (1 - p) if p < 1 else 1)


def _check(p):
    if not 0 <= p <= 1:
        raise UserError(f"the share that dropout drops is between 0 and 1, not {p}")


class Dropout(nn.Module):
    """`dropout` as a layer, in the place of `nn.Dropout`: without parameters, and off in evaluation mode."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        _check(p)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def pick(weights: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """The index () of one of the weights (N,) >= 0, each with a chance in proportion to it; a CPU generator draws.

    A race: with u uniform in [0, 1), the time -log(1 - u) / w is exponential with the rate w, and i is the first with
    the chance w_i / Σw. `torch.multinomial` holds the same race, but with times from `exponential_`.
    """
    if weights.ndim != 1 or not (weights.isfinite() & (weights >= 0)).all() or not weights.any():
        raise UserError("to pick one, give weights (N,): finite, none below 0 and at least one above")
    time = -torch.log1p(-torch.rand(len(weights), dtype=torch.float64, generator=generator))
    weights = weights.to(time)
    return torch.where(weights > 0, time / weights, torch.inf).argmin()

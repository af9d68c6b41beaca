"""Masks and picks against NumPy's Mersenne Twister, which is not PyTorch's, and against the laws they follow."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers.course.draws import Dropout, dropout, pick
from helpers.course.errors import UserError


def raw(seed, n):
    """The first n numbers of 32 bits that the Mersenne Twister gives, by NumPy."""
    return np.random.RandomState(seed).randint(0, 2**32, n, dtype=np.uint32)


def kept(seed, shape, p):
    """The mask (bool) that a seed gives: the lower 24 bits of each number, as a fraction of 2^24, are not below p."""
    uniform = (raw(seed, math.prod(shape)) & 0xFFFFFF).astype(np.float32) / 2**24
    return torch.from_numpy(uniform >= np.float32(p)).view(shape)


def test_a_mask_by_hand():
    torch.manual_seed(0)  # its first five: 0.496, 0.768, 0.088, 0.132, 0.307
    out = dropout(torch.tensor([1.0, 2, 3, 4, 5]), 0.25, True)
    torch.testing.assert_close(out, torch.tensor([4 / 3, 8 / 3, 0, 0, 20 / 3]))  # those below 0.25 are gone


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.1, 0.4, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(7,), (3, 1, 5), (2, 3, 40, 50)])
def test_the_mask_is_that_of_numpys_generator(dtype, p, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    torch.manual_seed(12345)
    out = dropout(x, p, True)
    wanted = torch.where(kept(12345, shape, p), x.double() / (1 - p), 0)
    assert out.dtype == dtype
    # one product, rounded: 2 units of the last place are more than that
    torch.testing.assert_close(out.double(), wanted, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


def test_the_layout_in_memory_changes_no_mask():
    x = torch.rand(4, 3, 5, 6) + 1
    masks = []
    for y in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        torch.manual_seed(3)
        masks.append(dropout(y, 0.5, True) != 0)
    assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("p", [0.03, 0.4, 0.8])
def test_the_share_that_is_dropped_and_the_mean_that_is_kept(p):
    n = 400_000
    torch.manual_seed(0)
    out = dropout(torch.ones(n), p, True)
    deviation = math.sqrt(p * (1 - p) / n)  # of a share, by the binomial law; 5 of them: one seed in 10^6
    assert abs((out == 0).double().mean() - p) < 5 * deviation
    assert abs(out.double().mean() - 1) < 5 * deviation / (1 - p)
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    torch.manual_seed(1)
    assert not torch.equal(dropout(torch.ones(n), p, True), out)


@pytest.mark.parametrize("p, training", [(0.5, False), (0.0, True), (0.0, False), (1.0, False)])
def test_where_nothing_is_dropped_nothing_is_drawn(p, training):
    x, before = torch.tensor([1.0, math.inf, -2.0]), torch.get_rng_state()
    assert dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_may_be_dropped():
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    out = dropout(x, 1.0, True)
    out.sum().backward()
    assert out.tolist() == x.grad.tolist() == [0, 0, 0]


def test_the_gradient_goes_through_what_is_kept():
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(7)
    dropout(x, 0.3, True).sum().backward()
    torch.testing.assert_close(x.grad, kept(7, (50,), 0.3) / torch.tensor(0.7, dtype=torch.float64))


def test_on_the_meta_device():
    out = dropout(torch.empty(3, 4, device="meta", dtype=torch.float16), 0.5, True)
    assert out.shape == (3, 4) and out.device.type == "meta" and out.dtype == torch.float16


def test_the_layer_takes_the_place_of_pytorchs():
    ours, theirs = (nn.Sequential(layer(0.4), nn.Linear(6, 2)) for layer in (Dropout, nn.Dropout))
    ours.load_state_dict(theirs.state_dict())  # strict: a file that was stored with the other
    x = torch.randn(5, 6)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    ours.train()
    torch.manual_seed(2)
    torch.testing.assert_close(ours(x), ours[1](x * kept(2, (5, 6), 0.4) / 0.6))
    assert Dropout().p == nn.Dropout().p and repr(ours[0]) == "Dropout(p=0.4)"


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_no_such_share(p):
    for call in (lambda: dropout(torch.ones(2), p, False), lambda: Dropout(p)):
        with pytest.raises(UserError, match="between 0 and 1"):
            call()


# ---------------------------------------------------------------- one of several


@pytest.mark.parametrize("seed", range(20))
def test_a_pick_is_a_race_that_numpy_can_run(seed):
    weights = np.random.default_rng(seed).random(11)
    weights[seed % 11] = 0
    high, low = raw(seed, 22).astype(object).reshape(11, 2).T  # a number of 64 bits is two of 32; 53 of them count
    uniform = np.array([((a << 32 | b) & (2**53 - 1)) / 2**53 for a, b in zip(high, low)])
    with np.errstate(divide="ignore"):
        wanted = (-np.log(1 - uniform) / weights).argmin()
    assert pick(torch.from_numpy(weights), torch.Generator().manual_seed(seed)) == wanted
    torch.manual_seed(seed)
    assert pick(torch.from_numpy(weights)) == wanted


def test_picks_follow_the_weights():
    weights, n, generator = torch.tensor([2.0, 0, 1, 5]), 4000, torch.Generator().manual_seed(0)
    counts = np.bincount([pick(weights, generator).item() for _ in range(n)], minlength=4)
    share = (weights / weights.sum()).numpy()
    assert counts[1] == 0
    assert (abs(counts - n * share) <= 5 * np.sqrt(n * share * (1 - share))).all()  # 5 deviations of the binomial law


@pytest.mark.parametrize("weights", [[[1.0, 2.0]], [], [0.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf]])
def test_nothing_to_pick_from(weights):
    with pytest.raises(UserError, match="at least one above"):
        pick(torch.tensor(weights))

"""Exact t-SNE in the open (van der Maaten & Hinton, 2008, with today's settings), on CPU and GPU.

Two distributions over pairs of points: P from distances in the data, Q from distances in the
map y. t-SNE moves the points y until Q is like P, that is, down the gradient of

    KL(P || Q) = sum_ij p_ij log(p_ij / q_ij).

"Exact": every pair counts in every step, O(N²) time. Memory: 4 N² bytes for P in float32 (1,797
points: 13 MB; 20,000: 1.6 GB) and a scratch block of fixed size (`memory`); no other N x N matrix
is ever made, as everything else is computed for a block of rows at a time. For more points than
that, practitioners use an approximation, e.g. openTSNE.
"""

from typing import NamedTuple

import torch

from helpers.course.errors import UserError
from helpers.course.progress import track
from helpers.embedding.scores import pca, points


class History(NamedTuple):
    """What `tsne` recorded: `iteration` [F], `kl` [F] in nats, the maps `frames` (F, N, K) on the CPU."""

    iteration: list
    kl: list
    frames: torch.Tensor


def _rows(n, device):
    """Rows of a block of n columns: small enough for the CPU's caches, large enough to keep a GPU busy."""
    return max(1, min(n, (2**20 if torch.device(device).type == "cpu" else 2**26) // n))


def _blocks(n, device):
    """The n rows as slices, one per block."""
    rows = _rows(n, device)
    return [slice(top, min(top + rows, n)) for top in range(0, n, rows)]


def memory(n, device="cpu"):
    """Bytes that t-SNE of n points needs: P in float32 and, for one block of rows, four float64 matrices."""
    return 4 * n * n + 4 * 8 * n * _rows(n, device)


# ---------------------------------------------------------------- P: who is near whom in the data


def conditional_probabilities(d, itself, perplexity):
    """Rows of p_{j|i} from squared distances `d` (B, N), which is overwritten; (B, N).

    `itself` (B,): the column of each row's own point. Each row has its own width: beta is found by bisection,
    for all rows at once, such that the entropy of the row is log2(perplexity) bits. A row with more than
    `perplexity` exact duplicates cannot get there; it becomes uniform on those.
    """
    b = torch.arange(len(d), device=d.device)
    d[b, itself] = torch.inf
    d -= d.min(1, keepdim=True).values  # p is the same for d - const, and exp() cannot underflow for all j
    d[b, itself] = 0
    d /= d.mean(1, keepdim=True).clamp_min(torch.finfo(d.dtype).tiny)  # beta is of the order of 1 then
    d[b, itself] = torch.finfo(d.dtype).max  # p_{i|i} = 0
    target = torch.log(torch.full_like(d[:, :1], perplexity))
    beta, low, high = torch.ones_like(target), torch.zeros_like(target), torch.full_like(target, torch.inf)
    p = torch.empty_like(d)
    for _ in range(100):
        torch.mul(d, -beta, out=p).exp_()  # p_{j|i} = exp(-beta_i d_ij) / Z_i
        z = p.sum(1, keepdim=True)
        entropy = z.log() + beta * torch.linalg.vecdot(d, p).unsqueeze(1) / z  # H_i = -sum_j p log p, in nats
        if (entropy - target).abs().max() < 1e-8:
            break
        flat = entropy > target  # too many neighbours: beta must grow
        low, high = torch.where(flat, beta, low), torch.where(flat, high, beta)
        beta = torch.where(high.isinf(), 2 * beta, (low + high) / 2)
    return p.div_(z)


def joint_probabilities(x, perplexity=30.0, dtype=torch.float32):
    """P (N, N), symmetric, zero diagonal, sum 1, of the points `x` (N, ...), on their device.

    The search runs in float64 (float32 where the device has no other); `dtype` is that of the result.
    Raises UserError for NaN, fewer than 3 points, a perplexity not in (1, N-1), too little memory.
    """
    x = points(x, least=3, what="t-SNE")
    n = len(x)
    if not 1 < perplexity < n - 1:
        raise UserError(
            f"perplexity {perplexity:g} does not fit {n} points: each has {n - 1} neighbours; "
            f"take more than 1 and, as a rule, at most {max(1.5, (n - 1) / 3):.3g}"
        )
    x = x - x.mean(0)
    sq = x.square().sum(1)
    try:
        p = torch.empty(n, n, dtype=dtype, device=x.device)
    except RuntimeError as e:
        size = f"{memory(n, x.device) / 1e9:.1f} GB"
        raise UserError(f"exact t-SNE of {n} points needs {size}: take fewer points, or openTSNE") from e
    for rows in _blocks(n, x.device):
        d = torch.addmm(sq, x[rows], x.T, alpha=-2).add_(sq[rows, None]).clamp_(min=0)  # |x_i - x_j|²
        p[rows] = conditional_probabilities(d, torch.arange(n, device=x.device)[rows], perplexity)
    for rows in _blocks(n, x.device):  # p_ij = (p_{j|i} + p_{i|j}) / 2N, in place
        half = (p[rows, rows.start :] + p[rows.start :, rows].T).div_(2 * n)
        p[rows, rows.start :], p[rows.start :, rows] = half, half.T
    return p


# ---------------------------------------------------------------- Q: who is near whom in the map


def _factors(y):
    """(N, K+2) and (K+2, N) whose product is 1 + |y_i - y_j|², one matrix product instead of three passes."""
    sq = y.square().sum(1, keepdim=True)
    one = torch.ones_like(sq)
    return torch.cat([y, sq + 1, one], 1), torch.cat([-2 * y, one, sq], 1).T.contiguous()


@torch.no_grad()
def kl_divergence(p, y):
    """KL(P || Q) of the map `y` (N, K), in nats: a tensor without dimensions, on y's device."""
    left, right = _factors(y)
    cross, z = y.new_zeros(2)
    for rows in _blocks(len(y), y.device):
        s = left[rows] @ right  # 1 / w_ij
        s[:, rows].fill_diagonal_(1)
        cross += (p[rows] * s.log()).sum() + torch.xlogy(p[rows], p[rows]).sum()
        z += s.reciprocal_().sum() - len(s)
    return cross + z.log()  # sum p log p - sum p log q  with  q_ij = w_ij / Z  and  sum p = 1


def scratch(p):
    """The memory that `gradient` works in; made once, as fresh memory costs more than the arithmetic."""
    return torch.empty(2 * len(p) * _rows(len(p), p.device), dtype=p.dtype, device=p.device)


@torch.no_grad()
def gradient(p, y, exaggeration=1.0, buffer=None):
    """dKL/dy (N, K) = 4 sum_j (p_ij - q_ij) w_ij (y_i - y_j), the attraction (P) times `exaggeration`.

    Attraction and repulsion are summed apart, block by block, since Z is known only after the last block:
        sum_j a_ij (y_i - y_j) = y_i sum_j a_ij - sum_j a_ij y_j,   a_ij = p_ij w_ij  or  w_ij² = Z q_ij w_ij
    """
    n, k = y.shape
    buffer = scratch(p) if buffer is None else buffer
    left, right = _factors(y)
    one_y = torch.cat([torch.ones_like(y[:, :1]), y], 1).T.contiguous().expand(2, k + 1, n)
    sums, z = y.new_empty(2, k + 1, n), y.new_zeros(())
    for rows in _blocks(n, y.device):
        b = rows.stop - rows.start
        both = buffer[: 2 * b * n].view(2, b, n)
        pw, w = both
        torch.mm(left[rows], right, out=w).reciprocal_()  # w_ij = 1 / (1 + |y_i - y_j|²): Student's t
        w[:, rows].fill_diagonal_(0)  # w_ii = 0
        z += w.sum()  # Z = sum_kl w_kl
        torch.mul(p[rows], w, out=pw)  # p_ij w_ij
        w.square_()  # w_ij²
        sums[:, :, rows] = one_y @ both.transpose(1, 2)  # sum_j a_ij [1, y_j] for both kinds of a
    attraction, repulsion = sums
    s = exaggeration * attraction - repulsion / z
    return 4 * (s[:1] * y.T - s[1:]).T


# ---------------------------------------------------------------- the descent


@torch.no_grad()
def optimise(p, y, n_iter=1000, *, exaggeration=12.0, exaggeration_iter=250, learning_rate="auto", record_every=50):
    """Gradient descent from the map `y` (N, K) for `n_iter` steps: (map, `History`).

    For the first `exaggeration_iter` steps P counts `exaggeration` times (clusters form while points can
    still pass each other) and the momentum is .5, then .8. `learning_rate` "auto" is N / exaggeration
    (Belkina 2019), for the gradient without its factor 4, as in openTSNE; scikit-learn keeps the factor and
    divides the rate by 4. The map and the true KL are kept every `record_every` steps, at the start and
    at the end; nothing waits for the device before. Raises UserError when the map is no longer finite.
    """
    n, y = len(p), y.to(p.device, p.dtype, copy=True)
    update, gains, buffer = torch.zeros_like(y), torch.ones_like(y), scratch(p)
    iteration, kl, frames = [], [], []
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # TF32 keeps 3 digits, too few for distances
    try:
        for i in track(range(n_iter + 1), "t-SNE"):
            if i % record_every == 0 or i == n_iter:
                iteration.append(i)
                kl.append(kl_divergence(p, y))
                frames.append(y.clone())
            if i == n_iter:
                break
            early = i < exaggeration_iter
            factor, momentum = (exaggeration, 0.5) if early else (1.0, 0.8)
            rate = n / factor if learning_rate == "auto" else learning_rate
            g = gradient(p, y, factor, buffer)
            # a coordinate that goes on the way it went (downhill: g against its last step) gains speed, one
            # that turns round loses some
            gains = torch.where(g.sign() == update.sign(), gains * 0.8, gains + 0.2).clamp_(min=0.01)
            update.mul_(momentum).sub_(gains.mul(g).mul_(rate / 4))
            update *= (5 / update.norm(dim=1, keepdim=True)).clamp_(max=1)  # no point moves more than 5
            y += update
            y -= y.mean(0)
            if early:  # few points under a large perplexity: attraction outweighs repulsion and the map shrinks
                lift = (1e-12 / y.std().clamp_(min=1e-30)).clamp_(min=1)  # without end, to where numbers are zero;
                y, update = y * lift, update * lift  # so small, only its shape matters
    finally:
        torch.set_float32_matmul_precision(precision)
    if not torch.isfinite(y).all():
        raise UserError(f"t-SNE diverged (learning rate {learning_rate}): take a smaller one, or auto")
    return y, History(iteration, torch.stack(kl).tolist(), torch.stack(frames).cpu())


def initial_map(x, init="pca", seed=0):
    """The first map (N, 2) of the points `x` (N, ...), on their device: "pca" or "random", of size 1e-4.

    PCA keeps the order of clusters that lie far apart, which a random start loses for good: the descent moves
    them no more. It gets a little noise of `seed`, so that exact duplicates can part. At size 1e-4 all q_ij are
    equal, and nothing stands in anyone's way.
    """
    x = points(x, what="t-SNE")
    noise = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(seed)).to(x)
    if init == "random":
        return 1e-4 * noise
    if init != "pca":
        raise UserError(f"init must be pca, random or a tensor (N, K); got {init!r}")
    codes = pca(x, min(2, *x.shape)).codes
    codes = codes / codes[:, 0].std(correction=0).clamp_min(torch.finfo(x.dtype).tiny)
    return 1e-4 * torch.nn.functional.pad(codes, (0, 2 - codes.shape[1])) + 1e-6 * noise


def tsne(x, perplexity=30.0, n_iter=1000, *, init="pca", seed=0, **options):
    """The t-SNE map of the points `x` (N, ...): (y (N, 2) float32, `History`), on the device of `x`.

    perplexity  how many neighbours count, as a smooth number
    init        "pca", "random" or a tensor (N, K)
    seed        of the random start, or of the noise on the PCA start; the rest is deterministic
    options     of `optimise`: exaggeration, exaggeration_iter, learning_rate, record_every

    Raises UserError for bad points (empty, one, NaN), perplexity, init, or a descent that diverged.
    """
    if n_iter < 0:
        raise UserError(f"n_iter must be 0 or more; got {n_iter}")
    p = joint_probabilities(x, perplexity)
    y = initial_map(x, init, seed) if isinstance(init, str) else points(init, what="the start of t-SNE")
    if len(y) != len(p):
        raise UserError(f"the start of t-SNE has {len(y)} rows for {len(p)} points: give one row a point")
    return optimise(p, y, n_iter, **options)

"""Flip, pad and crop: a whole batch of images at once, exact to the byte, each image with its own parameters.

Images x are (B, C, H, W), uint8 from 0 to 255 or float from 0 to 1. The functions draw nothing, but for
`flip_and_shift`, an `augment=` of `training.fit`; lecture 07 explains how they work and adds all others.
"""

import torch
import torch.nn.functional as F

from helpers.course.errors import UserError


def check_images(x: torch.Tensor) -> None:
    """Raise UserError unless x is a batch of images (B, C, H, W), uint8 or float."""
    if x.ndim != 4:
        raise UserError(f"a batch of pictures has the shape (B, C, H, W), not {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise UserError(f"pictures are uint8 (0 to 255) or float (0 to 1), not {x.dtype}")


def _pick(mask, a, b):
    """a[i] where mask[i], else b[i]. One gather of whole images: on a CPU, for uint8, 4 times as fast as
    `torch.where`, which asks the mask at every pixel."""
    rows = torch.arange(len(b), device=b.device) + len(b) * mask.to(b.device, torch.int64)
    return torch.cat([b, a]).index_select(0, rows)


def hflip(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mirror the images x (B, C, H, W) with mask (B,) sideways: out[b, c, i, j] = x[b, c, i, W-1-j]."""
    check_images(x)
    return _pick(mask, x.flip(-1), x)


def vflip(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Turn the images x (B, C, H, W) with mask (B,) upside down: out[b, c, i, j] = x[b, c, H-1-i, j]."""
    check_images(x)
    return _pick(mask, x.flip(-2), x)


def pad(x: torch.Tensor, margin: int, mode: str = "constant", fill: float = 0) -> torch.Tensor:
    """Add `margin` pixels on all four sides of x (B, C, H, W). mode: "constant" (with `fill`) or "reflect"
    (mirrored about the border pixel: c b | a b c)."""
    check_images(x)
    if mode == "constant":
        return F.pad(x, (margin,) * 4, value=fill)
    if mode != "reflect":
        raise UserError(f"padding mode must be constant or reflect; got {mode!r}")
    for dim in (2, 3):
        n = x.shape[dim]
        if margin >= n:
            raise UserError(f"reflecting {margin} pixels needs pictures of more than {margin}, not {n}")
        i = torch.arange(-margin, n + margin, device=x.device).abs()  # F.pad cannot reflect uint8
        x = x.index_select(dim, torch.minimum(i, 2 * (n - 1) - i))
    return x


def crop(
    x: torch.Tensor, top: torch.Tensor | int, left: torch.Tensor | int, size: int | tuple[int, ...]
) -> torch.Tensor:
    """Cut one window out of each image: out[b] = x[b, :, top[b] : top[b] + h, left[b] : left[b] + w].

    x (B, C, H, W); top, left (B,) integers in pixels; size h = w, or (h, w). Returns (B, C, h, w). Positions
    outside the image raise UserError on the CPU; on another device they are the caller's promise.
    """
    check_images(x)
    (h, w), (B, C, H, W) = (size, size) if isinstance(size, int) else size, x.shape
    if h > H or w > W:
        raise UserError(f"a crop of {h}x{w} does not fit in pictures of {H}x{W}: crop less, or pad first")
    top, left = (torch.as_tensor(v, device=x.device).expand(B) for v in (top, left))
    if B == 0:
        return x[:, :, :h, :w]
    if x.device.type == "cpu":
        (t0, t1), (l0, l1) = top.aminmax(), left.aminmax()
        if t0 < 0 or l0 < 0 or t1 > H - h or l1 > W - w:
            raise UserError(f"the crop leaves the picture: inside are top 0..{H - h} and left 0..{W - w}")
    # The batch seen as all its overlapping windows, without a copy: window k begins at element k. The one of
    # image b begins at (b C H + top) W + left, so a single gather of whole windows crops all images.
    x = x.contiguous()
    n = x.numel() - ((C - 1) * H + h - 1) * W - w + 1
    windows = x.as_strided((n, C, h, w), (1, H * W, W, 1))
    return windows.index_select(0, (torch.arange(B, device=x.device) * (C * H) + top) * W + left)


def flip_and_shift(
    batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator, reach: float = 1 / 8
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment a batch (x, y) on its device: each image mirrored or not, and shifted by up to `reach` of its width.

    What a shift uncovers is the reflected border. The numbers are drawn by `generator`, a CPU one.
    """
    x, y = batch
    margin = int(x.shape[-1] * reach)
    mirror = torch.rand(len(x), generator=generator) < 0.5
    top, left = torch.randint(0, 2 * margin + 1, (2, len(x)), generator=generator).to(x.device)
    x = crop(pad(hflip(x, mirror), margin, "reflect"), top, left, tuple(x.shape[-2:]))
    return x.contiguous(memory_format=torch.channels_last), y  # the layout that convolutions are fastest in

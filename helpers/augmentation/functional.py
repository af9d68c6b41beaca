"""Image augmentation of a whole batch at once: each function takes its parameters, one value a picture."""

import torch
import torch.nn.functional as F

from helpers.course.errors import UserError

# ---------------------------------------------------------------- where things are: exact to the byte


def _check(x):
    if x.ndim != 4:
        raise UserError(f"a batch of pictures has the shape (B, C, H, W), not {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise UserError(f"pictures are uint8 (0 to 255) or float (0 to 1), not {x.dtype}")


def _column(value, x):
    """A number, or one number for each picture (B,), as float32 (B, 1, 1, 1) beside x."""
    return torch.as_tensor(value, dtype=torch.float32, device=x.device).reshape(-1, 1, 1, 1)


def _pick(mask, a, b):
    """a[i] where mask[i], else b[i]. One gather of whole pictures: on a CPU, for uint8, 4 times as fast as
    `torch.where`, which asks the mask at every pixel."""
    rows = torch.arange(len(b), device=b.device) + len(b) * mask.to(b.device, torch.int64)
    return torch.cat([b, a]).index_select(0, rows)


def hflip(x, mask):
    """Mirror the pictures x (B, C, H, W) with mask (B,) sideways: out[b, c, i, j] = x[b, c, i, W-1-j]."""
    _check(x)
    return _pick(mask, x.flip(-1), x)


def vflip(x, mask):
    """Turn the pictures x (B, C, H, W) with mask (B,) upside down: out[b, c, i, j] = x[b, c, H-1-i, j]."""
    _check(x)
    return _pick(mask, x.flip(-2), x)


def pad(x, margin, mode="constant", fill=0):
    """Add `margin` pixels on all four sides of x (B, C, H, W). mode: "constant" (with `fill`) or "reflect"
    (mirrored about the border pixel: c b | a b c)."""
    _check(x)
    if mode == "constant":
        return F.pad(x, (margin,) * 4, value=fill)
    if mode != "reflect":
        raise UserError(f"padding mode {mode!r} is not one of constant, reflect")
    for dim in (2, 3):
        n = x.shape[dim]
        if margin >= n:
            raise UserError(f"reflecting {margin} pixels needs pictures of more than {margin}, not {n}")
        i = torch.arange(-margin, n + margin, device=x.device).abs()  # F.pad cannot reflect uint8
        x = x.index_select(dim, torch.minimum(i, 2 * (n - 1) - i))
    return x


def crop(x, top, left, size):
    """Cut one window out of each picture: out[b] = x[b, :, top[b] : top[b] + h, left[b] : left[b] + w].

    x (B, C, H, W); top, left (B,) integers in pixels; size h = w, or (h, w). Returns (B, C, h, w). Positions
    outside the picture raise UserError on the CPU; on another device they are the caller's promise.
    """
    _check(x)
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
    # picture b begins at (b C H + top) W + left, so a single gather of whole windows crops all pictures.
    x = x.contiguous()
    n = x.numel() - ((C - 1) * H + h - 1) * W - w + 1
    windows = x.as_strided((n, C, h, w), (1, H * W, W, 1))
    return windows.index_select(0, (torch.arange(B, device=x.device) * (C * H) + top) * W + left)


def _inside(x, top, left, height, width):
    """(B, 1, H, W), true in rows top to top + height and columns left to left + width of each picture."""
    top, left, height, width = (
        torch.as_tensor(v, device=x.device).reshape(-1, 1, 1, 1) for v in (top, left, height, width)
    )
    i = torch.arange(x.shape[2], device=x.device).view(1, 1, -1, 1)
    j = torch.arange(x.shape[3], device=x.device).view(1, 1, 1, -1)
    return (i >= top) & (i < top + height) & (j >= left) & (j < left + width)


def erase(x, top, left, height, width, value=0):
    """Set a rectangle of each picture to `value`. x (B, C, H, W); top, left, height, width (B,) in pixels.
    (Cutout, DeVries and Taylor 2017; random erasing, Zhong et al. 2017.)"""
    _check(x)
    inside = _inside(x, top, left, height, width)
    out = x * ~inside  # a product: on a CPU many times as fast as torch.where or masked_fill
    return out + inside.to(x.dtype) * value if value else out


def hflip_boxes(boxes, mask, width):
    """The boxes that belong to `hflip(x, mask)`: x1, x2 -> W - x2, W - x1.
    boxes (B, N, 4) as x1, y1, x2, y2 in pixels, edges not centres; mask (B,); width W of the pictures."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.where(mask.view(-1, 1, 1), torch.stack([width - x2, y1, width - x1, y2], -1), boxes)


def crop_boxes(boxes, top, left, size):
    """The boxes that belong to `crop(x, top, left, size)`, cut off at the window's edges: a box outside the
    window keeps no area (x2 = x1 or y2 = y1). boxes (B, N, 4) as x1, y1, x2, y2 in pixels; top, left (B,)."""
    h, w = (size, size) if isinstance(size, int) else size
    x, y = boxes[..., 0::2] - left.view(-1, 1, 1), boxes[..., 1::2] - top.view(-1, 1, 1)
    return torch.stack([x.clamp(0, w), y.clamp(0, h)], -1).flatten(-2)


# ---------------------------------------------------------------- resampled and recoloured


def affine(x, angle=0.0, dx=0.0, dy=0.0, scale=1.0, shear=0.0, fill=0):
    """Turn, scale, shear and shift each picture about its centre, with bilinear interpolation.

    x (B, C, H, W); each parameter a number or (B,): angle (clockwise) and shear in degrees, dx and dy in
    pixels to the right and down. The output at p (from the centre) is the input at A^-1 (p - t) with
    A = scale R(angle) [[1, -tan shear], [0, 1]] and t = (dx, dy): the convention of torchvision's `affine`.
    What comes from outside the picture is `fill`.
    """
    _check(x)
    (_, _, H, W), pixel = x.shape, x if x.is_floating_point() else x.float()
    angle, dx, dy, scale, shear = (_column(v, x).to(pixel.dtype) for v in (angle, dx, dy, scale, shear))
    a, k = torch.deg2rad(angle), torch.tan(torch.deg2rad(shear))
    cos, sin = torch.cos(a) / scale, torch.sin(a) / scale
    # A^-1 = [[1, k], [0, 1]] R(-angle) / scale; its columns, times 2 / width and 2 / height, because grid_sample
    # counts x from -1 to 1 over the width and y from -1 to 1 over the height
    to_x = torch.cat([(cos - k * sin) * (2 / W), -sin * (2 / H)], -1)  # (B, 1, 1, 2)
    to_y = torch.cat([(sin + k * cos) * (2 / W), cos * (2 / H)], -1)
    j = torch.arange(W, dtype=pixel.dtype, device=x.device).view(1, 1, W, 1) - (W - 1) / 2
    i = torch.arange(H, dtype=pixel.dtype, device=x.device).view(1, H, 1, 1) - (H - 1) / 2
    source = to_x * (j - dx) + to_y * (i - dy)  # (B, H, W, 2): A^-1 (p - t)
    source = source.expand(len(x), H, W, 2)
    # outside the picture grid_sample gives 0; with the values counted from `fill` that becomes `fill`
    pixel = pixel - fill if fill else pixel
    out = F.grid_sample(pixel, source, padding_mode="zeros", align_corners=False)  # bilinear
    out = out + fill if fill else out
    return out if x.is_floating_point() else out.round_().to(x.dtype)


def check_colours(x):
    """UserError unless x (B, C, H, W) are grey or RGB pictures, uint8, or float within 0 to 1 (the range is
    looked at on the CPU only)."""
    _check(x)
    if x.shape[1] not in (1, 3):
        hint = ": drop the alpha channel with x[:, :3]" if x.shape[1] == 4 else ""
        raise UserError(f"colours need 1 (grey) or 3 (RGB) channels, not {x.shape[1]}{hint}")
    if x.is_floating_point() and x.device.type == "cpu" and x.numel():
        low, high = (v.item() for v in x.aminmax())
        if not (low >= 0 and high <= 1):
            raise UserError(
                f"float pictures lie between 0 and 1, these between {low:.3g} and {high:.3g}: "
                "divide by 255 first, and normalise after augmenting"
            )


def _clip(out, x):
    return out.clamp_(0, 1 if x.is_floating_point() else 255).to(x.dtype)


def _grey(x):
    """Luminance of x (B, 3, H, W) by ITU-R BT.601, whole numbers for uint8, as float (B, 1, H, W)."""
    if x.shape[1] == 1:
        return x if x.is_floating_point() else x.float()
    r, g, b = x.split(1, dim=1)
    grey = (r * 0.2989).add_(g, alpha=0.587).add_(b, alpha=0.114)
    return grey if x.is_floating_point() else grey.floor_()


def _blend(x, other, factor):
    """factor x + (1 - factor) other, clipped: between the two below 1, beyond x above 1."""
    factor = _column(factor, x)
    return _clip((x * factor).addcmul_(other, 1 - factor), x)


def brightness(x, factor):
    """factor * x, clipped. x (B, C, H, W), factor a number or (B,): 0 is black, 1 changes nothing."""
    check_colours(x)
    return _clip(x * _column(factor, x), x)


def contrast(x, factor):
    """Away from (factor > 1) or towards (factor < 1) the picture's mean grey. x (B, C, H, W), factor (B,)."""
    check_colours(x)
    return _blend(x, _grey(x).mean((1, 2, 3), keepdim=True), factor)


def saturation(x, factor):
    """Away from or towards the grey picture; grey pictures stay. x (B, C, H, W), factor (B,)."""
    check_colours(x)
    return x if x.shape[1] == 1 else _blend(x, _grey(x), factor)


def hue(x, turns):
    """Turn the hue by `turns` (B,) of the colour circle, -0.5 to 0.5, in HSV; grey pictures stay."""
    check_colours(x)
    if x.shape[1] == 1:
        return x
    rgb = x if x.is_floating_point() else x / 255
    value, least = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    r, g, b = rgb.split(1, dim=1)
    chroma = value - least
    unit = chroma.clamp(min=torch.finfo(rgb.dtype).tiny)  # grey: the numerators below are 0 as well
    # hue in sixths of the circle: 0 red, 2 green, 4 blue
    h = torch.where(value == g, 2 + (b - r) / unit, 4 + (r - g) / unit)
    h = torch.where(value == r, (g - b) / unit, h)
    # back: channel n of (5, 3, 1) is V - C max(0, min(k, 4 - k, 1)) with k = (n + h) mod 6
    n = torch.tensor([5, 3, 1], dtype=rgb.dtype, device=x.device).view(1, 3, 1, 1)
    k = (n + h + 6 * _column(turns, x)).remainder(6)
    out = value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
    return out.to(x.dtype) if x.is_floating_point() else (out * 255.999).to(torch.uint8)


# ---------------------------------------------------------------- two pictures and their labels


def soft_labels(y, classes):
    """Labels (B,) as rows of probabilities (B, K) float32; what is already (B, K) stays."""
    if y.ndim == 2:
        return y
    return (y.view(-1, 1) == torch.arange(classes, device=y.device)).float()  # one_hot looks at the values


def mixup(x, y, partner, weight):
    """weight x + (1 - weight) x[partner], and the same of the labels (Zhang et al. 2018).
    x (B, C, H, W), y (B, K) soft labels, partner (B,) integers, weight (B,) in 0 to 1."""
    _check(x)
    w = _column(weight, x)
    out = x * w + x[partner] * (1 - w)
    return out.to(x.dtype) if x.is_floating_point() else out.round_().to(x.dtype), _mix_labels(y, partner, w)


def cutmix(x, y, partner, top, left, height, width):
    """A rectangle of each picture replaced by the same rectangle of its partner; the labels are mixed by the
    share of the area that was really replaced (Yun et al. 2019). Shapes as in `mixup` and `erase`."""
    _check(x)
    inside = _inside(x, top, left, height, width)
    out = x * ~inside + x[partner] * inside
    return out, _mix_labels(y, partner, 1 - inside.float().mean((1, 2, 3)))


def _mix_labels(y, partner, weight):
    weight = weight.view(-1, 1)
    return weight * y + (1 - weight) * y[partner]

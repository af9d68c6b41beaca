"""Image augmentation of a whole batch at once: each function takes its parameters, one value an image.

Flips, padding and crops stand in `helpers.course.augment`, for lecture 06 uses them, too; here are all others: erasing,
resampling, colours and mixtures. Nothing is drawn here: `transforms` draws.
"""

import torch
import torch.nn.functional as F

from helpers.course.augment import check_images, crop, hflip, pad, vflip  # noqa: F401  functions of this room, too
from helpers.course.errors import UserError

# ---------------------------------------------------------------- rectangles


def _column(value, x):
    """A number, or one number for each picture (B,), as float32 (B, 1, 1, 1) beside x."""
    return torch.as_tensor(value, dtype=torch.float32, device=x.device).reshape(-1, 1, 1, 1)


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
    check_images(x)
    inside = _inside(x, top, left, height, width)
    out = x * ~inside  # a product: on a CPU many times as fast as torch.where or masked_fill
    return out + inside.to(x.dtype) * value if value else out


# ---------------------------------------------------------------- resampled and recoloured


def affine(x, angle=0.0, dx=0.0, dy=0.0, scale=1.0, shear=0.0, fill=0):
    """Turn, scale, shear and shift each picture about its centre, with bilinear interpolation.

    x (B, C, H, W); each parameter a number or (B,): angle (clockwise) and shear in degrees, dx and dy in
    pixels to the right and down. The output at p (from the centre) is the input at A^-1 (p - t) with
    A = scale R(angle) [[1, -tan shear], [0, 1]] and t = (dx, dy): the convention of torchvision's `affine`.
    What comes from outside the picture is `fill`.
    """
    check_images(x)
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
    check_images(x)
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
    check_images(x)
    w = _column(weight, x)
    out = x * w + x[partner] * (1 - w)
    return out.to(x.dtype) if x.is_floating_point() else out.round_().to(x.dtype), _mix_labels(y, partner, w)


def cutmix(x, y, partner, top, left, height, width):
    """A rectangle of each picture replaced by the same rectangle of its partner; the labels are mixed by the
    share of the area that was really replaced (Yun et al. 2019). Shapes as in `mixup` and `erase`."""
    check_images(x)
    inside = _inside(x, top, left, height, width)
    out = x * ~inside + x[partner] * inside
    return out, _mix_labels(y, partner, 1 - inside.float().mean((1, 2, 3)))


def _mix_labels(y, partner, weight):
    weight = weight.view(-1, 1)
    return weight * y + (1 - weight) * y[partner]

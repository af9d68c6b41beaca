"""Image augmentation of a whole batch at once, on its device, with parameters of its own for each picture.

The functions (`hflip`, `crop`, `affine`, `brightness`, `mixup`, ...) take pictures x (B, C, H, W), uint8
from 0 to 255 or float from 0 to 1, and explicit parameters, one for each picture: a tensor (B,). They draw
nothing, so they can be held against another library. A mask (B, 1, H, W) of a picture is a picture to them.

The classes (`RandomFlip`, `RandomCrop`, ...) draw those parameters and call the functions:
`RandomFlip(0.5)(x, generator)`. Called with a batch `(x, y)` they return a batch, so each of them, and a
`Compose` of several, is an `augment=` of `training.fit`.

The parameters are drawn where the generator lives and then sent to the pictures. With a CPU generator, the
one that `training.fit` passes, they are the same numbers on every device. Nothing here asks the device for
a value, so a GPU never waits; checks that have to look at values are made on the CPU only.
"""

import math

import torch
import torch.nn.functional as F

from helpers.data import UserError

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


# ---------------------------------------------------------------- random: each picture's own parameters


def _uniform(x, low, high, generator):
    """(B,) numbers, uniform in [low, high): one for each picture of x."""
    u = torch.rand(len(x), generator=generator, device=generator.device if generator is not None else "cpu")
    return (low + (high - low) * u).to(x.device, non_blocking=True)


def _place(x, room, generator):
    """(B,) integers, each uniform in 0 ... room (a number or (B,))."""
    return (_uniform(x, 0, 1, generator) * (room + 1)).long()


def _partner(x, generator):
    device = generator.device if generator is not None else "cpu"
    return torch.randperm(len(x), generator=generator, device=device).to(x.device, non_blocking=True)


def _beta(x, alpha, generator):
    device = generator.device if generator is not None else "cpu"
    both = torch.full((len(x), 2), float(alpha), device=device)  # Beta(a, a) is a Dirichlet of two
    return torch._sample_dirichlet(both, generator)[:, 0].to(x.device, non_blocking=True)


class Augment:
    """One random operation. Call it with pictures x (B, C, H, W), or with a batch (x, y, ...), and a
    generator; without a generator it draws from PyTorch's global one on the CPU."""

    def images(self, x, generator):
        raise NotImplementedError

    def __call__(self, batch, generator=None):
        if torch.is_tensor(batch):
            return self.images(batch, generator)
        x, *rest = batch
        return (self.images(x, generator), *rest)


class Compose(Augment):
    """Several operations, one after the other."""

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, batch, generator=None):
        for step in self.steps:
            batch = step(batch, generator)
        return batch


class RandomFlip(Augment):
    """Mirror each picture left to right, or upside down (vertical=True), with probability p."""

    def __init__(self, p=0.5, vertical=False):
        self.p, self.flip = p, vflip if vertical else hflip

    def images(self, x, generator):
        return self.flip(x, _uniform(x, 0, 1, generator) < self.p)


class RandomCrop(Augment):
    """A window of `size` (h = w, or (h, w)) at a random place of each picture, after `padding` pixels were
    added on each side (mode "constant" with `fill`, or "reflect")."""

    def __init__(self, size, padding=0, mode="constant", fill=0):
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.padding, self.mode, self.fill = padding, mode, fill

    def images(self, x, generator):
        x = pad(x, self.padding, self.mode, self.fill) if self.padding else x
        (h, w), (H, W) = self.size, x.shape[-2:]
        return crop(x, _place(x, H - h, generator), _place(x, W - w, generator), self.size)


class RandomAffine(Augment):
    """`affine` with an angle in -degrees..degrees, a shift of up to `translate` (a share of width and
    height), a factor in `scale`, a shear in -shear..shear degrees; all uniform."""

    def __init__(self, degrees=0.0, translate=0.0, scale=(1.0, 1.0), shear=0.0, fill=0):
        self.degrees, self.translate, self.scale = degrees, translate, scale
        self.shear, self.fill = shear, fill

    def images(self, x, generator):
        H, W = x.shape[-2:]
        spans = [self.degrees, self.translate * W, self.translate * H]
        angle, dx, dy = (_uniform(x, -s, s, generator) for s in spans)
        scale, shear = _uniform(x, *self.scale, generator), _uniform(x, -self.shear, self.shear, generator)
        return affine(x, angle, dx, dy, scale, shear, self.fill)


class ColorJitter(Augment):
    """Factors in 1 - v .. 1 + v (not below 0) for brightness, contrast and saturation, in this order, and a
    turn of the hue in -v .. v. An amount of 0 leaves its step out. (torchvision draws the order, too.)"""

    def __init__(self, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0):
        if not 0 <= hue <= 0.5:
            raise UserError(f"hue is a part of the colour circle, 0 to 0.5, not {hue}")
        self.amounts, self.hue = (brightness, contrast, saturation), hue

    def images(self, x, generator):
        for step, amount in zip((brightness, contrast, saturation), self.amounts):
            if amount:
                x = step(x, _uniform(x, max(0.0, 1 - amount), 1 + amount, generator))
        return hue(x, _uniform(x, -self.hue, self.hue, generator)) if self.hue else x


class RandomErasing(Augment):
    """With probability p a rectangle is set to `value`: its area a share of the picture in `scale`, its
    height : width log-uniform in `ratio`, cut to the picture where it is longer."""

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0):
        self.p, self.scale, self.ratio, self.value = p, scale, ratio, value

    def images(self, x, generator):
        H, W = x.shape[-2:]
        chosen = _uniform(x, 0, 1, generator) < self.p
        area = _uniform(x, *self.scale, generator) * (H * W)
        ratio = _uniform(x, *map(math.log, self.ratio), generator).exp()
        height = (area * ratio).sqrt().round().clamp(1, H) * chosen
        width = (area / ratio).sqrt().round().clamp(1, W)
        top, left = _place(x, H - height, generator), _place(x, W - width, generator)
        return erase(x, top, left, height, width, self.value)


class MixUp(Augment):
    """Each picture and its label mixed with another of the batch, weight from Beta(alpha, alpha). Labels (B,)
    become soft: probabilities (B, K), which `F.cross_entropy` takes; count hits with `y.argmax(1)`."""

    def __init__(self, classes, alpha=0.2):
        self.classes, self.alpha = classes, alpha

    def __call__(self, batch, generator=None):
        x, y = batch
        weight = _beta(x, self.alpha, generator)
        return mixup(x, soft_labels(y, self.classes), _partner(x, generator), weight)


class CutMix(Augment):
    """A rectangle of each picture taken from another of the batch; its share of the area is 1 - w with w from
    Beta(alpha, alpha), before it is cut at the border. Labels as in `MixUp`."""

    def __init__(self, classes, alpha=1.0):
        self.classes, self.alpha = classes, alpha

    def __call__(self, batch, generator=None):
        x, y = batch
        _check(x)
        H, W = x.shape[-2:]
        side = (1 - _beta(x, self.alpha, generator)).sqrt()
        corners = []
        for n in (H, W):
            middle, half = _place(x, n - 1, generator), (side * n / 2).long()
            corners.append(((middle - half).clamp(0, n), (middle + half).clamp(0, n)))
        (top, bottom), (left, right) = corners
        partner = _partner(x, generator)
        return cutmix(x, soft_labels(y, self.classes), partner, top, left, bottom - top, right - left)


class PerImage(Augment):
    """Any transform of `torchvision.transforms.v2` on one picture after the other, e.g.
    `PerImage(v2.TrivialAugmentWide())`: the long way round, for what has no batched form here. torchvision
    draws from the global CPU generator; here that follows from ours, and is left as it was."""

    def __init__(self, transform):
        self.transform = transform

    def images(self, x, generator):
        _check(x)
        seed = torch.randint(2**62, (), generator=generator, device=generator.device if generator else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(int(seed))
            return torch.stack([self.transform(picture) for picture in x])


@torch.no_grad()
def tta(model, x, views=(lambda x: x, lambda x: x.flip(-1))):
    """Test-time augmentation: class probabilities (B, K), the mean over several views of x (B, C, H, W).
    The default views are the picture and its mirror image, which make an answer that no mirror changes."""
    was_training = model.training
    model.eval()
    out = sum(model(view(x)).softmax(1) for view in views) / len(views)
    model.train(was_training)
    return out

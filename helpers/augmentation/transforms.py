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

from helpers.augmentation.functional import (
    affine,
    brightness,
    contrast,
    cutmix,
    erase,
    hue,
    mixup,
    saturation,
    soft_labels,
)
from helpers.course.augment import check_images, crop, hflip, pad, vflip
from helpers.course.errors import UserError

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
            raise UserError(f"hue must be a part of the colour circle, 0 to 0.5; got {hue}")
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
        check_images(x)
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
        check_images(x)
        seed = torch.randint(2**62, (), generator=generator, device=generator.device if generator else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(int(seed))
            return torch.stack([self.transform(image) for image in x])

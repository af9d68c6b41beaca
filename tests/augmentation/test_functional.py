"""Each function of the batch against torchvision on one image after the other, and against OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch
from random_images import each, generator, images
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from helpers.augmentation import functional
from helpers.course.errors import UserError


def test_erase_is_torchvision():
    x = images(30)
    height, width = (torch.randint(0, n + 1, (30,), generator=generator(n)) for n in (20, 28))
    top = (torch.rand(30, generator=generator(1)) * (21 - height)).long()
    left = (torch.rand(30, generator=generator(2)) * (29 - width)).long()
    for value in (0, 200):
        theirs = each(
            lambda p, i, j, h, w, value=value: V.erase(p, i, j, h, w, torch.tensor(value, dtype=p.dtype)),
            x,
            top,
            left,
            height,
            width,
        )
        assert torch.equal(functional.erase(x, top, left, height, width, value), theirs)


@pytest.mark.parametrize("c", [1, 3])
def test_colours_are_torchvision(c):
    """Brightness, contrast and saturation to the byte. Hue goes through HSV in another order of operations:
    at most one grey level, and that in less than one value of 10,000; 2e-6 for float pictures."""
    x = images(40, c, 33, 50)
    factor, turn = torch.rand(40, generator=generator(1)) * 2.5, torch.rand(40, generator=generator(2)) - 0.5
    factor[:2], turn[:3] = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5, -0.5])
    x[5] = x[5, :, :1, :1]  # a single colour
    x[6] = x[6, :1]  # grey
    for ours, theirs in (
        (functional.brightness, V.adjust_brightness),
        (functional.contrast, V.adjust_contrast),
        (functional.saturation, V.adjust_saturation),
    ):
        assert torch.equal(ours(x, factor), each(theirs, x, factor)), ours
        torch.testing.assert_close(ours(x / 255, factor), each(theirs, x / 255, factor), rtol=0, atol=2e-7)
    off = (functional.hue(x, turn).int() - each(V.adjust_hue, x, turn).int()).abs()
    assert off.max() <= 1 and (off > 0).double().mean() < 1e-4
    torch.testing.assert_close(functional.hue(x / 255, turn), each(V.adjust_hue, x / 255, turn), rtol=0, atol=2e-6)


def test_identities():
    x = images(40)
    one = torch.ones(40)
    for unchanged in (
        functional.brightness(x, one),
        functional.contrast(x, one),
        functional.saturation(x, one),
        functional.affine(x),
    ):
        assert torch.equal(unchanged, x)
    assert (functional.hue(x, 0 * one).int() - x.int()).abs().max() <= 1


def test_affine_is_torchvision():
    """At most one grey level, where a value lies within float rounding of a half."""
    x, u = images(60), torch.rand(5, 60, generator=generator(3))
    angle, scale, shear = 360 * u[0] - 180, 0.5 + u[1], 60 * u[2] - 30
    dx, dy = (20 * u[3:] - 10).round()

    def theirs(image, angle, dx, dy, scale, shear):
        return V.affine(image, angle, [int(dx), int(dy)], scale, [shear, 0.0], v2.InterpolationMode.BILINEAR)

    off = functional.affine(x, angle, dx, dy, scale, shear).int() - each(theirs, x, angle, dx, dy, scale, shear).int()
    assert off.abs().max() <= 1 and (off != 0).double().mean() < 1e-3


def test_affine_quarter_turns_are_exact():
    x = images(4, h=24, w=24)
    assert torch.equal(functional.affine(x, 180.0), x.rot90(2, (2, 3)))
    assert torch.equal(functional.affine(x, 90.0), x.rot90(-1, (2, 3)))  # clockwise
    assert torch.equal(functional.affine(x, dx=5.0)[..., 5:], x[..., :-5])  # to the right
    assert torch.equal(functional.affine(x, dy=5.0)[..., 5:, :], x[..., :-5, :])  # down


def test_affine_near_opencv():
    """cv2 warps with coordinates in 32nds of a pixel: smooth pictures, inside, within 1 level."""
    photo = cv2.GaussianBlur(images(1, h=64, w=64)[0].permute(1, 2, 0).numpy(), (0, 0), 6)
    x = torch.from_numpy(photo).permute(2, 0, 1)[None]
    turn = cv2.getRotationMatrix2D((31.5, 31.5), -20, 1.1)  # OpenCV counts the other way round
    theirs = cv2.warpAffine(photo, turn, (64, 64))
    ours = functional.affine(x, 20.0, scale=1.1)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - theirs)[16:-16, 16:-16].max() <= 1


def test_affine_fill_leaves_no_seam():
    """A plane of the fill colour stays one. torchvision counts the edge's weight twice and darkens it."""
    x = torch.full((2, 1, 16, 16), 100, dtype=torch.uint8)
    assert torch.equal(functional.affine(x, torch.tensor([30.0, 77.0]), fill=100), x)
    theirs = V.rotate(x, 30, v2.InterpolationMode.BILINEAR, fill=100)
    assert theirs.min() < 90, "torchvision mends its seam: drop this line and the remark"


# ---------------------------------------------------------------- mixing


def test_mixup_is_torchvision(monkeypatch):
    x, y, lam = images() / 255, torch.arange(8) % 3, 0.3
    theirs = v2.MixUp(num_classes=3)
    monkeypatch.setattr(theirs, "make_params", lambda inputs: {"lam": lam})
    partner = (torch.arange(8) - 1) % 8  # torchvision's pairs: the neighbour
    ours = functional.mixup(x, functional.soft_labels(y, 3), partner, torch.full((8,), lam))
    for a, b in zip(ours, theirs(x, y)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_cutmix_is_torchvision_byte_for_byte(monkeypatch):
    x, y = images(), torch.arange(8) % 3
    x1, y1, x2, y2 = 3, 2, 20, 9
    theirs = v2.CutMix(num_classes=3)
    box = {"box": (x1, y1, x2, y2), "lam_adjusted": 1 - (x2 - x1) * (y2 - y1) / (20 * 28)}
    monkeypatch.setattr(theirs, "make_params", lambda inputs: box)
    soft, partner = functional.soft_labels(y, 3), (torch.arange(8) - 1) % 8
    image, label = functional.cutmix(x, soft, partner, y1, x1, y2 - y1, x2 - x1)
    their_image, their_label = theirs(x, y)
    assert torch.equal(image, their_image)
    torch.testing.assert_close(label, their_label, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- errors and devices


def test_functions_on_the_meta_device():
    x, mask = torch.empty(4, 3, 9, 9, device="meta"), torch.empty(4, device="meta") > 0
    assert functional.hue(functional.contrast(x, 2.0), mask.float()).shape == x.shape


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: functional.contrast(images().float(), 1.2), "divide by 255"),
        (lambda: functional.contrast(torch.full((1, 3, 4, 4), math.nan), 1.2), "between nan and nan"),
        (lambda: functional.contrast(-(images() / 255), 1.2), "between -1 and"),
    ],
)
def test_bad_batches_end_in_one_clear_line(call, says):
    with pytest.raises(UserError) as error:
        call()
    assert says in str(error.value) and "\n" not in str(error.value)

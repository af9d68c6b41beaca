"""Augmentation against torchvision v2 and NumPy slicing, its randomness against statistics, folders."""

import csv
import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import optimize, stats
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from helpers.augmentation import folder as copies
from helpers.augmentation import functional, pitfalls
from helpers.augmentation import transforms as A
from helpers.course.batches import Batches, Tensors, loader
from helpers.course.errors import UserError
from helpers.course.training import fit

ROOT = Path(__file__).parents[2]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=8, c=3, h=20, w=28, seed=0):
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=generator(seed))


def each(function, x, *parameters):
    """torchvision, one picture after the other, with one number of each parameter."""
    columns = zip(x, *(p.tolist() for p in parameters))
    return torch.stack([function(*row) for row in columns])


# ---------------------------------------------------------------- exact: flip, crop, pad, erase


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 9),
    st.sampled_from([1, 3, 4]),
    st.integers(1, 17),
    st.integers(1, 17),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_flips_are_numpy_and_torchvision_byte_for_byte(n, c, h, w, floating, seed):
    x, mask = pictures(n, c, h, w, seed), torch.rand(n, generator=generator(seed)) < 0.5
    x = x / 255 if floating else x
    for ours, theirs, axis in ((functional.hflip, V.hflip, 2), (functional.vflip, V.vflip, 1)):
        out = ours(x, mask)
        assert out.dtype == x.dtype
        for b in range(n):
            assert np.array_equal(out[b], np.flip(x[b].numpy(), axis) if mask[b] else x[b])
            assert torch.equal(out[b], theirs(x[b]) if mask[b] else x[b])
        assert torch.equal(ours(out, mask), x)  # flip(flip(x)) = x


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.sampled_from([1, 3, 4]), st.integers(1, 17), st.integers(1, 17), st.data())
def test_crop_is_numpy_and_torchvision_byte_for_byte(n, c, h, w, data):
    x = pictures(n, c, h + 2, w, seed=n)[:, :, 1:-1]  # not contiguous, and an offset into its storage
    th, tw = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    top = torch.tensor([data.draw(st.integers(0, h - th)) for _ in range(n)], dtype=torch.int64)
    left = torch.tensor([data.draw(st.integers(0, w - tw)) for _ in range(n)], dtype=torch.int64)
    out = functional.crop(x, top, left, (th, tw))
    assert out.shape == (n, c, th, tw) and out.is_contiguous()
    for b, (t, s) in enumerate(zip(top.tolist(), left.tolist())):
        assert np.array_equal(out[b], x[b].numpy()[:, t : t + th, s : s + tw])
        assert torch.equal(out[b], V.crop(x[b], t, s, th, tw))


def test_crop_of_other_layouts_and_types():
    x, top, left = pictures(), torch.arange(8), torch.arange(8) * 2
    wanted = functional.crop(x, top, left, 12)
    assert torch.equal(functional.crop(x.to(memory_format=torch.channels_last), top, left, 12), wanted)
    assert torch.equal(functional.crop(x.double(), top, left, 12), wanted.double())
    assert torch.equal(functional.crop(x[3:], top[3:], left[3:], 12), wanted[3:])
    assert torch.equal(functional.crop(x, 2, 3, 12), x[:, :, 2:14, 3:15])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_pad_is_torchvision(mode):
    for x in (pictures(), pictures() / 255):
        assert torch.equal(functional.pad(x, 5, mode), V.pad(x, 5, padding_mode=mode))
    assert torch.equal(functional.pad(pictures(), 3, fill=77), V.pad(pictures(), 3, fill=77))


def test_erase_is_torchvision():
    x = pictures(30)
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


# ---------------------------------------------------------------- boxes and masks


def rectangles(n=40, size=24, seed=0):
    """Masks (n, 1, H, W) with one rectangle each, and its box (n, 1, 4) read off the mask by torchvision."""
    rng = np.random.default_rng(seed)
    masks = torch.zeros(n, 1, size, size + 6, dtype=torch.uint8)
    for mask in masks:
        (y1, y2), (x1, x2) = (sorted(rng.choice(k, 2, replace=False)) for k in (size, size + 6))
        mask[:, y1:y2, x1:x2] = 1
    return masks, box_of(masks)


def box_of(masks):
    """x1, y1, x2, y2 as edges (masks_to_boxes gives the last pixel); NaN where a mask is empty."""
    rows = [masks_to_boxes(m) if m.any() else torch.full((1, 4), math.nan) for m in masks]
    return torch.stack(rows) + torch.tensor([0.0, 0.0, 1.0, 1.0])


def test_boxes_move_as_pixel_masks_do():
    masks, boxes = rectangles()
    flip = torch.rand(40, generator=generator()) < 0.5
    assert torch.equal(functional.hflip_boxes(boxes, flip, masks.shape[-1]), box_of(functional.hflip(masks, flip)))
    top, left = torch.randint(0, 9, (2, 40), generator=generator(1))
    cropped, moved = functional.crop(masks, top, left, (16, 22)), functional.crop_boxes(boxes, top, left, (16, 22))
    gone = cropped.flatten(1).amax(1) == 0
    assert 0 < gone.sum() < 20
    assert torch.equal(moved[~gone], box_of(cropped[~gone]))
    x1, y1, x2, y2 = moved[gone].unbind(-1)
    assert torch.all((x2 - x1) * (y2 - y1) == 0)


def test_tv_tensors_take_boxes_and_masks_along():
    """The course's way for single pictures: v2 gives picture, mask and box the same draw."""
    masks, boxes = rectangles()
    transform = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop((16, 22)), v2.SanitizeBoundingBoxes()])
    torch.manual_seed(0)
    kept = 0
    for mask, box in zip(masks, boxes):
        sample = {
            "image": tv_tensors.Image(mask * 255),
            "mask": tv_tensors.Mask(mask),
            "labels": torch.tensor([0]),
            "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=mask.shape[-2:]),
        }
        out = transform(sample)
        if len(out["boxes"]):
            kept += 1
            assert torch.equal(out["image"], out["mask"] * 255)
            assert torch.equal(out["boxes"].float(), box_of(out["mask"][None])[0])
        else:
            assert not out["image"].any()
    assert 20 < kept < 40


# ---------------------------------------------------------------- resampled and recoloured


@pytest.mark.parametrize("c", [1, 3])
def test_colours_are_torchvision(c):
    """Brightness, contrast and saturation to the byte. Hue goes through HSV in another order of operations:
    at most one grey level, and that in less than one value of 10,000; 2e-6 for float pictures."""
    x = pictures(40, c, 33, 50)
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
    x = pictures(40)
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
    x, u = pictures(60), torch.rand(5, 60, generator=generator(3))
    angle, scale, shear = 360 * u[0] - 180, 0.5 + u[1], 60 * u[2] - 30
    dx, dy = (20 * u[3:] - 10).round()

    def theirs(picture, angle, dx, dy, scale, shear):
        return V.affine(picture, angle, [int(dx), int(dy)], scale, [shear, 0.0], v2.InterpolationMode.BILINEAR)

    off = functional.affine(x, angle, dx, dy, scale, shear).int() - each(theirs, x, angle, dx, dy, scale, shear).int()
    assert off.abs().max() <= 1 and (off != 0).double().mean() < 1e-3


def test_affine_quarter_turns_are_exact():
    x = pictures(4, h=24, w=24)
    assert torch.equal(functional.affine(x, 180.0), x.rot90(2, (2, 3)))
    assert torch.equal(functional.affine(x, 90.0), x.rot90(-1, (2, 3)))  # clockwise
    assert torch.equal(functional.affine(x, dx=5.0)[..., 5:], x[..., :-5])  # to the right
    assert torch.equal(functional.affine(x, dy=5.0)[..., 5:, :], x[..., :-5, :])  # down


def test_affine_near_opencv():
    """cv2 warps with coordinates in 32nds of a pixel: smooth pictures, inside, within 1 level."""
    photo = cv2.GaussianBlur(pictures(1, h=64, w=64)[0].permute(1, 2, 0).numpy(), (0, 0), 6)
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
    x, y, lam = pictures() / 255, torch.arange(8) % 3, 0.3
    theirs = v2.MixUp(num_classes=3)
    monkeypatch.setattr(theirs, "make_params", lambda inputs: {"lam": lam})
    partner = (torch.arange(8) - 1) % 8  # torchvision's pairs: the neighbour
    ours = functional.mixup(x, functional.soft_labels(y, 3), partner, torch.full((8,), lam))
    for a, b in zip(ours, theirs(x, y)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_cutmix_is_torchvision_byte_for_byte(monkeypatch):
    x, y = pictures(), torch.arange(8) % 3
    x1, y1, x2, y2 = 3, 2, 20, 9
    theirs = v2.CutMix(num_classes=3)
    box = {"box": (x1, y1, x2, y2), "lam_adjusted": 1 - (x2 - x1) * (y2 - y1) / (20 * 28)}
    monkeypatch.setattr(theirs, "make_params", lambda inputs: box)
    soft, partner = functional.soft_labels(y, 3), (torch.arange(8) - 1) % 8
    image, label = functional.cutmix(x, soft, partner, y1, x1, y2 - y1, x2 - x1)
    their_image, their_label = theirs(x, y)
    assert torch.equal(image, their_image)
    torch.testing.assert_close(label, their_label, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mix", [A.MixUp(5), A.CutMix(5)])
def test_soft_labels_follow_the_pixels(mix):
    """Picture i holds the value of its class alone: the label must be what the pixels say."""
    y = torch.arange(200) % 5
    x = (y * 50).to(torch.uint8).view(-1, 1, 1, 1).expand(200, 1, 16, 16)
    out, soft = mix((x, y), generator())
    assert out.dtype == torch.uint8 and soft.shape == (200, 5)
    torch.testing.assert_close(soft.sum(1), torch.ones(200))
    said = (soft * torch.arange(5) * 50).sum(1)
    assert (out.float().mean((1, 2, 3)) - said).abs().max() < 0.51
    assert 0.2 < (soft.max(1).values < 0.99).double().mean()  # it does mix


def test_mixup_weights_are_beta():
    y = torch.arange(4000)
    x = torch.zeros(4000, 1, 1, 1)
    _, soft = A.MixUp(4000, alpha=0.4)((x, y), generator())
    own = soft[y, y]
    partnered = own < 1  # but for the few who were paired with themselves
    assert stats.kstest(own[partnered].double().numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


# ---------------------------------------------------------------- every picture's own, independent draw


def drawn(transform, batches=400, b=32, size=9, seed=0):
    """What happened to each picture, read off the pixels: (batches, b, 3) as flip, top, left."""
    i = torch.arange(size)
    x = (i.view(-1, 1) * size + i).to(torch.uint8).expand(b, 1, size, size)  # each value names its place
    rows, g = [], generator(seed)
    for _ in range(batches):
        out = transform(x, g).int()
        flip = out[:, 0, 0, 1] < out[:, 0, 0, 0]
        corner = torch.where(flip, out[:, 0, 0, -1], out[:, 0, 0, 0])
        rows.append(torch.stack([flip.int(), corner // size, corner % size], -1))
    return torch.stack(rows).numpy()


@pytest.fixture(scope="module")
def draws():
    return drawn(A.Compose(A.RandomCrop(5), A.RandomFlip(0.5)))


def test_draws_are_uniform(draws):
    flips, tops, lefts = draws.reshape(-1, 3).T
    assert stats.binomtest(int(flips.sum()), len(flips), 0.5).pvalue > 1e-4
    for column in (tops, lefts):
        assert stats.chisquare(np.bincount(column, minlength=5)).pvalue > 1e-4


def test_draws_are_independent(draws):
    """Chi-square tests of independence: between the pictures of a batch, between one batch and the next, and
    between the parameters of one picture. 0.0001 in each of 30 tests: a sound generator fails 3 runs of 1,000
    seeds, and the seed is fixed."""

    def independent(a, b, states):
        table = np.bincount(a.ravel() * states + b.ravel(), minlength=states**2).reshape(states, states)
        table = table[table.sum(1) > 0][:, table.sum(0) > 0]
        assert stats.chi2_contingency(table).pvalue > 1e-4

    joint = draws[..., 0] * 25 + draws[..., 1] * 5 + draws[..., 2]  # 50 states a picture
    for lag in range(1, 9):
        independent(joint[:, :-lag], joint[:, lag:], 50)
        independent(joint[:-lag], joint[lag:], 50)
    for lag in (1, 16, 31):
        independent(draws[:, :-lag, 0], draws[:, lag:, 0], 2)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        independent(draws[..., a], draws[..., b], 5)
    independent(draws[:, ::2, 1], draws[:, 1::2, 2], 5)
    # and all pairs at once: the flips of two pictures agree as often as fair coins do
    coins = draws[..., 0] * 2 - 1  # (batches, b)
    r = np.corrcoef(coins.T)[np.triu_indices(32, 1)] * np.sqrt(len(coins))
    assert stats.kstest(r, "norm").pvalue > 1e-4


def test_one_draw_for_the_whole_batch_would_be_caught():
    """v2 on a batch flips all pictures or none: the fault that the tests above are for."""
    flips = drawn(lambda x, g: v2.RandomHorizontalFlip()(v2.RandomCrop(5)(x)), batches=20)[..., 0]
    assert set(flips.sum(1)) <= {0, 32}
    with pytest.raises(AssertionError):
        test_draws_are_independent(drawn(lambda x, g: v2.RandomCrop(5)(x)))


@pytest.mark.parametrize(
    "augment, low, high", [(A.RandomAffine(degrees=30), -30, 30), (A.ColorJitter(brightness=0.4), 0.6, 1.4)]
)
def test_ranges(augment, low, high, monkeypatch):
    seen = {}
    monkeypatch.setattr(A, "affine", lambda x, angle, *rest: seen.update(v=angle) or x)
    monkeypatch.setattr(A, "brightness", lambda x, factor: seen.update(v=factor) or x)
    if isinstance(augment, A.ColorJitter):  # it looked its functions up when the module was read
        x = torch.full((4000, 1, 1, 1), 0.5)
        monkeypatch.undo()
        seen["v"] = augment(x, generator()).flatten() / 0.5
    else:
        augment(torch.zeros(4000, 1, 2, 2), generator())
    values = seen["v"].double().numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_random_erasing_keeps_its_ranges():
    x = torch.full((3000, 1, 40, 40), 9, dtype=torch.uint8)
    gone = A.RandomErasing(p=0.6, scale=(0.05, 0.2), ratio=(0.5, 2.0))(x, generator())[:, 0] == 0
    area = gone.sum((1, 2))
    assert stats.binomtest(int((area > 0).sum()), 3000, 0.6).pvalue > 1e-3
    area = area[area > 0] / 1600
    assert area.min() > 0.04 and area.max() < 0.22
    where = gone.double().mean(0)
    torch.testing.assert_close(where, where.flip(0, 1), rtol=0.35, atol=0.02)  # no side is preferred
    height, width = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(height * width, gone.sum((1, 2)))  # one full rectangle, inside


def test_probability_zero_and_one():
    x = pictures()
    assert torch.equal(A.RandomFlip(0.0)(x, generator()), x)
    assert torch.equal(A.RandomFlip(1.0)(x, generator()), x.flip(-1))
    assert torch.equal(A.RandomFlip(1.0, vertical=True)(x, generator()), x.flip(-2))
    assert torch.equal(A.RandomErasing(p=0.0)(x, generator()), x)


EVERY = [
    A.RandomFlip(),
    A.RandomFlip(vertical=True),
    A.RandomCrop(16),
    A.RandomCrop(20, padding=4),
    A.RandomCrop((20, 28), padding=3, mode="reflect"),
    A.RandomAffine(20, 0.1, (0.9, 1.1), 5),
    A.ColorJitter(0.2, 0.2, 0.2, 0.1),
    A.RandomErasing(),
    A.MixUp(4),
    A.CutMix(4),
    A.Compose(A.RandomFlip(), A.RandomCrop(16), A.MixUp(4)),
    A.PerImage(v2.TrivialAugmentWide()),
]


@pytest.mark.parametrize("augment", EVERY, ids=lambda a: type(a).__name__)
def test_same_seed_same_batch_and_the_global_generator_is_left_alone(augment):
    batch = (pictures(16), torch.arange(16) % 4)
    before, state = batch[0].clone(), torch.get_rng_state()
    a, b, other = (augment(batch, generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0], other[0])
    assert torch.equal(batch[0], before)  # the input is never written to
    assert a[0].dtype == torch.uint8


@pytest.mark.parametrize("augment", EVERY[:-1], ids=lambda a: type(a).__name__)
def test_no_tensor_is_left_on_the_cpu(augment):
    """On the meta device a value cannot be read and a tensor on the CPU cannot join in."""
    for dtype in (torch.uint8, torch.float32):
        x = torch.empty(16, 3, 20, 28, device="meta", dtype=dtype)
        out, y = augment((x, torch.empty(16, device="meta", dtype=torch.int64)), generator())
        assert out.device.type == y.device.type == "meta" and out.dtype == x.dtype


def test_functions_on_the_meta_device_and_boxes():
    x, mask = torch.empty(4, 3, 9, 9, device="meta"), torch.empty(4, device="meta") > 0
    boxes = torch.empty(4, 2, 4, device="meta")
    assert (
        functional.hflip_boxes(functional.crop_boxes(boxes, mask.long(), mask.long(), 5), mask, 9).device.type == "meta"
    )
    assert functional.hue(functional.contrast(x, 2.0), mask.float()).shape == x.shape


def test_in_the_training_loop():
    """`fit` draws from (seed, epoch, step): no two batches alike, and the same again for the same seed."""
    x = torch.arange(81, dtype=torch.uint8).view(1, 1, 9, 9).expand(64, 1, 9, 9).contiguous()
    augment, runs = A.Compose(A.RandomCrop(5), A.RandomFlip()), []

    def step(model, batch):
        runs[-1].append(batch[0].clone())
        return {"loss": model(batch[0].flatten(1).float() / 255).square().sum()}

    for seed in (0, 0, 1):
        runs.append([])
        model = torch.nn.Linear(25, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        fit(
            model,
            Tensors(x, torch.zeros(64)),
            step=step,
            optimizer=optimizer,
            epochs=2,
            batch_size=16,
            augment=augment,
            seed=seed,
            device="cpu",
        )
    first, again, other = runs
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and not torch.equal(first[0], other[0])
    assert len(first) == 8
    assert all(not torch.equal(first[i], first[k]) for i in range(8) for k in range(i))


def test_per_image_is_torchvision():
    """The wrapper only seeds: the same v2 draws in a loop by hand give the same pictures."""
    x, transform = pictures(), v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)])
    ours = A.PerImage(transform)(x, generator(5))
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator(5))))
    assert torch.equal(ours, torch.stack([transform(p) for p in x]))


# ---------------------------------------------------------------- errors of the batch


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: A.RandomCrop(52)(pictures(), generator()), "of 52x52 does not fit in pictures of 20x28"),
        (lambda: functional.crop(pictures(), 1, 0, 20), "inside are top 0..0"),
        (lambda: functional.crop(pictures(), -torch.ones(8, dtype=torch.int64), 0, 10), "the crop leaves the picture"),
        (lambda: functional.hflip(pictures()[0], torch.ones(3)), "shape (B, C, H, W), not (3, 20, 28)"),
        (lambda: functional.hflip(pictures().int(), torch.ones(8)), "not torch.int32"),
        (lambda: A.ColorJitter(0.1)(pictures(c=4), generator()), "drop the alpha channel with x[:, :3]"),
        (lambda: A.ColorJitter(0.1)(pictures(c=2), generator()), "1 (grey) or 3 (RGB) channels, not 2"),
        (lambda: functional.contrast(pictures().float(), 1.2), "divide by 255"),
        (lambda: functional.contrast(torch.full((1, 3, 4, 4), math.nan), 1.2), "between nan and nan"),
        (lambda: functional.contrast(-(pictures() / 255), 1.2), "between -1 and"),
        (lambda: functional.pad(pictures(), 20, "reflect"), "reflecting 20 pixels"),
        (lambda: functional.pad(pictures(), 2, "circular"), "not one of constant, reflect"),
        (lambda: A.ColorJitter(hue=0.7), "0 to 0.5, not 0.7"),
        (lambda: pitfalls.arrows(7), "7 is odd"),
    ],
)
def test_bad_batches_end_in_one_clear_line(call, says):
    with pytest.raises(UserError) as error:
        call()
    assert says in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------- test-time augmentation


def test_tta_is_the_mean_of_the_views():
    torch.manual_seed(0)
    layers = torch.nn.Flatten(), torch.nn.Linear(3 * 20 * 28, 4), torch.nn.Dropout(0.5)
    model = torch.nn.Sequential(*layers).train()
    x = pictures() / 255
    p = A.tta(model, x)
    assert model.training
    model.eval()
    wanted = (F.softmax(model(x), 1) + F.softmax(model(x.flip(-1)), 1)) / 2
    torch.testing.assert_close(p, wanted)
    assert torch.equal(A.tta(model, x.flip(-1)), p)  # no mirror changes the answer
    torch.testing.assert_close(A.tta(model, x, views=[lambda x: x]), F.softmax(model(x), 1))
    assert not p.requires_grad


# ---------------------------------------------------------------- pitfalls: workers and arrows


def shifts(draw, init=None, epochs=2):
    data = pitfalls.ShiftedInWorker(pictures(32, w=1000, h=1, c=1), draw)
    loader = DataLoader(data, batch_size=8, num_workers=2, worker_init_fn=init, generator=generator())
    return [[batch[1].tolist() for batch in loader] for _ in range(epochs)]


@pytest.mark.parametrize("draw", ["own", "opencv"])
def test_workers_copy_a_generator_and_seed_worker_mends_it(draw):
    first, second = shifts(draw)
    assert first[0] == first[1] and first[2] == first[3]  # batches 0 and 1 come from two workers
    assert second == first  # and every epoch repeats the one before
    mended = shifts(draw, pitfalls.seed_worker)
    batches = [tuple(batch) for epoch in mended for batch in epoch]
    assert len(set(batches)) == 8
    assert shifts(draw, pitfalls.seed_worker) == mended  # and still a function of the seed


def test_numpys_global_generator_is_seeded_by_pytorch():
    """The bug as it is usually told is mended: PyTorch seeds `np.random` in every worker."""
    batches = [tuple(batch) for epoch in shifts("numpy") for batch in epoch]
    assert len(set(batches)) == 8


def test_seed_worker_gives_each_generator_its_own_stream():
    first, second = (e[0] for e in shifts("own", pitfalls.seed_worker))
    assert first != second


class Transformed(Dataset):
    """Item i is a number that a transform drew with a generator of its own: nothing on the data set itself."""

    class Draw:
        def __init__(self, rng):
            self.rng = rng

        def __call__(self):
            if isinstance(self.rng, torch.Generator):
                return int(torch.randint(10**6, (), generator=self.rng))
            return int(self.rng.integers(10**6))

    def __init__(self, *generators):
        self.transforms = [self.Draw(rng) for rng in generators]

    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.tensor([draw() for draw in self.transforms])


def epochs_of(data, workers=2, seed=0, epochs=2):
    """What the course's own loader gives in each epoch, a tuple of bytes for each batch."""
    batches = Batches(len(data), 8, shuffle=True, seed=seed)
    feed, rows = loader(data, batches, workers), []
    for batches.epoch in range(epochs):
        for batch in feed:
            drawn = batch[1] if isinstance(batch, (tuple, list)) else batch
            rows.append(drawn.numpy().tobytes())
    return rows


@pytest.mark.parametrize("draw", ["own", "opencv", "numpy", "transform", "torch transform", "subset"])
def test_the_courses_loader_gives_each_worker_its_own_numbers(draw):
    """In `batches.loader`, which `fit` uses, without anybody asking for it."""

    def data():
        if draw == "transform":
            return Transformed(np.random.default_rng(0), np.random.default_rng(0))
        if draw == "torch transform":
            return Transformed(generator())
        one = pitfalls.ShiftedInWorker(pictures(32, w=100_000, h=1, c=1), "own" if draw == "subset" else draw)
        return Subset(Subset(one, range(32)), range(32)) if draw == "subset" else one

    rows = epochs_of(data())
    assert len(set(rows)) == 8  # 2 epochs of 4 batches, from 2 workers: all different
    if draw == "transform":  # and two transforms of one worker are not twins either
        a, b = np.frombuffer(rows[0], np.int64).reshape(8, 2).T
        assert not np.array_equal(a, b)
    assert epochs_of(data()) == rows  # a function of the seed
    assert set(epochs_of(data(), seed=1)).isdisjoint(rows)


def test_arrows_have_an_exact_ceiling():
    x, y = pitfalls.arrows(400, seed=3)
    assert x.shape == (400, 1, 16, 16) and x.dtype == torch.uint8 and y.tolist() == [0, 1] * 200
    assert torch.equal(x[0::2], x[1::2].flip(-1))  # mirror images of each other, with the two labels
    assert len({p.numpy().tobytes() for p in x}) == 400
    assert torch.equal(pitfalls.arrows(400, seed=3)[0], x)
    assert not torch.equal(pitfalls.arrows(400, seed=4)[0], x)
    torch.manual_seed(0)
    for _ in range(5):  # any classifier: over both orientations of every picture exactly half is right
        layers = torch.nn.Linear(256, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2)
        f = torch.nn.Sequential(torch.nn.Flatten(), *layers)
        right = sum((f(v.float() / 255).argmax(1) == y).sum() for v in (x, x.flip(-1)))
        assert right == 400


def test_arrows_can_be_told_apart():
    """So the ceiling comes from the flips: without them a linear model reads the direction."""
    from sklearn.linear_model import LogisticRegression

    (x, y), (xt, yt) = pitfalls.arrows(2000, seed=0), pitfalls.arrows(400, seed=1)
    model = LogisticRegression(max_iter=300).fit(x.flatten(1).numpy() / 255, y)
    assert model.score(xt.flatten(1).numpy() / 255, yt) > 0.9


# ---------------------------------------------------------------- copies in a folder


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def tree(root, classes=("cat", "dog"), n=10, size=(24, 32), split=None):
    for k, label in enumerate(classes):
        for i in range(n):
            x = np.random.default_rng([k, i, len(split or "")]).integers(0, 256, (*size, 3), dtype=np.uint8)
            save(root / (split or "") / label / f"p{i}.png", x)
    return root


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def manifest(out):
    with open(out / "manifest.csv", newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_copies_and_back(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    report = copies.write_copies(source, out, copies=3, seed=1)
    assert report == {"sources": 20, "files": 68, "written": 68, "kept": 0, "train": 64, "val": 4}
    rows = manifest(out)
    assert {r["file"] for r in rows} == files(out).keys() - {"manifest.csv", "manifest.json"}
    # no source on both sides, and no copies of what validates
    sides = {s: {r["source"] for r in rows if r["split"] == s} for s in ("train", "val")}
    assert not sides["train"] & sides["val"] and len(sides["train"] | sides["val"]) == 20
    assert all(r["copy"] == "0" for r in rows if r["split"] == "val")
    # copy 0 is the picture, to the byte and in RGB, read by another library; the others are not
    for row in rows:
        with Image.open(out / row["file"]) as a, Image.open(source / row["source"]) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b)) == (row["copy"] == "0")
    # and torchvision's ImageFolder finds what load_folder does
    loaded, folder = copies.load_folder(out), ImageFolder(out / "train")
    assert loaded.classes == folder.classes and loaded.labels.tolist() == folder.targets
    assert loaded.images.shape == (64, 3, 24, 32) and loaded.images.dtype == torch.uint8
    for x, (picture, _) in zip(loaded.images, folder):
        assert np.array_equal(x.permute(1, 2, 0), np.asarray(picture))
    assert set(loaded.sources) == sides["train"]
    assert set(copies.load_folder(out, "val").sources) == sides["val"]


def test_an_existing_split_stays_as_it_is(tmp_path):
    source = tmp_path / "in"
    for split in ("train", "val", "test"):
        tree(source, n=3, split=split)
    out = tmp_path / "out"
    assert copies.write_copies(source, out, 2)["test"] == 6
    for row in manifest(out):
        assert row["source"].split("/")[0] == row["split"] == row["file"].split("/")[0]
        assert row["split"] == "train" or row["copy"] == "0"


def test_twin_files_stay_on_one_side(tmp_path):
    """The same bytes under several names are one picture."""
    source = tree(tmp_path / "in", n=6)
    for i in range(6):
        (source / f"cat/q{i}.png").write_bytes((source / f"cat/p{i}.png").read_bytes())
    for seed in range(10):
        out = tmp_path / f"out{seed}"
        copies.write_copies(source, out, 1, seed, valid=0.5)
        sides = {Path(r["source"]).name: r["split"] for r in manifest(out) if r["class"] == "cat"}
        assert all(sides[f"p{i}.png"] == sides[f"q{i}.png"] for i in range(6))


def test_splitting_after_copying_leaks_and_sources_show_it(tmp_path):
    """The lecture's fault: copies first, split afterwards."""
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    copies.write_copies(source, out, 4, valid=0)
    ids = np.array(copies.load_folder(out).sources)
    order = np.random.default_rng(0).permutation(len(ids))
    train, val = set(ids[order[:80]]), set(ids[order[80:]])
    assert len(train & val) / len(val) > 0.9


def test_a_copy_is_a_function_of_seed_source_and_number(tmp_path):
    source = tree(tmp_path / "in")
    a, b, more, other = (tmp_path / name for name in "abcd")
    copies.write_copies(source, a, 2, seed=5)
    copies.write_copies(source, b, 2, seed=5, progress=False)
    copies.write_copies(source, more, 3, seed=5)
    copies.write_copies(source, other, 2, seed=6)
    assert files(a) == files(b)
    extra = files(more)
    assert all(extra[f] == data for f, data in files(a).items() if f.endswith(".png"))
    same = [f for f, data in files(other).items() if f.endswith(".png") and files(a).get(f) == data]
    assert all(f.endswith(".0.png") for f in same)
    (source / "cat/p0.png").rename(source / "cat/renamed.png")  # neither the name nor the order counts
    out = tmp_path / "e"
    copies.write_copies(source, out, 2, seed=5, valid=0)
    plain = tmp_path / "f"
    copies.write_copies(tree(tmp_path / "again"), plain, 2, seed=5, valid=0)
    for k in (0, 1, 2):
        a, b = out / f"train/cat/renamed.png.{k}.png", plain / f"train/cat/p0.png.{k}.png"
        assert a.read_bytes() == b.read_bytes()


def test_operations(tmp_path):
    source = tree(tmp_path / "in")

    def pixels(name, **settings):
        out = tmp_path / name
        copies.write_copies(source, out, 4, valid=0, **settings)
        loaded = copies.load_folder(out)
        return loaded.images.view(20, 5, 3, *loaded.images.shape[2:]).numpy()

    x = pixels("h", operations=["hflip"])
    flipped = (x[:, 1:] == x[:, :1, ..., ::-1]).all((2, 3, 4))
    assert np.all(flipped | (x[:, 1:] == x[:, :1]).all((2, 3, 4)))
    assert stats.binomtest(int(flipped.sum()), 80).pvalue > 1e-3
    x = pixels("v", operations=["vflip"])
    assert 20 < (x[:, 1:] == x[:, :1, :, ::-1]).all((2, 3, 4)).sum() < 60
    whole, x = pixels("none", operations=[]), pixels("crop", operations=[], crop=20)
    assert x.shape[-2:] == (20, 20) and np.array_equal(x[:, 0], whole[:, 0, :, 2:22, 6:26])  # the middle
    windows = np.lib.stride_tricks.sliding_window_view(whole[:, 0], (20, 20), (2, 3))
    hits = (windows[:, None] == x[:, 1:, :, None, None]).all((2, 5, 6))  # (20, 4, 5, 13): its place
    assert np.all(hits.sum((2, 3)) == 1)
    assert len(set(map(tuple, np.argwhere(hits)[:, 2:]))) > 30  # many places
    x = pixels("colour", operations=["colour"]).astype(int)
    for old, new in ((a[0], b) for a in x for b in a[1:]):
        inside = (new > 0) & (new < 255)
        # a straight line, rounded: the best one for the worst point, by linear programming, is within 1/2
        v, one = np.unique(np.stack([old[inside], new[inside]]), axis=1), np.ones
        a = np.stack([v[0], one(len(v[0])), -one(len(v[0]))], 1)
        rows, limits = np.vstack([a, a * [-1, -1, 1]]), [*v[1], *-v[1]]
        gain, bias, distance = optimize.linprog([0, 0, 1], rows, limits, bounds=(None, None)).x
        assert distance <= 0.5 + 1e-6 and 0.79 < gain < 1.21 and abs(bias) < 26


def test_resume_after_the_disk_was_full(tmp_path, monkeypatch):
    source, out, whole = tree(tmp_path / "in"), tmp_path / "out", tmp_path / "whole"
    copies.write_copies(source, whole, 3)
    honest, names = copies._write, [row["file"] for row in manifest(whole)]
    beyond = {out / name for name in names[len(names) // 2 :]}  # several threads write: say which, not how many

    def full(path, data):
        if path in beyond:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        honest(path, data)

    monkeypatch.setattr(copies, "_write", full)
    with pytest.raises(UserError, match="No space left on device.*run it again to go on"):
        copies.write_copies(source, out, 3)
    monkeypatch.setattr(copies, "_write", honest)
    journal = out / "manifest.csv"
    journal.write_bytes(journal.read_bytes()[:-30])  # killed in the middle of a line
    report = copies.write_copies(source, out, 3)
    assert report["kept"] > 0 and report["written"] + report["kept"] == 68
    assert files(out) == files(whole)
    # nothing to do; a damaged file and a lost one are made anew; nothing else is touched
    assert copies.write_copies(source, out, 3)["written"] == 0
    victims = [out / r["file"] for r in manifest(out)[3:5]]
    victims[0].write_bytes(victims[0].read_bytes()[:50])
    victims[1].unlink()
    assert copies.write_copies(source, out, 3)["written"] == 2
    assert files(out) == files(whole)


def test_resume_after_kill(tmp_path):
    source, out, whole = tree(tmp_path / "in", n=30), tmp_path / "out", tmp_path / "whole"
    copies.write_copies(source, whole, 5)
    code = (
        "import sys, os, signal; from helpers.augmentation import folder as copies; honest = copies._write; n = []\n"
        "def write(path, data):\n"
        "    honest(path, data); n.append(path)\n"
        "    if len(n) == 120: os.kill(os.getpid(), signal.SIGKILL)\n"
        "copies._write = write; copies.write_copies(sys.argv[1], sys.argv[2], 5)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(source), str(out)], cwd=ROOT)
    assert run.returncode == -9
    report = copies.write_copies(source, out, 5)
    assert report["kept"] > 50 and report["written"] > 50
    assert {f: d for f, d in files(out).items() if not f.endswith(".part")} == files(whole)


def test_mended_source_is_taken_up(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    (source / "dog/p3.png").write_bytes((source / "dog/p3.png").read_bytes()[:300])
    with pytest.raises(UserError, match=r"dog/p3\.png"):
        copies.write_copies(source, out, 1)
    tree(source)
    copies.write_copies(source, out, 1)
    copies.write_copies(source, tmp_path / "clean", 1)
    assert files(out) == files(tmp_path / "clean")


def test_a_folder_in_use_is_left_alone_without_force(tmp_path):
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty.*--force"):
        copies.write_copies(source, out, 1)
    assert list(files(out)) == ["thesis.txt"]
    copies.write_copies(source, out, 2, force=True)
    before = files(out)
    with pytest.raises(UserError, match="other settings.*--force"):
        copies.write_copies(source, out, 1)
    assert files(out) == before
    copies.write_copies(source, out, 1, seed=9, force=True)
    assert not any(f.endswith(".2.png") for f in files(out))  # the earlier run's files are gone
    assert (out / "thesis.txt").read_text() == "mine"
    assert json.loads((out / "manifest.json").read_text())["seed"] == 9


def bad(name, tmp_path):
    """A folder with one fault, the arguments, and what the line must say."""
    source, out, more = tree(tmp_path / "in"), tmp_path / "out", {}
    if name == "missing":
        source, says = tmp_path / "nowhere", "nowhere is no folder"
    elif name == "no classes":
        source = tmp_path / "flat"
        source.mkdir()
        says = "flat holds no class folders"
    elif name == "empty class":
        (source / "empty").mkdir()
        says = "in/empty holds no picture"
    elif name == "unreadable":
        (source / "cat/p5.png").write_text("no picture at all")
        says = "p5.png is not a readable picture"
    elif name == "truncated":
        (source / "cat/p5.png").write_bytes((source / "cat/p5.png").read_bytes()[:400])
        says = "p5.png is not a readable picture"
    elif name == "small":
        more, says = {"crop": 25}, "is 24x32 pixels, smaller than the crop of 25"
    elif name == "one picture":
        save(source / "lonely/p.png", np.zeros((24, 32, 3), np.uint8))
        says = "class lonely has 1 different picture(s)"
    elif name == "two classes":
        (source / "dog/twin.png").write_bytes((source / "cat/p1.png").read_bytes())
        says = "one picture in two classes"
    elif name == "two splits":
        source = tree(tmp_path / "split", split="train")
        tree(source, split="val")
        (source / "val/cat/twin.png").write_bytes((source / "train/cat/p1.png").read_bytes())
        says = "one picture in two splits"
    elif name == "inside":
        out, says = source / "copies", "lies in"
    elif name == "itself":
        out, says = source, "lies in"
    elif name == "file":
        out.write_text("a file")
        says = "out is a file"
    elif name == "unwritable":
        (tmp_path / "file").write_text("a file")
        out, says = tmp_path / "file" / "out", "cannot be written (Not a directory)"
    elif name == "operation":
        more, says = {"operations": ["mixup"]}, "no operation mixup: choose from hflip"
    elif name == "copies":
        more, says = {"copies": -1}, "copies and seed are 0 or more"
    elif name == "jpeg":
        more, says = {"jpeg": 101}, "1 to 100, not 101"
    return source, out, more, says


FAULTS = [
    "missing",
    "no classes",
    "empty class",
    "unreadable",
    "truncated",
    "small",
    "one picture",
    "two classes",
    "two splits",
    "inside",
    "itself",
    "file",
    "unwritable",
    "operation",
    "copies",
    "jpeg",
]


@pytest.mark.parametrize("name", FAULTS)
def test_bad_folders_end_in_one_clear_line(name, tmp_path):
    source, out, more, says = bad(name, tmp_path)
    with pytest.raises(UserError) as error:
        copies.write_copies(source, out, **({"copies": 2} | more))
    assert says in str(error.value) and "\n" not in str(error.value)


def test_every_kind_of_picture_file(tmp_path):
    """Grey, palette, alpha, 16-bit, CMYK, other formats, names beyond ASCII: Pillow's RGB is the oracle."""
    source, rng = tmp_path / "in", np.random.default_rng(0)
    rgb = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    save(source / "가지/회색.png", rgb[..., 0])
    save(source / "가지/wide 16.png", rgb[..., 0].astype(np.uint16) * 257)
    save(source / "가지/alpha.png", np.dstack([rgb, np.full((12, 16), 255, np.uint8)]))
    for name in ("a.bmp", "b.tiff", "c.webp", "d.PNG", "e.ppm"):
        image = Image.fromarray(np.roll(rgb, len(name) + ord(name[0]), 1))
        image.save(source / "가지" / name, **({"lossless": True} if "webp" in name else {}))
    Image.fromarray(rgb).convert("CMYK").save(source / "가지/print.jpg")
    Image.fromarray(rgb).quantize(8).save(source / "가지/palette.gif")
    copies.write_copies(source, tmp_path / "out", 1, valid=0, operations=[])
    wanted = {"wide 16.png": np.repeat(rgb[..., :1], 3, 2)}
    for row in manifest(tmp_path / "out"):
        if row["copy"] == "0":
            name = Path(row["source"]).name
            out = np.asarray(Image.open(tmp_path / "out" / row["file"]))
            theirs = wanted.get(name, np.asarray(Image.open(source / row["source"]).convert("RGB")))
            assert np.array_equal(out, theirs), name
    loaded = copies.load_folder(tmp_path / "out")
    assert loaded.classes == ["가지"] and len(loaded.images) == 20


def test_bgr_is_not_taken_for_rgb(tmp_path):
    """A red picture must come out red, in each library's own order."""
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    save(tmp_path / "in/red/r.png", red)
    copies.write_copies(tmp_path / "in", tmp_path / "out", 1, valid=0, operations=["hflip"])
    assert copies.load_folder(tmp_path / "out").images[:, 0].eq(200).all()
    for path in (tmp_path / "out/train/red").iterdir():
        assert np.array_equal(np.asarray(Image.open(path)), red)
        assert np.array_equal(cv2.imread(str(path)), red[..., ::-1])


def test_jpeg_is_smaller_and_not_exact(tmp_path):
    source = tree(tmp_path / "in", n=3)
    copies.write_copies(source, tmp_path / "out", 0, valid=0, jpeg=90)
    copies.write_copies(source, tmp_path / "png", 0, valid=0)
    a, b = (copies.load_folder(tmp_path / n).images.int() for n in ("out", "png"))
    assert 0 < (a - b).abs().max()
    small, large = (sum(len(d) for d in files(tmp_path / n / "train").values()) for n in ("out", "png"))
    assert small < large


def test_load_folder_errors(tmp_path):
    tree(tmp_path / "in", n=2, split="train")
    with pytest.raises(UserError, match="no folder"):
        copies.load_folder(tmp_path / "in", "val")
    save(tmp_path / "in/train/dog/z.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(UserError, match=r"z\.png is 9x9 pixels, those before 24x32"):
        copies.load_folder(tmp_path / "in")

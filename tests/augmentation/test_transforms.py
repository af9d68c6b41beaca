"""Random augmentation of a batch: every image its own, independent draw, the same for the same seed everywhere."""

import math

import numpy as np
import pytest
import torch
from random_images import generator, images
from scipy import stats
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2

from helpers.augmentation import transforms
from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import fit


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


@pytest.mark.parametrize("mix", [transforms.MixUp(5), transforms.CutMix(5)])
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
    _, soft = transforms.MixUp(4000, alpha=0.4)((x, y), generator())
    own = soft[y, y]
    partnered = own < 1  # but for the few who were paired with themselves
    assert stats.kstest(own[partnered].double().numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


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
    return drawn(transforms.Compose(transforms.RandomCrop(5), transforms.RandomFlip(0.5)))


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
    "augment, low, high",
    [(transforms.RandomAffine(degrees=30), -30, 30), (transforms.ColorJitter(brightness=0.4), 0.6, 1.4)],
)
def test_ranges(augment, low, high, monkeypatch):
    seen = {}
    monkeypatch.setattr(transforms, "affine", lambda x, angle, *rest: seen.update(v=angle) or x)
    monkeypatch.setattr(transforms, "brightness", lambda x, factor: seen.update(v=factor) or x)
    if isinstance(augment, transforms.ColorJitter):  # it looked its functions up when the module was read
        x = torch.full((4000, 1, 1, 1), 0.5)
        monkeypatch.undo()
        seen["v"] = augment(x, generator()).flatten() / 0.5
    else:
        augment(torch.zeros(4000, 1, 2, 2), generator())
    values = seen["v"].double().numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_random_erasing_keeps_its_ranges():
    x = torch.full((3000, 1, 40, 40), 9, dtype=torch.uint8)
    gone = transforms.RandomErasing(p=0.6, scale=(0.05, 0.2), ratio=(0.5, 2.0))(x, generator())[:, 0] == 0
    area = gone.sum((1, 2))
    assert stats.binomtest(int((area > 0).sum()), 3000, 0.6).pvalue > 1e-3
    area = area[area > 0] / 1600
    assert area.min() > 0.04 and area.max() < 0.22
    where = gone.double().mean(0)
    torch.testing.assert_close(where, where.flip(0, 1), rtol=0.35, atol=0.02)  # no side is preferred
    height, width = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(height * width, gone.sum((1, 2)))  # one full rectangle, inside


def test_probability_zero_and_one():
    x = images()
    assert torch.equal(transforms.RandomFlip(0.0)(x, generator()), x)
    assert torch.equal(transforms.RandomFlip(1.0)(x, generator()), x.flip(-1))
    assert torch.equal(transforms.RandomFlip(1.0, vertical=True)(x, generator()), x.flip(-2))
    assert torch.equal(transforms.RandomErasing(p=0.0)(x, generator()), x)


EVERY = [
    transforms.RandomFlip(),
    transforms.RandomFlip(vertical=True),
    transforms.RandomCrop(16),
    transforms.RandomCrop(20, padding=4),
    transforms.RandomCrop((20, 28), padding=3, mode="reflect"),
    transforms.RandomAffine(20, 0.1, (0.9, 1.1), 5),
    transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
    transforms.RandomErasing(),
    transforms.MixUp(4),
    transforms.CutMix(4),
    transforms.Compose(transforms.RandomFlip(), transforms.RandomCrop(16), transforms.MixUp(4)),
    transforms.PerImage(v2.TrivialAugmentWide()),
]


@pytest.mark.parametrize("augment", EVERY, ids=lambda a: type(a).__name__)
def test_same_seed_same_batch_and_the_global_generator_is_left_alone(augment):
    batch = (images(16), torch.arange(16) % 4)
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


def test_in_the_training_loop():
    """`fit` draws from (seed, epoch, step): no two batches alike, and the same again for the same seed."""
    x = torch.arange(81, dtype=torch.uint8).view(1, 1, 9, 9).expand(64, 1, 9, 9).contiguous()
    augment, runs = transforms.Compose(transforms.RandomCrop(5), transforms.RandomFlip()), []

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
    x, transform = images(), v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)])
    ours = transforms.PerImage(transform)(x, generator(5))
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator(5))))
    assert torch.equal(ours, torch.stack([transform(p) for p in x]))


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: transforms.RandomCrop(52)(images(), generator()), "of 52x52 does not fit in pictures of 20x28"),
        (lambda: transforms.ColorJitter(0.1)(images(c=4), generator()), "drop the alpha channel with x[:, :3]"),
        (lambda: transforms.ColorJitter(0.1)(images(c=2), generator()), "1 (grey) or 3 (RGB) channels, not 2"),
        (lambda: transforms.ColorJitter(hue=0.7), "0 to 0.5; got 0.7"),
    ],
)
def test_bad_batches_end_in_one_clear_line(call, says):
    with pytest.raises(UserError) as error:
        call()
    assert says in str(error.value) and "\n" not in str(error.value)

"""Flips, padding and crops of a batch against NumPy's slices and torchvision, byte for byte."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_images import generator, images
from torchvision.transforms.v2 import functional as V

from helpers.course import augment
from helpers.course.errors import UserError


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
    x, mask = images(n, c, h, w, seed), torch.rand(n, generator=generator(seed)) < 0.5
    x = x / 255 if floating else x
    for ours, theirs, axis in ((augment.hflip, V.hflip, 2), (augment.vflip, V.vflip, 1)):
        out = ours(x, mask)
        assert out.dtype == x.dtype
        for b in range(n):
            assert np.array_equal(out[b], np.flip(x[b].numpy(), axis) if mask[b] else x[b])
            assert torch.equal(out[b], theirs(x[b]) if mask[b] else x[b])
        assert torch.equal(ours(out, mask), x)  # flip(flip(x)) = x


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.sampled_from([1, 3, 4]), st.integers(1, 17), st.integers(1, 17), st.data())
def test_crop_is_numpy_and_torchvision_byte_for_byte(n, c, h, w, data):
    x = images(n, c, h + 2, w, seed=n)[:, :, 1:-1]  # not contiguous, and an offset into its storage
    th, tw = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    top = torch.tensor([data.draw(st.integers(0, h - th)) for _ in range(n)], dtype=torch.int64)
    left = torch.tensor([data.draw(st.integers(0, w - tw)) for _ in range(n)], dtype=torch.int64)
    out = augment.crop(x, top, left, (th, tw))
    assert out.shape == (n, c, th, tw) and out.is_contiguous()
    for b, (t, s) in enumerate(zip(top.tolist(), left.tolist())):
        assert np.array_equal(out[b], x[b].numpy()[:, t : t + th, s : s + tw])
        assert torch.equal(out[b], V.crop(x[b], t, s, th, tw))


def test_crop_of_other_layouts_and_types():
    x, top, left = images(), torch.arange(8), torch.arange(8) * 2
    wanted = augment.crop(x, top, left, 12)
    assert torch.equal(augment.crop(x.to(memory_format=torch.channels_last), top, left, 12), wanted)
    assert torch.equal(augment.crop(x.double(), top, left, 12), wanted.double())
    assert torch.equal(augment.crop(x[3:], top[3:], left[3:], 12), wanted[3:])
    assert torch.equal(augment.crop(x, 2, 3, 12), x[:, :, 2:14, 3:15])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_pad_is_torchvision(mode):
    for x in (images(), images() / 255):
        assert torch.equal(augment.pad(x, 5, mode), V.pad(x, 5, padding_mode=mode))
    assert torch.equal(augment.pad(images(), 3, fill=77), V.pad(images(), 3, fill=77))


def test_flip_and_shift_moves_each_image_by_itself():
    g = torch.Generator().manual_seed(0)
    x = torch.arange(200 * 3 * 16 * 16, dtype=torch.float32).reshape(200, 3, 16, 16) % 251
    out, y = augment.flip_and_shift((x.byte(), torch.arange(200)), g)
    assert out.shape == x.shape and out.dtype == torch.uint8 and y.equal(torch.arange(200))
    found = set()
    wide = np.pad(x.byte().numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    flipped = np.pad(x.byte().numpy()[..., ::-1], ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    for i in range(200):  # by NumPy's slices: every image is one of the 2 x 5 x 5 possible ones
        places = [
            (m, t, left)
            for m, source in enumerate((wide, flipped))
            for t in range(5)
            for left in range(5)
            if np.array_equal(out[i], source[i, :, t : t + 16, left : left + 16])
        ]
        assert places
        found.add(places[0])
    assert len(found) > 45  # of 50: nearly all of them were drawn


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: augment.crop(images(), 1, 0, 20), "inside are top 0..0"),
        (lambda: augment.crop(images(), -torch.ones(8, dtype=torch.int64), 0, 10), "the crop leaves the picture"),
        (lambda: augment.hflip(images()[0], torch.ones(3)), "shape (B, C, H, W), not (3, 20, 28)"),
        (lambda: augment.hflip(images().int(), torch.ones(8)), "not torch.int32"),
        (lambda: augment.pad(images(), 20, "reflect"), "reflecting 20 pixels"),
        (lambda: augment.pad(images(), 2, "circular"), "must be constant or reflect; got 'circular'"),
    ],
)
def test_bad_batches_end_in_one_clear_line(call, says):
    with pytest.raises(UserError) as error:
        call()
    assert says in str(error.value) and "\n" not in str(error.value)

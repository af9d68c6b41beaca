"""Flips and crops of a batch, shared by lectures 06 and 07; those of single functions: tests/augmentation."""

import numpy as np
import torch

from helpers.course.augment import flip_and_shift


def test_flip_and_shift_moves_each_image_by_itself():
    g = torch.Generator().manual_seed(0)
    x = torch.arange(200 * 3 * 16 * 16, dtype=torch.float32).reshape(200, 3, 16, 16) % 251
    out, y = flip_and_shift((x.byte(), torch.arange(200)), g)
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

"""A drawing as a picture like MNIST's: where it lies, how large it is, and against another library's averaging."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.course.errors import UserError
from helpers.data import sets
from helpers.embedding.drawing import as_mnist, averaging


def box(picture):
    rows, columns = (picture.any(axis).nonzero().flatten() for axis in (1, 0))
    return (rows[-1] - rows[0] + 1).item(), (columns[-1] - columns[0] + 1).item()


def middle(picture):
    return [(picture.sum(axis) * torch.arange(28)).sum().item() / picture.sum().item() for axis in (1, 0)]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**31))
def test_the_longer_side_has_20_pixels_and_the_mass_lies_in_the_middle(h, w, seed):
    ink = np.zeros((90, 90))
    ink[5 : 5 + h, 8 : 8 + w] = np.random.default_rng(seed).uniform(0.5, 1, (h, w))  # so no side of it is empty
    picture = as_mnist(ink)
    assert picture.shape == (28, 28) and picture.dtype == torch.float64
    high, wide = box(picture)
    assert max(high, wide) == 20
    assert min(high, wide) == pytest.approx(max(1, 20 * min(h, w) / max(h, w)), abs=0.5)
    assert middle(picture) == pytest.approx([14, 14], abs=0.5 + 1e-9)  # it moves by whole pixels


@pytest.mark.parametrize("n, m", [(40, 20), (60, 20), (37, 20), (20, 20), (55, 3)])
def test_the_mean_under_a_pixel_is_that_of_opencv(n, m):
    x = np.random.default_rng(n).random((n, n))
    mine = averaging(n, m) @ torch.from_numpy(x) @ averaging(n, m).T
    assert mine.numpy() == pytest.approx(cv2.resize(x, (m, m), interpolation=cv2.INTER_AREA), abs=1e-6)  # its float32


def test_the_digits_of_mnist_stay_what_they_are():
    """MNIST was made so, hence its digits come back as they were; where a half pixel decides, one may be shifted."""
    images, _ = sets.mnist5k()
    chosen = torch.from_numpy(images[::25]).double() / 255
    same = [torch.allclose(as_mnist(x), x, atol=1e-9) for x in chosen]
    assert len(same) == 200 and np.mean(same) > 0.98


def test_a_drawing_of_twice_the_size_anywhere_is_the_same_picture():
    image = torch.from_numpy(sets.mnist5k()[0][3]).double() / 255
    large = torch.zeros(100, 100, dtype=torch.float64)
    large[40:96, 3:59] = image.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.allclose(as_mnist(large), as_mnist(image), atol=1e-12)


@pytest.mark.parametrize(
    "ink, words",
    [
        (torch.zeros(9, 9), "there is nothing on the drawing"),
        (torch.ones(9), "rows and columns"),
        (2 * torch.ones(3, 3), "from 0 to 1"),
        (torch.full((3, 3), torch.nan), "from 0 to 1"),
    ],
)
def test_what_is_no_drawing_is_refused(ink, words):
    with pytest.raises(UserError, match=words):
        as_mnist(ink)

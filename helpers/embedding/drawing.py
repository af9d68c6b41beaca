"""A drawing made into a picture as MNIST's are, so that a network that learned from those can read it."""

import math

import torch

from helpers.course.errors import UserError

BOX, SIDE = 20, 28  # pixels: the longer side of the digit, the side of the picture
TINY = 1e-6  # so that errors of rounding do not decide where a middle lies between two pixels, as that of a box does


def averaging(n, m):
    """The matrix (m, n) that makes m pixels of n: each new one is the mean of the old ones under it."""
    edges = torch.arange(m + 1, dtype=torch.float64) * n / m
    pixels = torch.arange(n, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return overlap.clamp(min=0) * m / n


def as_mnist(ink):
    """A drawing (H, W), ink 1 on paper 0 -> a picture (28, 28) in [0, 1], float64.

    LeCun et al. (1998), section III.A: the digit is scaled to fit in a box of 20 x 20 pixels with its proportions
    kept, which makes it grey at the edges, and put into 28 x 28 pixels with its centre of mass in the middle: in
    MNIST that is row 14 and column 14, counted from 0.
    """
    ink = torch.as_tensor(ink, dtype=torch.float64)
    if ink.ndim != 2 or not ((ink >= 0) & (ink <= 1)).all():
        raise UserError(f"a drawing has rows and columns of numbers from 0 to 1; got the shape {tuple(ink.shape)}")
    if not ink.any():
        raise UserError("there is nothing on the drawing: draw a digit")
    rows, columns = (ink.any(axis).nonzero().flatten() for axis in (1, 0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = max(digit.shape)
    h, w = (max(1, math.floor(n * BOX / longest + 0.5)) for n in digit.shape)
    digit = averaging(digit.shape[0], h) @ digit @ averaging(digit.shape[1], w).T  # (h, w)
    picture = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    places = []
    for axis, n in ((1, h), (0, w)):
        middle = (digit.sum(axis) * torch.arange(n)).sum() / digit.sum()
        places.append(min(max(math.floor(SIDE / 2 - middle + 0.5 + TINY), 0), SIDE - n))
    top, left = places
    picture[top : top + h, left : left + w] = digit
    return picture.clamp_(0, 1)  # a mean may be a rounding error above 1

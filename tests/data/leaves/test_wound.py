"""What lesions are painted with: depths, numbers and sizes in their ranges."""

import numpy as np
import pytest

from helpers.data.leaves.blades import Blade
from helpers.data.leaves.noise import Dice
from helpers.data.leaves.wound import Wound


def leaf(crop="Tomato", seed=1):
    """(blade, colour (3, S, S), height (S, S)) of a plain green leaf."""
    blade = Blade(crop, Dice(seed), 128, (2.1, 110.0, 60.0, 66.0, 0.9), 0.4, 0.3)
    colour = np.full((3, *blade.lamina.shape), 100, np.float32)
    return blade, colour, np.zeros_like(blade.lamina)


def test_depth_is_positive_inside_and_about_the_distance_to_the_border():
    """A disc of a tenth of the leaf's length in the middle of the midrib: its centre is a tenth deep."""
    blade, colour, height = leaf()
    wound = Wound(blade, colour, height, Dice(5))
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    centre = np.array([0.5, 0.0])
    disc = (centre + 0.1 * np.stack([np.cos(turn), np.sin(turn)], 1))[None]
    depth = wound.depth(disc, ragged=0)
    inside = blade.fill(disc).astype(bool)
    assert (depth[inside] > 0).all() and (depth[~inside] < 0).all()
    assert depth.max() == pytest.approx(0.1, abs=0.05)


def test_numbers_and_sizes_stay_in_their_ranges():
    wound = Wound(*leaf(), Dice(5))
    assert all(1 <= wound.number(3, 9) <= 9 for _ in range(50))
    sizes = wound.sizes(2000, 0.01, 0.05)
    assert 0.01 <= sizes.min() and sizes.max() <= 0.05
    assert np.median(sizes) < 0.03  # many young and small
    assert wound.places(50).shape == (50, 2) and wound.blobs(wound.places(7), np.full(7, 0.02)).shape == (7, 12, 2)

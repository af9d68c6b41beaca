"""The healthy leaf: its dice, its coordinates, its noise."""

import numpy as np
import pytest

from helpers.data.leaves.blades import Blade
from helpers.data.leaves.noise import Dice
from helpers.data.leaves.species import SPECIES


@pytest.mark.parametrize("crop", SPECIES)
def test_blade_coordinates_invert_its_projection(crop):
    blade = Blade(crop, Dice(1), 128, (2.1, 110.0, 60.0, 66.0, 0.9), 0.4, 0.3)
    points = blade.points(Dice(2), 200)
    x, y = np.rint(blade.px(points)).astype(int).T
    seen = (x >= 0) & (x < 128) & (y >= 0) & (y < 128)
    back = blade.px(np.stack([blade.u[y[seen], x[seen]], blade.v[y[seen], x[seen]]], 1))
    assert seen.sum() > 100 and np.abs(back - np.stack([x[seen], y[seen]], 1)).max() < 0.01
    assert (blade.lamina[y[seen], x[seen]] > 0).mean() > 0.95  # places for lesions
    assert (blade.edge > 0).sum() == pytest.approx((blade.lamina > 0.5).sum(), rel=0.02)

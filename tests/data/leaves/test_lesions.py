"""What a disease does to a leaf: every class has its painter, and no paint leaves the lamina."""

import numpy as np
import pytest

from helpers.data import leaves
from helpers.data.leaves.blades import Blade
from helpers.data.leaves.lesions import PAINTERS, paint
from helpers.data.leaves.noise import Dice

SICK = [(leaves.crop(name), leaves.disease(name)) for name in leaves.CLASSES if leaves.disease(name) != "healthy"]


def leaf(crop="Tomato", seed=1):
    """(blade, colour (3, S, S), height (S, S)) of a plain green leaf."""
    blade = Blade(crop, Dice(seed), 128, (2.1, 110.0, 60.0, 66.0, 0.9), 0.4, 0.3)
    colour = np.full((3, *blade.lamina.shape), 100, np.float32)
    return blade, colour, np.zeros_like(blade.lamina)


def test_every_painter_belongs_to_a_class():
    named = {key if isinstance(key, tuple) else ("", key) for key in PAINTERS}
    for crop, disease in named:
        assert any(d == disease and crop in ("", c) for c, d in SICK), disease


@pytest.mark.parametrize("crop, disease", SICK)
def test_a_disease_paints_inside_the_lamina_only(crop, disease):
    blade, colour, height = leaf(crop)
    sick = paint(blade, colour, height, crop, disease, Dice(5))
    changed = np.abs(colour - 100).max(0) + np.abs(height)
    assert changed.max() > 5 and not changed[blade.lamina == 0].any()
    assert sick.shape == blade.lamina.shape and 0 <= sick.min() and 0.05 < sick.max() <= 1
    other_colour, other_height = leaf(crop)[1:]
    again = paint(blade, other_colour, other_height, crop, disease, Dice(5))
    assert np.array_equal(again, sick) and np.array_equal(other_colour, colour)


def test_a_healthy_leaf_stays_as_it_is():
    blade, colour, height = leaf()
    sick = paint(blade, colour, height, "Tomato", "healthy", Dice(5))
    assert (colour == 100).all() and not height.any() and not sick.any()

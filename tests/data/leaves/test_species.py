"""The nine crops: every class of the set has its species, and no two look alike."""

from helpers.data.leaves.rendering import CLASSES, crop
from helpers.data.leaves.species import SPECIES


def test_every_class_has_a_species_and_every_species_a_class():
    assert {crop(name) for name in CLASSES} == set(SPECIES) and len(SPECIES) == 9


def test_no_two_species_are_the_same():
    """Outline, venation or surface: at least one of their numbers differs."""
    assert len({tuple(map(str, species)) for species in SPECIES.values()}) == len(SPECIES)

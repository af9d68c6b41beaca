"""How long one has to train before an augmentation is worth it: arms for `helpers.course.experiments`.

A budget is a training of its own, with its own learning rate schedule that ends at 0 with its last step; a shorter
budget is never read off a longer training. At each budget the arms differ in the augmentation alone: the same
pictures, network, number of steps and batch size. Each picks its learning rate from the same grid, on validation
pictures.
"""

from functools import lru_cache, partial

from helpers.augmentation.experiments import KINDS, accuracy, gap_augments, small_leaves, train
from helpers.course.choice import validated

ARMS = ("none", "flip + crop", "TrivialAugment")


@lru_cache(maxsize=2)
def leaf_sets(per_class, valid, test, seed):
    """(train, validation, test) leaves of `KINDS`, 32 x 32; no two share a picture."""
    return tuple(small_leaves(n, first + seed) for n, first in ((per_class, 0), (valid, 30_000), (test, 10_000)))


def _budget(name, rates, per_class, valid, test, steps, seed):
    """Accuracy on fresh leaves, on the training leaves and on validation leaves (also at each rate), and the rate."""
    few, held, fresh = leaf_sets(per_class, valid, test, seed)
    grid = {f"{rate:g}": rate for rate in rates}
    choice, values = validated(
        grid, lambda rate: train(few, len(KINDS), steps, gap_augments()[name], seed, lr=rate), held, {"test": fresh}
    )
    return values | {"train": accuracy(choice.model, few), "rate": grid[choice.name]}


def budgets(scale):
    """No augmentation, flip and crop, TrivialAugment; each from about 100 to 2400 steps, at 40 leaves of each kind.

    320 leaves in batches of 40 are 8 steps an epoch, so 96 and not 100: a budget is a whole number of epochs.
    """
    counts, rates, per_class, valid, test = {
        "tiny": ((2, 4), (4e-3,), 5, 2, 2),
        "small": ((96, 240, 600, 1200, 2400), (2e-3, 6e-3), 40, 40, 80),
        "full": ((96, 240, 600, 1200, 3000, 9600, 30000), (1e-3, 2e-3, 4e-3, 8e-3), 40, 100, 400),
    }[scale]
    return {
        f"{name}, {steps} steps": partial(_budget, name, rates, per_class, valid, test, steps)
        for steps in counts
        for name in ARMS
    }

"""What the head starts from, and what batch norm does meanwhile: a factorial for `helpers.course.experiments`.

Everything is trained, for the same number of epochs, on the same pictures in the same order. Three things vary:

    head        random   PyTorch's own start, uniform in +-1/sqrt(D)
                zero     weights and biases 0, so that no gradient enters the base at the first step
                probed   at its optimum on the features of the untouched base (LP-FT, Kumar et al., ICLR 2022)
    batch norm  live     normalises by the statistics of each batch, as `model.train()` does
                stored   by those that came with the pretrained weights
    rate        chosen for each arm from the same grid, on validation pictures

Two arms that differ in the head alone, or in batch norm alone, may be compared, each at the rate that suits it.
"""

from functools import lru_cache, partial

import torch

from helpers.course.choice import validated
from helpers.data import leaves
from helpers.transfer.experiments import _leaves, leaf_set
from helpers.transfer.model import Classifier
from helpers.transfer.train import train_classifier

HEADS = ("random", "zero", "probed")
STATISTICS = ("live", "stored")


class FirstGradient:
    """Notes the gradient that reaches the parameters of `module` at their first backward pass, while it trains."""

    def __init__(self, module):
        self.squares = {}
        self.hooks = [
            p.register_post_accumulate_grad_hook(partial(self._note, name)) for name, p in module.named_parameters()
        ]

    def _note(self, name, parameter):
        if name not in self.squares:
            self.squares[name] = parameter.grad.detach().double().square().sum()

    def norm(self):
        """The norm of the whole gradient, and the end of the watch."""
        for hook in self.hooks:
            hook.remove()
        if not self.squares:
            raise ValueError("no gradient has reached the module yet")
        return torch.stack(list(self.squares.values())).sum().sqrt().item()


def classifier(head, classes, seed):
    """A pretrained `Classifier` whose head starts "random", or at zero; "probed" is zero until it is probed."""
    torch.manual_seed(seed)
    model = Classifier(classes)
    if head == "random":
        model.head.reset_parameters()
    return model


@lru_cache(maxsize=2)
def sets(per_class, valid, test, seed):
    """(train, validation, lab test, field test) of one seed; no two share a picture."""
    train, lab, field = _leaves(per_class, seed, test)
    return train, leaf_set(valid, 30_000 + seed), lab, field


def _head(head, statistics, rates, epochs, per_class, valid, test, seed):
    """The arm at its best rate: accuracy on fresh leaves of both domains, on validation leaves (also at each rate),
    the rate, and the norm of the gradient that enters the base at the first step (the same for every rate)."""
    train_set, valid_set, lab, field = sets(per_class, valid, test, seed)
    norms = []

    def train(rate):
        model = classifier(head, len(leaves.CLASSES), seed)
        first = FirstGradient(model.base)
        train_classifier(
            model,
            train_set,
            strategy="none",
            epochs=epochs,
            lr=rate,
            lp_first=head == "probed",
            live_statistics=statistics == "live",
            seed=seed,
        )
        norms.append(first.norm())
        return model

    grid = {f"{rate:g}": rate for rate in rates}
    choice, values = validated(grid, train, valid_set, {"lab": lab, "field": field})
    return values | {"rate": grid[choice.name], "first gradient": norms[0]}


def heads(scale):
    """Every head with either batch norm, at 20 pictures a class."""
    rates, epochs, per_class, valid, test = {
        "tiny": ((3e-4,), 1, 1, 1, 1),
        "small": ((3e-4, 1e-3, 3e-3), 5, 20, 10, 15),
        "full": ((3e-5, 1e-4, 3e-4, 1e-3, 3e-3), 50, 20, 20, 60),
    }[scale]
    return {
        f"{head}, {statistics}": partial(_head, head, statistics, rates, epochs, per_class, valid, test)
        for head in HEADS
        for statistics in STATISTICS
    }

"""What every lecture stands on: the loop, its data loader and checkpoints, claims, figures, quizzes, commands.

Knows no lecture and no data set. Everybody may import it; it imports nobody.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "augment",
        "batches",
        "checkpoint",
        "claims",
        "classify",
        "commands",
        "devices",
        "draws",
        "errors",
        "evaluation",
        "experiments",
        "files",
        "front",
        "interrupts",
        "intervals",
        "lectures",
        "ledger",
        "panels",
        "plots",
        "progress",
        "quiz",
        "run",
        "scale",
        "training",
    ],
)

"""What every lecture stands on: the loop, its data loader and checkpoints, claims, figures, quizzes, commands.

Knows no lecture and no data set. Everybody may import it; it imports nobody.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "batches",
        "checkpoint",
        "claims",
        "commands",
        "devices",
        "errors",
        "experiments",
        "files",
        "front",
        "interrupts",
        "lectures",
        "ledger",
        "plots",
        "progress",
        "quiz",
        "scale",
        "training",
    ],
)

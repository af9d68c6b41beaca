"""Lecture 06, transfer learning: pretrained backbones, new heads, and what to freeze.

Notebook: notebooks/06_transfer_learning.ipynb. Start with `model` (backbone and classifier), then `train` (the
strategies); `costs` counts what a network costs; `experiments` holds the recorded runs, `cli` the command.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cli", "costs", "experiments", "model", "train"],
    submod_attrs={
        "model": ["Classifier", "backbone", "blocks", "freeze", "freeze_first", "freeze_statistics", "unfreeze"],
        "train": ["classify", "linear_probe", "probe", "train_classifier"],
        "costs": ["cost_table", "saved_bytes"],
    },
)

"""Lecture 06, transfer learning: pretrained backbones, new heads, and what to freeze.

Notebook: notebooks/06_transfer_learning.ipynb. `model` has the backbone, the classifier and what freezes its blocks;
`train` the strategies, from the best linear head to the whole network; `costs` counts what a network costs;
`experiments` has the pictures, `head`, `rule` and `photographs` the recorded runs, `figures` the drawings, `cli` the
command. Named here is what the notebook uses.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cli", "costs", "experiments", "figures", "head", "model", "photographs", "rule", "train"],
    submod_attrs={
        "model": ["Classifier", "backbone", "freeze", "freeze_statistics"],
        "train": ["linear_probe", "probe", "train_classifier"],
        "costs": ["cost_table", "saved_bytes"],
        "experiments": ["leaf_set", "plant_sets"],
        "rule": ["KINDS"],
    },
)

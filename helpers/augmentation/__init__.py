"""Lecture 07, part two: image augmentation, a batch at a time.

Notebook: notebooks/07_image_augmentation.ipynb. Start with `functional` (one change, a value a picture), then
`transforms` (random ones); `folder` writes augmented copies, `pitfalls` shows what goes wrong; `experiments` holds the
recorded runs, `cli` the command.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cli", "experiments", "folder", "functional", "pitfalls", "transforms"],
    submod_attrs={
        "functional": [
            "affine",
            "brightness",
            "contrast",
            "crop",
            "cutmix",
            "erase",
            "hflip",
            "hue",
            "mixup",
            "pad",
            "saturation",
            "vflip",
        ],
        "transforms": [
            "ColorJitter",
            "Compose",
            "CutMix",
            "MixUp",
            "PerImage",
            "RandomAffine",
            "RandomCrop",
            "RandomErasing",
            "RandomFlip",
        ],
    },
)

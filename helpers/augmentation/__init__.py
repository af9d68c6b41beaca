"""Lecture 07, part two: image augmentation, a batch at a time.

Notebook: notebooks/07_image_augmentation.ipynb. `functional` changes each image of a batch by a given value,
`transforms` draws the values; `sources` and `folder` split a folder of pictures and write augmented copies of it;
`pitfalls` shows what goes wrong; `experiments` holds the recorded runs, `cli` the command. Named here is what the
notebook uses, and the other functions and transforms of a batch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cli", "experiments", "figures", "folder", "functional", "pitfalls", "sources", "transforms"],
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
        "folder": ["load_folder", "write_copies"],
    },
)

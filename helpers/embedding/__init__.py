"""Lecture 07, part one: autoencoders, PCA and t-SNE: many numbers in few, and maps of them.

Notebook: notebooks/07_autoencoders_tsne.ipynb. `autoencoder` has the models, their loss and what to do with a trained
one, `train` their data and training; `tsne` is exact t-SNE, step by step; `scores` has PCA and judges codes and maps;
`places` puts new points on a finished map, `drawing` makes a drawing a picture like MNIST's, `panel` is what lets a
reader draw one; `shapes` has points whose truth is known; `experiments` and `curves` hold the recorded runs, `figures`
the drawings, `cli` the command. The notebook takes them as modules.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "autoencoder",
        "cli",
        "curves",
        "drawing",
        "experiments",
        "figures",
        "panel",
        "places",
        "scores",
        "shapes",
        "train",
        "tsne",
    ],
)

"""Lecture 07, part one: autoencoders, PCA and t-SNE: many numbers in few, and maps of them.

Notebook: notebooks/07_autoencoders_tsne.ipynb. Start with `autoencoder`, then `tsne`; `scores` judges maps and codes;
`experiments` holds the recorded runs, `cli` the command.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["autoencoder", "cli", "experiments", "scores", "tsne"]
)

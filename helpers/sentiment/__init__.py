"""Lecture 09, part two: is a text for or against?

Notebook: notebooks/09_sentiment.ipynb. Start with `text` (units), then `ngrams` (counting) and `readers` (networks);
`model` is the classifier that is stored, `train` its training; `experiments` holds the recorded runs, `figures` the
long figures, `cli` the command. The only lecture that imports another one: `recurrent`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cli", "experiments", "figures", "model", "ngrams", "readers", "text", "train"],
    submod_attrs={
        "figures": ["marked"],
        "model": ["Classifier"],
        "ngrams": ["naive_bayes"],
        "readers": ["Reader", "deletions"],
        "text": ["shuffled"],
        "train": ["accuracy_by_length", "evaluate", "train_classifier"],
    },
)

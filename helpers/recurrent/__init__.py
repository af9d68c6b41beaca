"""Lecture 09, part one: recurrent networks, from one cell to translation.

Notebook: notebooks/09_rnn_lstm.ipynb. Start with `cells`, then `memory` (what is remembered, for how long); `encoder`
reads token ids, `translate` and `forecast` use it; `experiments` holds the recorded runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cells", "encoder", "experiments", "figures", "forecast", "memory", "numerals", "translate"],
    submod_attrs={
        "forecast": ["forecast_errors", "forecast_prices", "walk_forward"],
        "translate": ["train_translator"],
    },
)

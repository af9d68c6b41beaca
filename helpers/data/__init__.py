"""The course's data: what there is, how it comes here, and how it becomes arrays, pictures, boxes and texts.

    path = data.fetch("hymenoptera")       # the folder, downloaded and unpacked on first use
    images, labels = data.mnist5k()        # the loaders fetch by themselves

Knows no lecture; imports `course` alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "catalogue",
        "download",
        "geometry",
        "images",
        "scenes",
        "sets",
        "store",
        "texts",
        "voc",
        "vocabulary",
        "leaves",
    ],
    submod_attrs={
        "store": [
            "cache",
            "clear_errors",
            "fetch",
            "fetch_all",
            "find",
            "installed",
            "package_file",
            "problems",
            "rows",
            "state",
            "used",
            "verify",
        ],
        "sets": [
            "digits",
            "fashion_mnist",
            "lite0_state_dict",
            "mnist",
            "mnist5k",
            "photographs",
            "split_digits",
            "stocks",
        ],
        "texts": [
            "Table",
            "film_reviews",
            "imdb",
            "load_tsv",
            "nsmc",
            "published",
            "reviews",
            "rt_polarity",
            "split_groups",
            "text_lines",
        ],
    },
)

"""What each lecture tells about itself, in a `lecture.py` of its package: plain data, read without PyTorch.

The front page, the README, the command `experiment` and the page of results gather from here, so that nobody keeps
a list of lectures: a package of `helpers` with a `lecture.py` is one.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """One notebook of a lecture, as the front page shows it; the title is the notebook's own."""

    question: str
    korean: str  # what it is about, in Korean
    surprise: str  # how the claim begins that surprises most; it must be in the notebook


@dataclass(frozen=True)
class Experiment:
    """A recorded experiment: a function of the package that gives the arms, and the question that they answer."""

    function: str  # "module:function", the module inside the lecture's package
    question: str
    real: bool = False  # on data that the course does not bring along


@dataclass(frozen=True)
class Lecture:
    """What a `lecture.py` names LECTURE: its notebooks by their file names, without the ending, and what it records."""

    pages: Mapping[str, Page]
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    measures: Mapping[str, str] = field(default_factory=dict)  # what the short names in its records stand for


@cache
def lectures() -> dict[str, Lecture]:
    """{package: lecture}, in the order of the notebooks' names."""
    import helpers

    found = {}
    for module in pkgutil.iter_modules(helpers.__path__):
        if any(Path(folder, module.name, "lecture.py").is_file() for folder in helpers.__path__):
            found[module.name] = importlib.import_module(f"helpers.{module.name}.lecture").LECTURE
    return dict(sorted(found.items(), key=lambda item: min(item[1].pages)))


def appendix(notebook: str) -> bool:
    """Whether a notebook, named without its ending, is an appendix: checks and records that a lecture rests on, for
    readers who want to see them. `appendix_06_transfer_learning` belongs to `06_transfer_learning`."""
    return notebook.startswith("appendix_")


def page(notebook: str) -> Page:
    """What the lecture of a notebook, named without its ending, says of it; empty where no package names it."""
    pages = [lecture.pages[notebook] for lecture in lectures().values() if notebook in lecture.pages]
    return pages[0] if pages else Page("", "", "")

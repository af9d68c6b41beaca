"""Run every cell of a notebook at COURSE_SCALE=full with small stand-ins: python tests/full_scale.py NOTEBOOK

What would take a GPU is called with the arguments of full scale and does the first bit of it: `fit` trains one epoch on
32 samples, a `SceneSet` renders 40 scenes, a detector is the one whose weights are in the repository; what would be
downloaded is random (weights) or a part of what is here (MNIST). The models train on a pretended device, so a cell that
would mix a GPU's tensors with the CPU's fails here, too. A claim is computed and not judged: a network that has
learnt nothing has nothing to claim. Exit status 1 where a cell raises.
"""

import importlib
import inspect
import os
import pkgutil
import sys
from pathlib import Path

import nbformat
from pretended_device import engine_on_it, pretended

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


class Few:
    """The first n samples of a data set."""

    def __init__(self, data, n=32):
        self.data, self.n = data, min(n, len(data))

    def __len__(self):
        return self.n

    def __getattr__(self, name):
        return getattr(self.data, name)


def stand_in(module, name, new):
    """Put `new(real)` in the place of a function or class of the course, wherever it was imported to."""
    real = getattr(module, name)
    for other in [m for n, m in sys.modules.items() if n.startswith("helpers.")]:
        if getattr(other, name, None) is real:
            setattr(other, name, new(real))


def told(name, arguments):
    print("asked for", name, {k: v for k, v in arguments.items() if isinstance(v, (int, float, str))})


def short_fit(real):
    def fit(*arguments, **settings):
        asked = inspect.signature(real).bind(*arguments, **settings)
        told("fit", asked.arguments | asked.arguments.get("options", {}))
        given = dict(asked.arguments) | {"epochs": 1}
        given |= {name: Few(given[name]) for name in ("train", "valid") if given.get(name) is not None}
        for name in ("scheduler", "schedule_by"):               # they count the epochs that were asked for
            given.pop(name, None)
        model = given.pop("model")
        return real(model, given.pop("train"), given.pop("valid", None), **given)
    return fit


def few_scenes(real):
    class SceneSet(real):
        def __init__(self, n, *arguments, **settings):
            told("SceneSet", {"n": n})
            super().__init__(min(n, 40), *arguments, **settings)
    return SceneSet


def few_digits(real):
    def mnist(split="train"):
        told("mnist", {"split": split})
        from helpers.data import mnist5k
        images, labels = mnist5k()
        part = slice(0, None, 5) if split == "test" else slice(1, None, 2)
        return images[part], labels[part]
    return mnist


def trained(real):
    def train_detector(*arguments, **settings):
        from helpers.yolo_train import load
        model, result = real(*arguments, **settings)
        return load(ROOT / "checkpoints" / "yolo-scenes" / "model.safetensors"), result
    return train_detector


def unjudged(real):
    def claim(sentence, value, **settings):
        inspect.signature(real).bind(sentence, value, **settings)
    return claim


def main(path):
    import torchvision

    import helpers

    for module in pkgutil.iter_modules(helpers.__path__):
        if not module.name.startswith("__"):
            importlib.import_module(f"helpers.{module.name}")
    from helpers import claims, data, training, transfer_study, yolo_train

    stand_in(training, "engine", engine_on_it)
    stand_in(training, "fit", short_fit)
    stand_in(yolo_train, "SceneSet", few_scenes)
    stand_in(yolo_train, "train_detector", trained)
    stand_in(claims, "claim", unjudged)
    stand_in(data, "mnist", few_digits)
    stand_in(transfer_study, "leaf_set", lambda real: lambda per_class, *more, **settings: real(2, *more, **settings))
    resnet = torchvision.models.resnet50

    def untrained(weights=None, **settings):
        if weights:
            told("resnet50", {"weights": weights})
        return resnet(**settings)

    torchvision.models.resnet50 = untrained
    notebook = nbformat.read(path, 4)
    os.chdir(ROOT / "notebooks")
    from IPython.display import display

    names = {"__name__": "__main__", "display": display}
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or cell.source.lstrip().startswith("%"):
            continue
        try:
            exec(compile(cell.source, f"cell {i}", "exec"), names)
        except Exception:
            if "raises-exception" not in cell.metadata.get("tags", []):
                raise


if __name__ == "__main__":
    with pretended():
        main(sys.argv[1])

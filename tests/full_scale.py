"""Run every cell of a notebook at COURSE_SCALE=full with small stand-ins: python tests/full_scale.py NOTEBOOK

What would take a GPU is called with the arguments of full scale and does the first bit of it: `fit` trains one epoch on
32 samples, a `SceneSet` renders 40 scenes, a detector is the one whose weights are in the repository; what would be
downloaded is random (weights), a part of what is here (MNIST), or a small folder that is laid out like the real one.
The models train on a pretended device, so a cell that would mix a GPU's tensors with the CPU's fails here, too. Claims
are made and not judged, as always at full scale. Exit status 1 where a cell raises.
"""

import importlib
import inspect
import os
import pkgutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image
from pretended_device import engine_on_it, pretended
from voc_folder import write_voc

ROOT = Path(__file__).resolve().parents[1]
ROOM = tempfile.TemporaryDirectory()
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
        for name in ("scheduler", "schedule_by"):  # they count the epochs that were asked for
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
        from helpers.data.sets import mnist5k

        images, labels = mnist5k()
        part = slice(0, None, 10) if split == "test" else slice(1, None, 2)
        return images[part], labels[part]

    return mnist


def laid_out(real, leaves):
    """Folders like those that `fetch` would unpack, with a few made-up pictures and texts in them."""
    makers = {
        "plantvillage": partial(leaf_folders, many=leaves),
        "imdb": review_files,
        "nsmc": review_table,
        "bccd": voc_layout,
        "voc2007": voc_layout,
    }

    def fetch(name, progress=True):
        if name not in makers:
            return real(name, progress)
        told("fetch", {"name": name})
        return makers[name](Path(tempfile.mkdtemp(dir=ROOM.name)))

    return fetch


def other_edition(name):
    """A class folder's name in PlantVillage's edition on Mendeley Data, as tensorflow-datasets lists it."""
    return name.replace("_(including_sour)", "").replace("_(maize)", "").removesuffix("_")


def leaf_folders(place, many=15):
    """PlantVillage: a folder a class, `many` pictures of lecture 07's kinds and 15 of the others; crops are spelled as
    in the edition on Mendeley Data, and there are more classes than the 33."""
    from helpers.augmentation.experiments import KINDS
    from helpers.data.leaves.render import CLASSES

    random = np.random.default_rng(0)
    for k, name in enumerate([*CLASSES, "Blueberry___healthy", "Background_without_leaves"]):
        folder = place / other_edition(name)
        folder.mkdir()
        for i in range(many if name in KINDS else 15):
            picture = random.integers(0, 90, (48, 48, 3)) + [k * 4, 120 - 3 * k, 60]
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"image ({i}).JPG")
    return place


def review_files(place):
    """IMDb: train and test, pos and neg, a file a review; each is some sentences of ours, with a line break."""
    from helpers.data.texts import reviews

    table = reviews()
    for split, start in (("train", 0), ("test", 2000)):
        for kind, label in (("pos", 1), ("neg", 0)):
            folder, texts = place / split / kind, table[table["label"] == label]["text"].tolist()[start:]
            folder.mkdir(parents=True)
            for i, n in enumerate(range(3, 43)):
                text = "<br /><br />".join(texts[40 * i : 40 * i + n])
                (folder / f"{i}_{9 * label + 1}.txt").write_text(text, encoding="utf-8")
    return place


def review_table(place):
    """NSMC: train and test, a line a review."""
    for split, n in (("train", 60), ("test", 20)):
        lines = [f"{i}\t{['별로 재미없다', '정말 재미있다'][i % 2]} {i % 7}\t{i % 2}" for i in range(n)]
        (place / f"ratings_{split}.txt").write_text("\n".join(["id\tdocument\tlabel", *lines]), encoding="utf-8")
    return place


def voc_layout(place):
    """Pictures with boxes in Pascal VOC's layout: scenes."""
    from helpers.data import scenes

    for split in ("train", "val", "test"):
        images, corners, labels = scenes.dataset(6, 0, {"val": "valid"}.get(split, split), 96)
        write_voc(place, images, corners, [[str(k) for k in ks] for ks in labels], split, split)
    return place


def trained(real):
    def train_detector(*arguments, **settings):
        from helpers.yolo.train import load

        model, result = real(*arguments, **settings)
        return load(ROOT / "checkpoints" / "yolo-scenes" / "model.safetensors"), result

    return train_detector


def finite(real):
    """A network that has learnt nothing may have nothing to claim, such as the mean of no hit at all."""
    from helpers.course import claims

    def claim(sentence, value, **settings):
        inspect.signature(real).bind(sentence, value, **settings)
        if isinstance(value, claims.Interval) or np.isfinite(np.asarray(value, float)).all():
            real(sentence, value, **settings)

    return claim


def main(path):
    import torchvision

    import helpers

    for module in pkgutil.iter_modules(helpers.__path__):
        if not module.name.startswith("__"):
            importlib.import_module(f"helpers.{module.name}")
    from helpers.course import claims, training
    from helpers.data import sets as data
    from helpers.transfer import experiments as transfer_study
    from helpers.yolo import scene_set
    from helpers.yolo import train as yolo_train

    stand_in(training, "engine", engine_on_it)
    stand_in(training, "fit", short_fit)
    stand_in(scene_set, "SceneSet", few_scenes)
    stand_in(yolo_train, "train_detector", trained)
    stand_in(data, "mnist", few_digits)
    stand_in(data, "fetch", partial(laid_out, leaves=120 if "augmentation" in Path(path).name else 15))
    stand_in(claims, "claim", finite)
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

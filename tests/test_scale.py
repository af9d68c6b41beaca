"""COURSE_SCALE: every notebook runs at scale tiny, and what only full scale loads becomes the right data.

Each notebook is run whole, small, by tests/tiny_run.py: all cells, from a fresh IPython, with training on a pretended
device. How the full data become training and test sets is checked on folders that are laid out like the real ones
(tests/full_scale.py). Each experiment has its arms at all three scales.
"""

import sys
from pathlib import Path

import full_scale
import nbformat
import numpy as np
import pytest
import torch
from agreeing_draws import WHY
from tiny_run import tiny_runs

from helpers.augmentation import experiments as augmentation_study
from helpers.course import experiments
from helpers.course.errors import UserError
from helpers.data import leaves, scenes, store, texts
from helpers.transfer import experiments as transfer_study
from helpers.yolo import experiments as yolo_study

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def tiny_run():
    with tiny_runs() as runs:
        yield runs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_tiny(path, tiny_run):
    run = tiny_run(path)
    assert run.returncode == 0, run.stderr[-3000:]
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert run.stdout.splitlines()[-1] == f"ran {len(code)} cells"


WIDGET = "from ipywidgets import interact\ninteract(lambda x: {}, x=3)"
SENT = (
    "import torch\nfrom helpers.course import devices\n"
    "x = torch.ones(2).to(devices.engine().device)\nx + torch.ones(2){}"
)
FAULTS = [  # a cell, the same with a fault, what the fault is called
    ("x = 1", "x = 1 / 0", "ZeroDivisionError"),
    ("x = [1]", "x = [1", "SyntaxError"),
    (SENT.format(".to(x.device)"), SENT.format(""), "RuntimeError"),
    (WIDGET.format("1 / x"), WIDGET.format("x.nothing"), "AttributeError"),
]


def test_a_fault_in_a_cell_is_noticed(tmp_path, tiny_run):
    def ran(*cells):
        new = [
            nbformat.v4.new_code_cell(cell, metadata={"tags": ["raises-exception"] * raises}) for cell, raises in cells
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=new), tmp_path / "x.ipynb")
        return tiny_run(tmp_path / "x.ipynb")

    run = ran(*[(cell, raises) for good, bad, _ in FAULTS for cell, raises in ((good, False), (bad, True))])
    assert run.returncode == 0, run.stderr[-3000:]
    assert all(name in run.stderr for _, _, name in FAULTS)
    run = ran(("x = 1", False), ("x / 0", False))
    assert run.returncode == 1 and "x.ipynb, cell 1 raised:\nx / 0" in run.stderr


def test_a_draw_that_does_not_agree_is_refused(tmp_path, tiny_run):
    def ran(code, *tags):
        good = "import torch\nfrom helpers.course.draws import dropout\ndropout(torch.ones(3), 0.5, True)"
        cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(good)]
        cells += [nbformat.v4.new_code_cell(code, metadata={"tags": [*tags]})]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "x.ipynb")
        return tiny_run(tmp_path / "x.ipynb")

    line = f"aten::bernoulli_ {WHY}"
    planted = "import torch\ntorch.nn.functional.dropout(torch.ones(3), 0.5)"
    plain = ran(planted)
    assert plain.returncode == 1 and line in plain.stderr and "x.ipynb, cell 2 raised" in plain.stderr
    hidden = ran(planted, "raises-exception")  # where an error is expected, this one still counts
    assert hidden.returncode == 1 and hidden.stderr.endswith(f"x.ipynb: {line}\n")


@pytest.mark.parametrize("name", experiments.experiments())
def test_an_experiment_can_be_asked_for_at_each_scale(name):
    tiny, small, full = (experiments.arms(name, size) for size in ("tiny", "small", "full"))
    assert tiny and all(callable(arm) for arm in [*tiny.values(), *small.values(), *full.values()])
    assert len(tiny) <= len(small) <= len(full)


# ---------------------------------------------------------------- what full data is


@pytest.fixture
def laid_out(monkeypatch, tmp_path):
    """`fetch` gives folders like the real ones, made for this test."""
    for name, make in (
        ("plantvillage", full_scale.leaf_folders),
        ("imdb", full_scale.review_files),
        ("nsmc", full_scale.review_table),
        ("voc2007", full_scale.voc_layout),
    ):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    real = store.fetch
    for module in [m for n, m in sys.modules.items() if n.startswith("helpers.") and vars(m).get("fetch") is real]:
        monkeypatch.setattr(module, "fetch", lambda name: tmp_path / name)
    augmentation_study.photographed.cache_clear()
    yield tmp_path
    augmentation_study.photographed.cache_clear()


def test_plantvillage_becomes_33_classes_with_a_fifth_held_out(laid_out):
    train, test = transfer_study.plant_sets()
    (x, y), (u, v) = train.tensors, test.tensors
    assert x.shape == (33 * 12, 3, 64, 64) and u.shape == (33 * 3, 3, 64, 64) and x.dtype == torch.uint8
    assert torch.bincount(y).tolist() == [12] * 33 and torch.bincount(v).tolist() == [3] * 33
    assert not {p.numpy().tobytes() for p in x} & {p.numpy().tobytes() for p in u}
    assert len(set(y[:33].tolist())) > 15  # in random order, as batches need them
    # the made-up pictures of class k are 4 k redder than those of class 0: labels and pictures belong together
    names = [*leaves.CLASSES]
    red = x[:, 0].float().mean((1, 2))
    expected = [44.5 + 4 * names.index(leaves.CLASSES[k]) for k in y.tolist()]
    assert np.abs(red.numpy() - expected).max() < 8
    other = transfer_study.plant_sets(seed=1)[1]
    assert {p.numpy().tobytes() for p in other.tensors[0]} != {p.numpy().tobytes() for p in u}


def test_leaves_that_were_photographed_take_the_place_of_rendered_ones(laid_out):
    pool, fresh = augmentation_study.photographed(6, 3, 0)
    kinds = len(augmentation_study.KINDS)
    assert pool.tensors[0].shape == (6 * kinds, 3, 32, 32) and fresh.tensors[0].shape == (3 * kinds, 3, 32, 32)
    assert pool.tensors[1].tolist() == list(range(kinds)) * 6
    assert augmentation_study.photographed(6, 3, 0, 48)[0].tensors[0].shape == (6 * kinds, 3, 48, 48)
    seen = {p.numpy().tobytes() for p in pool.tensors[0]}
    assert len(seen) == len(pool) and not seen & {p.numpy().tobytes() for p in fresh.tensors[0]}
    red = pool.tensors[0][:, 0].float().mean((1, 2))[:kinds]
    expected = [44.5 + 4 * leaves.CLASSES.index(kind) for kind in augmentation_study.KINDS]
    assert np.abs(red.numpy() - expected).max() < 8
    with pytest.raises(UserError, match="has fewer than 30 photographs of Apple___Apple_scab"):
        augmentation_study.photographed(20, 10, 0)
    arms = augmentation_study.gap("tiny", augmentation_study.photographed)
    assert set(arms) == set(augmentation_study.gap("tiny")) and 0 <= arms["none, 5"](0)["test"] <= 1


@pytest.mark.parametrize("name, n", [("imdb", (80, 80)), ("nsmc", (60, 20))])
def test_published_reviews_keep_their_split(laid_out, name, n):
    train, test = texts.published(name)
    assert (len(train), len(test)) == n and train.classes == ["negative", "positive"] and train.groups is None
    assert train.labels.mean() == test.labels.mean() == 0.5
    assert not any("<br" in text for text in train.texts) and all(map(str.strip, train.texts))
    if name == "imdb":
        first = (laid_out / "imdb/test/pos/0_10.txt").read_text()
        assert first.replace("<br />", " ") in test.texts and first.replace("<br />", " ") not in train.texts
    else:
        assert test.texts[test.labels.argmax()].startswith("정말 재미있다")


def test_scenes_of_all_of_mnist_share_no_digit(monkeypatch):
    monkeypatch.setattr(scenes, "mnist", full_scale.few_digits)
    scenes._digits.cache_clear()
    try:
        parts = {split: scenes._digits(split, "mnist") for split in scenes.SPLITS}
        inks = {split: {crop.tobytes() for crop in crops} for split, (crops, _) in parts.items()}
        assert [len(labels) for _, labels in parts.values()] == [2083, 417, 500]
        assert not inks["train"] & inks["valid"] and not (inks["train"] | inks["valid"]) & inks["test"]
        a, b = scenes.scene(3, 0, "test", 96, "mnist"), scenes.scene(3, 0, "test", 96)
        assert a.image.tobytes() != b.image.tobytes() == scenes.scene(3, 0, "test", 96, "mnist5k").image.tobytes()
    finally:
        scenes._digits.cache_clear()
    with pytest.raises(UserError, match="mnist5k or mnist"):
        scenes.scene(0, 0, digits="letters")


def test_photographs_with_boxes_are_trained_on_and_scored_on_their_test_split(laid_out, monkeypatch):
    monkeypatch.setitem(yolo_study.PHOTOGRAPHS, "voc2007", (96, "horizontal"))
    seen = []
    real = yolo_study.VocSet
    monkeypatch.setattr(yolo_study, "VocSet", lambda place, part, *rest: seen.append(part) or real(place, part, *rest))
    scores = yolo_study.photographs("voc2007", seed=0, epochs=2)
    truth = real(laid_out / "voc2007", "test", 96)
    assert seen == ["train", "valid", "test"] and 0 <= scores["map"] <= scores["map50"] <= 1
    assert sum(one["n"] for one in scores["classes"].values()) == sum(len(k) for k in truth.labels) > 0

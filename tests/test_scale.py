"""COURSE_SCALE=full: the same cells with more data and longer training, checked with stand-ins on this machine.

Each call of a notebook that depends on FULL is made at both scales against a stand-in that has the real function's
signature, so an argument that it does not know, or a scale that changes nothing, is noticed without a GPU. Then every
cell is run at full scale, on the first few pictures and for one epoch (tests/full_scale.py). How the full data become
training and test sets is checked on folders that are laid out like the real ones. That the experiments' arms exist at
scale full, with the same names, is checked for each experiment.
"""

import ast
import builtins
import inspect
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import full_scale
import nbformat
import numpy as np
import pytest
import torch

from helpers.augmentation import experiments as augmentation_study
from helpers.course import experiments
from helpers.course.errors import UserError
from helpers.course.scale import scale
from helpers.data import leaves, scenes, texts
from helpers.data import sets as data
from helpers.transfer import experiments as transfer_study
from helpers.yolo import experiments as yolo_study

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [
    path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "FULL" in path.read_text(encoding="utf-8")
]


class Standin:
    """A function or module of the course: knows its signature, takes the arguments, does nothing."""

    def __init__(self, real, calls):
        self.real, self.calls = real, calls

    def __getattr__(self, name):
        return Standin(getattr(self.real, name), self.calls)

    def __call__(self, *args, **settings):
        bound = inspect.signature(self.real).bind(*args, **settings)
        self.calls.append((getattr(self.real, "__name__", "?"), bound.args, bound.kwargs))
        return MagicMock()


class Names(dict):
    """Whatever a cell has computed before is a stand-in, too."""

    def __missing__(self, name):
        if hasattr(builtins, name):
            raise KeyError(name)
        return MagicMock()


def uses(node):
    return any(isinstance(n, ast.Name) and n.id == "FULL" and isinstance(n.ctx, ast.Load) for n in ast.walk(node))


def dependent(tree):
    """The innermost calls with an argument that depends on FULL, and the other expressions that do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and uses(node):
            if not any(isinstance(n, ast.Call) and n is not node and uses(n) for n in ast.walk(node)):
                yield node
        elif (
            isinstance(node, ast.Assign)
            and uses(node)
            and not any(isinstance(n, ast.Call) and uses(n) for n in ast.walk(node))
        ):
            yield node.value


def values(source, full):
    """What the dependent expressions of a notebook's code get or give at one scale."""
    tree = ast.parse(source)
    names, calls = Names(FULL=full), []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = {}
            exec(compile(ast.Module([node], []), "imports", "exec"), found)
            names |= {name: Standin(value, calls) for name, value in found.items() if name != "__builtins__"}
    given = []
    for node in dependent(tree):
        calls.clear()
        value = eval(compile(ast.Expression(node), "cell", "eval"), {}, names)
        assert not isinstance(node, ast.Call) or calls, f"{ast.unparse(node)} calls nothing that was imported"
        given.append(
            (
                ast.unparse(node),
                repr(
                    [
                        (
                            n,
                            [a for a in args if not isinstance(a, MagicMock)],
                            {k: v for k, v in settings.items() if not isinstance(v, MagicMock)},
                        )
                        for n, args, settings in calls
                    ]
                )
                if calls
                else repr(value),
            )
        )
    return given


def code(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return "\n".join(cell for cell in cells if not cell.lstrip().startswith("%"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_depends_on_the_scale_can_be_called_at_full_scale(path):
    small, full = values(code(path), False), values(code(path), True)
    assert full and len(small) == len(full)
    same = [call for (call, a), (_, b) in zip(small, full) if a == b]
    assert not same, f"the scale changes nothing in {same}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_at_full_scale_on_small_stand_ins(path):
    run = subprocess.run(
        [sys.executable, ROOT / "tests" / "full_scale.py", path],
        capture_output=True,
        text=True,
        env={**os.environ, "COURSE_SCALE": "full", "DLM_PROGRESS": "0", "MPLBACKEND": "agg"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    calls = [line for line in run.stdout.splitlines() if line.startswith("asked for")]
    assert calls, "nothing that depends on the scale was asked for"


def test_a_fault_in_the_full_branch_is_noticed():
    good = "from helpers.course.training import evaluate\nevaluate(model, data, step=step, batch_size=9 if FULL else 3)"
    assert values(good, False) != values(good, True)
    with pytest.raises(TypeError, match="batchsize"):
        values(good.replace("batch_size", "batchsize"), True)
    assert values("n = 9 if FULL else 3", True) == [("9 if FULL else 3", "9")]


def test_the_switch(monkeypatch):
    for value in ("small", "full"):
        monkeypatch.setenv("COURSE_SCALE", value)
        assert scale() == value
    monkeypatch.setenv("COURSE_SCALE", "huge")
    with pytest.raises(UserError, match="set it to small or full"):
        scale()


@pytest.mark.parametrize("name", experiments.experiments())
def test_an_experiment_can_be_asked_for_at_full_scale(name):
    small, full = experiments.arms(name, "small"), experiments.arms(name, "full")
    assert full and all(callable(arm) for arm in full.values())
    assert len(full) >= len(small)


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
    for module in (data, yolo_study):
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
    monkeypatch.setattr(scenes, "mnist", full_scale.few_digits(data.mnist))
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
    with pytest.raises(UserError, match="choose mnist5k or mnist"):
        scenes.scene(0, 0, digits="letters")


def test_photographs_with_boxes_are_trained_on_and_scored_on_their_test_split(laid_out, monkeypatch):
    monkeypatch.setitem(yolo_study.PHOTOGRAPHS, "voc2007", (96, "horizontal"))
    seen = []
    real = yolo_study.VocSet
    monkeypatch.setattr(yolo_study, "VocSet", lambda place, part, *rest: seen.append(part) or real(place, part, *rest))
    scores = yolo_study.photographs("voc2007", seed=0, epochs=2)
    truth = real(laid_out / "voc2007", "test", 96)
    assert seen == ["train", "val", "test"] and 0 <= scores["map"] <= scores["map50"] <= 1
    assert sum(one["n"] for one in scores["classes"].values()) == sum(len(k) for k in truth.labels) > 0

"""The recorded comparison on few photographs: its folds, and one training of each kind on made ones."""

import os
from functools import partial
from pathlib import Path

import pytest
from voc_folder import write_scenes

from helpers.course.errors import UserError
from helpers.yolo import photographs

RACCOON = Path(os.environ.get("DLM_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data" / "raccoon"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("made"), {"train": 12, "val": 4})


def test_folds_share_nothing_and_smaller_draws_lie_in_larger_ones(place):
    tests = []
    for seed in range(photographs.FOLDS):
        few, many = (photographs.fold(place, seed, n) for n in (4, 14))
        assert set(few[0]) < set(many[0]) and few[1] == many[1] and not set(many[0]) & set(many[1])
        assert (len(few[0]), len(many[0])) == (4, 14)
        tests += many[1]
    assert len(tests) == len(set(tests)) == 16
    with pytest.raises(UserError, match="14 photographs outside a fold, not 15"):
        photographs.fold(place, 0, 15)


@pytest.mark.parametrize("network", photographs.NETWORKS)
def test_each_network_is_trained_and_scored(place, network):
    scores = photographs.run(network, 4, 96, 1, partial(photographs.sets, place=place), seed=1)
    assert set(scores) == {"map", "map50"} and 0 <= scores["map"] <= scores["map50"] <= 1


def test_an_arm_takes_as_many_steps_with_few_photographs():
    arms = photographs.arms("small")
    assert len(arms) == 12
    for network in photographs.NETWORKS:
        assert len({n * arms[f"{network}, {n}"].args[3] for n in (35, 70, 140)}) == 1


def test_without_the_folder_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_SHARED", str(tmp_path))
    with pytest.raises(UserError, match="set DLM_SHARED"):
        photographs.folder()


def test_the_photographs_make_eight_folds():
    if not RACCOON.is_dir():
        pytest.skip("needs ../shared/data/raccoon (or DLM_SHARED)")
    train, test = photographs.fold(RACCOON, 0, 140)
    assert len(train) == 140 and len(test) == 20

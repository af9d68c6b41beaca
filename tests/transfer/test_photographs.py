"""Photographs for the rule: crops lie inside, carry the right class, and no pixel is in two sets."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from voc_folder import write_voc

from helpers.course.errors import UserError
from helpers.data.sets import photographs as built_in
from helpers.transfer import photographs

BCCD = Path(os.environ.get("DLM_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data" / "bccd"
COLOURS = {"Platelets": (250, 10, 10), "RBC": (10, 250, 10), "WBC": (10, 10, 250)}


@pytest.fixture
def cells(tmp_path):
    """20 pictures of 60 x 80, black, with one square of each class in its colour; one touches the border."""
    images, boxes, names = np.zeros((20, 3, 60, 80), np.uint8), [], []
    for i, image in enumerate(images):
        own = [(0, 0, 20, 20), (22 + i, 30, 42 + i, 50), (60, 5, 80, 25)]
        for (x0, y0, x1, y1), colour in zip(own, COLOURS.values()):
            image[:, y0:y1, x0:x1] = np.array(colour)[:, None, None]
        boxes.append(own)
        names.append(list(COLOURS))
    return write_voc(tmp_path, images, boxes, names)


def test_a_crop_of_a_cell_carries_its_class(cells):
    parts = photographs.cell_sets(4, 2, 3, 16, seed=0, place=cells)
    for part, count in zip(parts, (4, 2, 3)):
        x, y = part.tensors
        assert x.shape == (3 * count, 3, 16, 16) and x.dtype == torch.uint8
        assert y.tolist() == [0, 1, 2] * count
        for picture, label in zip(x, y):  # all of it is the cell: nothing black was cut along
            colour = torch.tensor(COLOURS[photographs.CELLS[label]])
            assert (picture.flatten(1).float().mean(1) - colour).abs().max() < 3


def test_every_photograph_of_cells_is_in_one_set(cells, monkeypatch):
    seen = []
    real = photographs.cell_crops
    monkeypatch.setattr(
        photographs, "cell_crops", lambda place, names, *rest: seen.append(names) or real(place, names, *rest)
    )
    photographs.cell_sets(2, 2, 2, 16, seed=1, place=cells)
    assert sorted(sum(seen, [])) == sorted(p.stem for p in (cells / "Annotations").iterdir())
    assert [len(names) for names in seen] == [10, 4, 6]
    with pytest.raises(UserError, match="too few photographs for 11 cells a class: 10 of Platelets"):
        photographs.cell_sets(11, 2, 2, 16, seed=1, place=cells)


def test_a_window_lies_inside_the_picture_and_around_the_box():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(30, 90, 2)
        (x0, x1), (y0, y1) = (np.sort(rng.integers(0, n + 1, 2)) for n in (width, height))
        top, left, side = photographs.square((x0, y0, x1, y1), height, width)
        assert 0 <= top and top + side <= height and 0 <= left and left + side <= width
        longer = max(x1 - x0, y1 - y0, 1)
        assert side == min(longer, height, width)
        if side == longer:  # it fits: all of the box is in the window
            assert left <= x0 and x1 <= left + side and top <= y0 and y1 <= top + side


def test_real_blood_cells():
    if not BCCD.is_dir():
        pytest.skip("needs ../shared/data/bccd (or DLM_SHARED)")
    train, _, test = photographs.cell_sets(40, 10, 40, 32, seed=0, place=BCCD)
    assert len(train) == len(test) == 120
    mean = [test.tensors[0][test.tensors[1] == k].float().mean((0, 2, 3)) for k in range(3)]
    green = [channels[1].item() for channels in mean]  # a stained nucleus takes the green away
    assert green[photographs.CELLS.index("WBC")] == min(green)


@pytest.mark.parametrize("group", photographs.PHOTOGRAPHS)
def test_strips_of_a_photograph_do_not_overlap(group):
    for k, name in enumerate(photographs.PHOTOGRAPHS[group]):
        photo = built_in()[name]
        axis = int(photo.shape[1] > photo.shape[0])
        for seed in range(3):
            parts = photographs.strips(photo, [seed, k])
            orders = [np.concatenate(order, axis) for order in (parts, parts[::-1])]
            assert any(np.array_equal(order, photo) for order in orders)  # they make up the photograph
            assert parts[0].shape[axis] == pytest.approx(photo.shape[axis] / 2, abs=1)
            assert min(part.shape[axis] for part in parts) >= min(photo.shape[:2]) // 5


def test_squares_of_photographs_are_cut_from_their_strips(monkeypatch):
    """Each strip painted in a colour of its own: the squares of a set show that of its strip alone."""
    photo = np.zeros((50, 100, 3), np.uint8)

    def painted(photo, seed):
        return tuple(np.full((50, n, 3), colour, np.uint8) for n, colour in ((50, 10), (20, 120), (30, 240)))

    group = photographs.PHOTOGRAPHS["everyday"]
    monkeypatch.setattr(photographs, "strips", painted)
    monkeypatch.setattr(photographs.sets, "photographs", lambda: dict.fromkeys(group, photo))
    parts = photographs.photograph_sets("everyday", 3, 2, 4, 32, seed=0)
    for part, count, colour in zip(parts, (3, 2, 4), (10, 120, 240)):
        assert part.tensors[0].shape == (7 * count, 3, 32, 32) and part.tensors[0].unique().tolist() == [colour]
        assert part.tensors[1].tolist() == list(range(7)) * count
    with pytest.raises(UserError, match="no group 'old'"):
        photographs.photograph_sets("old", 1, 1, 1, 32, 0)


def test_folders_of_photographs_are_split_by_file(tmp_path, monkeypatch):
    from PIL import Image

    for part, count in (("train", 4), ("val", 3)):
        for k, name in enumerate(("ants", "bees")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                shade = 100 * k + 10 * i + 5 * (part == "val")
                Image.new("RGB", (40, 40), (shade,) * 3).save(tmp_path / part / name / f"{i}.png")
    monkeypatch.setattr(photographs.store, "fetch", lambda name: tmp_path)
    parts = photographs.folder_sets("hymenoptera", 3, 2, 2, 32, seed=0)
    shades = [{int(x.float().mean()) for x in part.tensors[0]} for part in parts]
    assert [len(one) for one in shades] == [6, 4, 4] and len(set().union(*shades)) == 14
    for part in parts:
        assert [int(x.float().mean() >= 100) for x in part.tensors[0]] == part.tensors[1].tolist()
    with pytest.raises(UserError, match="7 photographs of ants, not 8"):
        photographs.folder_sets("hymenoptera", 4, 2, 2, 32, seed=0)

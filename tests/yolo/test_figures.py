"""Figures of lecture 08: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_hex, to_rgba

from helpers.course.plots import COLOURS, GREEN, RED, SKY, YELLOW
from helpers.yolo import figures
from helpers.yolo.average_precision import KINDS


def test_boxes_lie_around_their_pixels_and_carry_label_and_score(ax):
    figures.boxes(ax, [[2, 3, 10, 20]], torch.tensor([7]), torch.tensor([0.876]))
    (box,) = ax.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (1.5, 2.5, 8, 17)  # pixel 0: -0.5 to 0.5
    assert [text.get_text() for text in ax.texts] == ["7 0.88"]
    figures.boxes(ax, np.zeros((0, 4)), [])
    assert len(ax.patches) == 1


def test_found_is_green_where_it_hits_and_red_where_not(ax):
    truth = {"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([3])}
    found = {
        "boxes": torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]]),
        "scores": torch.tensor([0.9, 0.8, 0.7, 0.1]),
        "labels": torch.tensor([3, 4, 3, 3]),
    }
    assert figures.found(ax, torch.zeros(3, 40, 40), found, truth) == (1, 2)  # the last one is below the threshold
    assert [to_hex(p.get_edgecolor()).upper() for p in ax.patches] == [GREEN, RED, RED]
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}
    assert figures.found(ax, torch.zeros(3, 40, 40), nothing, truth) == (0, 0)
    assert (ax.patches[-1].get_edgecolor(), ax.patches[-1].get_linestyle()) == (to_rgba(YELLOW), ":")  # a miss


def test_the_key_names_what_found_draws(ax):
    figures.key(ax.figure)
    assert [text.get_text() for text in ax.figure.legends[0].texts][-1] == "missed by all boxes"


def test_an_object_is_followed_from_its_cell_to_a_box(ax):
    anchors, answers = np.array([[10, 20.0], [40, 40]]), [True, False]
    figures.followed(ax, torch.zeros(3, 64, 64), 8, (1, 2), [10, 4, 30, 20], [12, 4, 30, 18], anchors, answers)
    cell, *drawn, wanted, predicted = ax.patches
    assert (cell.get_x(), cell.get_y(), cell.get_width()) == (15.5, 7.5, 8)
    assert [(p.get_width(), p.get_linestyle()) for p in drawn] == [(10, "-"), (40, ":")]
    assert [to_hex(p.get_edgecolor()).upper() for p in (drawn[0], wanted, predicted)] == [SKY, YELLOW, RED]


def test_masks_and_grid(ax):
    shapes = np.zeros((2, 8, 8), bool)
    shapes[0, :2], shapes[1, 5:] = True, True
    figures.masks(ax, shapes)
    assert [np.array_equal(image.get_array()[..., 3] > 0, mask) for image, mask in zip(ax.images, shapes)] == [True] * 2
    figures.grid(ax, 8, 4)
    assert [line.get_ydata()[0] for line in ax.lines[::2]] == [1.5, 3.5, 5.5]


def test_mistakes_leave_out_what_is_correct(ax):
    counts = [dict.fromkeys(KINDS, 2) | {"missed": 5}, dict.fromkeys(KINDS, 1)]
    figures.mistakes(ax, counts, ["one", "two"])
    assert [t.get_text() for t in ax.get_yticklabels()] == list(KINDS[1:])
    assert [bar.get_width() for bar in ax.containers[0]] == [2, 2, 2, 2, 2, 5]
    assert [to_hex(c[0].get_facecolor()).upper() for c in ax.containers] == COLOURS[:2]


def test_reliability_draws_confidence_against_iou(ax):
    one = {"confidence": np.array([0.1, 0.9]), "iou": np.array([0.2, 0.8])}
    figures.reliability(ax, [one], ["a model"])
    assert np.array_equal(ax.lines[1].get_xydata(), [[0.1, 0.2], [0.9, 0.8]]) and ax.lines[1].get_label() == "a model"


def test_a_table_of_numbers_can_be_read_on_its_colours(ax):
    figures.table_of(ax, np.array([[0.2, 0.95], [0.6, 0.0]]), ["a", "b"], [1, 2])
    assert [(t.get_text(), t.get_color()) for t in ax.texts] == [
        ("0.20", "white"),
        ("0.95", "black"),
        ("0.60", "black"),
        ("0.00", "white"),
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


def test_classes_are_sorted_by_their_ap50():
    classes = {"low": {"map50": 0.3, "map": 0.1, "n": 4}, "high": {"map50": 0.9, "map": 0.5, "n": 7}}
    fig = figures.by_class(classes)
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["high (7)", "low (4)"]
    assert [[bar.get_width() for bar in c] for c in ax.containers] == [[0.9, 0.3], [0.5, 0.1]]
    plt.close(fig)


def test_the_ends_of_v1_shows_every_arm_twice():
    from helpers.course.experiments import Record

    record = Record("yolo-v1")
    fig = figures.ends_of_v1(record)
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == list(record.data["arms"]) and len(ax.containers) == 2
    plt.close(fig)


def test_three_tasks_circles_the_mistakes():
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(0)
    petals, kinds, bmi, progress = rng.random((30, 2)), np.arange(30) % 3, rng.random((9, 1)), rng.random(9)
    named = kinds.copy()
    named[:4] = (kinds[:4] + 1) % 3
    line = LinearRegression().fit(bmi, progress)
    fig = figures.three_tasks(petals, kinds, named, kinds, bmi, progress, line)
    drawn = [len(c.get_offsets()) for c in fig.axes[0].collections]
    assert sum(drawn[:3]) == 30 and drawn[3] == 4
    assert np.allclose(fig.axes[2].lines[0].get_ydata(), line.predict([[18], [42]]))
    plt.close(fig)

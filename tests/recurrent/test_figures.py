"""What is drawn is what was given: cells and arrows counted, weights and tokens read back from the page."""

from html.parser import HTMLParser

import matplotlib
import numpy as np

matplotlib.use("Agg")

from helpers.recurrent import figures  # noqa: E402


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


def test_unrolled_has_a_cell_a_step_with_the_same_weights():
    for steps in (2, 5):
        found = texts(figures.unrolled(steps))
        assert found.count("W, b") == steps + 1  # the loop, and its copies
        assert [f"$x_{t}$" in found and f"$h_{t}$" in found for t in range(1, steps + 1)] == [True] * steps
        assert f"$x_{steps + 1}$" not in found


def test_an_lstm_has_four_gates_and_two_states():
    found = texts(figures.lstm_inside())
    assert [text for text in found if text.endswith(("f_t$", "i_t$", "g_t$", "o_t$"))] == [
        "forget $f_t$",
        "input $i_t$",
        "update $g_t$",
        "output $o_t$",
    ]
    assert found.count("×") == 3 and found.count("+") == 1 and {"$c_t$", "$h_t$"} <= set(found)
    matplotlib.pyplot.close("all")


class Cells(HTMLParser):
    """The texts of a table's cells by tag, and the tags that were opened."""

    def __init__(self, page):
        super().__init__()
        self.found, self.opened = {"th": [], "td": []}, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)

    def handle_data(self, data):
        if self.opened[-1] in self.found:
            self.found[self.opened[-1]].append(data)


def test_alignment_shows_each_weight_and_escapes_tokens():
    weights = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    table = figures.Alignment(["이", "백", "<b>"], ["two", "<script>"], weights, "what & what")
    page = table._repr_html_()
    cells = Cells(page)
    assert cells.found["th"] == ["two", "<script>", "이", "백", "<b>"]
    assert [float(text) for text in cells.found["td"]] == weights.ravel().tolist()
    assert "script" not in cells.opened and "b" not in cells.opened and "what &amp; what" in page
    assert "0.25" in repr(table) and "백" in repr(table)


def test_a_panel_a_problem_and_a_dot_a_seed():
    record = {(f"{problem}: {name}", "share"): [0.1, 0.9, 0.5] for problem in ("a", "b") for name in ("x", "y", "z")}
    fig = figures.problem_shares(record, ("a", "b"), ["x", "y", "z"])
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]
    for ax in fig.axes:
        dots, level = ax.lines[:3], ax.lines[3]
        assert [list(line.get_xdata()) for line in dots] == [[0.1, 0.9, 0.5]] * 3
        assert [list(line.get_ydata()) for line in dots] == [[0] * 3, [1] * 3, [2] * 3]
        assert list(level.get_xdata()) == [1, 1]
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["x", "y", "z"]


def test_a_curve_an_arm_through_the_means_of_its_seeds():
    record = {("attention", "short"): [1.0, 0.8], ("attention", "long"): [0.5, 0.7]}
    (ax,) = figures.right_by_length(record, ("attention",), ["short", "long"]).axes
    assert np.allclose(ax.lines[0].get_ydata(), [0.9, 0.6]) and ax.lines[0].get_label() == "attention pairs"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["short", "long"]


def test_a_curve_a_size_through_its_shares_of_the_limit():
    rows = [{"batch": 1, "steps": 50, "backward": False}, {"batch": 32, "steps": 200, "backward": True}]
    rows = [
        row | {"fused": {"share of limit": 0.1 * k}, "nn.LSTM": {"share of limit": 0.3}} for k, row in enumerate(rows)
    ]
    (ax,) = figures.share_of_limit(rows, ["fused", "nn.LSTM"]).axes
    assert [line.get_label() for line in ax.lines] == ["B = 1, T = 50, forward", "B = 32, T = 200, forward, backward"]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.0, 0.3], [0.1, 0.3]]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    matplotlib.pyplot.close("all")

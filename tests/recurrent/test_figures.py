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


def test_the_three_forms_read_and_write_what_they_say():
    vector, stepwise, translator = ([t.get_text() for t in ax.texts] for ax in figures.forms().axes)
    answers = [[text for text in found if "hat" in text] for found in (vector, stepwise, translator)]
    assert [len(one) for one in answers] == [1, 4, 3] and len(set(answers[1])) == 4
    assert {"start", "$y_1$", "$y_2$"} <= set(translator) and "$x_4$" not in translator
    matplotlib.pyplot.close("all")


def test_an_lstm_has_three_sigmoids_two_tanh_and_two_states():
    found = texts(figures.lstm_inside())
    assert found.count("σ") == 3 and found.count("tanh") == 2
    assert [text for text in found if text in ("$f_t$", "$i_t$", "$g_t$", "$o_t$")] == [
        "$f_t$",
        "$i_t$",
        "$g_t$",
        "$o_t$",
    ]
    assert found.count("×") == 3 and found.count("+") == 1 and {"$c_t$", "$h_t$"} <= set(found)
    places = {text.get_text(): text.get_position()[1] for text in figures.lstm_inside().axes[0].texts}
    assert places["$h_t$"] != places["$h_{t-1}$"] and places["$c_t$"] == places["$c_{t-1}$"]
    matplotlib.pyplot.close("all")


def test_each_picture_of_the_gates_has_one_part_in_colour():
    fig = figures.lstm_gates()
    assert [ax.get_title() for ax in fig.axes] == [title for title, _ in figures.PARTS.values()]
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


class Runs(dict):
    """A record of these runs: {(arm, measure): a value for each seed}."""

    def __init__(self, runs):
        super().__init__(runs)
        self.data = {"arms": [arm for arm, _ in runs]}


def test_a_panel_a_length_and_a_line_a_seed():
    record = Runs({(arm, "share"): [[1.0, 0.5], [0.9]] for arm in ("9 steps, x", "9 steps, y", "5 steps, y")})
    long, short = figures.learning_curves(record, (9, 5)).axes
    for ax, names in ((long, ["x", "y"]), (short, ["y"])):
        lines = ax.lines[: 2 * len(names)]
        assert [list(line.get_ydata()) for line in lines] == [[1.0, 0.5], [0.9]] * len(names)
        assert [line.get_label() for line in lines[::2]] == names
        assert {tuple(line.get_ydata()) for line in ax.lines[2 * len(names) :]} == {(1, 1), (0.1, 0.1)}
    assert [long.get_title(), short.get_title()] == ["9 steps", "5 steps"]
    matplotlib.pyplot.close("all")


def test_translation_by_epoch_and_by_length():
    at = [4, 12, 40]
    record = {(arm, "epoch"): [at, at] for arm in ("attention", "no attention")}
    record |= {(arm, "greedy"): [[0.1, 0.5, 1.0], [0.3, 0.7, 1.0]] for arm in ("attention", "no attention")}
    record |= {
        (arm, n): [[0.0, 0.2, 0.8], [0.0, 0.4, 1.0]] for arm in ("attention", "no attention") for n in ("a", "b")
    }
    left, middle, right = figures.translation_curves(record, ["a", "b"]).axes
    assert np.allclose(left.lines[0].get_ydata(), [0.2, 0.6, 1.0]) and list(left.lines[0].get_xdata()) == at
    assert np.allclose(middle.lines[0].get_ydata(), [0.3, 0.3]) and middle.get_title() == "after 12 epochs"
    assert np.allclose(right.lines[3].get_ydata(), [0.9, 0.9]) and right.get_title() == "after 40 epochs"
    matplotlib.pyplot.close("all")

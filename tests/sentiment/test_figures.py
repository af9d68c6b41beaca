"""What is drawn is what was given: scores above words, and no markup out of a text."""

from html.parser import HTMLParser

import matplotlib
import numpy as np

from helpers.course.claims import proportion
from helpers.sentiment import figures

matplotlib.use("Agg")


def test_marked_text_shows_each_score_and_brings_no_element_of_its_own(trained):
    pieces, scores = trained["lstm"][0].running_score("A  great <script>alert('x')</script> & dull\nfilm")

    class Seen(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.data = set(), []

        def handle_starttag(self, tag, attributes):
            self.tags.add(tag)

        def handle_data(self, data):
            self.data.append(data)

    page = Seen()
    page.feed(figures.marked(pieces, scores))
    assert page.tags == {"p", "ruby", "rt"}  # the review brings no element of its own
    shown = "".join(page.data)
    assert "<script>alert('x')</script>" in shown and "&" in shown
    assert all(f"{100 * score:.0f}" in shown for score in scores)  # not by colour alone


def test_the_ladder_has_two_dots_a_model():
    record = {(arm, what): [0.6, 0.8 - 0.2 * (what == "shuffled")] for arm in "ab" for what in ("balanced", "shuffled")}
    (ax,) = figures.ladder(record, ["a", "b"]).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["in order", "words shuffled"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert np.allclose([dots[0].get_xdata() for dots in ax.containers], [[0.7, 0.7], [0.6, 0.6]])


def test_accuracy_by_length_stands_over_its_own_length():
    found = {"one": [(0, 5, 0.5, 10), (5, 9, 1.0, 4), (9, 99, 0.0, 2)], "two": [(5, 9, 0.75, 4)]}  # no short text
    (ax,) = figures.accuracy_by_length(found, (0, 5, 9, 99)).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["under 5", "5 to 8", "9 and more"]
    one, two = ax.containers
    assert one[0].get_xdata().tolist() == [0, 1, 2] and one[0].get_ydata().tolist() == [0.5, 1.0, 0.0]
    assert two[0].get_xdata().tolist() == [1.06] and two[0].get_ydata().tolist() == [0.75]
    known, (bars,) = proportion(3, 4), two[2]
    assert np.allclose(bars.get_segments()[0][:, 1], [known.low, known.high])


def test_a_unit_that_was_not_measured_has_no_dot():
    values = {("m", "space"): [0.7, 0.8], ("m", "jamo"): [0.5, 0.5], ("n", "jamo"): [0.6, 0.6]}
    measured = lambda kind, unit: values.get((kind, unit), [])  # noqa: E731
    (ax,) = figures.accuracy_by_unit(measured, {"m": "model", "n": "network"}, ("space", "jamo")).axes
    model, network = ax.containers
    assert model[0].get_xdata().tolist() == [0.75, 0.5] and network[0].get_xdata().tolist() == [0.6]
    assert network[0].get_ydata().tolist() == [1.0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["space", "jamo"]
    matplotlib.pyplot.close("all")

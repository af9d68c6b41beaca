"""What is drawn is what was given: scores above words, and no markup out of a text."""

from html.parser import HTMLParser

import matplotlib
import numpy as np

from helpers.course.claims import interval
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


def test_the_ladder_has_a_dot_a_model_and_the_wide_interval_of_overlapping_folds():
    record = {("a", "balanced"): [0.6, 0.8], ("b", "balanced"): [0.5, 0.6]}
    (ax,) = figures.ladder(record, ["a", "b"]).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    (dots,) = ax.containers
    assert np.allclose(dots[0].get_xdata(), [0.7, 0.55])
    known = interval([0.6, 0.8], splits=0.2)
    assert np.allclose(dots[2][0].get_segments()[0][:, 0], [known.low, known.high])


def test_the_three_networks_are_drawn_and_only_two_of_them_have_states():
    axes = figures.readers().axes
    assert [ax.get_title() for ax in axes] == ["bag of embeddings", "RNN", "LSTM"]
    states = [sum(text.get_text().startswith("state") for text in ax.texts) for ax in axes]
    assert states == [0, 3, 3]


def test_a_unit_that_was_not_measured_has_no_dot():
    values = {("m", "space"): [0.7, 0.8], ("m", "jamo"): [0.5, 0.5], ("n", "jamo"): [0.6, 0.6]}
    measured = lambda kind, unit: values.get((kind, unit), [])  # noqa: E731
    (ax,) = figures.accuracy_by_unit(measured, {"m": "model", "n": "network"}, ("space", "jamo")).axes
    model, network = ax.containers
    assert model[0].get_xdata().tolist() == [0.75, 0.5] and network[0].get_xdata().tolist() == [0.6]
    assert network[0].get_ydata().tolist() == [1.0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["space", "jamo"]
    matplotlib.pyplot.close("all")

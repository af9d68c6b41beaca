"""What is drawn is what was given: scores above words, and no markup out of a text."""

from html.parser import HTMLParser

from helpers.sentiment import figures


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

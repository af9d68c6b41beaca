"""Quizzes: plain, deterministic, escaped HTML. Exercises: a hole is never correct, a solution always is."""

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from helpers.course.quiz import case, check, quiz

QUESTION = 'Is 1 < 2 & "2" > 1?'
CHOICES = (("No <b>", False, "Count `a & b`."), ("Yes", True, "By <definition>."), ("한글", False, "아니요."))


class Reader(HTMLParser):
    """The tags of a text in order, and the words a reader sees; unclosed tags fail."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_html_is_plain_escaped_and_closed():
    page = Reader(quiz(QUESTION, *CHOICES)._repr_html_())
    kinds = [tag for tag, _ in page.tags]
    assert set(kinds) == {"fieldset", "legend", "strong", "details", "summary", "p", "code"}  # no script or style
    assert kinds.count("details") == 3
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    words = "".join(page.words)
    for text in (QUESTION, *(part for choice in CHOICES for part in (choice[0], choice[2]))):
        assert text.replace("`", "") in words  # as written: escaped once, and not twice
    assert words.count("Right.") == 1 and words.count("No.") == 2
    names = {attributes["name"] for tag, attributes in page.tags if tag == "details"}
    assert len(names) == 1  # one opens, the other closes
    assert not any("open" in attributes for _, attributes in page.tags)  # no answer without a click


def test_same_bytes_in_another_process():
    code = (
        "from tests.course.test_quiz import *; import sys; sys.stdout.buffer.write("
        "quiz(QUESTION, *CHOICES)._repr_html_().encode())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert other.stdout.decode() == quiz(QUESTION, *CHOICES)._repr_html_()


def test_text_does_not_give_the_answer_away():
    shown = repr(quiz(QUESTION, *CHOICES))
    assert "Yes" in shown and "Right" not in shown and "definition" not in shown


@pytest.mark.parametrize(
    "choices",
    [
        CHOICES[1:2],
        CHOICES[:1] + CHOICES[2:],
        CHOICES[1:2] * 2,
        (("a", True, "b"), ("c", True, "d")),
        (("a", True, ""), ("c", False, "d")),
        (("a", 1, "b"), ("c", False, "d")),
        (("a", True), ("c", False, "d")),
        (("a", True, "b"), ("a", False, "d")),
    ],
)
def test_bad_quizzes_are_refused(choices):
    with pytest.raises(ValueError, match="quiz|choice"):
        quiz("q", *choices)


def double(x):
    return 2 * x


def stub_raises(x):
    raise NotImplementedError


STUBS = [
    lambda x: None,
    lambda x: ...,
    stub_raises,
    lambda x: x,
    lambda x: 1 / 0,
    lambda: 0,
    lambda x: float("nan"),
    lambda x: "4",
    lambda x: [4.0],
    lambda x: np.array([4.0, 6.0]),
]


@pytest.mark.parametrize("stub", STUBS)
def test_a_hole_is_not_yet(stub, capsys):
    check(stub, case(2.0, gives=4.0, hint="twice"), case(3.0, gives=6.0))
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and said.endswith("\nHint: twice\n") and "Correct" not in said


def test_a_function_that_knows_one_case_is_told_the_other(capsys):
    check(lambda x: 4.0, case(2.0, gives=4.0), case(3.0, gives=6.0))
    assert capsys.readouterr().out == "Not yet: your function(3.0): got 4.0, expected 6.0.\n"


def test_a_solution_is_correct(capsys):
    check(double, case(2.0, gives=4.0), case(torch.ones(2), gives=[2.0, 2.0]), case(3, gives=6))
    assert capsys.readouterr().out == "Correct, double passes 3 cases.\n"


@pytest.mark.parametrize(
    "got, wanted, right",
    [
        (0.14285, 1 / 7, True),
        (0.1433, 1 / 7, False),
        (3, 3, True),
        (4, 3, False),
        (3.0, 3, True),
        (torch.arange(3), [0, 1, 2], True),
        (torch.arange(3), [[0, 1, 2]], False),
        (torch.arange(3), [0, 1, 3], False),
        (torch.tensor(2.0, requires_grad=True), 2.0, True),
        ("lstm", "lstm", True),
        ("gru", "lstm", False),
        (True, True, True),
        (1, True, False),
        (["a"], ["a"], True),
        (None, 0.0, False),
        (..., 0.0, False),
        ([1, [2, 3]], [1, 2], False),
        ({"a": 1}, {"a": 1}, True),
        (10_000_000, 10_000_001, False),
    ],
)
def test_values(got, wanted, right, capsys):
    check(got, gives=wanted, hint="look")
    assert capsys.readouterr().out.startswith("Correct." if right else "Not yet: ")


def test_check_needs_something_to_check():
    with pytest.raises(TypeError):
        check(double)
    with pytest.raises(TypeError):
        check(double, case(1, gives=2), gives=2)

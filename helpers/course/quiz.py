"""Quizzes and exercises that check themselves, in JupyterLab and in the static book, without JavaScript.

quiz("What does requires_grad=False leave unfrozen?",
     ("The weights of the convolution", False, "They get no gradient, so the optimiser leaves them."),
     ("The running mean of batch norm", True, "A buffer: the forward pass updates it in training mode."))

check(iou, case(a, b, gives=1 / 7), case(a, a, gives=1.0, hint="a box covers itself"))
"""

import re
import zlib
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

# Inline, because JupyterLab shows a stored notebook's HTML without style sheets until it is trusted. An open
# choice says in words whether it is right: colour only repeats it.
_BOX = "border:1px solid #80808080;border-radius:6px;padding:.6em 1em;margin:.8em 0"
_CHOICE = "margin:.35em 0"
_SUMMARY = "cursor:pointer;display:list-item"
_REASON = "margin:.3em 0 .3em 1.2em;padding-left:.7em;border-left:4px solid {colour}"


@dataclass(frozen=True)
class Quiz:
    """One question with its choices, each (text, whether it is right, reason); made by `quiz`."""

    question: str
    choices: tuple[tuple[str, bool, str], ...]

    def __repr__(self) -> str:
        return "\n".join([f"Quiz: {self.question}", *(f"  ( ) {text}" for text, _, _ in self.choices)])

    def _repr_html_(self) -> str:
        """A fieldset of choices that open one at a time: plain HTML, for keyboard and screen reader too."""
        name = f"quiz-{zlib.crc32(self.question.encode()):08x}"
        choices = []
        for text, right, reason in self.choices:
            mark, colour = ("&#10003; Right.", "#009e73") if right else ("&#10007; No.", "#d55e00")
            choices.append(
                f'<details name="{name}" style="{_CHOICE}">'
                f'<summary style="{_SUMMARY}">{_html(text)}</summary>'
                f'<p style="{_REASON.format(colour=colour)}"><strong>{mark}</strong> {_html(reason)}</p>'
                "</details>"
            )
        return (
            f'<fieldset class="quiz" id="{name}" style="{_BOX}"><legend style="font-size:1em;width:auto;'
            f'margin:0;padding:0 .4em"><strong>Quiz.</strong> {_html(self.question)}</legend>'
            f"{''.join(choices)}</fieldset>"
        )


def _html(text):
    """Text as HTML: escaped, with `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def quiz(question: str, *choices: tuple[str, bool, str]) -> Quiz:
    """A question with two or more choices (text, right?, reason), just one of them right.

    Put it at the end of a cell. Opening a choice says whether it is right and why, and closes the others.
    """
    for choice in choices:
        words = [part for part in choice if isinstance(part, str) and part.strip()]
        if len(choice) != 3 or not isinstance(choice[1], bool) or len(words) != 2:
            raise ValueError(f"a choice is (text, True or False, reason), not {choice!r}")
    if len(choices) < 2 or sum(right for _, right, _ in choices) != 1:
        raise ValueError(f"quiz {question!r} needs two or more choices and just one that is right")
    if len({text for text, _, _ in choices}) < len(choices):
        raise ValueError(f"quiz {question!r} has the same choice twice")
    return Quiz(question, tuple(choices))


@dataclass(frozen=True)
class Case:
    """Arguments of an exercise's function, the value that it must return, and a hint; made by `case`."""

    arguments: tuple[Any, ...]
    gives: object
    hint: str


def case(*arguments: Any, gives: Any, hint: str = "") -> Case:
    """For `check`: the exercise's function, called with `arguments`, must return `gives`."""
    return Case(arguments, gives, hint)


def check(answer: Any, *cases: Case, gives: Any = None, hint: str = "", atol: float = 1e-4) -> None:
    """Print `Correct`, or `Not yet` with what was tried, what came out and a hint.

    answer  the reader's function, tried on every `case(...)`; or the reader's value, compared with `gives`
    atol    decimals may differ by this, and by 1e-4 of their size; shapes, whole numbers and words may not

    An empty hole (None, ..., NotImplementedError) is `Not yet`, never an error, so that a lecture
    runs from top to bottom before its exercises are done.
    """
    if bool(cases) == (gives is not None):
        raise TypeError("check needs cases for a function, or gives= for a value")
    if not cases:
        problem = _compare(answer, gives, atol)
        print("Correct." if not problem else _sentence(f"Not yet: {problem}.", hint))
        return
    name = getattr(answer, "__name__", "<lambda>").replace("<lambda>", "your function")
    for one in cases:
        call = f"{name}({', '.join(_short(argument) for argument in one.arguments)})"
        try:
            problem = _compare(answer(*one.arguments), one.gives, atol)
        except NotImplementedError:
            problem = "it is not written"
        except Exception as error:  # the reader's code may raise anything, and is told so
            problem = f"it raised {type(error).__name__}: {error}"
        if problem:
            print(_sentence(f"Not yet: {call}: {problem}.", one.hint))
            return
    print(f"Correct, {name} passes {len(cases)} case{'s' * (len(cases) > 1)}.")


def _sentence(text, hint):
    return f"{text}\nHint: {hint}" if hint else text


def _short(value):
    """One value in at most 60 letters, arrays and tensors by their shape when they are large."""
    value = _array(value)
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"array of shape {value.shape}"
    text = " ".join(repr(value.tolist() if isinstance(value, np.ndarray) else value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _array(value):
    """A tensor, on any device, as an array; anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _compare(got, wanted, atol):
    """What is wrong with `got`, as part of a sentence, or None when it is right."""
    if got is None or got is ...:
        return "there is nothing yet"
    got, wanted = _array(got), _array(wanted)
    if isinstance(wanted, (str, bool, dict, set)) or wanted is None:
        right = type(got) is type(wanted) and got == wanted
        return None if right else f"got {_short(got)}, expected {_short(wanted)}"
    try:
        mine, theirs = np.asarray(got), np.asarray(wanted)
    except ValueError:
        return f"got {_short(got)}, expected {_short(wanted)}"
    if mine.shape != theirs.shape:
        return f"got shape {mine.shape}, expected {theirs.shape}"
    if not all(np.issubdtype(a.dtype, np.number) or a.dtype == bool for a in (mine, theirs)):
        right = bool(np.all(mine == theirs))
    elif all(np.issubdtype(a.dtype, np.integer) or a.dtype == bool for a in (mine, theirs)):
        right = np.array_equal(mine, theirs)
    else:
        right = np.allclose(mine, theirs, rtol=1e-4, atol=atol)
    return None if right else f"got {_short(got)}, expected {_short(wanted)}"

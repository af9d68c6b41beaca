"""Does this machine come to the book's numbers? Lectures run again, held against the outputs that they store.

`check` runs notebooks as their stored outputs were made: from a fresh kernel, at the small scale, without a GPU. But a
claim that fails (COURSE_CLAIMS=report) and a cell that raises hide nothing that comes after them. What it finds is
plain data: check.json holds it, and `helpers.course.report` makes check.html of it. Numbers, words and pictures are
compared as the tests compare them (`helpers.course.compare`).
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from helpers.course import machine, report
from helpers.course.claims import MIME
from helpers.course.commands import to_json
from helpers.course.compare import (
    NUMBER,
    PICTURES,
    Moved,
    displays,
    ink,
    moved,
    picture_differences,
    skeleton,
    tolerance,
)
from helpers.course.files import write_atomically
from helpers.course.front import heading
from helpers.course.kernel import BOOK, Unfinished, execute, read

T = TypeVar("T")
Display = list[tuple[str, str]]  # [(kind, text)], see `compare.displays`
NOTEBOOKS = machine.ROOT / "notebooks"
REPORTING = BOOK | {"COURSE_CLAIMS": "report"}
WIDTH = 160  # letters of a line that are told
UNCOMPARED = {"nbval-skip", "nbval-ignore-output"}  # tags of cells whose outputs nobody compares


def check(paths: Sequence[Path], out: Path, log: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Run the notebooks at `paths`; after each one write out/check.json and out/check.html, and yield the facts."""
    lectures: list[dict[str, Any]] = []
    start = {
        "command": f"python -m helpers check {' '.join(path.stem for path in paths)}",
        "date": date.today().isoformat(),
        "course": machine.commit(),
        "machine": machine.machine(),
    }
    for place, path in enumerate(paths, 1):
        cost = read(path).metadata.get("verified", {}).get("seconds")
        log(f"{place} of {len(paths)}: {path.stem}" + (f", {cost} s when its outputs were stored" if cost else ""))
        lectures.append(lecture(path))
        found = report.counts(lectures)
        facts = start | {
            "versions": versions(lectures),
            "holds": report.holds(found),
            "counts": found,
            "left": [later.stem for later in paths[place:]],
            "lectures": lectures,
        }
        write_atomically(out / "check.json", (to_json(facts, indent=1) + "\n").encode())
        write_atomically(out / "check.html", report.page(facts).encode())
        log(f"  {report.headline(report.counts(lectures[-1:]))} ({lectures[-1]['seconds']} s)")
        yield facts


# ---------------------------------------------------------------- one lecture
def lecture(path: Path) -> dict[str, Any]:
    """Run the notebook at `path`; returns what it claims here and in the book, and where its outputs differ."""
    stored = read(path)
    end, why, seconds, cells = run(path, len(stored.cells))
    stamp = stored.metadata.get("verified", {})
    facts: dict[str, Any] = {
        "name": path.stem,
        "title": heading(stored),
        "seconds": round(seconds),
        "book": {key: stamp.get(key) for key in ("date", "seconds", "cores", "versions")},
        # `make notebooks` stores no more of the language than its name: who saved it may have run it, too
        "saved_elsewhere": len(stored.metadata.get("language_info", {})) > 1,
        "unfinished": {"cell": 0, "code": "", "why": why} if why else None,
        "claims": [],
        "differences": [],
        "raised": [],
    }
    code = [(place, cell) for place, cell in enumerate(stored.cells) if cell.cell_type == "code"]
    for number, (place, cell) in enumerate(code, 1):  # as JupyterLab counts
        where = {"cell": number, "code": first_line(cell.source)}
        outputs = cells[place].outputs if cells else []
        tags = set(cell.metadata.get("tags", []))
        error = next((out for out in outputs if out.output_type == "error"), None)
        if place == end:
            facts["unfinished"] |= where
        elif error is not None and "raises-exception" not in tags:
            facts["raised"].append(where | {"error": private(f"{error.ename}: {error.evalue}")})
        elif place < end and not tags & UNCOMPARED:
            facts["differences"] += [where | one for one in differences(cell.outputs, outputs, tags)]
        facts["claims"] += [where | one for one in claims(cell.outputs, outputs)]
    return facts


def run(path: Path, length: int) -> tuple[int, str, float, list[Any]]:
    """Run a notebook of `length` cells -> (the cell it ended before, why it did not reach its end, seconds, cells)."""
    course = [str(machine.ROOT), os.environ.get("PYTHONPATH", "")]  # before any other `helpers`
    try:
        ran = execute(path, REPORTING | {"PYTHONPATH": os.pathsep.join(filter(None, course))}, go_on=True)
    except Unfinished as error:
        return error.place, error.why, error.ran.seconds, error.ran.notebook.cells
    except RuntimeError as error:  # jupyter_client knows no better word for it
        return 0, f"the kernel did not start: {private(error)}", 0.0, []
    return length, "", ran.seconds, ran.notebook.cells


def private(text: object) -> str:
    """The first line of a text that came out of a kernel, cut to `WIDTH`, and without the reader's names."""
    line = next(iter(machine.private(str(text)).strip().splitlines()), "")
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def first_line(source: str) -> str:
    """The line by which a cell is known again: its first one that is no comment."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith(("#", "%"))]
    return private(lines[0] if lines else "")


def pairs(stored: Sequence[T], new: Sequence[T], key: Callable[[T], Any]) -> Iterator[tuple[T | None, T | None]]:
    """What belongs together of two lists whose elements are mostly alike; None where one has nothing."""
    matcher = SequenceMatcher(None, [key(one) for one in stored], [key(one) for one in new], autojunk=False)
    for _, a, b, c, d in matcher.get_opcodes():
        yield from zip_longest(stored[a:b], new[c:d])


# ---------------------------------------------------------------- its claims
def claims(stored: Sequence[Any], new: Sequence[Any]) -> list[dict[str, Any]]:
    """Each claim of a cell as it came out here and as the book has it; None for the one that is not there."""

    def cards(outputs):
        return [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]

    found = []
    for book, here in pairs(cards(stored), cards(new), lambda card: skeleton(card["sentence"])):
        card = here or book
        assert card is not None
        verdict = "missing" if here is None else "holds" if here["verdict"] == "holds" else "does not hold"
        known = {"id": card["id"], "sentence": card["sentence"], "bound": card["bound"], "verdict": verdict}
        found.append(known | {"here": figures(here), "book": figures(book)})
    return found


def figures(card: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a claim's card measured: the figures, and `shown`, as the card words them."""
    if card is None:
        return None
    shown = card["shown"]
    several = f" ({shown['low']} to {shown['high']}, n = {card['n']})" if shown["low"] else ""
    return {name: card[name] for name in ("value", "low", "high", "n")} | {"shown": shown["value"] + several}


# ---------------------------------------------------------------- its other outputs
def differences(stored: Sequence[Any], new: Sequence[Any], tags: set[str]) -> list[dict[str, Any]]:
    """Where the outputs of a cell differ by more than its tags allow: a dictionary for each number, text and picture.

    what      number, words or picture
    where     the line in which a number stands
    stored, now, allowed    numbers; texts, where it is not a number
    """

    def kinds(display):
        return tuple(kind for kind, _ in display)

    known, found = tolerance(tags), []
    for a, b in pairs(displays(stored), displays(new), kinds):
        if a is None or b is None or kinds(a) != kinds(b):
            found.append(difference("words", "", summary(a), summary(b)))
        else:
            found += of_display(a, b, known)
    return found


def of_display(stored: Display, new: Display, known: dict[str, float]) -> list[dict[str, Any]]:
    """The differences of one display, each told once, though its forms (text, HTML, figures) all show it."""
    found: list[dict[str, Any]] = []
    told: list[Moved] = []
    forms = [(kind, a, b) for (kind, a), (_, b) in zip(stored, new)]
    for kind, a, b in sorted(forms, key=lambda form: form[0] == "text/html"):  # a text says it without marks
        line = ""
        if kind in PICTURES:
            if picture_differences(a, b, known["picture"]):
                found.append(difference("picture", "", "", f"differs in {ink(a, b):.3f} of its ink", known["picture"]))
            continue
        if kind == MIME:
            book, here = json.loads(a), json.loads(b)
            if book["verdict"] != here["verdict"]:
                return []  # the list of claims tells it
            line = book["sentence"]
            a, b = (json.dumps(measured(card)) for card in (book, here))
        if skeleton(a) != skeleton(b):
            if kind != MIME:
                return [*found, difference("words", "", *first_other(a, b))]
            continue
        mine = moved(a, b, known["rtol"], known["atol"])
        for one in mine:
            if not any(same(one, other) for other in told):
                found.append(difference("number", line or line_of(a, one.place), one.stored, one.now, one.allowed))
        told += mine
    return found


def measured(card: dict[str, Any]) -> dict[str, Any]:
    """The figures of a claim's card, each once: one number's interval has no ends, and `shown` is the text's form."""
    ends = [card["low"], card["high"]]
    return {"value": card["value"], "ends": None if ends == [card["value"]] * 2 else ends}


def same(one: Moved, other: Moved) -> bool:
    """Whether two forms of a display tell the same number, rounded to their places."""
    unit = max(one.unit, other.unit)
    return abs(one.stored - other.stored) <= unit and abs(one.now - other.now) <= unit


def first_other(stored: str, new: str) -> tuple[str, str]:
    """The first line in which the words of two texts differ."""
    lines = zip_longest(stored.splitlines(), new.splitlines(), fillvalue="")
    return next(((a, b) for a, b in lines if skeleton(a) != skeleton(b)), (stored, new))


def difference(what: str, where: str, stored: Any, now: Any, allowed: float | None = None) -> dict[str, Any]:
    stored, now = (private(x) if isinstance(x, str) else x for x in (stored, now))
    return {"what": what, "where": private(where), "stored": stored, "now": now, "allowed": allowed}


def line_of(text: str, place: int) -> str:
    """The line of a text in which its decimal number `place` stands."""
    at = [found.start() for found in NUMBER.finditer(text)][place - 1]
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0]


def summary(display: Display | None) -> str:
    """A display that has no partner, in a line."""
    if display is None:
        return "nothing"
    kind, text = next((form for form in display if form[0] == "text/plain"), display[0])
    return "a picture" if display[0][0] in PICTURES else f"{kind}: {text.strip()}"


# ---------------------------------------------------------------- all of it
def versions(lectures: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{package: its version here and in the book}: that of the stored outputs' stamps, else that of the tested set."""
    stamped: dict[str, set[str]] = {}
    for one in lectures:
        for name, version in (one["book"]["versions"] or {}).items():
            stamped.setdefault(name, set()).add(version)
    book = machine.tested() | {name: ", ".join(sorted(known)) for name, known in stamped.items()}
    return {
        name: {"here": here, "book": book.get(name), "differs": here.partition("+")[0] != book.get(name, here)}
        for name, here in machine.versions().items()
    }

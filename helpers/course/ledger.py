"""The ledger of claims: every claim of every notebook, read from the outputs that are stored in it."""

import re
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from helpers.course.claims import MIME
from helpers.course.lectures import appendix

MARKS = re.compile(r"([\\`*_{}\[\]<>|$~#&^])")  # what Markdown would read as more than a letter


class Claim(NamedTuple):
    """One claim as its card shows it: texts, already rounded as the notebook rounds them."""

    sentence: str
    value: str
    low: str  # the 95 % interval; "" where one number was measured
    high: str
    n: int  # seeds, or paired differences
    bound: str
    section: str  # the heading that it stands under
    anchor: str  # the id of its card on the lecture's page
    remarks: str = ""  # what the interval is conditional on, whether the bound is a guard


def joined(text: str | list[str]) -> str:
    return "".join(text)  # nbformat stores a text as one string or as its lines


def claims(notebook: dict) -> list[Claim]:
    """Every claim in the stored outputs of `notebook` (the parsed JSON of an .ipynb), in order."""
    section, found = "", []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            fenced = re.sub(r"(?ms)^```.*?^```", "", joined(cell["source"]))
            section = ([section] + re.findall(r"^#{2,3} +(.+?)\s*$", fenced, re.M))[-1]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            facts = data.get(MIME)
            if facts is None and 'class="claim"' in joined(data.get("text/html", "")):
                raise ValueError(f"a claim is stored in a form that the ledger cannot read: {data['text/plain']!r}")
            if facts:
                shown = facts["shown"]
                n = facts["n"] if shown["low"] else 1
                texts = (facts["sentence"], shown["value"], shown["low"], shown["high"], n, facts["bound"])
                found.append(Claim(*texts, section, facts["id"], facts.get("remarks", "")))
    return found


def plain(text: str) -> str:
    """`text` for a Markdown table: no letter of it means anything but itself."""
    return MARKS.sub(r"\\\1", text)


def short(text: str) -> str:
    """A number with more than six decimals, as cards show tiny differences, in powers of ten: 0.0000010 -> 1e-06."""
    return re.sub(r"-?\d+\.\d{7,}", lambda number: f"{float(number[0]):.3g}", text)


def table(found: list[Claim], page: str) -> str:
    """A Markdown table of claims whose cards stand on `page` (an address; "" for this page itself)."""
    lines = ["| Claim | Measured | 95 % interval | n | Needed |", "|---|---:|---:|---:|---|"]
    for claim in found:
        link = f'<a class="reference internal" href="{escape(page)}#{claim.anchor}">{plain(claim.sentence)}</a>'
        link += f" {plain(claim.remarks)}" * bool(claim.remarks)
        between = (f"{short(claim.low)} to {short(claim.high)}" if claim.low else "one number").replace(" ", "\u00a0")
        lines.append(f"| {link} | {plain(short(claim.value))} | {between} | {claim.n} | {plain(short(claim.bound))} |")
    return "\n".join(lines)


def ledger(lectures: Sequence[tuple[str, str, dict]], page: Callable[[str], str]) -> str:
    """The page's text. `lectures`: [(name, title, parsed notebook)]; `page(name)`: the address of a lecture."""
    books = [(name, title, claims(notebook)) for name, title, notebook in lectures]
    extra = [found for name, _, found in books if appendix(name.rpartition("/")[2])]
    every = [claim for _, _, found in books for claim in found]
    if not every:
        return "No lecture has made a claim yet."
    several = sum(bool(claim.low) for claim in every)
    lines = [
        f"{len(every)} claims in {len(books) - len(extra)} lectures"
        + (f", {sum(map(len, extra))} of them in appendices" if extra else "")
        + f". {several} of them are means with an interval, over seeds "
        f"or paired differences; {len(every) - several} are one number: a count, an equality with an independent "
        "implementation, or one run on a stated split.",
        "",
    ]
    for name, title, found in books:
        lines += [f"## {title}", "", f"{len(found)} claims. A row leads to the card in the lecture.", ""]
        lines += [table(found, page(name)), ""] if found else []
    return "\n".join(lines)

"""What a check found, in a sentence and as a page: HTML that stands alone, for a reader and for an issue.

The page needs no network and no script. It follows the reader's choice of light and dark, and on a telephone each row
of a long table becomes a block. Every text in it is escaped: it came out of a kernel.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --ground: #fff; --soft: #55555c; --line: #d0d0d6; --tint: #f4f4f6;
  --good: #00664b; --bad: #a33b00; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --ground: #16171a; --soft: #a9a9b2; --line: #3c3d44; --tint: #202127; --good: #56c9a4;
    --bad: #ff9a66; --link: #8ab8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 3rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--link); }
code { font: .9em ui-monospace, monospace; }
.verdict { font-size: 1.15rem; font-weight: 600; border-left: .3rem solid var(--good); padding: .4rem .8rem;
  background: var(--tint); }
.verdict.bad { border-color: var(--bad); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .soft { color: var(--soft); }
.verdict, .verdict.bad { color: inherit; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; }
.claims thead th:first-child { width: 38%; }
table.facts { width: auto; }
table.facts + table.facts { margin-top: 1rem; }
ul { padding-left: 1.2rem; }
@media (max-width: 46rem) {
  body { padding: .6rem .8rem 2rem; }
  .rows thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .rows, .rows tbody, .rows caption, .rows tr, .rows th, .rows td { display: block; width: 100%; }
  .rows tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .rows th, .rows td { border: 0; padding: .05rem 0; }
  .rows td::before { content: attr(data-label) ": "; color: var(--soft); font-weight: 400; }
}
"""


def counts(lectures: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many claims, differences and errors there are in these lectures, of each sort."""
    verdicts = [claim["verdict"] for one in lectures for claim in one["claims"]]
    kinds = [found["what"] for one in lectures for found in one["differences"]]
    return {
        "lectures": len(lectures),
        "claims": len(verdicts),
        **{name: verdicts.count(name) for name in ("holds", "does not hold", "missing")},
        **{name: kinds.count(name) for name in ("number", "words", "picture")},
        "raised": sum(len(one["raised"]) for one in lectures),
        "unfinished": sum(one["unfinished"] is not None for one in lectures),
    }


def holds(found: dict[str, int]) -> bool:
    """Whether every claim was made and holds."""
    return found["holds"] == found["claims"] and not found["unfinished"]


def several(number: int, one: str, more: str) -> str:
    """`number` with the word for one or for more of them."""
    return f"{number} {one if number == 1 else more}"


def headline(found: dict[str, int]) -> str:
    """How it stands, in a sentence without its full stop."""
    n = found["claims"]
    if found["holds"] == n:
        parts = [f"all {n} claims hold" if n > 1 else "the one claim holds" if n else "nothing is claimed"]
    else:
        parts = [f"{found['holds']} of {several(n, 'claim holds', 'claims hold')}"]
        parts += [several(found["does not hold"], "does not", "do not")] * bool(found["does not hold"])
        parts += [several(found["missing"], "is missing", "are missing")] * bool(found["missing"])
    parts.append(several(found["number"], "number", "numbers") + " outside tolerance")
    parts += [several(found["words"], "text differs", "texts differ")] * bool(found["words"])
    parts += [several(found["picture"], "picture differs", "pictures differ")] * bool(found["picture"])
    parts += [several(found["raised"], "cell", "cells") + " raised an error"] * bool(found["raised"])
    parts += [several(found["unfinished"], "lecture", "lectures") + " not run to the end"] * bool(found["unfinished"])
    return ", ".join(parts)


# ---------------------------------------------------------------- the page
def page(facts: dict[str, Any]) -> str:
    """The page of what `helpers.course.check.check` found."""
    said = headline(facts["counts"])
    lectures = facts["lectures"]
    body = [
        "<h1>Deep Learning, Measured: a check of its numbers</h1>",
        f'<p class="verdict {"good" if facts["holds"] else "bad"}">{escape(said[0].upper() + said[1:])}.</p>',
        f"<p>{several(len(lectures), 'lecture', 'lectures')} run again on {escape(facts['date'])} with "
        f"<code>{escape(facts['command'])}</code>, and held against the outputs that the book shows.</p>",
    ]
    if facts["left"]:
        body.append(f'<p class="bad">Not run, or not yet: {escape(", ".join(facts["left"]))}.</p>')
    body.append(
        "<p>To report what differs, attach this page and <code>check.json</code>, which holds the same facts. "
        "Neither names a user, a host or a folder.</p>"
    )
    links = (
        f'<li><a href="#{escape(one["name"])}">{escape(one["title"])}</a>: {escape(headline(counts([one])))}</li>'
        for one in lectures
    )
    body += [f"<ul>{''.join(links)}</ul>" if len(lectures) > 1 else "", _machine(facts), *map(_lecture, lectures)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Check: {escape(said)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def table(kind: str, caption: str, head: Sequence[str], rows: Iterable[Sequence[tuple[str, str] | str]]) -> str:
    """A table of texts, escaped here; the first column names the rows. A cell is a text, or (text, its class).

    The roles are those that the elements have anyway: browsers forget them where CSS makes blocks of a table.
    """
    html = [f'<table class="{kind}" role="table"><caption>{escape(caption)}</caption><thead role="rowgroup">']
    names = "".join(f'<th role="columnheader" scope="col">{escape(name)}</th>' for name in head)
    html.append(f'<tr role="row">{names}</tr></thead><tbody role="rowgroup">')
    for row in rows:
        cells = []
        for place, (name, cell) in enumerate(zip(head, row)):
            text, mark = (cell or "–", "") if isinstance(cell, str) else cell
            mark = f' class="{mark}"' if mark else ""
            if place:
                cells.append(f'<td role="cell" data-label="{escape(name)}"{mark}>{escape(text)}</td>')
            else:
                cells.append(f'<th role="rowheader" scope="row"{mark}>{escape(text)}</th>')
        html.append(f'<tr role="row">{"".join(cells)}</tr>')
    return "\n".join([*html, "</tbody></table>"])


def _machine(facts):
    told = dict(facts["machine"])
    told["memory"] = "not known" if (size := told.pop("memory_gb")) is None else f"{size} GB"
    told["settings"] = ", ".join(f"{name}={value}" for name, value in told["settings"].items()) or "none"
    told["commit of the course"] = facts["course"] or "not known"
    rows = [(name.replace("_", " ").capitalize(), str(value)) for name, value in told.items()]
    packages = [
        (name, (one["here"], "bad" if one["differs"] else ""), one["book"] if one["differs"] else "the same")
        for name, one in facts["versions"].items()
    ]
    return "\n".join(
        [
            "<h2>The machine</h2>",
            table("facts", "What its arithmetic depends on", ("What", "Here"), rows),
            table("facts", "Versions of Python and of the packages", ("Package", "Here", "In the book"), packages),
        ]
    )


def _lecture(one):
    html = [f'<h2 id="{escape(one["name"])}">{escape(one["title"])}</h2>']
    book, time = one["book"], f"Run in {one['seconds']} s"
    if book["date"]:
        cores = several(book["cores"], "core", "cores")
        time += f"; in {book['seconds']} s with {cores} on {book['date']}, when the book's outputs were stored"
    html.append(f'<p class="soft">{escape(time)}.</p>')
    if one["saved_elsewhere"]:
        html.append(
            '<p class="bad">This notebook was saved by another program since the book\'s outputs were stored in it. If '
            "it was run there, “in the book” below means that run; <code>git checkout notebooks</code> brings back the "
            "book's own.</p>"
        )
    if one["unfinished"]:
        html.append(f'<p class="bad">It was not run to the end: {escape(_place(one["unfinished"], "why"))}.</p>')
    worst = ["missing", "does not hold", "holds"]
    rows = [
        (
            claim["sentence"],
            claim["here"]["shown"] if claim["here"] else "nothing",
            claim["book"]["shown"] if claim["book"] else "nothing",
            claim["bound"],
            (claim["verdict"], "good" if claim["verdict"] == "holds" else "bad"),
        )
        for claim in sorted(one["claims"], key=lambda claim: worst.index(claim["verdict"]))
    ]
    html.append("<h3>Claims</h3>")
    head = ("Claim", "Here", "In the book", "Needed", "Verdict")
    caption = f"{several(len(rows), 'claim', 'claims')}; a mean with its 95 % interval over n seeds or pairs"
    html.append(table("rows claims", caption, head, rows) if rows else "<p>None.</p>")
    html.append("<h3>Outside the tolerance of their cell</h3>")
    rows = [
        (f"cell {d['cell']}", d["where"] or d["code"], _number(d["stored"]), _number(d["now"]), _number(d["allowed"]))
        for d in one["differences"]
    ]
    head = ("Cell", "Where", "In the book", "Here", "Allowed difference")
    caption = f"{several(len(rows), 'number, text or picture', 'numbers, texts and pictures')}; code cells from 1"
    html.append(table("rows", caption, head, rows) if rows else "<p>None.</p>")
    html.append("<h3>Cells that raised an error</h3>")
    lines = "".join(f"<li>{escape(_place(cell, 'error'))}</li>" for cell in one["raised"])
    html.append(f"<ul>{lines}</ul>" if lines else "<p>None.</p>")
    return "\n".join(html)


def _place(cell, key):
    where = f"cell {cell['cell']} ({cell['code']}): " if cell["cell"] else ""
    return f"{where}{cell[key]}"


def _number(value):
    return value if isinstance(value, str) else "" if value is None else f"{value:g}"

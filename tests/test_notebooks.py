"""What every notebook must be, beside running green: canonical, never vacuous, plain, readable by everyone.

`problems` lists what is wrong with a notebook; the second half of this file plants each fault and finds it.
"""

import copy
import io
import re
import tokenize
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

from tools.notebooks import canonical, text

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMITS = {"rtol": 0.05, "atol": 0.05, "picture": 0.4}  # beyond these a cell's tag needs a reason
TAGS = re.compile(
    r"nbval-(rtol|atol|picture)=[0-9.]+(e-?\d+)?|nbval-(skip|ignore-output)|raises-exception"
    r"|hide-(input|output|cell)|remove-(input|output|cell)"
)
MACHINE = re.compile(r"/(?:tmp|home|root|Users)/\w|[A-Z]:\\\\?Users|\b0x[0-9a-f]{8,}\b|site-packages")
MYST = {
    "a directive (:::)": re.compile(r"^\s*:{3,}", re.M),
    "a fenced directive": re.compile(r"^\s*(`{3,}|~{3,})\s*\{", re.M),
    "a role": re.compile(r"\{[a-z:]+\}`"),
    "a target": re.compile(r"^\([\w-]+\)=\s*$", re.M),
    "a labelled equation": re.compile(r"\$\$\s*\([\w:-]+\)\s*$", re.M),
    "a MyST comment or break": re.compile(r"^(%|\+\+\+)", re.M),
    "a substitution": re.compile(r"\{\{.*?\}\}"),
}


class Images(HTMLParser):
    """The alternative text of each <img> in raw HTML; None where there is none."""

    def __init__(self, html):
        super().__init__()
        self.alts = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def reason(source, tag):
    """Whether the first line of a cell gives a reason for its tag: `# raises-exception: what it shows`."""
    first = source.split("\n", 1)[0]
    return re.fullmatch(rf"#\s*{re.escape(tag)}:\s+\S.{{14,}}", first) is not None


def prose(cell):
    """A Markdown cell without its code."""
    source = re.sub(r"^(`{3,}|~{3,})(?!\s*\{).*?^\1\s*$", "", cell.source, flags=re.M | re.S)
    return re.sub(r"(?<!`|\})`[^`\n]+`", "``", source)


def markdown_problems(nb):
    level = 0
    for place, cell in enumerate(nb.cells):
        if cell.cell_type == "raw":
            yield f"cell {place} is raw, which JupyterLab and the book show differently"
        if cell.cell_type != "markdown":
            continue
        words = prose(cell)
        for what, pattern in MYST.items():
            if pattern.search(words):
                yield f"cell {place}: {what}; notebooks are plain Markdown"
        for sentence in doubled(words):
            yield f"cell {place}: twice: {sentence}"
        for alt in re.findall(r"!\[(.*?)\]\(", words, re.S):
            if len(alt.strip()) < 10:
                yield f"cell {place}: an image without alternative text"
        for alt in Images(words).alts:
            if alt is None or len(alt.strip()) < 10:
                yield f"cell {place}: an <img> without alternative text"
        if re.search(r"\]\([^)\s]*\.(?:md|ipynb)#", words):
            yield f"cell {place}: a link to a heading of another page; link to the page"
        for marks in re.findall(r"^(#+)\s", words, re.M):
            if len(marks) > level + 1 or len(marks) == 1 and level:
                yield f"cell {place}: a heading of level {len(marks)} after one of level {level}"
            level = len(marks)
    if nb.cells[0].cell_type != "markdown" or not nb.cells[0].source.startswith("# "):
        yield "cell 0 is not the title"


def code_problems(nb):
    number, stubs, solutions = 0, 0, 0
    for place, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        number += 1
        tags = cell.metadata.get("tags", [])
        if not cell.source.strip():
            yield f"cell {place} is empty"
        if cell.execution_count != number:
            yield f"cell {place} has execution count {cell.execution_count}, not {number}"
        if re.search(r"^\s*#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source, re.M):
            yield f"cell {place}: nbval's comments are not used here, its tags are"
        for tag in tags:
            if not TAGS.fullmatch(tag):
                yield f"cell {place}: unknown tag {tag!r}"
            limit = re.fullmatch(r"nbval-(\w+)=(.+)", tag)
            special = (
                tag.startswith(("nbval-skip", "nbval-ignore", "raises-exception"))
                or limit
                and float(limit[2]) > LIMITS[limit[1]]
            )
            if special and not reason(cell.source, tag):
                yield f"cell {place}: no reason for {tag}; the first line must be  # {tag}: why"
        if ("hide-input" in tags) != bool(cell.metadata.get("jupyter", {}).get("source_hidden")):
            yield f"cell {place}: hidden in the book or in JupyterLab, but not in both"
        if found := lone_words(cell.source):
            yield f"cell {place}: a string is cut into a line of one word, {found[0]}"
        hidden = "hide-input" in tags
        if not hidden and cell.source.count("\n") >= 45:
            yield f"cell {place}: {cell.source.count(chr(10)) + 1} lines of code do not fit on a screen"
        if re.search(r"(?<![\w.])check\(", cell.source):
            said = "".join(out.text for out in cell.outputs if out.output_type == "stream")
            if hidden and ("Not yet" in said or "Correct" not in said):
                yield f"cell {place}: a solution that its own check does not pass"
            if not hidden and ("Correct" in said or "Not yet" not in said):
                yield f"cell {place}: a hole that its check calls correct, or no check at all"
            stubs, solutions = stubs + (not hidden), solutions + hidden
        yield from output_problems(place, cell, "raises-exception" in tags)
    if stubs != solutions:
        yield f"{stubs} exercises and {solutions} solutions that are checked"


def doubled(text):
    """Long sentences of Markdown that stand in one cell twice."""
    sentences = [one.strip(" ()") for one in re.split(r"(?<=[.!?])\)? +\(?|\n", text)]
    return [one for i, one in enumerate(sentences) if len(one) > 40 and one in sentences[:i]]


def lone_words(source):
    """Pieces of strings that stand in a line of their own and hold one word."""
    tokens, found, run = tokenize.generate_tokens(io.StringIO(source).readline), [], []
    for token in tokens:
        if token.type == tokenize.STRING:
            run.append(token)
        elif token.type not in (tokenize.NL, tokenize.COMMENT):
            if len(run) > 1 and run[0].start[0] != run[-1].start[0]:
                found += [t.string for t in run if len(t.string.split()) == 1]
            run = []
    return found


def output_problems(place, cell, may_raise):
    for out in cell.outputs:
        if out.output_type == "stream" and out.name == "stderr":
            yield f"cell {place} wrote to stderr: {out.text[:80]!r}"
        if out.output_type == "error" and not may_raise:
            yield f"cell {place} raised {out.ename}"
        for kind, data in out.get("data", {}).items():
            if kind.startswith("image/"):
                if len(out.metadata.get(kind, {}).get("alt", "").strip()) < 20:
                    yield f"cell {place}: a figure without alternative text; plots.show(fig, alt=...)"
            elif kind == "text/html":
                if any(alt is None for alt in Images(data).alts):
                    yield f"cell {place}: HTML with an <img> without alternative text"
                if "<script" in data.lower():
                    yield f"cell {place}: HTML with a script"
        data = out.get("data", {}).items()
        seen = out.get("text", "") + "".join(value for kind, value in data if kind.startswith("text/"))
        if found := MACHINE.search(seen):
            yield f"cell {place} shows something of this machine: {found[0]!r}"


def problems(nb):
    """Everything that is wrong with a notebook, a line each."""
    try:
        if text(canonical(copy.deepcopy(nb))) != text(nb):
            yield "not in canonical form; python -m tools.notebooks --tidy"
    except ValueError as error:
        yield str(error)
    if len(text(nb)) > 2.5e6:
        yield f"{len(text(nb)) / 1e6:.1f} MB are too much to read; 2.5 MB is the limit"
    yield from markdown_problems(nb)
    yield from code_problems(nb)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    nb = nbformat.read(path, 4)
    found = list(problems(nb))
    if path.read_text(encoding="utf-8") != text(nb):
        found.append("not stored in canonical form; python -m tools.notebooks --tidy")
    if "verified" not in nb.metadata:
        found.append("no stamp: `make notebooks` runs it and notes when")
    assert not found, "\n".join([path.name, *found])


def test_every_notebook_is_in_the_book_and_on_the_desk():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    desk = (ROOT / "notebooks" / "README.md").read_text()
    assert {name for name in listed if "notebooks/" in name} == {f"notebooks/{p.stem}" for p in NOTEBOOKS}
    assert [p.name for p in NOTEBOOKS if f"]({p.name})" not in desk] == []


# ------------------------------------------------------------------ each fault is found
def good():
    """A small notebook without a fault."""
    new = nbformat.v4
    png = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAMAAAAoyzS7AAAAA1BMVEX///+nxBvIAAAACklEQVR4nGNgAAAAAgABSK+kcQAA"
        "AABJRU5ErkJggg==\n"
    )
    figure = new.new_output(
        "display_data",
        {"image/png": png, "text/plain": "Figure"},
        metadata={"image/png": {"alt": "a white dot on a white ground"}},
    )
    nb = new.new_notebook(
        cells=[
            new.new_markdown_cell("# Title\n\n> **Note.** `x:::` and $x$.\n\n```python\n# no heading\n```"),
            new.new_code_cell(
                "print(1)", execution_count=1, outputs=[new.new_output("stream", name="stdout", text="1\n")]
            ),
            new.new_markdown_cell("## Section\n\n![a plot of nothing](x.png)"),
            new.new_code_cell("show(fig)", execution_count=2, outputs=[figure], metadata={"tags": ["nbval-atol=0.05"]}),
            new.new_code_cell(
                "check(f, case(1, gives=1))",
                execution_count=3,
                outputs=[new.new_output("stream", name="stdout", text="Not yet: f(1)\n")],
            ),
            new.new_code_cell(
                "check(f, case(1, gives=1))",
                execution_count=4,
                metadata={"tags": ["hide-input"], "jupyter": {"source_hidden": True}},
                outputs=[new.new_output("stream", name="stdout", text="Correct.\n")],
            ),
        ]
    )
    return canonical(nb)


def test_a_good_notebook_has_no_problem():
    assert list(problems(good())) == []


def set_output(nb, cell, kind, **fields):
    nb.cells[cell].outputs = [nbformat.v4.new_output(kind, **fields)]


FAULTS = {
    "was not run": lambda nb: nb.cells[1].update(execution_count=None),
    "execution count 7": lambda nb: nb.cells[1].update(execution_count=7),
    "is empty": lambda nb: nb.cells[1].update(source=" "),
    "no reason for nbval-skip": lambda nb: nb.cells[1].metadata.update(tags=["nbval-skip"]),
    "no reason for nbval-ignore-output": lambda nb: nb.cells[1].update(
        source="# nbval-ignore-output: \nprint(1)", metadata={"tags": ["nbval-ignore-output"]}
    ),
    "no reason for raises-exception": lambda nb: nb.cells[1].metadata.update(tags=["raises-exception"]),
    "no reason for nbval-atol=0.5": lambda nb: nb.cells[1].metadata.update(tags=["nbval-atol=0.5"]),
    "unknown tag": lambda nb: nb.cells[1].metadata.update(tags=["nbval_atol=0.05"]),
    "nbval's comments": lambda nb: nb.cells[1].update(source="# NBVAL_IGNORE_OUTPUT\nprint(1)"),
    "stderr": lambda nb: set_output(nb, 1, "stream", name="stderr", text="warning"),
    "raised ValueError": lambda nb: set_output(nb, 1, "error", ename="ValueError", evalue="", traceback=[]),
    "a directive": lambda nb: nb.cells[2].update(source="## Section\n\n:::{note}\nx\n:::"),
    "a fenced directive": lambda nb: nb.cells[2].update(source="## Section\n\n```{note}\nx\n```"),
    "a role": lambda nb: nb.cells[2].update(source="## Section\n\nsee {cite}`he2016`"),
    "a target": lambda nb: nb.cells[2].update(source="(here)=\n## Section"),
    "twice: A sentence": lambda nb: nb.cells[2].update(
        source="## Section\n\nA sentence that is long enough to matter. (A sentence that is long enough to matter.)"
    ),
    "an image without": lambda nb: nb.cells[2].update(source="## Section\n\n![](x.png)"),
    "an <img> without": lambda nb: nb.cells[2].update(source='## Section\n\n<img src="x.png">'),
    "a figure without": lambda nb: nb.cells[3].outputs[0].metadata.clear(),
    "HTML with an <img>": lambda nb: set_output(nb, 1, "display_data", data={"text/html": "<img src=x>"}),
    "a script": lambda nb: set_output(nb, 1, "display_data", data={"text/html": "<script>1</script>"}),
    "level 4 after one of level 1": lambda nb: nb.cells[2].update(source="#### Section"),
    "level 1 after one of level 1": lambda nb: nb.cells[2].update(source="# Second title"),
    "is not the title": lambda nb: nb.cells[0].update(source="Title"),
    "is raw": lambda nb: nb.cells.append(nbformat.v4.new_raw_cell("x")),
    "a link to a heading": lambda nb: nb.cells[2].update(source="## Section\n\n[x](other.md#there)"),
    "this machine": lambda nb: set_output(nb, 1, "stream", name="stdout", text="saved to /tmp/x/y\n"),
    "0x7f": lambda nb: set_output(nb, 1, "stream", name="stdout", text="<object at 0x7f0d746e67a0>\n"),
    "not in both": lambda nb: nb.cells[5].metadata.pop("jupyter"),
    "fit on a screen": lambda nb: nb.cells[1].update(source="print(1)\n" * 60),
    "check calls correct": lambda nb: set_output(nb, 4, "stream", name="stdout", text="Correct.\n"),
    "own check": lambda nb: set_output(nb, 5, "stream", name="stdout", text="Not yet: f\n"),
    "1 exercises and 0": lambda nb: nb.cells.pop(),
    "a line of one word": lambda nb: nb.cells[1].update(source='print(\n    "a long sentence "\n    "cut"\n)'),
    "2.5 MB is the limit": lambda nb: set_output(nb, 1, "stream", name="stdout", text="x" * 2_600_000),
    "canonical form": lambda nb: nb.metadata.update(widgets={}),
}


@pytest.mark.parametrize("message", FAULTS)
def test_each_fault_is_found(message):
    nb = good()
    FAULTS[message](nb)
    found = list(problems(nb))
    assert any(message in line for line in found), found


def test_reasons_are_accepted():
    nb = good()
    nb.cells[1].update(source="# raises-exception: the point is what it says\nprint(1)")
    nb.cells[1].metadata["tags"] = ["raises-exception"]
    set_output(nb, 1, "error", ename="ValueError", evalue="no", traceback=["ValueError: no"])
    nb.cells[3].update(source="# nbval-atol=0.5: logits of an untrained network\nshow(fig)")
    nb.cells[3].metadata["tags"] = ["nbval-atol=0.5"]
    assert list(problems(nb)) == []

"""Words of the glossary in the lectures become links: the first use on a page, whole words, never inside code."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the book extra is not installed")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402

import bookterms  # noqa: E402

KNOWN = {
    "batch": "batch",
    "batch normalisation": "batch normalisation",
    "average precision": "average precision (AP)",
    "AP": "average precision (AP)",
    "class": "class",
    "map": "map",
}


def linked(*parts):
    """(what is linked, to which term) in a paragraph of these texts and nodes."""
    page = nodes.section(
        "",
        nodes.title("", "The batch"),
        nodes.paragraph("", "", *(nodes.Text(part) if isinstance(part, str) else part for part in parts)),
    )
    before = page.astext()
    found = bookterms.link(page, "notebooks/x", KNOWN)
    links = [(ref.astext(), ref["reftarget"]) for ref in page.findall(addnodes.pending_xref)]
    assert page.astext() == before and found == {term for _, term in links}
    return links


@pytest.mark.parametrize(
    "text, links",
    [
        ("A batch of a batch.", [("batch", "batch")]),
        ("Batches and classes.", [("Batches", "batch"), ("classes", "class")]),
        ("Batch normalisation, then a batch.", [("Batch normalisation", "batch normalisation"), ("batch", "batch")]),
        ("the AP, the average\nprecision", [("AP", "average precision (AP)")]),
        ("ap, a classic, a mini-batch, mapped, a subclass, batch_size", []),
        ("", []),
    ],
)
def test_the_first_use_of_a_word_is_linked(text, links):
    assert linked(text) == links


def test_a_line_break_in_the_source_does_not_hide_a_term():
    assert linked("the average", "\n", "precision") == [("average\nprecision", "average precision (AP)")]
    assert linked("the average", nodes.literal("", "\n"), "precision") == []


def test_code_links_and_headings_stay_as_they_are():
    assert linked(nodes.literal("", "batch"), nodes.reference("", "", nodes.Text("the class"), refuri="x")) == []
    assert linked(nodes.emphasis("", "", nodes.Text("a batch"))) == [("batch", "batch")]


def test_every_term_of_the_glossary_is_known():
    known = bookterms.terms((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"))
    words = bookterms.pattern(known)
    assert len(set(known.values())) >= 120 and known["AP"] == "average precision (AP)"
    for spelling, term in known.items():
        for text in (spelling, spelling[0].upper() + spelling[1:], f"{spelling}s"):
            match = words.search(f"the {text}, which")
            assert match and known[bookterms.spelled(match[0], known)] == term, text

"""The first time that a lecture uses a term of the glossary, the word leads there.

Notebooks are plain Markdown, so the links are not typed: the glossary's own list decides.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

# where a word is no prose, or is a link already
NOT_HERE = (
    nodes.title,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.reference,
    nodes.raw,
    nodes.caption,
    addnodes.pending_xref,
    addnodes.download_reference,
)


def terms(source):
    """{spelling: term} of a glossary's Markdown source; `average precision (AP)` is known by both of its names."""
    listed = re.findall(r"^(\S.*)\n  \*\*", source.partition("{glossary}\n")[2], re.M)
    known = {}
    for term in listed:
        short = re.fullmatch(r"(.+?) \((.+)\)", term)
        for spelling in short.groups() if short else (term,):
            known.setdefault(spelling, term)
    return known


def pattern(known):
    """Finds any spelling as a whole word, the longest first, in the plural too; abbreviations only as they are."""
    words = []
    for spelling in sorted(known, key=len, reverse=True):
        word = re.escape(spelling).replace(r"\ ", r"\s+")
        first = rf"(?i:{word[0]})"  # at the beginning of a sentence
        words.append(
            rf"{first}{word[1:]}s?"
            if spelling[0].islower() and spelling != spelling.lower()
            else rf"{word}s?"
            if spelling != spelling.lower()
            else rf"(?i:{word}(?:s|es)?)"
        )
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])")


def spelled(text, known):
    """The spelling in the glossary of a word that `pattern` found."""
    text = re.sub(r"\s+", " ", text)
    for one in (text, text.removesuffix("s"), text.removesuffix("es")):
        for spelling in (one, one[:1].lower() + one[1:], one.lower()):
            if spelling in known:
                return spelling


def joined(doctree):
    """Make neighbouring texts one: a line break in the source cuts them, also within a term of two words."""
    for parent in list(doctree.findall(nodes.TextElement)):
        done = []
        for child in parent.children:
            if done and isinstance(child, nodes.Text) and isinstance(done[-1], nodes.Text):
                done[-1] = nodes.Text(done[-1].astext() + child.astext())
            else:
                done.append(child)
        if len(done) < len(parent.children):
            parent.children = []
            parent.extend(done)


def link(doctree, docname, known):
    """Turn the first use of each term in the paragraphs of a page into a link; returns the terms that were found."""
    words, found = pattern(known), set()
    joined(doctree)
    for text in list(doctree.findall(nodes.Text)):
        parents, node = [], text.parent
        while node is not None:
            parents.append(node)
            node = node.parent
        if (
            not any(isinstance(p, nodes.paragraph) for p in parents)
            or any(isinstance(p, NOT_HERE) for p in parents)
            or any(
                "cell_output" in p.get("classes", ()) or "verified" in p.get("classes", ())
                for p in parents
                if isinstance(p, nodes.Element)
            )
        ):
            continue
        pieces, end, plain = [], 0, text.astext()
        for match in words.finditer(plain):
            term = known.get(spelled(match[0], known))
            if term is None or term in found:
                continue
            found.add(term)
            shown = nodes.inline(match[0], match[0], classes=["xref", "std", "std-term"])
            pieces += [
                nodes.Text(plain[end : match.start()]),
                addnodes.pending_xref(
                    "",
                    shown,
                    refdomain="std",
                    reftype="term",
                    reftarget=term,
                    refdoc=docname,
                    refexplicit=True,
                    refwarn=True,
                ),
            ]
            end = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(plain[end:])])
    return found


def lecture(app, doctree):
    """Sphinx calls this for each page that it has read."""
    docname = app.env.docname
    if docname.startswith("notebooks/"):
        source = Path(app.srcdir, "book", "glossary.md")
        app.env.note_dependency(str(source))
        link(doctree, docname, terms(source.read_text(encoding="utf-8")))


def setup(app):
    app.connect("doctree-read", lecture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

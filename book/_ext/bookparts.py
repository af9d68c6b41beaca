"""Parts of the book that are generated, never typed: the lectures' stamps and costs, the table of data.

A page asks for one with an HTML comment on a line of its own, for example `<!-- lectures -->`.
"""

from html import escape
from pathlib import Path

from docutils import nodes

from bookresults import results
from helpers.course import front as shared
from helpers.course.lectures import appendix
from helpers.course.ledger import ledger


def verified(path):
    """What `make notebooks` noted in the notebook at `path` when it last ran it, or None."""
    if path.suffix != ".ipynb":
        return None
    return shared.read(path)["metadata"].get("verified")


def minutes(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def title(path):
    return shared.heading(shared.read(path))


def stamp(app, doctree):
    """Under a lecture's title: when, how fast and with which versions its stored outputs were made."""
    path = Path(app.env.doc2path(app.env.docname))
    run, heading = verified(path), next(iter(doctree.findall(nodes.title)), None)
    if run is None or heading is None:
        return
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    memory = f" and {run['memory_mb'] / 1000:.1f} GB" if run["memory_mb"] else ""
    text = (
        f"Last verified: every cell run on {run['date']}, in {minutes(run['seconds'])}{memory} on {run['cores']} "
        f"CPU cores, with {versions}."
    )
    heading.parent.insert(
        heading.parent.index(heading) + 1, nodes.paragraph("", "", nodes.emphasis(text, text), classes=["verified"])
    )


def material(run):
    """The data that a run read, with their size together."""
    if "data" not in run:
        return "built in"
    from helpers.data.catalogue import ENTRIES

    entries = [entry for entry in ENTRIES if entry.name in run["data"]]
    size = sum(entry.size for entry in entries) / 1e6
    return f"{', '.join(entry.name for entry in entries)} ({size:.1f} MB)" if entries else "drawn by the course"


def lectures(app):
    """A table of the lectures in the book's order with what a run of each one costs."""
    rows, total = [], 0
    for name, path in built(app):
        run = verified(path)
        total += run["seconds"] if run else 0
        memory = f"{run['memory_mb'] / 1000:.1f} GB" if run and run["memory_mb"] else ""
        cost = (
            [minutes(run["seconds"]), memory, f"{run['cores']} CPU cores, no GPU", material(run), run["date"]]
            if run
            else ["not yet run"] + [""] * 4
        )
        rows.append(f"| [{title(path)}](/{name}.ipynb) | " + " | ".join(cost) + " |")
    if not rows:
        return "The first lecture is being written."
    return "\n".join(
        [
            "| Lecture | A run takes | Memory | On | Data | Date |",
            "|---|---:|---:|---|---|---|",
            *rows,
            "",
            f"All of them together: {minutes(total)}.",
        ]
    )


TIERS = {1: "Built in", 2: "Small and real, by address", 3: "Full size"}


def catalogue(app):
    """The data of `helpers.data.catalogue`, one heading a tier."""
    from helpers.data.catalogue import ENTRIES

    lines = []
    for tier, heading in TIERS.items():
        entries = [entry for entry in ENTRIES if entry.tier == tier]
        lines += ["", f"## {heading}", ""] if entries else []
        for entry in entries:
            size = f"{entry.size / 1e6:.1f} MB" if entry.size >= 1e5 else f"{entry.size / 1e3:.0f} kB"
            what = entry.what[0].upper() + entry.what[1:]
            lines += [
                f"`{entry.name}`: {entry.title}",
                f": {what}. {size}, from {entry.source}.",
                f"  Licence: {entry.licence}. {entry.citation}",
                "",
            ]
    return "\n".join(lines)


def built(app):
    """(name, path) of the lectures that are in the book, in its order."""
    for name in app.config.external_site_map:
        path = Path(app.srcdir, f"{name}.ipynb")
        if path.exists():
            yield name, path


def claims(app):
    """Every claim of every lecture, with a link to its card."""
    found = [(name, title(path), shared.read(path)) for name, path in built(app)]
    one_page = app.builder.name == "singlehtml"  # the PDF: all lectures are on the page itself
    return ledger(found, lambda name: "" if one_page else f"../{name}.html")


def measured(app):
    """Every record under results/, with the lectures that draw from it."""
    lectures = {f"[{title(path)}](/{name}.ipynb)": path.read_text(encoding="utf-8") for name, path in built(app)}
    return results(Path(app.srcdir, "results"), lectures)


def front(app):
    """One measured picture, in both colour modes, and what it says."""
    points, n = shared.lie(app.srcdir)
    place = "_static" if app.builder.name == "singlehtml" else "../_static"
    pictures = "\n".join(
        f'<img class="front only-{mode}" src="{place}/{name}" width="720" alt="{escape(told)}">'
        for told in [shared.told(app.srcdir)]
        for mode, name in FRONT.items()
    )
    return (
        f"```{{raw}} html\n<p>{pictures}</p>\n```\n\n"
        f"*Copy a picture before you split the set, and the validation accuracy lies: by {points:.1f} points here, "
        f"the mean of {n} seeds. Split first, and it does not. "
        "[Lecture 07](/notebooks/07_image_augmentation.ipynb) breaks it and mends it; "
        "[the results](results.md) have the command.*"
    )


def draw_front(app, exception):
    """Draw the picture of the front page from its record, over the README's copy of it."""
    if exception is None and app.builder.format == "html":
        for mode, name in FRONT.items():
            Path(app.outdir, "_static", name).write_text(shared.drawn(app.srcdir, mode == "dark"), encoding="utf-8")


def overview(app):
    """The lectures with their questions and what surprised us."""
    return shared.lecture_table(
        (path for _, path in built(app) if not appendix(path.stem)),
        lambda stem, title: f"[{title}](/notebooks/{stem}.ipynb)",
        korean=True,
    )


FRONT = {"light": "front-light.svg", "dark": "front-dark.svg"}
PARTS = {
    "lectures": lectures,
    "catalogue": catalogue,
    "ledger": claims,
    "results": measured,
    "front": front,
    "overview": overview,
}


def fill(app, docname, source):
    for name, part in PARTS.items():
        line = f"\n<!-- {name} -->\n"
        if line in source[0]:
            source[0] = source[0].replace(line, f"\n{part(app)}\n")


def setup(app):
    app.connect("source-read", fill)
    app.connect("doctree-read", stamp)
    app.connect("build-finished", draw_front)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

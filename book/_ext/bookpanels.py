"""Panels that answer the reader's own input in the page: a comment `<!-- panel: NAME -->` in a lecture becomes one.

A lecture stays plain Markdown: JupyterLab shows nothing for the comment. In the book stands a sentence there until
`panels/panels.js` puts a button in its place; the rest is loaded when the reader presses it. The weights are written
by the build, from the checkpoints (`panelweights`).
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from panelweights import EXPORTS, LIMIT
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

import helpers
from helpers.course.panels import SCRIPTS, script

ROOT = Path(helpers.__file__).parents[1]  # where the checkpoints are, also for a book that is built elsewhere
MARK = re.compile(r"\s*<!--\s*panel:\s*([\w-]+)\s*-->\s*")

USED = re.compile(r'<div class="dlm-panel" data-panel="([\w-]+)"')

# title, bytes that its reader loads at most, and the scripts in the order in which they are loaded, before its weights
PANELS = {
    "sentiment": ("Your own review", LIMIT, SCRIPTS["sentiment"]),
    "detector": ("A picture of your own", LIMIT, SCRIPTS["detector"]),
    "augmentation": ("A picture of your own, changed", 100_000, SCRIPTS["augmentation"]),
    "autoencoder": ("A digit of your own", 200_000, SCRIPTS["autoencoder"]),
}


def weights(name):
    """The file of a panel's weights."""
    return f"weights-{name}.js"


def html(name):
    """What stands in the page before its reader opens the panel, and all there is without JavaScript or on paper."""
    title, limit, scripts = PANELS[name]
    files = " ".join([*scripts, weights(name)])
    size = f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit // 1000} kB"
    return (
        f'<div class="dlm-panel" data-panel="{name}" data-title="{escape(title)}" data-size="{size}" '
        f'data-scripts="{files}">\n'
        '<p class="dlm-panel-still">Where JavaScript runs, a panel opens here that answers your own input. '
        "Without it, the stored outputs on this page show what the models answer.</p>\n</div>"
    )


class Panels(SphinxTransform):
    """Put each panel where its comment stands."""

    default_priority = 31

    def apply(self, **kwargs):
        for raw in list(self.document.findall(nodes.raw)):
            found = MARK.fullmatch(raw.astext())
            if found is None:
                continue
            if found[1] not in PANELS:
                raise ExtensionError(f"bookpanels: there is no panel {found[1]!r}; there are {', '.join(PANELS)}")
            raw.replace_self(nodes.raw("", html(found[1]), format="html"))


def load_on_its_page(app, pagename, templatename, context, doctree):
    """The script that opens panels, and their look, only on pages that have one."""
    names = USED.findall(context.get("body") or "")
    if names and app.builder.name == "html":  # on the one page of the PDF they stay closed
        app.panels.update(names)
        app.add_js_file("panels/panels.js", loading_method="defer")
        app.add_css_file("panels/panels.css")


def write_weights(folder, names=PANELS):
    """Write weights-NAME.js of each panel into `folder`; too much to load with a panel is an error."""
    for name in names:
        text = script(name, *EXPORTS[name](ROOT))
        Path(folder, weights(name)).write_text(text, encoding="utf-8")
        _, limit, scripts = PANELS[name]
        files = ["panels.js", "panels.css", *scripts, weights(name)]
        size = sum(Path(folder, file).stat().st_size for file in files)
        if size > limit:
            raise ExtensionError(f"bookpanels: the panel {name!r} loads {size:,} bytes; {limit:,} are the limit")


def export(app, exception):
    if exception is None and app.builder.name == "html":
        folder = Path(app.outdir, "_static", "panels")
        write_weights(folder, [name for name in PANELS if name in app.panels or Path(folder, weights(name)).exists()])


def setup(app):
    app.panels = set()  # those on the pages written in this build
    app.add_transform(Panels)
    app.connect("html-page-context", load_on_its_page)
    app.connect("build-finished", export)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Repairs for Jupyter Book 1: no external request, no console error, no axe-core violation.

Every repair of a template names what it replaces and fails the build when that is no longer there, so that
an update of the theme is noticed and never half repaired.
"""

import importlib.util
import re
import shutil
from pathlib import Path

from docutils import nodes
from jinja2 import BaseLoader
from myst_nb.core.render import NbElementRenderer
from sphinx.errors import ExtensionError
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from helpers.course.claims import MIME

log = logging.getLogger(__name__)

# ------------------------------------------------------- templates of the theme, adjusted as they are read
TEMPLATES = {
    "components/search-button-field.html": [  # axe: the visible text is the button's name
        (r""" title="{{ _\('Search'\) }}" aria-label="{{ _\('Search'\) }}\"""", ""),
        (r'(<span class="search-button__kbd-shortcut")>', r'\1 aria-hidden="true">'),
    ],
    "components/theme-switcher.html": [  # the same: three titled icons are not the button's label
        (r"""(<i class="theme-switch[^>]*?) title="{{ _\('[^']*'\) }}\"""", r'\1 aria-hidden="true"')
    ],
    "components/navbar-logo.html": [  # axe region: the link home stands outside every landmark
        (r'(?s)(<a class="navbar-brand logo".*</a>)', r"""<nav aria-label="{{ _('Home') }}">\1</nav>""")
    ],
}


class Repaired(BaseLoader):
    """Jinja loader that reads from `source` and applies the repairs of TEMPLATES."""

    def __init__(self, source):
        self.source, self.used = source, set()

    def __getattr__(self, name):  # Sphinx also asks its loader for paths
        return getattr(self.source, name)

    def get_source(self, environment, template):
        text, path, uptodate = self.source.get_source(environment, template)
        for name, repairs in TEMPLATES.items():
            if template.lstrip("!").endswith(name) or name == f"components/{template}":
                for pattern, replacement in repairs:
                    text, n = re.subn(pattern, replacement, text)
                    if not n:
                        raise ExtensionError(f"bookfix: the theme changed {name}; it has no {pattern!r}")
                self.used.add(name)
        return text, path, uptodate


def repair_templates(app):
    templates = getattr(app.builder, "templates", None)
    if templates is not None:
        templates.environment.loader = app.repaired = Repaired(templates)


def check_repairs(app, exception):
    if exception is None and app.builder.name == "html":
        for name in set(TEMPLATES) - app.repaired.used:
            raise ExtensionError(f"bookfix: the theme no longer uses {name}: is its repair still needed?")


# ------------------------------------------------------- scripts and pages
BODY = [
    (r' aria-label="Toggle hidden content"', ""),  # axe: a fold's visible title must be its name
    (r' role="list" class="citation-list"| role="doc-biblioentry"', ""),  # axe: a list role without items
    (r'<div style="overflow-x:auto">', '<div style="overflow-x:auto" tabindex="0">'),  # axe: keyboard
    (r"<th></th>", "<td></td>"),  # axe: the empty corner of a data frame
    (r'(?s)<script type="text/x-thebe-config">.*?</script>', ""),  # the rest of Thebe
]


def clean_page(app, pagename, templatename, context, doctree):
    seen, keep = set(), []
    for js in context.get("script_files", []):  # Sphinx 7.4 repeats inline scripts; Thebe needs a CDN
        key = (js.filename or "", str(js.attributes))
        if key not in seen and "thebe" not in str(key).lower():
            keep.append(js)
        seen.add(key)
    context["script_files"][:] = keep
    if context.get("body"):
        for pattern, replacement in BODY:
            context["body"] = re.sub(pattern, replacement, context["body"])


def mathjax(app):
    """Copy MathJax, one file without fonts, out of the installed package `sphinx-mathjax-offline`."""
    if app.builder.format != "html":
        return
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    source = Path(spec.origin).parent / "static/mathjax/tex-svg-full.js" if spec else None
    if source is None or not source.exists():
        raise ExtensionError("bookfix: no MathJax; pip install -c constraints.txt sphinx-mathjax-offline")
    target = Path(app.outdir, "_static", app.config.mathjax_path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def front_door(app, exception):
    """Give the page that only sends on to the front page our icon; without one browsers ask for /favicon.ico."""
    index = Path(app.outdir, "index.html")
    if exception is None and app.builder.name == "html" and app.config.html_favicon and index.exists():
        icon = f'<link rel="icon" href="_static/{Path(app.config.html_favicon).name}">'
        page = index.read_text(encoding="utf-8")
        if 'rel="icon"' not in page:
            index.write_text(f"<!doctype html>\n{icon}\n{page}", encoding="utf-8")


def buttons(app, config):
    """Repository, issue, Binder and Colab buttons once _config.yml names a repository, else none."""
    options, public = config.html_theme_options, bool(config.html_theme_options.get("repository_url"))
    options["use_repository_button"] = options["use_issues_button"] = public
    if not public:
        options["launch_buttons"] = {}


def share_visitors(app):  # for `make pdf`: one-page HTML knows HTML's visitors
    handlers = app.registry.translation_handlers
    for name, visitors in handlers.get("html", {}).items():
        if "singlehtml" in handlers:
            handlers["singlehtml"].setdefault(name, visitors)


# ------------------------------------------------------- notebooks
def render_image(self, data, render=NbElementRenderer.render_image):
    """MyST-NB reads alternative text from the cell; helpers.course.plots.show stores it with the picture itself."""
    images = render(self, data)
    for image in images:
        alt = data.output_metadata.get(data.mime_type, {}).get("alt") or image.get("alt")
        if alt:
            image["alt"] = " ".join(alt.split())
        else:
            log.warning(
                f"cell {data.cell_index} has a picture without alternative text; show it with "
                "helpers.course.plots.show(fig, alt=...)",
                location=(self.renderer.document["source"], data.line),
            )
    return images


def render_unhandled(self, data, render=NbElementRenderer.render_unhandled):
    """A claim's figures are for the ledger; its page shows the HTML beside them."""
    return [] if data.mime_type == MIME else render(self, data)


class Widgets(SphinxPostTransform):
    """A control does nothing without a kernel: the book says where it works instead of showing its type."""

    default_priority = 3  # before MyST-NB selects a mime type (4)

    def run(self, **kwargs):
        text = "In JupyterLab (make lab) there is a control to play with here."
        for bundle in list(self.document.findall(nodes.container)):
            kinds = [child.get("mime_type") for child in bundle.children if isinstance(child, nodes.Element)]
            if "application/vnd.jupyter.widget-view+json" in kinds:
                bundle.replace_self(nodes.paragraph("", text, classes=["widget"]))


KINDS = {"note": ["note"], "tip": ["tip"], "warning": ["warning"], "exercise": ["exercise"]}


class Callouts(SphinxTransform):
    """`> **Note.** text` in plain Markdown, readable in JupyterLab, becomes an admonition in the book."""

    default_priority = 30  # after translation (20)

    def apply(self, **kwargs):
        for quote in list(self.document.findall(nodes.block_quote)):
            if not (len(quote) and isinstance(quote[0], nodes.paragraph)):
                continue
            para, parts = quote[0], [c for c in quote[0].children if c.astext()]  # MyST emits empty Text
            if not (parts and isinstance(parts[0], nodes.strong)):
                continue
            title = parts[0].astext().rstrip(" .:")
            classes = KINDS.get(re.split(r"[\s\d]", title.lower())[0])
            if classes is None:
                continue
            para.children = parts[1:]
            if parts[1:] and isinstance(parts[1], nodes.Text):
                para.replace(parts[1], nodes.Text(parts[1].astext().lstrip(" .:\n")))
            if not para.astext().strip():
                quote.remove(para)
            quote.replace_self(nodes.admonition("", nodes.title(title, title), *quote.children, classes=list(classes)))


class English(SearchEnglish):
    """English, and Korean words by their beginnings: 동결 finds 동결을 (Sphinx has no Korean splitter)."""

    def split(self, input):
        words = []
        for word in super().split(input):
            words.append(word)
            if any("가" <= letter <= "힣" for letter in word):
                words += [word[:n] for n in range(2, len(word))]
        return words


def setup(app):
    NbElementRenderer.render_image = render_image
    NbElementRenderer.render_unhandled = render_unhandled
    app.connect("config-inited", buttons)
    app.connect("builder-inited", repair_templates)
    app.connect("builder-inited", mathjax)
    app.connect("builder-inited", share_visitors)
    app.connect("html-page-context", clean_page, priority=999)
    app.connect("build-finished", check_repairs)
    app.connect("build-finished", front_door, priority=999)  # after the table of contents has written the page
    app.add_transform(Callouts)
    app.add_post_transform(Widgets)
    app.add_search_language(English)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

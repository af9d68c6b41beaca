"""The book as its readers get it: built with warnings as errors, every link followed, every page looked at.

DLM_BOOK=FOLDER tests a book that was built before (for example _build/html). The browser tests need Chromium.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from static_site import served

ROOT = Path(__file__).parents[1]
pytest.importorskip("jupyter_book", reason="the book extra is not installed")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
LOADED = {
    "script": "src",
    "img": "src",
    "source": "src",
    "iframe": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
    "link": "href",
}


@pytest.fixture(scope="session")
def book():
    """The folder of the built site."""
    if os.environ.get("DLM_BOOK"):
        yield Path(os.environ["DLM_BOOK"]).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="dlm-book-") as out:
        began = time.monotonic()
        run = subprocess.run(
            [
                sys.executable,
                "-c",
                "from jupyter_book.cli.main import main; main()",
                "build",
                str(ROOT),
                "--all",
                "-W",
                "-n",
                "--keep-going",
                "--path-output",
                out,
            ],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        seconds = time.monotonic() - began
        assert seconds < 60, f"`make book` took {seconds:.0f} s; a minute is the limit"
        yield Path(out, "_build", "html")


def pages(book):
    names = {path.relative_to(book).as_posix() for path in book.rglob("*.html")}
    names = sorted(name for name in names if not name.startswith("_static/"))
    assert len(names) > 5, f"{book} is no book"
    return names


class Page(HTMLParser):
    """What a page links to, what it loads, its ids, and the pictures without alternative text."""

    def __init__(self, html):
        super().__init__()
        self.links, self.loads, self.ids, self.silent = [], [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs.get("id"), attrs.get("name") if tag == "a" else None} - {None}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag in LOADED and attrs.get(LOADED[tag]) and attrs.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(attrs[LOADED[tag]])
        if tag == "img" and attrs.get("alt") is None:
            self.silent.append(attrs.get("src"))
        if attrs.get("http-equiv", "").lower() == "refresh":
            self.links.append(attrs["content"].partition("url=")[2])


def faults(site):
    """Every broken link, foreign load and silent picture of `site`, a dictionary of address -> HTML (or None)."""
    parsed = {name: Page(html) for name, html in site.items() if html is not None}
    for name, page in parsed.items():
        for target in page.links + page.loads:
            link = urlsplit(target)
            if link.scheme in ("http", "https") or target.startswith("//"):
                if target in page.loads:
                    yield f"{name} loads {target}"
                continue
            if link.scheme:  # mailto:, data:, javascript:
                continue
            where = os.path.normpath(os.path.join(os.path.dirname(name), unquote(link.path))) if link.path else name
            if where not in site:
                yield f"{name} -> {target}: no such file"
            elif (
                link.fragment
                and where in parsed
                and unquote(link.fragment) not in parsed[where].ids
                and target in page.links
            ):
                yield f"{name} -> {target}: no such place on the page"
        for source in page.silent:
            yield f"{name}: picture {source} without alternative text"


def test_links(book):
    names = [path.relative_to(book).as_posix() for path in book.rglob("*") if path.is_file()]
    html = set(pages(book))
    site = {name: (book / name).read_text(encoding="utf-8") if name in html else None for name in names}
    found = list(faults(site))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "html, fault",
    [
        ('<a href="gone.html">', "no such file"),
        ('<a href="b.html#gone">', "no such place"),
        ('<a href="#gone">', "no such place"),
        ('<img src="gone.png" alt="x">', "no such file"),
        ('<img src="c.png">', "without alternative text"),
        ('<script src="https://cdn.example/x.js"></script>', "loads"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads"),
        ('<meta http-equiv="refresh" content="0; url=gone.html">', "no such file"),
    ],
)
def test_each_fault_is_found(html, fault):
    clean = '<a href="b.html#there"></a><a id="here" href="#here"></a><a href="https://example.org"></a>'
    site = {"a.html": clean, "b.html": '<p id="there">', "c.png": None}
    assert list(faults(site)) == []
    assert [fault in line for line in faults({**site, "a.html": clean + html})] == [True]


def test_no_style_sheet_or_script_names_another_site(book):
    """Addresses in comments and namespaces are fine; url(), import, fetch and src of another site are not."""
    loads = re.compile(r"""(?:url\(|@import\s+|import\(|fetch\(|\.src\s*=\s*)\s*["']?(?:https?:)?//[^"')\s]+""")
    found = []
    for path in book.rglob("*.css"):
        found += [f"{path.name}: {hit}" for hit in loads.findall(path.read_text(encoding="utf-8", errors="replace"))]
    for name in pages(book):
        found += [f"{name}: {hit}" for hit in loads.findall((book / name).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def lectures(book):
    """The lectures' pages; an appendix has no exercises, and few words of its own."""
    names = sorted(path.relative_to(book).as_posix() for path in (book / "notebooks").glob("*.html"))
    assert names
    return [name for name in names if not name.startswith("notebooks/appendix_")]


def test_solutions_are_folded_and_holes_are_holes(book):
    """What a reader sees first: every fold is closed, every solution's code is in one, every hole says Not yet."""
    for name in lectures(book):
        html = (book / name).read_text(encoding="utf-8")
        assert not re.search(r"<details[^>]*\sopen", html), f"{name}: a fold that stands open"
        unfolded = re.sub("<[^>]+>", "", re.sub(r"(?s)<details.*?</details>", "", html))
        assert "solution(" not in unfolded, f"{name}: the code of a solution is not folded"
        assert "Not yet: " in html, f"{name}: no exercise that waits for its reader"


def test_every_claim_is_in_the_ledger_and_leads_to_its_card(book):
    ledger = Page((book / "book/ledger.html").read_text(encoding="utf-8"))
    told = {link.removeprefix("../") for link in ledger.links if "#claim-" in link}
    made = {
        f"{name}#{card}"
        for name in [p for p in pages(book) if p.startswith("notebooks/")]
        for card in re.findall(r'id="(claim-[0-9a-f]{8})"', (book / name).read_text(encoding="utf-8"))
    }
    assert told == made and len(made) > 20


def test_lectures_are_stamped_linked_and_can_be_taken_along(book):
    for name in lectures(book):
        html = (book / name).read_text(encoding="utf-8")
        assert re.search(r'class="verified"[^>]*><em>Last verified: every cell run on 20\d\d-\d\d-\d\d', html), name
        links = Page(html).links
        assert any(re.fullmatch(r"\.\./_sources/.*\.ipynb", link) for link in links), f"{name}: no download"
        assert 'title="previous page"' in html and 'title="next page"' in html, f"{name}: previous, next"
        assert sum("glossary.html#term-" in link for link in links) >= 10, f"{name}: few words lead to the glossary"


def test_headings_come_in_order(book):
    for name in pages(book):
        article = re.search(r'(?s)<article class="bd-article.*?</article>', (book / name).read_text(encoding="utf-8"))
        if article is None:  # the page at the root only sends on; search has no article
            continue
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", article[0])]
        assert levels[:1] == [1] and levels.count(1) == 1, name
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), f"{name}: {levels}"


PUBLIC = ("github.com/someone/book", "mybinder.org", "colab.research.google.com")


def test_no_button_leads_to_a_repository_that_is_not_named(book):
    for name in pages(book):
        hosts = {urlsplit(link).hostname for link in Page((book / name).read_text(encoding="utf-8")).links}
        assert not hosts & {"mybinder.org", "colab.research.google.com"}, name
        assert not any("/issues/new" in link for link in Page((book / name).read_text(encoding="utf-8")).links), name


def test_one_setting_turns_the_buttons_on(tmp_path):
    for name in ("book", "results"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    for name in (
        "CONTRIBUTING.md",
        "notebooks/06_transfer_learning.ipynb",
        "notebooks/07_image_augmentation.ipynb",
        "notebooks/appendix_08b_yolo.ipynb",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    named = config.replace('repository: {url: ""', 'repository: {url: "https://github.com/someone/book"')
    assert named != config
    (tmp_path / "_config.yml").write_text(named, encoding="utf-8")
    toc = re.sub(
        r"(?m)^ +- file: notebooks/(?!06_transfer|07_image|appendix).*\n",
        "",
        (ROOT / "_toc.yml").read_text(encoding="utf-8"),
    )
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    links = Page((tmp_path / "_build/html/notebooks/06_transfer_learning.html").read_text(encoding="utf-8")).links
    for place in (*PUBLIC, "issues/new"):
        assert any(place in link for link in links), f"no button for {place}"


def test_pages_are_small(book):
    heavy = {}
    for name in pages(book):
        own = {
            os.path.normpath(os.path.join(os.path.dirname(name), urlsplit(src).path))
            for src in Page((book / name).read_text(encoding="utf-8")).loads
            if "_images" in src
        }
        heavy[name] = (book / name).stat().st_size + sum((book / image).stat().st_size for image in own)
    assert {name: size for name, size in heavy.items() if size > 2.5e6} == {}


def test_glossary_has_no_blank_and_one_word_for_one_thing():
    source = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").partition("{glossary}\n")[2]
    terms = re.findall(r"^(\S.*)\n  \*\*(.+?)\.\*\* (\S.+)$", source.rpartition("```")[0], re.M)
    assert len(terms) >= 120
    assert 2 * len(terms) == len([line for line in source.splitlines() if line and line != "```"])  # none missed
    english, korean = [term[0] for term in terms], [term[1] for term in terms]
    assert english == sorted(english, key=str.lower)
    assert len(set(english)) == len(english) and len(set(korean)) == len(korean)
    assert all(re.search("[가-힣]", word) for word in korean)


def test_every_term_of_the_glossary_is_used_by_a_lecture(book):
    known = re.findall(r'id="(term-[^"]+)"', (book / "book/glossary.html").read_text(encoding="utf-8"))
    used = {
        link.partition("#")[2]
        for name in lectures(book)
        for link in Page((book / name).read_text(encoding="utf-8")).links
        if "glossary.html#term-" in link
    }
    assert len(known) >= 120
    assert [term for term in known if term not in used] == [], "use them, or take them out of book/glossary.md"


# ------------------------------------------------------------------ in a browser
@pytest.fixture(scope="session")
def site(book):
    with served(book) as address:
        yield address


@pytest.fixture(scope="module")  # another file's browser cannot start while this one runs
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium here (Debian and Ubuntu: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site):
    """A page that notes, in `page.faults`, errors in the console and requests that leave the site."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.faults = []
    page.on("console", lambda m: m.type == "error" and page.faults.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: page.faults.append(f"error: {error}"))
    page.on("request", lambda r: r.url.startswith((site, "data:", "blob:")) or page.faults.append(f"asks {r.url}"))
    page.on("response", lambda r: r.status >= 400 and page.faults.append(f"{r.status} {r.url}"))
    yield page
    context.close()


def axe():
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


# axe only wonders about text in the very colour of its ground, which nobody can read: here it counts
AXE = """async ([where, only]) => {
    const settings = {resultTypes: ["violations", "incomplete"], preload: false, ...only};
    const found = await axe.run(where ?? document, settings);
    const same = found.incomplete.map(v => ({...v, nodes: v.nodes.filter(n => n.any.some(
        check => check.data?.messageKey === "equalRatio"))})).filter(v => v.nodes.length);
    return [...found.violations, ...same].map(v => `${v.impact} ${v.id}: ${v.help}: ` + v.nodes.slice(0, 3).map(
        n => n.html.slice(0, 160)).join(" | ")); }"""
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
SHAPES = {"rules": {name: {"enabled": False} for name in COLOURS["runOnly"]}}
AROUND = {"exclude": [".bd-article"]}  # what a telephone shows otherwise: the article has the same colours at any width
# Code has thousands of coloured words in a dozen colours, a table hundreds of rows alike: one word of each colour stays
# coloured and three rows stay, and axe needs seconds instead of minutes. Same classes all the way up are the same
# colours, in both modes. How wide the whole page is was looked at before.
THIN = """() => { const seen = new Set();
    document.querySelectorAll('.bd-article tbody').forEach(body => { const kinds = {};
        for (const row of [...body.rows]) {
            const kind = [...row.cells].map(c => c.className + !!c.querySelector('a')).join();
            if ((kinds[kind] = (kinds[kind] ?? 0) + 1) > 3) row.remove(); } });
    for (const word of document.querySelectorAll('pre span[class]')) {
        const key = []; for (let e = word; e && e.tagName !== 'ARTICLE'; e = e.parentElement) key.push(e.className);
        if (seen.has(key.join('|'))) word.replaceWith(...word.childNodes); else seen.add(key.join('|')); }
    document.querySelectorAll('pre').forEach(pre => pre.normalize()); }"""
# Then the shapes of the whole page are looked at, and before its colours paragraphs, too: of those that stand in the
# same place and hold the same kinds of elements two stay, and two equations.
ALIKE = """() => { const name = e => `${e.tagName}.${e.className}`, seen = {};
    const more = (e, key) => (seen[key] = (seen[key] ?? 0) + 1) > 2 && e;
    const places = '.bd-article :is(p, li, dt, dd, tr, mjx-container):not(:is(th, td, summary, label) *)';
    const all = [...document.querySelectorAll(places)].map(e => {
        const key = new Set([...e.querySelectorAll('*')].filter(x => !x.closest('mjx-container')).map(name));
        const path = []; for (let x = e; x && x.tagName !== 'ARTICLE'; x = x.parentElement) path.push(name(x));
        return more(e, [...path, '|', ...[...key].sort()].join(' ')); });
    all.forEach(e => e && e.remove()); }"""
# The colours of a page still take most of the time, so they are looked at once in each mode.
LOOKS = {
    375: {"light": [(None, SHAPES), (AROUND, COLOURS)], "dark": [(AROUND, COLOURS)]},
    1400: {"dark": [(None, COLOURS)], "light": [(None, {})]},
}
OPEN = "() => document.querySelectorAll('details').forEach(d => d.open = true)"


SCROLLS = """() => [...document.querySelectorAll('pre, .cell_output > .output')].every(
    e => e.scrollWidth <= e.clientWidth || e.tabIndex === 0)"""


def written(page):
    """Wait until mathematics is set, and the letters are there."""
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")
    page.evaluate("() => document.fonts.ready.then(() => true)")


def settle(page):
    """Wait until what scrolls is open to the keyboard: the theme looks some 0.3 s after the window has a new width, on
    a busy machine later, scroll.js whenever a box has one. If neither does, axe says so."""
    written(page)
    page.wait_for_timeout(400)
    calm = 0  # looks in a row that found it done
    for _ in range(300):  # its timer starts anew whenever the page changes
        calm = calm + 1 if page.evaluate(SCROLLS) else 0
        if calm == 4:
            break
        page.wait_for_timeout(50 if calm else 100)


def looked_at(page, address, script, frame=True):
    """What is wrong with one page, in both colour modes and on a desk and a telephone.

    frame   also at what a telephone shows around the article, which is alike on all pages of a folder
    """
    found = []
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(address)
    page.evaluate(script)
    page.evaluate(OPEN)
    page.add_style_tag(content="* { transition: none !important }")  # a colour on its way would be measured
    written(page)
    for width in (1400, 375):  # whole, before it is thinned out
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        found += [f"at {width} px: {wide} px wide"] if wide > width else []
    if math := page.evaluate("document.querySelectorAll('mjx-merror').length"):
        found.append(f"{math} equations that MathJax cannot read")
    page.evaluate(THIN)
    for width, modes in LOOKS.items():
        if width == 1400:
            page.evaluate(ALIKE)
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        for mode, looks in modes.items():
            page.emulate_media(color_scheme=mode)
            look = f"{mode} at {width} px"
            for _ in range(30):  # the theme follows the system a moment later
                if (shown := page.evaluate("document.documentElement.dataset.theme")) == mode:
                    break
                page.wait_for_timeout(100)
            found += [f"{look}: the page is {shown}"] if shown != mode else []
            for where, only in looks:
                if where is not AROUND or frame:
                    found += [f"{look}: {line}" for line in page.evaluate(AXE, [where, only])]
    return found


def test_what_scrolls_later_is_open_to_the_keyboard(book, site, page):
    """A box that becomes too small while the window stays as it is: the theme does not notice."""
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(site + "notebooks/07_autoencoders_tsne.html")
    page.wait_for_load_state("networkidle")
    settle(page)
    output = page.locator(".cell_output pre").first
    for width, tab in (("2000px", -1), ("300px", 0), ("2000px", -1)):
        output.evaluate("(pre, width) => { pre.style.width = width; }", width)
        page.wait_for_timeout(200)
        assert output.evaluate("pre => pre.tabIndex") == tab, width


def test_every_page_in_the_browser(book, site, page):
    found, script, folders = [], axe(), set()
    for name in pages(book):
        if name == "index.html":  # only sends on to the front page
            continue
        folder = name.rpartition("/")[0]
        found += [f"{name}, {line}" for line in looked_at(page, site + name, script, frame=folder not in folders)]
        folders.add(folder)
        found += [f"{name}, {line}" for line in page.faults]
        page.faults.clear()
    assert not found, "\n".join(found)


def test_the_browser_tests_see_faults(book, site, page):
    """A page with a foreign script, a picture without text, poor contrast, a thing too wide and a bad equation."""
    html = (book / "book/howto.html").read_text(encoding="utf-8")
    bad = (
        '<img src="x.png"><p style="color:#aaa;background:#bbb">poor</p><div style="width:3000px">wide</div>'
        r'<script>console.error("oops"); fetch("http://127.0.0.1:9/")</script>'
    )
    page.route(
        "**/bad.html",
        lambda route: route.fulfill(body=html.replace("</article>", bad + "</article>"), content_type="text/html"),
    )
    found = "\n".join(looked_at(page, site + "book/bad.html", axe()) + page.faults)
    for fault in ("image-alt", "color-contrast", "px wide", "console: oops", "asks http://127.0.0.1:9", "404"):
        assert fault in found, fault


def test_panels_open_in_their_lectures(book, site, page):
    """Each one where its comment stands, with its weights; what they answer is in `test_panels.py`."""
    opened = 0
    for name in lectures(book):
        for panel in re.findall(r'data-panel="([\w-]+)"', (book / name).read_text(encoding="utf-8")):
            page.goto(site + name)
            box = page.locator(f'[data-panel="{panel}"]')
            box.locator(".dlm-open").click()
            box.locator(".dlm-said:not(:empty)").wait_for()  # it has answered
            assert not page.faults, f"{name}: {page.faults}"
            opened += 1
    assert opened >= 3


@pytest.mark.parametrize(
    "words, wanted",
    [("augmentation", "glossary"), ("freezing", "glossary"), ("동결", "glossary"), ("전이 학습", "syllabus")],
)
def test_search(site, page, words, wanted):
    page.goto(f"{site}search.html?q={words}")
    page.wait_for_selector("#search-results li a")
    page.wait_for_function("!document.querySelector('#search-results > h2')?.textContent.startsWith('Searching')")
    targets = page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.getAttribute('href'))")
    assert any(wanted in target for target in targets), targets
    assert not page.faults


def test_front_page_is_where_the_root_leads(site, page):
    page.goto(site)
    page.wait_for_url("**/book/intro.html")
    assert "Measured" in page.title() and not page.faults

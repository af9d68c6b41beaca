"""Panels of the book: what they answer in Chromium is what the helpers answer, by mouse and by keyboard, from a server
and from a disk, with no request to anybody else.

The book of this test has one page with all panels. The tests skip without Chromium.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.data import film_reviews, split_groups
from helpers.sentiment import Classifier
from helpers.sentiment.readers import deletions

ROOT = Path(__file__).parents[1]
pytest.importorskip("jupyter_book", reason="the book extra is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (Debian and Ubuntu: apt install chromium)")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PANELS = {"sentiment": "09_sentiment"}  # and the lecture that has it


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of a built book of one page, with every panel."""
    if os.environ.get("DLM_PANELS"):
        return Path(os.environ["DLM_PANELS"])
    source = tmp_path_factory.mktemp("panels")
    shutil.copytree(ROOT / "book" / "_ext", source / "book" / "_ext")
    shutil.copytree(ROOT / "book" / "_static", source / "book" / "_static")
    shutil.copy(ROOT / "book" / "references.bib", source / "book")
    shutil.copytree(ROOT / "results", source / "results")  # the front page is drawn in every build
    shutil.copy(ROOT / "_config.yml", source)
    (source / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (source / "page.md").write_text("# Panels\n\n" + "".join(f"<!-- panel: {name} -->\n\n" for name in PANELS))
    run = subprocess.run(
        [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return source / "_build" / "html"


@pytest.fixture(scope="module")
def site(book):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def fresh(browser):
    """A function that opens an address in a page; errors and requests are noted in `page.faults` and `page.asked`."""
    contexts = []

    def opened(address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.faults, page.asked = [], []
        page.on("console", lambda m: m.type == "error" and page.faults.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: page.faults.append(f"error: {error}"))
        page.on("request", lambda r: page.asked.append(r.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


def panel(page, name, key=None):
    """Open a panel, by the mouse or with a key -> its locator."""
    box = page.locator(f'[data-panel="{name}"]')
    button = box.locator(".dlm-open")
    button.click() if key is None else button.press(key)
    box.get_by_role("group").first.wait_for()
    return box


def test_every_panel_has_its_place_in_a_lecture():
    for name, lecture in PANELS.items():
        cells = json.loads((ROOT / "notebooks" / f"{lecture}.ipynb").read_text(encoding="utf-8"))["cells"]
        assert sum(f"<!-- panel: {name} -->" in "".join(cell["source"]) for cell in cells) == 1, name


def test_nothing_is_loaded_before_the_reader_asks_and_nothing_from_elsewhere(book, site, fresh):
    page = fresh(site + "page.html")
    page.wait_for_load_state("networkidle")
    assert not [url for url in page.asked if "weights" in url or "sentiment" in url]
    for name in PANELS:
        before = set(page.asked)
        panel(page, name)
        new = set(page.asked) - before
        size = sum((book / url.removeprefix(site)).stat().st_size for url in new if url.startswith(site))
        assert any(f"weights-{name}" in url for url in new) and size <= 2_000_000, (name, size)
    assert all(url.startswith((site, "data:", "blob:")) for url in page.asked) and not page.faults


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_opens_from_a_disk_with_the_keyboard(book, fresh, name):
    page = fresh((book / "page.html").as_uri())
    box = panel(page, name, key="Enter")
    assert box.get_by_role("status").first.inner_text()
    assert box.evaluate("box => box.contains(document.activeElement)"), "the focus is lost"
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked) and not page.faults


def test_without_javascript_a_sentence_stands_there(site, fresh):
    page = fresh(site + "page.html", java_script_enabled=False)
    for name in PANELS:
        assert "stored outputs" in page.locator(f'[data-panel="{name}"]').inner_text()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_open_panels_have_no_fault_for_axe_and_fit_a_telephone(site, fresh, mode):
    import axe_playwright_python

    page = fresh(site + "page.html", color_scheme=mode, viewport={"width": 375, "height": 800}, has_touch=True)
    for name in PANELS:
        panel(page, name)
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        """async () => (await axe.run('.bd-article', {preload: false})).violations.map(
            v => v.id + ': ' + v.nodes[0].html)"""
    )
    assert found == [] and not page.faults
    assert page.evaluate("document.documentElement.dataset.theme") == mode
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375


# ---------------------------------------------------------------- lecture 09
WORDS = 60  # so many words of a review are shown one by one


@pytest.fixture(scope="module")
def classifiers():
    return {kind: Classifier.load(ROOT / "checkpoints" / f"sentiment-{name}") for kind, name in
            (("lstm", "reviews"), ("linear", "linear"))}  # fmt: skip


def texts():
    """100 texts: reviews of films that nobody learned from, and what a reader may come up with."""
    table = film_reviews()
    held = table.rows(split_groups(table.groups, 0.2, 0)[1]).texts
    drawn = random.Random(0).sample(held, 88)
    return drawn + [
        "",
        "   ",
        "zzyzx",
        "Zzyzx qwrtp",
        "good",
        "It’s NOT good; I don't like it!",
        "정말 재미있는 영화였어요!",
        "İstanbul ΣΊΣΥΦΟΣ naïve café nai\u0308ve",
        "don't can't n't 'tis it's n'tx 'sx “quoted” – dash… \u00a0nbsp\u2003em\u001cfs\ufeffbom",
        "<b>great</b> & <script>alert(1)</script>",
        " ".join(held[:3]),
        " ".join(held[:80]),
    ]


def answers(classifier, text):
    """What the panel should say: score, scores after each word, what each word adds (None: the text is too long)."""
    tokens = classifier._tokens(text)
    read = tokens[: classifier.max_tokens]
    score, after = classifier.score([text])[0], []
    if tokens:
        after = classifier._score_tokens([read[: k + 1] for k in range(len(tokens[:WORDS]))])[0]
    model, adds = classifier.models[0], None
    if 1 < len(tokens) <= WORDS and classifier.kind == "linear":
        with torch.no_grad():
            logits = model([tokens] + [tokens[:k] + tokens[k + 1 :] for k in range(len(tokens))])
        adds = (logits[0] - logits[1:]).numpy()
    elif 1 < len(tokens) <= WORDS:
        adds = deletions(model.eval(), torch.tensor(classifier.vocabulary.encode(tokens))).numpy()
    return {"tokens": tokens[:WORDS], "total": len(tokens), "score": score, "after": after, "adds": adds}


def test_reviews_get_the_scores_of_the_helper(site, fresh, classifiers):
    given = texts()
    assert len(given) == 100
    page = fresh(site + "page.html")
    panel(page, "sentiment")
    said = page.evaluate(
        """async ([texts, words]) => { const {read} = await dlm.models.sentiment();
            return texts.map(text => read(text, words)); }""",
        [given, WORDS],
    )
    for text, found in zip(given, said):
        for kind, classifier in classifiers.items():
            wanted = answers(classifier, text)
            assert found["tokens"] == wanted["tokens"] and found["total"] == wanted["total"], text
            assert found[kind]["score"] == pytest.approx(wanted["score"], abs=1e-4), (kind, text)
            assert np.allclose(found[kind]["after"], wanted["after"], atol=1e-4, rtol=0), (kind, text)
            assert (found[kind]["adds"] is None) == (wanted["adds"] is None), (kind, text)
            if wanted["adds"] is not None:
                assert np.allclose(found[kind]["adds"], wanted["adds"], atol=1e-4, rtol=0), (kind, text)


def test_a_review_is_typed_and_taken_from_the_samples(site, fresh, classifiers):
    page = fresh(site + "page.html")
    box = panel(page, "sentiment", key="Space")
    area, line = box.get_by_role("textbox"), box.get_by_role("status").first
    for text in ("A wonderful film.", "Dreadful.", "Zzyzx"):
        area.press("Control+a")
        area.press_sequentially(text)
        page.wait_for_timeout(250)
        scores = [f"{100 * classifiers[kind].score([text])[0]:.0f} %" for kind in ("lstm", "linear")]
        assert all(score in line.inner_text() for score in scores), (text, scores, line.inner_text())
        rows = box.locator("tbody tr")
        assert [row.split()[0] for row in rows.all_inner_texts()] == classifiers["lstm"]._tokens(text)
    area.fill("")
    page.wait_for_timeout(250)
    assert "no word" in line.inner_text() and box.locator("table").count() == 0
    area.fill("<img src=x onerror=alert(1)> " + "very long " * 5000)
    page.wait_for_timeout(1000)
    assert "first 20,000 letters" in line.inner_text() and box.locator("tbody tr").count() == WORDS
    for sample in box.locator(".dlm-row button").all():
        sample.click()
        assert area.input_value() == sample.inner_text() and "%" in line.inner_text()
    assert not page.faults

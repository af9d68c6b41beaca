"""The page of a check: its sentence, that nothing in it is taken for HTML, and how it looks to its readers."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from helpers.course import report

EVIL = "<script>alert('x')</script> & \"y\""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


def claim(verdict="holds", here="0.900 (0.850 to 0.950, n = 5)", sentence="It is enough", value=0.9):
    known = {"cell": 3, "code": "claim(", "id": "claim-0", "sentence": sentence, "bound": "at least 0.500"}
    figures = {"value": value, "low": 0.85, "high": 0.95, "n": 5, "shown": here}
    book = figures | {"shown": "0.800 %"}
    return known | {"verdict": verdict, "here": figures if verdict != "missing" else None, "book": book}


def lecture(**more):
    return {
        "name": "01_one",
        "title": "One",
        "seconds": 12,
        "book": {"date": "2020-02-02", "seconds": 9, "cores": 2, "versions": {"torch": "1"}},
        "saved_elsewhere": False,
        "unfinished": None,
        "claims": [claim()],
        "differences": [],
        "raised": [],
    } | more


DIFFERENCES = [
    {"cell": 4, "code": "f()", "what": "number", "where": "loss 0.5", "stored": 0.5, "now": 0.75, "allowed": 0.1},
    {"cell": 5, "code": "g()", "what": "words", "where": "", "stored": EVIL, "now": "12 of 30", "allowed": None},
    {"cell": 6, "code": "h()", "what": "picture", "where": "", "stored": "", "now": "differs", "allowed": 0.2},
]
WORST = lecture(
    name=EVIL,
    title=f"Two {EVIL}",
    saved_elsewhere=True,
    book={"date": None, "seconds": None, "cores": None, "versions": None},
    unfinished={"cell": 7, "code": EVIL, "why": "the kernel died"},
    claims=[claim(), claim("does not hold", f"0.1 {EVIL}", EVIL), claim("missing")],
    differences=DIFFERENCES,
    raised=[{"cell": 8, "code": "k()", "error": f"ValueError: {EVIL}"}],
)


def facts(*lectures, **more):
    found = report.counts(lectures)
    return {
        "command": "python -m helpers check 01_one",
        "date": "2021-03-04",
        "course": "0123456789, with changes",
        "machine": {
            "processor": f"A processor {EVIL}",
            "instruction_sets": "AVX2",
            "memory_gb": None,
            "settings": {"MKL_CBWR": EVIL},
        },
        "versions": {
            "torch": {"here": "2.0+cpu", "book": "1", "differs": True},
            "numpy": {"here": "3", "book": "3", "differs": False},
        },
        "holds": report.holds(found),
        "counts": found,
        "left": [],
        "lectures": list(lectures),
    } | more


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and the rows of its tables."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.rows = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1][0] in ("td", "th") and data.strip():
            self.rows[-1][-1] += data


# ------------------------------------------------------------------ in a sentence


@pytest.mark.parametrize(
    "lectures, said, holds",
    [
        ([], "nothing is claimed, 0 numbers outside tolerance", True),
        ([lecture()], "the one claim holds, 0 numbers outside tolerance", True),
        (
            [lecture(claims=[claim(), claim()], differences=DIFFERENCES[:1])],
            "all 2 claims hold, 1 number outside tolerance",
            True,
        ),
        (
            [lecture(), lecture(raised=[{"error": "x"}])],
            "all 2 claims hold, 0 numbers outside tolerance, 1 cell raised an error",
            True,
        ),
        (
            [lecture(), WORST],
            "2 of 4 claims hold, 1 does not, 1 is missing, 1 number outside tolerance, 1 text differs, "
            "1 picture differs, 1 cell raised an error, 1 lecture not run to the end",
            False,
        ),
        ([lecture(claims=[claim("missing")])], "0 of 1 claim holds, 1 is missing, 0 numbers outside tolerance", False),
        # what was claimed before the kernel died holds, but nobody knows of the rest
        (
            [lecture(unfinished={"cell": 1, "code": "", "why": "x"})],
            "the one claim holds, 0 numbers outside tolerance, 1 lecture not run to the end",
            False,
        ),
    ],
)
def test_how_it_stands_in_a_sentence(lectures, said, holds):
    found = report.counts(lectures)
    assert report.headline(found) == said and report.holds(found) is holds


# ------------------------------------------------------------------ as a page


def test_the_page_tells_all_and_nothing_in_it_is_html():
    page = Page(report.page(facts(lecture(), WORST, left=["03_three"])))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe"} and "style" in tags
    assert all(value.startswith("#") for _, known in page.tags for name, value in known.items() if name == "href")
    assert not any("src" in known or any(name.startswith("on") for name in known) for _, known in page.tags)
    assert dict(page.tags)["html"] == {"lang": "en"}
    assert page.text.count(EVIL) >= 8 and "2 of 4 claims hold, 1 does not" in page.text
    for words in (
        "03_three",
        "git checkout notebooks",
        "not run to the end: cell 7",
        "in 9 s with 2 cores on 2020-02-02",
    ):
        assert words in page.text
    assert ["torch", "2.0+cpu", "1"] in page.rows and ["numpy", "3", "the same"] in page.rows
    assert ["Memory", "not known"] in page.rows and ["Commit of the course", "0123456789, with changes"] in page.rows
    assert ["It is enough", "0.900 (0.850 to 0.950, n = 5)", "0.800 %", "at least 0.500", "holds"] in page.rows
    assert ["cell 4", "loss 0.5", "0.5", "0.75", "0.1"] in page.rows
    assert ["cell 5", "g()", EVIL, "12 of 30", "–"] in page.rows and [
        "cell 6",
        "h()",
        "–",
        "differs",
        "0.2",
    ] in page.rows


def test_what_does_not_hold_comes_first():
    verdicts = [
        row[-1] for row in Page(report.page(facts(WORST))).rows if row[-1] in ("missing", "does not hold", "holds")
    ]
    assert verdicts == ["missing", "does not hold", "holds"]


def test_a_lecture_in_which_all_agrees_says_so():
    page = Page(report.page(facts(lecture())))
    assert page.text.count("None.") == 2 and "Not run" not in page.text and "git checkout" not in page.text
    assert "The one claim holds, 0 numbers outside tolerance." in page.text


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here (Debian and Ubuntu: apt install chromium)")
def test_readers_of_every_screen_and_a_screen_reader_can_follow(tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="the test extra is not installed")
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    path = tmp_path / "check.html"
    path.write_text(report.page(facts(lecture(), WORST, left=["03_three"])), encoding="utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for width, scheme in ((1400, "light"), (375, "dark"), (320, "light"), (768, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{width} pixels are too few"
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", ground)[0]) < 128) is (scheme == "dark")
            assert page.get_by_role("cell").count() == path.read_text().count("<td"), "a table is still a table"
            if width < 400:
                share = page.evaluate("document.querySelector('.claims tbody th').offsetWidth / innerWidth")
                assert share > 0.85, "a claim takes the whole line of a telephone"
            page.evaluate(axe)
            faults = page.evaluate("axe.run(document).then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
            assert not faults, (width, scheme, faults)
        browser.close()

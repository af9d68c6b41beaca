"""Panels of the book: what they answer in Chromium is what the helpers answer, by mouse and by keyboard, from a server
and from a disk, with no request to anybody else.

The book of this test has one page with all panels; `test_book.py` opens them in their lectures. Without Chromium the
tests in it skip.
"""

import base64
import io
import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from static_site import served

from helpers.data import film_reviews, split_groups
from helpers.data.geometry import letterbox
from helpers.data.leaves import render
from helpers.embedding import autoencoder, places
from helpers.embedding import panel as autoencoder_panel
from helpers.embedding.drawing import as_mnist
from helpers.sentiment import Classifier
from helpers.sentiment.readers import deletions
from helpers.yolo import train
from helpers.yolo.detect import postprocess, to_image
from helpers.yolo.scene_set import SceneSet

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))  # as Jupyter Book does
pytest.importorskip("jupyter_book", reason="the book extra is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LECTURES = {
    "sentiment": "09_sentiment",
    "detector": "08b_yolo",
    "augmentation": "07_image_augmentation",
    "autoencoder": "07_autoencoders_tsne",
}
PANELS = list(LECTURES)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of a built book of one page, with every panel: the book's theme and look, without what takes long."""
    from sphinx.application import Sphinx

    source = tmp_path_factory.mktemp("panels")
    (source / "page.md").write_text("# Panels\n\n" + "".join(f"<!-- panel: {name} -->\n\n" for name in PANELS))
    settings = {
        "extensions": ["myst_parser", "bookpanels"],
        "root_doc": "page",
        "html_theme": "sphinx_book_theme",
        "html_context": {"default_mode": "auto"},
        "html_static_path": [str(ROOT / "book" / "_static")],
        "html_css_files": ["custom.css"],
        "html_favicon": str(ROOT / "book" / "_static" / "favicon.svg"),
    }
    app = Sphinx(source, None, source / "html", source / "trees", "html", settings, status=None, warningiserror=True)
    app.build()
    assert app.statuscode == 0
    return source / "html"


@pytest.fixture(scope="module")
def site(book):
    with served(book) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium here (Debian and Ubuntu: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
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


def panel(page, name, key=None, touch=False):
    """Open a panel, by the mouse, with a key or with a finger -> its locator."""
    box = page.locator(f'[data-panel="{name}"]')
    button = box.locator(".dlm-open")
    if key is not None:
        button.press(key)
    else:
        button.tap() if touch else button.click()
    box.get_by_role("group").first.wait_for()
    return box


def test_every_panel_has_its_place_in_a_lecture():
    for name, lecture in LECTURES.items():
        cells = json.loads((ROOT / "notebooks" / f"{lecture}.ipynb").read_text(encoding="utf-8"))["cells"]
        assert sum(f"<!-- panel: {name} -->" in "".join(cell["source"]) for cell in cells) == 1, name


def test_a_panel_that_is_unknown_or_too_large_stops_the_build(tmp_path):
    import bookpanels
    from docutils import nodes
    from docutils.utils import new_document
    from sphinx.errors import ExtensionError

    page = new_document("page")
    page += nodes.raw("", "<!-- panel: nobody -->\n", format="html")
    with pytest.raises(ExtensionError, match="there is no panel 'nobody'; there are sentiment, "):
        bookpanels.Panels(page).apply()
    for file in ("panels.js", "panels.css", *bookpanels.PANELS["augmentation"][2]):
        (tmp_path / file).write_text(" " * 10_000)
    bookpanels.write_weights(tmp_path, ["augmentation"])
    (tmp_path / "panels.js").write_text(" " * 90_000)
    with pytest.raises(ExtensionError, match="'augmentation' loads .* bytes; 100,000 are the limit"):
        bookpanels.write_weights(tmp_path, ["augmentation"])


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
    assert box.locator(".dlm-said").inner_text()
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
        panel(page, name, touch=True)
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
    area, line = box.get_by_role("textbox"), box.locator(".dlm-said")
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


# ---------------------------------------------------------------- lecture 08


@pytest.fixture(scope="module")
def detector():
    return train.load(ROOT / "checkpoints" / "yolo-scenes" / "model.safetensors")


def pictures():
    """100 test scenes, uint8 (3, H, W), four of ten scaled to other sizes and proportions."""
    for k, image in enumerate(SceneSet(100, "test", 160, 11).images):
        if k % 5 < 3:
            yield image
        else:
            height, width = 60 + 7 * k % 350, 50 + 13 * k % 350
            image = torch.nn.functional.interpolate(image[None].float(), (height, width), mode="bilinear")
            yield image[0].round().byte()


LOOK = """async given => {
    const {look, detections} = await dlm.models.detector(), out = [];
    const text = numbers => {  // as base64: a list would take Playwright a minute
        const bytes = new Uint8Array(Float32Array.from(numbers).buffer), parts = [];
        for (let k = 0; k < bytes.length; k += 8192) parts.push(String.fromCharCode(...bytes.subarray(k, k + 8192)));
        return btoa(parts.join("")); };
    for (const [w, h, rgb] of given) {
        const picture = {w, h, rgb: Uint8Array.from(atob(rgb), letter => letter.charCodeAt(0))};
        const began = performance.now(), said = look(picture), milliseconds = performance.now() - began;
        out.push({milliseconds, all: text(said.flatMap(one => [...one.centre, ...one.size, ...one.scores])),
            found: detections(said, picture, 0.3, 0.45).map(({box, score, label}) => ({box, score, label}))});
    }
    return out; }"""


def test_pictures_get_the_boxes_of_the_helper(site, fresh, detector):
    given = list(pictures())
    assert len(given) == 100 and len({tuple(image.shape) for image in given}) > 20
    page = fresh(site + "page.html")
    panel(page, "detector")
    packed = [[*image.shape[:0:-1], base64.b64encode(image.numpy().tobytes()).decode()] for image in given]
    said = page.evaluate(LOOK, packed)
    total = 0
    for image, one in zip(given, said):
        with torch.no_grad():
            boxes, scores = detector.decode(detector(letterbox(image.float() / 255, *detector.size)[None]))
        mine = np.frombuffer(base64.b64decode(one["all"]), np.float32).reshape(len(scores[0]), -1)
        assert np.abs(boxes[0].numpy() - mine[:, :4]).max() < 1e-4  # as fractions of the network's input
        assert np.abs(scores[0].numpy() - mine[:, 4:]).max() < 1e-4
        wanted = postprocess(boxes[0] * 160, scores[0], 0.3, 0.45)
        wanted = to_image(wanted, image.shape[1:], detector.size)
        assert [found["label"] for found in one["found"]] == wanted["labels"].tolist()
        total += len(wanted["labels"])
        for found, box, score in zip(one["found"], wanted["boxes"], wanted["scores"]):
            assert found["box"] == pytest.approx(box.tolist(), abs=1e-4 * max(image.shape[1:]))
            assert found["score"] == pytest.approx(score.item(), abs=1e-4)
    assert total > 300
    assert min(one["milliseconds"] for one in said) < 300


def png(width, height, **options):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, "PNG", **options)
    return file.getvalue()


def test_the_detector_by_mouse_and_by_keyboard(site, fresh, detector):
    page = fresh(site + "page.html")
    box = panel(page, "detector", key="Enter")
    line, detail = box.locator(".dlm-said"), box.locator(".dlm-detail")
    for k, image in enumerate(SceneSet(4, "test", 160, 7).images):
        box.get_by_role("button", name=f"Test scene {k}").press("Space")
        with torch.no_grad():
            boxes, scores = detector.decode(detector(image[None].float() / 255))
        wanted = postprocess(boxes[0], scores[0], 0.3, 0.45)
        count = len(wanted["labels"])
        assert line.inner_text().startswith(f"{count} box{'es' * (count > 1)}: {wanted['labels'][0]}, ")

    before = int(line.inner_text().split()[0])
    limit = box.get_by_label("NMS limit")
    for _ in range(20):
        limit.press("ArrowRight")
    assert int(line.inner_text().split()[0]) > before and limit.input_value() == "1"
    score = box.get_by_label("Score at least")
    score.press("End")
    assert int(line.inner_text().split()[0]) < 100 and score.input_value() == "0.95"
    score.fill("0.3")

    choice = box.get_by_role("group", name="Boxes").get_by_role("button")
    choice.nth(1).press("Enter")
    assert choice.nth(1).get_attribute("aria-pressed") == "true" and "with the anchor of" in detail.inner_text()
    assert choice.nth(1).evaluate("button => button === document.activeElement"), "the focus is lost"
    choice.nth(0).click()
    first = detail.inner_text()
    box.locator("canvas").click(position={"x": 3, "y": 3})  # no box there: the choice stays
    assert detail.inner_text() == first and first.startswith(choice.nth(0).inner_text())

    for name, data, says in (
        ("words.txt", b"no picture", "is no picture that this browser can read"),
        ("broken.png", png(40, 30)[:60], "is no picture that this browser can read"),
        ("thread.png", png(1000, 2), "too narrow"),
        ("grey.png", png(300, 200), "No box"),
        ("large.png", png(4000, 1000), "No box"),
        ("point.png", png(1, 1), ""),
    ):
        box.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
        page.wait_for_timeout(600)
        assert says in line.inner_text(), (name, line.inner_text())
    assert not page.faults


# ---------------------------------------------------------------- lecture 07, augmentation


def ways(count):
    """Random settings of the panel's controls, for pictures of 64 x 64, each change left out now and then."""
    rng = random.Random(1)

    def some(value, otherwise):
        return value if rng.random() < 0.7 else otherwise

    for _ in range(count):
        height, width = some(rng.randint(16, 64), 64), some(rng.randint(16, 64), 64)
        high, wide = some(rng.randint(1, height), 0), rng.randint(1, width)
        yield {
            "hflip": rng.random() < 0.5,
            "vflip": rng.random() < 0.5,
            "height": height,
            "width": width,
            "top": rng.randint(0, 64 - height),
            "left": rng.randint(0, 64 - width),
            "angle": some(rng.randint(-180, 180), 0),
            "scale": some(rng.randint(10, 40) / 20, 1),
            "brightness": some(rng.randint(0, 40) / 20, 1),
            "contrast": some(rng.randint(0, 40) / 20, 1),
            "saturation": some(rng.randint(0, 40) / 20, 1),
            "hue": some(rng.randint(-50, 50) / 100, 0),
            "erased": [rng.randint(0, height - high), rng.randint(0, width - wide), high, wide],
        }


def test_changed_pictures_have_the_numbers_of_the_helper_and_of_the_lines_shown(site, fresh):
    page = fresh(site + "page.html")
    panel(page, "augmentation")
    names = ["Grape___Black_rot", "Tomato___Early_blight", "Apple___healthy", "Grape___healthy"]
    leaves = [torch.from_numpy(render(name, k, size=64)).permute(2, 0, 1).contiguous() for k, name in enumerate(names)]
    given = [[k % 4, how] for k, how in enumerate(ways(100))]
    found = page.evaluate(
        """async ([leaves, given]) => {
            const {change, python} = await dlm.models.augmentation();
            return given.map(([leaf, how]) => {
                const data = Float64Array.from(leaves[leaf], value => value / 255);
                const bytes = new Uint8Array(Float32Array.from(change({h: 64, w: 64, data}, how).data).buffer);
                return [btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), "")), python(how)]; });
        }""",
        [[leaf.flatten().tolist() for leaf in leaves], given],
    )
    for (leaf, how), (numbers, lines) in zip(given, found):
        known = {"x": leaves[leaf][None] / 255}
        exec(lines, known)
        mine = np.frombuffer(base64.b64decode(numbers), np.float32).reshape(3, how["height"], how["width"])
        assert np.abs(known["x"][0].numpy() - mine).max() < 1e-4, lines


def test_every_slider_changes_the_picture_by_keyboard_and_by_mouse(site, fresh):
    page = fresh(site + "page.html")
    box = panel(page, "augmentation", key="Enter")
    picture, code = box.locator("canvas").nth(1), box.locator(".dlm-code")
    pixels = "canvas => canvas.toDataURL()"
    nothing, at_rest = picture.evaluate(pixels), code.inner_text()
    box.get_by_label("side kept").fill("0.6")  # so that the places of a crop matter, and of what is erased
    box.get_by_role("group", name="Erase").get_by_label("side").fill("0.3")
    for control in box.locator("input[type=range], input[type=checkbox]").all():
        before = picture.evaluate(pixels)
        control.press("Space" if control.get_attribute("type") == "checkbox" else "PageUp")
        assert picture.evaluate(pixels) != before, control.get_attribute("id")
    assert [line.split("(")[0] for line in code.inner_text().splitlines()[3:]] == [
        f"x = {name}" for name in "hflip vflip crop affine brightness contrast saturation hue erase".split()
    ]
    box.get_by_role("button", name="Change nothing").click()
    assert picture.evaluate(pixels) == nothing and code.inner_text() == at_rest
    box.get_by_role("button", name="Draw at random").click()
    assert code.inner_text() != at_rest
    before = picture.evaluate(pixels)
    box.get_by_label("upside down").click()
    assert picture.evaluate(pixels) != before
    for name in ("a tomato leaf", "an apple leaf"):
        before = picture.evaluate(pixels)
        box.get_by_role("button", name=name).click()
        assert picture.evaluate(pixels) != before
    box.locator("input[type=file]").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"no"})
    page.wait_for_timeout(300)
    assert "no picture" in box.locator(".dlm-said").inner_text()
    box.locator("input[type=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png(1, 900)})
    page.wait_for_timeout(300)
    assert "1 x 256 pixels become" in box.locator(".dlm-said").inner_text() and not page.faults


# ---------------------------------------------------------------- lecture 07, autoencoder


@pytest.fixture(scope="module")
def digits():
    """The model, its map, and the ten samples (10, 1, 28, 28)."""
    folder = ROOT / "checkpoints" / "digits-autoencoder"
    seed = json.loads((folder / "metrics.json").read_text())["seed"]
    model, atlas = autoencoder.load(folder / "model.safetensors"), places.load(folder / "map.safetensors")
    return model, atlas, places.unseen("mnist5k", seed)[1][0]


def inks():
    """100 drawings, uint8 (56, 56): digits of other sizes and proportions, anywhere on the paper, and bare strokes."""
    (pictures, _), _ = places.unseen("mnist5k", 3)
    rng = random.Random(0)
    for k in range(100):
        ink = torch.zeros(56, 56)
        height, width = rng.randint(4, 56), rng.randint(4, 56)
        top, left = rng.randint(0, 56 - height), rng.randint(0, 56 - width)
        if k % 10:
            digit = torch.nn.functional.interpolate(pictures[k][None], (height, width), mode="bilinear")[0, 0]
        else:
            digit = torch.ones(height, width)
        ink[top : top + height, left : left + width] = digit
        yield (255 * ink).round().byte()


DRAWN = """async given => {
    const {asMnist, encode, decode, place} = await dlm.models.autoencoder();
    const began = performance.now(), out = given.map(text => {
        const data = Float64Array.from(atob(text), letter => letter.charCodeAt(0) / 255);
        const picture = asMnist({h: 56, w: 56, data}), code = encode(picture), {x, y, near} = place(code);
        return {numbers: [...picture, ...code, ...decode(code), x, y], near}; });
    const milliseconds = (performance.now() - began) / given.length;
    return out.map(({numbers, near}) => {
        const bytes = new Uint8Array(Float32Array.from(numbers).buffer);
        return {milliseconds, near, text: btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""))}; });
}"""


def test_drawings_get_the_pictures_codes_and_places_of_the_helper(site, fresh, digits):
    model, atlas, _ = digits
    given = list(inks())
    page = fresh(site + "page.html")
    panel(page, "autoencoder")
    said = page.evaluate(DRAWN, [base64.b64encode(ink.numpy().tobytes()).decode() for ink in given])
    assert len(said) == 100 and said[0]["milliseconds"] < 300
    pictures = torch.stack([as_mnist(ink / 255)[None] for ink in given]).float()
    codes = autoencoder.encode(model, pictures)
    drawn, found = autoencoder.decode(model, codes).flatten(1), places.place(atlas, codes)
    wanted = torch.cat([pictures.flatten(1), codes, drawn, found], 1)
    mine = torch.stack(
        [torch.frombuffer(bytearray(base64.b64decode(one["text"])), dtype=torch.float32) for one in said]
    )
    assert (mine - wanted).abs().max() < 1e-4
    assert [one["near"] for one in said] == places.nearest(atlas.codes, codes, 10).tolist()
    assert len({tuple(one["near"]) for one in said}) > 80  # not all the same


def shades(canvas):
    """The grey values (28, 28) of a small picture of the panel."""
    values = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, k) => k % 4 === 0)"
    )
    return torch.tensor(values).view(28, 28)


def neighbours(atlas, code):
    """What the panel says of the digits of the nearest codes."""
    found = atlas.labels[places.nearest(atlas.codes, code, 10)[0]].tolist()
    kinds = sorted(set(found), key=lambda digit: (-found.count(digit), digit))
    return ", ".join(f"{found.count(digit)} of digit {digit}" for digit in kinds)


def test_samples_and_sliders_show_what_the_decoder_says(site, fresh, digits):
    model, atlas, given = digits
    page = fresh(site + "page.html")
    box = panel(page, "autoencoder", key="Enter")
    line, back = box.locator(".dlm-said"), box.get_by_role("button", name="Back to the picture's code")
    seen, drawn = box.get_by_role("img", name="what the network gets"), box.get_by_role("img", name="what it draws")
    codes = autoencoder.encode(model, given)
    for k, (picture, code) in enumerate(zip(given, codes)):
        box.get_by_role("button", name=str(k), exact=True).press("Space")
        assert torch.equal(shades(seen), (255 * picture[0]).round().long())
        assert (shades(drawn) / 255 - autoencoder.decode(model, code[None])[0, 0]).abs().max() < 0.51 / 255
        error = (autoencoder.decode(model, code[None])[0] - picture).square().sum()
        assert f"codes: {neighbours(atlas, code[None])}. " in line.inner_text()
        assert f"drawn again: {error:.1f};" in line.inner_text()
        assert f"neighbours: {neighbours(atlas, code[None])}" in box.locator("svg").get_attribute("aria-label")
    code, cross = code.clone(), box.locator(".dlm-cross").get_attribute("d")
    for k in range(len(code)):
        slider = box.get_by_label(f"number {k + 1}")
        before = shades(drawn)
        slider.press("PageUp" if k % 2 else "ArrowLeft")
        code[k] = float(slider.input_value())
        assert not torch.equal(shades(drawn), before)
        assert (shades(drawn) / 255 - autoencoder.decode(model, code[None])[0, 0]).abs().max() < 0.51 / 255
        assert f"lie {(code - codes[-1]).norm():.2f} from" in line.inner_text()
    place = box.get_by_label("number 1").bounding_box()
    page.mouse.click(place["x"] + 0.9 * place["width"], place["y"] + place["height"] / 2)  # no dragging is needed
    code[0] = float(box.get_by_label("number 1").input_value())
    assert code[0] > codes[-1][0] and f"codes: {neighbours(atlas, code[None])}. " in line.inner_text()
    assert box.locator(".dlm-cross").get_attribute("d") != cross
    back.press("Enter")
    assert "drawn again" in line.inner_text() and box.locator(".dlm-cross").get_attribute("d") == cross
    assert not page.faults


def corner(canvas, touch, *points):
    """Clicks or taps on the drawing, at shares of its side."""
    side = canvas.bounding_box()["width"]
    for x, y in points:
        (canvas.tap if touch else canvas.click)(position={"x": x * side, "y": y * side})


@pytest.mark.parametrize("address", ["http", "file"])
def test_a_digit_is_drawn_by_mouse_by_touch_and_by_keyboard(book, site, fresh, address):
    touch = address == "file"
    page = fresh(
        (book / "page.html").as_uri() if touch else site + "page.html",
        has_touch=touch,
        viewport={"width": 375 if touch else 1200, "height": 800},
    )
    box = panel(page, "autoencoder", touch=touch)
    line, canvas, seen = box.locator(".dlm-said"), box.get_by_label("Drawing"), box.get_by_role("img", name="gets")
    press = lambda name: getattr(box.get_by_role("button", name=name, exact=True), "tap" if touch else "click")()
    press("Clear")
    assert line.inner_text() == "There is nothing here yet: draw a digit, or take one."
    assert not shades(seen).any() and box.get_by_label("number 1").is_disabled()
    assert box.locator(".dlm-cross").count() == 0

    corner(canvas, touch, (0.3, 0.2))  # a dot, scaled to the box
    assert "nearest codes" in line.inner_text() and shades(seen)[14, 14] == 255
    dot = shades(seen)
    box.get_by_label("join clicks").check()
    press("Clear")
    corner(canvas, touch, (0.3, 0.2), (0.7, 0.2), (0.45, 0.9))  # two lines: a seven
    assert "of digit 7" in line.inner_text() and not torch.equal(shades(seen), dot)
    seven = shades(seen)
    press("New line")
    corner(canvas, touch, (0.4, 0.55))
    assert (shades(seen) > 100).sum() <= (seven > 100).sum() + 12  # a dot, and no line to it
    press("Undo")
    assert torch.equal(shades(seen), seven)
    if not touch:  # the same by dragging
        press("Clear")
        box.get_by_label("join clicks").uncheck()
        place = canvas.bounding_box()
        at = lambda x, y: (place["x"] + x * place["width"], place["y"] + y * place["height"])
        page.mouse.move(*at(0.3, 0.2))
        page.mouse.down()
        page.mouse.move(*at(0.7, 0.2), steps=5)
        page.mouse.move(*at(0.45, 0.9), steps=5)
        page.mouse.up()
        page.mouse.move(*at(0.1, 0.9))
        assert (shades(seen) - seven).abs().max() < 40  # its dots lie elsewhere on the same lines

    press("Clear")
    canvas.focus()
    for key in [*["ArrowUp"] * 9, "Space", *["ArrowDown"] * 18, "Space", *["ArrowRight"] * 4]:
        page.keyboard.press(key)
    assert canvas.evaluate("c => getComputedStyle(c).outlineStyle") == "solid"
    assert "10 of digit 1" in line.inner_text() and "Pen up: column 18, row 23 of 28." in box.inner_text()
    assert (shades(seen).sum(0) > 255).sum() <= 5  # one upright stroke
    page.keyboard.press("Tab")
    assert canvas.evaluate("c => c !== document.activeElement") and not page.faults
    assert all(url.startswith(("file:" if touch else site, "data:", "blob:")) for url in page.asked)


# ---------------------------------------------------------------- in a notebook


@pytest.mark.parametrize("mode", ["true", "false"])
def test_a_panel_in_a_notebook_answers_with_the_model_that_it_was_given(fresh, tmp_path, digits, mode):
    """As JupyterLab shows an output: HTML in a page that says whether its theme is light."""
    torch.manual_seed(0)
    model, given = autoencoder.build("dense", (1, 28, 28), 3), digits[2]
    shown = autoencoder_panel.show(model, given, torch.arange(10), given[:4], perplexity=3, n_iter=10)
    path = tmp_path / "notebook.html"
    path.write_text(f'<!doctype html><body data-jp-theme-light="{mode}">{shown._repr_html_()}', encoding="utf-8")
    page = fresh(path.as_uri())
    box = page.frame_locator("iframe")
    box.get_by_role("button", name="2", exact=True).click()
    assert box.get_by_label("number 3").count() == 1 and box.get_by_label("number 4").count() == 0
    drawn = box.get_by_role("img", name="what it draws")
    wanted = autoencoder.reconstruct(model, given[2:3])[0, 0]
    assert (shades(drawn) / 255 - wanted).abs().max() < 0.51 / 255 + 1e-3  # the panel has 16 bits a weight
    page.wait_for_function("(f => f.offsetHeight >= f.contentDocument.querySelector('main').offsetHeight)"
                           "(document.querySelector('iframe'))")  # fmt: skip
    assert box.locator("html").get_attribute("data-theme") == ("light" if mode == "true" else "dark")
    assert page.asked == [path.as_uri()] and not page.faults

"""The study desk: JupyterLab as `make lab` starts it, its first page, and lectures run and played with in a browser.

By default the fastest lecture with a slider is run, at scale tiny: the numbers are nbval's, this looks at the desk.
COURSE_LAB=all (`make lab-test`) runs all of them as a reader would, COURSE_LAB=NAME those whose name holds NAME.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest

pytest.importorskip("jupyterlab", reason="the study extra is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="the test extra is not installed")
ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (Debian and Ubuntu: apt install chromium)")
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
LECTURES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def seconds(path):
    return nbformat.read(path, 4).metadata.get("verified", {}).get("seconds", 1e9)


def chosen():
    wish = os.environ.get("COURSE_LAB", "")
    if wish == "all":
        return LECTURES
    if wish:
        return [path for path in LECTURES if wish in path.stem]
    return sorted((path for path in LECTURES if "Slider(" in path.read_text(encoding="utf-8")), key=seconds)[:1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on copies of the notebooks, with the settings of `make lab`; yields its address."""
    desk = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "notebooks", desk / "notebooks", ignore=shutil.ignore_patterns("runs", ".ipynb_checkpoints"))
    home = desk / "home"
    home.mkdir()
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlab:")[2].partition("\n\n")[0]
    assert "tools/lab_overrides.json" in recipe  # what the desk is told, and where it starts
    options = re.findall(r"--\S+=\S+", recipe)
    settings = desk / "share" / "jupyter" / "lab" / "settings"
    source = Path(sys.prefix, "share", "jupyter", "lab")
    settings.parent.mkdir(parents=True)
    for name in os.listdir(source):
        if name != "settings":
            (settings.parent / name).symlink_to(source / name)
    settings.mkdir()
    shutil.copy(ROOT / "tools" / "lab_overrides.json", settings / "overrides.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "PYTHONPATH": str(ROOT),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "COURSE_SCALE": "small" if os.environ.get("COURSE_LAB") else "tiny",
        "DLM_CACHE": cache(),
    }
    log = (desk / "log").open("w")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            f"--port={port}",
            f"--LabApp.app_dir={settings.parent}",
            "--IdentityProvider.token=",
            "--ServerApp.password=",
            "--LabApp.expose_app_in_browser=True",
            *options,
        ],
        cwd=desk,
        env=environment,
        stdout=log,
        stderr=log,
    ) as server:
        try:
            address = f"http://127.0.0.1:{port}/"
            for _ in range(240):
                assert server.poll() is None, (desk / "log").read_text()[-2000:]
                try:
                    urlopen(address + "api", timeout=2)
                    break
                except OSError:
                    time.sleep(0.25)
            start = re.search(r"default_url=(\S+)", recipe)
            yield address, address + start[1].lstrip("/")
        finally:
            server.terminate()


def cache():
    from helpers.data.store import cache

    return str(cache())


@pytest.fixture
def page(lab):
    """A page that notes errors and requests that leave this machine in `page.faults`."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda r: (
                r.url.startswith((lab[0], lab[0].replace("http", "ws"), "data:", "blob:"))
                or page.faults.append(f"asks {r.url}")
            ),
        )
        yield page
        browser.close()


def settled(page):
    page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget")
    page.wait_for_function("() => !document.querySelector('.jp-SplashScreen, #jupyterlab-splash')")
    page.wait_for_timeout(1500)


def test_the_desk_opens_on_its_welcome_page(lab, page):
    page.goto(lab[1])
    settled(page)
    page.wait_for_selector(".jp-MarkdownViewer h1")
    links = page.eval_on_selector_all(
        ".jp-MarkdownViewer a:not(.jp-InternalAnchorLink)", "all => all.map(a => a.textContent)"
    )
    desk = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. \[(.+?)\]\((.+?)\)", desk, re.M)
    assert [name for _, name in listed] == sorted(name for _, name in listed) and listed, "lectures in their order"
    assert links[: len(listed)] == [title for title, _ in listed]
    assert page.locator(".jp-Dialog, .jp-toastContainer .Toastify__toast").count() == 0, "something popped up"
    page.get_by_role("link", name=listed[0][0]).first.click()  # and a lecture is one click away
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")
    page.keyboard.press("Escape")
    page.evaluate("window.jupyterapp.commands.execute('toc:show-panel')")
    page.wait_for_selector(".jp-tocItem")
    assert page.locator(".jp-tocItem").count() > 3
    assert page.locator(".jp-Dialog").count() == 0 and not page.faults, page.faults


STATE = """() => { const w = window.jupyterapp.shell.currentWidget, c = w.content.model.toJSON().cells;
    return {busy: w.sessionContext.session?.kernel?.status, code: c.filter(x => x.cell_type === 'code'),
            left: c.filter(x => x.cell_type === 'code' && !x.execution_count).length}; }"""


def run_all(page, limit):
    """Run every cell; returns the code cells with their outputs, and whether a progress bar was seen."""
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    )
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    assert page.evaluate(STATE)["left"]
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")  # not awaited
    end, bars = time.monotonic() + limit, 0
    while time.monotonic() < end:
        state = page.evaluate(STATE)
        bars += page.locator(".jp-OutputArea progress").count()
        failed = [
            out
            for cell in state["code"]
            for out in cell["outputs"]
            if out["output_type"] == "error" and "raises-exception" not in cell["metadata"].get("tags", [])
        ]
        assert not failed, json.dumps(failed)[:2000]
        if state["busy"] == "idle" and not state["left"]:
            return state["code"], bars
        page.wait_for_timeout(400)
    raise AssertionError(f"not done after {limit} s; {state['left']} cells left, the kernel is {state['busy']}")


PICTURES = """(slider) => { let area = slider.closest('.jp-OutputArea-output, .jp-OutputArea');
    while (area && !area.querySelector('img')) area = area.parentElement.closest('.jp-OutputArea, .jp-Cell');
    return area ? [...area.querySelectorAll('img')].map(i => i.src.length + i.src.slice(-400)).join() : ''; }"""


@pytest.mark.parametrize("path", chosen(), ids=lambda path: path.stem)
def test_a_lecture_is_run_and_played_with(lab, page, path):
    # in a workspace of its own: the common one opens again what was open before
    page.goto(f"{lab[0]}lab/workspaces/{path.stem}/tree/notebooks/{path.name}")
    settled(page)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    cells, bars = run_all(page, limit=400)
    assert bars, "no progress bar was seen in a whole lecture"
    stored = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert len(cells) == len(stored)
    for new, old in zip(cells, stored):  # the same kinds of outputs as in the book
        kinds = [
            sorted(out.get("data", {})) or out["output_type"]
            for out in new["outputs"]
            if any(out.get("data", {"text": out.get("text")}).values())
        ]
        assert len(kinds) >= len([out for out in old.outputs if out.output_type != "stream"]), old.source[:200]

    raw = page.evaluate("""() => [...document.querySelectorAll('.jp-MarkdownOutput')].map(e => {
        const copy = e.cloneNode(true); copy.querySelectorAll('code, pre, mjx-container').forEach(x => x.remove());
        return copy.textContent; }).filter(t => /\\$\\$|:::|\\{[a-z:]+\\}`|\\*\\*|^> /m.test(t))""")
    assert not raw, f"shown raw: {raw[0][:300]}"
    assert page.locator("mjx-merror").count() == 0, "an equation that MathJax cannot read"

    if any("widget-view+json" in kind for cell in cells for out in cell["outputs"] for kind in out.get("data", {})):
        place = next(
            i
            for i, cell in enumerate(
                page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells")
            )
            if "widget-view+json" in json.dumps(cell.get("outputs", []))
        )
        page.evaluate(
            f"window.jupyterapp.shell.currentWidget.content.activeCellIndex = {place};"
            f"window.jupyterapp.shell.currentWidget.content.scrollToItem({place}, 'center')"
        )
        page.wait_for_selector(".jupyter-widgets")
        page.wait_for_timeout(2000)
        slider = page.locator(".jupyter-widgets [role=slider]").first
        if slider.count():
            before = slider.evaluate(PICTURES)
            slider.focus()
            for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
                page.keyboard.press(key)  # no mouse needed
            for _ in range(100):
                page.wait_for_timeout(200)
                if slider.evaluate(PICTURES) != before:
                    break
            assert slider.evaluate(PICTURES) != before, "the figure did not follow the slider"
    assert page.locator(".jp-Dialog").count() == 0
    assert not page.faults, page.faults

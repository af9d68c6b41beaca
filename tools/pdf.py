"""Print the one-page book of `jupyter-book build --builder singlehtml` as a PDF, through a headless Chromium.

python -m tools.pdf _build/singlehtml _build/book.pdf
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
# folded solutions and choices are printed open, and in the light colours; long lists in tables stay folded
READY = """async () => {
    document.querySelectorAll('details:not(td details)').forEach(d => { d.removeAttribute('name'); d.open = true; });
    if (window.MathJax?.startup) await MathJax.startup.promise;
    await new Promise(done => setTimeout(done, 1000));      // what was opened fades in
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def main(folder, out):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        print("make pdf needs Chromium (Debian and Ubuntu: apt install chromium)", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    folder = Path(folder)
    # the front page lies in a subfolder, but its one page links to what it needs from the top
    shutil.copyfile(folder / "book" / "intro.html", folder / "all.html")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(color_scheme="light")
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/all.html", wait_until="networkidle")
        page.evaluate(READY)
        page.pdf(
            path=out,
            format="A4",
            outline=True,
            tagged=True,
            print_background=True,
            margin=dict.fromkeys(("top", "bottom", "left", "right"), "18mm"),
        )
        browser.close()
    server.shutdown()
    print(f"The whole book is in {out} ({Path(out).stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

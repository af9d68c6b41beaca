"""Progress bars: silent in a pipe, live in a terminal and in a notebook, and nothing left behind."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.course import progress
from helpers.course.progress import Bar, clock, load, track

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time
from helpers.course.progress import track
for a in track(range(3), "outer loop"):
    for b in track("abc", "inner loop"):
        time.sleep(0.07)
print("done")
"""


def test_silent_in_a_pipe():
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def in_a_terminal(columns, script=SCRIPT, **environment):
    """What a terminal of that width receives while stdout goes into a pipe: (stderr, stdout)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=os.environ | environment,
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            seen += part
        out = process.stdout.read()
        assert process.wait(60) == 0
    os.close(ours)
    return seen.decode(), out


def test_a_terminal_shows_the_bars_in_one_line_and_is_left_clean():
    seen, out = in_a_terminal(200)
    assert out == "done\n"
    frames = seen.split("\r\x1b[K")
    assert frames[0] == "" and frames[-1] == ""  # every frame erases the one before, the last erases all
    assert all("\n" not in f for f in frames)
    drawn = [f for f in frames if f]
    assert len(drawn) >= 2
    assert re.fullmatch(r"outer loop 0/3 \| inner loop 1/3, \d+:\d\d left", drawn[0])
    assert re.fullmatch(r"outer loop [123]/3, \d+:\d\d left(?: \| inner loop \d/3(?:, \d+:\d\d left)?)?", drawn[-1])


def test_a_narrow_terminal_is_not_overflown():
    seen, _ = in_a_terminal(20)
    drawn = [f for f in seen.split("\r\x1b[K") if f]
    assert drawn and all(len(f) <= 19 for f in drawn) and drawn[0].startswith("outer loop 0/3")
    assert "inner loop" in in_a_terminal(0)[0]  # a terminal that does not know its width


def test_libraries_are_loaded_under_a_bar():
    script = (
        "import sys; from helpers.course.progress import load; load('wave', 'sqlite3'); print('sqlite3' in sys.modules)"
    )
    seen, out = in_a_terminal(200, script)
    drawn = [f for f in seen.split("\r\x1b[K") if f]
    assert out == "True\n" and drawn[0] == "loading 0/2, wave"  # it says so before it begins
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module")


def test_progress_can_be_switched_off():
    assert in_a_terminal(80, DLM_PROGRESS="0") == ("", "done\n")


# ------------------------------------------------------------------ a notebook

CELLS = [
    "import time; from helpers.course.progress import bar, track; pause = {pause}",
    "for a in track(range(3), 'outer <b>'):\n    for b in track(range(3), 'inner'):\n        time.sleep(pause)\n"
    "print('done')",
    "for name in 'ab':\n    for _ in track(range(2), name):\n        time.sleep(pause)",
    "try:\n    with bar('outer', 3), bar('inner', 5) as one:\n        one.update(1)\n        raise ValueError\n"
    "except ValueError:\n    print('stopped')",
    "print('no bar')",
]


class Watching(NotebookClient):
    """Also keeps what a reader saw in between."""

    def process_message(self, message, cell, cell_index):
        if message["header"]["msg_type"] == "update_display_data":
            self.seen.setdefault(cell_index, []).append(message["content"]["data"])
        return super().process_message(message, cell, cell_index)


@pytest.fixture(scope="module", params=[0.0, 0.12], ids=["quick", "slow"])
def run(request):
    """(outputs of every cell, the updates of the display in every cell) of a machine of this speed."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(c.format(pause=request.param) if i == 0 else c) for i, c in enumerate(CELLS)
    ]
    client = Watching(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.seen = {}
    client.execute()
    return [[plain(o) for o in cell.outputs] for cell in notebook.cells], client.seen, request.param


def plain(output):
    return output.get("text") or (output["output_type"], dict(output["data"]), dict(output["metadata"]))


EMPTY = ("display_data", {"text/html": "", "text/plain": ""}, {})


def test_a_cell_leaves_the_same_behind_on_a_quick_and_on_a_slow_machine(run):
    """One emptied display however many bars there were and however long they took."""
    assert run[0] == [[], [EMPTY, "done\n"], [EMPTY], [EMPTY, "stopped\n"], ["no bar\n"]]


def test_a_notebook_shows_live_bars(run):
    _, seen, pause = run
    assert set(seen) == {1, 2, 3}
    for cell in seen.values():
        assert cell[-1] == {"text/html": "", "text/plain": ""}
    html = [data["text/html"] for data in seen[1][:-1]]
    assert all("<b>" not in h and "outer &lt;b&gt;" in h for h in html)
    assert '<progress max="3" value="0">' in html[0] and '<progress max="3" value="1">' in html[0]
    assert any("inner" in h for h in html)
    if pause:
        assert len(html) >= 4 and any("outer &lt;b&gt; 2/3" in h for h in html)


# ------------------------------------------------------------------ the numbers


def test_the_time_that_is_left():
    one = Bar("x", 80)
    one.start = 100.0
    one.update(20)
    assert one.text(110.0) == "x 20/80, 0:30 left"  # 20 in 10 s, 60 to go
    one.update(40, "loss 0.1")
    assert one.text(120.0) == "x 40/80, 0:20 left, loss 0.1"
    one.first = 20  # resumed: the first 20 took no time now
    assert one.text(120.0) == "x 40/80, 0:40 left, loss 0.1"
    one.update(20)
    assert one.text(130.0) == "x 20/80, loss 0.1"  # nothing measured yet
    assert [clock(s) for s in (0, 59.9, 75, 3600, 36_061)] == ["0:00", "0:59", "1:15", "1:00:00", "10:01:01"]


def test_track_yields_everything_and_closes_also_after_a_break():
    assert list(track(iter("abc"), total=3)) == ["a", "b", "c"] and list(track([])) == []
    loop = track(range(10), "x")
    next(loop)
    assert len(progress._open) == 1
    loop.close()
    assert progress._open == []
    with pytest.raises(TypeError):
        next(track(iter("abc")))  # no length, no total
    assert progress._open == []

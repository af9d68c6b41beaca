"""Notebooks as tests: nbval's strict comparison, with a tolerance for decimals and a rough look at pictures.

nbval compares stored and new outputs letter by letter and pictures not at all. Here text must still match
letter by letter, but a decimal (0.123, 1e-5; not 12 or 2.14.1) may differ by rtol times its size or by atol,
and a picture's thumbnail by a share of its ink. How, and the defaults, stand in `helpers.course.compare`; a
cell's tags override them, for example `nbval-atol=0.05`. A failure names each number that differs, and the limit.

Also mended: a cell without an execution count would pass uncompared, a dead kernel would wait out the time
limit, a `;` at the end of a cell was ignored, and updated displays, clear_output and widget outputs were
misread.
"""

import json
import math
import os
from queue import Empty
from time import monotonic

import pytest

from helpers.course.compare import PICTURES, differences, picture_differences, seen, tolerance

try:
    import nbval.plugin as nbp
except ImportError:  # unit tests run without it
    nbp = None


class Output(str):
    """An output's text that knows its tolerance; nbval compares two of them with `!=`."""

    __hash__ = str.__hash__

    def __new__(cls, text, rtol=0.0, atol=0.0, picture=None):
        self = super().__new__(cls, text)
        self.rtol, self.atol, self.picture = rtol, atol, picture
        return self

    def differences(self, new):
        if self.picture is not None:
            return picture_differences(str(self), str(new), self.picture)
        return differences(str(self), str(new), self.rtol, self.atol)

    def __eq__(self, other):
        return not self.differences(other)

    def __ne__(self, other):
        return bool(self.differences(other))


if nbp:

    class Kernel(nbp.RunningKernel):
        def execute_cell_input(self, cell_input, allow_stdin=None):  # with history, so a final `;` works
            self.running = self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False)
            return self.running

        def await_reply(self, msg_id, timeout=None):  # notice a dead kernel at once
            end = math.inf if timeout is None else monotonic() + timeout
            while True:
                try:
                    return super().await_reply(msg_id, timeout=max(0.0, min(2.0, end - monotonic())))
                except Empty:
                    if not self.is_alive():
                        raise RuntimeError("the kernel died (out of memory?)") from None
                    if monotonic() >= end:
                        raise

    nbp.RunningKernel = Kernel

    class Cell(nbp.IPyNbCell):
        def runtest(self):
            if self.cell.execution_count is None and self.cell.source.strip() and not self.options["skip"]:
                self.raise_cell_error("cell was never run: nothing to compare; `make notebooks` runs it")
            self.parent.current, self.parent.clearing = self, False
            super().runtest()

        def compare_outputs(self, test, ref, skip_compare=None):
            return super().compare_outputs(seen(test), seen(ref), skip_compare)

        def sanitize(self, s):
            s = super().sanitize(s)
            if isinstance(s, dict):  # a JSON output: the figures of a claim's card
                s = json.dumps(s, sort_keys=True, ensure_ascii=False)
            if not isinstance(s, str):
                return s
            known = tolerance(self.cell.metadata.get("tags", []))
            if s.startswith(("iVBORw0KGgo", "/9j/")):  # base64 of a PNG, of a JPEG
                return Output(s, picture=known["picture"])
            return Output(s, known["rtol"], known["atol"])

        def format_output_compare(self, key, left, right):
            if isinstance(left, Output):
                reasons = left.differences(right)
                more = [f"and {len(reasons) - 12} more"] if len(reasons) > 12 else []
                self.comparison_traceback.append("\n  ".join([f"{key}:", *reasons[:12], *more]))
                if left.picture is not None:
                    return
                left, right = str(left), str(right)
            super().format_output_compare(key, left, right)

    class File(nbp.IPyNbFile):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.skip_compare = tuple(set(self.skip_compare) - set(PICTURES))

        def setup(self):
            self.shown, self.captured = {}, {}
            super().setup()

        def collect(self):
            for c in super().collect():
                yield Cell.from_parent(self, name=c.name, cell_num=c.cell_num, cell=c.cell, options=c.options)

        def get_kernel_message(self, timeout=None, stream="iopub"):  # what a front end does with outputs
            while True:
                msg = super().get_kernel_message(timeout=timeout, stream=stream)
                kind, body, outs = msg["msg_type"], msg["content"], self.current.test_outputs
                if kind.startswith("comm") and "msg_id" in (state := body.get("data", {}).get("state", {})):
                    self.captured[body["comm_id"]] = state["msg_id"]  # ipywidgets.Output on or off
                if kind in ("stream", "display_data", "execute_result", "error", "clear_output"):
                    if msg["parent_header"].get("msg_id") in filter(None, self.captured.values()):
                        continue
                    if kind == "clear_output":
                        self.clearing = body["wait"]
                        if not body["wait"]:
                            outs.clear()
                        continue
                    if self.clearing:
                        outs.clear()
                        self.clearing = False
                key = body.get("transient", {}).get("display_id")
                mine = msg["parent_header"].get("msg_id") == self.kernel.running
                if kind == "update_display_data":
                    if key in self.shown:
                        self.shown[key].update(data=body["data"], metadata=body["metadata"])
                    continue
                if kind == "display_data" and key and mine:
                    self.shown[key] = nbp.NotebookNode(output_type=kind, data=body["data"], metadata=body["metadata"])
                    outs.append(self.shown[key])
                    continue
                return msg


def pytest_configure(config):
    os.environ["COURSE_CLAIMS"] = "raise"
    os.environ["COURSE_SCALE"] = "small"  # the scale of the stored outputs,
    os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # which come from a CPU: a GPU computes in 16 bits


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    found = yield
    return [File.from_parent(parent, path=file_path) if nbp and type(node) is nbp.IPyNbFile else node for node in found]


LONGEST = ("test_scale.py", "08b_yolo.ipynb", "test_book.py")  # files that take a worker many minutes


def pytest_collection_modifyitems(items):
    """The longest files first: with several workers none is left alone with one in the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))

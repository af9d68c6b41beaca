"""Run a notebook from a fresh kernel of this very Python, in the notebook's own folder."""

import ast
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.course.errors import UserError

try:
    import ipykernel.kernelspec as this_python
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat import NotebookNode
except ImportError as error:  # who only reads the book, or uses the commands, does without
    raise UserError(
        f"to run notebooks, {error.name} is needed, which is not installed: "
        'python -m pip install -c constraints.txt -e ".[study]"'
    ) from error

SILENT = 3.0  # seconds that a cell may take without a progress bar
# how the stored outputs were made: a claim that fails ends the run, and no GPU is used
BOOK = {"COURSE_SCALE": "small", "COURSE_CLAIMS": "raise", "ACCELERATE_USE_CPU": "true"}


@dataclass
class Ran:
    """A notebook with its new outputs, and what is told about the run."""

    notebook: NotebookNode
    seconds: float = 0.0
    silent: list[str] = field(default_factory=list)  # cells that took long and showed no progress bar
    answers: dict[str, Any] = field(default_factory=dict)  # to what was `asked`


class Unfinished(RuntimeError):
    """A notebook did not come to its end: its kernel died, or a cell ran into the time limit."""

    def __init__(self, ran: Ran, place: int, why: str):
        super().__init__(f"cell {place}: {why}")
        self.ran = ran  # what was run before
        self.place = place  # the cell, counted like `ran.notebook.cells`
        self.why = why


def read(path: Path) -> NotebookNode:
    """The notebook at `path` as it is stored."""
    return nbformat.read(path, 4)


def execute(
    path: Path,
    environment: Mapping[str, str] | None = None,
    *,
    before: str = "",
    asked: Mapping[str, str] | None = None,
    go_on: bool = False,
    timeout: int = 1200,
) -> Ran:
    """Run every cell of the notebook at `path`.

    environment  variables of the kernel, on top of this process's
    before       code that the kernel runs as it starts, before the first cell and before it has imported anything
    asked        {name: expression} to evaluate after the last cell; the answers are Python literals
    go_on        whether a cell that raises keeps its error as output and the next one runs; else nbclient's
                 CellExecutionError
    timeout      seconds for a cell; one that takes longer raises `Unfinished`, as does a kernel that dies

    The kernel has an IPython folder of its own: the reader's startup files and history are left out of it.
    """
    nb = read(path)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None

    class ThisPython(KernelSpecManager):  # whatever kernels the machine has, take this environment's
        def get_kernel_spec(self, kernel_name):
            return self.kernel_spec_class(resource_dir=str(this_python.RESOURCES), **this_python.get_kernel_dict())

    class Client(NotebookClient):  # notes whether a cell shows that it is still at work
        bars = 0

        def process_message(self, msg, cell, cell_index):
            self.bars += "<progress" in str(msg["content"].get("data", ""))
            return super().process_message(msg, cell, cell_index)

    folder = {"metadata": {"path": str(path.parent)}}
    client = Client(nb, timeout=timeout, record_timing=False, resources=folder, allow_errors=go_on)
    client.log.setLevel("CRITICAL")  # what it complains of is raised as well
    manager = client.create_kernel_manager()
    manager.kernel_spec_manager = ThisPython()
    ran, start = Ran(nb), time.monotonic()
    with tempfile.TemporaryDirectory() as room:
        startup = Path(room) / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "00-before.py").write_text(before, encoding="utf-8")
        variables = os.environ | dict(environment or {}) | {"IPYTHONDIR": room}
        with client.setup_kernel(stderr=subprocess.DEVNULL, env=variables):  # the kernel's own remarks, not the cells'
            try:
                for place, cell in enumerate(nb.cells):
                    _say(f"  {path.name}: cell {place + 1} of {len(nb.cells)}")
                    began, client.bars = time.monotonic(), 0
                    client.execute_cell(cell, place)
                    if time.monotonic() - began > SILENT and not client.bars:
                        ran.silent.append(f"cell {place} ({time.monotonic() - began:.0f} s)")
                ran.answers = _ask(client, asked or {})
            except DeadKernelError as error:
                raise Unfinished(ran, place, "the kernel died (out of memory?)") from error
            except CellTimeoutError as error:
                raise Unfinished(ran, place, f"it took more than {timeout} s") from error
            finally:
                ran.seconds = time.monotonic() - start
                _say("")
    return ran


def _ask(client, asked):
    reply = client.wait_for_reply(
        client.kc.execute("", silent=True, store_history=False, user_expressions=dict(asked)), None
    )
    values = reply["content"]["user_expressions"] if asked else {}
    return {name: ast.literal_eval(value["data"]["text/plain"]) for name, value in values.items()}


def _say(words):
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def lecture_notebooks(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """The notebooks in `folder`, or those of them whose name is, or holds, one of `names`."""
    every = sorted(folder.glob("*.ipynb"))
    chosen = []
    for name in names:
        found = [p for p in every if p.stem == name] or [p for p in every if name in p.stem]
        if not found:
            raise UserError(f"there is no lecture {name!r}; there are {', '.join(p.stem for p in every)}")
        chosen += [p for p in found if p not in chosen]
    return chosen or every

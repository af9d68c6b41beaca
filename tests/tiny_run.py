"""Run a notebook at COURSE_SCALE=tiny, from a fresh IPython: python tests/tiny_run.py NOTEBOOK

Every code cell runs as in a kernel, one after the other. Training goes to a pretended device, so a cell that would mix
a GPU's tensors with the CPU's fails here, too (tests/pretended_device.py), and so does one that draws numbers which
another computer may draw otherwise (tests/agreeing_draws.py). It computes in 16 bits where the processor is quick at
that; tests/test_device.py does so everywhere. Exit status 1, and the traceback, where a cell or a widget in it raises;
a cell with the tag raises-exception must raise.

Each notebook has a process of its own. On Linux they are forked from one that has imported what the lectures import,
which takes longer than many a tiny run; `tiny_runs` keeps such a process at hand for a file of tests. Elsewhere a fork
is not safe once libraries with threads are loaded, or there is none: each starts anew.
"""

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path

import nbformat
from agreeing_draws import watch
from IPython.core.interactiveshell import InteractiveShell
from pretended_device import HALF_IS_FAST, engine_on_it, pretended

ROOT = Path(__file__).resolve().parents[1]


class Shell(InteractiveShell):
    """Counts what it shows as a traceback: widgets show the errors of their functions and go on."""

    errors = 0

    def showtraceback(self, *arguments, **settings):
        self.errors += 1
        super().showtraceback(*arguments, **settings)

    def _showtraceback(self, etype, evalue, stb):
        print("\n".join(stb), file=sys.stderr)


def run(notebook: Path) -> int:
    """The number of code cells that ran; SystemExit at the first that raises (or does not, and should)."""
    from helpers.course import devices, training  # noqa: F401  (training may have the engine already)

    real = devices.engine
    for module in [m for name, m in sys.modules.items() if name.startswith("helpers.")]:
        if vars(module).get("engine") is real:
            module.engine = engine_on_it(real, HALF_IS_FAST)
    shell, cells = Shell.instance(), nbformat.read(notebook, 4).cells
    os.chdir(notebook.parent)
    code = [(i, cell) for i, cell in enumerate(cells) if cell.cell_type == "code" and cell.source.strip()]
    for i, cell in code:
        before = shell.errors
        done = shell.run_cell(cell.source, store_history=True)
        raised, wanted = not done.success or shell.errors > before, "raises-exception" in cell.metadata.get("tags", [])
        if raised != wanted:
            sys.exit(f"{notebook.name}, cell {i} {'raised' if raised else 'did not raise'}:\n{cell.source}")
    return len(code)


def tiny(notebook: Path) -> None:
    """Run it and say so; SystemExit with the reason where it does not run."""
    refused = []
    with pretended(look=watch(refused), half=HALF_IS_FAST):
        ran = run(notebook.resolve())
    if refused:  # in a cell that was meant to raise something else, or that went on
        sys.exit(f"{notebook.name}: {refused[0]}")
    print("ran", ran, "cells")


def in_a_process(notebook: Path) -> subprocess.CompletedProcess:
    """`tiny` in a process of its own, with what it wrote and its exit status."""
    if sys.platform != "linux":
        return subprocess.run([sys.executable, __file__, notebook], capture_output=True, text=True, timeout=240)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            signal.alarm(240)  # what hangs is ended
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = 1
            try:
                tiny(notebook)
                status = 0
            except BaseException as error:  # whatever it is, this process ends here
                print(error if isinstance(error, SystemExit) else traceback.format_exc(), file=sys.stderr)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(str(notebook), status, out.read(), err.read())


@contextmanager
def tiny_runs():
    """A function from the path of a notebook to its tiny run: returncode, stdout, stderr."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def ask(notebook):
            print(notebook, file=server.stdin, flush=True)
            return subprocess.CompletedProcess(notebook, **json.loads(server.stdout.readline()))

        yield ask
        server.stdin.close()  # which ends it


def serve() -> None:
    """Run the notebook of each line of standard input, and answer with a line of JSON."""
    for library in ("matplotlib.pyplot", "ipywidgets", "scipy.stats", "sklearn.model_selection", "timm", "cv2"):
        importlib.import_module(library)
    for module in pkgutil.walk_packages([str(ROOT / "helpers")], "helpers."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for line in sys.stdin:
        run = in_a_process(Path(line.rstrip("\n")))
        print(json.dumps({"returncode": run.returncode, "stdout": run.stdout, "stderr": run.stderr}), flush=True)


if __name__ == "__main__":
    os.environ |= {"COURSE_SCALE": "tiny", "MPLBACKEND": "agg", "DLM_PROGRESS": "0"}
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:]:
        tiny(Path(sys.argv[1]))
    else:
        serve()

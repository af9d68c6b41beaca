"""Run a notebook at COURSE_SCALE=tiny, from a fresh IPython: python tests/tiny_run.py NOTEBOOK

Every code cell runs as in a kernel, one after the other. Training goes to a pretended device, so a cell that would mix
a GPU's tensors with the CPU's fails here, too (tests/pretended_device.py), and so does one that draws numbers which
another computer may draw otherwise (tests/agreeing_draws.py). It computes in 16 bits where the processor is quick at
that; tests/test_device.py does so everywhere. Exit status 1, and the traceback, where a cell or a widget in it raises;
a cell with the tag raises-exception must raise.
"""

import os
import sys
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


if __name__ == "__main__":
    os.environ |= {"COURSE_SCALE": "tiny", "MPLBACKEND": "agg", "DLM_PROGRESS": "0"}
    sys.path.insert(0, str(ROOT))
    notebook = Path(sys.argv[1]).resolve()
    refused = []
    with pretended(look=watch(refused), half=HALF_IS_FAST):
        ran = run(notebook)
    if refused:  # in a cell that was meant to raise something else, or that went on
        sys.exit(f"{notebook.name}: {refused[0]}")
    print("ran", ran, "cells")

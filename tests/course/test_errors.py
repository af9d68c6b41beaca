"""What a reader can mend is one line under the cell, not a traceback."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_notebook_shows_one_line_for_bad_input(tmp_path):
    """No traceback for what the user can mend; the line in the cell is named. Other errors keep theirs."""
    cells = [
        "from helpers.data import store\n\nstore.fetch('mnist5k')",
        "def ask():\n    store.fetch('mnist5k')\n1 / 0",
        "ask()",
    ]
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
for cell in {cells!r}:
    print("cell:")
    shell.run_cell(cell)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"IPYTHONDIR": str(tmp_path)},
    )
    first, second, third = run.stdout.split("cell:\n")[1:]
    assert first.startswith("Error in line 3 of the cell: there is no data set 'mnist5k': did you mean mnist-5k?")
    assert first.count("\n") == 1 and "Traceback" in second and "ZeroDivisionError" in second
    assert third.startswith("Error in line 2 of the cell: there is no data set")

"""Notebooks under nbval with this repository's conftest: what differs fails and is named, what agrees passes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import canonical, run

pytest.importorskip("nbval", reason="the test extra is not installed")
ROOT = Path(__file__).parents[1]
FIGURE = (
    "plt = plots.use()\nfig, ax = plt.subplots()\nax.plot([0, 1, 2], [0, 0.5, 1])\n"
    "plots.show(fig, alt='A line that rises from 0 to 1.')"
)
UPDATE = (
    "handle = display({'text/plain': 'old'}, raw=True, display_id=True)\nhandle.update({'text/plain': 'new'}, raw=True)"
)
# each: the cell as it was stored, the cell that is run instead, and what the failure must say (None: it must pass)
CELLS = [
    (
        "import os\nfrom IPython.display import clear_output, display\nfrom helpers.course import plots\nx = 0.5",
        None,
        None,
    ),
    (
        "print(f'accuracy {x:.3f}')",
        "print('accuracy 0.600')",
        "decimal 1: stored 0.5, now 0.6, differs by 0.1, allowed 0.001",
    ),
    ("print('12 of 30')", "print('13 of 30')", "the text around the decimals differs"),
    ("print(f'{x:.4f}')", "print('0.5004')", None),
    (FIGURE, FIGURE.replace("ax.plot", "print"), "Unexpected output fields"),
    (FIGURE, FIGURE.replace("[0, 0.5, 1]", "[2, 2, 2]"), "of its ink"),
    (FIGURE, FIGURE.rpartition("\n")[0] + "\nplt.close()", "Missing output fields"),
    (UPDATE, UPDATE.replace("'new'", "'other'"), "'other'"),
    (UPDATE, UPDATE.replace("'old'", "'older'"), None),
    ("print('first')\nclear_output(wait=True)\nprint('second')", "print('first')\nprint('second')", "first"),
    ("print('second')", "print('first')\nclear_output(wait=True)\nprint('second')", None),
    ("x;", "x", "Unexpected output fields"),
    ("import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print('inside')\nout", None, None),
    ("print(1)", "1 / 0", "ZeroDivisionError"),
    ("print(1)", "import sys\nprint(1)\nprint(2, file=sys.stderr)", "stderr"),
    ("print(2)", "never run", "cell was never run"),
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook run and stored as `make notebooks` does it."""
    path = tmp_path_factory.mktemp("nb") / "good.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s, _, _ in CELLS]), path)
    nb = canonical(run(path))
    nbformat.write(nb, path)
    return path


def nbval(path):
    """Run pytest --nbval on one notebook; returns what it said of each cell, and the seconds."""
    start = time.monotonic()
    command = [
        "-m",
        "pytest",
        "--nbval",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-v",
        "--color=no",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(path.parent),
        str(path),
    ]
    said = subprocess.run(
        [sys.executable, *command],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    parts = re.split(r"_+ \S+::Cell (\d+) _+\n", said.partition("short test summary")[0])
    failed = {int(cell): text for cell, text in zip(parts[1::2], parts[2::2])}
    passed = {int(cell): None for cell in re.findall(r"::Cell (\d+) PASSED", said)}
    assert passed or failed, said
    return passed | failed, time.monotonic() - start


def changed(notebook, change):
    """A copy of the stored notebook with something changed."""
    nb = nbformat.read(notebook, 4)
    change(nb.cells)
    path = notebook.with_name("changed.ipynb")
    nbformat.write(nb, path)
    return path


def test_what_was_stored_passes(notebook):
    results, _ = nbval(notebook)
    assert results == dict.fromkeys(range(len(CELLS)))


def test_the_run_left_a_stamp(notebook):
    stamp = nbformat.read(notebook, 4).metadata["verified"]
    assert stamp["seconds"] < 120 and stamp["memory_mb"] > 50 and "torch" in stamp["versions"]
    assert stamp["data"] == []


def test_a_run_notes_the_data_and_the_cells_that_are_long_silent(tmp_path, capsys, monkeypatch):
    from helpers.course import kernel

    monkeypatch.setattr(kernel, "SILENT", 0.5)
    cells = [
        "from helpers.data.sets import digits\nfrom helpers.course.progress import track\nimport time\nx = digits()",
        "for i in track(range(4)):\n    time.sleep(0.25)",
        "time.sleep(1.1)",
        "time.sleep(0.1)",
    ]
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in cells]), path)
    assert run(path).metadata["verified"]["data"] == ["digits"]
    said = capsys.readouterr().err
    assert "a.ipynb: no progress bar in " in said and "cell 2 (1 s)" in said
    assert "cell 1" not in said and "cell 3" not in said


def test_what_differs_fails_and_is_named(notebook):
    def faults(cells):
        for cell, (_, other, _) in zip(cells, CELLS):
            cell.source = other or cell.source
        cells[-1].update(execution_count=None, outputs=[])
        # one more cell, whose tag allows what the second one may not
        cells.append(
            nbformat.v4.new_code_cell(
                "print('accuracy 0.600')",
                execution_count=99,
                outputs=cells[1].outputs,
                metadata={"tags": ["nbval-atol=0.1"]},
            )
        )

    results, _ = nbval(changed(notebook, faults))
    assert results.pop(len(CELLS)) is None
    for cell, (_, _, words) in enumerate(CELLS):
        said = results[cell]
        assert said is None if words is None else said and words in said, f"cell {cell}: {said}"


def test_a_dead_kernel_is_noticed_at_once(notebook):
    results, seconds = nbval(changed(notebook, lambda cells: cells[1].update(source="os._exit(1)")))
    assert results[0] is None and "kernel died" in results[1] and seconds < 90

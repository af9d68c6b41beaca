"""Running notebooks: what reaches the kernel, what comes back, and how a run ends that does not reach its end."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbclient", reason="neither the study nor the test extra is installed")
from nbclient.exceptions import CellExecutionError

from helpers.course import kernel
from helpers.course.errors import UserError
from helpers.course.kernel import Unfinished, execute, lecture_notebooks

ROOT = Path(__file__).parents[2]


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of these cells, each with an old output, and give its path."""

    def write(*sources):
        cells = [nbformat.v4.new_markdown_cell("# Title")]
        for source in sources:
            old = nbformat.v4.new_output("stream", name="stdout", text="old\n")
            cells.append(nbformat.v4.new_code_cell(source, execution_count=7, outputs=[old]))
        path = tmp_path / "some.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


def printed(ran):
    """What each code cell printed; an error as its name and value."""
    return [
        "".join(out.text if out.output_type == "stream" else f"{out.ename}: {out.evalue}" for out in cell.outputs)
        for cell in ran.notebook.cells
        if cell.cell_type == "code"
    ]


def test_cells_run_in_one_fresh_kernel_of_this_python_in_the_notebooks_folder(notebook, monkeypatch):
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    path = notebook(
        "import os, sys\nx = 3\nprint(sys.executable)\nprint(os.getcwd())",
        "print(x, os.environ['FROM_OUTSIDE'], os.environ['OURS'], os.environ['COLOUR'])",
    )
    monkeypatch.setenv("COLOUR", "red")
    before = path.read_text()
    assert [cell.outputs[0].text for cell in kernel.read(path).cells[1:]] == ["old\n", "old\n"]
    ran = execute(path, {"OURS": "given", "COLOUR": "blue"})
    assert printed(ran) == [f"{sys.executable}\n{os.path.realpath(path.parent)}\n", "3 kept given blue\n"]
    assert [cell.get("execution_count") for cell in ran.notebook.cells] == [None, 1, 2]
    assert 0 < ran.seconds < 60 and ran.answers == {} and ran.silent == []
    assert path.read_text() == before, "the file is read, never written"


def test_before_runs_before_the_first_cell_and_asked_after_the_last(notebook):
    path = notebook("print(early)\nearly = 'changed'", "import sys\nlate = {'a': [1, 2.5, None]}")
    asked = {"late": "late", "early": "early", "loaded": "'colorsys' in sys.modules"}
    ran = execute(path, before="import colorsys\nearly = 'set'", asked=asked)
    assert printed(ran) == ["set\n", ""]
    assert ran.answers == {"late": {"a": [1, 2.5, None]}, "early": "changed", "loaded": True}


def test_the_readers_own_ipython_stays_out_of_it(notebook, monkeypatch, tmp_path):
    startup = tmp_path / "own" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("mine = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "own"))
    assert printed(execute(notebook("print('mine' in globals())"))) == ["False\n"]
    assert not list((tmp_path / "own").rglob("history*"))


def test_an_error_ends_the_run_or_is_kept_when_it_goes_on(notebook):
    path = notebook("print('first')", "print('half')\n1 / 0", "print('last')")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(path)
    assert printed(execute(path, go_on=True)) == ["first\n", "half\nZeroDivisionError: division by zero", "last\n"]


def test_a_dead_kernel_and_a_cell_without_end_hand_over_what_was_run(notebook):
    path = notebook("print('first')", "import os\nprint('half', flush=True)\nos._exit(9)", "print('last')")
    with pytest.raises(Unfinished, match=r"^cell 2: the kernel died") as died:
        execute(path, go_on=True)
    assert died.value.place == 2 and printed(died.value.ran)[0] == "first\n" and printed(died.value.ran)[2] == ""
    path = notebook("print('first')", "while True: pass")
    with pytest.raises(Unfinished, match=r"^cell 2: it took more than 1 s") as late:
        execute(path, go_on=True, timeout=1)
    assert late.value.place == 2 and printed(late.value.ran)[0] == "first\n" and late.value.ran.seconds > 1


def test_long_cells_without_a_bar_are_named(notebook, monkeypatch):
    monkeypatch.setattr(kernel, "SILENT", 0.3)
    sleep = "import time; time.sleep(0.5)"
    bar = "from IPython.display import HTML, display\ndisplay(HTML('<progress value=1 max=2></progress>'))\n"
    ran = execute(notebook("1 + 1", sleep, bar + sleep))
    assert [cell.partition(" (")[0] for cell in ran.silent] == ["cell 2"]


def test_notebooks_are_found_by_name(tmp_path):
    for name in ("07_image", "07_tsne", "08_yolo", "08_yolo_more"):
        (tmp_path / f"{name}.ipynb").touch()
    (tmp_path / "README.md").touch()

    def found(*names):
        return [path.stem for path in lecture_notebooks(tmp_path, names)]

    assert found() == ["07_image", "07_tsne", "08_yolo", "08_yolo_more"]
    assert found("yolo") == ["08_yolo", "08_yolo_more"] and found("08_yolo") == ["08_yolo"]
    assert found("tsne", "07", "07_tsne") == ["07_tsne", "07_image"], "each one once, in the order asked for"
    with pytest.raises(UserError, match="no lecture 'gan'; there are 07_image, 07_tsne, 08_yolo, 08_yolo_more"):
        found("yolo", "gan")


@pytest.mark.parametrize("missing", ["nbclient", "nbformat", "ipykernel"])
def test_without_what_runs_notebooks_one_line_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\nfrom helpers.course.errors import UserError\n"
        "try:\n    import helpers.course.kernel\nexcept UserError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert missing in done.stdout and '".[study]"' in done.stdout and done.stdout.count("\n") == 1

"""`python -m helpers check` as its user meets it; `experiment` is called in tests/test_cli.py."""

import json
import os
import signal
import subprocess
import sys

import nbformat
import pytest
from command_line import ROOT, here, refused, the_object

pytest.importorskip("nbclient", reason="neither the study nor the test extra is installed")
from helpers.course import check, report
from helpers.course.kernel import execute

CLAIM = "from helpers.course.claims import claim\nprint('loss 0.25')\nclaim('Enough', 0.9, at_least=0.5)\n"
CLAIM += "claim('More than enough', 0.9, at_least=0.5)"
# what stands in the notebook instead since its outputs were stored: exit status, and how the last line begins
CHANGES = [
    ("0.25", "0.25", 0, "all 2 claims hold, 0 numbers outside tolerance; the page is "),
    ("0.25", "0.35", 0, "all 2 claims hold, 1 number outside tolerance; the page is "),
    ("'Enough', 0.9", "'Enough', 0.4", 1, "1 of 2 claims hold, 1 does not, 0 numbers outside tolerance; the page is "),
]


def write(path, *sources):
    cells = [nbformat.v4.new_markdown_cell(f"# {path.stem}"), *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A notebook with the outputs of its claims."""
    return execute(write(tmp_path_factory.mktemp("stored") / "01_claims.ipynb", CLAIM)).notebook


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """An empty folder that the command takes for that of the lectures."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(check, "NOTEBOOKS", folder)
    return folder


@pytest.mark.parametrize("old, new, status, line", CHANGES)
def test_status_and_last_line_say_whether_the_claims_hold(notebooks, tmp_path, stored, old, new, status, line):
    other = nbformat.from_dict(stored)
    other.cells[1].source = CLAIM.replace(old, new)
    nbformat.write(other, notebooks / "01_claims.ipynb")
    out = tmp_path / "out"
    done = here("check", "claims", "--out", out)
    assert (done.exit_code, done.stdout) == (status, f"{line}{out / 'check.html'}\n"), done.stderr
    assert done.stderr.startswith("1 of 1: 01_claims\n") and "Traceback" not in done.stderr
    facts = json.loads((out / "check.json").read_text(encoding="utf-8"))
    assert [claim["sentence"] for claim in facts["lectures"][0]["claims"]] == ["Enough", "More than enough"]
    assert facts["holds"] is (status == 0) and "More than enough" in (out / "check.html").read_text(encoding="utf-8")


def fake(verdicts):
    """A check that finds one claim a lecture, with these verdicts."""

    def lecture(path):
        book = {"date": None, "seconds": None, "cores": None, "versions": None}
        claim = {
            "sentence": path.stem,
            "bound": "at least 1",
            "verdict": verdicts[path.stem],
            "here": None,
            "book": None,
        }
        more = {"saved_elsewhere": False, "unfinished": None, "claims": [claim], "differences": [], "raised": []}
        return {"name": path.stem, "title": path.stem, "seconds": 1, "book": book} | more

    return lecture


def test_lectures_are_chosen_by_name_and_all_of_them_if_none_is_named(notebooks, tmp_path, monkeypatch):
    for name in ("06_a", "07_b", "07_c"):
        write(notebooks / f"{name}.ipynb")
    monkeypatch.setattr(check, "lecture", fake({"06_a": "holds", "07_b": "holds", "07_c": "missing"}))
    for words, status, seen in (
        ([], 1, ["06_a", "07_b", "07_c"]),
        (["all"], 1, ["06_a", "07_b", "07_c"]),
        (["06_a", "b"], 0, ["06_a", "07_b"]),
        (["07"], 1, ["07_b", "07_c"]),
    ):
        done = here("check", *words, "--out", tmp_path / "out", "--json")
        facts = the_object(done.stdout)
        assert done.exit_code == status and facts["holds"] is (status == 0)
        assert facts["command"] == f"python -m helpers check {' '.join(seen)}" and facts["counts"]["claims"] == len(
            seen
        )
        assert facts["page"] == str(tmp_path / "out" / "check.html")


def test_what_a_reader_can_mend_is_one_line(notebooks, tmp_path):
    write(notebooks / "06_a.ipynb")
    refused(here("check", "gan", "--out", tmp_path / "out"), "no lecture 'gan'", "06_a")
    (tmp_path / "file").write_text("")
    refused(here("check", "--out", tmp_path / "file"), "--out", "is a file")
    assert not (tmp_path / "out").exists()


def test_without_what_runs_notebooks_it_says_what_to_install():
    code = "import sys; sys.modules['nbclient'] = None\nfrom helpers.__main__ import app\napp()"
    done = subprocess.run([sys.executable, "-c", code, "check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: to run notebooks, nbclient is needed")


def test_stopped_it_keeps_what_was_found_so_far(notebooks, tmp_path):
    write(notebooks / "01_quick.ipynb", "print(1)")
    write(notebooks / "02_endless.ipynb", "open('started', 'w').close()\nwhile True: pass")
    code = (
        f"import pathlib\nfrom helpers.course import check\ncheck.NOTEBOOKS = pathlib.Path({str(notebooks)!r})\n"
        "from helpers.__main__ import app\napp()"
    )
    command = [sys.executable, "-c", code, "check", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        for _ in range(600):
            if (notebooks / "started").exists() or running.poll() is not None:
                break
            try:
                running.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does it
        out, err = running.communicate(timeout=60)
    page = tmp_path / "out" / "check.html"
    assert running.returncode == 130 and out == "" and "Traceback" not in err, err
    assert err.splitlines()[-1] == f"stopped; 1 of 2 lectures are told in {page}"
    assert "Not run, or not yet: 02_endless." in page.read_text(encoding="utf-8")


def test_stopped_before_the_first_lecture_was_done_it_says_that_nothing_was_written(notebooks, tmp_path, monkeypatch):
    write(notebooks / "06_a.ipynb")

    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "lecture", stop)
    done = here("check", "--out", tmp_path / "out")
    assert done.exit_code == 130 and done.stdout == "" and not (tmp_path / "out").exists()
    assert done.stderr.endswith("stopped; no lecture was finished, nothing was written\n")


def test_the_sentence_of_the_line_is_that_of_the_page(notebooks, tmp_path, monkeypatch):
    write(notebooks / "06_a.ipynb")
    monkeypatch.setattr(check, "lecture", fake({"06_a": "holds"}))
    done = here("check", "--out", tmp_path)
    said = report.headline(json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))["counts"])
    assert done.stdout == f"{said}; the page is {tmp_path / 'check.html'}\n"
    assert f"{said[0].upper()}{said[1:]}." in (tmp_path / "check.html").read_text(encoding="utf-8")

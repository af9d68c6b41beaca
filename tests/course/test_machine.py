"""The machine in figures, and nothing that tells whose it is."""

import getpass
import os
import platform
import re
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from helpers.course import machine


def test_the_machine_is_told_in_figures(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("SECRET", "word")
    told = machine.machine()
    assert told["cores"] >= 1 and told["threads"] == torch.get_num_threads()
    assert told["instruction_sets"] == torch.backends.cpu.get_cpu_capability()
    assert told["settings"]["MKL_CBWR"] == "COMPATIBLE" and "word" not in str(told)
    assert told["processor"] and told["architecture"] == platform.machine()


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="no /proc here")
def test_memory_is_what_the_kernel_says():
    kilobytes = int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1])
    assert machine.memory() == pytest.approx(kilobytes * 1024 / 1e9, abs=0.06)


@pytest.mark.parametrize(
    "system, text, said",
    [
        ("Linux", "processor: 0\nmodel name\t: A Fast One @ 3 GHz\nmodel name\t: A Fast One\n", "A Fast One @ 3 GHz"),
        ("Linux", "processor: 0\nCPU part\t: 0xd0c\n", "arm64 of some kind"),  # ARM tells no name there
        ("Windows", None, "arm64 of some kind"),
    ],
)
def test_the_processor_is_named_where_the_system_knows_its_name(monkeypatch, system, text, said):
    def read(self, encoding):
        if text is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "processor", lambda: "arm64 of some kind")
    monkeypatch.setattr(Path, "read_text", read)
    assert machine.processor() == said


def test_a_package_that_is_not_there_is_no_error(monkeypatch):
    assert machine.versions()["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert machine.versions()["Python"] == platform.python_version()

    def none(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", none)
    assert machine.versions()["openTSNE"] == "not installed"


def test_the_tested_set_holds_every_package_that_is_told(tmp_path):
    assert set(machine.PACKAGES) <= machine.tested().keys()
    assert machine.tested(tmp_path) == {}
    (tmp_path / "constraints.txt").write_text("# a comment\na==1.2\n\nb-c==3\n")
    assert machine.tested(tmp_path) == {"a": "1.2", "b-c": "3"}


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_the_commit_is_that_of_the_course_and_of_no_folder_around_it(tmp_path):
    assert machine.commit(tmp_path) is None

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b@c", *words], cwd=tmp_path, check=True)

    (tmp_path / "inner").mkdir()
    (tmp_path / "file").write_text("one")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert re.fullmatch("[0-9a-f]{10}", machine.commit(tmp_path)) and machine.commit(tmp_path / "inner") is None
    (tmp_path / "new").write_text("a reader's own file")
    assert "changes" not in machine.commit(tmp_path)
    (tmp_path / "file").write_text("two")
    assert machine.commit(tmp_path).endswith(", with changes")


@pytest.mark.parametrize(
    "text, said",
    [
        ("No such file: '/data/uni/x.py'", "No such file: '…/x.py'"),
        ("/data/my.folder/leaves/", "…"),
        ("/opt/python/lib/site-packages/a/b.py:3: Warning", "…/b.py:3: Warning"),
        (r"cannot open C:\Users\somebody\x.txt", "cannot open …/x.txt"),
        (repr("D:\\data\\x.txt"), "'…/x.txt'"),
        ("file:///data/a/b.py", "…/b.py"),
        (f"{machine.ROOT}{os.sep}helpers{os.sep}x.py", f"helpers{os.sep}x.py"),
        (f"{Path.home()}/my own thesis.txt", "~/my own thesis.txt"),
        (f"{tempfile.gettempdir()}/abc/x.png", "…/x.png"),
        # no paths
        ("see https://example.org/c/d/e", "see https://example.org/c/d/e"),
        ("<td>0.5</td></tr>", "<td>0.5</td></tr>"),
        ("1 / 2 / 3, and/or/not, 12/30, km/h", "1 / 2 / 3, and/or/not, 12/30, km/h"),
    ],
)
def test_of_a_path_only_the_files_name_stays(text, said):
    assert machine.private(text) == said


def test_user_and_host_are_not_named(monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "Marvin.fritz.box")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/lovelace"))
    text = "ada@marvin, marvin.fritz.box, Ada, LOVELACE, /home/lovelace, but Canada and adapt stay"
    assert machine.private(text) == "…@…, …, …, …, ~, but Canada and adapt stay"

    def nobody():
        raise OSError("no name")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert machine.private("marvin") == "…"

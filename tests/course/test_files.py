"""A file is written whole or not at all, whatever happens in between."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.course import files
from helpers.course.errors import UserError

ROOT = Path(__file__).parents[2]
FULL = OSError(28, "No space left on device")


def raising(error):
    def call(*arguments, **settings):
        raise error

    return call


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_written_and_replaced_and_all_may_read_it(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    assert files.write_atomically(str(path), b"one") == path
    files.write_atomically(path, b"two")
    assert content(tmp_path) == {"new/folder/a.json": b"two"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert files.sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_stream_is_one_file(tmp_path):
    with files.replacing(tmp_path / "a") as temporary, open(temporary, "wb") as file:
        for _ in range(3):
            file.write(b"line\n")
        assert temporary.parent == tmp_path and temporary.name.startswith(files.TEMPORARY)
        assert not (tmp_path / "a").exists()
    assert content(tmp_path) == {"a": b"line\n" * 3}


def test_file_and_folder_are_brought_to_the_disk_around_the_renaming(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def synced(handle):
        fsync(handle)
        status = os.fstat(handle)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else status.st_size)

    def replaced(*paths):
        replace(*paths)
        done.append("renamed")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write_atomically(tmp_path / "a", b"12345")
    assert done == [5, "renamed", "folder"]  # all five bytes, not what happened to have left the buffer
    files.write_atomically(tmp_path / "b", b"12345", durable=False)
    assert done[3:] == ["renamed"]


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_full_disk_ends_in_one_line_and_leaves_the_old_file(tmp_path, monkeypatch, what):
    path = files.write_atomically(tmp_path / "a.json", b"old")
    monkeypatch.setattr(os, what, raising(FULL))
    with pytest.raises(UserError, match=r"cannot write .*a\.json: No space left on device; free some space") as error:
        files.write_atomically(path, b"new")
    assert "\n" not in str(error.value) and content(tmp_path) == {"a.json": b"old"}
    assert isinstance(error.value, OSError) and error.value.errno == 28 and error.value.filename == str(path)


def test_a_disk_that_is_really_full(tmp_path):
    full = Path("/dev/full")  # every write to it fails as on a full disk
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(UserError, match=r"cannot write .*a: No space left on device"):
        with files.replacing(tmp_path / "a") as temporary:
            temporary.unlink()
            temporary.symlink_to(full)
            temporary.write_bytes(b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with pytest.raises(UserError, match=r"cannot write .*closed/a: Permission denied; .*choose another folder"):
        files.write_atomically(closed / "a", b"x")


def test_a_read_only_disk_and_a_path_that_leads_through_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file/a: (Not a directory|File exists)"):
        files.write_atomically(tmp_path / "file" / "a", b"x")
    monkeypatch.setattr(files.tempfile, "mkstemp", raising(OSError(30, "Read-only file system", "somewhere/.tmp-x")))
    with pytest.raises(UserError, match="cannot write .*/a: Read-only file system"):
        files.write_atomically(tmp_path / "a", b"x")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        KeyboardInterrupt(),
        OSError("the connection broke off"),  # what requests raises are OSErrors without a number
        FileNotFoundError(2, "No such file or directory", "what was to be copied"),
    ],
)
def test_what_goes_wrong_elsewhere_keeps_its_own_words(tmp_path, error):
    path = files.write_atomically(tmp_path / "a", b"old")
    with pytest.raises(type(error)) as raised:
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"half of it")
            raise error
    assert raised.value is error and content(tmp_path) == {"a": b"old"}


def test_killed_in_between_leaves_the_old_file(tmp_path):
    path = files.write_atomically(tmp_path / "a", b"old")
    code = (
        "import sys, time; from helpers.course import files\n"
        "with files.replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half of it'); print('now', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "now\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    found = content(tmp_path)
    assert found.pop("a") == b"old" and all(name.startswith(files.TEMPORARY) for name in found)


def test_a_reader_never_sees_a_part(tmp_path):
    """One process writes two contents in turn; whoever reads meanwhile sees the one or the other."""
    path = files.write_atomically(tmp_path / "a", b"0" * 100_000)
    code = (
        "import sys; from helpers.course.files import write_atomically\n"
        "for i in range(200): write_atomically(sys.argv[1], str(i % 2).encode() * 100_000, durable=False)"
    )
    writer, seen, end = subprocess.Popen([sys.executable, "-c", code, path], cwd=ROOT), set(), time.monotonic() + 60
    while writer.poll() is None and time.monotonic() < end:
        seen.add(path.read_bytes())
    assert writer.wait(10) == 0 and seen <= {b"0" * 100_000, b"1" * 100_000} and len(seen) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_folder_is_empty_or_not_there(tmp_path):
    assert files.empty_folder(str(tmp_path)) == tmp_path and files.empty_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "a").touch()
    for path in (tmp_path, tmp_path / "a"):
        with pytest.raises(UserError, match="not an empty folder"):
            files.empty_folder(path)

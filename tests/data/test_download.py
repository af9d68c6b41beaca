"""Downloads from a local web server, archives, wheels from a local folder, several processes at once."""

import base64
import hashlib
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from local_server import BODY, TREE, an_entry, damage, digest, files_in, make_tar, make_zip

from helpers.course.errors import UserError
from helpers.data import download, store
from helpers.data.catalogue import CATALOGUE, File, Wheel

ROOT = Path(__file__).resolve().parents[2]


def closed_port():
    """A URL on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/x"


def test_mirrors_in_order(cache, server, offer):
    server.pages["/wrong"] = b"another file"
    offer(
        "x.bin",
        BODY,
        urls=[
            closed_port(),
            server.url("/gone"),
            server.url("/wrong"),
            server.url("/x.bin"),
            server.url("/never-asked"),
        ],
    )
    assert store.fetch("thing", progress=False).read_bytes() == BODY
    assert server.asked == ["/gone", "/wrong", "/x.bin"]


def test_wrong_hash_is_refused_with_both_hashes(cache, server, offer):
    promised = digest(b"what the catalogue promises")
    offer("x.bin", BODY, known=promised)
    with pytest.raises(UserError) as caught:
        store.fetch("thing", progress=False)
    message = str(caught.value)
    assert promised in message and digest(BODY) in message and server.url("/x.bin") in message
    assert "\n" not in message and "no network" not in message
    assert files_in(cache) == []


def test_truncated_body_is_refused(cache, server, offer):
    offer("x.bin", BODY)
    server.pages["/x.bin"], server.lies["/x.bin"] = BODY[:5000], len(BODY)  # the connection breaks off
    with pytest.raises(UserError, match="thing: .*broke off") as caught:
        store.fetch("thing", progress=False)
    assert "\n" not in str(caught.value) and files_in(cache) == []
    server.lies.clear()  # short, but it says so itself: only the hash can tell
    with pytest.raises(UserError, match=f"expected {digest(BODY)}, got {digest(BODY[:5000])}"):
        store.fetch("thing", progress=False)
    assert files_in(cache) == []


def test_no_network_says_what_to_do_and_doing_it_helps(cache, offer):
    offer("x.bin", BODY, urls=[closed_port()])
    with pytest.raises(UserError) as caught:
        store.fetch("thing", progress=False)
    message = str(caught.value)
    assert "no connection" in message and "python -m helpers data fetch thing" in message
    assert f"copy x.bin from thing in its cache into {cache / 'thing'}" in message and "\n" not in message
    (cache / "thing" / "x.bin").write_bytes(BODY)
    assert store.fetch("thing").read_bytes() == BODY
    (cache / "thing" / "x.bin").write_bytes(b"a wrong file copied there")
    with pytest.raises(UserError, match="no connection"):
        store.fetch("thing", progress=False)


def test_no_space_ends_in_one_line(cache, monkeypatch, offer):
    offer("x.bin", BODY)

    def full(source, target):
        raise OSError(28, "No space left on device", str(source))

    monkeypatch.setattr(download.os, "replace", full)
    with pytest.raises(UserError, match="thing: No space left on device .*make room"):
        store.fetch("thing", progress=False)
    assert files_in(cache) == []


# Several processes

FETCH = """
import sys
from helpers.data import store
from helpers.data.catalogue import CATALOGUE, Entry, File
name, size, known, url = sys.argv[1:]
files = (File(name, int(size), known, (url,)),)
CATALOGUE["thing"] = Entry("thing", "", "", "", "", "", 2, "", files, place=name)
print(store.fetch("thing", progress=False))
"""


def start_fetch(server, cache):
    arguments = ["x.bin", str(len(BODY)), digest(BODY), server.url("/x.bin")]
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments],
        cwd=ROOT,
        text=True,
        env=os.environ | {"DLM_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_processes_at_once_download_once(cache, server):
    server.pages["/x.bin"], server.slow = BODY, 0.1  # six pieces: slower than the processes start
    workers = [start_fetch(server, cache) for _ in range(3)]
    for worker in workers:
        output, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors
        assert output.strip() == str(cache / "thing" / "x.bin")
    assert server.asked == ["/x.bin"]
    assert (cache / "thing" / "x.bin").read_bytes() == BODY and files_in(cache) == ["thing/x.bin"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_in_the_middle_leaves_nothing_behind(cache, server, offer):
    server.slow = 0.5
    offer("x.bin", BODY)
    worker = start_fetch(server, cache)
    deadline = time.time() + 30
    while not any(path.stat().st_size for path in cache.glob("thing/.tmp-*")) and time.time() < deadline:
        time.sleep(0.02)
    worker.kill()
    worker.communicate()
    leftovers = list(cache.glob("thing/.tmp-*"))
    assert leftovers and not (cache / "thing" / "x.bin").exists()  # it was really in the middle
    server.slow = 0.0
    assert store.fetch("thing", progress=False).read_bytes() == BODY
    assert files_in(cache) == ["thing/x.bin"]


# Archives


@pytest.mark.parametrize(
    "archive, body", [("x.zip", make_zip(TREE)), ("x.tar.gz", make_tar(TREE)), ("x.tar", make_tar(TREE, "w"))]
)
def test_unpack_and_repair_without_the_network(cache, server, offer, archive, body):
    offer(archive, body, unpacked=True, place="set")
    folder = store.fetch("thing", progress=False)
    assert {f"set/{name}": (folder / name).read_bytes() for name in files_in(folder)} == TREE
    for how, name in (("deleted", "a.txt"), ("empty", "deep/b.txt")):
        damage(folder / name, how)
        assert store.verify("thing") == [("thing", f"corrupt: files/set/{name}")]
        assert (store.fetch("thing") / name).read_bytes() == TREE[f"set/{name}"]
    assert server.asked == [f"/{archive}"]  # the archive itself was fine
    damage(cache / "thing" / archive, "truncated")
    store.fetch("thing", progress=False)
    assert len(server.asked) == 2 and store.verify("thing") == [("thing", "cached")]
    assert not list(cache.rglob(".tmp-*"))


def special(name, kind, target="", **headers):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, target, headers
    return info


def zip_with_link():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        info = zipfile.ZipInfo("set/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(info, "../../outside")
    return buffer.getvalue()


EVIL = {  # from a folder outside the cache, the archive
    "zip parent": lambda out: make_zip({"set/ok": b"ok", "../evil": b"x"}),
    "zip deep parent": lambda out: make_zip({"set/../../../evil": b"x"}),
    "zip absolute": lambda out: make_zip({f"{out}/evil": b"x"}),
    "zip backslashes": lambda out: make_zip({"..\\..\\evil": b"x"}),
    "zip drive": lambda out: make_zip({"C:\\evil": b"x"}),
    "zip link": lambda out: zip_with_link(),
    "tar parent": lambda out: make_tar({"set/ok": b"ok", "../evil": b"x"}),
    "tar absolute": lambda out: make_tar({f"{out}/evil": b"x"}),
    "tar link": lambda out: make_tar({"": special("set/l", tarfile.SYMTYPE, str(out)), "set/l/evil": b"x"}),
    "tar link that stays inside": lambda out: make_tar({"": special("set/l", tarfile.SYMTYPE, "a.txt")}),
    "tar hard link": lambda out: make_tar({"": special("set/l", tarfile.LNKTYPE, "../../evil")}),
    "tar null byte": lambda out: make_tar({"": special("set/n", tarfile.REGTYPE, path="set/\0evil")}),
    "tar pipe": lambda out: make_tar({"": special("set/p", tarfile.FIFOTYPE)}),
}


@pytest.mark.parametrize("trick", EVIL)
def test_archives_cannot_write_outside(cache, offer, tmp_path, trick):
    """The hash is right here: an archive is not trusted even then."""
    archive = "x.zip" if trick.startswith("zip") else "x.tar.gz"
    offer(archive, EVIL[trick](tmp_path), unpacked=True, place="set")
    with pytest.raises(UserError, match=f"thing: refused {archive}: its member") as caught:
        store.fetch("thing", progress=False)
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path) == [f"cache/thing/{archive}"]  # nothing was written, inside or outside


def test_not_an_archive(cache, offer):
    offer("x.tar.gz", BODY, unpacked=True, place="set")
    with pytest.raises(UserError, match="x.tar.gz is not a whole .zip or .tar archive"):
        store.fetch("thing", progress=False)


# Wheels


def make_wheel(folder, content=b"lifted", name="tinydata", version="1.0"):
    """A valid wheel with one data file, made by hand; returns its path."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}/data/file.bin": content,
        f"{name}/__init__.py": b"raise SystemExit('imported')",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Requires-Dist: there-is-no-such-package\nRequires-Python: <3\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for path, body in members.items():
        code = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={code},{len(body)}\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    path.write_bytes(make_zip(members | {f"{info}/RECORD": record.encode()}))
    return path


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch, cache):
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def put(wheel_hash=None, known=None, requirement="tinydata==1.0"):
        actual = digest(make_wheel(folder).read_bytes())
        wheel = Wheel(requirement, wheel_hash or actual, "tinydata/data/file.bin")
        files = (File("file.bin", 6, known or digest(b"lifted")),)
        monkeypatch.setitem(CATALOGUE, "thing", an_entry(tier=1, files=files, place="file.bin", wheel=wheel))
        return folder

    return put


def test_one_file_is_lifted_out_of_a_wheel(cache, wheelhouse, tmp_path):
    folder = wheelhouse()
    path = store.fetch("thing", progress=False)
    assert path == cache / "thing" / "file.bin" and path.read_bytes() == b"lifted"
    assert files_in(cache) == ["thing/file.bin"]
    for wheel in folder.iterdir():
        wheel.unlink()
    assert store.fetch("thing") == path  # from the cache
    command = [sys.executable, "-c", "import tinydata"]
    errors = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stderr
    assert "ModuleNotFoundError" in errors  # nothing was installed


def test_wrong_wheel_is_refused(cache, wheelhouse):
    folder = wheelhouse(wheel_hash=digest(b"the wheel of the catalogue"))
    actual = digest((folder / "tinydata-1.0-py3-none-any.whl").read_bytes())
    with pytest.raises(UserError, match=f"expected {digest(b'the wheel of the catalogue')}, got {actual}"):
        store.fetch("thing", progress=False)
    assert files_in(cache) == []


def test_wrong_file_in_a_wheel_is_refused(cache, wheelhouse):
    wheelhouse(known=digest(b"another"))
    hashes = f"file.bin: SHA-256 expected {digest(b'another')}, got {digest(b'lifted')}"
    with pytest.raises(UserError, match=hashes):
        store.fetch("thing", progress=False)
    assert files_in(cache) == []


def test_no_such_wheel_says_what_to_do(cache, wheelhouse):
    wheelhouse(requirement="tinydata==9.9")
    with pytest.raises(UserError) as caught:
        store.fetch("thing", progress=False)
    message = str(caught.value)
    assert "pip could not download tinydata==9.9: ERROR: No matching distribution" in message
    assert "python -m helpers data fetch thing" in message and str(cache / "thing") in message
    assert "\n" not in message

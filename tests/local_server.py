"""A web server on this machine, files to fetch from it, archives made by hand: for tests of `helpers.data`."""

import dataclasses
import hashlib
import io
import stat
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.data import download
from helpers.data.catalogue import CATALOGUE, Entry, File

BODY = b"the bytes of a data set\n" * 1000
TREE = {"set/a.txt": b"first", "set/deep/b.txt": b"second", "set/empty.txt": b""}


def digest(content):
    return hashlib.sha256(content).hexdigest()


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


def an_entry(name="thing", **changes):
    blank = dict.fromkeys(("title", "what", "source", "licence", "citation", "hash_from"), "")
    return Entry(**(blank | {"name": name, "tier": 2} | changes))


def look_alike(name, server, monkeypatch, bodies):
    """Put small files of ours in the place of an entry's real ones."""
    files = []
    for file, body in zip(CATALOGUE[name].files, bodies, strict=True):
        server.pages[f"/{file.path}"] = body
        files.append(File(file.path, len(body), digest(body), (server.url(f"/{file.path}"),)))
    monkeypatch.setitem(CATALOGUE, name, dataclasses.replace(CATALOGUE[name], files=tuple(files)))


def files_in(folder):
    """Every file under a folder except the bookkeeping."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (download.STAMPS, download.UNPACKED) and path.suffix != ".lock"
    )


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

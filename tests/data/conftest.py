"""Fetching from a local web server alone: nothing here talks to any other host than 127.0.0.1, and to what pip is
configured to use."""

import socket

import pytest
from local_server import Server, an_entry, digest

from helpers.data.catalogue import CATALOGUE, File


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


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def offer(server, monkeypatch):
    """offer("x.bin", b"...") puts a file on the server and an entry for it into the catalogue."""

    def put(file_name, body, urls=None, known=None, name="thing", **changes):
        server.pages[f"/{file_name}"] = body
        file = File(file_name, len(body), known or digest(body), tuple(urls or [server.url(f"/{file_name}")]))
        changes.setdefault("place", "" if changes.get("unpacked") else file_name)
        monkeypatch.setitem(CATALOGUE, name, an_entry(name, files=(file,), **changes))

    return put

"""The catalogue says everything of every entry."""

import re

import pytest

from helpers.data.catalogue import CATALOGUE


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
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
    elif entry.wheel:  # fetched on demand, by pip
        assert not any(file.urls for file in entry.files)
    else:
        assert all(file.urls and all(re.match("https?://", url) for url in file.urls) for file in entry.files)
    if entry.wheel:
        assert re.fullmatch("[0-9a-f]{64}", entry.wheel.sha256)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", entry.wheel.requirement)

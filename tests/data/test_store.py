"""The store: what is there and sound is left alone, what is damaged is mended, and the real tier 1."""

import os
import sys
from pathlib import Path

import pytest
from local_server import BODY, TREE, damage, files_in, look_alike, make_tar, make_zip

from helpers.course.errors import UserError
from helpers.data import store
from helpers.data.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]


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


def test_download_once_then_from_the_cache(cache, server, offer):
    offer("x.bin", BODY)
    assert store.state(store.find("thing")) == "missing"
    path = store.fetch("thing", progress=False)
    assert path == cache / "thing" / "x.bin" and path.read_bytes() == BODY
    assert store.state(store.find("thing")) == "cached"
    assert store.fetch("thing") == path
    assert server.asked == ["/x.bin"]
    assert files_in(cache) == ["thing/x.bin"]


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


def test_archive_copied_by_hand_is_unpacked(cache, server, offer):
    offer("x.zip", make_zip(TREE), unpacked=True, place="set")
    (cache / "thing").mkdir(parents=True)
    (cache / "thing" / "x.zip").write_bytes(make_zip(TREE))
    assert store.verify("thing") == [("thing", "not unpacked")]
    assert (store.fetch("thing") / "a.txt").read_bytes() == b"first" and server.asked == []


def test_archive_without_the_promised_folder(cache, offer):
    offer("x.zip", make_zip(TREE), unpacked=True, place="other")
    with pytest.raises(UserError, match="there is no other in its archive"):
        store.fetch("thing", progress=False)


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

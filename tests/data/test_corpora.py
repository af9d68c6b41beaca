"""Reviews: the built-in ones counted another way, and look-alikes of those that are downloaded."""

import bz2
import csv

import numpy as np
import pytest
from local_server import look_alike, make_tar

from helpers.course.errors import UserError
from helpers.data import store, texts


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

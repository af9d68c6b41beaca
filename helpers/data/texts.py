"""Labelled texts: the corpora of the catalogue, tables of one's own, and splits that keep a group together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from helpers.course.errors import UserError
from helpers.data.sets import check_split
from helpers.data.store import fetch

if TYPE_CHECKING:
    import pandas


def reviews() -> pandas.DataFrame:
    """Sentences of film critics, columns text, label (1 fresh, 0 rotten), film: 12,752 rows, 507 films.

    Of the 12,808 fresh and rotten rows, white space around the text is stripped and of rows with the same
    text the first is kept: no text carries two labels, but 37 stand under two or three films, 35 of them
    because one film is there under two titles. Left in, they could stand on both sides of a split by film.
    """
    import pandas

    table = pandas.read_csv(fetch("reviews"))
    table = table[table["category"].isin(["fresh", "rotten"])]
    table = pandas.DataFrame(
        {
            "text": table["text"].str.strip(),
            "label": (table["category"] == "fresh").astype("int64"),
            "film": table["movie_name"],
        }
    )
    return table.drop_duplicates("text", ignore_index=True)


def imdb(split: str = "train") -> pandas.DataFrame:
    """IMDb reviews, columns text and label (1 positive): 25,000 rows for "train" and for "test"."""
    import pandas

    check_split("imdb", split)
    folder = fetch("imdb") / split
    table = [
        (path.read_text(encoding="utf-8"), label)
        for kind, label in (("neg", 0), ("pos", 1))
        for path in sorted((folder / kind).glob("*.txt"))
    ]
    return pandas.DataFrame(table, columns=["text", "label"])


def nsmc(split: str = "train") -> pandas.DataFrame:
    """Korean film reviews, columns text and label (1 positive), without the few that have no text."""
    import csv

    import pandas

    check_split("nsmc", split)
    table = pandas.read_csv(
        fetch("nsmc") / f"ratings_{split}.txt",
        sep="\t",
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        usecols=["document", "label"],
    )
    table = table.rename(columns={"document": "text"})
    return table[table["text"].str.strip() != ""].reset_index(drop=True)


@dataclass
class Table:
    """N labelled texts: labels (N,) int64 of 0 and 1, groups (N,) or None, classes: the names of the two labels."""

    texts: list[str]
    labels: npt.NDArray[np.int64]
    groups: np.ndarray | None
    classes: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, indices: npt.NDArray[np.int64]) -> Table:
        """The Table of these rows, in this order."""
        groups = None if self.groups is None else self.groups[indices]
        return Table([self.texts[i] for i in indices], self.labels[indices], groups, self.classes)


def load_tsv(path: str | PathLike[str], group: str | None = None, classes: list[str] | None = None) -> Table:
    """A table of labelled texts: UTF-8, a header line, columns `text` and `label` separated by tabs.

    `group` names the column whose values a split keeps together (a film, an author). `classes` are the two labels, the
    second the positive one, which 0 and 1 may stand for as well; without it, the two that occur, sorted (numbers as
    numbers).
    No quoting: what stands between two tabs is the text, quotation marks and all. Raises UserError.
    """
    lines = _lines(Path(path))
    header = lines[0].split("\t")
    for column in ["text", "label", *([group] if group else [])]:
        if column not in header:
            raise UserError(f"{path} has no column {column!r}; its header line names {', '.join(header)}")
    rows = [line.split("\t") for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(row)} columns, but the header line names {len(header)}; "
                "replace tabs and line breaks inside a text by spaces"
            )
    if not rows:
        raise UserError(f"{path} has no rows below its header line")
    values = {name: [row[k] for row in rows] for k, name in enumerate(header)}
    labels = [label.strip() for label in values["label"]]
    if "" in labels:
        raise UserError(f"{path}, line {labels.index('') + 2}: the label is empty")
    classes = classes or _two_classes(path, sorted(set(labels)))
    value = {"0": 0, "1": 1} if not {"0", "1"} & set(classes) else {}
    value |= {name: k for k, name in enumerate(classes)}
    for line, label in enumerate(labels, start=2):
        if label not in value:
            wanted = " nor ".join(map(repr, classes))
            raise UserError(f"{path}, line {line}: label {label!r} is neither {wanted}")
    return Table(
        values["text"],
        np.array([value[label] for label in labels], dtype=np.int64),
        np.array(values[group]) if group else None,
        classes,
    )


def _lines(path):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; --data must be tsv:PATH of a readable table") from error
    lines = text_lines(data, path)
    if not "".join(lines).strip():
        raise UserError(f"{path} is empty; it needs a header line with the columns text and label, separated by a tab")
    return lines


def text_lines(data: bytes, path: str | PathLike[str]) -> list[str]:
    """The lines of `data`, bytes of UTF-8 that came from `path`, without their ends. Raises UserError."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: a NUL byte; the file is damaged or not a text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8; save it as UTF-8 (a Korean table is often CP949: iconv -f CP949 -t UTF-8)"
        ) from error
    # not str.splitlines: that also breaks at form feeds and at U+2028, which may stand in a text
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def _two_classes(path, found):
    if len(found) != 2:
        shown = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{path}: the label column must have exactly two classes; it has {len(found)}: {shown}")
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def split_groups(
    groups: npt.ArrayLike | Sequence[str], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices (kept, taken): whole groups, drawn at random until `taken` holds `share` of the rows.

    groups (N,): any values. A film's reviews share names and jokes: torn apart, they tell the test set.
    scikit-learn's GroupShuffleSplit takes a share of the groups, not of the rows: films differ much in their number of
    reviews, and the records were made with these splits. Raises UserError where there is only one group.
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]  # rows taken before each group
    taken = np.isin(inverse, order[before < share * len(inverse)])
    if taken.all() or not taken.any():
        raise UserError(f"a split needs at least two groups that fit its share; found {len(names)} in all")
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def film_reviews() -> Table:
    """The corpus `reviews` as a Table, grouped by film."""
    frame = reviews()
    return Table(frame["text"].tolist(), frame["label"].to_numpy(), frame["film"].to_numpy(), ["rotten", "fresh"])


def published(name: str) -> tuple[Table, Table]:
    """All of "imdb" (50,000 whole reviews, Maas et al., ACL 2011) or "nsmc" (200,000 short Korean ones), downloaded:
    (train, test) as their authors split them, IMDb by film."""
    load = {"imdb": imdb, "nsmc": nsmc}[name]
    train, test = (
        Table(
            [text.replace("<br />", " ") for text in frame["text"]],
            frame["label"].to_numpy(),
            None,
            ["negative", "positive"],
        )
        for frame in (load("train"), load("test"))
    )
    return train, test

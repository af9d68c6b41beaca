"""Labelled texts: the corpora of the catalogue, tables of one's own, and splits that keep a group together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.course.errors import UserError
from helpers.data.sets import check_split
from helpers.data.store import fetch


def reviews():
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


def rt_polarity():
    """Sentence polarity, columns text and label (1 positive): 10,662 rows, the positive first."""
    import pandas

    folder = fetch("rt-polarity")
    table = []
    for kind, label in (("pos", 1), ("neg", 0)):
        lines = (folder / f"rt-polarity.{kind}").read_text(encoding="latin-1").split("\n")
        table += [(line.strip(), label) for line in lines if line.strip()]
    return pandas.DataFrame(table, columns=["text", "label"])


def imdb(split="train"):
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


def nsmc(split="train"):
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


# --- labelled tables ------------------------------------------------------------------------------


@dataclass
class Table:
    """texts (list of str), labels (N,) int64 of 0 and 1, groups (N,) or None, classes: the two names."""

    texts: list
    labels: np.ndarray
    groups: np.ndarray | None
    classes: list

    def __len__(self):
        return len(self.texts)

    def rows(self, indices):
        groups = None if self.groups is None else self.groups[indices]
        return Table([self.texts[i] for i in indices], self.labels[indices], groups, self.classes)


def load_tsv(path, group=None, classes=None):
    """A table of labelled texts: UTF-8, a header line, columns `text` and `label` apart by tabs.

    `group` names the column whose values must not be torn apart by a split (a film, an author). `classes` are
    the two labels, the second the positive one, which 0 and 1 may stand for as well; without it, the two that
    occur, sorted (numbers as numbers).
    No quoting: what stands between two tabs is the text, quotation marks and all. Raises UserError.
    """
    lines = _lines(Path(path))
    header = lines[0].split("\t")
    for column in ["text", "label", *([group] if group else [])]:
        if column not in header:
            raise UserError(f"{path} has no column {column!r}; its first line names {', '.join(header)}")
    rows = [line.split("\t") for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(row)} columns, but the first line names "
                f"{len(header)}; a tab or a line break inside a text must become a space"
            )
    if not rows:
        raise UserError(f"{path} holds no rows below its first line")
    values = {name: [row[k] for row in rows] for k, name in enumerate(header)}
    labels = [label.strip() for label in values["label"]]
    if "" in labels:
        raise UserError(f"{path}, line {labels.index('') + 2}: the label is empty")
    classes = classes or _two_classes(path, sorted(set(labels)))
    number = {"0": 0, "1": 1} if not {"0", "1"} & set(classes) else {}
    number |= {name: k for k, name in enumerate(classes)}
    for line, label in enumerate(labels, start=2):
        if label not in number:
            wanted = " nor ".join(map(repr, classes))
            raise UserError(f"{path}, line {line}: label {label!r} is neither {wanted}")
    return Table(
        values["text"],
        np.array([number[label] for label in labels], dtype=np.int64),
        np.array(values[group]) if group else None,
        classes,
    )


def _lines(path):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give tsv:PATH of a table") from error
    lines = text_lines(data, path)
    if not "".join(lines).strip():
        raise UserError(f"{path} is empty; it needs a first line with text and label, apart by a tab")
    return lines


def text_lines(data, path):
    """The lines of `data`, bytes of UTF-8 that came from `path`, without their ends. Raises UserError."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: a NUL byte; this is no text file, or it is damaged")
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
        raise UserError(f"{path}: the label column must hold two classes, it holds {len(found)}: {shown}")
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def split_groups(groups, share, seed):
    """Indices (kept, taken): whole groups, drawn at random until `taken` holds `share` of the rows.

    groups (N,): any values. A film's reviews share names and jokes: torn apart, they tell the test set.
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]  # rows taken before each group
    taken = np.isin(inverse, order[before < share * len(inverse)])
    if taken.all() or not taken.any():
        raise UserError(f"{len(names)} groups cannot be split: at least two are needed")
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def film_reviews():
    """The corpus `reviews` as a Table, grouped by film."""
    frame = reviews()
    return Table(frame["text"].tolist(), frame["label"].to_numpy(), frame["film"].to_numpy(), ["rotten", "fresh"])


def published(name):
    """All of "imdb" (50,000 whole reviews, Maas et al., ACL 2011) or "nsmc" (200,000 short Korean ones), downloaded:
    (train, test) as their authors split them, IMDb by film."""
    frames = [{"imdb": imdb, "nsmc": nsmc}[name](split) for split in ("train", "test")]
    return tuple(
        Table(
            [text.replace("<br />", " ") for text in frame["text"]],
            frame["label"].to_numpy(),
            None,
            ["negative", "positive"],
        )
        for frame in frames
    )

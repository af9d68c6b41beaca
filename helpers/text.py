"""From text to numbers: units of text, n-grams, vocabulary, padding, labelled tables, splits by group.

Nothing here changes a text but case and Unicode's composed form (NFC): every script passes through.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.data import UserError

PAD, UNKNOWN = 0, 1  # ids of the two entries that every vocabulary starts with

# --- units: a text as a list of strings -----------------------------------------------------------

# ASCII, Latin-1, general, Arabic, Indic, CJK and full-width marks. Letters are all that is neither white
# space nor one of these: Python's \w would cut words at the vowel signs of Hindi or Thai.
_MARKS = r"!-/:-@\[-`{-~¡¿«»·‐-‧‰-⁞،؛؟۔।॥、-〃〈-】〔-〟・！-／：-＠［-｀｛-･"
_LETTER = rf"[^\s{_MARKS}]"
_WORD = re.compile(
    rf"n't(?!{_LETTER})"  # don't -> do n't: one token says "not" for all verbs
    rf"|'(?:s|re|ve|ll|d|m)(?!{_LETTER})"  # it's -> it 's
    rf"|(?:(?!n't(?!{_LETTER})){_LETTER})+"
    rf"|[{_MARKS}]"
)


def words(text):
    """Words and marks, lower case: "I don't." -> ["i", "do", "n't", "."]."""
    return _WORD.findall(_plain(text).replace("’", "'"))


def spaces(text):
    """What stands between white space (Korean: eojeol, 어절)."""
    return _plain(text).split()


def syllables(text):
    """Characters; a run of white space is one " ". A Korean syllable (음절) is one character."""
    return list(" ".join(spaces(text)))


def jamo(text):
    """Characters, Korean syllables taken apart into their letters (자모): 한 -> ㅎ ㅏ ㄴ."""
    return [
        part
        for unit in syllables(text)
        for part in (unicodedata.normalize("NFD", unit) if "가" <= unit <= "힣" else unit)
    ]


def morphemes(text):
    """Korean morphemes (형태소) with their part of speech, by kiwipiepy (an optional package)."""
    return [f"{token.form}/{token.tag}" for token in _kiwi().tokenize(_plain(text))]


_analyser = None


def _kiwi():
    global _analyser
    if _analyser is None:
        try:
            from kiwipiepy import Kiwi
        except ImportError as error:
            raise UserError("morphemes need the package kiwipiepy: pip install kiwipiepy") from error
        _analyser = Kiwi()
    return _analyser


def _plain(text):
    return unicodedata.normalize("NFC", text).lower()


def joined(text):
    """Syllables as they stand, a space, then the same without spaces, which Korean writers set as they like."""
    found = syllables(text)
    return [*found, " ", *(unit for unit in found if unit != " ")] if found else []


def both(text):
    """Syllables, a space, then morphemes: one list, whose n-grams are those of either (and a few that cross over)."""
    found = syllables(text)
    return [*found, " ", *morphemes(text)] if found else []


UNITS = {
    "word": words,
    "space": spaces,
    "syllable": syllables,
    "jamo": jamo,
    "morpheme": morphemes,
    "syllable+joined": joined,
    "syllable+morpheme": both,
}


def ngrams(tokens, low, high):
    """All runs of low..high tokens, each as one string joined by a tab: a list."""
    runs = []
    for n in range(low, high + 1):
        runs += tokens if n == 1 else map("\t".join, zip(*(tokens[k:] for k in range(n))))
    return runs


# --- numbers --------------------------------------------------------------------------------------


class Vocabulary:
    """Tokens and their numbers: 0 is <pad>, 1 is <unk>, then `tokens`.

    The two specials are no tokens: a text that holds the characters "<pad>" gets an ordinary entry or <unk>.
    """

    def __init__(self, tokens):
        self.tokens = list(tokens)
        self.index = {token: id for id, token in enumerate(self.tokens, start=2)}

    @classmethod
    def build(cls, texts, min_count=1, size=None):
        """From lists of tokens: those seen min_count times, the most frequent first, at most `size`."""
        counts = Counter(token for tokens in texts for token in tokens)
        kept = sorted((t for t, n in counts.items() if n >= min_count), key=lambda t: (-counts[t], t))
        return cls(kept[:size])

    def __len__(self):
        return 2 + len(self.tokens)

    def encode(self, tokens):
        return [self.index.get(token, UNKNOWN) for token in tokens]

    def decode(self, ids):
        return ["<pad>" if i == PAD else "<unk>" if i == UNKNOWN else self.tokens[i - 2] for i in ids]


class Spelling:
    """Tokens and the pieces they are spelled with: a token becomes a row of `most` numbers, filled up with <pad>.

    First its number in `vocabulary` (or <unk>), then those of the character n-grams of <token> that `grams`
    lists, from len(vocabulary) on. So a word never seen still has a meaning, from its stem and its ending
    (Bojanowski 2017). Encoded texts are (T, most) arrays.
    """

    def __init__(self, tokens, grams, low=3, high=5, most=24):
        self.vocabulary, self.grams, self.low, self.high, self.most = Vocabulary(tokens), grams, low, high, most
        self.index = {gram: id for id, gram in enumerate(grams, start=len(self.vocabulary))}
        self.rows = {}  # of the tokens met so far

    @classmethod
    def build(cls, texts, min_count=2, gram_count=3, **options):
        """Tokens seen min_count times; n-grams that stand in gram_count different tokens."""
        texts = list(texts)
        spelling = cls(Vocabulary.build(texts, min_count).tokens, [], **options)
        grams = (set(spelling.pieces(token)) for token in sorted({token for tokens in texts for token in tokens}))
        return cls(spelling.vocabulary.tokens, Vocabulary.build(grams, gram_count).tokens, **options)

    def __len__(self):
        return len(self.vocabulary) + len(self.grams)

    def pieces(self, token):
        token = f"<{token}>"
        return [token[k : k + n] for n in range(self.low, self.high + 1) for k in range(len(token) - n + 1)]

    def encode(self, tokens):
        out = np.full((len(tokens), self.most), PAD, dtype=np.int64)
        for row, token in zip(out, tokens):
            if token not in self.rows:
                known = [self.index[piece] for piece in self.pieces(token[:100]) if piece in self.index]
                self.rows[token] = [*self.vocabulary.encode([token]), *known][: self.most]
            row[: len(self.rows[token])] = self.rows[token]
        return out


def pad(rows, length=None):
    """Encoded texts -> (B, T) or, spelled, (B, T, most) int64.

    Filled up with <pad> to the longest row (at least 1), or filled up or cut to `length`.
    """
    length = length or max([1, *map(len, rows)])
    padded = np.full((len(rows), length, *np.shape(rows[0])[1:]), PAD, dtype=np.int64)
    for out, row in zip(padded, rows):
        out[: len(row)] = row[:length]
    return torch.from_numpy(padded)


class Sequences(Dataset):
    """Encoded texts of different lengths with further tensors (labels): a batch (ids (B, T), *tensors).

    T is the longest row of the batch, not of the data; `lengths` says how long each row is.
    """

    def __init__(self, rows, *tensors):
        self.rows, self.tensors = rows, tensors
        self.lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return torch.as_tensor(self.rows[i]), *(t[i] for t in self.tensors)

    def __getitems__(self, indices):
        return pad([self.rows[i] for i in indices]), *(t[indices] for t in self.tensors)

    @staticmethod
    def collate(batch):
        return batch


def length_buckets(lengths, batch_size, generator=None):
    """Batches of rows of nearly equal length, in random order: a list of index tensors.

    With a generator the rows are shuffled first and the batches afterwards; without, shortest first.
    """
    lengths = torch.as_tensor(lengths)
    order = torch.randperm(len(lengths), generator=generator) if generator else torch.arange(len(lengths))
    batches = order[lengths[order].argsort(stable=True)].split(batch_size)
    if generator:
        batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
    return list(batches)


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

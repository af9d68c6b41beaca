"""Texts in and numbers out: closed forms, round trips, and every kind of broken table."""

import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.course.errors import UserError
from helpers.data import texts
from helpers.data.vocabulary import PAD, Sequences, Vocabulary, length_buckets, pad
from helpers.sentiment import text

SCRIPTS = [
    "मुझे यह फ़िल्म पसंद है।",
    "ฉันชอบหนังเรื่องนี้",
    "이 영화 정말 재미있어요!",
    "我喜欢这部电影。",
    "Я люблю кино…",
    "أحب هذا الفيلم؟",
    "να 'μαι",
    "naïve café",
    "👩‍👩‍👧 👍🏽 wow",
    "İstanbul",
]


def test_words():
    assert text.words("I don't LIKE it's well-acted (can’t)!") == [
        "i",
        "do",
        "n't",
        "like",
        "it",
        "'s",
        "well",
        "-",
        "acted",
        "(",
        "ca",
        "n't",
        ")",
        "!",
    ]
    assert text.words("") == text.words(" \n\t") == []
    assert text.words("मुझे यह फ़िल्म।") == ["मुझे", "यह", unicodedata.normalize("NFC", "फ़िल्म"), "।"]
    assert text.words("n'tx isn'tx") == ["n", "'", "tx", "isn", "'", "tx"]


@pytest.mark.parametrize("line", SCRIPTS)
@pytest.mark.parametrize("unit", ["word", "space", "syllable"])
def test_no_script_loses_a_character(unit, line):
    plain = unicodedata.normalize("NFC", line).lower()
    assert "".join(text.UNITS[unit](line)).replace(" ", "") == plain.replace(" ", "")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_no_unit_loses_or_invents_a_character(line):
    plain = "".join(unicodedata.normalize("NFC", line).lower().split())
    assert "".join("".join(text.words(line)).split()) == plain.replace("’", "'")
    assert "".join("".join(text.syllables(line)).split()) == plain
    joined = unicodedata.normalize("NFC", "".join(text.jamo(line)))
    assert "".join(joined.split()) == unicodedata.normalize("NFC", plain)
    assert all(token and not token.isspace() for token in text.words(line) + text.spaces(line))


def test_korean_units():
    assert text.spaces("영화  정말 좋다") == ["영화", "정말", "좋다"]
    assert text.syllables("좋다 ㅋ") == ["좋", "다", " ", "ㅋ"]
    assert text.joined("좋다  ㅋ") == ["좋", "다", " ", "ㅋ", " ", "좋", "다", "ㅋ"] and text.joined(" ") == []
    spaced, unspaced = (set(text.ngrams(text.joined(line), 1, 3)) for line in ("재미 없다", "재미없다"))
    assert {"재\t미", "미\t없", "없\t다"} <= spaced & unspaced  # however the writer set the space
    # Unicode 3.12, arithmetic composition: S = 0xAC00 + (L·21 + V)·28 + T
    for syllable, (lead, vowel, tail) in {"한": (18, 0, 4), "글": (0, 18, 8), "가": (0, 0, 0)}.items():
        assert ord(syllable) == 0xAC00 + (lead * 21 + vowel) * 28 + tail
        letters = [chr(0x1100 + lead), chr(0x1161 + vowel), chr(0x11A7 + tail)]
        assert text.jamo(syllable) == letters[: 3 if tail else 2]
    decomposed = unicodedata.normalize("NFD", "한글")  # as file systems of Apple write it
    assert text.syllables(decomposed) == ["한", "글"]
    assert text.jamo("é") == ["é"]  # only Korean is taken apart


def test_morphemes():
    pytest.importorskip("kiwipiepy", reason="the optional package kiwipiepy is not installed")
    forms = [unit.split("/")[0] for unit in text.morphemes("영화를 보았다")]
    assert forms[:2] == ["영화", "를"] and "보" in forms
    assert text.both("영화") == ["영", "화", " ", "영화/NNG"] and text.both("") == []


def test_without_kiwi_one_clear_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kiwipiepy", None)
    monkeypatch.setattr(text, "_analyser", None)
    with pytest.raises(UserError, match="pip install kiwipiepy"):
        text.morphemes("영화")


@given(st.lists(st.sampled_from("abc"), max_size=8), st.integers(1, 3), st.integers(0, 2))
def test_ngrams_are_all_the_runs(tokens, low, more):
    wanted = ["\t".join(tokens[i : i + n]) for n in range(low, low + more + 1) for i in range(len(tokens) - n + 1)]
    assert text.ngrams(tokens, low, low + more) == wanted


def test_ngrams_against_sklearn():
    from sklearn.feature_extraction.text import CountVectorizer

    line = "the cat sat on the mat"
    theirs = CountVectorizer(ngram_range=(1, 3)).build_analyzer()(line)
    assert sorted(gram.replace("\t", " ") for gram in text.ngrams(text.words(line), 1, 3)) == sorted(theirs)


def test_vocabulary():
    vocabulary = Vocabulary.build([["b", "a", "b"], ["c", "a", "b"], ["<pad>"]], min_count=2)
    assert vocabulary.tokens == ["b", "a"] and len(vocabulary) == 4
    assert vocabulary.encode(["a", "zzz", "b", "<pad>", "<unk>"]) == [3, 1, 2, 1, 1]
    assert vocabulary.decode([3, 1, 2, 0]) == ["a", "<unk>", "b", "<pad>"]
    assert Vocabulary.build([["b", "a", "c"]], size=2).tokens == ["a", "b"]  # ties by the alphabet
    own = Vocabulary.build([["<pad>", "<unk>"]])
    assert own.encode(["<pad>", "<unk>"]) == [2, 3]  # a text cannot forge padding


def test_embedding_is_a_one_hot_product():
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(6, 3, padding_idx=PAD).double()
    weight = embedding.weight.detach().clone().requires_grad_()
    ids = pad([[2, 3, 2], [5]])
    onehot = torch.nn.functional.one_hot(ids, 6).double()
    factor = torch.randn(2, 3, 3, dtype=torch.float64)
    assert torch.equal(embedding(ids), onehot @ weight)
    (embedding(ids) * factor).sum().backward()
    (onehot @ weight * factor).sum().backward()
    assert (embedding.weight.grad[1:] - weight.grad[1:]).abs().max() < 1e-15
    assert embedding.weight.grad[[0, 1, 4]].abs().max() == 0  # absent words, and padding
    assert weight.grad[PAD].abs().max() > 0


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(2, 9), max_size=6), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 9))
def test_padding_and_buckets(rows, size, seed):
    padded = pad(rows)
    assert padded.shape == (len(rows), max(1, *map(len, rows), 0))
    assert [[i for i in row if i] for row in padded.tolist()] == rows
    lengths = [len(row) for row in rows]
    batches = length_buckets(lengths, size, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(rows)))
    spans = sorted((min(span), max(span)) for span in ([lengths[i] for i in batch] for batch in batches))
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))  # no two batches overlap in length
    ids, label = Sequences(rows, torch.arange(len(rows))).__getitems__([len(rows) - 1])
    assert ids[0].tolist() == (rows[-1] or [0]) and label.tolist() == [len(rows) - 1]


def test_spelling():
    texts = [["great", "greatly"], ["greatest", "film", "film"], ["영화가"], ["영화를"], ["영화는"]]
    spelling = text.Spelling.build(texts, min_count=2, gram_count=3, most=30)
    assert spelling.vocabulary.tokens == ["film"]  # grams count by the words they stand in
    wanted = {
        piece for n in (3, 4, 5) for word in ["<great"] for piece in [word[k : k + n] for k in range(len(word) - n + 1)]
    } | {"<영화"}
    assert set(spelling.grams) == wanted and len(spelling) == 3 + len(wanted)
    ids = spelling.encode(["film", "greatness", "xyz"])
    assert ids.shape == (3, 30) and ids[:, 0].tolist() == [2, 1, 1]
    names = [spelling.grams[i - 3] for i in ids[1] if i > 2]
    assert names == [g for g in spelling.pieces("greatness") if g in wanted] and len(names) == 4 + 3 + 2
    assert ids[2, 1:].max() == ids[0, 1:].max() == PAD
    assert spelling.encode([]).shape == (0, 30)
    short = text.Spelling(["film"], spelling.grams, most=4).encode(["greatness" * 1000])
    assert short.shape == (1, 4) and (short > 0).all()
    batch = pad([spelling.encode(["film"]), ids])
    assert batch.shape == (2, 3, 30) and batch[0, 1:].abs().max() == 0 and torch.equal(batch[1], torch.tensor(ids))


# --- tables ---------------------------------------------------------------------------------------


def table(folder, content, **options):
    path = folder / "table.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return texts.load_tsv(path, **options)


def test_a_good_table(tmp_path):
    texts = ['"quoted', "a\u2028b\x0cc", "", *SCRIPTS]
    lines = [f'{line}\t{k % 2}\t"g{k % 3}' for k, line in enumerate(texts)]
    for start, end in (("", "\n"), ("\ufeff", "\r\n")):
        got = table(tmp_path, start + end.join(["text\tlabel\tfilm", *lines]) + end, group="film")
        assert got.texts == texts
        assert got.labels.tolist() == [k % 2 for k in range(len(lines))] and got.labels.dtype == np.int64
        assert got.groups[:3].tolist() == ['"g0', '"g1', '"g2'] and got.classes == ["0", "1"]
    part = got.rows(np.array([2, 0]))
    assert part.texts == ["", '"quoted'] and part.groups.tolist() == ['"g2', '"g0'] and len(part) == 2


def test_classes(tmp_path):
    assert table(tmp_path, "label\ttext\n10\ta\n9\tb").classes == ["9", "10"]
    assert table(tmp_path, "label\ttext\npos\ta\nneg\tb").labels.tolist() == [1, 0]
    assert table(tmp_path, "label\ttext\nneg\ta\n", classes=["pos", "neg"]).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text\tstars\na\t1", {}, "no column 'label'; its first line names text, stars"),
        ("text\tlabel\na\t1\nb\t0", {"group": "film"}, "no column 'film'"),
        ("text\tlabel\na\t1\nb", {}, "line 3: 1 columns, but the first line names 2"),
        ("text\tlabel\na\t1\nb\tc\t0", {}, "line 3: 3 columns"),
        ("text\tlabel\na\t1\nb\t2\nc\t3", {}, "must hold two classes, it holds 3: '1', '2', '3'"),
        ("text\tlabel\na\t1\nb\t1", {}, "must hold two classes, it holds 1: '1'"),
        ("text\tlabel\na\t1\nb\t ", {}, "line 3: the label is empty"),
        ("text\tlabel\na\t5", {"classes": ["0", "1"]}, "line 2: label '5' is neither '0' nor '1'"),
        ("text\tlabel\n", {}, "holds no rows"),
        ("", {}, "is empty"),
        ("\n \n", {}, "is empty"),
        (b"text\tlabel\na\t1\nb\0\t0", {}, "line 3: a NUL byte"),
        ("text\tlabel\n영화\t1".encode("utf-16"), {}, "is UTF-16"),
        ("text\tlabel\n영화\t1".encode("cp949"), {}, "line 2: not UTF-8"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, options, message):
    with pytest.raises(UserError) as error:
        table(tmp_path, content, **options)
    assert message in str(error.value) and "table.tsv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_table_is_named(tmp_path):
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            texts.load_tsv(path)


@given(st.lists(st.integers(0, 6), min_size=8, max_size=60), st.floats(0.1, 0.6), st.integers(0, 5))
def test_groups_stay_together(groups, share, seed):
    groups = np.array(groups + [7, 8])
    largest = np.bincount(groups).max()
    try:
        kept, taken = texts.split_groups(groups, share, seed)
    except UserError:  # the one group left over was the last
        assert largest > (1 - share) * len(groups) - 2
        return
    assert sorted([*kept, *taken]) == list(range(len(groups)))
    assert not set(groups[kept]) & set(groups[taken])
    # whole groups are taken until the share is reached; 1e-9 because 0.1 * 10 is not 1 in binary
    assert share * len(groups) - 1e-9 <= len(taken) < share * len(groups) + largest + 1e-9
    again = texts.split_groups(groups, share, seed)
    assert (again[1] == taken).all()


def test_one_group_cannot_be_split():
    with pytest.raises(UserError, match="at least two"):
        texts.split_groups(["a"] * 9, 0.2, 0)

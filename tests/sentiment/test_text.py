"""Texts in and tokens out: round trips in many scripts, runs of tokens, subword n-grams."""

import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_texts import toy

from helpers.course.errors import UserError
from helpers.data.vocabulary import PAD, pad
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


def test_shuffled_keeps_the_words():
    texts = toy().texts[:50]
    mixed = text.shuffled(texts)
    assert [sorted(a.split()) for a in texts] == [sorted(a.split()) for a in mixed]
    assert sum(a != b for a, b in zip(texts, mixed)) > 40 and mixed == text.shuffled(texts)


def test_subword_ngrams():
    texts = [["great", "greatly"], ["greatest", "film", "film"], ["영화가"], ["영화를"], ["영화는"]]
    subword = text.SubwordNgrams.build(texts, min_count=2, gram_count=3, max_ids=30)
    assert subword.vocabulary.tokens == ["film"]  # grams count by the words they stand in
    wanted = {
        piece for n in (3, 4, 5) for word in ["<great"] for piece in [word[k : k + n] for k in range(len(word) - n + 1)]
    } | {"<영화"}
    assert set(subword.grams) == wanted and len(subword) == 3 + len(wanted)
    ids = subword.encode(["film", "greatness", "xyz"])
    assert ids.shape == (3, 30) and ids[:, 0].tolist() == [2, 1, 1]
    names = [subword.grams[i - 3] for i in ids[1] if i > 2]
    assert names == [g for g in subword.pieces("greatness") if g in wanted] and len(names) == 4 + 3 + 2
    assert ids[2, 1:].max() == ids[0, 1:].max() == PAD
    assert subword.encode([]).shape == (0, 30)
    short = text.SubwordNgrams(["film"], subword.grams, max_ids=4).encode(["greatness" * 1000])
    assert short.shape == (1, 4) and (short > 0).all()
    batch = pad([subword.encode(["film"]), ids])
    assert batch.shape == (2, 3, 30) and batch[0, 1:].abs().max() == 0 and torch.equal(batch[1], torch.tensor(ids))

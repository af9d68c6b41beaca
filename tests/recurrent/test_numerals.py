"""Oracles: known numbers, and independent readers of numerals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.recurrent import numerals


@pytest.mark.parametrize(
    ("n", "english", "korean"),
    [
        (0, "zero", "영"),
        (7, "seven", "칠"),
        (10, "ten", "십"),
        (11, "eleven", "십 일"),
        (21, "twenty one", "이 십 일"),
        (100, "one hundred", "백"),
        (119, "one hundred nineteen", "백 십 구"),
        (1000, "one thousand", "천"),
        (10_000, "ten thousand", "만"),
        (11_111, "eleven thousand one hundred eleven", "만 천 백 십 일"),
        (20_105, "twenty thousand one hundred five", "이 만 백 오"),
        (340_000, "three hundred forty thousand", "삼 십 사 만"),
        (10_000_000, "ten million", "천 만"),
        (100_000_000, "one hundred million", "일 억"),
        (100_010_000, "one hundred million ten thousand", "일 억 일 만"),
        (1_000_000_000, "one billion", "십 억"),
    ],
)
def test_known_numbers(n, english, korean):
    assert numerals.english(n) == english.split() and numerals.korean(n) == korean.split()


def read_english(tokens):
    """Value of English words, by another route: a stack of sums."""
    small = {w: n for n, w in enumerate(numerals.ONES)} | {w: 10 * n for n, w in enumerate(numerals.TENS, start=2)}
    total = group = 0
    for word in tokens:
        if word in small:
            group += small[word]
        elif word == "hundred":
            group *= 100
        else:
            total, group = total + group * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word], 0
    return total + group


def read_korean(tokens):
    """Value of Korean syllables, by place value."""
    total = group = digit = 0
    for syllable in tokens:
        if syllable in "영일이삼사오육칠팔구":
            digit = "영일이삼사오육칠팔구".index(syllable)
        elif syllable in "십백천":
            group, digit = group + (digit or 1) * 10 ** (1 + "십백천".index(syllable)), 0
        else:
            total, group, digit = total + (group + digit or 1) * {"만": 10**4, "억": 10**8}[syllable], 0, 0
    return total + group + digit


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.integers(0, 9), st.integers(0, 10**5), st.integers(0, numerals.LARGEST)))
def test_numerals_can_be_read_again(n):
    assert read_english(numerals.english(n)) == n
    assert read_korean(numerals.korean(n)) == n


def test_numbers_are_different_and_of_all_lengths():
    found = numerals.numbers(4000, digits=6)
    assert len(set(found)) == 4000 and found == numerals.numbers(4000, digits=6) != sorted(found)
    lengths = np.bincount([len(str(n)) for n in found])[1:]
    assert lengths[0] == 10 and lengths[1] == 90 and (lengths[3:] > 700).all()
    for call in (lambda: numerals.numbers(11, digits=1), lambda: numerals.english(-1), lambda: numerals.korean(10**12)):
        with pytest.raises(ValueError):
            call()

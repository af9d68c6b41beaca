"""From text to tokens: units of text, n-grams of tokens, subword n-grams of a token.

Nothing here changes a text but case and Unicode's composed form (NFC): every script passes through.
"""

import re
import unicodedata

import numpy as np

from helpers.course.errors import UserError
from helpers.data.vocabulary import PAD, Vocabulary

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


def shuffled(texts, unit="word", seed=0):
    """The same texts with their tokens in random order: what a model still knows of them, a bag would know.

    Words are shuffled for unit "word" and what stands between spaces for any other.
    """
    rng, split = np.random.default_rng(seed), UNITS["word" if unit == "word" else "space"]
    return [" ".join(rng.permutation(split(text)).tolist()) for text in texts]


class SubwordNgrams:
    """Tokens and their subword n-grams: a token becomes a row of at most `max_ids` numbers, filled up with <pad>.

    First its number in `vocabulary` (or <unk>), then those of the character n-grams of <token> that `grams`
    lists, from len(vocabulary) on. So a word never seen still has a meaning, from its stem and its ending
    (Bojanowski 2017). Encoded texts are (T, max_ids) arrays.
    """

    def __init__(self, tokens, grams, low=3, high=5, max_ids=24):
        self.vocabulary, self.grams = Vocabulary(tokens), grams
        self.low, self.high, self.max_ids = low, high, max_ids
        self.index = {gram: id for id, gram in enumerate(grams, start=len(self.vocabulary))}
        self.rows = {}  # of the tokens met so far

    @classmethod
    def build(cls, texts, min_count=2, gram_count=3, **options):
        """Tokens seen min_count times; n-grams that stand in gram_count different tokens."""
        texts = list(texts)
        alone = cls(Vocabulary.build(texts, min_count).tokens, [], **options)
        grams = (set(alone.pieces(token)) for token in sorted({token for tokens in texts for token in tokens}))
        return cls(alone.vocabulary.tokens, Vocabulary.build(grams, gram_count).tokens, **options)

    def __len__(self):
        return len(self.vocabulary) + len(self.grams)

    def pieces(self, token):
        token = f"<{token}>"
        return [token[k : k + n] for n in range(self.low, self.high + 1) for k in range(len(token) - n + 1)]

    def encode(self, tokens):
        out = np.full((len(tokens), self.max_ids), PAD, dtype=np.int64)
        for row, token in zip(out, tokens):
            if token not in self.rows:
                known = [self.index[piece] for piece in self.pieces(token[:100]) if piece in self.index]
                self.rows[token] = [*self.vocabulary.encode([token]), *known][: self.max_ids]
            row[: len(self.rows[token])] = self.rows[token]
        return out

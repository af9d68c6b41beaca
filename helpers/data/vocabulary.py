"""Texts as numbers: vocabulary, padding, and batches of texts of nearly the same length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

PAD, UNKNOWN = 0, 1  # ids of the two entries that every vocabulary starts with


class Vocabulary:
    """Tokens and their numbers: 0 is <pad>, 1 is <unk>, then `tokens`.

    The two specials are no tokens: a text that holds the characters "<pad>" gets an ordinary entry or <unk>.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = list(tokens)
        self.index = {token: id for id, token in enumerate(self.tokens, start=2)}

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], min_count: int = 1) -> Vocabulary:
        """From lists of tokens: those seen min_count times, the most frequent first, ties by the alphabet."""
        counts = Counter(token for tokens in texts for token in tokens)
        return cls(sorted((t for t, n in counts.items() if n >= min_count), key=lambda t: (-counts[t], t)))

    def __len__(self) -> int:
        return 2 + len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        return [self.index.get(token, UNKNOWN) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        return ["<pad>" if i == PAD else "<unk>" if i == UNKNOWN else self.tokens[i - 2] for i in ids]


def pad(rows: Sequence, length: int | None = None) -> torch.Tensor:
    """Encoded texts -> (B, T) int64, or (B, T, G) where a token is G numbers.

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

    def __init__(self, rows: Sequence, *tensors: torch.Tensor) -> None:
        self.rows, self.tensors = rows, tensors
        self.lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        return torch.as_tensor(self.rows[i]), *(t[i] for t in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, ...]:
        return pad([self.rows[i] for i in indices]), *(t[indices] for t in self.tensors)

    @staticmethod
    def collate(batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return batch


def length_buckets(lengths: Sequence[int], batch_size: int) -> list[torch.Tensor]:
    """Batches of rows of nearly equal length, the shortest first: a list of index tensors."""
    return list(torch.as_tensor(lengths).argsort(stable=True).split(batch_size))

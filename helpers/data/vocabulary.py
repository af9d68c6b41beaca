"""Texts as numbers: vocabulary, padding, and batches of texts of nearly the same length."""

from collections import Counter

import numpy as np
import torch
from torch.utils.data import Dataset

PAD, UNKNOWN = 0, 1  # ids of the two entries that every vocabulary starts with


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

"""Tokens as numbers: round trips, the one-hot product, padding that can be taken away again."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.data.vocabulary import PAD, Sequences, Vocabulary, length_buckets, pad


def test_vocabulary():
    vocabulary = Vocabulary.build([["b", "a", "b"], ["c", "a", "b"], ["<pad>"]], min_count=2)
    assert vocabulary.tokens == ["b", "a"] and len(vocabulary) == 4
    assert vocabulary.encode(["a", "zzz", "b", "<pad>", "<unk>"]) == [3, 1, 2, 1, 1]
    assert vocabulary.decode([3, 1, 2, 0]) == ["a", "<unk>", "b", "<pad>"]
    assert Vocabulary.build([["b", "a", "c"]]).tokens == ["a", "b", "c"]  # ties by the alphabet
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
@given(st.lists(st.lists(st.integers(2, 9), max_size=6), min_size=1, max_size=12), st.integers(1, 4))
def test_padding_and_buckets(rows, size):
    padded = pad(rows)
    assert padded.shape == (len(rows), max(1, *map(len, rows), 0))
    assert [[i for i in row if i] for row in padded.tolist()] == rows
    lengths = [len(row) for row in rows]
    batches = length_buckets(lengths, size)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(rows)))
    assert [lengths[i] for i in torch.cat(batches)] == sorted(lengths)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1) and len(batches[-1]) <= size
    ids, label = Sequences(rows, torch.arange(len(rows))).__getitems__([len(rows) - 1])
    assert ids[0].tolist() == (rows[-1] or [0]) and label.tolist() == [len(rows) - 1]

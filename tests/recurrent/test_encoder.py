"""Oracles: packed nn.LSTM, dropout by hand, the state after padding."""

import pytest
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers.data.vocabulary import PAD, UNKNOWN, pad
from helpers.recurrent.encoder import Encoder, final, locked_dropout, reverse, words

ROWS = [[2, 5, 7, 3], [4], [], [9, 9, 8, 2, 6, 3, 3]]
LENGTHS = torch.tensor([len(row) for row in ROWS])


def build(**settings):
    torch.manual_seed(0)
    return Encoder(12, **{"width": 5, "hidden": 6} | settings).double().eval()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_encoder_equals_packed_torch(bidirectional):
    encoder = build(bidirectional=bidirectional)
    reference = nn.LSTM(5, 6, batch_first=True, bidirectional=bidirectional).double()
    for way, name in enumerate(["", "_reverse"][: 1 + bidirectional]):
        for part, weight in encoder.directions[way][0].named_parameters():
            getattr(reference, part + name).data.copy_(weight.data)
    ids = pad(ROWS)
    some = [0, 1, 3]  # packing refuses a row without words
    packed = pack_padded_sequence(encoder.embedding(ids[some]), LENGTHS[some], batch_first=True, enforce_sorted=False)
    wanted, (h, _) = reference(packed)
    wanted, _ = pad_packed_sequence(wanted, batch_first=True)
    real = (ids != PAD)[some][..., None]
    outputs = encoder(ids, LENGTHS)
    assert (torch.cat(outputs, dim=2)[some] * real - wanted).abs().max() < 1e-12

    last = final(outputs, LENGTHS)
    assert (last[some] - torch.cat(tuple(h), dim=1)).abs().max() < 1e-12
    assert last[2].abs().max() == 0


def test_two_layers_equal_torch():
    encoder = build(layers=2)
    reference = nn.LSTM(5, 6, 2, batch_first=True).double()
    for layer in range(2):
        for part, weight in encoder.directions[0][layer].named_parameters():
            getattr(reference, part[:-1] + str(layer)).data.copy_(weight.data)
    ids = torch.randint(2, 12, (3, 7))
    wanted, _ = reference(encoder.embedding(ids))
    assert (encoder(ids, torch.full((3,), 7))[0] - wanted).abs().max() < 1e-12


def test_what_breaks_without_a_mask():
    """The lecture's "break it": the state after the padding is another one."""
    encoder = build()
    layer, embedding = encoder.directions[0][0], encoder.embedding
    read = [layer(embedding(pad([ROWS[0]], length=length)))[0][0, -1] for length in (4, 30)]
    assert (read[0] - read[1]).abs().max() > 1e-3


def test_reverse():
    x = torch.arange(10).view(2, 5, 1)
    assert reverse(x, torch.tensor([5, 3]))[..., 0].tolist()[0] == [4, 3, 2, 1, 0]
    assert reverse(x, torch.tensor([5, 3]))[..., 0].tolist()[1][:3] == [7, 6, 5]


def test_dropout():
    torch.manual_seed(0)
    x = torch.ones(40, 9, 50)
    out = locked_dropout(x, 0.4, True)
    assert torch.equal(out, out[:, :1].expand_as(out))  # one mask for all steps
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.6).item()} and abs(out.mean() - 1) < 0.05
    assert torch.equal(locked_dropout(x, 0.4, False), x)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_weight_drop_thins_w_hh_and_nothing_else(cell):
    encoder = build(cell=cell, dropout=0.0, word_dropout=0.0, weight_drop=0.5)
    layer, ids = encoder.directions[0][0], torch.randint(2, 12, (3, 6))
    whole = layer.weight_hh_l0.detach().clone()
    plain = encoder(ids, torch.full((3,), 6))[0]
    encoder.train()
    torch.manual_seed(5)
    dropped = encoder(ids, torch.full((3,), 6))[0]
    dropped.sum().backward()
    torch.manual_seed(5)
    thin = 2 * whole * (torch.rand(whole.shape) >= 0.5)
    assert (dropped - plain).abs().max() > 1e-4 and torch.equal(layer.weight_hh_l0, whole)
    assert layer.weight_hh_l0.grad[thin == 0].abs().max() == 0 < layer.weight_hh_l0.grad.abs().max()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(thin)
    encoder.eval()
    assert (encoder(ids, torch.full((3,), 6))[0] - dropped).abs().max() < 1e-12


def test_word_dropout_trains_the_unknown_word():
    encoder = build(cell=None, dropout=0.0, word_dropout=0.5).train()
    encoder(pad(ROWS), LENGTHS)[0].sum().backward()
    assert encoder.embedding.weight.grad[UNKNOWN].abs().max() > 0
    assert encoder.embedding.weight.grad[PAD].abs().max() == 0


def test_words_are_the_first_numbers_of_tokens():
    ids = torch.arange(24).view(2, 3, 4)
    assert words(ids).tolist() == [[0, 4, 8], [12, 16, 20]] and words(ids[..., 0]) is not None
    assert torch.equal(words(ids[..., 0]), ids[..., 0])


def test_final_of_texts_without_words_is_zero():
    forward, backward = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    found = final([forward, backward], torch.tensor([2, 0]))
    assert torch.equal(found[0], torch.cat([forward[0, 1], backward[0, 0]])) and found[1].abs().max() == 0

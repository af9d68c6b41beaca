"""Oracles: packed nn.LSTM, pooling by hand, invariance to padding, the meta device."""

import math

import numpy as np
import pytest
import torch
import torch.nn as nn

from helpers.data.vocabulary import PAD, UNKNOWN, pad
from helpers.recurrent.encoder import Encoder
from helpers.sentiment.readers import LanguageModel, Reader, deletions, language_step, reading_step

ROWS = [[2, 5, 7, 3], [4], [], [9, 9, 8, 2, 6, 3, 3]]
LENGTHS = torch.tensor([len(row) for row in ROWS])


def build(pooling="concat", **settings):
    torch.manual_seed(0)
    return Reader(Encoder(12, **{"width": 5, "hidden": 6} | settings), pooling).double().eval()


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": None},
        {"cell": "rnn"},
        {"cell": "gru", "layers": 2},
        {"cell": "lstm", "bidirectional": True, "layers": 2},
    ],
)
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "concat", "attention"])
def test_padding_changes_nothing(settings, pooling):
    model = build(pooling, **settings)
    logits = model(pad(ROWS))
    assert logits.shape == (4,) and torch.isfinite(logits).all()
    assert (model(pad(ROWS, length=30)) - logits).abs().max() < 1e-12
    for row, logit in zip(ROWS, logits):
        assert (model(pad([row])) - logit).abs().max() < 1e-12  # nor does the company in the batch
    model.train()
    model(pad(ROWS)).sum().backward()  # a row without words gives no NaN
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert model.encoder.embedding.weight.grad[PAD].abs().max() == 0


def test_tokens_of_several_numbers():
    """A token's vector is Σ/√n of its own and its pieces'; padding and company change nothing here either."""
    rows = [np.array([[2, 9, 10], [5, 0, 0]]), np.zeros((0, 3), np.int64), np.array([[1, 11, 0]])]
    model = build(bidirectional=True)
    table, ids = model.encoder.embedding.weight, pad(rows)
    x = model.encoder.embed(ids)
    assert x.shape == (3, 2, 5)
    assert (x[0, 0] - (table[2] + table[9] + table[10]) / math.sqrt(3)).abs().max() < 1e-12
    assert torch.equal(x[0, 1], table[5]) and (x[2, 0] - (table[1] + table[11]) / math.sqrt(2)).abs().max() < 1e-12
    assert x[1].abs().max() == x[2, 1].abs().max() == 0
    logits = model(ids)
    assert (model(pad(rows, length=9)) - logits).abs().max() < 1e-12
    single = pad([[2, 5], [], [4]])  # no pieces: the token alone
    assert (model(single[..., None]) - model(single)).abs().max() < 1e-12
    assert torch.equal(LanguageModel(model.encoder).double()(ids).isfinite(), torch.ones(3, dtype=torch.bool))

    hidden = build(cell=None, word_dropout=0.999999, dropout=0.0).train()
    x = hidden.encoder.embed(ids)  # the pieces go with the word
    assert torch.equal(x[0], hidden.encoder.embedding.weight[[UNKNOWN, UNKNOWN]]) and x[1].abs().max() == 0


def test_the_names_of_the_weights_are_those_of_stored_readers():
    """Dropout has none: the layer after it is the second of the head, as in every file that was written before."""
    names = [name for name in build().state_dict() if name.startswith("head")]
    assert names == ["head.1.weight", "head.1.bias"]


def test_pooling_by_hand():
    h = torch.randn(4, 7, 6, dtype=torch.float64)
    real = pad(ROWS) != PAD
    for k, n in enumerate(LENGTHS.tolist()):
        if n:
            assert (build("mean").pool([h], real)[k] - h[k, :n].mean(0)).abs().max() < 1e-12
            assert torch.equal(build("max").pool([h], real)[k], h[k, :n].max(0).values)
            assert torch.equal(build("last").pool([h], real)[k], h[k, n - 1])
            both = build("last", bidirectional=True).pool([h, 2 * h], real)[k]
            assert torch.equal(both, torch.cat([h[k, n - 1], 2 * h[k, 0]]))
    model = build("attention")
    weight = model.attention(pad(ROWS))
    assert (weight.sum(1) - (LENGTHS > 0).double()).abs().max() < 1e-12 and weight[~real].abs().max() == 0
    h = model.encoder(pad(ROWS), LENGTHS)[0][0, :4]
    wanted = (model.query(h).softmax(0) * h).sum(0)
    assert (model.pool(model.encoder(pad(ROWS), LENGTHS), real)[0] - wanted).abs().max() < 1e-12


def test_attention_by_hand():
    model, row = build("attention", bidirectional=True), torch.tensor(ROWS[3])
    h = torch.cat(model.encoder(row[None], LENGTHS[3:]), dim=2)[0]  # (T, 2H)
    scores = [math.exp(sum(q * x for q, x in zip(model.query.weight[0].tolist(), state))) for state in h.tolist()]
    wanted = torch.tensor(scores, dtype=torch.float64) / sum(scores)  # the query's bias cancels
    weights = model.attention(pad(ROWS))
    assert (weights[3] - wanted).abs().max() < 1e-12
    assert (weights.sum(dim=1) - (LENGTHS > 0).double()).abs().max() < 1e-12
    assert (model.head(wanted @ h) - model(row[None])).abs() < 1e-12


def test_deletions():
    row = torch.tensor(ROWS[3])
    model = build("mean", cell=None)  # w·mean of the others, in closed form
    with torch.no_grad():
        x = model.encoder.embedding(row)
        wanted = (x.mean(dim=0) - (x.sum(dim=0) - x) / (len(row) - 1)) @ model.head[1].weight[0]
    assert (deletions(model, row) - wanted).abs().max() < 1e-12
    for pooling in ("attention", "concat"):
        model = build(pooling, bidirectional=True)
        wanted = [(model(row[None]) - model(torch.cat([row[:t], row[t + 1 :]])[None])).item() for t in range(len(row))]
        assert deletions(model, row).tolist() == pytest.approx(wanted, abs=1e-12)
    pieces = torch.stack([row, row], dim=1)
    assert deletions(model, pieces).shape == (len(row),)


def test_language_model_by_hand():
    """The mean of -log p(next word) and -log p(previous word), each from what was read until there."""
    torch.manual_seed(0)
    encoder = build(bidirectional=True).encoder
    model = LanguageModel(encoder, max_words=8).double().eval()
    losses = model(pad(ROWS))
    seen = [[i if i < 8 else UNKNOWN for i in row] for row in ROWS]  # what may be predicted
    for row, target, loss in zip(ROWS, seen, losses):
        total, count = 0.0, 0
        for k in range(1, len(row)):
            for read, wanted, way in ((row[:k], target[k], 0), (row[k:], target[k - 1], 1)):
                h = encoder(pad([read]), torch.tensor([len(read)]))[way][0, 0 if way else -1]
                logits = encoder.embedding.weight[:8] @ model.project(h) + model.bias
                total, count = total - logits.log_softmax(0)[wanted].item(), count + 1
        assert abs(loss.item() - total / max(count, 1)) < 1e-12
    uniform = LanguageModel(Encoder(12, width=5, hidden=6), max_words=8).eval()
    nn.init.zeros_(uniform.project.weight)
    nn.init.zeros_(uniform.project.bias)
    assert abs(language_step(uniform, (pad(ROWS[:1]),))["loss"] - math.log(8)) < 1e-6


def test_steps_are_sums():
    model = build()
    model.balance.copy_(torch.tensor([0.5, 2.0]))
    y = torch.tensor([0, 1, 1, 0])
    whole = reading_step(model, (pad(ROWS), y))
    parts = [reading_step(model, (pad([row]), y[k : k + 1])) for k, row in enumerate(ROWS)]
    assert abs(whole["loss"] - sum(p["loss"] for p in parts)) < 1e-12
    assert whole["correct"] == sum(p["correct"] for p in parts)
    logits = model(pad(ROWS))
    wanted = -(torch.sigmoid(logits).log() * 2 * y + torch.sigmoid(-logits).log() * 0.5 * (1 - y)).sum()
    assert abs(whole["loss"] - wanted) < 1e-12


@pytest.mark.parametrize("pooling", ["concat", "attention"])
def test_steps_run_on_another_device(pooling):
    """A tensor left on the CPU raises on `meta`, and so does waiting for the device."""
    with torch.device("meta"):
        model = Reader(Encoder(12, bidirectional=True, weight_drop=0.5), pooling)
        language = LanguageModel(model.encoder)
        batch = torch.ones(3, 5, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    reading_step(model, batch)["loss"].backward()
    language_step(language, batch)["loss"].backward()
    assert model.encoder.embedding.weight.grad.device.type == "meta"

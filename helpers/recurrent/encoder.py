"""A recurrent encoder of token ids: embedding, one or two directions, several layers.

Shapes: ids (B, T), or (B, T, G) where a token is G numbers, its own and those of its features, such as subword n-grams;
embedded (B, T, E), outputs of a direction (B, T, H).
Lengths come from the ids and stay on the device: nothing waits for it.
"""

import torch
import torch.nn as nn

from helpers.course.draws import dropout
from helpers.data.vocabulary import PAD, UNKNOWN

RUN = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}  # what nn.RNN, nn.LSTM, nn.GRU call
CELL = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def words(ids):
    """The numbers of the tokens themselves, (B, T), of ids (B, T) or (B, T, G)."""
    return ids if ids.dim() == 2 else ids[..., 0]


def reverse(x, lengths):
    """Turn every row of x (B, T, C) round within its length (B,); what follows the length means nothing."""
    index = lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)  # (B, T)
    return x.gather(1, index.clamp(min=0)[..., None].expand_as(x))


def locked_dropout(x, p, training):
    """Dropout of x (B, T, C) with one mask for all steps of a row (Gal and Ghahramani 2016)."""
    if not training or p == 0:
        return x
    return x * dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p, training)


class Encoder(nn.Module):
    """Embedding and recurrent layers: ids (B, T) -> outputs (B, T, H) of each direction, a list of one or two.

    The directions are separate stacks, so that each can be trained as a language model. The backward one
    reads the row turned round within its length and so never sees the padding (packing would do that too, but
    wants the lengths on the CPU). In training, `word_dropout` replaces words by <unk>, the only way to learn
    what an unknown word is, `weight_drop` thins W_hh (Merity 2017), and `dropout` is locked.
    """

    def __init__(
        self,
        size,
        cell="lstm",
        width=100,
        hidden=128,
        layers=1,
        bidirectional=False,
        dropout=0.4,
        word_dropout=0.1,
        weight_drop=0.0,
    ):
        super().__init__()
        self.cell, self.dropout, self.word_dropout, self.weight_drop = cell, dropout, word_dropout, weight_drop
        self.embedding = nn.Embedding(size, width, padding_idx=PAD)
        with torch.no_grad():
            self.embedding.weight.mul_(0.1)  # N(0, 1) would saturate the gates
        directions = 0 if cell is None else 1 + bidirectional
        self.directions = nn.ModuleList(
            nn.ModuleList(CELL[cell](hidden if k else width, hidden, batch_first=True) for k in range(layers))
            for _ in range(directions)
        )
        self.width = hidden if cell else width  # of an output

    def forward(self, ids, lengths):
        x = locked_dropout(self.embed(ids), self.dropout, self.training)  # (B, T, E)
        outputs = [] if self.cell else [x]
        for way, layers in enumerate(self.directions):
            h = reverse(x, lengths) if way else x
            for layer in layers:
                h = locked_dropout(self.run(layer, h), self.dropout, self.training)  # (B, T, H)
            outputs.append(reverse(h, lengths) if way else h)
        return outputs

    def embed(self, ids):
        """(B, T[, G]) -> (B, T, E): the token's vector, or Σ/√n of its own and those of its n-grams."""
        if self.training and self.word_dropout:
            token = words(ids)
            hidden = (torch.rand(token.shape, device=ids.device) < self.word_dropout) & (token != PAD)
            if ids.dim() == 2:
                ids = ids.masked_fill(hidden, UNKNOWN)
            else:  # the features are hidden with the token
                token = token.masked_fill(hidden, UNKNOWN)[..., None]
                ids = torch.cat([token, ids[..., 1:].masked_fill(hidden[..., None], PAD)], dim=2)
        x = self.embedding(ids)
        if ids.dim() == 2:
            return x
        return x.sum(dim=2) / (ids != PAD).sum(dim=2, keepdim=True).clamp(min=1).to(x.dtype).sqrt()

    def run(self, layer, x):
        if not (self.training and self.weight_drop):
            return layer(x)[0]
        thinned = dropout(layer.weight_hh_l0, self.weight_drop, self.training)
        start = x.new_zeros(1, len(x), layer.hidden_size)
        # the function under nn.LSTM: torch.func.functional_call would not reach the module's flat weights
        return RUN[self.cell](
            x,
            (start, start) if self.cell == "lstm" else start,
            [layer.weight_ih_l0, thinned, layer.bias_ih_l0, layer.bias_hh_l0],
            True,
            1,
            0.0,
            True,
            False,
            True,
        )[0]


def final(outputs, lengths):
    """(B, D·H): each direction where it has read all, forward at the last word, backward at the first; or 0."""
    rows, end = torch.arange(len(lengths), device=lengths.device), (lengths - 1).clamp(min=0)
    ends = [output[:, 0] if way else output[rows, end] for way, output in enumerate(outputs)]
    return torch.cat(ends, dim=1) * (lengths > 0)[:, None]

"""Networks that read: a recurrent encoder, a classifier and a language model on top of it.

Shapes: ids (B, T), or (B, T, G) where a token is G numbers (`text.SubwordNgrams`, `ngrams.ClassRatios`), padded
on the right; embedded (B, T, E), outputs of a direction (B, T, H), logits (B,).
Lengths come from the ids and stay on the device: nothing waits for it.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from helpers.course.draws import Dropout
from helpers.data.vocabulary import PAD, UNKNOWN
from helpers.recurrent.encoder import Encoder, final, words

READERS = {  # --model NAME: the encoder's settings and the pooling
    "bag": ({"cell": None}, "mean"),
    "cnn": ({"cell": None}, "windows"),
    "rnn": ({"cell": "rnn"}, "concat"),
    "lstm": ({"cell": "lstm"}, "concat"),
    "bilstm": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "attention": ({"cell": "lstm", "bidirectional": True}, "attention"),
    "subword": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "best": ({"cell": "lstm", "bidirectional": True, "weight_drop": 0.3}, "concat"),
    "class-ratio": ({"cell": "lstm", "bidirectional": True}, "concat"),
}


class Reader(nn.Module):
    """A classifier on an `Encoder`. forward(ids (B, T)) -> logits (B,); padding changes nothing.

    pooling: "last" state, "mean" or "max" over the words, "concat" of the three (Howard and Ruder 2018),
    "attention": a learned weighted mean. `balance` (2,) weighs the classes in the loss.
    """

    def __init__(self, encoder, pooling="last", dropout=0.4):
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        width = encoder.width * max(1, len(encoder.directions))
        self.query = nn.Linear(width, 1) if pooling == "attention" else None
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(width * (3 if pooling == "concat" else 1), 1))
        self.register_buffer("balance", torch.ones(2))

    def forward(self, ids):
        real = words(ids) != PAD  # (B, T)
        outputs = self.encoder(ids, real.sum(dim=1))
        return self.head(self.pool(outputs, real)).squeeze(1)

    def attention(self, ids):
        """The weight of each word, (B, T), zero on padding; needs pooling="attention"."""
        real = words(ids) != PAD
        return self._weights(torch.cat(self.encoder(ids, real.sum(dim=1)), dim=2), real)

    def _weights(self, h, real):
        return self.query(h).squeeze(2).masked_fill(~real, -torch.inf).softmax(dim=1).nan_to_num()

    def pool(self, outputs, real):
        """[(B, T, H)] -> (B, F). A row without words gives zeros."""
        h, mask = torch.cat(outputs, dim=2), real[..., None]  # (B, T, D·H), (B, T, 1)
        count = mask.sum(dim=1)  # (B, 1)
        parts = []
        if self.pooling in ("last", "concat"):
            parts.append(final(outputs, count[:, 0]))
        if self.pooling in ("mean", "concat"):
            parts.append((h * mask).sum(dim=1) / count.clamp(min=1))
        if self.pooling in ("max", "concat"):
            top = h.masked_fill(~mask, -torch.inf).amax(dim=1)
            parts.append(top.masked_fill(count == 0, 0))
        if self.pooling == "attention":
            parts.append((h * self._weights(h, real)[..., None]).sum(dim=1))
        return torch.cat(parts, dim=1)


class WindowReader(nn.Module):
    """A convolutional classifier (Kim 2014): forward(ids (B, T)) -> logits (B,); padding changes nothing.

    `filters` patterns of each width slide over the words; of each only the best match in the text is kept. A window
    may begin at every word and runs over the text's end into zeros.
    """

    def __init__(self, encoder, widths=(3, 4, 5), filters=100, dropout=0.4):
        super().__init__()
        self.encoder = encoder  # without a cell: it embeds
        self.windows = nn.ModuleList(nn.Conv1d(encoder.width, filters, width) for width in widths)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(filters * len(widths), 1))
        self.register_buffer("balance", torch.ones(2))

    def forward(self, ids):
        real = words(ids) != PAD  # (B, T)
        x = self.encoder(ids, real.sum(dim=1))[0] * real[..., None]  # (B, T, E)
        found = []
        for conv in self.windows:
            h = conv(F.pad(x.transpose(1, 2), (0, conv.kernel_size[0] - 1))).relu()  # (B, filters, T)
            found.append((h * real[:, None]).amax(dim=2))  # after relu the least is 0
        return self.head(torch.cat(found, dim=1)).squeeze(1)


def build_reader(kind, size):
    """A new, untrained reader of one of the kinds in READERS for a vocabulary of `size`."""
    settings, pooling = READERS[kind]
    if pooling == "windows":
        return WindowReader(Encoder(size, **settings))
    return Reader(Encoder(size, **settings), pooling)


@torch.no_grad()
def deletions(model, row):
    """What each word adds: the logit of a text less its logit without that word, (T,). row (T,) or (T, G), T >= 2.

    Leave-one-out, the plainest measure of what a word does (Li, Monroe and Jurafsky 2016).
    """
    size = len(row)
    others = ~torch.eye(size, dtype=torch.bool, device=row.device)
    shorter = row.expand(size, *row.shape)[others].view(size, size - 1, *row.shape[1:])
    return model(row[None]) - model(shorter)


def reading_step(model, batch):
    """Sums over the batch: weighted cross-entropy, correct answers."""
    ids, y = batch
    logits = model(ids)
    loss = F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none")
    return {"loss": (loss * model.balance[y]).sum(), "correct": ((logits > 0) == y).sum()}


class LanguageModel(nn.Module):
    """Predicts the next word (forward stack) and the previous one (backward stack) from an `Encoder`.

    The output's matrix is the embedding's (Press and Wolf 2017). Trained on the texts alone, without labels.
    Only the first `max_words` ids are told apart, others count as <unk>: rare words cost most of the time and
    teach least.
    """

    def __init__(self, encoder, max_words=4000):
        super().__init__()
        self.encoder = encoder
        size, width = encoder.embedding.weight.shape
        self.project = nn.Linear(encoder.width, width)
        self.bias = nn.Parameter(torch.zeros(min(size, max_words)))

    def forward(self, ids):
        """(B,) mean negative log-likelihood of the words of each text, nats a word."""
        outputs, ids = self.encoder(ids, (words(ids) != PAD).sum(dim=1)), words(ids)
        real, total = ids != PAD, 0
        for way, h in enumerate(outputs):
            h, target = (h[:, 1:], ids[:, :-1]) if way else (h[:, :-1], ids[:, 1:])
            target = target.masked_fill(target >= len(self.bias), UNKNOWN)
            target = target.masked_fill(~real[:, 1:], PAD)  # a pair counts if both words are real
            weight = self.encoder.embedding.weight[: len(self.bias)]
            logits = F.linear(self.project(h), weight, self.bias)  # (B, T-1, V)
            loss = F.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD, reduction="none")
            total = total + loss.sum(dim=1)
        pairs = (real.sum(dim=1) - 1).clamp(min=1) * len(outputs)
        return total / pairs


def language_step(model, batch):
    """Sums over the batch of texts: nats a word."""
    return {"loss": model(batch[0]).sum()}

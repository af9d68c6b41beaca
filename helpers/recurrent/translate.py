"""Sequence to sequence: an encoder-decoder that translates, with and without attention.

Shapes: source ids (B, S), target ids (B, T), memory (B, S, M).
"""

from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from helpers.course.batches import Tensors
from helpers.course.training import fit
from helpers.data.vocabulary import PAD, Vocabulary, pad
from helpers.recurrent.encoder import Encoder, final
from helpers.recurrent.numerals import english, korean, numbers

# --- encoder and decoder --------------------------------------------------------------------------

START, END = 2, 3  # ids of <s> and </s>, the first two tokens of a target's vocabulary


class Translator(nn.Module):
    """Encoder-decoder of LSTMs (Sutskever 2014), with `attention` that of Luong (2015).

    forward(source (B, S), target (B, T) beginning with <s>) -> logits (B, T, V) of the token after each. Without
    attention all that the decoder knows of the source is one state of size `hidden`.
    """

    def __init__(self, source_size, target_size, width=32, hidden=96, attention=True):
        super().__init__()
        self.encoder = Encoder(source_size, "lstm", width, hidden, bidirectional=True, dropout=0.0, word_dropout=0.0)
        self.start = nn.Linear(2 * hidden, hidden)
        self.embedding = nn.Embedding(target_size, width, padding_idx=PAD)
        self.decoder = nn.LSTM(width, hidden, batch_first=True)
        self.key = nn.Linear(2 * hidden, hidden, bias=False) if attention else None
        self.mix = nn.Linear(3 * hidden, hidden) if attention else None
        self.out = nn.Linear(hidden, target_size)

    def encode(self, source):
        """-> memory (B, S, 2H), real (B, S), state: h, c (1, B, H)."""
        real = source != PAD
        outputs = self.encoder(source, real.sum(dim=1))
        # into c, which the decoder keeps; handed over in h alone, with c = 0, it is forgotten within a few tokens
        c = self.start(final(outputs, real.sum(dim=1))).unsqueeze(0)
        return torch.cat(outputs, dim=2), real, (torch.tanh(c), c)

    def decode(self, target, memory, real, state):
        """Some steps of the decoder: target (B, T) -> logits (B, T, V), state, attention (B, T, S) or None."""
        h, state = self.decoder(self.embedding(target), state)  # (B, T, H)
        weight = None
        if self.key is not None:
            score = h @ self.key(memory).transpose(1, 2)  # (B, T, S) = h_tᵀ W m_s
            weight = score.masked_fill(~real[:, None], -torch.inf).softmax(dim=2)
            h = torch.tanh(self.mix(torch.cat([h, weight @ memory], dim=2)))  # (B, T, H)
        return self.out(h), state, weight

    def forward(self, source, target):
        return self.decode(target, *self.encode(source))[0]


def translation_step(model, batch):
    """Sums over the batch: cross-entropy a token, sentences in which every token is right given those before."""
    source, target = batch
    logits, wanted = model(source, target[:, :-1]), target[:, 1:]
    loss = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=PAD, reduction="none")  # (B, T-1)
    right = (logits.argmax(dim=2) == wanted) | (wanted == PAD)
    return {"loss": (loss.sum(dim=1) / (wanted != PAD).sum(dim=1)).sum(), "correct": right.all(dim=1).sum()}


@torch.no_grad()
def greedy(model, source, max_length):
    """The likeliest token at each step: source (B, S) -> list of B lists of ids, without <s> and </s>."""
    memory, real, state = model.encode(source)
    token = torch.full((len(source), 1), START, device=source.device)
    tokens = []
    for _ in range(max_length):
        logits, state, _ = model.decode(token, memory, real, state)
        token = logits.argmax(dim=2)
        tokens.append(token)
    return [_until_end(row) for row in torch.cat(tokens, dim=1).tolist()]


@torch.no_grad()
def beam(model, source, max_length, width=4):
    """The likeliest sentence found when the `width` best beginnings are kept at each step -> as `greedy`.

    A sentence's score is the sum of its log-probabilities; </s> ends it, and it keeps its place by its score.
    """
    memory, real, (h, c) = model.encode(source)
    batch, vocabulary = len(source), model.out.out_features
    memory, real = memory.repeat_interleave(width, dim=0), real.repeat_interleave(width, dim=0)  # (B·k, ...)
    state = h.repeat_interleave(width, dim=1), c.repeat_interleave(width, dim=1)
    tokens = torch.full((batch * width, 1), START, device=source.device)
    score = torch.full((batch, width), -torch.inf, device=source.device, dtype=h.dtype)
    score[:, 0] = 0  # the beams begin alike: only the first one counts
    done = torch.zeros(batch * width, dtype=torch.bool, device=source.device)
    frozen = torch.full((vocabulary,), -torch.inf, device=source.device, dtype=h.dtype)
    frozen[PAD] = 0  # what is finished goes on with padding, at no cost
    first = torch.arange(batch, device=source.device)[:, None] * width
    for _ in range(max_length):
        logits, state, _ = model.decode(tokens[:, -1:], memory, real, state)
        step = torch.where(done[:, None], frozen, logits[:, 0].log_softmax(dim=1))  # (B·k, V)
        total = (score.view(-1, 1) + step).view(batch, width * vocabulary)
        score, choice = total.topk(width, dim=1)  # (B, k)
        origin = (first + choice // vocabulary).view(-1)
        token = (choice % vocabulary).view(-1, 1)
        tokens = torch.cat([tokens[origin], token], dim=1)
        state = tuple(s[:, origin] for s in state)
        done = done[origin] | (token[:, 0] == END)
    return [_until_end(row) for row in tokens.view(batch, width, -1)[:, 0, 1:].tolist()]


def _until_end(ids):
    return ids[: ids.index(END)] if END in ids else ids


def parallel(pairs, source=None, target=None):
    """Pairs of token lists -> (Tensors of ids, source vocabulary, target vocabulary); given ones are used."""
    left, right = zip(*pairs)
    source, target = source or Vocabulary.build(left), target or Vocabulary(_targets(right))
    rows = [[START, *target.encode(tokens), END] for tokens in right]
    return Tensors(pad([source.encode(tokens) for tokens in left]), pad(rows)), source, target


def _targets(texts):
    return ["<s>", "</s>", *Vocabulary.build(texts).tokens]


def train_translator(attention, n=6000, digits=8, epochs=15, lr=3e-3, seed=0, tests=1000, width=4, at=(), **options):
    """Train English numbers -> Korean numbers; test on others -> (model, vocabularies, report dict).

    report: exact match of `greedy` and `beam`, `bleu`, `by_length`: {source tokens: (right, of)} for greedy, and
    `curve`: {epoch: by_length} after each epoch in `at`. The same seed gives the same numbers with and without
    attention.
    """
    found = numbers(n + tests, digits, seed)
    pairs = [(english(k), korean(k)) for k in found]
    train, source, target = parallel(pairs[:n])
    test, _, _ = parallel(pairs[n:], source, target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Translator(len(source), len(target), attention=attention)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    max_length, curve = test.tensors[1].shape[1], {}

    def judge(model, epoch):
        if epoch in at:
            curve[epoch] = _by_length(pairs[n:], _say(greedy, model.eval(), test, max_length, target))

    fit(
        model,
        train,
        step=translation_step,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=64,
        clip=1.0,
        seed=seed,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        label="translation",
        judge=judge,
        **options,
    )
    wanted = [right for _, right in pairs[n:]]
    said = {
        "greedy": _say(greedy, model.eval(), test, max_length, target),
        "beam": _say(partial(beam, width=width), model, test, max_length, target),
    }
    report = {name: float(np.mean([a == b for a, b in zip(rows, wanted)])) for name, rows in said.items()}
    report |= {"bleu": bleu(said["greedy"], wanted), "by_length": _by_length(pairs[n:], said["greedy"]), "curve": curve}
    return model, (source, target), report


def _say(decode, model, test, max_length, target):
    ids = test.tensors[0].to(next(model.parameters()).device)
    return [target.decode(row) for row in decode(model, ids, max_length)]


def _by_length(pairs, said):
    """{source tokens: (right, of)}, in the order of the lengths."""
    found = {}
    for (left, right), ours in zip(pairs, said, strict=True):
        hits, of = found.get(len(left), (0, 0))
        found[len(left)] = hits + (ours == right), of + 1
    return dict(sorted(found.items()))


def bleu(hypotheses, references, order=4):
    """Corpus BLEU of token lists, one reference each, 0..1 (Papineni 2002), by sacrebleu, without smoothing."""
    from sacrebleu import BLEU

    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    said, wanted = ([" ".join(tokens) for tokens in texts] for texts in (hypotheses, references))
    return min(1.0, metric.corpus_score(said, [wanted]).score / 100)  # rounding can lift it above 100

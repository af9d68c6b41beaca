"""A small pretrained transformer, all-MiniLM-L6-v2, in plain PyTorch: text -> 384 numbers, without training.

An encoder as BERT's (Devlin et al. 2019): 6 layers, 384 wide, 12 heads, 22.7 million weights. It was distilled from a
language model that had read far more text than the reviews are (Wang et al. 2020, "MiniLM"), then trained on a billion
pairs of sentences so that those of like meaning lie close together (Reimers and Gurevych 2019, "Sentence-BERT").
`load` fetches its weights, 83 MB, on the first call.

Shapes: ids (B, T), padded with 0 on the right; hidden states (B, T, 384), sentences (B, 384).
"""

import json
import unicodedata

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers.data.vocabulary import PAD, length_buckets, pad


class WordPiece:
    """BERT's tokens: words in lower case without accents, rare ones in pieces: "unmoved" -> un ##moved.

    pieces  {piece: its number}, those that go on a word marked by ##
    """

    def __init__(self, pieces, longest=100):
        self.pieces, self.longest = pieces, longest
        self.unknown, self.first, self.last = (pieces[name] for name in ("[UNK]", "[CLS]", "[SEP]"))
        self.cache = {}

    @classmethod
    def read(cls, path):
        """From a `tokenizer.json`."""
        return cls(json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"])

    def words(self, text):
        """Words and marks; each mark and each Chinese character stands alone."""
        out = []
        for char in unicodedata.normalize("NFD", _clean(text).lower()):
            kind = unicodedata.category(char)
            if kind == "Mn":  # an accent
                continue
            alone = kind.startswith("P") or char in "$+<=>^`|~" or _chinese(char)
            out.append(f" {char} " if alone else char)
        return "".join(out).split()

    def word_pieces(self, word):
        """The numbers of the longest pieces, from the left; that of [UNK] where a part of the word is no piece."""
        if word not in self.cache:
            found, start = [], 0
            while start < len(word) <= self.longest:
                ends = range(len(word), start, -1)
                known = (self.pieces.get("##" * (start > 0) + word[start:end]) for end in ends)
                end, number = next(((e, k) for e, k in zip(ends, known) if k is not None), (None, None))
                if number is None:
                    break
                found, start = [*found, number], end
            self.cache[word] = found if start == len(word) else [self.unknown]
        return self.cache[word]

    def encode(self, text, length=128):
        """[CLS] pieces [SEP], at most `length` numbers."""
        ids = [number for word in self.words(text) for number in self.word_pieces(word)]
        return [self.first, *ids[: length - 2], self.last]


def _clean(text):
    """White space as " ", without control characters."""
    kept = (" " if c.isspace() else c for c in text if c in "\t\n\r" or unicodedata.category(c)[0] != "C")
    return "".join(c for c in kept if c != "\ufffd")


def _chinese(char):
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf" or "\uf900" <= char <= "\ufaff"


class Layer(nn.Module):
    """Attention, then two linear maps on each word; after each of the two the sum with its input is normalised."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))

    def forward(self, x, mask):
        """x (B, T, W), mask (B, 1, 1, T): which words may be looked at."""
        b, t, w = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, heads, T, W / heads)
        x = self.norm1(x + self.mix(found.transpose(1, 2).reshape(b, t, w)))
        return self.norm2(x + self.narrow(F.gelu(self.wide(x))))


class Transformer(nn.Module):
    """forward(ids (B, T)) -> (B, width), the mean of the last layer's states over the real tokens, of length 1."""

    def __init__(self, size=30522, width=384, layers=6, heads=12, inner=1536, positions=512):
        super().__init__()
        self.token, self.place = nn.Embedding(size, width), nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads, inner) for _ in range(layers))

    def states(self, ids):
        """(B, T, width) after the last layer."""
        x = self.norm(self.token(ids) + self.place(torch.arange(ids.shape[1], device=ids.device)))
        for layer in self.layers:
            x = layer(x, (ids != PAD)[:, None, None])
        return x

    def forward(self, ids):
        real = (ids != PAD)[..., None]
        return F.normalize((self.states(ids) * real).sum(dim=1) / real.sum(dim=1).clamp(min=1), dim=1)


PARTS = {  # our names of a layer's parts: those in the file
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm2": "output.LayerNorm",
}


def load():
    """(Transformer with its trained weights, WordPiece); downloaded on the first call."""
    from safetensors.torch import load_file

    from helpers.data.store import fetch

    folder = fetch("minilm")
    return from_tensors(load_file(folder / "model.safetensors")), WordPiece.read(folder / "tokenizer.json")


def from_tensors(stored):
    """The Transformer of BERT's tensors, {name in the file: tensor}. All are single sentences, of type 0."""
    layers = 1 + max(int(name.split(".")[2]) for name in stored if name.startswith("encoder.layer."))
    state = {
        "token.weight": stored["embeddings.word_embeddings.weight"],
        "place.weight": stored["embeddings.position_embeddings.weight"]
        + stored["embeddings.token_type_embeddings.weight"][0],
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = stored[f"embeddings.LayerNorm.{kind}"]
        for k in range(layers):
            for ours, theirs in PARTS.items():
                state[f"layers.{k}.{ours}.{kind}"] = stored[f"encoder.layer.{k}.{theirs}.{kind}"]
    (size, width), inner = state["token.weight"].shape, state["layers.0.wide.bias"].shape[0]
    model = Transformer(size, width, layers, width // 32, inner, len(state["place.weight"]))
    model.load_state_dict(state)
    return model


@torch.no_grad()
def embed(model, rows, batch_size=64):
    """(N, width) float32 of encoded texts, a list of lists of numbers."""
    out = torch.empty(len(rows), model.norm.normalized_shape[0])
    for batch in length_buckets([len(row) for row in rows], batch_size):
        out[batch] = model.eval()(pad([rows[i] for i in batch]))
    return out


def linear_head(x, labels, groups, strengths=(1.0, 3.0, 10.0, 30.0, 100.0), seed=0):
    """Logistic regression on sentences x (N, W), balanced; its C is chosen on a tenth of the groups -> (model, C)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    from helpers.data.texts import split_groups

    def fitted(strength, rows):
        return LogisticRegression(C=strength, class_weight="balanced", max_iter=2000).fit(x[rows], labels[rows])

    train, valid = split_groups(groups, 0.1, seed)
    score = {c: balanced_accuracy_score(labels[valid], fitted(c, train).predict(x[valid])) for c in strengths}
    best = max(score, key=score.get)
    return fitted(best, np.arange(len(x))), best

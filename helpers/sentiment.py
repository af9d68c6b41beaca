"""Is a text for or against? Training, asking, storing and looking at the models of `ngrams` and `readers`."""

import html
import re
from copy import deepcopy
from pathlib import Path
from time import monotonic

import numpy as np
import torch
import torch.nn as nn

from helpers.data import UserError
from helpers.ngrams import Hints, NGramModel, naive_bayes, ratio_regression, tfidf_regression
from helpers.readers import Encoder, LanguageModel, Reader, language_step, reading_step
from helpers.text import UNITS, UNKNOWN, Sequences, Spelling, Table, Vocabulary, length_buckets, pad, split_groups
from helpers.training import fit, load_model, save_model

LONGEST = 1000  # a recurrent reader reads so many tokens of a text and no more

READERS = {  # --model NAME: the encoder's settings and the pooling
    "bag": ({"cell": None}, "mean"),
    "rnn": ({"cell": "rnn"}, "concat"),
    "lstm": ({"cell": "lstm"}, "concat"),
    "bilstm": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "attention": ({"cell": "lstm", "bidirectional": True}, "attention"),
    "spelled": ({"cell": "lstm", "bidirectional": True}, "concat"),
    "best": ({"cell": "lstm", "bidirectional": True, "weight_drop": 0.3}, "concat"),
    "hinted": ({"cell": "lstm", "bidirectional": True}, "concat"),
}
HINTED = ("hinted",)  # these read tokens with `ngrams.Hints`, what counting says of them
SPELLED = ("spelled", "best")  # these read tokens with their character n-grams, of these lengths:
SPELLING = {unit: (3, 5) if unit == "word" else (1, 3) for unit in UNITS}
LINEAR = {"naive-bayes": naive_bayes, "tfidf": tfidf_regression, "linear": ratio_regression}
GRAMS = {
    "word": (1, 2),
    "space": (1, 2),
    "morpheme": (1, 2),
    "syllable": (1, 3),
    "jamo": (1, 7),
    "syllable+joined": (1, 3),
    "syllable+morpheme": (1, 3),
}


class Classifier:
    """One or several trained models (their scores are averaged) and what turns a text into their input.

    score(texts) -> (N,) float64, the probability of `classes[1]`. A text without a known token, an empty one
    for example, gets `prior`, the share of that class in training: there is nothing else to go by.
    """

    def __init__(self, kind, models, vocabulary, unit, classes, prior):
        self.kind, self.models, self.vocabulary = kind, models, vocabulary
        self.unit, self.classes, self.prior = unit, classes, prior

    def score(self, texts, batch_size=256):
        lists = [self._read_tokens(text) for text in texts]
        if not lists:
            return np.zeros(0)
        rows = [self.vocabulary.encode(tokens) for tokens in lists]
        if self.kind in LINEAR:
            scores = [torch.sigmoid(model(lists)).numpy() for model in self.models]
        else:
            scores = [self._read(model, rows, batch_size) for model in self.models]
        return np.where([known(row).any() for row in rows], np.mean(scores, axis=0), self.prior)

    def _read_tokens(self, text):
        tokens = UNITS[self.unit](text)
        return tokens if self.kind in LINEAR else tokens[:LONGEST]

    @torch.no_grad()
    def _read(self, model, rows, batch_size):
        device, scores = next(model.parameters()).device, torch.zeros(len(rows), dtype=torch.float64)
        for batch in length_buckets([len(row) for row in rows], batch_size):
            logits = model.eval()(pad([rows[i] for i in batch]).to(device))
            scores[batch] = torch.sigmoid(logits).double().cpu()
        return scores.numpy()

    def predict(self, texts):
        """A dict a text: label, score of the second class, tokens, how many were read, how many are known."""
        answers = []
        for text, score in zip(texts, self.score(texts)):
            read = self._read_tokens(text)
            answers.append(
                {
                    "label": self.classes[int(score > 0.5)],
                    "score": float(score),
                    "read": len(read),
                    "tokens": len(UNITS[self.unit](text)),
                    "known": int(known(self.vocabulary.encode(read)).sum()),
                }
            )
        return answers

    def save(self, out, half=False):
        """One file `sentiment.safetensors` in the folder `out`, with `half` in 16 bits a number."""
        config = {
            "task": "sentiment",
            "kind": self.kind,
            "unit": self.unit,
            "classes": self.classes,
            "prior": self.prior,
            "members": len(self.models),
        }
        if self.kind in SPELLED:
            config |= {"tokens": self.vocabulary.vocabulary.tokens, "grams": self.vocabulary.grams}
        elif self.kind in HINTED:
            config |= {
                "tokens": self.vocabulary.vocabulary.tokens,
                "terms": list(self.vocabulary.levels),
                "levels": list(self.vocabulary.levels.values()),
                "high": self.vocabulary.high,
            }
        else:
            config |= {"tokens": self.vocabulary.tokens}
        if self.kind in LINEAR:
            config |= {name: getattr(self.models[0], name) for name in ("terms", "low", "high", "binary")}
        models = nn.ModuleList(self.models)
        return save_model(Path(out) / "sentiment.safetensors", deepcopy(models).half() if half else models, config)

    @classmethod
    def load(cls, out):
        path = Path(out) / "sentiment.safetensors"
        state, config = load_model(path)
        if config.get("task") != "sentiment":
            raise UserError(f"{path} holds no sentiment model; give a folder that `sentiment train` wrote")
        kind, unit = config["kind"], config["unit"]
        if kind in SPELLED:
            vocabulary = Spelling(config["tokens"], config["grams"], *SPELLING[unit])
        elif kind in HINTED:
            vocabulary = Hints(config["tokens"], config["terms"], config["levels"], config["high"])
        else:
            vocabulary = Vocabulary(config["tokens"])
        if kind in LINEAR:
            models = [NGramModel(*(config[name] for name in ("terms", "low", "high", "binary")))]
        else:
            models = [reader(kind, len(vocabulary)) for _ in range(config["members"])]
        nn.ModuleList(models).load_state_dict(state)
        return cls(kind, models, vocabulary, unit, config["classes"], config["prior"])


def known(ids):
    """Which tokens of an encoded text a model knows something of, (T,): themselves or a part of them."""
    ids = np.asarray(ids)
    return (ids > UNKNOWN) if ids.ndim == 1 else (ids > UNKNOWN).any(axis=1)


def reader(kind, size):
    """A new, untrained Reader of one of the kinds in READERS for a vocabulary of `size`."""
    settings, pooling = READERS[kind]
    return Reader(Encoder(size, **settings), pooling)


def train(
    table,
    kind="lstm",
    unit="word",
    *,
    epochs=4,
    pretrain_epochs=8,
    members=None,
    batch_size=32,
    lr=2e-3,
    min_count=2,
    valid_share=0.1,
    seed=0,
    out=None,
    half=False,
    **options,
):
    """Train a model of one of the kinds in LINEAR and READERS on a `Table` -> (Classifier, report dict).

    Readers know the tokens seen `min_count` times and keep the epoch that is best on `valid_share` of the groups
    (of the texts where the table has none); the linear models know all tokens and take all rows. `members` readers
    (1; "best", "hinted": 5) differ in seed and in those groups. "best" first learns the language of the training
    texts for `pretrain_epochs`. With `out`, the classifier (in 16 bits if `half`) and the training states go into
    that folder. Other options (resume, device, ...) go to `training.fit`.
    """
    if kind not in LINEAR and kind not in READERS:
        raise UserError(f"there is no model {kind!r}; choose one of {', '.join([*LINEAR, *READERS])}")
    if unit not in UNITS:
        raise UserError(f"there is no unit {unit!r}; choose one of {', '.join(UNITS)}")
    _both_classes(table.labels)
    from accelerate.state import PartialState

    start = monotonic()
    groups = table.texts if table.groups is None else table.groups
    lists = [UNITS[unit](text) for text in table.texts]
    if kind in SPELLED:
        low, high = SPELLING[unit]
        vocabulary = Spelling.build(lists, min_count, low=low, high=high)
    elif kind in HINTED:
        lists = [tokens[:LONGEST] for tokens in lists]
        high = min(3, GRAMS[unit][1])
        vocabulary, rows = Hints.build(lists, table.labels, groups, min_count, high, seed=seed)
    else:
        vocabulary = Vocabulary.build(lists, min_count=1 if kind in LINEAR else min_count)
    if len(vocabulary if kind not in HINTED else vocabulary.vocabulary) == 2:
        raise UserError(
            f"no {unit} occurs {'twice' if min_count == 2 else f'{min_count} times'} in these texts: too "
            "little to train on"
        )
    prior, results, valid_n = float(table.labels.mean()), [], 0
    if kind in LINEAR:
        models = [LINEAR[kind](lists, table.labels, *GRAMS[unit])]
    else:
        if kind not in HINTED:
            rows = [vocabulary.encode(tokens[:LONGEST]) for tokens in lists]
        members, models = members or (5 if kind in ("best", "hinted") else 1), []
        for member in range(members):
            own = 1000 * seed + member
            split = split_groups(groups, valid_share, own)
            valid_n += len(split[1])
            model, result = _train_reader(
                kind,
                len(vocabulary),
                rows,
                table.labels,
                split,
                seed=own,
                epochs=epochs,
                pretrain_epochs=pretrain_epochs if kind == "best" else 0,
                lr=lr,
                out=Path(out) / f"member{member}" if out else None,
                shared={"batch_size": batch_size, "config": {"model": kind, "unit": unit, "lr": lr}, **options},
            )
            models.append(model)
            results.append(result)
    classifier = Classifier(kind, models, vocabulary, unit, table.classes, prior)
    if out and PartialState().is_main_process:
        classifier.save(out, half)
    return classifier, {
        "model": kind,
        "unit": unit,
        "n": len(table),
        "vocabulary": len(vocabulary),
        "members": len(models),
        "seconds": monotonic() - start,
        "epochs": max((r.epochs for r in results), default=0),
        "resumed_from": next((r.resumed_from for r in results if r.resumed_from), None),
        "valid_accuracy": [r.best["valid_correct"] for r in results],
        "valid_n": valid_n,
    }


def _both_classes(labels):
    if len(np.unique(labels)) != 2:
        raise UserError("training needs texts of both classes, also without the groups that are kept back")


def _train_reader(kind, size, rows, labels, split, *, seed, epochs, pretrain_epochs, lr, out, shared):
    """One reader, its language first; `shared` are settings of both calls of `fit`."""
    kept, held = split
    _both_classes(labels[kept])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = reader(kind, size)
        language = LanguageModel(model.encoder)
    share = torch.tensor([np.mean(labels[kept] == k) for k in (0, 1)])
    model.balance.copy_(1 / (2 * share))  # both classes weigh the same
    y = torch.from_numpy(labels)
    train_set, valid_set = (Sequences([rows[i] for i in part], y[part]) for part in (kept, held))
    encoder_lr = lr
    if pretrain_epochs:
        optimizer = torch.optim.AdamW(language.parameters(), lr, weight_decay=1e-2)
        fit(
            language,
            train_set,
            valid_set,
            step=language_step,
            optimizer=optimizer,
            epochs=pretrain_epochs,
            scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, pretrain_epochs),
            seed=seed,
            clip=1.0,
            keep="best",
            out=out and out / "language",
            label="language model",
            **shared,
        )
        encoder_lr = lr / 4  # what is learned should not be lost
    rest = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": model.encoder.parameters(), "lr": encoder_lr}, {"params": rest}], lr, weight_decay=1e-2
    )
    result = fit(
        model,
        train_set,
        valid_set,
        step=reading_step,
        optimizer=optimizer,
        epochs=epochs,
        seed=seed,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        clip=1.0,
        keep="best",
        monitor="valid_correct",
        out=out,
        label=kind,
        **shared,
    )
    return model, result


def evaluate(classifier, table):
    """accuracy (k/N), balanced accuracy (mean over the two classes), n."""
    right = (classifier.score(table.texts) > 0.5) == table.labels
    recalls = [right[table.labels == k].mean() for k in (0, 1) if (table.labels == k).any()]
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls)), "n": len(table)}


def compare(table, kinds, unit="word", seeds=3, share=0.2, budgets=None, **options):
    """The table of the lecture: each kind on the same splits by group, `seeds` of them, test on `share`.

    A seed draws the split and, for readers, the start values: the linear models vary too, and differences can be
    taken seed by seed. -> dict kind -> {"accuracy", "balanced_accuracy", "shuffled" (balanced accuracy on the test
    texts with their words in random order), "seconds"}: lists, one value a seed. "majority" is a kind here.
    `budgets` {kind: options of `train`} changes some of them.
    """
    groups = table.texts if table.groups is None else table.groups
    results = {kind: {} for kind in kinds}
    for seed in range(seeds):
        kept, held = (table.rows(part) for part in split_groups(groups, share, seed))
        mixed = Table(shuffled(held.texts, unit, seed), held.labels, held.groups, held.classes)
        for kind in kinds:
            if kind == "majority":
                share_of_larger = float((held.labels == (kept.labels.mean() > 0.5)).mean())
                row = {"accuracy": share_of_larger, "balanced_accuracy": 0.5, "shuffled": 0.5, "seconds": 0.0}
            else:
                own = {} if kind in LINEAR else options | (budgets or {}).get(kind, {})
                classifier, report = train(kept, kind, unit, seed=seed, **own)
                row = {name: value for name, value in evaluate(classifier, held).items() if name != "n"}
                row |= {"shuffled": evaluate(classifier, mixed)["balanced_accuracy"], "seconds": report["seconds"]}
            for name, value in row.items():
                results[kind].setdefault(name, []).append(value)
    return results


def accuracy_by_length(classifier, table, edges=(0, 10, 20, 30, 10**9)):
    """[(from, to, accuracy, n)]: texts with from <= tokens < to."""
    lengths = np.array([len(UNITS[classifier.unit](text)) for text in table.texts])
    right = (classifier.score(table.texts) > 0.5) == table.labels
    parts = [(low, high, (low <= lengths) & (lengths < high)) for low, high in zip(edges, edges[1:])]
    return [(low, high, float(right[part].mean()), int(part.sum())) for low, high, part in parts if part.any()]


def film_reviews():
    """The corpus `reviews` as a Table, grouped by film."""
    from helpers.data import reviews

    frame = reviews()
    return Table(frame["text"].tolist(), frame["label"].to_numpy(), frame["film"].to_numpy(), ["rotten", "fresh"])


def published(name):
    """All of "imdb" (50,000 whole reviews, Maas et al., ACL 2011) or "nsmc" (200,000 short Korean ones), downloaded:
    (train, test) as their authors split them, IMDb by film."""
    from helpers import data

    frames = [{"imdb": data.imdb, "nsmc": data.nsmc}[name](split) for split in ("train", "test")]
    return tuple(
        Table(
            [text.replace("<br />", " ") for text in frame["text"]],
            frame["label"].to_numpy(),
            None,
            ["negative", "positive"],
        )
        for frame in frames
    )


# --- looking at it --------------------------------------------------------------------------------


def running_score(classifier, text, most=200):
    """Score after each piece of the text, as it is read: (pieces, scores (P,)); pieces end in white space.

    Every beginning of the text is one text to be scored, so it works for each model. At most `most` pieces.
    """
    pieces = re.findall(r"\s*\S+\s*", text)[:most]
    return pieces, classifier.score(["".join(pieces[: k + 1]) for k in range(len(pieces))])


def marked(pieces, scores):
    """HTML: each piece under its score in per cent, tinted orange (against) to blue (for); text is escaped."""
    spans = []
    for piece, score in zip(pieces, scores):
        colour, depth = ("86,180,233", score - 0.5) if score > 0.5 else ("230,159,0", 0.5 - score)
        spans.append(
            f'<ruby style="background:rgba({colour},{2 * depth:.2f})">{html.escape(piece)}'
            f"<rt>{100 * score:.0f}</rt></ruby>"
        )
    return f'<p dir="auto">{" ".join(spans)}</p>'


def shuffled(texts, unit="word", seed=0):
    """The same texts with their tokens in random order: what a model still knows of them, a bag would know.

    Words are shuffled for unit "word" and what stands between spaces for any other.
    """
    rng, split = np.random.default_rng(seed), UNITS["word" if unit == "word" else "space"]
    return [" ".join(rng.permutation(split(text)).tolist()) for text in texts]

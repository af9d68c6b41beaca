"""Is a text for or against? Training and judging the models of `ngrams` and `readers`."""

from pathlib import Path
from time import monotonic

import numpy as np
import torch

from helpers.course.errors import UserError
from helpers.course.training import fit
from helpers.data.texts import split_groups
from helpers.data.vocabulary import Sequences, Vocabulary
from helpers.sentiment.model import CLASS_RATIO, GRAMS, LINEAR, MAX_TOKENS, SUBWORD, SUBWORD_LENGTHS, Classifier
from helpers.sentiment.ngrams import ClassRatios
from helpers.sentiment.readers import READERS, LanguageModel, build_reader, language_step, reading_step
from helpers.sentiment.text import UNITS, SubwordNgrams


def train_classifier(
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
    **options,
):
    """Train a model of one of the kinds in LINEAR and READERS on a `Table` -> (Classifier, report dict).

    Readers know the tokens seen `min_count` times and keep the epoch that is best on `valid_share` of the groups
    (of the texts where the table has none); the linear models know all tokens and take all rows. `members` readers
    (1; "best", "class-ratio": 5) differ in seed and in those groups. "best" first learns the language of the training
    texts for `pretrain_epochs`. With `out`, the training states go into that folder. Other options (resume, device,
    ...) go to `fit`.
    """
    if kind not in LINEAR and kind not in READERS:
        raise UserError(f"there is no model {kind!r}; choose one of {', '.join([*LINEAR, *READERS])}")
    if unit not in UNITS:
        raise UserError(f"there is no unit {unit!r}; choose one of {', '.join(UNITS)}")
    _both_classes(table.labels)
    start = monotonic()
    groups = table.texts if table.groups is None else table.groups
    lists = [UNITS[unit](text) for text in table.texts]
    vocabulary, rows = _encoded(kind, unit, lists, table.labels, groups, min_count, seed)
    if len(vocabulary.vocabulary if kind in CLASS_RATIO else vocabulary) == 2:
        raise UserError(
            f"no {unit} occurs {'twice' if min_count == 2 else f'{min_count} times'} in these texts: "
            "too little to train on"
        )
    prior, results, valid_n = float(table.labels.mean()), [], 0
    if kind in LINEAR:
        models = [LINEAR[kind](lists, table.labels, *GRAMS[unit])]
    else:
        members, models = members or (5 if kind in ("best", "class-ratio") else 1), []
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
        "history": [{"member": member} | entry for member, r in enumerate(results) for entry in r.history],
    }


def _encoded(kind, unit, lists, labels, groups, min_count, seed):
    """What turns tokens into a model's numbers, and the training texts as numbers (None for the linear models)."""
    if kind in LINEAR:
        return Vocabulary.build(lists), None
    read = [tokens[:MAX_TOKENS] for tokens in lists]
    if kind in CLASS_RATIO:
        return ClassRatios.build(read, labels, groups, min_count, min(3, GRAMS[unit][1]), seed=seed)
    if kind in SUBWORD:
        low, high = SUBWORD_LENGTHS[unit]
        vocabulary = SubwordNgrams.build(lists, min_count, low=low, high=high)
    else:
        vocabulary = Vocabulary.build(lists, min_count)
    return vocabulary, [vocabulary.encode(tokens) for tokens in read]


def _both_classes(labels):
    if len(np.unique(labels)) != 2:
        raise UserError("training needs texts of both classes, also after the validation groups are set aside")


def _train_reader(kind, size, rows, labels, split, *, seed, epochs, pretrain_epochs, lr, out, shared):
    """One reader, its language first; `shared` are settings of both calls of `fit`."""
    train_rows, valid_rows = split
    _both_classes(labels[train_rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_reader(kind, size)
        language = LanguageModel(model.encoder) if pretrain_epochs else None
    share = torch.tensor([np.mean(labels[train_rows] == k) for k in (0, 1)])
    model.balance.copy_(1 / (2 * share))  # both classes weigh the same
    y = torch.from_numpy(labels)
    train_set, valid_set = (Sequences([rows[i] for i in part], y[part]) for part in split)
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
        mode="max",
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


def accuracy_by_length(classifier, table, edges=(0, 10, 20, 30, 10**9)):
    """[(from, to, accuracy, n)]: texts with from <= tokens < to."""
    lengths = np.array([len(UNITS[classifier.unit](text)) for text in table.texts])
    right = (classifier.score(table.texts) > 0.5) == table.labels
    parts = [(low, high, (low <= lengths) & (lengths < high)) for low, high in zip(edges, edges[1:])]
    return [(low, high, float(right[part].mean()), int(part.sum())) for low, high, part in parts if part.any()]

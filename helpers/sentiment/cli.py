"""`python -m helpers sentiment ...`: lecture 09 on a table of your own texts."""

import sys
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(
    name="sentiment", no_args_is_help=True, help="Sentiment: train, evaluate and use a classifier of texts."
)
FILES = ("last.safetensors", "sentiment.safetensors", "member*/**/last.safetensors")  # of a run that exists
KINDS = {"reviews": "reviews", "tsv": "tsv:PATH"}

Data = Annotated[
    str, typer.Option("--data", help="tsv:PATH (UTF-8, first line names the columns text and label), or reviews.")
]
Group = Annotated[
    str | None, typer.Option("--group", help="Column whose values a split keeps together: the film, the author.")
]


def _load(data, group=None, classes=None):
    """The Table of --data."""
    from helpers.data.texts import film_reviews, load_tsv

    kind, path = cli.kind_and_path(data, KINDS)
    if kind == "tsv":
        return load_tsv(path, group, classes)
    if group not in (None, "film"):
        raise UserError(f"--group must be film for --data reviews, which are grouped by film; got {group!r}")
    return film_reviews()


@app.command()
@clear
def train(
    data: Data = "reviews",
    group: Group = None,
    unit: Annotated[
        Literal["word", "space", "syllable", "jamo", "morpheme", "syllable+joined", "syllable+morpheme"],
        typer.Option(help="What a text is read in."),
    ] = "word",
    model: Annotated[
        Literal[
            "naive-bayes",
            "tfidf",
            "linear",
            "bag",
            "cnn",
            "rnn",
            "lstm",
            "bilstm",
            "attention",
            "subword",
            "best",
            "class-ratio",
        ],
        typer.Option(help="The first three count n-grams; the others read."),
    ] = "lstm",
    members: Annotated[
        int | None, typer.Option(min=1, help="Readers whose scores are averaged; 1, or 5 for best and class-ratio.")
    ] = None,
    pretrain_epochs: Annotated[int, typer.Option(min=0, help="Epochs in which best learns the language first.")] = 8,
    min_count: Annotated[int, typer.Option(min=1, help="How often a reader must see a token to know it.")] = 2,
    test_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of the groups that are kept back and tested on; 0: no test, all are learned from.",
        ),
    ] = 0.0,
    epochs: cli.Epochs = None,
    out: cli.Out = Path("runs/sentiment"),
    seed: cli.Seed = 0,
    half: Annotated[bool, typer.Option("--half", help="Store the model in 16 bits a number.")] = False,
    batch_size: cli.BatchSize = 32,
    lr: cli.LearningRate = None,
    resume: cli.Resume = False,
    device: cli.Device = "auto",
    precision: cli.Precision = "auto",
    compile: cli.Compile = False,
    json_: cli.Json = False,
):
    """Train a classifier of texts.

    The accuracy reported is that on texts kept back: on --test-share of the groups, or else, where all are learned
    from, on the tenth that chose the best epoch (readers) or was kept back in a first fit (linear models).
    """

    def run(options, place):
        from helpers.data.texts import split_groups
        from helpers.sentiment.model import LINEAR
        from helpers.sentiment.train import evaluate, train_classifier

        table, tested = _load(data, group), None
        groups = table.texts if table.groups is None else table.groups
        if test_share:
            table, tested = (table.rows(part) for part in split_groups(groups, test_share, seed))
        cli.note(f"{len(table)} texts to learn from, classes {' and '.join(table.classes)}, model {model}, unit {unit}")
        given = {"members": members, "lr": lr, "epochs": epochs}
        options |= {name: value for name, value in given.items() if value is not None}
        options |= {"pretrain_epochs": pretrain_epochs, "min_count": min_count}
        if model in LINEAR and tested is None:
            learned, tested = (table.rows(part) for part in split_groups(groups, 0.1, seed))
            scores = evaluate(train_classifier(learned, model, unit)[0], tested)
        classifier, report = train_classifier(table, model, unit, batch_size=batch_size, compile=compile, **options)
        if test_share:
            scores = evaluate(classifier.to(place), tested)
        elif model not in LINEAR:
            right = report["valid_accuracy"]
            scores = {"accuracy": sum(right) / len(right), "n": report["valid_n"]}
        history, measured_on = report.pop("history"), "test" if test_share else "validation"
        facts = scores | report
        facts |= {"n": scores["n"], "train": len(table), "measured_on": measured_on, "classes": table.classes}
        text = f"accuracy {facts['accuracy']:.4f} on {facts['n']} {measured_on} texts"
        return cli.Trained(facts, text, history, lambda: classifier.save(out, half))

    cli.train_command(
        run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_, files=FILES
    )


@app.command("eval")
@clear
def evaluate_(weights: cli.Weights, data: Data, device: cli.Device = "auto", json_: cli.Json = False):
    """Accuracy of a trained classifier on a table, with Wilson's 95 % interval; balanced accuracy and recalls."""
    from helpers.course.claims import proportion
    from helpers.sentiment.train import evaluate

    started, classifier = monotonic(), _load_classifier(weights, device)
    table = _load(data, classes=classifier.classes)
    if table.classes != classifier.classes:
        raise UserError(
            f"the model was trained on the classes {', '.join(classifier.classes)}; --data has "
            f"{', '.join(table.classes)}: use data with the same classes"
        )
    scores = evaluate(classifier, table)
    known = proportion(round(scores["accuracy"] * scores["n"]), scores["n"])
    facts = scores | {"low": known.low, "high": known.high, "seconds": monotonic() - started}
    cli.answer(
        facts,
        json_,
        f"accuracy {known.mean:.4f} (95 % interval {known.low:.4f} to {known.high:.4f}), balanced "
        f"{scores['balanced_accuracy']:.4f}, on {known.n} texts",
    )


@app.command()
@clear
def predict(
    texts: Annotated[list[str], typer.Argument(help="Texts; - for those of standard input, one a line.")],
    weights: cli.Weights,
    device: cli.Device = "auto",
    json_: cli.Json = False,
):
    """The score of each text, 0 to 1 for the second class, and the running score after each of its first words."""
    from helpers.data.texts import text_lines

    found = []
    for number, text in enumerate(texts, start=1):
        if any("\ud800" <= c <= "\udfff" for c in text):  # bytes that were no UTF-8
            raise UserError(f"text {number} is not UTF-8: convert it, with iconv for example")
        found += text_lines(sys.stdin.buffer.read(), "standard input") if text == "-" else [text]
    classifier, rows = _load_classifier(weights, device), []
    for text, answer in zip(found, classifier.predict(found)):
        pieces, scores = classifier.running_score(text)
        rows.append(
            {"text": text} | answer | {"words": [piece.strip() for piece in pieces], "running": scores.tolist()}
        )
    lines = []
    for row in rows:
        known = "" if row["known"] else " (no word of it is known: the share of this class in training)"
        lines.append(f"{row['score']:.3f} {row['label']}{known}: {row['text'][:60]}")
        if row["words"]:
            lines.append("  " + " ".join(f"{w} {s:.2f}" for w, s in zip(row["words"], row["running"])))
    cli.answer({"classes": classifier.classes, "predictions": rows}, json_, "\n".join(lines))


def _load_classifier(weights, device):
    """The Classifier that is stored in the folder `weights`, its readers on the device."""
    from helpers.course.devices import engine
    from helpers.sentiment.model import Classifier

    return Classifier.load(weights).to(engine(device, "no").device)

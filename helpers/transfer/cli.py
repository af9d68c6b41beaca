"""`python -m helpers transfer ...`: lecture 06 on a folder of your own photographs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(
    name="transfer", no_args_is_help=True, help="Transfer learning: train, evaluate and use a picture classifier."
)
KINDS = {"folder": "folder:PATH", "leaves": "leaves", "leaves-field": "leaves-field"}

Data = Annotated[
    str, typer.Option("--data", help="folder:PATH (train/CLASS/*, val/CLASS/*, or CLASS/*), leaves, or leaves-field.")
]
Only33 = Annotated[bool, typer.Option("--only-33", help="Of a PlantVillage folder use the lecture's 33 classes.")]
Size = Annotated[int, typer.Option("--size", min=32, help="Side of the square pictures, in pixels.")]


def _load(data, size, seed, only_33=False, which="both"):
    """(train, valid, class names) of --data, as data sets of uint8 pictures; one of the first two with `which`."""
    from helpers.data.images import ImageItems, class_folder
    from helpers.data.leaves.rendering import CLASSES, folders

    kind, path = cli.kind_and_path(data, KINDS)
    if kind == "folder":
        train, valid, classes = class_folder(path, seed=seed, classes=folders if only_33 else None)
        parts = [
            ImageItems(items, size).cached() if which in ("both", name) else None
            for name, items in (("train", train), ("valid", valid))
        ]
        return *parts, classes
    from helpers.transfer.experiments import leaf_set

    domain = "field" if kind == "leaves-field" else "lab"
    parts = [
        leaf_set(per_class, first + seed, domain, size) if which in ("both", name) else None
        for name, per_class, first in (("train", 20, 0), ("valid", 10, 10_000))
    ]
    return *parts, list(CLASSES)


def load_classifier(folder):
    """The `Classifier` that `train` wrote into `folder`, and its config {classes, backbone, size}."""
    from helpers.course.training import load_model
    from helpers.transfer.model import Classifier

    weights, config = load_model(Path(folder) / "model.safetensors")
    if not {"classes", "backbone", "size"} <= config.keys():
        raise UserError(f"{folder} does not hold a picture classifier: pass the folder that `transfer train` wrote")
    model = Classifier(len(config["classes"]), config["backbone"], pretrained=False)
    model.load_state_dict(weights)
    return model.eval(), config


@app.command()
@clear
def train(
    data: Data,
    out: cli.Out = Path("runs/transfer"),
    backbone: Annotated[str, typer.Option(help="Built in, or any other network of timm.")] = "efficientnet_lite0",
    freeze: Annotated[
        Literal["base", "half", "none"],
        typer.Option(
            help="base: train the head alone (fast); half: and the later half of the blocks; none: everything."
        ),
    ] = "base",
    pretrained: Annotated[bool, typer.Option(help="Start from ImageNet weights.")] = True,
    epochs: cli.Epochs = None,
    size: Size = 224,
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = 32,
    lr: cli.LearningRate = None,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after so many epochs without a lower validation loss; 0: never.")
    ] = 0,
    only_33: Only33 = False,
    resume: cli.Resume = False,
    device: cli.Device = "auto",
    precision: cli.Precision = "auto",
    compile: cli.Compile = False,
    workers: cli.Workers = 0,
    json_: cli.Json = False,
):
    """Train a classifier on class folders. The weights kept are those of the lowest validation loss."""
    if freeze == "base" and not pretrained:
        raise UserError("--no-pretrained needs --freeze none: a frozen base of random weights learns next to nothing")
    strategy, epochs = freeze if pretrained else "scratch", epochs or (30 if freeze == "base" else 10)

    def run(options, device):
        from helpers.course.batches import seed_everything
        from helpers.course.classify import classify
        from helpers.course.training import evaluate, save_model
        from helpers.transfer.model import Classifier
        from helpers.transfer.train import train_classifier

        seed_everything(seed)
        model = Classifier(2, backbone, pretrained)  # before the pictures: an unknown name should not wait for them
        training, valid, classes = _load(data, size, seed, only_33)
        if len(classes) != 2:
            head = type(model.head)(model.base.num_features, len(classes))
            for parameter in head.parameters():
                parameter.data.zero_()
            model.head = head
        cli.note(f"{len(training)} pictures to train on, {len(valid)} to validate, {len(classes)} classes, on {device}")
        config = {
            "classes": classes,
            "backbone": backbone,
            "size": size,
            "strategy": strategy,
            "lr": lr,
            "seed": seed,
            "epochs": epochs,
        }
        result = train_classifier(
            model,
            training,
            valid,
            strategy=strategy,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            config=config,
            compile=compile,
            workers=workers,
            patience=patience or None,
            keep="best",
            label=f"{backbone}, {freeze} frozen",
            **options,
        )
        where = {"device": options["device"], "precision": precision}
        scores = evaluate(model, valid, step=classify, workers=workers, **where)
        facts = {name: scores[name] for name in ("accuracy", "loss", "n")}
        facts |= {"train": len(training), "classes": len(classes)} | cli.progress(result)
        text = f"accuracy {scores['accuracy']:.4f} on {scores['n']} validation pictures after {result.epochs} epochs"
        save = lambda: save_model(out / "model.safetensors", model, config)
        return cli.Trained(facts, text, result.history, save)

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)


@app.command("eval")
@clear
def evaluate_(
    weights: cli.Weights,
    data: Data,
    only_33: Only33 = False,
    split: cli.Split = "valid",
    seed: cli.SplitSeed = None,
    device: cli.Device = "auto",
    json_: cli.Json = False,
):
    """Accuracy of a trained classifier on class folders, with Wilson's 95 % interval."""
    from helpers.course.claims import proportion
    from helpers.course.classify import classify
    from helpers.course.training import evaluate
    from helpers.data.images import ImageItems, folder_items

    model, config = load_classifier(weights)
    kind, path = cli.kind_and_path(data, KINDS)
    if split == "test":
        if kind != "folder":
            raise UserError("--split test needs folder:PATH with PATH/test/CLASS/*")
        part = ImageItems(folder_items(Path(path) / "test", config["classes"]), config["size"]).cached()
    else:
        seed = config["seed"] if seed is None else seed  # another split would hold pictures that it was trained on
        train, valid, classes = _load(data, config["size"], seed, only_33, which=split)
        if classes != config["classes"]:
            known, new = ", ".join(config["classes"]), ", ".join(classes)
            raise UserError(
                f"the model was trained on the classes {known}; --data has {new}: use data with the same classes"
            )
        part = train if split == "train" else valid
    scores = evaluate(model, part, step=classify, device=device)
    known = proportion(round(scores["accuracy"] * scores["n"]), scores["n"])
    facts = {
        "accuracy": scores["accuracy"],
        "low": known.low,
        "high": known.high,
        "n": scores["n"],
        "loss": scores["loss"],
        "split": split,
    }
    cli.answer(
        facts,
        json_,
        f"accuracy {known.mean:.4f} (95 % interval {known.low:.4f} to {known.high:.4f}) on "
        f"{known.n} pictures of the {split} split",
    )


@app.command()
@clear
def predict(
    images: cli.Images,
    weights: cli.Weights,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 3,
    device: cli.Device = "auto",
    json_: cli.Json = False,
):
    """Name the most probable classes of pictures."""
    import torch

    from helpers.course.training import predict as outputs
    from helpers.data.images import fit_square, read_image

    model, config = load_classifier(weights)
    x = torch.stack([fit_square(read_image(path), config["size"]) for path in images])  # (B, 3, H, W)
    best = outputs(model, x, device=device).softmax(1).topk(min(top, len(config["classes"])))
    rows = [
        {
            "image": str(path),
            "class": config["classes"][ids[0]],
            "probability": p[0],
            "top": [{"class": config["classes"][i], "probability": q} for i, q in zip(ids, p)],
        }
        for path, p, ids in zip(images, best.values.tolist(), best.indices.tolist())
    ]
    lines = [f"{r['image']}: " + ", ".join(f"{t['class']} {t['probability']:.3f}" for t in r["top"]) for r in rows]
    cli.answer({"predictions": rows}, json_, "\n".join(lines))

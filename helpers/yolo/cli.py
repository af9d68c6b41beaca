"""`python -m helpers yolo ...`: lecture 08's detector on scenes or on images of your own."""

import json
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(name="yolo", no_args_is_help=True, help="YOLO: train, evaluate, use and export an object detector.")
KINDS = {"scenes": "scenes", "voc": "voc:PATH"}
SCENES = {"train": 8000, "valid": 400, "test": 1000}

Data = Annotated[
    str,
    typer.Option("--data", help="scenes, or voc:PATH (JPEGImages, Annotations, and ImageSets/Main or a seeded split)."),
]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="Smallest score of a detection.")]
Nms = Annotated[float, typer.Option(min=0, max=1, help="IoU from which the weaker of two boxes of a class goes.")]
Strides = Annotated[
    str | None, typer.Option(help="Pixels a cell, a head each; 8,16 where left out, 16,32 with a backbone.")
]


def _strides(text):
    try:
        return tuple(int(s) for s in text.split(","))
    except ValueError:
        raise UserError(f"--strides must be a comma-separated list such as 8,16; got {text!r}") from None


def _data(data, split, size, classes=None, seed=0, scenes=None, multiple=32):
    """A split of --data; `seed` is that of a folder's own split, or of the training scenes."""
    from helpers.data.voc import VocSet
    from helpers.yolo.scene_set import SceneSet

    kind, path = cli.kind_and_path(data, KINDS)
    if kind == "scenes":
        side = size if isinstance(size, int) else size[1]
        part = SceneSet(scenes or SCENES[split], split, side, seed if split == "train" else 0)
    else:
        part = VocSet(path, split, size, classes, seed, multiple)
    cli.note(part.summary)
    return part


def load_detector(folder):
    """The model that `train` wrote into `folder`, with its `config`."""
    from helpers.yolo.train import load

    return load(Path(folder) / "model.safetensors")


@app.command()
@clear
def train(
    data: Data = "scenes",
    out: cli.Out = Path("runs/yolo"),
    epochs: cli.Epochs = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, help="The network's input: the longer side, in pixels. Its shape follows the pictures."),
    ] = None,
    backbone: Annotated[
        Literal["none", "efficientnet_lite0"] | None,
        typer.Option(help="none: a network from nothing; efficientnet_lite0: features learnt from ImageNet."),
    ] = None,
    freeze: Annotated[
        Literal["base", "half", "none"] | None,
        typer.Option(help="What of a backbone does not learn: all of it, its first half (the default), nothing."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Filters of the first layer of a network from nothing; 16 by default.")
    ] = None,
    strides: Strides = None,
    box_loss: Annotated[Literal["v3", "iou", "giou", "ciou"], typer.Option(help="v3: squared differences.")] = "ciou",
    ignore: Annotated[
        float, typer.Option(min=0, max=1, help="Boxes with a larger IoU with an object need not be 'no object'.")
    ] = 0.7,
    rescore: Annotated[bool, typer.Option("--rescore", help="Teach the objectness to be the IoU.")] = False,
    anchor_iou: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Every anchor whose shape overlaps an object more answers for it; 1: the best alone."
        ),
    ] = 0.4,
    flip: Annotated[
        Literal["none", "horizontal", "both"] | None,
        typer.Option(help="Mirror images, in training and when it is used; both: also upside down."),
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Training scenes to render.")] = SCENES["train"],
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = 16,
    lr: cli.LearningRate = None,
    resume: cli.Resume = False,
    device: cli.Device = "auto",
    precision: cli.Precision = "auto",
    compile: cli.Compile = False,
    workers: cli.Workers = 0,
    json_: cli.Json = False,
):
    """Train a detector. The weights kept are those of the highest mAP on the validation split."""
    kind, _ = cli.kind_and_path(data, KINDS)

    def run(options, place):
        from helpers.yolo.average_precision import evaluate_dataset
        from helpers.yolo.detect import detect_dataset
        from helpers.yolo.model import make_augment
        from helpers.yolo.train import DEFAULT_BACKBONE, HEADS, RECIPES, check, save, train_detector

        features = backbone or DEFAULT_BACKBONE[kind]
        if features == "none" and freeze is not None:
            raise UserError("--freeze is for borrowed features: add --backbone efficientnet_lite0, or leave it out")
        if features != "none" and width is not None:
            raise UserError(f"--width is for a network from nothing: leave it out, or --backbone {features}")
        recipe = RECIPES[kind][features]
        heads = _strides(strides) if strides else HEADS[features]
        mirrored, side = flip or recipe["flip"], size or recipe["size"]
        check(heads, side, box_loss, features)
        multiple = max(heads) if features == "none" else 32
        training = _data(data, "train", side, None, seed, scenes, multiple)
        valid = _data(data, "valid", training.size, training.classes, seed)
        if lr is not None:
            options["lr"] = lr
        model, result = train_detector(
            training,
            valid,
            epochs=epochs or recipe["epochs"],
            width=width or 16,
            strides=heads,
            backbone=features,
            freeze=freeze or "half",
            box_loss=box_loss,
            ignore=ignore,
            rescore=rescore,
            anchor_iou=anchor_iou,
            augment=make_augment(mirrored),
            batch_size=batch_size,
            config={"data": data, "flip": mirrored},
            compile=compile,
            workers=workers,
            label=f"yolo on {kind}",
            **options,
        )
        scores = evaluate_dataset(detect_dataset(model.to(place), valid), valid)
        facts = {
            **scores,
            "n": len(valid),
            "split": "valid",
            "train": len(training),
            "size": list(training.size),
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        text = (
            f"mAP {scores['map']:.4f}, mAP50 {scores['map50']:.4f} on {len(valid)} validation pictures after "
            f"{result.epochs} epochs"
        )
        return cli.Trained(
            facts | cli.progress(result), text, result.history, lambda: save(out / "model.safetensors", model)
        )

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)


@app.command("eval")
@clear
def evaluate_(
    weights: cli.Weights,
    data: Data,
    split: cli.Split = "valid",
    threshold: Threshold = 0.005,
    nms: Nms = 0.55,
    seed: cli.SplitSeed = None,
    record: Annotated[Path | None, typer.Option(help="Write the result, with versions and date, to this file.")] = None,
    device: cli.Device = "auto",
    json_: cli.Json = False,
):
    """COCO's mAP (IoU .50 to .95, 101 recalls) of a trained detector, and the AP of each class."""
    from helpers.course.devices import engine
    from helpers.yolo.average_precision import evaluate_dataset
    from helpers.yolo.detect import detect_dataset

    started, model = monotonic(), load_detector(weights)
    part = _data(
        data, split, tuple(model.size), model.config["classes"], model.config["seed"] if seed is None else seed
    )
    model.to(engine(device).device)
    scores = evaluate_dataset(detect_dataset(model, part, threshold, nms), part)
    facts = {**scores, "n": len(part), "split": split, "seconds": monotonic() - started, "weights": str(weights)}
    if record is not None:
        _record(record, facts, model, data, Path(weights))
    text = [f"mAP {scores['map']:.4f}, mAP50 {scores['map50']:.4f} on {len(part)} pictures of the {split} split"]
    text += [
        f"  {name}: AP {c['map']:.4f}, AP50 {c['map50']:.4f} ({c['n']} objects)"
        for name, c in scores["classes"].items()
    ]
    cli.answer(facts, json_, "\n".join(text))


def _record(path, facts, model, data, weights):
    """A row an evaluation; rows that the file already holds stay, one of the same split and seed is replaced."""
    from datetime import date

    from helpers.course.experiments import versions
    from helpers.course.files import write_atomically

    trained = json.loads((weights / "metrics.json").read_text()) if (weights / "metrics.json").is_file() else {}
    try:
        old = json.loads(path.read_text())["runs"] if path.is_file() else []
        known = [(r["seed"], r["split"]) for r in old]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a record of `yolo eval`: write to another file, or delete it") from error
    this = {"seed": model.config["seed"], "split": facts["split"]}
    whole = {
        "arm": "all classes",
        **this,
        "map": facts["map"],
        "map50": facts["map50"],
        "map75": facts["map75"],
        "n": facts["n"],
        "epochs": trained.get("epochs"),
        "best_epoch": trained.get("best_epoch"),
        "seconds": trained.get("seconds"),
    }
    new = [whole, *({"arm": name} | this | scores for name, scores in facts["classes"].items())]
    rows = [r for r, key in zip(old, known) if key != tuple(this.values())] + new
    rows.sort(key=lambda r: (r["split"], r["seed"]))
    kind, place = cli.kind_and_path(data, KINDS)
    place = Path(place).name
    named = f"{kind}:PATH/{place}" if place else kind  # no path of this machine
    trainings = {r["seed"]: r["seconds"] or 0 for r in sorted(rows, key=lambda r: r["seed"]) if "seconds" in r}
    backbone = model.config.get("backbone", "none")
    options = "" if backbone == "none" else f" --backbone {backbone} --freeze {model.config['freeze']}"
    commands = [f"python -m helpers yolo train --data {named}{options} --seed {s} --out DIR" for s in trainings]
    record = {
        "name": path.stem,
        "title": f"A detector {'trained from scratch' if not options else 'on borrowed features'} on {place or kind}",
        "lecture": "yolo",
        "command": commands[0],
        "commands": commands,
        "date": date.today().isoformat(),
        "versions": versions(),
        "seconds": sum(trainings.values()),
        "arms": list(dict.fromkeys(r["arm"] for r in rows)),
        "runs": rows,
    }
    write_atomically(path, (cli.to_json(record, indent=1) + "\n").encode())


@app.command()
@clear
def detect(
    images: cli.Images,
    weights: cli.Weights,
    threshold: Threshold = 0.25,
    nms: Nms = 0.55,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with their boxes drawn, and detections.json.")
    ] = None,
    device: cli.Device = "auto",
    json_: cli.Json = False,
):
    """Find objects in pictures: class, score and box (left, top, right, bottom in pixels) of each."""
    import torch

    from helpers.course.devices import engine
    from helpers.course.files import write_atomically
    from helpers.data.images import read_image
    from helpers.data.voc import boxed
    from helpers.yolo.detect import detect_batch, to_image

    model = load_detector(weights)
    model.to(engine(device).device)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose a folder")
    pixels = [read_image(path) for path in images]
    found = detect_batch(model, torch.stack([boxed(image, model.size) for image in pixels]), threshold, nms)
    found = [to_image(one, image.shape[:2], model.size) for one, image in zip(found, pixels)]
    rows, lines = [], []
    for path, one in zip(images, found):
        objects = [
            {"class": model.config["classes"][k], "score": s, "box": box}
            for k, s, box in zip(one["labels"].tolist(), one["scores"].tolist(), one["boxes"].tolist())
        ]
        rows.append({"image": str(path), "objects": objects})
        listed = ", ".join(
            "{} {:.3f} at [{}]".format(o["class"], o["score"], ", ".join(f"{v:.0f}" for v in o["box"])) for o in objects
        )
        none = f"nothing with a score of {threshold:g} or more; a lower --threshold shows more"
        lines.append(f"{path}: {listed or none}")
    if out is not None:
        names = _names(images)
        for row, image, name in zip(rows, pixels, names):
            write_atomically(out / name, _drawn(image, row["objects"], model.config["classes"]))
            row["drawn"] = str(out / name)
        write_atomically(out / "detections.json", cli.to_json({"detections": rows}, indent=1).encode())
    cli.answer({"detections": rows}, json_, "\n".join(lines))


def _names(files):
    """A file name for each image; those that would meet get a number."""
    names = []
    for path in files:
        name, i = f"{path.stem}.png", 2
        while name in names:
            name, i = f"{path.stem}-{i}.png", i + 1
        names.append(name)
    return names


def _drawn(image, objects, classes):
    """The image (H, W, 3) with its boxes, as the bytes of a PNG."""
    import io

    import torch
    from matplotlib import colormaps
    from PIL import Image
    from torchvision.utils import draw_bounding_boxes

    if objects:
        palette = [tuple(int(255 * v) for v in colormaps["tab10"](i % 10)[:3]) for i in range(len(classes))]
        boxes = torch.tensor([o["box"] for o in objects])
        image = (
            draw_bounding_boxes(
                torch.tensor(image).permute(2, 0, 1),
                boxes,
                [f"{o['class']} {o['score']:.2f}" for o in objects],
                [palette[classes.index(o["class"])] for o in objects],
                width=max(1, round(max(image.shape) / 300)),
            )
            .permute(1, 2, 0)
            .numpy()
        )
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@app.command("export-darknet")
@clear
def export_darknet(
    weights: cli.Weights,
    out: Annotated[Path, typer.Option(help="Folder for yolo.cfg, yolo.weights, yolo.names, yolo.data.")],
    json_: cli.Json = False,
):
    """Write cfg and weights that the C program runs: darknet detector test yolo.data yolo.cfg yolo.weights FILE."""
    from helpers.yolo.model import export

    model = load_detector(weights)
    if "cfg" not in model.config:
        raise UserError(
            f"{weights} holds a network with the backbone {model.config['backbone']}, which no Darknet cfg describes: "
            "export one that was trained with --backbone none"
        )
    cli.writable(out)
    export(model, model.config["cfg"], out, model.config["classes"])
    files = [str(out / f"yolo.{end}") for end in ("cfg", "weights", "names", "data")]
    cli.answer({"files": files}, json_, "\n".join(files))

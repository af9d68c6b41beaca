"""`python -m helpers autoencoder train`: lecture 07's autoencoders on a data set of the course."""

import json
from pathlib import Path
from typing import Annotated

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Autoencoders: train one, and judge it against PCA.")


@app.callback()
def _group():
    """Keeps `train` a word of its own while it is the only command."""


@app.command()
@clear
def train(
    data: Annotated[str, typer.Option("--data", help="mnist5k, mnist, digits or fashion-mnist.")] = "mnist5k",
    latent: Annotated[int, typer.Option(min=1, help="Width of the code.")] = 16,
    kind: Annotated[str, typer.Option(help="dense, conv or linear.")] = "conv",
    loss: Annotated[str | None, typer.Option(help="bce or mse; the model's own if left out.")] = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise that it has to remove; 0: none.")] = 0.0,
    epochs: cli.Epochs = 20,
    out: cli.Out = Path("runs/autoencoder"),
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = 64,
    lr: cli.LearningRate = None,
    resume: cli.Resume = False,
    device: cli.Device = "auto",
    precision: cli.Precision = "auto",
    compile: cli.Compile = False,
    json_: cli.Json = False,
):
    """Train an autoencoder; report its error on test pictures beside that of PCA at the same width."""
    if not 0 <= noise < float("inf"):
        raise UserError(f"--noise {noise} is no standard deviation: take 0 or more")
    cli.fresh(out, resume)
    from accelerate.state import PartialState

    from helpers.course.files import write_atomically
    from helpers.embedding.train import train as fit

    _, report = fit(
        data,
        latent,
        kind,
        epochs=epochs,
        loss=loss,
        noise=noise,
        seed=seed,
        out=out,
        batch_size=batch_size,
        resume=resume,
        device=device,
        precision=precision,
        compile=compile,
        log=cli.epoch_line,
        **({} if lr is None else {"lr": lr}),
    )
    facts = report | {"weights": str(out)}
    if PartialState().is_main_process:
        write_atomically(out / "metrics.json", json.dumps(facts, indent=1).encode())
    cli.answer(
        facts,
        json_,
        f"squared error {facts['error']:.3f} a picture (PCA {facts['pca_error']:.3f}), 10-NN "
        f"accuracy of the codes {facts['knn']:.3f} (PCA {facts['pca_knn']:.3f}) on {facts['n']} "
        f"test pictures; the model lies in {out}",
    )

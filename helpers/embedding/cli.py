"""`python -m helpers autoencoder train`: lecture 07's autoencoders on a data set of the course."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(name="autoencoder", no_args_is_help=True, help="Autoencoders: train one, and judge it against PCA.")


@app.callback()
def _group():
    """Keeps `train` a word of its own while it is the only command."""


@app.command()
@clear
def train(
    data: Annotated[
        Literal["mnist5k", "mnist", "digits", "fashion-mnist"], typer.Option(help="A data set of the course.")
    ] = "mnist5k",
    latent: Annotated[int, typer.Option(min=1, help="Width of the code.")] = 16,
    kind: Annotated[Literal["dense", "conv", "linear"], typer.Option(help="Of layers.")] = "conv",
    loss: Annotated[Literal["bce", "mse"] | None, typer.Option(help="The model's own if left out.")] = None,
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
        raise UserError(f"--noise must be a standard deviation of 0 or more; got {noise}")

    def run(options, _):
        from helpers.embedding.autoencoder import save
        from helpers.embedding.train import train as train_autoencoder

        if lr is not None:
            options["lr"] = lr
        model, facts = train_autoencoder(
            data, latent, kind, epochs=epochs, loss=loss, noise=noise, batch_size=batch_size, compile=compile, **options
        )
        history = facts.pop("history")
        text = (
            f"squared error {facts['error']:.3f} a picture (PCA {facts['pca_error']:.3f}), 10-NN accuracy of the codes "
            f"{facts['knn']:.3f} (PCA {facts['pca_knn']:.3f}) on {facts['n']} test pictures"
        )
        return cli.Trained(facts, text, history, lambda: save(out / "model.safetensors", model))

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)

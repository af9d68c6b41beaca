"""`python -m helpers autoencoder train | map`: lecture 07's autoencoders on a data set of the course, and a map."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.course.errors import UserError

app = typer.Typer(name="autoencoder", no_args_is_help=True, help="Autoencoders: train one, map its codes.")

Data = Annotated[Literal["mnist5k", "mnist", "digits", "fashion-mnist"], typer.Option(help="A data set of the course.")]


@app.command()
@clear
def train(
    data: Data = "mnist5k",
    latent: Annotated[int, typer.Option(min=1, help="Width of the code.")] = 16,
    kind: Annotated[Literal["dense", "conv", "linear"], typer.Option(help="Of layers.")] = "conv",
    loss: Annotated[Literal["bce", "mse"] | None, typer.Option(help="The model's own if left out.")] = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise that it has to remove; 0: none.")] = 0.0,
    epochs: cli.Epochs = 20,
    out: cli.Out = Path("runs/autoencoder"),
    seed: cli.Seed = 0,
    half: Annotated[bool, typer.Option("--half", help="Round the trained weights to 16 bits a number.")] = False,
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
        options |= {"half": half, "batch_size": batch_size, "compile": compile}
        model, facts = train_autoencoder(data, latent, kind, epochs=epochs, loss=loss, noise=noise, **options)
        history = facts.pop("history")
        text = (
            f"squared error {facts['error']:.3f} a picture (PCA {facts['pca_error']:.3f}), 10-NN accuracy of the codes "
            f"{facts['knn']:.3f} (PCA {facts['pca_knn']:.3f}) on {facts['n']} test pictures"
        )
        return cli.Trained(facts, text, history, lambda: save(out / "model.safetensors", model, half))

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)


@app.command("map")
@clear
def map_(
    weights: Annotated[Path, typer.Option(help="The folder that `train` wrote; the map goes there, too.")],
    data: Data = "mnist5k",
    seed: cli.Seed = 0,
    steps: Annotated[int, typer.Option(min=0, help="Of t-SNE.")] = 1000,
    json_: cli.Json = False,
):
    """Map the codes of pictures that the network has not learned from by t-SNE; report how well new points fit in.

    Give the --data and --seed of the training: they say which pictures it has not learned from.
    """
    from helpers.embedding import autoencoder, places

    model = autoencoder.load(weights / "model.safetensors")
    (x, labels), _ = places.unseen(data, seed)
    if list(x.shape[1:]) != model.config["shape"]:
        raise UserError(
            f"the model takes pictures of shape {model.config['shape']}, --data {data} has {list(x.shape[1:])}"
        )
    atlas = places.draw(model, x, labels, n_iter=steps, record_every=max(steps, 1))
    places.save(weights / "map.safetensors", atlas)
    found = places.errors(atlas, places.place(atlas, atlas.codes, left_out=True))
    facts = {"n": len(labels), "error": found.distance.mean().item(), "own": found.own.double().mean().item()}
    text = (
        f"a map of {len(labels)} pictures; left out and placed again, they are {facts['error']:.3f} radii off, "
        f"{100 * facts['own']:.0f} % beside their own kind"
    )
    cli.answer(facts, json_, text)

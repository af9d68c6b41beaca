"""A `train` command of its own for the tests of `course.commands`: a small network on a hundred points.

python -m tests.tiny_train train --out runs/tiny
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group():
    """Keeps `train` a word of its own."""


@app.command()
@clear
def train(
    out: cli.Out = Path("runs/tiny"),
    epochs: cli.Epochs = 4,
    seed: cli.Seed = 0,
    lr: cli.LearningRate = 0.1,
    plain: Annotated[bool, typer.Option("--plain", help="Without dropout and noise.")] = False,
    pause: Annotated[float, typer.Option(help="Seconds that a step takes.")] = 0.0,
    score: Annotated[float | None, typer.Option(help="Say that this was the accuracy.")] = None,
    resume: cli.Resume = False,
    device: cli.Device = "cpu",
    precision: cli.Precision = "auto",
    json_: cli.Json = False,
):
    """Learn on which side of a line a point lies. A large frozen layer, dropout, noise and a schedule are in it."""

    def run(options, device):
        import torch
        from torch import nn

        from helpers.course.batches import Tensors
        from helpers.course.training import evaluate, fit, save_model

        def step(model, batch):
            time.sleep(pause)
            x, y = batch
            z = model(x)
            loss = nn.functional.cross_entropy(z, y, reduction="sum")
            return {"loss": loss, "accuracy": (z.argmax(1) == y).sum()}

        def noise(batch, generator):
            return batch[0] + 0.1 * torch.randn(batch[0].shape, generator=generator), batch[1]

        torch.manual_seed(seed)
        base = nn.Linear(64, 512).requires_grad_(False)  # larger than all that is trained
        head = nn.Sequential(nn.Dropout(0.0 if plain else 0.2), nn.Linear(512, 2))
        x = torch.randn(120, 64)
        features, y = base(x), (x[:, 0] > 0).long()
        train_set, valid = Tensors(features[:100], y[:100]), Tensors(features[100:], y[100:])
        cli.note(f"{len(train_set)} points, on {device}")
        optimizer = torch.optim.SGD(head.parameters(), lr, momentum=0.9)
        result = fit(
            head,
            train_set,
            valid,
            step=step,
            optimizer=optimizer,
            scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
            epochs=epochs,
            batch_size=20,
            augment=None if plain else noise,
            keep="best",
            config={"epochs": epochs, "lr": lr},
            **options,
        )
        scores = evaluate(head, valid, step=step, device=options["device"])
        if score is not None:
            scores["accuracy"] = score
        save = lambda: save_model(out / "model.safetensors", nn.Sequential(base, head), {"seed": seed})
        text = f"accuracy {scores['accuracy']:.4f} on {scores['n']} points"
        return cli.Trained(scores | cli.progress(result), text, result.history, save)

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)


if __name__ == "__main__":
    app()

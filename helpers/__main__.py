"""The command line: `python -m helpers`. The same code as the notebooks, for real data and real GPUs."""

from pathlib import Path
from typing import Annotated

import typer

from helpers.augmentation.cli import augment
from helpers.course import commands as cli
from helpers.course.commands import clear
from helpers.embedding.cli import app as autoencoder
from helpers.sentiment.cli import app as sentiment
from helpers.transfer.cli import app as transfer
from helpers.yolo.cli import app as yolo

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Deep Learning, Measured: data, training, prediction and recorded experiments.",
)
data = typer.Typer(no_args_is_help=True, help="The data sets and weights of the course.")
app.add_typer(data, name="data")
app.add_typer(transfer, name="transfer")
app.add_typer(autoencoder, name="autoencoder")
app.add_typer(yolo, name="yolo")
app.add_typer(sentiment, name="sentiment")
app.command()(augment)


def _size(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000


@data.command("list")
@clear
def list_(json_: cli.Json = False):
    """Every entry of the catalogue: tier, size, licence, and whether it is on this machine."""
    from helpers.data.store import rows

    table = rows()
    lines = [f"{'name':<20} tier {'size':>9}  {'state':<10} licence"]
    lines += [f"{r['name']:<20} {r['tier']:>4} {_size(r['size']):>9}  {r['state']:<10} {r['licence']}" for r in table]
    cli.answer({"data": table}, json_, "\n".join(lines))


@data.command()
@clear
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all built-in ones if left out.")] = None,
    json_: cli.Json = False,
):
    """Download, check and store data sets; what is there and sound is left alone."""
    from helpers.data.store import fetch as get
    from helpers.data.store import fetch_all, find

    for name in names or []:
        find(name)  # a wrong name is said before the first download
    done = [(name, get(name)) for name in names] if names else fetch_all(tier=1)
    cli.answer({name: str(path) for name, path in done}, json_, "\n".join(f"{name}: {path}" for name, path in done))


@data.command()
@clear
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all of them if left out.")] = None,
    json_: cli.Json = False,
):
    """Read every stored file again and compare its SHA-256. Exit status 2 where one is corrupt."""
    from helpers.course.errors import UserError
    from helpers.data.store import verify as check

    results = [row for name in names for row in check(name)] if names else check()
    cli.answer(dict(results), json_, "\n".join(f"{name}: {status}" for name, status in results))
    if bad := [name for name, status in results if status.startswith("corrupt")]:
        raise UserError(f"corrupt: {', '.join(bad)}; `python -m helpers data fetch {' '.join(bad)}` fetches them again")


@data.command("leaves")
@clear
def leaves_(
    out: Annotated[Path, typer.Option("--out", help="A new folder: out/train/CLASS/*.png and out/val/CLASS/*.png.")],
    per_class: Annotated[int, typer.Option(min=2, help="Pictures of each of the 33 classes.")] = 10,
    domain: Annotated[str, typer.Option(help="lab (on a table) or field (outdoors).")] = "lab",
    size: Annotated[int, typer.Option(min=32, max=192, help="Side of the square pictures, in pixels.")] = 128,
    seed: cli.Seed = 0,
    json_: cli.Json = False,
):
    """Draw the course's leaves into class folders: pictures to try the commands for folders with."""
    from helpers.data.leaves.render import write_folder

    train, valid = write_folder(out, per_class, seed, domain, size)
    text = f"{out}: {train} pictures to train, {valid} to validate with; use them as --data folder:{out}"
    cli.answer({"out": str(out), "train": train, "valid": valid}, json_, text)


@data.command("scenes")
@clear
def scenes_(
    out: Annotated[Path, typer.Option("--out", help="A new folder: JPEGImages, Annotations and ImageSets/Main.")],
    pictures: Annotated[int, typer.Option(min=10, help="70 % to train, 15 % to validate, 15 % to test.")] = 200,
    size: Annotated[int, typer.Option(min=96, max=640, help="Side of the square pictures, in pixels.")] = 160,
    seed: cli.Seed = 0,
    json_: cli.Json = False,
):
    """Draw digits on photographs, with boxes in the layout of Pascal VOC: pictures to try `yolo` with."""
    from helpers.data.scenes import write_folder

    held = round(0.15 * pictures)
    counts = {"train": pictures - 2 * held, "val": held, "test": held}
    write_folder(out, {"valid" if k == "val" else k: n for k, n in counts.items()}, seed, size)
    text = f"{out}: {', '.join(f'{n} {split}' for split, n in counts.items())}; use them as --data voc:{out}"
    cli.answer({"out": str(out)} | counts, json_, text)


@app.command()
@clear
def experiment(
    name: Annotated[str, typer.Argument(help="Its name; `list` shows all.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 .. N-1.")] = 3,
    scale: Annotated[str, typer.Option(help="tiny (a test), small (two CPU cores), full (a GPU).")] = "small",
    folder: Annotated[Path | None, typer.Option(help="Where NAME.json goes; the course's results/ by default.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    json_: cli.Json = False,
):
    """Run a recorded experiment and write results/NAME.json; one that was stopped goes on where it was."""
    from helpers.course import experiments

    if name == "list":
        lines = [f"{n:<20} {question}" for n, (_, question) in experiments.experiments().items()]
        return cli.answer({n: q for n, (_, q) in experiments.experiments().items()}, json_, "\n".join(lines))
    record = experiments.run(name, seeds, scale, folder, jobs, log=cli.epoch_line)
    summary = {"name": name, "runs": len(record["runs"]), "seconds": record["seconds"], "scale": scale}
    cli.answer(summary, json_, f"{name}: {summary['runs']} runs, {summary['seconds']} s")


if __name__ == "__main__":
    app()

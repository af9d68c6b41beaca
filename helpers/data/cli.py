"""`python -m helpers data ...`: the data sets of the course, and pictures to try the other commands with."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear

app = typer.Typer(name="data", no_args_is_help=True, help="The data sets and weights of the course.")


def _size(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000


@app.command("list")
@clear
def list_(json_: cli.Json = False) -> None:
    """Every entry of the catalogue: tier, size, licence, and whether it is on this machine."""
    from helpers.data.store import rows

    table = rows()
    lines = [f"{'name':<20} tier {'size':>9}  {'state':<10} licence"]
    lines += [f"{r['name']:<20} {r['tier']:>4} {_size(r['size']):>9}  {r['state']:<10} {r['licence']}" for r in table]
    cli.answer({"data": table}, json_, "\n".join(lines))


@app.command()
@clear
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all built-in ones if left out.")] = None,
    json_: cli.Json = False,
) -> None:
    """Download, check and store data sets; what is there and sound is left alone."""
    from helpers.data.store import fetch as get
    from helpers.data.store import fetch_all, find

    for name in names or []:
        find(name)  # a wrong name is said before the first download
    done = [(name, get(name)) for name in names] if names else fetch_all(tier=1)
    cli.answer({name: str(path) for name, path in done}, json_, "\n".join(f"{name}: {path}" for name, path in done))


@app.command()
@clear
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; all of them if left out.")] = None,
    json_: cli.Json = False,
) -> None:
    """Read every stored file again and compare its SHA-256. Exit status 2 where one is corrupt."""
    from helpers.course.errors import UserError
    from helpers.data.store import verify as check

    results = [row for name in names for row in check(name)] if names else check()
    cli.answer(dict(results), json_, "\n".join(f"{name}: {status}" for name, status in results))
    if bad := [name for name, status in results if status.startswith("corrupt")]:
        raise UserError(
            f"corrupt: {', '.join(bad)}; run `python -m helpers data fetch {' '.join(bad)}` to download again"
        )


@app.command("leaves")
@clear
def leaves_(
    out: Annotated[Path, typer.Option("--out", help="A new folder: out/train/CLASS/*.png and out/val/CLASS/*.png.")],
    per_class: Annotated[int, typer.Option(min=2, help="Pictures of each of the 33 classes.")] = 10,
    domain: Annotated[Literal["lab", "field"], typer.Option(help="On a table, or outdoors.")] = "lab",
    size: Annotated[int, typer.Option(min=32, max=192, help="Side of the square pictures, in pixels.")] = 128,
    seed: cli.Seed = 0,
    json_: cli.Json = False,
) -> None:
    """Draw the course's leaves into class folders: pictures to try the commands for folders with."""
    from helpers.data.leaves.rendering import write_folder

    train, valid = write_folder(out, per_class, seed, domain, size)
    text = f"{out}: {train} pictures to train, {valid} to validate with; use them as --data folder:{out}"
    cli.answer({"out": str(out), "train": train, "valid": valid}, json_, text)


@app.command("scenes")
@clear
def scenes_(
    out: Annotated[Path, typer.Option("--out", help="A new folder: JPEGImages, Annotations and ImageSets/Main.")],
    pictures: Annotated[int, typer.Option(min=10, help="70 % to train, 15 % to validate, 15 % to test.")] = 200,
    size: Annotated[int, typer.Option(min=96, max=640, help="Side of the square pictures, in pixels.")] = 160,
    seed: cli.Seed = 0,
    json_: cli.Json = False,
) -> None:
    """Draw digits on photographs, with boxes in the layout of Pascal VOC: pictures to try `yolo` with."""
    from helpers.data.scenes import write_folder

    held = round(0.15 * pictures)
    counts = {"train": pictures - 2 * held, "valid": held, "test": held}
    write_folder(out, counts, seed, size)
    text = f"{out}: {', '.join(f'{n} {split}' for split, n in counts.items())}; use them as --data voc:{out}"
    cli.answer({"out": str(out)} | counts, json_, text)

"""`python -m helpers augment`: augmented copies of a folder of your own pictures."""

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear

app = typer.Typer()  # without a name: `augment` is a command of the root
KINDS = {"folder": "folder:PATH"}


@app.command()
@clear
def augment(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="folder:PATH with CLASS/*, which is split by source picture, or "
            "with train/CLASS/*, val/CLASS/*, which stay apart.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="New or empty folder for train/CLASS/*, val/CLASS/* and the manifest.")
    ],
    copies: Annotated[int, typer.Option("--copies", min=0, help="Augmented copies of each training picture.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split and of the copies.")] = 0,
    operations: Annotated[
        str,
        typer.Option(
            "--operations", help="Of hflip, vflip, rotate, colour, with commas; only what leaves the label as it is."
        ),
    ] = "hflip,rotate,colour",
    crop: Annotated[
        int | None,
        typer.Option(
            "--crop",
            min=1,
            metavar="PX",
            help="Side of the written pictures: copies from a random place, the others from the middle.",
        ),
    ] = None,
    valid: Annotated[
        float,
        typer.Option(
            "--valid", min=0, help="Share of each class to validate on, where the folder has no splits; 0: none."
        ),
    ] = 0.2,
    jpeg: Annotated[
        int | None,
        typer.Option(
            "--jpeg", metavar="Q", help="Write JPEG of this quality, 1 to 100; without it PNG, which keeps every pixel."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write into a folder that is in use. Files of an earlier run are removed, yours stay."
        ),
    ] = False,
    json_: cli.Json = False,
):
    """Write augmented copies of a folder of pictures, split first, so that no picture is on both sides.

    A run that was stopped goes on where it was when it is called again. `manifest.csv` says of every file what it was
    made of.
    """
    from helpers.augmentation.folder import write_copies

    _, path = cli.kind_and_path(data, KINDS)
    started = monotonic()
    counts = write_copies(
        path, out, copies, seed, operations=_words(operations), crop=crop, valid=valid, jpeg=jpeg, force=force
    )
    facts = counts | {"seconds": monotonic() - started, "out": str(out), "manifest": str(out / "manifest.csv")}
    splits = ", ".join(
        f"{n} in {split}" for split, n in counts.items() if split not in ("sources", "files", "written", "kept")
    )
    cli.answer(
        facts,
        json_,
        f"{counts['files']} pictures of {counts['sources']} sources in {out} ({splits}); "
        f"{counts['written']} written, {counts['kept']} were there",
    )


def _words(text):
    """`"hflip, colour"` -> ("hflip", "colour"); none of them for an empty text."""
    return tuple(word.strip() for word in text.split(",") if word.strip())

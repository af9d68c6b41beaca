"""`python -m helpers check` and `python -m helpers experiment`: the book's numbers, measured again."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from helpers.course import commands as cli
from helpers.course.commands import clear

app = typer.Typer()  # without a name: its commands are the root's


@app.command()
@clear
def check(
    lectures: Annotated[
        list[str] | None, typer.Argument(help="Notebooks, by name or a part of it (07_image, yolo); all if left out.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for check.html and check.json.")] = Path("runs", "check"),
    json_: cli.Json = False,
) -> None:
    """Run lectures again and hold their claims and numbers against the book's; for a reader whose numbers differ.

    Exit status 0 when all claims hold, 1 when one does not or could not be made. Without a GPU, as the book was made.
    """
    from helpers.course import check as checks
    from helpers.course import kernel, report

    names = [] if "all" in (lectures or []) else lectures or []
    paths = kernel.lecture_notebooks(checks.NOTEBOOKS, names)
    cli.writable(out)
    facts = None
    try:
        for found in checks.check(paths, out, cli.note):
            facts = found
    except KeyboardInterrupt:
        kept = f"{len(facts['lectures'])} of {len(paths)} lectures are told in {out / 'check.html'}" if facts else ""
        cli.note(f"stopped; {kept or 'no lecture was finished, nothing was written'}")
        raise typer.Exit(130) from None
    assert facts is not None  # there is at least one notebook
    answer = {name: facts[name] for name in ("holds", "counts", "command")}
    answer |= {"page": str(out / "check.html"), "facts": str(out / "check.json")}
    cli.answer(answer, json_, f"{report.headline(facts['counts'])}; the page is {out / 'check.html'}")
    raise typer.Exit(0 if facts["holds"] else 1)


@app.command()
@clear
def experiment(
    name: Annotated[str, typer.Argument(help="Its name; `list` shows all.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 .. N-1.")] = 3,
    scale: Annotated[
        Literal["tiny", "small", "full"], typer.Option(help="tiny: a test; small: two CPU cores; full: a GPU.")
    ] = "small",
    folder: Annotated[Path | None, typer.Option(help="Where NAME.json goes; the course's results/ by default.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    json_: cli.Json = False,
) -> None:
    """Run a recorded experiment and write results/NAME.json; one that was stopped goes on where it was."""
    from helpers.course import experiments

    if name == "list":
        lines = [f"{n:<20} {question}" for n, (_, question) in experiments.experiments().items()]
        return cli.answer({n: q for n, (_, q) in experiments.experiments().items()}, json_, "\n".join(lines))
    record = experiments.run(name, seeds, scale, folder, jobs, log=cli.epoch_line)
    summary = {"name": name, "runs": len(record["runs"]), "seconds": record["seconds"], "scale": scale}
    cli.answer(summary, json_, f"{name}: {summary['runs']} runs, {summary['seconds']} s")

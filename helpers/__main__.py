"""The command line: `python -m helpers`. The same code as the notebooks, for real data and real GPUs.

Every package of `helpers` that has a module `cli` with a Typer `app` brings its commands along.
"""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

import helpers
from helpers.course import commands as cli
from helpers.course.commands import clear

app = typer.Typer(
    cls=cli.OneLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Deep Learning, Measured: data, training, prediction and recorded experiments.",
)
for package in sorted(info.name for info in pkgutil.iter_modules(helpers.__path__) if info.ispkg):
    if find_spec(f"helpers.{package}.cli"):
        # under the name that it gives itself; the commands of an app without a name join those of the root
        app.add_typer(import_module(f"helpers.{package}.cli").app)


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

"""The command line: `python -m helpers`. The same code as the notebooks, for real data and real GPUs.

Every package of `helpers` that has a module `cli` with a Typer `app` brings its commands along.
"""

import pkgutil
from importlib import import_module
from importlib.util import find_spec

import typer

import helpers
from helpers.course import commands as cli

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


if __name__ == "__main__":
    app()

"""Every command that a page or a lecture names can be typed: it exists, and so do its options and their values."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from helpers.__main__ import app

# what a wrong argument raises, by the name that this version of Typer gives it
REFUSED = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ in ("TyperException", "ClickException"))
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Refused(Exception):
    pass


def commands(text):
    """The arguments of every `python -m helpers ...` in a text; a line that ends in a backslash goes on."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"python -m helpers +([^`\n|]+)", text):
        line = re.split(r"\s{2,}#| > |\s*&&", line)[0].rstrip(" .,;:)").replace("...", "")
        if line.split()[0] not in ("--help",):
            yield line


def text(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def parse(line):
    """Read the arguments as the command line would, without doing anything; raises Refused or what Typer raises."""
    command, arguments = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands"):
        if not arguments or arguments[0] not in command.commands:
            raise Refused(f"there is no command {' '.join(arguments[:1])}")
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if arguments:                                   # a command that is only named needs no arguments
        command.make_context("helpers", list(arguments))


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: path.name)
def test_what_is_written_can_be_typed(path):
    wrong = []
    for line in commands(text(path)):
        try:
            parse(line)
        except (Refused, REFUSED, ValueError) as error:
            wrong.append(f"python -m helpers {line}: {getattr(error, 'message', error)}")
    assert not wrong, "\n".join(wrong)


def test_pages_name_commands():
    assert sum(len(list(commands(text(path)))) for path in PAGES + NOTEBOOKS) > 30


@pytest.mark.parametrize("line", ["transfer trian --epochs 3", "transfer train --epoch 3", "transfer train --epochs x",
                                  "yolo detect --weights runs/x", "nothing"])
def test_a_wrong_one_is_noticed(line):
    with pytest.raises((Refused, REFUSED)):
        parse(line)

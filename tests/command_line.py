"""The command line as the tests call it: in this process, or in one of its own, and what it may print."""

import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course import commands as cli

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "CUDA_VISIBLE_DEVICES": ""}
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def here(*words, app=app):
    """A command in this process, which has PyTorch already. An exception that is a bug is raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def shell(*words, module="helpers", launcher=(), **more):
    """The same in a process of its own."""
    command = [sys.executable, *launcher, "-m", module, *map(str, words)]
    more = {"text": True} | more
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, timeout=300, **more)


def the_object(text):
    """The one JSON object that a command prints, and nothing beside it on stdout."""
    assert text.endswith("}\n") and text.count("\n") == 1, text
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def refused(done, *words):
    """Exit status 2, nothing on stdout, and one line that begins with "error: " and holds the words."""
    assert done.exit_code == 2 and done.stdout == "", done.output
    line = done.stderr.strip().split("\n")[-1]
    assert line.startswith("error: ") and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert str(word) in line, (word, line)
    return line


def wrong_option(done, *words):
    """Exit status 2 and Typer's box, which names the option and its choices."""
    assert done.exit_code == 2 and done.stdout == "" and "Usage" in done.stderr, done.output
    for word in words:
        assert str(word).lower() in done.stderr.lower(), (word, done.stderr)


def stopped(monkeypatch, epoch, *words):
    """Call `train` and stop it as Ctrl-C does when the line of this epoch is written."""
    with monkeypatch.context() as patched:

        def stop(entry, line=cli.epoch_line):
            line(entry)
            if entry["epoch"] == epoch:
                raise KeyboardInterrupt

        patched.setattr(cli, "epoch_line", stop)
        done = here(*words)
    assert done.exit_code == 130 and done.stdout == "", done.output
    assert done.stderr.strip().endswith("stopped; go on with --resume")


def options(command):
    """{name: its choices} of the typed options of a command."""
    hints = typing.get_type_hints(command, include_extras=True)
    return {name: _choices(hint) for name, hint in hints.items() if _choices(hint)}


def _choices(hint):
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    return [word for part in typing.get_args(hint) for word in _choices(part)]

"""COURSE_SCALE=full: the same cells with more data and longer training, checked with stand-ins on this machine.

Each call of a notebook that depends on FULL is made at both scales against a stand-in that has the real function's
signature, so an argument that it does not know, or a scale that changes nothing, is noticed without a GPU. Then every
cell is run at full scale, on the first few pictures and for one epoch (tests/full_scale.py). That the experiments'
arms exist at scale full, with the same names, is checked for each experiment.
"""
import ast
import builtins
import inspect
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import nbformat
import pytest

from helpers import experiments
from helpers.data import UserError
from helpers.training import scale

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
             if "FULL" in path.read_text(encoding="utf-8")]


class Standin:
    """A function or module of the course: knows its signature, takes the arguments, does nothing."""

    def __init__(self, real, calls):
        self.real, self.calls = real, calls

    def __getattr__(self, name):
        return Standin(getattr(self.real, name), self.calls)

    def __call__(self, *args, **settings):
        bound = inspect.signature(self.real).bind(*args, **settings)
        self.calls.append((getattr(self.real, "__name__", "?"), bound.args, bound.kwargs))
        return MagicMock()


class Names(dict):
    """Whatever a cell has computed before is a stand-in, too."""

    def __missing__(self, name):
        if hasattr(builtins, name):
            raise KeyError(name)
        return MagicMock()


def uses(node):
    return any(isinstance(n, ast.Name) and n.id == "FULL" and isinstance(n.ctx, ast.Load) for n in ast.walk(node))


def dependent(tree):
    """The innermost calls with an argument that depends on FULL, and the other expressions that do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and uses(node):
            if not any(isinstance(n, ast.Call) and n is not node and uses(n) for n in ast.walk(node)):
                yield node
        elif isinstance(node, ast.Assign) and uses(node) and not any(
                isinstance(n, ast.Call) and uses(n) for n in ast.walk(node)):
            yield node.value


def values(source, full):
    """What the dependent expressions of a notebook's code get or give at one scale."""
    tree = ast.parse(source)
    names, calls = Names(FULL=full), []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = {}
            exec(compile(ast.Module([node], []), "imports", "exec"), found)
            names |= {name: Standin(value, calls) for name, value in found.items() if name != "__builtins__"}
    given = []
    for node in dependent(tree):
        calls.clear()
        value = eval(compile(ast.Expression(node), "cell", "eval"), {}, names)
        assert not isinstance(node, ast.Call) or calls, f"{ast.unparse(node)} calls nothing that was imported"
        given.append((ast.unparse(node), repr([(n, [a for a in args if not isinstance(a, MagicMock)],
                                                {k: v for k, v in settings.items() if not isinstance(v, MagicMock)})
                                               for n, args, settings in calls]) if calls else repr(value)))
    return given


def code(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return "\n".join(cell for cell in cells if not cell.lstrip().startswith("%"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_depends_on_the_scale_can_be_called_at_full_scale(path):
    small, full = values(code(path), False), values(code(path), True)
    assert full and len(small) == len(full)
    same = [call for (call, a), (_, b) in zip(small, full) if a == b]
    assert not same, f"the scale changes nothing in {same}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_at_full_scale_on_small_stand_ins(path):
    run = subprocess.run([sys.executable, ROOT / "tests" / "full_scale.py", path], capture_output=True, text=True,
                         env={**os.environ, "COURSE_SCALE": "full", "DLM_PROGRESS": "0", "MPLBACKEND": "agg"})
    assert run.returncode == 0, run.stderr[-3000:]
    calls = [line for line in run.stdout.splitlines() if line.startswith("asked for")]
    assert calls, "nothing that depends on the scale was asked for"


def test_a_fault_in_the_full_branch_is_noticed():
    good = "from helpers.training import evaluate\nevaluate(model, data, step=step, batch_size=9 if FULL else 3)"
    assert values(good, False) != values(good, True)
    with pytest.raises(TypeError, match="batchsize"):
        values(good.replace("batch_size", "batchsize"), True)
    assert values("n = 9 if FULL else 3", True) == [("9 if FULL else 3", "9")]


def test_the_switch(monkeypatch):
    for value in ("small", "full"):
        monkeypatch.setenv("COURSE_SCALE", value)
        assert scale() == value
    monkeypatch.setenv("COURSE_SCALE", "huge")
    with pytest.raises(UserError, match="set it to small or full"):
        scale()


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_an_experiment_can_be_asked_for_at_full_scale(name):
    small, full = experiments.arms(name, "small"), experiments.arms(name, "full")
    assert full and all(callable(arm) for arm in full.values())
    assert len(full) >= len(small)

"""The tree: one package a lecture, imports one way, modules of a readable length, a test file for each module."""

import ast
import importlib
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "helpers").rglob("*.py"))
LECTURES = {path.parent.name for path in MODULES if path.name == "lecture.py"}
MAY_IMPORT = {
    "course": set(),
    "data": {"course"},
    **{lecture: {"course", "data"} for lecture in LECTURES},
    "sentiment": {"course", "data", "recurrent"},
    "__main__": {"course", "data", *LECTURES},
}


def name_of(path):
    """helpers/yolo/darknet/cfg.py -> helpers.yolo.darknet.cfg, and a package's __init__.py -> the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path):
    """The modules of helpers that a file imports, in functions, too, or names in a string to import them later.

    `from helpers.yolo import boxes` means helpers.yolo.boxes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import from helpers.PACKAGE.MODULE, not from a dot"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else node.module for name in inner}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.match(r"(helpers(\.\w+)+)(:\w+)?$", node.value)  # "helpers.yolo.train:find" for importlib
            found |= {named[1]} & NAMES if named else set()
    return {name for name in found if name.partition(".")[0] == "helpers"}


def package(module):
    """helpers.yolo.darknet.cfg -> yolo; `helpers` itself -> "" """
    return module.partition(".")[2].partition(".")[0]


def circle(arrows):
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]


def test_every_package_has_its_place():
    assert {package(name) for name in NAMES} == {"", *MAY_IMPORT}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    own = package(name_of(path))
    allowed = MAY_IMPORT.get(own, set()) | {own, ""}
    wrong = {name for name in imported(path) if package(name) not in allowed}
    assert not wrong, f"{own} must not import {sorted(wrong)}"


def test_no_import_runs_in_a_circle():
    modules = {name_of(path): imported(path) - {name_of(path)} for path in MODULES}
    assert not circle(modules)
    packages = {}
    for name, found in modules.items():
        packages.setdefault(package(name), set()).update({package(n) for n in found} - {package(name)})
    assert not circle(packages)


def test_a_wrong_import_would_be_noticed(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import helpers.yolo\nfrom helpers.data import sets, fetch\n\n"
        "def f():\n    from helpers.recurrent.cells import Cell\n    import numpy\n\n"
        "LATER = 'helpers.sentiment.text:words', 'helpers.nothing'\n"
    )
    expected = {"yolo", "data", "data.sets", "recurrent.cells", "sentiment.text"}
    assert imported(path) == {f"helpers.{name}" for name in expected}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not circle({"a": {"b"}, "b": {"c"}})


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_go(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{lines} lines: 100 to 300 are meant, 400 the most"


def beside(module):
    """Where a module's tests are: tests/yolo/darknet/test_cfg.py for helpers.yolo.darknet.cfg."""
    *packages, name = module.split(".")[1:]
    if name == "__main__":
        return ROOT / "tests" / "test_cli.py"
    if name == "lecture":  # what it registers is the same for every lecture, and is tested together
        return ROOT / "tests" / "course" / "test_lectures.py"
    return ROOT.joinpath("tests", *packages, f"test_{name}.py")


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py"], ids=name_of)
def test_a_module_has_tests_of_its_name(path):
    where = beside(name_of(path))
    assert where.exists(), f"there is no {where.relative_to(ROOT)}"


@pytest.mark.parametrize("name", sorted(name_of(path) for path in MODULES if path.name == "__init__.py"))
def test_what_a_package_names_is_there(name):
    package = importlib.import_module(name)
    assert package.__doc__ or name == "helpers"
    for one in getattr(package, "__all__", ()):
        assert getattr(package, one) is not None, f"{name}.{one}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_map_shows_every_package_and_notebook(page):
    table = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for lecture in LECTURES:
        notebook = re.search(r"notebooks/(\w+)\.ipynb", importlib.import_module(f"helpers.{lecture}").__doc__)[1]
        assert (ROOT / "notebooks" / f"{notebook}.ipynb").is_file()
        assert any(f"`helpers/{lecture}`" in line and f"`{notebook}`" in line for line in table), lecture
    assert any("`helpers/data`" in line for line in table) and any("`helpers/course`" in line for line in table)


def test_help_is_light():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "helpers", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0 and "Usage" in run.stdout
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "helpers" in loaded and not loaded & {"torch", "numpy", "pandas", "sklearn", "matplotlib", "PIL"}

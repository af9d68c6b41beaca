"""The house: one list of dependencies in three files that must agree, and commands that set themselves up."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for group in lists for text in group]


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_are_plain_pins():
    for line in constraints():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), f"{line!r} is no plain pin"


def test_every_direct_dependency_is_pinned_inside_its_range():
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in map(Requirement, constraints())}
    for wanted in requirements():
        name = canonicalize_name(wanted.name)
        if name in (canonicalize_name(PROJECT["name"]), "pip"):
            continue
        assert name in pins, f"{wanted} of pyproject.toml is not pinned in constraints.txt"
        assert wanted.specifier.contains(pins[name]), f"{name}=={pins[name]} is outside {wanted}"


def imports(path):
    """(top-level package, whether it is tried and may be missing) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tried = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    for node in ast.walk(tree):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        for name in names:
            yield name.partition(".")[0], id(node) in tried


OURS = {
    "helpers",
    "tools",
    "conftest",
    "tests",
    *(path.stem for folder in ("book/_ext", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
}
COMPARED = {"ultralytics", "threadpoolctl"}  # used where they happen to be, never needed


@pytest.mark.parametrize(
    "folder, extras",
    [
        ("helpers", []),
        ("book/_ext", ["book"]),
        ("tools", ["book", "test"]),
        ("tests", ["book", "study", "test", "bench"]),
        ("benchmarks", ["test", "bench"]),
    ],
)
def test_what_is_imported_is_declared(folder, extras):
    from importlib.metadata import packages_distributions

    known = packages_distributions()
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    declared = {canonicalize_name(Requirement(text).name) for group in lists for text in group}
    everything = {canonicalize_name(wanted.name) for wanted in requirements()}
    missing = set()
    for path in (ROOT / folder).rglob("*.py"):
        for name, tried in imports(path):
            if name in sys.stdlib_module_names or name in OURS or name in COMPARED:
                continue
            owners = {canonicalize_name(owner) for owner in known.get(name, [name])}
            if not owners & (everything if tried else declared):
                missing.add(f"{path.name} imports {name}")
    assert not missing, sorted(missing)


def test_what_is_installed_is_what_was_tested():
    from importlib.metadata import PackageNotFoundError, version

    other = []
    for pin in map(Requirement, constraints()):
        try:
            found = Version(version(pin.name)).public  # 2.14.1+cu130 -> 2.14.1
        except PackageNotFoundError:
            other.append(f"{pin} not installed")
            continue
        if not pin.specifier.contains(found):
            other.append(f"{pin}, here {found}")
    if other:
        pytest.skip("other versions than the tested set: " + "; ".join(other))


def test_conda_takes_everything_from_pyproject():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, tail = env["dependencies"]
    assert python == "python" + PROJECT["requires-python"]
    assert pip == "pip"
    assert tail == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert "dev" in PROJECT["optional-dependencies"]


def test_dev_holds_every_extra():
    extras = PROJECT["optional-dependencies"]
    everything = Requirement(extras["dev"][0])
    assert canonicalize_name(everything.name) == canonicalize_name(PROJECT["name"])
    assert everything.extras == set(extras) - {"dev"}


@pytest.mark.parametrize("shown, said", [("3.10.4", "3.10.4 does not fit"), (None, "no python3 here")])
def test_make_names_the_python_that_does_not_fit(tmp_path, shown, said):
    """In an empty copy of the Makefile, with an interpreter that is too old or not there."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    fake = tmp_path / "bin"
    fake.mkdir()
    if shown:
        python = fake / "python3"
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {shown} && exit 0\nexit 1\n')
        python.chmod(0o755)
    for tool in ("sh", "make"):
        found = shutil.which(tool)
        if not found:
            pytest.skip(f"no {tool} here")
        (fake / tool).symlink_to(found)
    run = subprocess.run(
        [str(fake / "make"), "-C", str(tmp_path), "book"], capture_output=True, text=True, env={"PATH": str(fake)}
    )
    assert run.returncode == 2 and said in run.stdout and not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    "folder, code, complaint",
    [
        ("helpers/course", "def shown(x):\n    return x\n", "ANN201"),
        ("helpers/data/leaves", "def shown(x):\n    return x\n", "ANN201"),
        ("helpers/course", "def _inner(x):\n    return x\n", None),
        ("helpers/yolo", "def shown(x):\n    return x\n", None),
    ],
)
def test_lint_asks_for_types_where_they_are_promised(folder, code, complaint):
    command = ["ruff", "check", "--output-format", "concise", "--stdin-filename", f"{folder}/new.py", "-"]
    run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, input=code, capture_output=True, text=True)
    assert run.returncode == bool(complaint), run.stdout + run.stderr
    assert not complaint or complaint in run.stdout


def test_make_help_names_every_target():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split()
    run = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0
    for target in phony:
        assert f"make {target} " in run.stdout, f"make help does not explain `make {target}`"


def test_readme_tells_the_same_commands():
    readme = (ROOT / "README.md").read_text()
    for command in (
        "make book",
        "make test",
        "make lab",
        "conda env create -f environment.yml",
        'pip install -c constraints.txt -e ".[dev]"',
        "python -m helpers data fetch",
        "jupyter-book build .",
    ):
        assert command in readme, f"README.md does not say `{command}`"

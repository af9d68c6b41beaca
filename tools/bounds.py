"""The lower bounds of pyproject.toml as pip constraints: python -m tools.bounds > lowest.txt

`make test-lowest` installs with them and runs the tests, so a bound that is too low does not stay: each direct
dependency, those of the extras included, in the very version that its range begins with.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def lowest(pyproject):
    """["name==version"] of every dependency of a parsed pyproject.toml; raises ValueError for one without a bound."""
    project = pyproject["project"]
    found = {}
    for line in project["dependencies"] + sum(project["optional-dependencies"].values(), []):
        wanted = Requirement(line)
        if wanted.name == project["name"]:
            continue  # an extra that names other extras
        bounds = [s.version for s in wanted.specifier if s.operator in (">=", "==", "~=")]
        if len(bounds) != 1:
            raise ValueError(f"{line!r} names no lowest version")
        found[wanted.name] = bounds[0]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))))
    sys.exit(0)

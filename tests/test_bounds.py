"""The lower bounds that `make test-lowest` installs are those of pyproject.toml."""

import tomllib

import pytest

from tools.bounds import ROOT, lowest


def test_every_dependency_has_a_lowest_version():
    lines = lowest(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert "torch==2.9" in lines and "albumentations==2.0.8" in lines and len(lines) > 40
    assert not any("deep-learning-measured" in line for line in lines)


def test_a_dependency_without_a_bound_is_refused():
    with pytest.raises(ValueError, match="'numpy<3' names no lowest version"):
        lowest({"project": {"name": "a", "dependencies": ["numpy<3"], "optional-dependencies": {}}})

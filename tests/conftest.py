"""What tests of several rooms share."""

import os
import pickle

import filelock
import pytest


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)`: what make() returns, made by the first worker that asks and pickled for the others."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def get(name, make):
        path = root / f"{name}.pickle"
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():
                made = pickle.dumps(make())
                path.write_bytes(made)
            return pickle.loads(path.read_bytes())

    return get


@pytest.fixture
def ax():
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)

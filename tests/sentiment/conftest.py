"""Classifiers that several files of tests ask."""

import pytest
from toy_texts import FAST, toy

from helpers.sentiment.model import LINEAR
from helpers.sentiment.readers import READERS
from helpers.sentiment.train import train_classifier


class Trained(dict):
    """One classifier of each kind, trained for a second when a test first asks for it."""

    def __missing__(self, kind):
        options = {kind: {"lr": 1e-2} | FAST for kind in READERS} | {kind: {} for kind in LINEAR}
        options["class-ratio"] |= {"members": 2}
        options["best"] |= {"lr": 4e-3, "batch_size": 16, "epochs": 20, "pretrain_epochs": 1, "members": 2}
        self[kind] = train_classifier(toy(), kind, **options[kind])
        return self[kind]


@pytest.fixture(scope="session")
def trained():
    return Trained()

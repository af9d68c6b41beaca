"""Curves of long trainings: where they are measured, what stops them, PCA's line."""

import numpy as np
import pytest
import torch

from helpers.embedding import curves
from helpers.embedding.train import fit_images, splits


def test_errors_are_measured_often_at_first_and_at_the_end():
    assert curves.epochs_looked_at(3) == [1, 2, 3]
    assert curves.epochs_looked_at(23) == [*range(1, 11), 15, 20, 23]


def test_the_error_is_a_sum_over_pixels_and_a_mean_over_pictures():
    x = torch.zeros(2, 1, 2, 2)
    found = curves.errors(lambda x: x + torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), {"train": x})
    assert found == {"train": pytest.approx((4 + 16) / 2)}


def test_it_stops_by_validation_error_alone():
    """The test error is lowest elsewhere, as planted; the choice does not move."""
    given = {"train": [4, 3, 2], "valid": [5.0, 3.0, 4.0], "test": [0.0, 9.0, 1.0]}
    assert curves.stopped(given, [1, 5, 9]) == (1, 5)
    assert curves.stopped(given | {"test": [9.0, 9.0, 0.0]}, [1, 5, 9]) == (1, 5)


def test_the_rate_is_chosen_by_validation_error_alone(monkeypatch):
    """The second rate has the better validation error, the first a planted, perfect test error."""
    planted = {
        1e-3: {"train": [2.0, 1.0], "valid": [6.0, 7.0], "test": [0.0, 0.0]},
        3e-3: {"train": [3.0, 2.0], "valid": [5.5, 5.0], "test": [8.0, 9.0]},
    }
    monkeypatch.setattr(curves, "trained", lambda k, rate, *rest: planted[rate])
    values = curves._curve("dense", 8, (1e-3, 3e-3), 2, 50, 0)
    assert (values["rate"], values["stopped at"], values["error"], values["last"]) == (3e-3, 2, 9.0, 9.0)
    assert values["test curve"] == [8.0, 9.0] and values["epochs"] == [1, 2]


def test_a_curve_is_that_of_one_training():
    """After two epochs it is where a training of two epochs ends, though it goes on to three."""
    parts = curves.digits(64, 0)
    found = curves.trained(4, 1e-3, 3, parts, seed=0)
    assert {len(curve) for curve in found.values()} == {3}
    torch.manual_seed(0)
    model = curves.autoencoder.build("dense", (1, 28, 28), 4)
    fit_images(model, parts["train"], epochs=2, batch_size=64, lr=1e-3, seed=0)
    with torch.no_grad():
        z = torch.sigmoid(model(parts["test"]))
    wanted = (z - parts["test"]).square().flatten(1).sum(1).mean().item()
    assert found["test"][1] == pytest.approx(wanted, rel=1e-4)


def test_pcas_line_is_scikit_learns():
    from sklearn.decomposition import PCA

    values = curves._curve("pca", 5, (), 0, 300, 1)
    parts = {part: images.flatten(1).double().numpy() for part, (images, _) in splits("mnist5k", 1).items()}
    model = PCA(5, svd_solver="full").fit(parts["train"][:300])
    for measure, x in (("error", parts["test"]), ("train error", parts["train"][:300])):
        wanted = np.square(x - model.inverse_transform(model.transform(x))).sum(1).mean()
        assert values[measure] == pytest.approx(wanted, rel=1e-5)


def test_arms_are_a_network_and_pca_at_each_width():
    assert list(curves.curves("small")) == ["dense 64", "pca 64"]

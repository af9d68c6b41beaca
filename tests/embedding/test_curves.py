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


def test_the_rate_is_chosen_by_validation_error_alone():
    """The second rate has the better validation error with seed 0, the first the better test error with both."""
    planted = {"dense 8, rate 0.001": ([6.0, 5.0], [0.0, 0.0]), "dense 8, rate 0.003": ([5.0, 5.5], [8.0, 9.0])}
    record = {(arm, name): v for arm, pair in planted.items() for name, v in zip(("valid error", "error"), pair)}
    record["arms"] = [*planted, "dense 64, rate 0.003", "pca 8"]
    assert curves.chosen(record, 8) == ["dense 8, rate 0.003", "dense 8, rate 0.001"]


def test_values_of_a_curve_are_those_where_it_stopped(monkeypatch):
    planted = {"train": [3.0, 2.0, 1.0], "valid": [5.5, 5.0, 6.0], "test": [8.0, 9.0, 1.0]}
    monkeypatch.setattr(curves, "trained", lambda *settings: planted)
    values = curves._curve(8, 1e-3, 50, 1, 50, 0)
    assert [values[name] for name in ("stopped at", "error", "train error", "valid error", "last")] == [2, 9, 2, 5, 1]
    assert values["test curve"] == [8.0, 9.0, 1.0] and values["epochs"] == [1, 2, 3]


def test_training_stops_when_the_validation_error_has_long_been_higher():
    parts = curves.digits(64, 0)
    found = curves.trained(4, 0.3, 60, 3, parts, seed=0)  # a rate at which nothing is learned for long
    lowest = min(range(len(found["valid"])), key=lambda i: found["valid"][i])
    assert len(found["valid"]) < len(curves.epochs_looked_at(60)) and lowest < len(found["valid"]) - 1


def test_a_curve_is_that_of_one_training():
    """After two epochs it is where a training of two epochs ends, though it goes on to three."""
    parts = curves.digits(64, 0)
    found = curves.trained(4, 1e-3, 3, None, parts, seed=0)
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

    values = curves._pca(5, 300, 1)
    parts = {part: images.flatten(1).double().numpy() for part, (images, _) in splits("mnist5k", 1).items()}
    model = PCA(5, svd_solver="full").fit(parts["train"][:300])
    for measure, x in (("error", parts["test"]), ("train error", parts["train"][:300])):
        wanted = np.square(x - model.inverse_transform(model.transform(x))).sum(1).mean()
        assert values[measure] == pytest.approx(wanted, rel=1e-5)


def test_arms_are_a_network_and_pca_at_each_width():
    assert list(curves.curves("small")) == [
        *(f"dense 64, rate {rate}" for rate in ("0.0001", "0.0003", "0.001")),
        "pca 64",
    ]

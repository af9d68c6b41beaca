"""The strategies of lecture 06: what moves, and the best linear head against scikit-learn's."""

import pytest
import torch
from small_classifier import changed, images, small, state
from torch import nn
from torch.nn import functional as F

from helpers.course.augment import flip_and_shift
from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.course.training import evaluate, fit
from helpers.transfer.model import blocks
from helpers.transfer.train import Scaled, linear_probe, prepare, probe, train_classifier, trainable

# ---------------------------------------------------------------- strategies


@pytest.mark.parametrize("strategy", ["base", "half", "none", 1, 0])
def test_frozen_means_bit_identical_and_the_rest_moves(strategy):
    model = prepare(small(), strategy)
    parts = blocks(model.base)
    frozen = {"base": len(parts), "half": len(parts) // 2, "none": 0}.get(strategy, strategy)
    before = [state(m) for _, m in parts]
    optimizer = torch.optim.AdamW(trainable(model), 0.01, weight_decay=0.1)
    fit(model, images(), step=classify, optimizer=optimizer, epochs=2, batch_size=4, device="cpu")
    for i, ((name, module), old) in enumerate(zip(parts, before, strict=True)):
        moved = changed(old, state(module))
        assert moved == (set() if i < frozen else set(old)), name
    assert changed(dict(weight=torch.zeros_like(model.head.weight)), dict(weight=model.head.weight))


@pytest.mark.parametrize("strategy", ["base", "half", "none"])
def test_the_step_leaves_nothing_on_the_cpu(strategy):
    model = prepare(small(), strategy).to("meta").train()
    batch = tuple(t.to("meta") for t in images()[:])
    batch = flip_and_shift(batch, torch.Generator().manual_seed(0))
    sums = classify(model, batch)
    assert sums["loss"].is_meta and sums["accuracy"].is_meta
    sums["loss"].backward()


def test_bad_strategies_end_in_one_line():
    with pytest.raises(UserError, match="must be one of scratch.*got 'everything'"):
        prepare(small(), "everything")
    with pytest.raises(UserError, match="cannot freeze 99"):
        prepare(small(), 99)


# ---------------------------------------------------------------- the head


@pytest.mark.parametrize("features", [20, 400])
def test_the_linear_probe_reaches_scikit_learns_optimum(features):
    from sklearn.linear_model import LogisticRegression

    g = torch.Generator().manual_seed(0)
    y = torch.arange(150) % 3
    x = torch.randn(150, features, generator=g) * torch.logspace(-1, 1, features)
    x += y[:, None] * torch.randn(features, generator=g)
    l2 = 1e-2
    w, b = linear_probe(x, y, 3, l2)
    mean, s = x.double().mean(0).numpy(), x.double().std().item()
    z = (x.double().numpy() - mean) / s
    best = LogisticRegression(C=1 / (150 * l2), tol=1e-10, max_iter=5000).fit(z, y.numpy())

    def objective(w, b):
        scores = torch.as_tensor(z) @ torch.as_tensor(w).T + torch.as_tensor(b)
        return (F.cross_entropy(scores, y) + l2 / 2 * torch.as_tensor(w).square().sum()).item()

    ours = objective(w.double().numpy() * s, b.double().numpy() + w.double().numpy() @ mean)
    theirs = objective(best.coef_, best.intercept_)
    assert ours == pytest.approx(theirs, abs=1e-6)
    agree = ((x @ w.T + b).argmax(1).numpy() == best.predict(z)).mean()
    assert agree == 1.0


def test_the_frozen_base_trains_the_head_on_features_as_well_as_the_optimum():
    data = images(60)
    model = small()
    train_classifier(model, data, data, strategy="base", epochs=60, device="cpu")
    twin = small()
    probe(twin, data, device="cpu")
    a, b = (evaluate(m, data, step=classify, device="cpu") for m in (model, twin))
    assert a["accuracy"] == b["accuracy"] == 1.0


def test_scaled_folds_into_a_plain_head():
    x = torch.randn(30, 7) * 50 + 3
    head = nn.Linear(7, 4)
    inner = Scaled(head, x)
    nn.init.normal_(inner.linear.weight)
    inner.fold(head)
    torch.testing.assert_close(head(x), inner(x), rtol=1e-4, atol=1e-4)

"""Freezing, heads and costs of lecture 06 against scikit-learn, closed forms, autograd and recomputation."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import evaluate
from helpers.transfer import model as transfer
from helpers.transfer.costs import cost_table, saved_bytes
from helpers.transfer.model import Classifier, blocks, freeze, freeze_first, unfreeze
from helpers.transfer.train import (
    Scaled,
    classify,
    flip_and_shift,
    linear_probe,
    prepare,
    probe,
    train_classifier,
    trainable,
)


def pictures(n=12, classes=3, size=48):
    g = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    x = torch.randint(0, 120, (n, 3, size, size), generator=g, dtype=torch.uint8)
    x[torch.arange(n), y] += 100  # the class is the brightest channel
    return Tensors(x, y)


def small(classes=3):
    torch.manual_seed(0)
    return Classifier(classes, "resnet10t", pretrained=False)


def changed(before, after):
    return {k for k in before if not torch.equal(before[k], after[k])}


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


# ------------------------------------------------------------------ pretrained weights


@pytest.fixture(scope="module")
def lite0():
    return Classifier(3).eval()


def test_the_built_in_weights_know_photographs():
    from helpers.data.images import fit_square
    from helpers.data.sets import photographs

    net, (mean, std) = transfer.backbone()
    photos = photographs()
    x = torch.stack([fit_square(photos[name], 224) for name in ("cat", "coffee", "china")]).float() / 255
    with torch.no_grad():
        top = net.eval()((x - mean[0]) / std[0]).topk(3).indices.tolist()
    # ImageNet's numbers: 281 tabby, 282 tiger cat, 285 Egyptian cat; 967 espresso; 698 palace
    assert {281, 282, 285} >= set(top[0]) and top[1][0] == 967 and top[2][0] == 698


def test_unknown_backbones_and_missing_networks_end_in_one_line(monkeypatch):
    import timm

    with pytest.raises(UserError, match="no backbone 'resnet5x'"):
        transfer.backbone("resnet5x")

    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="could not be downloaded.*efficientnet_lite0"):
        transfer.backbone("resnet18")


# ------------------------------------------------------------------ freezing


@pytest.mark.parametrize("strategy", ["base", "half", "none", 1, 0])
def test_frozen_means_bit_identical_and_the_rest_moves(strategy):
    model = prepare(small(), strategy)
    parts = blocks(model.base)
    frozen = {"base": len(parts), "half": len(parts) // 2, "none": 0}.get(strategy, strategy)
    before = [state(m) for _, m in parts]
    optimizer = torch.optim.AdamW(trainable(model), 0.01, weight_decay=0.1)
    from helpers.course.training import fit

    fit(model, pictures(), step=classify, optimizer=optimizer, epochs=2, batch_size=4, device="cpu")
    for i, ((name, module), old) in enumerate(zip(parts, before, strict=True)):
        moved = changed(old, state(module))
        assert moved == (set() if i < frozen else set(old)), name
    assert changed(dict(weight=torch.zeros_like(model.head.weight)), dict(weight=model.head.weight))


def test_requires_grad_alone_lets_batch_norm_drift_and_freeze_does_not():
    x, y = pictures()[:]
    naive, proper = small(), small()
    for p in naive.base.parameters():
        p.requires_grad_(False)
    freeze(proper.base)
    for model, drifts in ((naive, True), (proper, False)):
        before = state(model.base)
        model.train()
        classify(model, (x, y))["loss"].backward()
        moved = changed(before, state(model.base))
        assert bool(moved) == drifts and all("running" in k or "batches" in k for k in moved)


def test_frozen_statistics_stay_while_scale_and_shift_learn():
    x, y = pictures()[:]
    model = transfer.freeze_statistics(small())
    for part in model.base.modules():  # residual branches start at scale 0, which would stop the gradient
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    before = state(model.base)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model.train()
    nn.init.normal_(model.head.weight)
    classify(model, (x, y))["loss"].backward()
    optimizer.step()
    moved = changed(before, state(model.base))
    assert moved == {k for k, _ in model.base.named_parameters()}


def test_freezing_survives_deepcopy_and_can_be_undone():
    model = small()
    freeze(model.base)
    twin = copy.deepcopy(model).train()
    assert not twin.base.training and twin.head.training
    unfreeze(twin)
    twin.train()
    assert twin.base.training and all(p.requires_grad for p in twin.parameters())
    assert not model.train().base.training  # the original stays frozen: nothing is shared


def test_no_gradient_reaches_a_frozen_prefix():
    model = small().train()
    names = freeze_first(model.base, 2)
    classify(model, pictures()[:])["loss"].backward()
    for name, module in blocks(model.base):
        assert all((p.grad is None) == (name in names) for p in module.parameters())


def test_training_behind_a_frozen_prefix_equals_training_on_its_outputs():
    x, y = pictures()[:]
    model = small().double().eval()
    net, k = model.base, 3  # the stem of resnet10t as children: conv1, bn1, act1
    stem = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool, net.layer1)
    freeze(stem)
    z = ((x.double() / 255) - model.mean.double()) / model.std.double()
    with torch.no_grad():
        cached = stem(z)  # (B, 64, H/4, W/4)
    twin = copy.deepcopy(model)
    rest = nn.Sequential(twin.base.layer2, twin.base.layer3, twin.base.layer4, twin.base.global_pool, twin.head)
    losses = []
    for forward, module in ((lambda: model.head(net(z)), model), (lambda: rest(cached), rest)):
        opt = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.05)
        path = []
        for _ in range(5):
            opt.zero_grad()
            loss = F.cross_entropy(forward(), y)
            loss.backward()
            opt.step()
            path.append(loss.item())
        losses.append(path)
    assert losses[0] == pytest.approx(losses[1], abs=1e-9) and losses[0][4] < losses[0][0] and k


# ------------------------------------------------------------------ the head


def test_the_linear_probe_reaches_scikit_learns_optimum():
    from sklearn.linear_model import LogisticRegression

    g = torch.Generator().manual_seed(0)
    y = torch.arange(150) % 3
    x = torch.randn(150, 20, generator=g) * torch.logspace(-1, 1, 20) + y[:, None] * torch.randn(20, generator=g)
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
    data = pictures(60)
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


# ------------------------------------------------------------------ costs


def test_costs_of_resnet50_equal_the_closed_form():
    rows = cost_table(torchvision.models.resnet50(num_classes=33))
    assert [r[0] for r in rows] == [
        "conv1",
        "bn1",
        "relu",
        "maxpool",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "avgpool",
        "fc",
    ]
    # conv: k*k*in*out weights, times the output positions as multiply-adds; 112, 56 ... are the map sides
    conv1 = (7 * 7 * 3 * 64, 7 * 7 * 3 * 64 * 112**2, 64 * 112**2)
    assert rows[0][1:] == conv1 and rows[1][1] == 2 * 64
    weights = 64 * 64 + 9 * 64 * 64 + 64 * 256 + 64 * 256 + 2 * (256 * 64 + 9 * 64 * 64 + 64 * 256)
    assert rows[4][2] == weights * 56**2  # layer1 keeps its side
    assert rows[4][1] == weights + 2 * (64 + 64 + 256 + 256 + 2 * (64 + 64 + 256))
    assert rows[4][3] == 2 * 56**2 * (64 + 64 + 256 + 256 + 2 * (64 + 64 + 256))
    assert rows[9][1:] == (2048 * 33 + 33, 2048 * 33, 0)
    assert sum(r[1] for r in rows[:5]) == 225_344 and sum(r[1] for r in rows) == 23_575_649


def test_saved_bytes_counts_what_autograd_keeps():
    x = torch.randn(10, 20)
    layer = nn.Linear(20, 30)
    kept = saved_bytes(lambda: torch.tanh(layer(x)).sum())
    assert kept == 4 * (10 * 20 + 10 * 30)  # the input of the product, and the output of tanh
    with torch.no_grad():
        assert saved_bytes(lambda: torch.tanh(layer(x)).sum()) == 0


# ------------------------------------------------------------------ pictures and devices


def test_flip_and_shift_moves_each_picture_by_itself():
    g = torch.Generator().manual_seed(0)
    x = torch.arange(200 * 3 * 16 * 16, dtype=torch.float32).reshape(200, 3, 16, 16) % 251
    out, y = flip_and_shift((x.byte(), torch.arange(200)), g)
    assert out.shape == x.shape and out.dtype == torch.uint8 and y.equal(torch.arange(200))
    found = set()
    wide = np.pad(x.byte().numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    flipped = np.pad(x.byte().numpy()[..., ::-1], ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    for i in range(200):  # by NumPy's slices: every picture is one of the 2 x 5 x 5 possible ones
        places = [
            (m, t, left)
            for m, source in enumerate((wide, flipped))
            for t in range(5)
            for left in range(5)
            if np.array_equal(out[i], source[i, :, t : t + 16, left : left + 16])
        ]
        assert places
        found.add(places[0])
    assert len(found) > 45  # of 50: nearly all of them were drawn


@pytest.mark.parametrize("strategy", ["base", "half", "none"])
def test_the_step_leaves_nothing_on_the_cpu(strategy):
    model = prepare(small(), strategy).to("meta").train()
    batch = tuple(t.to("meta") for t in pictures()[:])
    batch = flip_and_shift(batch, torch.Generator().manual_seed(0))
    sums = classify(model, batch)
    assert sums["loss"].is_meta and sums["accuracy"].is_meta
    sums["loss"].backward()


def test_bad_strategies_end_in_one_line():
    with pytest.raises(UserError, match="not one of"):
        prepare(small(), "everything")
    with pytest.raises(UserError, match="cannot freeze 99"):
        prepare(small(), 99)

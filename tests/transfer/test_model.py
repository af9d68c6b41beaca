"""Backbones and freezing of lecture 06, against known labels, autograd and recomputation."""

import copy

import pytest
import torch
from small_classifier import changed, images, small, state
from torch import nn
from torch.nn import functional as F

from helpers.course.classify import classify
from helpers.course.errors import UserError
from helpers.transfer import model as transfer
from helpers.transfer.model import Classifier, blocks, freeze, freeze_first, unfreeze

# ---------------------------------------------------------------- pretrained weights


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


# ---------------------------------------------------------------- freezing


def test_requires_grad_alone_lets_batch_norm_drift_and_freeze_does_not():
    x, y = images()[:]
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
    x, y = images()[:]
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
    classify(model, images()[:])["loss"].backward()
    for name, module in blocks(model.base):
        assert all((p.grad is None) == (name in names) for p in module.parameters())


def test_training_behind_a_frozen_prefix_equals_training_on_its_outputs():
    x, y = images()[:]
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

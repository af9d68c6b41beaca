"""Borrowed features: shapes, what is frozen, files, and what is refused."""

import numpy as np
import pytest
import torch
from command_line import here, refused, stopped, the_object
from voc_folder import write_scenes

from helpers.course.errors import UserError
from helpers.data.sets import lite0_state_dict
from helpers.data.voc import VocSet
from helpers.yolo import backbone
from helpers.yolo import train as yolo_train
from helpers.yolo.detect import detect_dataset
from helpers.yolo.model import make_augment, make_step

ANCHORS = [[8, 8], [16, 16], [32, 32], [64, 64]]
NAME = "efficientnet_lite0"


def borrowed(strides=(16, 32), pretrained=False):
    torch.manual_seed(0)
    return backbone.Borrowed(3, ANCHORS, (64, 96), strides, width=8, pretrained=pretrained)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight scenes to train and four to validate, as a VOC folder."""
    return write_scenes(tmp_path_factory.mktemp("voc"), {"train": 8, "val": 4})


def words(folder, out, *more):
    voc = ("--data", f"voc:{folder}", "--size", 96, "--batch-size", 4, "--flip", "none", "--device", "cpu")
    return ["yolo", "train", *voc, "--out", out, "--backbone", NAME, *more]


@pytest.mark.parametrize("strides", [(8, 16), (16, 32)])
def test_a_head_has_a_cell_for_each_stride(strides):
    model = borrowed(strides).eval()
    heads = model(torch.rand(2, 3, 64, 96))
    assert [tuple(h.shape) for h in heads] == [(2, 2 * 8, 64 // s, 96 // s) for s in strides[::-1]]
    assert [end.mask.tolist() for end in model.heads] == [[2, 3], [0, 1]]  # the coarse grid has the large anchors
    boxes, scores = model.decode(heads)
    cells = sum(64 // s * (96 // s) for s in strides)
    assert boxes.shape == (2, 2 * cells, 4) and scores.shape == (2, 2 * cells, 3)


def test_the_features_are_those_of_the_whole_network():
    """The same maps as the classifier with all its weights has on its way, on pixels as it was trained with."""
    import timm

    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), lite0_state_dict().values(), strict=True)))
    pixels = torch.randint(256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model, seen = borrowed(pretrained=True).eval(), []
    model.base.register_forward_hook(lambda module, given, maps: seen.append(maps))
    with torch.no_grad():
        model(pixels.float() / 255)
        x, expected = whole.bn1(whole.conv_stem((pixels.float() - 127) / 128)), {}
        for i, block in enumerate(whole.blocks):
            x = expected[i] = block(x)
    for mine, block in zip(seen[0], (4, 6)):
        assert torch.allclose(mine, expected[block], atol=1e-3)  # x / 255 * 255 rounds


@pytest.mark.parametrize("how", backbone.FREEZES)
def test_what_is_frozen_does_not_move(how):
    model = backbone.hold(borrowed(), how)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.AdamW(backbone.groups(model, 1e-2, 0.1))
    truth = torch.tensor([[[0.5, 0.5, 0.2, 0.3, 1]]]).expand(2, -1, -1)
    make_step()(model, (torch.randint(256, (2, 3, 64, 96)).to(torch.uint8), truth))["loss"].backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("out.") for name in moved) and any("side.0.norm" in name for name in moved)
    assert not any(name.startswith("base.") and ("running" in name or "tracked" in name) for name in moved)
    learnt = {name.split(".")[2] for name in moved if name.startswith("base.blocks")}
    first = {"base": set(), "half": {"4", "5", "6"}, "none": set("0123456")}[how]
    assert learnt == first and (("base.conv_stem.weight" in moved) == (how == "none"))


def test_the_base_learns_at_a_tenth():
    model = backbone.hold(borrowed(), "none")
    found = backbone.groups(model, 1e-2, 0.1)
    assert [(g["lr"], g["weight_decay"]) for g in found] == [(1e-3, 0.1), (1e-3, 0.0), (1e-2, 0.1), (1e-2, 0.0)]
    assert sum(len(g["params"]) for g in found) == len(list(model.parameters()))
    assert len(backbone.groups(backbone.hold(model, "base"), 1e-2, 0.1)) == 2


def test_a_few_photographs_lower_the_loss_and_a_file_finds_the_same(folder, tmp_path):
    data = VocSet(folder, "train", 96)
    still = make_augment(zoom=1.0, shift=0.0, colour=0.0)
    model, result = yolo_train.train_detector(
        data, epochs=12, batch_size=4, backbone=NAME, freeze="half", augment=still, device="cpu", label=""
    )
    losses = [entry["loss"] for entry in result.history]
    assert losses[-1] < 0.8 * losses[0]  # 24 steps, a fifth of them warm-up: it falls to 0.63; unlearnt it stays at 1
    again = yolo_train.load(yolo_train.save(tmp_path / "model.safetensors", model))
    for a, b in zip(detect_dataset(model, data), detect_dataset(again, data)):
        assert len(a["boxes"]) and all(torch.equal(a[name], b[name]) for name in ("boxes", "scores", "labels"))


def test_the_commands_train_resume_score_and_refuse_to_export(folder, tmp_path, monkeypatch):
    ask = ("--epochs", 3, "--freeze", "half", "--json")
    whole = the_object(here(*words(folder, tmp_path / "whole", *ask)).stdout)
    stopped(monkeypatch, 1, *words(folder, tmp_path / "cut", *ask))
    resumed = the_object(here(*words(folder, tmp_path / "cut", *ask, "--resume")).stdout)
    assert resumed["map"] == whole["map"]
    one, two = (yolo_train.load(tmp_path / p / "model.safetensors").state_dict() for p in ("whole", "cut"))
    assert all(torch.equal(one[name], value) for name, value in two.items())
    scores = here("yolo", "eval", "--weights", tmp_path / "cut", "--data", f"voc:{folder}", "--json")
    assert the_object(scores.stdout)["map"] == pytest.approx(whole["map"], abs=1e-6)
    picture = folder / "JPEGImages/val0.png"
    found = here("yolo", "detect", "--weights", tmp_path / "cut", picture, "--threshold", 0.01, "--json")
    assert len(the_object(found.stdout)["detections"]) == 1
    out = tmp_path / "darknet"
    refused(here("yolo", "export-darknet", "--weights", tmp_path / "cut", "--out", out), NAME, "--backbone none")
    assert not out.exists()


def test_what_there_is_not_is_named(folder, tmp_path):
    with pytest.raises(UserError, match="none, efficientnet_lite0; got 'resnet'"):
        backbone.check("resnet")
    with pytest.raises(UserError, match="base, half, none; got 'most'"):
        backbone.check(NAME, "most")
    with pytest.raises(UserError, match=r"strides 4, 8, 16, 32; got \(64,\)"):
        backbone.check(NAME, strides=(64,))
    with pytest.raises(UserError, match="multiples of 32; got 100 x 64"):
        backbone.Borrowed(1, np.ones((4, 2)), (64, 100), pretrained=False)
    refused(here(*words(folder, tmp_path / "a", "--backbone", "resnet")), "--backbone", "resnet")
    refused(here(*words(folder, tmp_path / "a", "--freeze", "most")), "--freeze", "most")

"""One file, hashed, and nothing in it that runs."""

import os

import pytest
import torch
from blobs import net

from helpers.course import checkpoint
from helpers.course.errors import UserError


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path / "a.safetensors", {"x": torch.ones(3)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save(path, {"x": torch.zeros(3)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_checkpoints_keep_every_leaf(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tree = {"a": {1: tied.T, "b": [tied, True, None, 2.5, "ü"]}, "e": torch.zeros(0), "h": torch.ones(2).bfloat16()}
    back = checkpoint.load(checkpoint.save(tmp_path / "t.safetensors", tree))
    assert back["a"][1].equal(tied.T) and back["a"]["b"][1:] == [True, None, 2.5, "ü"]
    assert back["e"].shape == (0,) and back["h"].dtype == torch.bfloat16
    with pytest.raises(TypeError, match="checkpoint holds"):
        checkpoint.save(tmp_path / "t.safetensors", {"f": print})


def test_a_model_comes_back_with_its_config(tmp_path):
    model = net()
    path = checkpoint.save_model(tmp_path / "model.safetensors", model, {"width": 16, "classes": ["ä", "b"]})
    weights, config = checkpoint.load_model(path)
    assert config == {"width": 16, "classes": ["ä", "b"]}
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    with pytest.raises(UserError, match="holds no model"):
        checkpoint.load_model(checkpoint.save(tmp_path / "other.safetensors", {"a": 1}))
    with pytest.raises(UserError, match="no checkpoint .*check the path"):
        checkpoint.load(tmp_path / "nowhere.safetensors")


def test_the_same_tree_gives_the_same_bytes(tmp_path):
    tree = {"b": torch.ones(3), "a": [torch.zeros(2), 1.5]}
    one, two = (checkpoint.save(tmp_path / name, tree).read_bytes() for name in ("one", "two"))
    assert one == two

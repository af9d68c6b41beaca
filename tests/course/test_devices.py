"""The engine under the loop: a tensor left behind is found, settings do not stick."""

import pytest
import torch
from blobs import blobs, net, step

from helpers.course import devices


def test_the_meta_device_shows_a_forgotten_tensor():
    sums = step(net().to("meta"), tuple(t.to("meta") for t in blobs(4).tensors))
    assert sums["loss"].is_meta

    def forgetful(model, batch):
        return {"loss": (model(batch[0]) * torch.ones(4, 3)).sum()}

    with pytest.raises(RuntimeError, match="device"):
        forgetful(net().to("meta"), tuple(t.to("meta") for t in blobs(4).tensors))


def test_settings_are_forgotten_between_two_engines():
    """Accelerate would keep the first one's precision, and says so: why its private `_reset_state` is called."""
    from accelerate import Accelerator

    assert devices.engine("cpu", "bf16").mixed_precision == "bf16"
    assert devices.engine("cpu", "no").mixed_precision == "no"
    with pytest.raises(ValueError, match="already been initialized"):
        Accelerator(cpu=True, mixed_precision="bf16")
    devices.forget_settings()
    assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"


def test_several_processes_keep_their_group(monkeypatch):
    from accelerate.state import AcceleratorState, PartialState

    devices.engine("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    devices.forget_settings()
    assert PartialState._shared_state and not AcceleratorState._shared_state
    monkeypatch.setenv("WORLD_SIZE", "1")
    devices.forget_settings()
    assert not PartialState._shared_state


def test_a_nested_batch_is_moved_and_a_model_comes_back():
    batch = devices.move({"x": (torch.ones(2), [torch.zeros(1)]), "names": ["a"]}, torch.device("meta"))
    assert batch["x"][0].is_meta and batch["x"][1][0].is_meta and batch["names"] == ["a"]
    model = net()
    with pytest.raises(ValueError):
        with devices.moved(model, "cpu"):
            raise ValueError
    assert next(model.parameters()).device.type == "cpu"

"""Exact figures of a model, and its outputs: nothing is trained here.

A `step` returns sums over the samples of its batch. They are added up on the device and divided once by the number of
samples, so an accuracy is k/N for every batch size and any number of processes: no mean of means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset

from helpers.course.batches import Batches, Tensors, loader
from helpers.course.devices import engine, move, moved
from helpers.course.errors import UserError
from helpers.course.progress import track

if TYPE_CHECKING:
    from accelerate import Accelerator

Step = Callable[[nn.Module, Any], dict[str, Any]]  # step(model, batch) -> {"loss": sum over its samples, ...}


def add(total: dict[str, torch.Tensor], sums: dict[str, Any], weight: float = 1.0) -> None:
    """total += weight * sums, on the device and in double precision where it has that."""
    for name, value in sums.items():
        value = torch.as_tensor(value).detach()
        value = weight * (value.float() if value.device.type in ("mps", "xpu") else value.double())
        total[name] = total[name] + value if name in total else value


def means(acc: Accelerator, total: dict[str, torch.Tensor], n: int) -> dict[str, float]:
    """Sums of all processes -> means over n samples as floats: here we wait for the device."""
    names = list(total)
    values = acc.reduce(torch.stack([total[name] for name in names]), "sum").tolist()
    return {name: value / n for name, value in zip(names, values)}


def evaluate(
    model: nn.Module,
    data: Dataset,
    *,
    step: Step,
    batch_size: int = 256,
    device: str = "auto",
    precision: str = "no",
    workers: int = 0,
) -> dict[str, Any]:
    """Means over all of `data`: {"loss": ..., ..., "n": N}. Every sample counts once, whatever the batch size.

    model, data        as in `training.fit`; the model comes back in the mode and on the device where it was found
    step               step(model, batch) -> dict of sums over the samples of the batch
    device, precision  see `devices.engine`
    workers            processes that read samples

    With several processes each takes its share, and all of them must call it. Raises UserError where `data` is empty.
    """
    return evaluated(engine(device, precision), model, data, step, batch_size, workers, "evaluate")


@torch.no_grad()
def evaluated(
    acc: Accelerator,
    model: nn.Module,
    data: Any,
    step: Step,
    batch_size: int,
    workers: int = 0,
    label: str | None = None,
) -> dict[str, Any]:
    """`evaluate` with an engine that is there already; a bar only where it has a `label`."""
    if len(data) == 0:
        raise UserError("the set to evaluate on is empty")
    batches = Batches(len(data), batch_size, shuffle=False, rank=acc.process_index, world=acc.num_processes)
    was_training, total = model.training, dict[str, torch.Tensor]()
    arriving = loader(data, batches, workers, pin=acc.device.type == "cuda")
    with moved(model, acc.device):
        model.eval()
        for i, batch in enumerate(track(arriving, label, len(batches)) if label else arriving):
            with acc.autocast():
                add(total, step(model, move(batch, acc.device)), batches.share(i))
        model.train(was_training)
    return means(acc, total, len(data)) | {"n": len(data)}


@torch.no_grad()
def predict(
    model: nn.Module,
    data: Any,
    *,
    batch_size: int = 256,
    device: str = "auto",
    precision: str = "no",
    workers: int = 0,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """The model's outputs for all of `data` in order, one tensor (N, ...) in float32 on the CPU.

    data               a tensor (N, ...), or a data set whose batches are x or (x, ...)
    forward            forward(x) in the place of model(x)
    device, precision  see `devices.engine`
    workers            processes that read samples

    Every process computes all of it. Raises UserError where `data` is empty.
    """
    acc = engine(device, precision)
    data = Tensors(data) if torch.is_tensor(data) else data
    if len(data) == 0:
        raise UserError("there is nothing to predict: the set is empty")
    was_training, rows = model.training, []
    batches = Batches(len(data), batch_size, shuffle=False)
    with moved(model, acc.device):
        model.eval()
        for batch in track(loader(data, batches, workers), "predict", len(batches)):
            x = batch[0] if isinstance(batch, (tuple, list)) else batch
            with acc.autocast():
                rows.append((forward or model)(move(x, acc.device)).float().cpu())
        model.train(was_training)
    return torch.cat(rows)

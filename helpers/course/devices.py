"""The engine under every training: Accelerate, its devices and precisions, and tensors on their way to them."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from helpers.course.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

# ---------------------------------------------------------------- the engine


def keep_memory() -> None:
    """Let the C library keep what is freed. It gives large blocks back to the system after each use and gets them
    as new, zeroed pages a moment later: up to a third of the time of a training step on a CPU goes into that.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of glibc's malloc.h
                libc.mallopt(option, 2**30)


def forget_settings() -> None:
    """Let the next Accelerator choose its device and precision anew.

    Accelerate keeps both for the whole process and refuses others; a notebook trains many times, with other ones. It
    has no public call for that: this is the one place where its private `_reset_state` is used. With several
    processes the group that they form stays.
    """
    from accelerate.state import AcceleratorState

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    AcceleratorState._reset_state(reset_partial_state=not several)


def engine(device: str = "auto", precision: str = "auto") -> Accelerator:
    """An Accelerator. device: "auto" (CUDA, XPU, MPS, then CPU), "cpu", "cuda", "cuda:1"...;
    precision: "auto" (bf16 on a GPU that has it, fp16 on other CUDA, else fp32), "no", "bf16", "fp16".
    Accelerate's own ACCELERATE_USE_CPU=true and ACCELERATE_TORCH_DEVICE=... say what "auto" is.
    """
    from accelerate import Accelerator
    from accelerate.state import PartialState
    from accelerate.utils import parse_flag_from_env, patch_environment

    if precision not in ("auto", "no", "bf16", "fp16"):
        raise UserError(f"precision {precision!r} is not one of auto, no, bf16, fp16")
    forget_settings()
    cpu = device == "cpu" or device == "auto" and parse_flag_from_env("ACCELERATE_USE_CPU")
    if device not in ("auto", "cpu"):
        backend = getattr(torch, device.split(":")[0], None)
        if backend is None or not getattr(backend, "is_available", bool)():
            raise UserError(f"there is no device {device!r} on this machine; use auto or cpu")
    asked = {"ACCELERATE_USE_CPU": cpu}  # what was asked for here counts more than what the user's shell says
    if cpu or device != "auto":
        asked["ACCELERATE_TORCH_DEVICE"] = "cpu" if cpu else device
    with patch_environment(**asked):
        kind = PartialState(cpu=cpu).device.type
    if precision == "auto":
        bf16 = kind == "xpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
        precision = "bf16" if bf16 else "fp16" if kind == "cuda" else "no"
    if precision == "fp16" and kind == "cpu":
        raise UserError("fp16 needs a GPU; on a CPU use bf16 or no")
    if kind == "cpu":
        keep_memory()
    with patch_environment(**asked):
        return Accelerator(cpu=cpu, mixed_precision=precision)


def move(batch: Any, device: torch.device | str) -> Any:
    """Tensors of a nested batch on `device`; without waiting where the memory is pinned."""
    from accelerate.utils import send_to_device

    return send_to_device(batch, device, non_blocking=True)


def moved(model: nn.Module, device: torch.device | str) -> ExitStack:
    """Put the model on `device`. Leaving the context that is returned puts it back where it was found: the next line
    of a notebook may call the model on tensors that are still there.
    """
    home, back = next((p.device for p in model.parameters()), device), ExitStack()
    model.to(device)
    back.callback(model.to, home)
    return back

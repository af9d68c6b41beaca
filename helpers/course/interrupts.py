"""Stopping a training by hand: between two steps, with its state kept, and an offer to go on from there.

Ctrl-C and JupyterLab's stop button raise KeyboardInterrupt wherever the program happens to be, which
may be in the middle of an optimiser's step. `interrupts` turns the first one into a note that `fit`
reads between two steps. In a notebook the state of a training without a folder of its own is then kept
under `runs/interrupted`, and when the same training is started again, `wants_to_go_on` asks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FOLDER = Path("runs", "interrupted")  # beside the notebook; git ignores it


class Stopped(KeyboardInterrupt):
    """A training ended by hand, between two steps. A notebook shows the sentence and no traceback."""

    def _render_traceback_(self):  # IPython asks for this
        return [str(self)]


@contextmanager
def interrupts() -> Iterator[list[bool]]:
    """Inside, the first Ctrl-C only fills the list that is yielded; a second one raises at once."""
    seen: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(*_):
        if seen:
            raise KeyboardInterrupt
        seen.append(True)

    old = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, old)


def _kernel():
    """The running notebook's kernel, or None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None)


def folder(model: torch.nn.Module, optimizer: torch.optim.Optimizer, facts: dict, *more: Any) -> Path | None:
    """Where an interrupted training of this kind is kept: a folder named by all that must agree, or None outside
    a notebook. The weights themselves are not part of it: they have changed when it is started again.
    """
    if _kernel() is None:
        return None
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    rules = [type(optimizer).__name__, optimizer.defaults]
    told = json.dumps([type(model).__name__, shapes, rules, facts, more], sort_keys=True, default=str)
    return FOLDER / hashlib.sha256(told.encode()).hexdigest()[:16]


def wants_to_go_on(label: str, at: dict[str, Any], epochs: int) -> bool:
    """Ask the reader of the notebook; no where nobody can be asked (a test, `make notebooks`)."""
    from IPython.core.error import StdinNotImplementedError

    done = f"in epoch {at['epoch'] + 1}" if at["step"] else f"after epoch {at['epoch']}"
    try:
        answer = input(f"An interrupted run of this {label} stopped {done} of {epochs}. Go on from there? [Y/n] ")
    except StdinNotImplementedError:
        return False
    return answer.strip().lower() not in ("n", "no")


def forget(folder: Path) -> None:
    """Remove what was kept: the training has ended, or begins anew."""
    shutil.rmtree(folder, ignore_errors=True)

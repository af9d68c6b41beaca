"""A training under way: what is trained, how far it has come, and the file from which it can go on.

The device is not asked every step: reading a loss makes the CPU wait for the GPU. A `Run` looks every `look_every`
steps: for NaN, for whether to save, for whether to stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from helpers.course import checkpoint, interrupts
from helpers.course.devices import move
from helpers.course.errors import UserError
from helpers.course.evaluation import add, means
from helpers.course.progress import Bar

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class Result:
    """What `fit` returns. `history`: a dict per epoch, e.g. {"epoch": 1, "lr": .1, "loss": .7, "valid_loss": .8}."""

    history: list[dict] = field(default_factory=list)
    best: dict | None = None  # the entry of `history` that `monitor` likes best
    epochs: int = 0
    seconds: float = 0.0
    resumed_from: dict | None = None  # {"epoch": e, "step": s}: what was done when a resumed run went on
    stopped_early: bool = False

    @property
    def last(self) -> dict:
        return self.history[-1]


def _beginning() -> dict[str, Any]:
    # bad_epochs counts those without a better score; finished: it had too many of them
    return {"epoch": 0, "step": 0, "history": [], "best": None, "bad_epochs": 0, "finished": False}


@dataclass
class Run:
    """What `fit` prepares, what its loop changes, and what a checkpoint holds of both."""

    # prepared: what trains, on what engine
    acc: Accelerator
    model: nn.Module
    module: Any  # model and step as one, wrapped for several processes or compiled
    optimizer: Any
    scheduler: Any
    schedule_by: str
    steps: int  # of an epoch
    epochs: int
    # which epoch is the best, and whose weights are kept; see `fit`
    monitor: str
    mode: str
    patience: int | None
    keep: str
    # where the state goes
    facts: dict  # JSON; a state with other facts is another run's
    folder: Path | None  # None: nowhere
    asks: str | None  # its name in a notebook that keeps it: saved only when stopped, and the reader is asked to go on
    save_seconds: float
    look_every: int
    # how far it has come
    at: dict[str, Any] = field(default_factory=_beginning)
    total: dict[str, torch.Tensor] = field(default_factory=dict)  # the sums of this epoch so far
    best_weights: dict[str, torch.Tensor] | None = None
    resumed_from: dict | None = None
    started: float = field(default_factory=monotonic)
    saved: float = field(default_factory=monotonic)
    progress: Bar = field(default_factory=lambda: Bar("", 0))
    interrupted: list = field(default_factory=list)  # filled by Ctrl-C, see `interrupts`

    def __post_init__(self) -> None:
        self.never = torch.tensor(self.steps, device=self.acc.device)
        self.bad = self.never  # the first step of the epoch whose loss is not finite, kept on the device

    @property
    def path(self) -> Path:
        return (self.folder or Path()) / "last.safetensors"

    @property
    def best_path(self) -> Path:
        return (self.folder or Path()) / "best.safetensors"

    # ------------------------------------------------------------ its file

    def writes(self, stopped: bool = False) -> bool:
        """Whether the state is to be written now."""
        return self.folder is not None and (self.asks is None or stopped)

    def begin(self, resume: bool) -> None:
        """Go on from the state that lies in the folder, where that is wanted; else begin at the first step."""
        if self.folder is None or not self.path.exists():
            return
        if self.asks is not None:
            if not interrupts.wants_to_go_on(self.asks, checkpoint.load(self.path)["at"], self.epochs):
                interrupts.forget(self.folder)
                return
        elif not resume:
            raise UserError(f"{self.path} exists: go on with --resume, or choose another --out")
        self.restore()

    def restore(self) -> None:
        """Take model, optimiser, schedule and progress from the file; refuses another run's."""
        saved = checkpoint.load(self.path)
        if "facts" not in saved:
            raise UserError(f"{self.path} is no training state of this course; choose another --out")
        was, now = (f["config"] | {k: v for k, v in f.items() if k != "config"} for f in (saved["facts"], self.facts))
        for name in now | was:
            if was.get(name) != now.get(name):
                raise UserError(
                    f"{self.path} was trained with {name} {was.get(name)}, not {now.get(name)}; "
                    "use the same settings, or another --out"
                )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(saved["scheduler"])
        if self.acc.scaler is not None and saved["scaler"]:
            self.acc.scaler.load_state_dict(saved["scaler"])
        self.at = saved["at"]
        if self.acc.is_main_process:
            self.total = move(saved["total"], self.acc.device)
        if self.keep == "best" and self.at["best"] is not None:
            self.best_weights = checkpoint.load(self.best_path)["model"]
        self.resumed_from = {"epoch": self.at["epoch"], "step": self.at["step"]}

    def save(self, stopped: bool = False) -> None:
        """Write the state, where the run has a folder and its turn has come. All processes must call it."""
        if not self.writes(stopped):
            return
        acc, total = self.acc, self.total
        if acc.num_processes > 1 and total:  # from here on the first process holds the sums of all
            whole = {name: acc.reduce(value.clone(), "sum") for name, value in total.items()}
            self.total = {k: v if acc.is_main_process else torch.zeros_like(v) for k, v in whole.items()}
        if acc.is_main_process:
            checkpoint.save(
                self.path,
                {
                    "facts": self.facts,
                    "at": self.at,
                    "total": self.total,
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scheduler": self.scheduler and self.scheduler.state_dict(),
                    "scaler": acc.scaler and acc.scaler.state_dict(),
                },
            )
        self.saved = monotonic()

    def save_best(self, stopped: bool = False) -> None:
        """Write the best weights so far, as `save` does."""
        if self.writes(stopped) and self.best_weights is not None and self.acc.is_main_process:
            checkpoint.save(self.best_path, {"model": self.best_weights, "entry": self.at["best"], **self.facts})

    # ------------------------------------------------------------ step by step

    def count(self, sums: dict[str, torch.Tensor], share: float, i: int) -> None:
        """Add the sums of a part of step i to those of the epoch, and note a loss that is not finite."""
        add(self.total, sums, share)
        self.bad = torch.minimum(self.bad, torch.where(torch.isfinite(sums["loss"].detach()), self.never, i))

    def end_step(self, i: int) -> None:
        """Step i is done: move the schedule on and, where it is time to look, save or stop."""
        skipped = self.acc.scaler and self.optimizer.step_was_skipped  # fp16: the gradient overflowed
        if self.scheduler is not None and self.schedule_by == "step" and not skipped:
            self.scheduler.step()
        self.at["step"] = i + 1
        self.progress.update(self.at["epoch"] * self.steps + i + 1)
        if (i + 1) % self.look_every == 0 or self.stops_alone:
            stop, save = self.look()
            if (stop or save) and i + 1 < self.steps:  # the last step's state is saved with its epoch
                self.save()
                if stop:
                    self.stop()

    @property
    def stops_alone(self) -> bool:
        """Whether a single process was interrupted; several agree on it when they `look`."""
        return bool(self.interrupted) and self.acc.num_processes == 1

    def look(self) -> tuple[bool, bool]:
        """Ask the device, and the other processes, how things stand -> (stop, save). Raises UserError for NaN."""
        never, waited = self.never, monotonic() - self.saved
        asks = torch.stack(
            [
                self.bad < never,
                never.new_tensor(len(self.interrupted)) > 0,
                never.new_tensor(waited > self.save_seconds) > 0,
            ]
        ).float()
        nan, stop, save = (self.acc.reduce(asks, "sum") > 0).tolist()
        if nan:
            where = f"step {int(self.bad) + 1} of " if self.bad < never else ""
            self.not_finite("the loss", f"at {where}epoch {self.at['epoch'] + 1}")
        return stop, save

    def not_finite(self, what: str, where: str) -> None:
        """Raise UserError that says what may help, and what is left."""
        kept = self.writes() and self.path.exists()
        raise UserError(
            f"{what} is NaN or infinite {where}: lower the learning rate, clip the gradient, or look "
            f"for bad values in the data{f'; {self.path} holds the state before' if kept else ''}"
        )

    # ------------------------------------------------------------ epoch by epoch

    def goes_on(self) -> bool:
        return self.at["epoch"] < self.epochs and not self.at["finished"]

    def figures(self, samples: int) -> dict[str, Any]:
        """The entry of the epoch that has just ended: number, learning rate, means over the training samples."""
        rate = self.optimizer.param_groups[0]["lr"]
        return {"epoch": self.at["epoch"] + 1, "lr": rate} | means(self.acc, self.total, samples)

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Move the schedule on, take the figures into the history, remember the weights if they are the best; save."""
        at, value = self.at, entry.get(self.monitor)
        if self.scheduler is not None and self.schedule_by == "epoch":
            self.scheduler.step()
        self.total, at["epoch"], at["step"] = {}, at["epoch"] + 1, 0
        at["history"].append(entry)
        if value is not None:
            sign = 1 if self.mode == "min" else -1
            if at["best"] is None or sign * value < sign * at["best"][self.monitor]:
                at["best"], at["bad_epochs"] = entry, 0
                if self.keep == "best":
                    self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
                    self.save_best()
            else:
                at["bad_epochs"] += 1
                at["finished"] = self.patience is not None and at["bad_epochs"] >= self.patience
        self.save()
        self.progress.note = ", ".join(f"{k} {v:.3g}" for k, v in entry.items() if k not in ("epoch", "lr"))

    def stop(self) -> None:
        """End a run that was interrupted: keep its state, and raise KeyboardInterrupt with a sentence."""
        at, again = self.at, ""
        if self.asks is not None:
            self.save(stopped=True)
            self.save_best(stopped=True)
            again = "; run the cell again to go on"
        elif self.folder is not None:
            again = "; resume=True goes on"
        done = f"{at['step']} steps of epoch {at['epoch'] + 1}" if at["step"] else f"epoch {at['epoch']}"
        state = "nothing was saved" if self.folder is None else f"the state is in {self.path}"
        raise interrupts.Stopped(f"Stopped after {done} of {self.epochs}: {state}{again}.")

    def finish(self) -> Result:
        """The model with the weights that are to be kept, in evaluation mode, and what there is to tell."""
        if self.asks is not None and self.folder is not None:
            interrupts.forget(self.folder)
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        self.model.eval()
        at, seconds = self.at, monotonic() - self.started
        return Result(at["history"], at["best"], at["epoch"], seconds, self.resumed_from, at["finished"])

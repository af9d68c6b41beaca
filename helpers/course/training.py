"""The training loop that every lecture and the command line use: `fit`, and what belongs to it.

The loop itself (`train_epoch`) is ours and in the open: forward, loss, backward, step. Hugging Face
Accelerate sits under it and knows about devices, mixed precision and several processes.

Three rules make the numbers exact:

- **Sums, not means of means.** A `step` returns sums over the samples of its batch; the loop
  adds them up on the device and divides once by the number of samples (`evaluation`). An accuracy
  is k/N for every batch size.
- **Randomness is a function of (seed, epoch, step).** The order of the samples, dropout and
  augmentation of a step do not depend on what ran before (`batches`), so a run that was killed and
  resumed is the run that was never stopped, bit for bit.
- **The device is not asked every step.** Reading a loss makes the CPU wait for the GPU. A run
  looks every `look_every` steps (`run`): for NaN, for whether to save, for whether to stop.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import torch
from torch import nn

from helpers.course import interrupts
from helpers.course.batches import Feed, pieces
from helpers.course.checkpoint import load_model, save_model
from helpers.course.devices import engine, moved
from helpers.course.errors import UserError
from helpers.course.evaluation import Step, evaluate, evaluated, predict
from helpers.course.progress import bar
from helpers.course.run import Result, Run

__all__ = ["Result", "Step", "evaluate", "fit", "load_model", "predict", "save_model", "train_epoch"]


class Sums(nn.Module):
    """Model and step as one module, so that whatever the step does with the model is seen by DDP and compile."""

    def __init__(self, model: nn.Module, step: Step):
        super().__init__()
        self.model, self.step = model, step

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        return self.step(self.model, batch)


def train_epoch(run: Run, feed: Feed, accumulate: int = 1, clip: float | None = None) -> None:
    """What is left of an epoch, step by step: forward, loss, backward, step."""
    acc, module, optimizer = run.acc, run.module, run.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    module.train()
    for i, batch in feed.epoch(run.at["epoch"], start=run.at["step"]):
        n, share = feed.batches.size(i), feed.batches.share(i)
        parts = pieces(batch, accumulate) if accumulate > 1 else [batch]
        optimizer.zero_grad(set_to_none=True)
        for k, part in enumerate(parts):
            # several processes exchange their gradients once a step, with the last part
            with nullcontext() if k == len(parts) - 1 else acc.no_sync(module):
                sums = module(part)  # forward: sums over the samples of this part
                # a step's loss is (sum over its samples) / n; DDP averages over the processes, hence their number
                loss = sums["loss"] * (share * acc.num_processes / n)
                acc.backward(loss)
            run.count(sums, share, i)
        if clip is not None:
            acc.clip_grad_norm_(parameters, clip)
        optimizer.step()
        run.end_step(i)


def fit(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    *,
    step: Step,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int = 32,
    scheduler: Any = None,
    schedule_by: Literal["epoch", "step"] = "epoch",
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    accumulate: int = 1,
    clip: float | None = None,
    monitor: str = "valid_loss",
    mode: Literal["min", "max"] | None = None,
    patience: int | None = None,
    keep: Literal["last", "best"] = "last",
    augment: Callable[[Any, torch.Generator], Any] | None = None,
    workers: int = 0,
    save_seconds: float = 60.0,
    look_every: int = 25,
    label: str = "training",
    log: Callable[[dict[str, Any]], Any] | None = None,
    judge: Callable[[nn.Module, int], dict[str, Any] | None] | None = None,
) -> Result:
    """Train `model` in place, on `device`, and return a `Result`; in the end the model is where it was found.

    model         any nn.Module; parameters with requires_grad are trained
    train, valid  map-style data sets: `Tensors(x, y)`, a picture folder, ... (a `collate` of theirs is used;
                  where they have `lengths`, like `text.Sequences`, a batch holds texts of similar length)
    step          step(model, batch) -> dict of SUMS over the samples of the batch; "loss" is minimised
    optimizer     a torch optimiser over the parameters to train
    epochs        how often every training sample is seen
    batch_size    samples a step, over all processes and parts
    scheduler     a torch scheduler on that optimiser
    schedule_by   whether it takes a step every "epoch" or every "step"
    seed          of the order of the samples, dropout and augmentation
    out           folder for `last.safetensors` (and `best.safetensors`); None: nothing is saved
    resume        go on from what lies in `out`; without it a run that is there is refused
    config        JSON facts stored with the checkpoint; a resume with other facts is refused
    device        "auto", "cpu", "cuda", "cuda:1", ..., see `devices.engine`
    precision     "auto", "no" (float32), "bf16" or "fp16"
    compile       torch.compile the model: slower to start, faster to run
    accumulate    parts that a batch is processed in, to save memory; the gradient is the same
    clip          largest norm of the whole gradient
    monitor       a key of the history, such as "valid_accuracy"; it says which epoch is the best
    mode          "min" or "max": whether a smaller or a larger `monitor` is better, as in ReduceLROnPlateau. To be
                  said for every monitor but the default, "valid_loss"
    patience      stop after so many epochs without a better `monitor`
    keep          "last" or "best": whose weights the model holds at the end; best needs `valid` or `judge`
    augment       augment(batch, generator) -> batch, on the device, in training only; the generator is a CPU one
    workers       processes that read samples; 0: this one reads them
    save_seconds  also save inside an epoch when this much time has passed
    look_every    steps between two looks at the device: for NaN, for whether to save, for whether to stop
    label         of the progress bar
    log           called with each entry of the history, in the first process
    judge         judge(model, epoch) -> dict or None after an epoch: what is no sum over samples, such as a mAP, joins
                  the entry, and may be the `monitor`. Only the first process calls it, the others wait for the answer:
                  it must not call what needs all of them, such as `evaluate`

    Raises UserError for losses that are not finite (naming the step), damaged or foreign checkpoints, a full
    disk. Interrupt (Ctrl-C, the stop button) ends between two steps, saves, and raises KeyboardInterrupt; a notebook
    keeps the state even without `out`, and the same cell, run again, offers to go on from it.
    """
    _check(train, valid, epochs, batch_size, accumulate, monitor, patience, keep, judge)
    mode = _mode(monitor, mode)
    started, acc = monotonic(), engine(device, precision)
    facts = {"config": config or {}, "samples": len(train), "batch_size": batch_size, "seed": seed}
    kept = None if out else interrupts.folder(model, optimizer, facts, epochs, label, keep, schedule_by, repr(clip))
    with moved(model, acc.device):
        if acc.device.type == "cuda":
            model.to(memory_format=torch.channels_last)  # the layout tensor cores want; touches 4-D weights only
        feed = Feed(train, batch_size, seed, acc, workers, augment)
        module = acc.prepare_model(Sums(model, step))
        run = Run(
            acc=acc,
            model=model,
            module=torch.compile(module) if compile else module,
            # Accelerate's optimiser is needed for the gradient scaler of fp16; its own checks cost 0.2 ms a step
            optimizer=acc.prepare_optimizer(optimizer) if acc.scaler else optimizer,
            scheduler=scheduler,
            schedule_by=schedule_by,
            steps=len(feed.batches),
            epochs=epochs,
            monitor=monitor,
            mode=mode,
            patience=patience,
            keep=keep,
            facts=facts,
            folder=Path(out) if out else kept,
            asks=label if kept else None,
            save_seconds=save_seconds,
            look_every=look_every,
            started=started,
        )
        run.begin(resume)
        with bar(label, epochs * run.steps) as run.progress, interrupts.interrupts() as run.interrupted:
            run.progress.first = run.at["epoch"] * run.steps + run.at["step"]
            while run.goes_on():
                train_epoch(run, feed, accumulate, clip)
                stop, _ = run.look()
                entry = run.figures(len(train))
                if valid is not None:
                    entry |= _validated(run, valid, step, max(batch_size, 64), workers)
                if judge is not None:
                    entry |= _judged(run, judge)
                run.end_epoch(entry)
                if log and acc.is_main_process:
                    log(entry)
                if stop or run.stops_alone:  # or while it was evaluated
                    run.stop()
        return run.finish()


def _check(train, valid, epochs, batch_size, accumulate, monitor, patience, keep, judge):
    """Complain before anything is done."""
    if len(train) == 0:
        raise UserError("the training set is empty")
    if epochs < 1 or batch_size < 1 or accumulate < 1:
        raise UserError("epochs, batch size and accumulation must be at least 1")
    if valid is None and judge is None and (keep == "best" or (patience is not None and monitor.startswith("valid"))):
        raise UserError("early stopping and keeping the best weights need a validation set")


def _mode(monitor: str, mode: Literal["min", "max"] | None) -> Literal["min", "max"]:
    """The direction of `monitor`. Only that of the default is known: to guess it may keep the worst weights."""
    if mode is None and monitor == "valid_loss":
        return "min"
    if mode not in ("min", "max"):
        raise UserError(f"mode must be 'min' or 'max': is a smaller or a larger {monitor!r} better? Got {mode!r}")
    return mode


def _validated(run, valid, step, batch_size, workers):
    """The means over the validation set as {"valid_loss": ..., ...}."""
    scores = evaluated(run.acc, run.model, valid, step, batch_size, workers)
    if not math.isfinite(scores["loss"]):  # the last steps of the epoch broke the weights
        run.not_finite("the validation loss", f"after epoch {run.at['epoch'] + 1}")
    return {f"valid_{name}": value for name, value in scores.items() if name != "n"}


def _judged(run, judge):
    """What `judge` says of the model in the first process, told to all."""
    from accelerate.utils import broadcast_object_list

    said = judge(run.model, run.at["epoch"] + 1) if run.acc.is_main_process else None
    return broadcast_object_list([said])[0] or {}

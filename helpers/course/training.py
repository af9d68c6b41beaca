"""The training loop that every lecture and the command line use.

The loop itself is ours and in the open: forward, loss, backward, step. Hugging Face
Accelerate sits under it and knows about devices, mixed precision and several processes.

Three rules make the numbers exact:

- **Sums, not means of means.** A `step` returns sums over the samples of its batch; the loop
  adds them up on the device and divides once by the number of samples. An accuracy is k/N
  for every batch size.
- **Randomness is a function of (seed, epoch, step).** The order of the samples, dropout and
  augmentation of a step do not depend on what ran before, so a run that was killed and
  resumed is the run that was never stopped, bit for bit.
- **The device is not asked every step.** Reading a loss makes the CPU wait for the GPU. We
  look every `look_every` steps: for NaN, for whether to save, for whether to stop.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import torch
from torch import nn

from helpers.course import checkpoint, interrupts
from helpers.course.batches import Batches, Tensors, loader, mixed, pieces, seed_everything
from helpers.course.devices import engine, move, moved
from helpers.course.errors import UserError
from helpers.course.progress import bar, track


class Sums(nn.Module):
    """Model and step as one module, so that whatever the step does with the model is seen by DDP and compile."""

    def __init__(self, model, step):
        super().__init__()
        self.model, self.step = model, step

    def forward(self, batch):
        return self.step(self.model, batch)


def _add(total, sums, weight=1.0):
    """total += weight * sums, on the device and in double precision where it has that."""
    for name, value in sums.items():
        value = torch.as_tensor(value).detach()
        value = weight * (value.float() if value.device.type in ("mps", "xpu") else value.double())
        total[name] = total[name] + value if name in total else value


def _means(acc, total, n):
    """Sums of all processes -> means as floats: here we wait for the device."""
    names = list(total)
    values = acc.reduce(torch.stack([total[name] for name in names]), "sum").tolist()
    return {name: value / n for name, value in zip(names, values)}


# ---------------------------------------------------------------- a run and where it stands


@dataclass
class Result:
    """What `fit` returns. `history`: a dict per epoch, e.g. {"epoch": 1, "lr": .1, "loss": .7, "valid_loss": .8}."""

    history: list = field(default_factory=list)
    best: dict | None = None  # the entry of `history` that `monitor` likes best
    epochs: int = 0
    seconds: float = 0.0
    resumed_from: dict | None = None  # {"epoch": e, "step": s}: what was done when a resumed run went on
    stopped_early: bool = False

    @property
    def last(self):
        return self.history[-1]


class _Run:
    """All that a checkpoint holds: the model, what trains it, and how far it has come."""

    def __init__(self, acc, model, optimizer, scheduler, facts, out, keep):
        self.acc, self.model, self.optimizer, self.scheduler, self.facts = acc, model, optimizer, scheduler, facts
        self.keep, self.best_weights = keep, None
        self.put(out)
        # bad_epochs counts those without a better score; finished: it had too many of them
        self.at = {"epoch": 0, "step": 0, "history": [], "best": None, "bad_epochs": 0, "finished": False}
        self.total = {}  # the sums of this epoch so far
        self.saved = monotonic()

    def put(self, out):
        """Save in this folder from now on; None: nowhere."""
        self.path = Path(out) / "last.safetensors" if out else None
        self.best_path = Path(out) / "best.safetensors" if out else None

    def stop(self, epochs, kept):
        """End a run that was interrupted. `kept`: the folder for its state where it has none of its own, or None."""
        at = self.at
        if self.path is None and kept:
            self.put(kept)
            self.save()
            if self.best_weights is not None:
                checkpoint.save(self.best_path, {"model": self.best_weights, "entry": at["best"], **self.facts})
        where = (
            f"Stopped after {at['step']} steps of epoch {at['epoch'] + 1}"
            if at["step"]
            else f"Stopped after epoch {at['epoch']}"
        )
        state = "nothing was saved" if self.path is None else f"the state is in {self.path}"
        again = "; run the cell again to go on" if kept else "; resume=True goes on" if self.path else ""
        raise interrupts.Stopped(f"{where} of {epochs}: {state}{again}.")

    def save(self):
        if self.path is None:
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

    def restore(self):
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

    def score(self, entry, monitor, patience):
        """Take the figures of an epoch; remember the weights where they are the best so far."""
        at = self.at
        at["history"].append(entry)
        if monitor not in entry:
            return
        sign = 1 if monitor.endswith(("loss", "error")) else -1
        if at["best"] is None or sign * entry[monitor] < sign * at["best"][monitor]:
            at["best"], at["bad_epochs"] = entry, 0
            if self.keep == "best":
                self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
                if self.best_path and self.acc.is_main_process:
                    checkpoint.save(self.best_path, {"model": self.best_weights, "entry": entry, **self.facts})
        else:
            at["bad_epochs"] += 1
            at["finished"] = patience is not None and at["bad_epochs"] >= patience


# ---------------------------------------------------------------- the loop


def fit(
    model,
    train,
    valid=None,
    *,
    step,
    optimizer,
    epochs,
    batch_size=32,
    scheduler=None,
    schedule_by="epoch",
    seed=0,
    out=None,
    resume=False,
    config=None,
    device="auto",
    precision="auto",
    compile=False,
    accumulate=1,
    clip=None,
    monitor="valid_loss",
    patience=None,
    keep="last",
    augment=None,
    workers=0,
    save_seconds=60.0,
    look_every=25,
    label="training",
    log=None,
    judge=None,
):
    """Train `model` in place, on `device`, and return a `Result`; in the end the model is where it was found.

    model         any nn.Module; parameters with requires_grad are trained
    train, valid  map-style data sets: `Tensors(x, y)`, a picture folder, ... (a `collate` of theirs is used;
                  where they have `lengths`, like `text.Sequences`, a batch holds texts of similar length)
    step          step(model, batch) -> dict of SUMS over the samples of the batch; "loss" is minimised
    optimizer     a torch optimiser over the parameters to train
    epochs        how often every training sample is seen
    batch_size    samples a step, over all processes and parts
    scheduler     a torch scheduler on that optimiser, stepped by "epoch" or by "step" (`schedule_by`)
    out, resume   folder for `last.safetensors` (and `best.safetensors`); go on from what lies there
    config        JSON facts stored with the checkpoint; a resume with other facts is refused
    accumulate    parts that a batch is processed in, to save memory; the gradient is the same
    clip          largest norm of the whole gradient
    monitor       a key of the history; smaller is better where it ends in "loss" or "error", else larger
    patience      stop after so many epochs without a better `monitor`
    keep          "last" or "best": whose weights the model holds at the end; best needs `valid`
    augment       augment(batch, generator) -> batch, on the device, in training only; the generator is a CPU one
    save_seconds  also save inside an epoch when this much time has passed
    log           called with each entry of the history
    judge         judge(model, epoch) -> dict or None after an epoch: what is no sum over samples, such as a mAP, joins
                  the entry, and may be the `monitor`

    Raises UserError for losses that are not finite (naming the step), damaged or foreign checkpoints, a full
    disk. Interrupt (Ctrl-C, the stop button) ends between two steps, saves, and raises KeyboardInterrupt; a notebook
    keeps the state even without `out`, and the same cell, run again, offers to go on from it.
    """
    if len(train) == 0:
        raise UserError("the training set is empty")
    if epochs < 1 or batch_size < 1 or accumulate < 1:
        raise UserError("epochs, batch size and accumulation must be at least 1")
    if valid is None and judge is None and (keep == "best" or (patience is not None and monitor.startswith("valid"))):
        raise UserError("early stopping and keeping the best weights need a validation set")
    from accelerate.utils import broadcast_object_list

    started, acc = monotonic(), engine(device, precision)
    world, on_gpu = acc.num_processes, acc.device.type == "cuda"
    elsewhere = moved(model, acc.device)
    if on_gpu:
        model.to(memory_format=torch.channels_last)  # the layout tensor cores want; touches 4-D weights only
    batches = Batches(
        len(train),
        batch_size,
        shuffle=True,
        seed=seed,
        rank=acc.process_index,
        world=world,
        lengths=getattr(train, "lengths", None),
    )
    feed = loader(train, batches, workers, pin=on_gpu)
    module = acc.prepare_model(Sums(model, step))
    module = torch.compile(module) if compile else module
    # Accelerate's optimiser is needed for the gradient scaler of fp16; its own checks cost 0.2 ms a step
    opt = acc.prepare_optimizer(optimizer) if acc.scaler else optimizer
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    facts = {"config": config or {}, "samples": len(train), "batch_size": batch_size, "seed": seed}
    run = _Run(acc, model, optimizer, scheduler, facts, out, keep)
    result = Result()
    if run.path and run.path.exists():
        if not resume:
            raise UserError(f"{run.path} exists: go on with --resume, or choose another --out")
        run.restore()
        result.resumed_from = {"epoch": run.at["epoch"], "step": run.at["step"]}
    kept = None if out else interrupts.folder(model, optimizer, facts, epochs, label, keep, schedule_by, repr(clip))
    if kept and (kept / "last.safetensors").exists():
        run.put(kept)
        if interrupts.wants_to_go_on(label, checkpoint.load(run.path)["at"], epochs):
            run.restore()
            result.resumed_from = {"epoch": run.at["epoch"], "step": run.at["step"]}
        else:
            interrupts.forget(kept)
        run.put(None)

    never = torch.tensor(len(batches), device=acc.device)
    at, bad = run.at, never  # bad: the first step of the epoch whose loss is not finite, kept on the device

    def look(stop):
        """Ask the device, and the other processes, how things stand. Returns (stop, save)."""
        asks = torch.stack(
            [bad < never, never.new_tensor(stop) > 0, never.new_tensor(monotonic() - run.saved > save_seconds) > 0]
        ).float()
        nan, stop, save = (acc.reduce(asks, "sum") > 0).tolist()
        if nan:
            where = f"step {int(bad) + 1} of " if bad < never else ""
            not_finite("the loss", f"at {where}epoch {at['epoch'] + 1}")
        return stop, save

    def not_finite(what, where):
        kept = f"; {run.path} holds the state before" if run.path and run.path.exists() else ""
        raise UserError(
            f"{what} is NaN or infinite {where}: lower the learning rate, clip the gradient, or look "
            f"for bad values in the data{kept}"
        )

    with elsewhere, bar(label, epochs * len(batches)) as progress, interrupts.interrupts() as interrupted:
        progress.first = at["epoch"] * len(batches) + at["step"]
        while at["epoch"] < epochs and not at["finished"]:
            epoch = batches.epoch = at["epoch"]
            batches.start = at["step"]
            module.train()
            for i, batch in enumerate(feed, batches.start):
                seed_everything(seed, epoch, i, acc.process_index)
                batch = move(batch, acc.device)
                if augment is not None:
                    generator = torch.Generator().manual_seed(mixed(seed, epoch, i, acc.process_index, 1))
                    batch = augment(batch, generator)
                n, share = batches.size(i), batches.share(i)
                parts = pieces(batch, accumulate) if accumulate > 1 else [batch]
                opt.zero_grad(set_to_none=True)
                for k, part in enumerate(parts):
                    # the processes exchange gradients once a step, with the last part
                    with nullcontext() if k == len(parts) - 1 else acc.no_sync(module):
                        sums = module(part)  # forward: sums over the samples of this part
                        # DDP averages over the processes, hence `world`: what remains is (sum of losses) / n
                        acc.backward(sums["loss"] * (share * world / n))
                    _add(run.total, sums, share)
                    bad = torch.minimum(bad, torch.where(torch.isfinite(sums["loss"].detach()), never, i))
                if clip is not None:
                    acc.clip_grad_norm_(trained, clip)
                opt.step()
                skipped = acc.scaler and opt.step_was_skipped  # fp16: the gradient overflowed
                if scheduler is not None and schedule_by == "step" and not skipped:
                    scheduler.step()
                at["step"] = i + 1
                progress.update(epoch * len(batches) + i + 1)

                if (i + 1) % look_every == 0 or (interrupted and world == 1):
                    stop, save = look(len(interrupted))
                    if (stop or save) and i + 1 < len(batches):
                        run.save()
                        if stop:
                            run.stop(epochs, kept)

            stop, _ = look(len(interrupted))
            entry = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]} | _means(acc, run.total, len(train))
            if valid is not None:
                scores = _evaluate(acc, model, valid, step, max(batch_size, 64), workers)
                if not math.isfinite(scores["loss"]):  # the last steps of the epoch broke the weights
                    not_finite("the validation loss", f"after epoch {epoch + 1}")
                entry |= {f"valid_{name}": value for name, value in scores.items() if name != "n"}
            if judge is not None:
                entry |= broadcast_object_list([judge(model, epoch + 1)])[0] or {}  # the first process has the word
            if scheduler is not None and schedule_by == "epoch":
                scheduler.step()
            run.total, at["epoch"], at["step"] = {}, epoch + 1, 0
            run.score(entry, monitor, patience)
            run.save()
            progress.note = ", ".join(f"{k} {v:.3g}" for k, v in entry.items() if k not in ("epoch", "lr"))
            if log and acc.is_main_process:
                log(entry)
            if stop or (interrupted and world == 1):  # or while it was evaluated
                run.stop(epochs, kept)
    if kept:
        interrupts.forget(kept)
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    model.eval()
    result.history, result.best, result.epochs = at["history"], at["best"], at["epoch"]
    result.stopped_early, result.seconds = at["finished"], monotonic() - started
    return result


# ---------------------------------------------------------------- without gradients


def evaluate(model, data, *, step, batch_size=256, device="auto", precision="no", workers=0):
    """Means over all of `data`: {"loss": ..., ..., "n": N}. Every sample counts once, whatever the batch size."""
    return _evaluate(engine(device, precision), model, data, step, batch_size, workers, "evaluate")


@torch.no_grad()
def _evaluate(acc, model, data, step, batch_size, workers, label=None):
    if len(data) == 0:
        raise UserError("the set to evaluate on is empty")
    batches = Batches(len(data), batch_size, shuffle=False, rank=acc.process_index, world=acc.num_processes)
    was_training, total = model.training, {}
    arriving = loader(data, batches, workers, pin=acc.device.type == "cuda")
    with moved(model, acc.device):
        model.eval()
        for i, batch in enumerate(track(arriving, label, len(batches)) if label else arriving):
            with acc.autocast():
                _add(total, step(model, move(batch, acc.device)), batches.share(i))
        model.train(was_training)
    return _means(acc, total, len(data)) | {"n": len(data)}


@torch.no_grad()
def predict(model, data, *, batch_size=256, device="auto", precision="no", workers=0, forward=None):
    """The model's outputs for all of `data` in order, one tensor (N, ...) on the CPU.

    `data` is a tensor or a data set whose batches are (x, ...); `forward(x)` defaults to `model(x)`.
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


def save_model(path, model, config):
    """Weights and the JSON config that rebuilds the model, in one hashed file."""
    return checkpoint.save(path, {"config": config, "model": model.state_dict()})


def load_model(path):
    """(state_dict, config) of a file that `save_model` wrote."""
    saved = checkpoint.load(path)
    if "config" not in saved or "model" not in saved:
        raise UserError(f"{path} holds no model; give the folder that a `train` command wrote")
    return saved["model"], saved["config"]

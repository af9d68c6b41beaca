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
  look every `look_every` steps: at the progress, at NaN, at whether to save.
"""

import os
import signal
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, default_collate

from helpers import checkpoint
from helpers.data import UserError
from helpers.progress import bar, track  # noqa: F401  (`track` is part of this module's interface)


def scale():
    """How much work the notebooks do: "small" (two CPU cores, minutes) or "full" (`COURSE_SCALE=full`, a GPU)."""
    value = os.environ.get("COURSE_SCALE", "small")
    if value not in ("small", "full"):
        raise UserError(f"COURSE_SCALE is {value!r}; set it to small or full")
    return value


# ---------------------------------------------------------------- samples, batches, order


class Tensors(Dataset):
    """Equally long tensors as a data set: a whole batch is one indexing operation.

    `Tensors(x, y)` with x (N, ...) and y (N, ...) gives batches (x[indices], y[indices]).
    The tensors may already lie on the GPU.
    """

    def __init__(self, *tensors):
        if len({len(t) for t in tensors}) != 1:
            raise UserError(f"the tensors have different lengths {[len(t) for t in tensors]}: one row per sample")
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, i):
        return tuple(t[i] for t in self.tensors)

    def __getitems__(self, indices):  # DataLoader asks for this one: the list of a batch at once
        return tuple(t[torch.as_tensor(indices, device=t.device)] for t in self.tensors)

    @staticmethod
    def collate(batch):
        return batch


def mixed(*numbers):
    """One 63-bit seed out of several integers, such that neighbours share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def seed_everything(*numbers):
    """Seed Python, NumPy and PyTorch (every device) from integers, e.g. (seed, epoch, step, rank)."""
    import random

    value = mixed(*numbers)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


class Batches:
    """Batch sampler: the order of `epoch` is a function of (seed, epoch) alone.

    With several processes each one takes every `world`-th sample of the *same* global batch,
    so no sample is seen twice and none is left out. `start` skips the batches of a resumed epoch.
    """

    def __init__(self, n, batch_size, *, shuffle, seed=0, rank=0, world=1):
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.rank, self.world, self.epoch, self.start = rank, world, 0, 0

    def __len__(self):
        return -(-self.n // self.batch_size)

    def size(self, step):
        """Samples of the global batch number `step`."""
        return min(self.batch_size, self.n - step * self.batch_size)

    def __iter__(self):
        order = torch.arange(self.n)
        if self.shuffle:
            order = torch.randperm(self.n, generator=torch.Generator().manual_seed(mixed(self.seed, self.epoch)))
        for step in range(self.start, len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            # a last batch smaller than the number of processes leaves some of them nothing: they
            # take one sample to stay in step with the others, and its weight is zero (`share`)
            mine = batch[self.rank :: self.world]
            yield (mine if len(mine) else batch[:1]).tolist()

    def share(self, step):
        """1, or 0 where this process only keeps in step."""
        return float(self.rank < self.size(step))


def loader(data, batches, workers=0, pin=False):
    """A DataLoader over `data` in the order of `batches`; worker processes stay alive between epochs."""
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=getattr(data, "collate", default_collate),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(batches.seed),  # else iterating draws from the global generator
    )


def pieces(batch, k):
    """Split a batch (tensors and lists, nested in tuples or dicts) into at most k parts of equal size."""
    if torch.is_tensor(batch):
        return list(batch.chunk(k))
    if isinstance(batch, dict):
        return [dict(zip(batch, part)) for part in zip(*(pieces(v, k) for v in batch.values()))]
    if isinstance(batch, tuple):
        return [tuple(part) for part in zip(*(pieces(v, k) for v in batch))]
    size = -(-len(batch) // k)
    return [batch[i : i + size] for i in range(0, len(batch), size)]


# ---------------------------------------------------------------- the engine


def engine(device="auto", precision="auto"):
    """An Accelerator. device: "auto" (CUDA, XPU, MPS, then CPU), "cpu", "cuda", "cuda:1"...;
    precision: "auto" (bf16 on a GPU that has it, fp16 on other CUDA, else fp32), "no", "bf16", "fp16".
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    if precision not in ("auto", "no", "bf16", "fp16"):
        raise UserError(f"precision {precision!r} is not one of auto, no, bf16, fp16")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    AcceleratorState._reset_state(reset_partial_state=not several)  # a notebook makes many, with other settings
    if device not in ("auto", "cpu"):
        kind = torch.device(device).type if device.split(":")[0].isalpha() else None
        backend = getattr(torch, kind or "", None)
        if kind is None or not (backend and backend.is_available()):
            raise UserError(f"there is no device {device!r} on this machine; use --device auto or cpu")
        os.environ["ACCELERATE_TORCH_DEVICE"] = device
    try:
        state = PartialState(cpu=device == "cpu")
        kind = state.device.type
        if precision == "auto":
            bf16 = kind == "xpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
            precision = "bf16" if bf16 else "fp16" if kind == "cuda" else "no"
        if precision == "fp16" and kind == "cpu":
            raise UserError("fp16 needs a GPU; on a CPU use --precision bf16 or no")
        return Accelerator(cpu=device == "cpu", mixed_precision=precision)
    finally:
        os.environ.pop("ACCELERATE_TORCH_DEVICE", None)


class _Sums(nn.Module):
    """Model and step as one module, so that whatever the step does with the model is seen by DDP and compile."""

    def __init__(self, model, step):
        super().__init__()
        self.model, self.step = model, step

    def forward(self, batch):
        return self.step(self.model, batch)


def _move(batch, device):
    from accelerate.utils import send_to_device

    return send_to_device(batch, device, non_blocking=True)


def _add(total, sums, weight=1.0):
    for name, value in sums.items():
        value = torch.as_tensor(value).detach().double() if _doubles(value) else value.detach().float()
        total[name] = total[name] + weight * value if name in total else weight * value


def _doubles(value):
    return not torch.is_tensor(value) or value.device.type not in ("mps", "xpu")  # these have no float64


def _means(total, n):
    """Sums on the device -> means as floats: the one place where we wait for the device."""
    names = list(total)
    values = torch.stack([total[name] for name in names]).tolist()
    return {name: value / n for name, value in zip(names, values)}


@dataclass
class Result:
    """What `fit` returns. `history`: one dict per epoch, e.g. {"epoch": 1, "lr": ..., "loss": ..., "valid_loss": ...}."""

    history: list = field(default_factory=list)
    best: dict | None = None  # the entry of `history` that `monitor` likes best
    epochs: int = 0
    seconds: float = 0.0
    resumed_from: dict | None = None  # {"epoch": e, "step": s}: where a resumed run went on
    stopped_early: bool = False

    @property
    def last(self):
        return self.history[-1]


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
    patience=None,
    monitor="valid_loss",
    keep="last",
    augment=None,
    workers=0,
    save_seconds=60.0,
    look_every=25,
    label="training",
    log=None,
):
    """Train `model` in place and return a `Result`.

    model       any nn.Module; only parameters with requires_grad are trained
    train,valid map-style data sets: `Tensors(x, y)`, an image folder, ... (`collate` attribute is used)
    step        step(model, batch) -> dict of SUMS over the samples of the batch; "loss" is minimised
    optimizer   a torch optimiser over the parameters to train
    epochs      how often every training sample is seen; batch_size: samples a step, over all processes
    scheduler   a torch scheduler on that optimiser, stepped by "epoch" or by "step" (`schedule_by`)
    out, resume folder for `last.safetensors` (and `best.safetensors`); go on from there
    config      JSON values that are stored in the checkpoint; a resume with another config is refused
    accumulate  parts that a batch is processed in, to save memory; the sum of gradients is the same
    clip        largest norm of the whole gradient; patience: epochs without a better `monitor` before it stops
    monitor     key of the history; smaller is better where it ends in "loss" or "error", else larger is
    keep        "last" or "best": which weights the model holds at the end (best needs `valid`)
    augment     augment(batch, generator) -> batch, on the device, training only; `generator` is a CPU generator
    save_seconds  also save inside an epoch when this much time has passed; log: called with each history entry

    Raises UserError for NaN or infinite losses (naming the step), damaged or foreign checkpoints, a full
    disk. Interrupt (Ctrl-C, the stop button) ends at a step's border, saves, and raises KeyboardInterrupt.
    """
    if len(train) == 0:
        raise UserError("the training set is empty")
    if epochs < 1 or batch_size < 1 or accumulate < 1:
        raise UserError("epochs, batch size and accumulation must be at least 1")
    if valid is None and (keep == "best" or (patience is not None and monitor.startswith("valid"))):
        raise UserError("early stopping and keeping the best weights need a validation set")
    start, acc = monotonic(), engine(device, precision)
    rank, world = acc.process_index, acc.num_processes
    model.to(acc.device)
    if acc.device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # the layout that tensor cores want; 4-D weights only

    batches = Batches(len(train), batch_size, shuffle=True, seed=seed, rank=rank, world=world)
    feed = loader(train, batches, workers, pin=acc.device.type == "cuda")
    module = acc.prepare_model(_Sums(model, step))
    if compile:
        module = torch.compile(module)
    opt = acc.prepare_optimizer(optimizer)
    run = {"epoch": 0, "step": 0, "history": [], "best": None, "bad_epochs": 0, "finished": False}
    total = {}  # sums of this epoch so far, on the device
    result = Result()
    last = Path(out) / "last.safetensors" if out else None
    best = Path(out) / "best.safetensors" if out else None
    best_weights = None
    facts = {"config": config or {}, "samples": len(train), "batch_size": batch_size, "seed": seed}
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]

    def state():
        return {
            "facts": facts, "run": run, "total": total, "model": model.state_dict(),
            "optimizer": optimizer.state_dict(), "scheduler": _plain(scheduler),
            "scaler": acc.scaler.state_dict() if acc.scaler else None,
        }  # fmt: skip

    def save():
        if last and rank == 0:
            checkpoint.save(last, state())

    if resume and last and last.exists():
        saved = checkpoint.load(last)
        for name, value in facts.items():
            if saved["facts"].get(name) != value:
                raise UserError(
                    f"{last} was trained with {name} {saved['facts'].get(name)}, not {value}; "
                    "use the same settings, another --out, or no --resume"
                )
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        if scheduler is not None:
            scheduler.load_state_dict(saved["scheduler"])
        if acc.scaler and saved["scaler"]:
            acc.scaler.load_state_dict(saved["scaler"])
        run.update(saved["run"])
        if rank == 0:  # the sums are global ones: one process goes on counting from them
            total.update(_move(saved["total"], acc.device))
        result.resumed_from = {"epoch": run["epoch"], "step": run["step"]}
        if keep == "best" and best.exists():
            best_weights = checkpoint.load(best)["model"]
    elif last and last.exists() and not resume:
        raise UserError(f"{last} exists: go on with --resume, or choose another --out")

    far = torch.tensor(float("inf"), device=acc.device)
    bad = far.clone()  # the first step of this run whose loss was not finite, kept on the device
    saved_at = monotonic()
    with bar(label, epochs * len(batches)) as progress, _interrupts() as interrupted:
        progress.first = run["epoch"] * len(batches) + run["step"]
        while run["epoch"] < epochs and not run["finished"]:
            epoch = batches.epoch = run["epoch"]
            batches.start = run["step"]
            module.train()
            for i, batch in enumerate(feed, batches.start):
                seed_everything(seed, epoch, i, rank)
                batch = _move(batch, acc.device)
                if augment is not None:
                    batch = augment(batch, torch.Generator().manual_seed(mixed(seed, epoch, i, rank, 1)))
                share, n = batches.share(i), batches.size(i)
                opt.zero_grad(set_to_none=True)
                parts = pieces(batch, accumulate) if accumulate > 1 else [batch]
                for k, part in enumerate(parts):
                    # gradients travel between the processes once a step, with the last part
                    with nullcontext() if k == len(parts) - 1 else acc.no_sync(module):
                        with acc.autocast():
                            sums = module(part)  # forward: sums over the samples of this part
                        # DDP averages over processes, hence times `world`: what remains is sum / n
                        acc.backward(sums["loss"] * (share * world / n))
                    _add(total, sums, share)
                    bad = torch.minimum(bad, torch.where(torch.isfinite(sums["loss"].detach()), far, i))
                if clip is not None:
                    acc.clip_grad_norm_(trained, clip)
                opt.step()
                if scheduler is not None and schedule_by == "step" and not opt.step_was_skipped:
                    scheduler.step()
                run["step"] = i + 1

                if (i + 1) % look_every == 0 or interrupted() and world == 1:
                    first_bad = _agree(acc, bad.nan_to_num(posinf=1e30), torch.minimum)
                    if first_bad < 1e30:
                        raise UserError(_not_finite(int(first_bad), epoch, last))
                    wish = torch.tensor([float(interrupted()), float(monotonic() - saved_at > save_seconds)])
                    stop, due = _wishes(acc, wish)
                    if (stop or due) and last and i + 1 < len(batches):
                        total = _global(acc, total)
                        save()
                        saved_at = monotonic()
                    if stop:
                        raise KeyboardInterrupt("stopped; go on with resume" if last else "stopped")
                progress.update(epoch * len(batches) + i + 1)

            entry = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            total = _global(acc, total)
            if _agree(acc, bad.nan_to_num(posinf=1e30), torch.minimum) < 1e30:
                raise UserError(_not_finite(int(bad.item()) if bad.isfinite() else len(batches) - 1, epoch, last))
            entry |= _means({k: acc.reduce(v.clone(), "sum") for k, v in total.items()}, len(train))
            if valid is not None:
                scores = _evaluate(acc, model, valid, step, max(batch_size, 64), workers)
                entry |= {f"valid_{name}": value for name, value in scores.items() if name != "n"}
            if scheduler is not None and schedule_by == "epoch":
                scheduler.step()
            total = {}
            run["history"].append(entry)
            run["epoch"], run["step"] = epoch + 1, 0
            if monitor in entry:
                if run["best"] is None or _better(monitor, entry[monitor], run["best"][monitor]):
                    run["best"], run["bad_epochs"] = entry, 0
                    if keep == "best":
                        best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
                        if best and rank == 0:
                            checkpoint.save(best, {"model": best_weights, "entry": entry, "config": config or {}})
                else:
                    run["bad_epochs"] += 1
                    run["finished"] = patience is not None and run["bad_epochs"] >= patience
            save()
            saved_at = monotonic()
            progress.note = ", ".join(f"{k} {v:.3g}" for k, v in entry.items() if k not in ("epoch", "lr"))
            if log and rank == 0:
                log(entry)
            if interrupted() and run["epoch"] < epochs:
                raise KeyboardInterrupt("stopped; go on with resume" if last else "stopped")
    if keep == "best" and best_weights is not None:
        model.load_state_dict(best_weights)
    model.eval()
    result.history, result.best, result.epochs = run["history"], run["best"], run["epoch"]
    result.stopped_early, result.seconds = run["finished"], monotonic() - start
    return result


def _plain(scheduler):
    """A scheduler's state without its functions (LambdaLR keeps none of them either)."""
    if scheduler is None:
        return None
    return {k: v for k, v in scheduler.state_dict().items() if not callable(v)}


def _better(monitor, new, old):
    return new < old if monitor.endswith(("loss", "error")) else new > old


def _not_finite(step, epoch, last):
    kept = f"; {last} holds the state before it" if last and last.exists() else ""
    return (
        f"the loss is NaN or infinite at step {step + 1} of epoch {epoch + 1}: lower the learning rate, "
        f"clip the gradient, or look for bad values in the data{kept}"
    )


def _agree(acc, value, how):
    """One number that all processes share: the least of theirs."""
    return acc.gather(value.reshape(1)).min().item() if acc.num_processes > 1 else value.item()


def _wishes(acc, wish):
    """Does any process wish to stop, or to save?"""
    if acc.num_processes > 1:
        wish = acc.reduce(wish.to(acc.device), "sum").cpu()
    return [bool(w > 0) for w in wish]


def _global(acc, total):
    """The sums of all processes, held by the first one (the others go on from zero)."""
    if acc.num_processes == 1:
        return total
    whole = {k: acc.reduce(v.clone(), "sum") for k, v in total.items()}
    return whole if acc.process_index == 0 else {k: torch.zeros_like(v) for k, v in whole.items()}


@contextmanager
def _interrupts():
    """Inside, Ctrl-C only sets a flag, which is read between two steps: no half-updated weights."""
    seen = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(*_):
        if seen:  # a second Ctrl-C means now
            raise KeyboardInterrupt
        seen.append(True)

    old = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, old)


# ---------------------------------------------------------------- without gradients


def evaluate(model, data, *, step, batch_size=256, device="auto", precision="no", workers=0):
    """Means over all of `data`: {"loss": ..., ..., "n": N}. Every sample counts once, whatever the batch size."""
    return _evaluate(engine(device, precision), model, data, step, batch_size, workers)


@torch.no_grad()
def _evaluate(acc, model, data, step, batch_size, workers):
    if len(data) == 0:
        raise UserError("the set to evaluate on is empty")
    batches = Batches(len(data), batch_size, shuffle=False, rank=acc.process_index, world=acc.num_processes)
    was_training, total = model.training, {}
    model.to(acc.device).eval()
    for i, batch in enumerate(loader(data, batches, workers, pin=acc.device.type == "cuda")):
        with acc.autocast():
            _add(total, step(model, _move(batch, acc.device)), batches.share(i))
    model.train(was_training)
    total = {k: acc.reduce(v, "sum") for k, v in total.items()} if acc.num_processes > 1 else total
    return _means(total, len(data)) | {"n": len(data)}


@torch.no_grad()
def predict(model, data, *, batch_size=256, device="auto", precision="no", workers=0, forward=None):
    """The model's outputs for all of `data` in order, one tensor (N, ...) on the CPU.

    `data` is a data set whose batches are (x, ...) or a tensor; `forward(x)` defaults to `model(x)`.
    """
    acc = engine(device, precision)
    data = Tensors(data) if torch.is_tensor(data) else data
    was_training = model.training
    model.to(acc.device).eval()
    rows = []
    for batch in loader(data, Batches(len(data), batch_size, shuffle=False), workers):
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        with acc.autocast():
            rows.append((forward or model)(_move(x, acc.device)).float().cpu())
    model.train(was_training)
    if not rows:
        raise UserError("there is nothing to predict: the set is empty")
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

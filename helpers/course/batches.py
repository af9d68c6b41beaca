"""Samples, batches and their order: a function of (seed, epoch, step) and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from helpers.course.devices import move
from helpers.course.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


class Tensors(Dataset):
    """Equally long tensors as a data set: a whole batch is one indexing operation.

    `Tensors(x, y)` with x (N, ...) and y (N, ...) gives batches (x[indices], y[indices]).
    The tensors may already lie on the GPU.
    """

    def __init__(self, *tensors: torch.Tensor):
        if len({len(t) for t in tensors}) != 1:
            raise UserError(f"the tensors have different lengths {[len(t) for t in tensors]}: one row per sample")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, i: int | slice) -> tuple[torch.Tensor, ...]:
        return tuple(t[i] for t in self.tensors)  # an index or a slice

    def __getitems__(
        self, indices: Sequence[int]
    ) -> tuple[torch.Tensor, ...]:  # DataLoader asks for this one: the list of a batch at once
        return tuple(t[torch.as_tensor(indices, device=t.device)] for t in self.tensors)

    @staticmethod
    def collate(batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return batch


def mixed(*numbers: int) -> int:
    """One 63-bit seed out of several integers, such that neighbours share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def seed_everything(*numbers: int) -> None:
    """Seed Python, NumPy and PyTorch (every device) from integers, e.g. (seed, epoch, step, rank)."""
    import random

    value = mixed(*numbers)
    random.seed(value)
    np.random.seed(value % 2**32)
    # torch.manual_seed would also queue a call, with its stack trace, for each device that is not in use: half
    # a millisecond a step, and memory that is never given back. Only what is in use needs a seed.
    torch.default_generator.manual_seed(value)
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            backend.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)


class Batches:
    """Batch sampler: the order of `epoch` is a function of (seed, epoch) alone.

    With several processes each one takes every `world`-th sample of the *same* global batch,
    so no sample is seen twice and none is left out. `start` skips the batches of a resumed epoch.

    With `lengths` (n,) a batch holds samples of nearly equal length, so that little of it is padding: the
    shuffled samples are sorted by length within pools of POOL batches, then the batches are shuffled.
    """

    POOL = 50

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        lengths: torch.Tensor | None = None,
    ):
        self.n, self.batch_size, self.shuffle, self.seed, self.lengths = n, batch_size, shuffle, seed, lengths
        self.rank, self.world, self.epoch, self.start = rank, world, 0, 0

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def size(self, step: int) -> int:
        """Samples of the global batch number `step`."""
        return min(self.batch_size, self.n - step * self.batch_size)

    def order(self) -> torch.Tensor:
        """The samples (n,) in the order of this epoch."""
        if not self.shuffle:
            return torch.arange(self.n)
        generator = torch.Generator().manual_seed(mixed(self.seed, self.epoch))
        order = torch.randperm(self.n, generator=generator)
        if self.lengths is None:
            return order
        pools = order.split(self.POOL * self.batch_size)
        order = torch.cat([pool[self.lengths[pool].argsort(stable=True)] for pool in pools])
        whole = self.n - self.n % self.batch_size  # a smaller batch stays the last
        batches = order[:whole].view(-1, self.batch_size)
        return torch.cat([batches[torch.randperm(len(batches), generator=generator)].flatten(), order[whole:]])

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order()
        for step in range(self.start, len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            # a last batch smaller than the number of processes leaves some of them nothing: they
            # take one sample to stay in step with the others, and its weight is zero (`share`)
            mine = batch[self.rank :: self.world]
            yield (mine if len(mine) else batch[:1]).tolist()

    def share(self, step: int) -> float:
        """1, or 0 where this process only keeps in step."""
        return float(self.rank < self.size(step))


def _generators(thing, seen):
    """(owner, attribute, generator) of every generator that a data set, or a part of it, carries."""
    seen.add(id(thing))
    for name, value in vars(thing).items():
        if isinstance(value, (np.random.Generator, torch.Generator)):
            yield thing, name, value
        for part in value if isinstance(value, (list, tuple)) else [value]:
            # parts that draw are data sets (`Subset` has one inside) and transforms, that is callable objects
            inner = isinstance(part, Dataset) or (callable(part) and not isinstance(part, (type, FunctionType)))
            if inner and hasattr(part, "__dict__") and id(part) not in seen:
                yield from _generators(part, seen)


def seed_worker(worker_id: int) -> None:
    """`worker_init_fn` of a DataLoader: the generators that the data set or its transforms carry as attributes
    (NumPy's, PyTorch's), and OpenCV's, start from this worker's own seed. Without it every worker has a copy of
    them in the same state, and all workers draw the same numbers. (PyTorch seeds the global ones by itself.)"""
    info = get_worker_info()
    assert info is not None, "this runs in a worker process"
    for k, (owner, name, value) in enumerate(list(_generators(info.dataset, set()))):
        if isinstance(value, np.random.Generator):
            setattr(owner, name, np.random.default_rng([info.seed, k]))
        else:
            value.manual_seed(mixed(info.seed, k))
    import cv2

    cv2.setRNGSeed(info.seed % 2**31)


def loader(data: Any, batches: Batches, workers: int = 0, pin: bool = False) -> DataLoader:
    """A DataLoader over `data` in the order of `batches`; worker processes stay alive between epochs, and each
    draws numbers of its own (`seed_worker`)."""
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=getattr(data, "collate", default_collate),
        num_workers=workers,
        worker_init_fn=seed_worker,
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(batches.seed),  # else iterating draws from the global generator
    )


def pieces(batch: Any, k: int) -> list:
    """Split a batch (tensors and lists, nested in tuples or dicts) into at most k parts of equal size."""
    if torch.is_tensor(batch):
        return list(batch.chunk(k))
    if isinstance(batch, dict):
        return [dict(zip(batch, part)) for part in zip(*(pieces(v, k) for v in batch.values()))]
    if isinstance(batch, tuple):
        return [tuple(part) for part in zip(*(pieces(v, k) for v in batch))]
    size = -(-len(batch) // k)
    return [batch[i : i + size] for i in range(0, len(batch), size)]


class Feed:
    """The batches of a training, epoch by epoch, on the device of `acc`, augmented: a function of (seed, epoch, step).

    data      a map-style data set, see `training.fit`
    augment   augment(batch, generator) -> batch, on the device; the generator is a CPU one
    workers   processes that read samples
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        seed: int,
        acc: Accelerator,
        workers: int = 0,
        augment: Callable[[Any, torch.Generator], Any] | None = None,
    ):
        self.seed, self.rank, self.device, self.augment = seed, acc.process_index, acc.device, augment
        lengths = getattr(data, "lengths", None)
        self.batches = Batches(
            len(data), batch_size, shuffle=True, seed=seed, rank=self.rank, world=acc.num_processes, lengths=lengths
        )
        self.loader = loader(data, self.batches, workers, pin=self.device.type == "cuda")

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Any]]:
        """Yield (step, batch) from step `start` on. What is drawn until the next batch is drawn for that step."""
        self.batches.epoch, self.batches.start = epoch, start
        for i, batch in enumerate(self.loader, start):
            seed_everything(self.seed, epoch, i, self.rank)
            batch = move(batch, self.device)
            if self.augment is not None:
                generator = torch.Generator().manual_seed(mixed(self.seed, epoch, i, self.rank, 1))
                batch = self.augment(batch, generator)
            yield i, batch

"""Workers that draw the same numbers and the cure, and arrows whose label a flip changes."""

import numpy as np
import pytest
import torch
from random_images import generator, images
from torch.utils.data import DataLoader, Dataset, Subset

from helpers.augmentation import pitfalls
from helpers.course.batches import Batches, loader
from helpers.course.errors import UserError

# ---------------------------------------------------------------- workers


def shifts(draw, init=None, epochs=2):
    data = pitfalls.ShiftedInWorker(images(32, w=1000, h=1, c=1), draw)
    loader = DataLoader(data, batch_size=8, num_workers=2, worker_init_fn=init, generator=generator())
    return [[batch[1].tolist() for batch in loader] for _ in range(epochs)]


@pytest.mark.parametrize("draw", ["own", "opencv"])
def test_workers_copy_a_generator_and_seed_worker_mends_it(draw):
    first, second = shifts(draw)
    assert first[0] == first[1] and first[2] == first[3]  # batches 0 and 1 come from two workers
    assert second == first  # and every epoch repeats the one before
    mended = shifts(draw, pitfalls.seed_worker)
    batches = [tuple(batch) for epoch in mended for batch in epoch]
    assert len(set(batches)) == 8
    assert shifts(draw, pitfalls.seed_worker) == mended  # and still a function of the seed


def test_numpys_global_generator_is_seeded_by_pytorch():
    """The bug as it is usually told is mended: PyTorch seeds `np.random` in every worker."""
    batches = [tuple(batch) for epoch in shifts("numpy") for batch in epoch]
    assert len(set(batches)) == 8


def test_seed_worker_gives_each_generator_its_own_stream():
    first, second = (e[0] for e in shifts("own", pitfalls.seed_worker))
    assert first != second


class Transformed(Dataset):
    """Item i is a number that a transform drew with a generator of its own: nothing on the data set itself."""

    class Draw:
        def __init__(self, rng):
            self.rng = rng

        def __call__(self):
            if isinstance(self.rng, torch.Generator):
                return int(torch.randint(10**6, (), generator=self.rng))
            return int(self.rng.integers(10**6))

    def __init__(self, *generators):
        self.transforms = [self.Draw(rng) for rng in generators]

    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.tensor([draw() for draw in self.transforms])


def epochs_of(data, workers=2, seed=0, epochs=2):
    """What the course's own loader gives in each epoch, a tuple of bytes for each batch."""
    batches = Batches(len(data), 8, shuffle=True, seed=seed)
    feed, rows = loader(data, batches, workers), []
    for batches.epoch in range(epochs):
        for batch in feed:
            drawn = batch[1] if isinstance(batch, (tuple, list)) else batch
            rows.append(drawn.numpy().tobytes())
    return rows


@pytest.mark.parametrize("draw", ["own", "opencv", "numpy", "transform", "torch transform", "subset"])
def test_the_courses_loader_gives_each_worker_its_own_numbers(draw):
    """In `batches.loader`, which `fit` uses, without anybody asking for it."""

    def data():
        if draw == "transform":
            return Transformed(np.random.default_rng(0), np.random.default_rng(0))
        if draw == "torch transform":
            return Transformed(generator())
        one = pitfalls.ShiftedInWorker(images(32, w=100_000, h=1, c=1), "own" if draw == "subset" else draw)
        return Subset(Subset(one, range(32)), range(32)) if draw == "subset" else one

    rows = epochs_of(data())
    assert len(set(rows)) == 8  # 2 epochs of 4 batches, from 2 workers: all different
    if draw == "transform":  # and two transforms of one worker are not twins either
        a, b = np.frombuffer(rows[0], np.int64).reshape(8, 2).T
        assert not np.array_equal(a, b)
    assert epochs_of(data()) == rows  # a function of the seed
    assert set(epochs_of(data(), seed=1)).isdisjoint(rows)


# ---------------------------------------------------------------- arrows


def test_arrows_have_an_exact_ceiling():
    x, y = pitfalls.arrows(400, seed=3)
    assert x.shape == (400, 1, 16, 16) and x.dtype == torch.uint8 and y.tolist() == [0, 1] * 200
    assert torch.equal(x[0::2], x[1::2].flip(-1))  # mirror images of each other, with the two labels
    assert len({p.numpy().tobytes() for p in x}) == 400
    assert torch.equal(pitfalls.arrows(400, seed=3)[0], x)
    assert not torch.equal(pitfalls.arrows(400, seed=4)[0], x)
    torch.manual_seed(0)
    for _ in range(5):  # any classifier: over both orientations of every picture exactly half is right
        layers = torch.nn.Linear(256, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2)
        f = torch.nn.Sequential(torch.nn.Flatten(), *layers)
        right = sum((f(v.float() / 255).argmax(1) == y).sum() for v in (x, x.flip(-1)))
        assert right == 400


def test_arrows_can_be_told_apart():
    """So the ceiling comes from the flips: without them a linear model reads the direction."""
    from sklearn.linear_model import LogisticRegression

    (x, y), (xt, yt) = pitfalls.arrows(2000, seed=0), pitfalls.arrows(400, seed=1)
    model = LogisticRegression(max_iter=300).fit(x.flatten(1).numpy() / 255, y)
    assert model.score(xt.flatten(1).numpy() / 255, yt) > 0.9


@pytest.mark.parametrize("call, says", [(lambda: pitfalls.arrows(7), "n must be even; got 7")])
def test_bad_batches_end_in_one_clear_line(call, says):
    with pytest.raises(UserError) as error:
        call()
    assert says in str(error.value) and "\n" not in str(error.value)

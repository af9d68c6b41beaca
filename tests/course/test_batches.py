"""Every sample once an epoch, in an order that is a function of (seed, epoch)."""

import pytest
import torch
from blobs import blobs

from helpers.course.batches import Batches, Feed, Tensors, pieces
from helpers.course.devices import engine
from helpers.course.errors import UserError


def test_pieces_cut_nested_batches_alike():
    batch = (torch.arange(10), {"boxes": list("abcdefghij")})
    parts = pieces(batch, 3)
    assert [len(p[0]) for p in parts] == [len(p[1]["boxes"]) for p in parts] == [4, 4, 2]
    assert torch.cat([p[0] for p in parts]).equal(batch[0])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_sample_is_seen_once_by_one_process(world):
    for epoch in range(3):
        seen = []
        for rank in range(world):
            b = Batches(23, 4, shuffle=True, seed=1, rank=rank, world=world)
            b.epoch = epoch
            for i, mine in enumerate(b):
                seen += mine if b.share(i) else []
        assert sorted(seen) == list(range(23))


def test_the_order_changes_with_the_epoch_and_the_seed():
    orders = set()
    for seed in range(3):
        for epoch in range(3):
            b = Batches(50, 50, shuffle=True, seed=seed)
            b.epoch = epoch
            orders.add(tuple(next(iter(b))))
    assert len(orders) == 9


@pytest.mark.parametrize("n", [1, 7, 1000, 1003])
def test_batches_of_similar_length_leave_no_sample_out(n):
    lengths, orders = torch.randint(1, 40, (n,), generator=torch.Generator().manual_seed(0)), set()
    for epoch in range(3):
        b = Batches(n, 8, shuffle=True, seed=1, lengths=lengths)
        b.epoch = epoch
        rows = list(b)
        assert sorted(i for row in rows for i in row) == list(range(n)) and rows == list(b)
        assert [len(row) for row in rows] == [b.size(step) for step in range(len(b))]
        orders.add(tuple(map(tuple, rows)))
        if n >= 1000:
            spread = [int(lengths[row].max() - lengths[row].min()) for row in rows]
            assert sum(spread) / len(spread) < 3  # 28 or so where they are mixed at random
            first = torch.stack([lengths[row].float().mean() for row in rows[: len(rows) // 2]]).mean()
            assert abs(first - lengths.float().mean()) < 5  # not the short ones first
    assert len(orders) == (3 if n >= 1000 else 1)  # one batch is one batch


def test_tensors_of_different_lengths_are_refused():
    with pytest.raises(UserError, match=r"different lengths \[3, 2\]"):
        Tensors(torch.zeros(3), torch.zeros(2))


def test_a_feed_is_a_function_of_seed_epoch_and_step():
    """Samples, augmentation and what the model draws in a step, whatever was drawn before and wherever it starts."""

    def augment(batch, generator):
        x, y = batch
        return x + torch.rand(x.shape, generator=generator), y

    def drawn(seed=0, epoch=0, start=0, noise=0):
        torch.rand(noise)
        feed = Feed(blobs(), 7, seed, engine("cpu"), augment=augment)
        return [(i, *batch, torch.rand(2)) for i, batch in feed.epoch(epoch, start)]

    whole = drawn()
    assert [row[0] for row in whole] == list(range(15)) and sum(len(row[2]) for row in whole) == 100
    for a, b in zip(whole[4:], drawn(start=4, noise=5), strict=True):
        assert all(torch.equal(torch.as_tensor(p), torch.as_tensor(q)) for p, q in zip(a, b, strict=True))
    for other in (drawn(seed=1), drawn(epoch=1)):
        assert not any(torch.equal(a[1], b[1]) or torch.equal(a[3], b[3]) for a, b in zip(whole, other))

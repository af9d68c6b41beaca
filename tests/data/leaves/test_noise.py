"""Random numbers of the renderer: the raw stream, and noise that wraps."""

import numpy as np

from helpers.data.leaves.noise import Dice, noise
from helpers.data.leaves.noise import _tiles as tiles


def test_dice_is_the_raw_stream_however_it_is_read():
    raw = np.random.PCG64(np.random.SeedSequence((4, 2))).random_raw(1000)
    one, many = Dice(4, 2), Dice(4, 2)
    numbers = many.many(1000)
    assert [one() for _ in range(256)] == numbers[:256].tolist()
    assert np.array_equal(numbers, (raw >> np.uint64(11)) / 2**53)
    assert not np.array_equal(Dice(2, 4).many(9), numbers[:9])
    assert {Dice(k).count(1, 3) for k in range(50)} == {1, 2, 3}


def test_noise_tiles_wrap_and_depend_on_the_dice():
    a = noise("mid", Dice(1), 64)
    assert a.shape == (64, 64) and a.dtype == np.float32 and 0.1 < a.std() < 1 and abs(a).max() < 1.3
    assert not np.array_equal(a, noise("mid", Dice(2), 64))
    for name, tile in tiles(64).items():
        assert np.array_equal(tile[:64], tile[128:]), name
        steps = np.abs(np.diff(tile, axis=0)).mean(1)  # no seam where it wraps
        assert steps[127] < 3 * np.median(steps), name

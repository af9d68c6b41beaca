"""Random numbers and value noise for the renderer: the same picture from the same seed on every machine."""

import functools
import math

import numpy as np


class Dice:
    """A stream of uniform numbers that is a pure function of `key`, non-negative integers."""

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))
        self._u, self._at = np.empty(0), 0

    def many(self, n: int, lo: float = 0.0, hi: float = 1.0) -> np.ndarray:
        """n numbers in [lo, hi), shape (n,)."""
        if self._at + n > len(self._u):
            raw = self._bits.random_raw(max(n, 256))
            self._u = np.concatenate([self._u[self._at :], (raw >> np.uint64(11)) * 2.0**-53])
            self._at = 0
        self._at += n
        return lo + (hi - lo) * self._u[self._at - n : self._at]

    def __call__(self, lo: float = 0.0, hi: float = 1.0) -> float:
        """One number in [lo, hi)."""
        return float(self.many(1, lo, hi)[0])

    def raw(self, n: int) -> np.ndarray:
        """The next n words of the generator, uint64 (n,), for noise that is cheaper in whole numbers."""
        return self._bits.random_raw(n)

    def count(self, lo: int, hi: int) -> int:
        """A whole number in lo..hi, both included."""
        return math.floor(self(lo, hi + 1))

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self() < p


# ---------------------------------------------------------------------------------------------- noise


def ramp(x: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """0 at lo, 1 at hi, linear between and flat outside; lo > hi gives a falling ramp."""
    return np.minimum(np.maximum((x - lo) * (1.0 / (hi - lo)), 0, dtype=np.float32), 1)


def _value_noise(dice, cells, side, turn):
    """Periodic smooth noise in [-1, 1], shape (side, side): random values on a lattice, joined by smoothstep.

    The lattice is turned by the whole-number vector (turn, 1), which keeps the period and hides the grid.
    """
    cells = max(3, round(cells / math.hypot(turn, 1)))
    lattice = dice.many(cells * cells, -1, 1).reshape(cells, cells)
    y, x = np.mgrid[:side, :side] * (cells / side)
    a, b = turn * x + y, turn * y - x
    i, j = np.floor(a).astype(int), np.floor(b).astype(int)
    f, g = a - i, b - j
    f, g = f * f * (3 - 2 * f), g * g * (3 - 2 * g)
    i, j, k, m = i % cells, j % cells, (i + 1) % cells, (j + 1) % cells
    near = lattice[i, j] * (1 - f) + lattice[k, j] * f
    return near * (1 - g) + (lattice[i, m] * (1 - f) + lattice[k, m] * f) * g


def _cells(dice, cells, side):
    """Worley noise, shape (side, side): F2 - F1, zero on the walls of random cells, in cell widths."""
    points = dice.many(2 * cells * cells).reshape(2, cells, cells)
    y, x = np.divmod(np.arange(side * side), side)
    y, x = (y + 0.5) * (cells / side), (x + 0.5) * (cells / side)
    i, j = y.astype(int), x.astype(int)
    distances = []
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            a, b = (i + di) % cells, (j + dj) % cells
            distances.append((i + di + points[0, a, b] - y) ** 2 + (j + dj + points[1, a, b] - x) ** 2)
    first, second = np.partition(np.stack(distances), 1, axis=0)[:2]
    return (np.sqrt(second) - np.sqrt(first)).reshape(side, side)


# lattice cells across two pictures, for the coarse and the fine octave
TILES = {"low": (6, 10), "mid": (15, 31), "fine": (44, 90), "grain": (110, 200)}


@functools.lru_cache(maxsize=8)
def _tiles(side):
    """Noise tiles for pictures of `side` pixels, each wrapped to 3 side x 3 side for crops at any offset."""
    bank = {}
    for k, (name, (coarse, fine)) in enumerate(TILES.items()):
        dice = Dice(1874, k)
        bank[name] = 0.75 * _value_noise(dice, coarse, 2 * side, 1)
        bank[name] += 0.45 * _value_noise(dice, fine, 2 * side, 2)
    bank["cells"] = _cells(Dice(1874, 9), 46, 2 * side)
    return {name: np.pad(t, (0, side), mode="wrap").astype(np.float32) for name, t in bank.items()}


def noise(name: str, dice: Dice, side: int) -> np.ndarray:
    """A crop of a noise tile at a random place, flipped at random, shape (side, side), about -1..1."""
    x, y, flip = int(dice() * 2 * side), int(dice() * 2 * side), dice.count(0, 7)
    crop = _tiles(side)[name][y : y + side, x : x + side]
    crop = crop.T if flip & 4 else crop
    return np.ascontiguousarray(crop[:: -1 if flip & 1 else 1, :: -1 if flip & 2 else 1])

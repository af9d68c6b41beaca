"""What lesions are painted with: places, sizes and shapes on a leaf, colours laid over it."""

import math

import numpy as np
from numpy.typing import ArrayLike

from helpers.data.leaves.blades import Blade, planes
from helpers.data.leaves.noise import Dice


class Wound:
    """A leaf with the means to paint on it; colour (3, S, S) and height (S, S) are changed in place."""

    def __init__(self, blade: Blade, colour: np.ndarray, height: np.ndarray, dice: Dice):
        self.blade, self.colour, self.height, self.dice = blade, colour, height, dice
        self.severity = dice(0.15, 1)
        self.shade = planes(dice(0.80, 1.16) * dice.many(3, 0.95, 1.05))  # darker, redder, ...
        self.any = np.zeros_like(height)  # how sick each pixel is: lesions are matt

    def blend(self, rgb: ArrayLike, alpha: np.ndarray, texture: float = 0.16) -> None:
        """Mix a colour in; texture makes it uneven."""
        b = self.blade
        alpha = alpha * b.lamina
        np.maximum(self.any, alpha, out=self.any)
        paint = self.shade * planes(rgb) * (1 + texture * (b.grain * 0.6 + b.fine))
        self.colour += (paint - self.colour) * alpha

    def tint(self, gain: ArrayLike, alpha: np.ndarray) -> None:
        """Multiply the colour, so that veins and texture stay visible."""
        self.colour *= 1 + (planes(gain) - 1) * (alpha * self.blade.lamina)

    def number(self, few: int, many: int) -> int:
        """How many lesions: at least one, at most `many`, more the severer."""
        return max(1, round(few + (many - few) * self.severity * self.dice(0.6, 1)))

    def sizes(self, n: int, lo: float, hi: float) -> np.ndarray:
        """Lesion radii (n,): many young and small, few old and large."""
        return lo + (hi - lo) * self.dice.many(n) ** 2

    def places(self, n: int, reach: float = 0.86, clump: float = 0.35) -> np.ndarray:
        """Lesion centres (n, 2); part of them gather around a few of the others, as infections do."""
        p = self.blade.points(self.dice, n, reach)
        d = self.dice.many(4 * n).reshape(4, n)
        near = p[(d[0] * min(n, 3)).astype(int)] * 0.72 + p * 0.28
        return np.where((d[1] < clump)[:, None], near, p)

    def blobs(
        self,
        centres: np.ndarray,
        radii: ArrayLike,
        corners: int = 12,
        rough: float = 0.3,
        long: float = 1.0,
        turn: ArrayLike = 0.0,
    ) -> np.ndarray:
        """Irregular polygons. long = length over width, turn = angle of the long axis to the midrib."""
        n = len(centres)
        a = np.linspace(0, 2 * math.pi, corners, endpoint=False)
        jitter = self.dice.many(n * corners, -1, 1).reshape(n, corners)
        if corners > 8:
            jitter = 0.6 * jitter + 0.4 * np.roll(jitter, 1, 1)
        r = np.asarray(radii).reshape(-1, 1) * (1 + rough * jitter)
        stretch = math.sqrt(long)
        x, y = r * np.cos(a) * stretch, r * np.sin(a) / stretch
        turn = np.broadcast_to(np.asarray(turn, float).reshape(-1, 1), (n, 1))
        c, s = np.cos(turn), np.sin(turn)
        return np.stack([centres[:, :1] + x * c - y * s, centres[:, 1:] + x * s + y * c], -1)

    def depth(self, polygons: np.ndarray, ragged: float = 0.006) -> np.ndarray:
        """Signed distance to the polygons' border, in leaf lengths: > 0 inside; roughened by noise."""
        import cv2

        mask = self.blade.fill(polygons)
        px = cv2.distanceTransform(mask, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
        b = self.blade
        return np.minimum(px * np.float32(1 / b.length), 1) + np.float32(ragged) * (b.fine + 0.6 * b.grain)

    def pit(self, alpha: np.ndarray, depth: float) -> None:
        """Sink (or, depth < 0, raise) the surface."""
        self.height -= alpha * (self.blade.lamina * np.float32(depth * self.blade.side / 128))


def brown(dice: Dice, dark: float = 1.0) -> np.ndarray:
    """A necrotic brown."""
    return np.array([dice(96, 128), dice(64, 86), dice(38, 56)]) * dark

"""The healthy leaf: outline, venation, relief and surface of nine crops, drawn in any pose.

A leaf lives in *leaf coordinates* (u, v): u runs along the midrib from the petiole (0) to the tip (1), v
across it. `Blade` puts it into a picture of S x S pixels and keeps, for every pixel, what a disease needs
to know: where it is on the leaf, how far from the margin, and how near to a vein.

Reproducible by construction. Random numbers come from PCG64's raw stream, the one part of numpy.random
that is guaranteed not to change between versions. Planes of pixels see only + - * / and sqrt, which IEEE
754 rounds in one way, never exp, sin or pow, whose last bit depends on the CPU; outlines, which do see
sines, are rounded to 1/16 pixel before OpenCV fills them; and every OpenCV blur works on uint8, in fixed
point.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from helpers.data.leaves.noise import Dice, noise, ramp
from helpers.data.leaves.species import SPECIES


def _wave(x):
    return np.sin(2 * math.pi * x)


def _pinnate(s, dice, wild):
    """Outline of a leaf with one midrib, crumpled by wild, 0..1; places t along it with the half-width there,
    and the two sides' own half-widths with lobes and teeth."""
    t = np.linspace(0, 1, 140)
    profile = t**s.base * (1 - t) ** s.tip
    profile *= s.width / profile.max()
    sides = []
    for side in (1, -1):
        a, b, c, d = dice.many(4)
        w = profile * (1 + 0.07 * (a - 0.5)) * (1 + 0.05 * _wave(1.3 * t + b) + 0.03 * _wave(3.1 * t + c))
        w *= 1 + wild * (0.14 * _wave(4.3 * t + d) + 0.08 * _wave(9.1 * t + a))
        x = t
        if s.lobes:
            number = 2.6 + 0.8 * c if s.lobes > 0.1 else 5
            phase = (number * (t + 0.06 * np.sin(5 * t + 6 * d)) + b) % 1
            hump = np.minimum(phase / 0.68, (1 - phase) / 0.32)  # the lower side long, the upper side steep
            hump = hump * (1.6 - 0.6 * hump)
            cut = s.lobes * (0.75 + 0.5 * a) * (1 - hump) * np.minimum(1, (1 - t) * 4) * np.minimum(1, t * 6)
            x = t + (0.22 * w * (hump - 0.6) if s.lobes > 0.1 else 0)  # lobes lean to the tip
            w = w * (1 - cut)
        if s.teeth:
            phase = s.teeth * (t + 0.01 * np.sin(20 * t + 7 * c)) % 1
            tooth = phase if s.depth < 0.15 else np.sqrt(np.sin(math.pi * np.minimum(phase * 0.9 + 0.05, 1)))
            w = w + s.depth * (s.width * 0.75) * (tooth - 0.5) * np.minimum(1, 8 * profile / s.width)
        sides.append(np.stack([x, side * np.maximum(w, 0)], 1))
    return np.concatenate([sides[0], sides[1][::-1]]), t, profile, [s[:, 1] for s in sides]


def _palmate(s, dice):
    """Outline of a five-lobed grape leaf whose veins meet at (0.3, 0), and the lobes' (angle, length)."""
    lobes = [(0, 0.70), (0.92, 0.62), (-0.92, 0.62), (1.95, 0.50), (-1.95, 0.50)]
    lobes = [(a + dice(-0.08, 0.08), r * dice(0.93, 1.07)) for a, r in lobes]
    a = np.linspace(-math.pi + 0.10, math.pi - 0.10, 300)
    deep = 1.3 + 2.6 * dice()
    r = np.full_like(a, 0.30)
    for angle, length in lobes:
        d = np.abs(a - angle)
        r = np.maximum(r, length * (1 - 0.20 * deep * d**1.5 - 0.05 * d))
    phase = (a * 4.3 + dice(0, 1) + 0.3 * np.sin(3 * a + 6 * dice())) % 1
    teeth = s.depth * (np.minimum(phase, 2.5 * (1 - phase)) - 0.35)
    r = r * (1 + teeth + 0.02 * np.sin(23 * a + 6 * dice())) * (1 - 0.45 * np.maximum(0, np.abs(a) - 2.55))
    outline = np.stack([0.30 + r * np.cos(a), r * np.sin(a)], 1)
    return outline, lobes


def _arcs(starts, ends, sags, n=8):
    """Veins from starts to ends (k, 2), each bowed sideways by `sags` (k,) of its length: (k, n, 2)."""
    starts, ends = np.asarray(starts, float)[:, None], np.asarray(ends, float)[:, None]
    q = np.linspace(0, 1, n)[None, :, None]
    along = ends - starts
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    return starts + q * along + 4 * q * (1 - q) * np.asarray(sags).reshape(-1, 1, 1) * across


def _laterals(s, dice, t, profile):
    """Lateral veins of a pinnate leaf, forked near the margin where it is quilted: (k, n, 2) arrays."""
    if not s.pairs:
        return []
    k = np.arange(s.pairs)
    side = np.repeat([1, -1], s.pairs)
    start = (
        0.04
        + 0.80
        * (np.tile(k, 2) + 0.5 + np.repeat(dice.many(2, -0.25, 0.25), s.pairs) + dice.many(2 * s.pairs, -0.15, 0.15))
        / s.pairs
    )
    end = np.minimum(start + s.slope * np.interp(start, t, profile), 0.985)
    v = side * 0.93 * np.interp(end, t, profile)
    lines = _arcs(np.stack([start, 0 * start], 1), np.stack([end, v], 1), side * 0.07)
    if s.quilt < 0.85:
        return [lines]
    middle = lines[:, 4]
    tips = middle + np.stack([0.5 * (end - start), 0.38 * (v - middle[:, 1])], 1)
    return [lines, _arcs(middle, tips, -side * 0.05, 5)]


def _palmate_veins(lobes, dice):
    """Main veins and laterals of a grape leaf: (k, n, 2) arrays."""
    a, r = np.array(lobes).T
    tips = np.stack([0.30 + 0.93 * r * np.cos(a), 0.93 * r * np.sin(a)], 1)
    ribs = _arcs(np.tile([0.30, 0], (5, 1)), tips, dice.many(5, -0.04, 0.04))
    k, turn = np.meshgrid([1, 2, 3, 4, 5], [0.75, -0.75])
    k, turn = np.tile(k.ravel(), 5), np.tile(turn.ravel(), 5)
    lobe = np.repeat(np.arange(5), 10)
    reach = r[lobe] * (0.48 - 0.06 * k) * dice.many(50, 0.85, 1.15)
    start = ribs[lobe, k]
    end = start + reach[:, None] * np.stack([np.cos(a[lobe] + turn), np.sin(a[lobe] + turn)], 1)
    return ribs, [_arcs(start, end, 0.06 * np.sign(turn), 6)]


class Blade:
    """One leaf in one pose.

    crop, dice (the leaf's own stream), side S in pixels, pose (angle in radians, length in pixels, centre x
    and y in pixels, foreshortening across the midrib), bend (sideways), wild (crumpled margin, 0..1).
    Planes are float32 (S, S): `lamina` and `alpha` (lamina and petiole) coverage 0..1, `u`, `v`, `edge` =
    depth inside the margin in leaf lengths, `veins` and `near` = the veins sharp and blurred, 0..1, and noise
    from coarse to fine, `low`, `mid`, `fine`, `grain`, all about -1..1.
    """

    def __init__(self, crop: str, dice: Dice, side: int, pose: tuple, bend: float, wild: float = 0.0):
        import cv2

        self.species, self.crop, self.side = SPECIES[crop], crop, side
        s = self.species
        angle, self.length, self.cx, self.cy, squash = pose
        c, n = math.cos(angle), math.sin(angle)
        k = self.length
        self._axes = (c * k, -n * squash * k), (n * k, c * squash * k)
        self._bend = bend
        dense = dice.count(-1, 1) if s.pairs > 5 else 0
        s = s._replace(pairs=s.pairs + dense, width=s.width * dice(0.88, 1.12), depth=s.depth * dice(0.7, 1.3))
        self.width = s.width
        if crop == "Grape":
            self.outline, lobes = _palmate(s, dice)
            ribs, laterals = _palmate_veins(lobes, dice)
            foot = 0.30
        else:
            self.outline, t, profile, widths = _pinnate(s, dice, wild)
            self._sides = t, widths
            ribs = np.stack([np.linspace(0, 0.99, 12), np.zeros(12)], 1)[None]
            laterals = _laterals(s, dice, t, profile)
            foot = 0
        stalk = _arcs([(foot, 0)], [(foot - s.petiole * dice(0.6, 1.1), dice(-0.10, 0.10))], [dice(-0.1, 0.1)])

        outline, stalk, ribs = self._fixed(self.outline), self._fixed(stalk), self._fixed(ribs)
        laterals = [line for lines in laterals for line in self._fixed(lines)]
        lamina = np.zeros((side, side), np.uint8)
        cv2.fillPoly(lamina, [outline], 255, cv2.LINE_AA, 4)
        # the picture's border is no margin: the leaf goes on behind it
        inside = cv2.copyMakeBorder(lamina, 1, 1, 1, 1, cv2.BORDER_REPLICATE) // 128
        self.edge = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1] * np.float32(1 / self.length)
        veins, thick = np.zeros((side, side), np.uint8), max(1, round(side / 128))
        cv2.polylines(veins, laterals, False, 150, thick, cv2.LINE_AA, 4)
        cv2.polylines(veins, list(ribs), False, 255, thick, cv2.LINE_AA, 4)
        lower = ribs if crop == "Corn" else ribs[:, : 2 * ribs.shape[1] // 3]  # ribs taper to the tip
        cv2.polylines(veins, list(lower), False, 255, (5 if crop == "Corn" else 2) * thick, cv2.LINE_AA, 4)
        alpha = lamina.copy()
        if s.petiole:
            cv2.polylines(alpha, list(stalk), False, 255, 2 * thick + 1, cv2.LINE_AA, 4)
        near = cv2.GaussianBlur(veins, (0, 0), side * 0.016)
        self.lamina = lamina * np.float32(1 / 255)
        self.alpha = alpha * np.float32(1 / 255)
        self.veins = veins * np.float32(1 / 255)
        self.near = np.minimum(near * np.float32(1 / 110), 1)
        self._place()
        if crop == "Corn":  # parallel veins: a saw across the blade
            stripes = self.v * np.float32(26 / s.width) + noise("low", dice, side) * np.float32(0.25)
            stripes = np.abs(stripes - np.floor(stripes) - np.float32(0.5)) * 2
            self.stripes = ramp(stripes, 0.55, 1)
        self.net = noise("cells", dice, side)
        self.low, self.mid = noise("low", dice, side), noise("mid", dice, side)
        self.fine, self.grain = noise("fine", dice, side), noise("grain", dice, side)
        self.species = s

    def px(self, points: np.ndarray) -> np.ndarray:
        """Leaf coordinates (..., 2) to pixels."""
        x = points[..., 0] - 0.5
        y = points[..., 1] + self._bend * x * x
        (a, b), (c, d) = self._axes
        return np.stack([self.cx + a * x + b * y, self.cy + c * x + d * y], -1)

    def _fixed(self, points):
        return np.rint(self.px(points) * 16).astype(np.int32)

    def _place(self):
        """u, v of every pixel: the inverse of px."""
        (a, b), (c, d) = self._axes
        det = a * d - b * c
        grid = np.arange(self.side, dtype=np.float32)
        x, y = grid[None, :] - np.float32(self.cx), grid[:, None] - np.float32(self.cy)
        u = x * np.float32(d / det) - y * np.float32(b / det)
        v = y * np.float32(a / det) - x * np.float32(c / det)
        self.v = v - np.float32(self._bend) * u * u
        self.u = u + np.float32(0.5)

    def fill(self, polygons: np.ndarray) -> np.ndarray:
        """uint8 (S, S) mask, 0 or 1, of polygons (n, corners, 2) in leaf coordinates."""
        import cv2

        mask = np.zeros((self.side, self.side), np.uint8)
        for p in self._fixed(polygons):  # one by one: a joint fillPoly would cancel overlaps
            cv2.fillPoly(mask, [p], 1, cv2.LINE_8, 4)
        return mask

    def points(self, dice: Dice, n: int, reach: float = 0.88) -> np.ndarray:
        """n random places on the lamina and in the picture, leaf coordinates (n, 2)."""
        if self.crop == "Grape":
            o = self.outline[(dice.many(n) * len(self.outline)).astype(int)]
            hub = np.array([0.36, 0])
            return hub + (o - hub) * (reach * np.sqrt(dice.many(n)))[:, None]
        t, (left, right) = self._sides
        half = min(0.5, 0.52 * self.side / self.length)
        u = 0.5 + half * 0.9 * (dice.many(n) + dice.many(n) - 1) * (1 if half == 0.5 else 1.1)
        v = dice.many(n, -reach, reach)
        v = np.where(v > 0, np.interp(u, t, left) * v, np.interp(u, t, right) * -v)
        return np.stack([u, v], 1)

    def surface(self, dice: Dice) -> tuple[np.ndarray, np.ndarray]:
        """The healthy leaf before light: colour, float32 (3, S, S), 0..255, and relief in pixels (S, S)."""
        s = self.species
        hue = dice(-1, 1)  # from bluish to yellowish green, leaf by leaf
        value = dice(0.82, 1.16)
        base = np.array([s.green[0] + 13 * hue, s.green[1] + 5 * hue, s.green[2] - 7 * hue]) * value
        vein = np.array(s.vein) * (0.5 + 0.5 * value) * dice(0.88, 1.08)
        tone = 1 + 0.10 * self.low + 0.07 * self.mid + 0.05 * self.fine + 0.04 * self.grain
        tone -= s.net * 0.22 * ramp(self.net, 0.22, 0) - 0.06 * s.net
        tone -= 0.10 * s.quilt * (ramp(self.near, 0.05, 0.5) - self.veins)  # the furrow beside each vein
        colour = planes(base) * tone.astype(np.float32)
        yellow = dice(-0.1, 0.35)  # older parts pale
        colour *= 1 + planes((0.9, 0.35, -0.1)) * (np.float32(yellow * 0.4) * ramp(self.low, 0, 1))
        if dice.chance(0.4):  # dust, scratches, an insect's bite
            scar = ramp(self.mid + 0.7 * self.fine, 0.85, 1.15) * np.float32(dice(0.2, 0.8))
            colour += (planes((158, 150, 108)) - colour) * scar
        if self.crop == "Corn":
            colour += (planes(vein) - colour) * (0.30 * self.stripes)
        strength = dice(0.45, 0.85)
        colour += (planes(vein) - colour) * (strength * self.veins)
        height = (
            self.side
            / 128
            * (s.quilt * (0.9 * self.mid - 2.6 * self.near) + 0.35 * self.fine + s.net * 1.3 * ramp(self.net, 0, 0.35))
        )
        if self.crop == "Corn":
            height += self.side / 128 * 0.5 * self.stripes
        return colour, height.astype(np.float32)


def planes(rgb: ArrayLike) -> np.ndarray:
    """A colour as float32 (3, 1, 1)."""
    return np.asarray(rgb, np.float32).reshape(3, 1, 1)

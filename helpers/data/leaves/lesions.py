"""What each disease paints on a leaf.

Every painter takes a `Wound` (leaf, colour planes, relief, its own dice, severity) and changes colour and
relief inside the lamina only. Most lesions go the same way: irregular polygons are filled, two distance
transforms turn them into one signed depth field (positive inside, in leaf lengths), noise roughens it,
and border, centre, rings and halo are bands of that depth, so that neighbouring lesions grow together as
real ones do. Lengths are in leaf lengths, colours RGB 0..255.
"""

import numpy as np

from helpers.data.leaves.blades import Blade
from helpers.data.leaves.noise import Dice, ramp
from helpers.data.leaves.wound import Wound, brown

# ---------------------------------------------------------------------------------------------- apple, cherry


def scab(w: Wound) -> None:
    n = w.number(4, 15)
    p = w.places(n)
    d = w.depth(w.blobs(p, w.sizes(n, 0.015, 0.052), rough=0.45), ragged=0.016)
    feathery = ramp(d, -0.014, 0.012) * ramp(w.blade.grain + w.blade.fine, -1.4, 0.3)
    w.tint((0.95, 0.95, 0.72), ramp(d, -0.05, -0.005) * 0.6)
    w.blend((84, 80, 40), feathery * 0.75, 0.25)
    w.blend((48, 44, 28), ramp(d, 0.004, 0.024) * 0.85 * ramp(w.blade.fine, -1, 0.4), 0.3)
    w.pit(ramp(d, -0.01, 0.02), -1.4)  # velvety, raised


def frog_eye(w: Wound) -> None:
    n = w.number(2, 9)
    p = w.places(n, 0.8, 0.2)
    d = w.depth(w.blobs(p, w.dice.many(n, 0.020, 0.046), 14, 0.12), ragged=0.003)
    w.tint((1.15, 1.0, 0.75), ramp(d, -0.03, -0.004) * 0.5)
    w.blend((84, 46, 50), ramp(d, -0.004, 0.003) * 0.95)  # purple border
    w.blend((150, 108, 66), ramp(d, 0.007, 0.013) * 0.95)  # brown ring
    w.blend((176, 148, 108), ramp(d, 0.017, 0.025) * 0.85)  # pale eye
    w.pit(ramp(d, 0, 0.01), 0.8)
    if w.severity > 0.6:  # a dead wedge at the margin
        _margin_death(w, (128, 88, 52), 0.05)


def cedar_rust(w: Wound) -> None:
    n = w.number(3, 14)
    p = w.places(n, 0.84, 0.3)
    r = w.sizes(n, 0.013, 0.044)
    blobs = w.blobs(p, r, 14, 0.16)
    d = w.depth(blobs, ragged=0.005)
    w.tint((1.35, 1.12, 0.55), ramp(d, -0.030, -0.002) * 0.8)  # yellow halo
    w.blend((206, 146, 58), ramp(d, -0.006, 0.006) * 0.88)
    w.blend((190, 96, 42), ramp(d, 0.006, 0.022) * 0.8)
    around = np.repeat(p, 3, 0) + w.dice.many(6 * n, -0.011, 0.011).reshape(-1, 2)
    specks = w.depth(w.blobs(around, np.full(3 * n, 0.0045), 6), 0)
    w.blend((60, 34, 20), ramp(specks, -0.004, 0.004) * 0.75 * ramp(d, 0, 0.01))
    w.pit(ramp(d, -0.005, 0.01), -1.0)


def powder(w: Wound) -> None:
    b = w.blade
    n = w.number(3, 9)
    p = w.places(n, 0.8, 0.2)
    d = w.depth(w.blobs(p, w.dice.many(n, 0.05, 0.13), rough=0.5), ragged=0.05)
    film = ramp(d + 0.03 * b.mid, -0.05, 0.07)
    w.tint((1.12, 1.02, 0.92), film * 0.5)
    felt = ramp(b.grain + b.fine + 0.5 * b.mid, -1.3, 0.9)
    w.blend((206, 210, 200), film * felt * (0.30 + 0.40 * w.severity), 0.06)
    w.blend((224, 226, 220), ramp(d, 0.02, 0.08) * (0.15 + 0.35 * w.severity) * ramp(b.mid, -0.5, 0.5), 0.05)


# ---------------------------------------------------------------------------------------------- corn


def grey_leaf_spot(w: Wound) -> None:
    n = w.number(8, 34)
    x, y = w.places(n, 0.9, 0.3).T
    long, wide = w.dice.many(n, 0.010, 0.048), w.dice.many(n, 0.0035, 0.0085)
    e = w.dice.many(4 * n, -0.004, 0.004).reshape(4, n)
    u = np.stack([x - long + e[0], x + long + e[1], x + long + e[2], x - long + e[3]], 1)
    v = np.stack([y - wide, y - wide, y + wide, y + wide], 1)
    out = np.stack([u, v], -1)  # boxes between two veins
    d = w.depth(out, ragged=0.0010)
    w.tint((1.28, 1.14, 0.8), ramp(d, -0.010, -0.001) * 0.6)
    w.blend((128, 98, 62), ramp(d, -0.0025, 0.001) * 0.85)
    w.blend((174, 156, 124), ramp(d, 0.0015, 0.005) * 0.9)
    w.pit(ramp(d, 0, 0.003), 0.6)


def common_rust(w: Wound) -> None:
    n = w.number(40, 150)
    p = w.places(n, 0.92, 0.12)
    d = w.depth(w.blobs(p, w.dice.many(n, 0.0025, 0.0072), 8, 0.25, long=2.0), ragged=0.0008)
    w.tint((1.38, 1.2, 0.78), ramp(d, -0.009, -0.001) * 0.7)
    w.blend((144, 84, 44), ramp(d, -0.0025, 0.0012) * 0.92)
    w.blend((98, 50, 28), ramp(d, 0.001, 0.005) * 0.7)
    w.pit(ramp(d, -0.001, 0.003), -1.6)


def northern_blight(w: Wound) -> None:
    n = w.number(1, 5)
    x, y = w.places(n, 0.75, 0.1).T[..., None]
    long, wide = w.dice.many(n, 0.07, 0.20)[:, None], w.dice.many(n, 0.012, 0.026)[:, None]
    q = np.concatenate([np.linspace(-1, 1, 13), np.linspace(1, -1, 13)])
    half = wide * (1 - q * q) * np.sign(np.arange(26) - 12.5) * w.dice.many(26 * n, 0.8, 1.2).reshape(n, 26)
    out = np.stack([x + long * q, y + half], -1)  # cigars
    d = w.depth(out, ragged=0.0022)
    w.tint((1.2, 1.1, 0.9), ramp(d, -0.016, -0.002) * 0.7)
    w.blend((112, 96, 66), ramp(d, -0.003, 0.002) * 0.9)
    w.blend((164, 150, 122), ramp(d, 0.002, 0.010) * 0.9, 0.22)
    w.blend((104, 98, 84), ramp(d, 0.010, 0.020) * 0.5 * ramp(w.blade.fine, -0.3, 0.6))  # sooty spores
    w.pit(ramp(d, 0, 0.006), 0.8)


# ---------------------------------------------------------------------------------------------- grape


def grape_black_rot(w: Wound) -> None:
    n = w.number(5, 24)
    p = w.places(n, 0.86, 0.3)
    d = w.depth(w.blobs(p, w.sizes(n, 0.009, 0.029), 10, 0.15), ragged=0.003)
    w.tint((1.2, 1.05, 0.7), ramp(d, -0.014, -0.002) * 0.5)
    w.blend((58, 34, 24), ramp(d, -0.004, 0.002) * 0.95)  # dark margin
    w.blend((158, 104, 62), ramp(d, 0.004, 0.009) * 0.95)  # tan centre
    ring = ramp(d, 0.006, 0.009) * ramp(d, 0.016, 0.011)
    w.blend((30, 22, 18), ring * ramp(w.blade.grain, 0.1, 0.6) * 0.85)  # ring of black fruiting bodies
    w.pit(ramp(d, 0, 0.005), 0.7)


def esca(w: Wound) -> None:
    import cv2

    b = w.blade
    sharp = (ramp(b.veins, 0.62, 1) * 255).astype(np.uint8)
    ribs = cv2.GaussianBlur(sharp, (0, 0), b.side * 0.030) * np.float32(1 / 90)
    between = ramp(ribs + 0.35 * b.near, 0.75, 0.05)  # green stays along the veins, to the margin
    outer = ramp(b.edge, 0.30, 0.02)
    stripes = between * (0.40 + 0.45 * outer) + 0.20 * b.mid + 0.50 * b.low + 0.06 * b.fine
    t = 0.95 - 0.50 * w.severity
    w.blend((192, 180, 84), ramp(stripes, t - 0.16, t + 0.02) * 0.85, 0.10)  # yellow
    w.blend((150, 92, 56), ramp(stripes, t + 0.05, t + 0.14) * 0.92, 0.25)  # the tiger's brown
    w.blend((96, 54, 40), ramp(stripes, t + 0.22, t + 0.40) * 0.85, 0.25)
    w.pit(ramp(stripes, t, t + 0.2), 0.9)


def isariopsis(w: Wound) -> None:
    b = w.blade
    n = w.number(3, 12)
    p = w.places(n, 0.92, 0.35)
    d = w.depth(w.blobs(p, w.sizes(n, 0.018, 0.085), 7, 0.42), ragged=0.010) - 0.018 * b.near
    w.tint((1.25, 1.08, 0.6), ramp(d, -0.05, -0.004) * 0.65)
    w.blend((92, 56, 40), ramp(d, -0.006, 0.004) * 0.90, 0.25)
    w.blend((52, 36, 32), ramp(d, 0.006, 0.026) * 0.85, 0.3)
    w.pit(ramp(d, 0, 0.01), 1.0)


# ------------------------------------------------------------------------------------ peach, pepper, potato


def peach_spot(w: Wound) -> None:
    n = w.number(6, 34)
    p = w.places(n, 0.9, 0.5)
    d = w.depth(w.blobs(p, w.sizes(n, 0.005, 0.018), 6, 0.4, long=1.2), ragged=0.002)
    w.blend((188, 176, 74), ramp(d, -0.035 - 0.03 * w.severity, 0) * 0.55 * w.severity, 0.08)
    w.blend((78, 38, 48), ramp(d, -0.003, 0.002) * 0.95)  # purple
    w.blend((116, 74, 48), ramp(d, 0.003, 0.007) * 0.9)
    holes = ramp(d, 0.0055, 0.008) * ramp(w.blade.mid, 0.0, 0.2)  # the centre drops out
    w.blend((196, 186, 172), holes * 0.9, 0.02)


def pepper_spot(w: Wound) -> None:
    n = w.number(8, 44)
    p = w.places(n, 0.93, 0.45)
    d = w.depth(w.blobs(p, w.sizes(n, 0.005, 0.023), 7, 0.4), ragged=0.003)
    w.blend((178, 180, 74), ramp(d, -0.035, -0.003) * (0.25 + 0.55 * w.severity), 0.08)
    w.tint((0.72, 0.78, 0.6), ramp(d, -0.009, -0.001))  # water-soaked rim
    w.blend((88, 60, 38), ramp(d, -0.003, 0.003) * 0.92)
    w.blend((150, 124, 92), ramp(d, 0.006, 0.012) * 0.85)
    w.pit(ramp(d, -0.003, 0.006), -1.1)
    if w.severity > 0.65:
        _margin_death(w, (150, 120, 80), 0.04)


def _margin_death(w, rgb, deep):
    """Parts of the margin dry out."""
    b = w.blade
    dead = np.float32(deep) * (1.4 * b.low + 0.7 * b.mid) - b.edge + np.float32(w.dice(-0.3, 0.3) * deep)
    w.tint((1.3, 1.12, 0.6), ramp(dead, -0.03, 0) * 0.6)
    w.blend(rgb, ramp(dead, 0, 0.012) * 0.92, 0.22)


def _targets(w, n, radii, rim, pale, rings, halo):
    """Brown spots with concentric rings: early blight and target spot differ in their numbers."""
    b = w.blade
    p = w.places(n, 0.84, 0.25)
    d = w.depth(w.blobs(p, radii, 9, 0.26), ragged=0.005) - 0.004 * b.near
    if halo:
        w.blend((196, 186, 62), ramp(d, -0.055, -0.002) * halo, 0.08)
    w.blend(rim, ramp(d, -0.004, 0.003) * 0.93, 0.2)
    phase = d * np.float32(1 / rings)
    phase = np.abs(phase - np.floor(phase) - 0.5) * 2
    w.blend(pale, ramp(d, 0.003, 0.008) * ramp(phase, 0.35, 0.75) * 0.75, 0.2)
    w.pit(ramp(d, 0, 0.01) * (1 + 0.5 * phase), 0.8)
    return d


def early_blight(w: Wound) -> None:
    n = w.number(2, 9)
    rim, pale = brown(w.dice, 0.62), brown(w.dice, 1.12)
    d = _targets(w, n, w.dice.many(n, 0.026, 0.070), rim, pale, rings=0.0155, halo=0.25 + 0.5 * w.severity)
    w.blend((40, 30, 24), ramp(d, 0.030, 0.042) * 0.4)
    if w.severity > 0.7:
        w.blend((190, 178, 66), ramp(w.blade.edge + 0.08 * w.blade.low, 0.10, -0.02) * 0.7, 0.08)


def late_blight(w: Wound) -> None:
    b = w.blade
    n = w.number(1, 4)
    start = b.outline[(w.dice.many(n) * len(b.outline)).astype(int)]
    p = start * 0.86 + np.array([0.5, 0]) * 0.14  # from the margin inwards
    radii = w.dice.many(n, 0.10, 0.20) * (0.6 + 0.5 * w.severity)
    d = w.depth(w.blobs(p, radii, 12, 0.4), ragged=0.016) + 0.016 * b.mid
    w.blend((152, 160, 96), ramp(d, -0.055, -0.01) * 0.65, 0.06)  # pale green, water-soaked border
    w.tint((0.66, 0.70, 0.60), ramp(d, -0.02, 0) * 0.9)
    w.blend((78, 60, 42), ramp(d, -0.006, 0.016) * 0.88, 0.26)
    w.blend((46, 38, 34), ramp(d + 0.03 * b.low, 0.02, 0.07) * 0.75, 0.25)
    if w.dice.chance(0.4):  # white spores along the border
        w.blend((190, 190, 182), ramp(d, -0.02, -0.004) * ramp(d, 0.03, 0.01) * ramp(b.grain, 0.1, 0.7) * 0.6, 0.05)
    w.pit(ramp(d, -0.01, 0.02), 1.0)
    w.pit(ramp(d, 0, 0.04) * b.fine, -1.2)  # shrivelled


# ---------------------------------------------------------------------------------------------- strawberry


def scorch(w: Wound) -> None:
    b = w.blade
    n = w.number(20, 90)
    p = w.places(n, 0.92, 0.35)
    d = w.depth(w.blobs(p, w.sizes(n, 0.006, 0.028), 7, 0.45), ragged=0.009) - 0.008 * b.near
    w.blend((122, 84, 78), ramp(d, -0.014, -0.002) * 0.65, 0.15)
    w.blend((82, 48, 54), ramp(d, -0.003, 0.006) * 0.88, 0.25)
    w.blend((118, 84, 66), ramp(d, 0.012, 0.022) * 0.7, 0.25)
    if w.severity > 0.4:
        burnt = np.float32(0.07 * w.severity) * (0.3 + 1.4 * b.low + 0.7 * b.mid) - b.edge
        w.blend((112, 68, 62), ramp(burnt, -0.02, 0.01) * 0.75, 0.2)
        w.blend((120, 82, 56), ramp(burnt, 0.01, 0.03) * 0.9, 0.2)


# ---------------------------------------------------------------------------------------------- tomato


def tomato_spot(w: Wound) -> None:
    n = w.number(30, 120)
    p = w.places(n, 0.95, 0.45)
    d = w.depth(w.blobs(p, w.sizes(n, 0.0035, 0.0115), 6, 0.35), ragged=0.002)
    w.blend((184, 178, 78), ramp(d, -0.03, -0.002) * (0.10 + 0.40 * w.severity), 0.08)
    w.blend((44, 34, 26), ramp(d, -0.004, 0.002) * 0.92)
    w.tint((0.9, 0.85, 0.7), ramp(w.blade.low + 0.3 * w.blade.mid, 0.2, 0.9) * w.severity)


def mould(w: Wound) -> None:
    b = w.blade
    n = w.number(3, 11)
    p = w.places(n, 0.8, 0.3)
    d = w.depth(w.blobs(p, w.dice.many(n, 0.035, 0.085), 10, 0.4), ragged=0.022) - 0.015 * b.near
    w.blend((190, 182, 72), ramp(d, -0.05, 0.045) * (0.6 + 0.3 * w.severity), 0.08)  # no definite margin
    w.blend((150, 122, 62), ramp(d + 0.02 * b.mid, 0.035, 0.075) * 0.75 * w.severity, 0.2)
    w.tint((1.15, 1.06, 0.8), ramp(b.low, 0, 0.8) * w.severity * 0.7)


def septoria(w: Wound) -> None:
    n = w.number(18, 70)
    p = w.places(n, 0.92, 0.45)
    d = w.depth(w.blobs(p, w.sizes(n, 0.0085, 0.0180), 9, 0.15), ragged=0.0022)
    w.blend((186, 180, 76), ramp(d, -0.022, -0.003) * (0.12 + 0.40 * w.severity), 0.08)
    w.blend((54, 38, 28), ramp(d, -0.005, 0.001) * 0.95)
    w.blend((182, 172, 150), ramp(d, 0.003, 0.008) * 0.92, 0.10)  # grey centre
    w.blend((40, 34, 30), ramp(d, 0.005, 0.009) * ramp(w.blade.grain, 0.35, 0.7) * 0.8)
    w.pit(ramp(d, 0, 0.004), 0.6)


def mites(w: Wound) -> None:
    b = w.blade
    area = ramp(0.9 * b.near + 0.7 * b.low + 0.35 * b.mid, 0.75 - 0.9 * w.severity, 1.2 - 0.7 * w.severity)
    n = w.number(160, 360)
    p = w.places(n, 0.92, 0.5)
    d = w.depth(w.blobs(p, w.dice.many(n, 0.0022, 0.0050), 5, 0.3), ragged=0.002)
    w.tint((1.28, 1.14, 0.98), area * 0.55)  # bronzed, bleached
    w.blend((204, 200, 134), ramp(d, -0.0045, 0.002) * (0.45 + 0.5 * area), 0.05)
    w.blend((206, 202, 140), ramp(b.grain, 0.25, 0.75) * ramp(b.fine, -0.3, 0.5) * area * 0.6, 0.05)


def target_spot(w: Wound) -> None:
    n = w.number(6, 26)
    rim, pale = brown(w.dice, 0.78), (172, 138, 96)
    d = _targets(w, n, w.sizes(n, 0.009, 0.034), rim, pale, rings=0.012, halo=0.10 * w.severity)
    w.blend((178, 152, 112), ramp(d, 0.008, 0.014) * 0.6)
    m = w.number(8, 30)  # pin-points that have just begun
    q = w.depth(w.blobs(w.places(m, 0.9), np.full(m, 0.004), 6, 0.3), 0.001)
    w.blend((88, 62, 40), ramp(q, -0.003, 0.002) * 0.8)


def yellow_curl(w: Wound) -> None:
    b = w.blade
    s = 0.45 + 0.55 * w.severity
    yellow = ramp(b.edge + 0.07 * b.low + 0.04 * b.mid, 0.17 * s + 0.02, 0.02)
    between = ramp(b.near, 0.45, 0.02) * ramp(b.low + 0.5 * b.mid, -1, 0.6)
    w.blend((204, 196, 84), np.maximum(yellow * 0.85, between * 0.40) * s, 0.08)
    w.tint((1.06, 1.02, 0.84), np.full_like(b.low, s))


def mosaic(w: Wound) -> None:
    b = w.blade
    s = 0.5 + 0.5 * w.severity
    patch = 0.8 * b.mid + 0.55 * b.low + 0.25 * b.fine - 0.25 * b.near
    w.blend((164, 182, 92), ramp(patch, -0.02, 0.22) * 0.72 * s, 0.06)
    w.tint((0.66, 0.78, 0.72), ramp(patch, -0.08, -0.40) * s)
    w.pit(b.mid, -1.5 * s)  # blistered


PAINTERS = {
    "Apple scab": scab,
    "Black rot": frog_eye,
    "Cedar apple rust": cedar_rust,
    "Powdery mildew": powder,
    "Cercospora leaf spot Gray leaf spot": grey_leaf_spot,
    "Common rust": common_rust,
    "Northern Leaf Blight": northern_blight,
    "Esca (Black Measles)": esca,
    "Leaf blight (Isariopsis Leaf Spot)": isariopsis,
    "Early blight": early_blight,
    "Late blight": late_blight,
    "Leaf scorch": scorch,
    "Leaf Mold": mould,
    "Septoria leaf spot": septoria,
    "Spider mites Two-spotted spider mite": mites,
    "Target Spot": target_spot,
    "Tomato Yellow Leaf Curl Virus": yellow_curl,
    "Tomato mosaic virus": mosaic,
    ("Grape", "Black rot"): grape_black_rot,
    ("Peach", "Bacterial spot"): peach_spot,
    ("Pepper", "Bacterial spot"): pepper_spot,
    ("Tomato", "Bacterial spot"): tomato_spot,
}


def paint(blade: Blade, colour: np.ndarray, height: np.ndarray, crop: str, disease: str, dice: Dice) -> np.ndarray:
    """Paint a disease onto colour and height, in place; returns how sick each pixel is, (S, S) in 0..1."""
    wound = Wound(blade, colour, height, dice)
    if disease != "healthy":
        (PAINTERS.get((crop, disease)) or PAINTERS[disease])(wound)
    return wound.any

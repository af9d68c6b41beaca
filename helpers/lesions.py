"""What each disease paints on a leaf.

Every painter takes a `Wound` (leaf, colour planes, relief, its own dice, severity) and changes colour and
relief inside the lamina only. Most lesions go the same way: irregular polygons are filled, two distance
transforms turn them into one signed depth field (positive inside, in leaf lengths), noise roughens it,
and border, centre, rings and halo are bands of that depth, so that neighbouring lesions grow together as
real ones do. Lengths are in leaf lengths, colours RGB 0..255.
"""

import math

import numpy as np

from helpers.blades import planes, ramp


class Wound:
    """A leaf with the means to paint on it; colour (3, S, S) and height (S, S) are changed in place."""

    def __init__(self, blade, colour, height, dice):
        self.blade, self.colour, self.height, self.dice = blade, colour, height, dice
        self.severity = dice(.15, 1)
        self.shade = planes(dice(.80, 1.16) * dice.many(3, .95, 1.05))  # darker, redder, ...
        self.any = np.zeros_like(height)                # how sick each pixel is: lesions are matt

    def blend(self, rgb, alpha, texture=.16):
        """Mix a colour in; texture makes it uneven."""
        b = self.blade
        alpha = alpha * b.lamina
        np.maximum(self.any, alpha, out=self.any)
        paint = self.shade * planes(rgb) * (1 + texture * (b.grain * .6 + b.fine))
        self.colour += (paint - self.colour) * alpha

    def tint(self, gain, alpha):
        """Multiply the colour, so that veins and texture stay visible."""
        self.colour *= 1 + (planes(gain) - 1) * (alpha * self.blade.lamina)

    def number(self, few, many):
        return max(1, round(few + (many - few) * self.severity * self.dice(.6, 1)))

    def sizes(self, n, lo, hi):
        """Lesion radii (n,): many young and small, few old and large."""
        return lo + (hi - lo) * self.dice.many(n) ** 2

    def places(self, n, reach=.86, clump=.35):
        """Lesion centres (n, 2); part of them gather around a few of the others, as infections do."""
        p = self.blade.points(self.dice, n, reach)
        d = self.dice.many(4 * n).reshape(4, n)
        near = p[(d[0] * min(n, 3)).astype(int)] * .72 + p * .28
        return np.where((d[1] < clump)[:, None], near, p)

    def blobs(self, centres, radii, corners=12, rough=.3, long=1.0, turn=0.0):
        """Irregular polygons. long = length over width, turn = angle of the long axis to the midrib."""
        n = len(centres)
        a = np.linspace(0, 2 * math.pi, corners, endpoint=False)
        jitter = self.dice.many(n * corners, -1, 1).reshape(n, corners)
        if corners > 8:
            jitter = .6 * jitter + .4 * np.roll(jitter, 1, 1)
        r = np.asarray(radii).reshape(-1, 1) * (1 + rough * jitter)
        stretch = math.sqrt(long)
        x, y = r * np.cos(a) * stretch, r * np.sin(a) / stretch
        turn = np.broadcast_to(np.asarray(turn, float).reshape(-1, 1), (n, 1))
        c, s = np.cos(turn), np.sin(turn)
        return np.stack([centres[:, :1] + x * c - y * s, centres[:, 1:] + x * s + y * c], -1)

    def depth(self, polygons, ragged=.006):
        """Signed distance to the polygons' border, in leaf lengths: > 0 inside; roughened by noise."""
        import cv2
        mask = self.blade.fill(polygons)
        px = cv2.distanceTransform(mask, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
        b = self.blade
        return np.minimum(px * np.float32(1 / b.length), 1) + np.float32(ragged) * (b.fine + .6 * b.grain)

    def pit(self, alpha, depth):
        """Sink (or, depth < 0, raise) the surface."""
        self.height -= alpha * (self.blade.lamina * np.float32(depth * self.blade.side / 128))


def brown(dice, dark=1.0):
    """A necrotic brown."""
    return np.array([dice(96, 128), dice(64, 86), dice(38, 56)]) * dark


# ---------------------------------------------------------------------------------------------- apple, cherry

def scab(w):
    n = w.number(4, 15)
    p = w.places(n)
    d = w.depth(w.blobs(p, w.sizes(n, .015, .052), rough=.45), ragged=.016)
    feathery = ramp(d, -.014, .012) * ramp(w.blade.grain + w.blade.fine, -1.4, .3)
    w.tint((.95, .95, .72), ramp(d, -.05, -.005) * .6)
    w.blend((84, 80, 40), feathery * .75, .25)
    w.blend((48, 44, 28), ramp(d, .004, .024) * .85 * ramp(w.blade.fine, -1, .4), .3)
    w.pit(ramp(d, -.01, .02), -1.4)                      # velvety, raised


def frog_eye(w):
    n = w.number(2, 9)
    p = w.places(n, .8, .2)
    d = w.depth(w.blobs(p, w.dice.many(n, .020, .046), 14, .12), ragged=.003)
    w.tint((1.15, 1.0, .75), ramp(d, -.03, -.004) * .5)
    w.blend((84, 46, 50), ramp(d, -.004, .003) * .95)     # purple border
    w.blend((150, 108, 66), ramp(d, .007, .013) * .95)    # brown ring
    w.blend((176, 148, 108), ramp(d, .017, .025) * .85)   # pale eye
    w.pit(ramp(d, 0, .01), .8)
    if w.severity > .6:                                   # a dead wedge at the margin
        _margin_death(w, (128, 88, 52), .05)


def cedar_rust(w):
    n = w.number(3, 14)
    p = w.places(n, .84, .3)
    r = w.sizes(n, .013, .044)
    blobs = w.blobs(p, r, 14, .16)
    d = w.depth(blobs, ragged=.005)
    w.tint((1.35, 1.12, .55), ramp(d, -.030, -.002) * .8)              # yellow halo
    w.blend((206, 146, 58), ramp(d, -.006, .006) * .88)
    w.blend((190, 96, 42), ramp(d, .006, .022) * .8)
    around = np.repeat(p, 3, 0) + w.dice.many(6 * n, -.011, .011).reshape(-1, 2)
    specks = w.depth(w.blobs(around, np.full(3 * n, .0045), 6), 0)
    w.blend((60, 34, 20), ramp(specks, -.004, .004) * .75 * ramp(d, 0, .01))
    w.pit(ramp(d, -.005, .01), -1.0)


def powder(w):
    b = w.blade
    n = w.number(3, 9)
    p = w.places(n, .8, .2)
    d = w.depth(w.blobs(p, w.dice.many(n, .05, .13), rough=.5), ragged=.05)
    film = ramp(d + .03 * b.mid, -.05, .07)
    w.tint((1.12, 1.02, .92), film * .5)
    felt = ramp(b.grain + b.fine + .5 * b.mid, -1.3, .9)
    w.blend((206, 210, 200), film * felt * (.30 + .40 * w.severity), .06)
    w.blend((224, 226, 220), ramp(d, .02, .08) * (.15 + .35 * w.severity) * ramp(b.mid, -.5, .5), .05)


# ---------------------------------------------------------------------------------------------- corn

def grey_leaf_spot(w):
    n = w.number(8, 34)
    x, y = w.places(n, .9, .3).T
    long, wide = w.dice.many(n, .010, .048), w.dice.many(n, .0035, .0085)
    e = w.dice.many(4 * n, -.004, .004).reshape(4, n)
    u = np.stack([x - long + e[0], x + long + e[1], x + long + e[2], x - long + e[3]], 1)
    v = np.stack([y - wide, y - wide, y + wide, y + wide], 1)
    out = np.stack([u, v], -1)                           # boxes between two veins
    d = w.depth(out, ragged=.0010)
    w.tint((1.28, 1.14, .8), ramp(d, -.010, -.001) * .6)
    w.blend((128, 98, 62), ramp(d, -.0025, .001) * .85)
    w.blend((174, 156, 124), ramp(d, .0015, .005) * .9)
    w.pit(ramp(d, 0, .003), .6)


def common_rust(w):
    n = w.number(40, 150)
    p = w.places(n, .92, .12)
    d = w.depth(w.blobs(p, w.dice.many(n, .0025, .0072), 8, .25, long=2.0), ragged=.0008)
    w.tint((1.38, 1.2, .78), ramp(d, -.009, -.001) * .7)
    w.blend((144, 84, 44), ramp(d, -.0025, .0012) * .92)
    w.blend((98, 50, 28), ramp(d, .001, .005) * .7)
    w.pit(ramp(d, -.001, .003), -1.6)


def northern_blight(w):
    n = w.number(1, 5)
    x, y = w.places(n, .75, .1).T[..., None]
    long, wide = w.dice.many(n, .07, .20)[:, None], w.dice.many(n, .012, .026)[:, None]
    q = np.concatenate([np.linspace(-1, 1, 13), np.linspace(1, -1, 13)])
    half = wide * (1 - q * q) * np.sign(np.arange(26) - 12.5) * w.dice.many(26 * n, .8, 1.2).reshape(n, 26)
    out = np.stack([x + long * q, y + half], -1)         # cigars
    d = w.depth(out, ragged=.0022)
    w.tint((1.2, 1.1, .9), ramp(d, -.016, -.002) * .7)
    w.blend((112, 96, 66), ramp(d, -.003, .002) * .9)
    w.blend((164, 150, 122), ramp(d, .002, .010) * .9, .22)
    w.blend((104, 98, 84), ramp(d, .010, .020) * .5 * ramp(w.blade.fine, -.3, .6))      # sooty spores
    w.pit(ramp(d, 0, .006), .8)


# ---------------------------------------------------------------------------------------------- grape

def grape_black_rot(w):
    n = w.number(5, 24)
    p = w.places(n, .86, .3)
    d = w.depth(w.blobs(p, w.sizes(n, .009, .029), 10, .15), ragged=.003)
    w.tint((1.2, 1.05, .7), ramp(d, -.014, -.002) * .5)
    w.blend((58, 34, 24), ramp(d, -.004, .002) * .95)                 # dark margin
    w.blend((158, 104, 62), ramp(d, .004, .009) * .95)                # tan centre
    ring = ramp(d, .006, .009) * ramp(d, .016, .011)
    w.blend((30, 22, 18), ring * ramp(w.blade.grain, .1, .6) * .85)   # ring of black fruiting bodies
    w.pit(ramp(d, 0, .005), .7)


def esca(w):
    import cv2
    b = w.blade
    ribs = (ramp(b.veins, .62, 1) * 255).astype(np.uint8)
    ribs = cv2.GaussianBlur(ribs, (0, 0), b.side * .030) * np.float32(1 / 90)
    between = ramp(ribs + .35 * b.near, .75, .05)  # green stays along the veins, to the margin
    outer = ramp(b.edge, .30, .02)
    stripes = between * (.40 + .45 * outer) + .20 * b.mid + .50 * b.low + .06 * b.fine
    t = .95 - .50 * w.severity
    w.blend((192, 180, 84), ramp(stripes, t - .16, t + .02) * .85, .10)      # yellow
    w.blend((150, 92, 56), ramp(stripes, t + .05, t + .14) * .92, .25)       # the tiger's brown
    w.blend((96, 54, 40), ramp(stripes, t + .22, t + .40) * .85, .25)
    w.pit(ramp(stripes, t, t + .2), .9)


def isariopsis(w):
    b = w.blade
    n = w.number(3, 12)
    p = w.places(n, .92, .35)
    d = w.depth(w.blobs(p, w.sizes(n, .018, .085), 7, .42), ragged=.010) - .018 * b.near
    w.tint((1.25, 1.08, .6), ramp(d, -.05, -.004) * .65)
    w.blend((92, 56, 40), ramp(d, -.006, .004) * .90, .25)
    w.blend((52, 36, 32), ramp(d, .006, .026) * .85, .3)
    w.pit(ramp(d, 0, .01), 1.0)


# ------------------------------------------------------------------------------------ peach, pepper, potato

def peach_spot(w):
    n = w.number(6, 34)
    p = w.places(n, .9, .5)
    d = w.depth(w.blobs(p, w.sizes(n, .005, .018), 6, .4, long=1.2), ragged=.002)
    w.blend((188, 176, 74), ramp(d, -.035 - .03 * w.severity, 0) * .55 * w.severity, .08)
    w.blend((78, 38, 48), ramp(d, -.003, .002) * .95)                 # purple
    w.blend((116, 74, 48), ramp(d, .003, .007) * .9)
    holes = ramp(d, .0055, .008) * ramp(w.blade.mid, .0, .2)          # the centre drops out
    w.blend((196, 186, 172), holes * .9, .02)


def pepper_spot(w):
    n = w.number(8, 44)
    p = w.places(n, .93, .45)
    d = w.depth(w.blobs(p, w.sizes(n, .005, .023), 7, .4), ragged=.003)
    w.blend((178, 180, 74), ramp(d, -.035, -.003) * (.25 + .55 * w.severity), .08)
    w.tint((.72, .78, .6), ramp(d, -.009, -.001))                     # water-soaked rim
    w.blend((88, 60, 38), ramp(d, -.003, .003) * .92)
    w.blend((150, 124, 92), ramp(d, .006, .012) * .85)
    w.pit(ramp(d, -.003, .006), -1.1)
    if w.severity > .65:
        _margin_death(w, (150, 120, 80), .04)


def _margin_death(w, rgb, deep):
    """Parts of the margin dry out."""
    b = w.blade
    dead = np.float32(deep) * (1.4 * b.low + .7 * b.mid) - b.edge + np.float32(w.dice(-.3, .3) * deep)
    w.tint((1.3, 1.12, .6), ramp(dead, -.03, 0) * .6)
    w.blend(rgb, ramp(dead, 0, .012) * .92, .22)


def _targets(w, n, radii, rim, pale, rings, halo):
    """Brown spots with concentric rings: early blight and target spot differ in their numbers."""
    b = w.blade
    p = w.places(n, .84, .25)
    d = w.depth(w.blobs(p, radii, 9, .26), ragged=.005) - .004 * b.near
    if halo:
        w.blend((196, 186, 62), ramp(d, -.055, -.002) * halo, .08)
    w.blend(rim, ramp(d, -.004, .003) * .93, .2)
    phase = d * np.float32(1 / rings)
    phase = np.abs(phase - np.floor(phase) - .5) * 2
    w.blend(pale, ramp(d, .003, .008) * ramp(phase, .35, .75) * .75, .2)
    w.pit(ramp(d, 0, .01) * (1 + .5 * phase), .8)
    return d


def early_blight(w):
    n = w.number(2, 9)
    rim, pale = brown(w.dice, .62), brown(w.dice, 1.12)
    d = _targets(w, n, w.dice.many(n, .026, .070), rim, pale, rings=.0155, halo=.25 + .5 * w.severity)
    w.blend((40, 30, 24), ramp(d, .030, .042) * .4)
    if w.severity > .7:
        w.blend((190, 178, 66), ramp(w.blade.edge + .08 * w.blade.low, .10, -.02) * .7, .08)


def late_blight(w):
    b = w.blade
    n = w.number(1, 4)
    start = b.outline[(w.dice.many(n) * len(b.outline)).astype(int)]
    p = start * .86 + np.array([.5, 0]) * .14                        # from the margin inwards
    radii = w.dice.many(n, .10, .20) * (.6 + .5 * w.severity)
    d = w.depth(w.blobs(p, radii, 12, .4), ragged=.016) + .016 * b.mid
    w.blend((152, 160, 96), ramp(d, -.055, -.01) * .65, .06)         # pale green, water-soaked border
    w.tint((.66, .70, .60), ramp(d, -.02, 0) * .9)
    w.blend((78, 60, 42), ramp(d, -.006, .016) * .88, .26)
    w.blend((46, 38, 34), ramp(d + .03 * b.low, .02, .07) * .75, .25)
    if w.dice.chance(.4):                                            # white spores along the border
        w.blend((190, 190, 182), ramp(d, -.02, -.004) * ramp(d, .03, .01) * ramp(b.grain, .1, .7) * .6, .05)
    w.pit(ramp(d, -.01, .02), 1.0)
    w.pit(ramp(d, 0, .04) * b.fine, -1.2)                # shrivelled


# ---------------------------------------------------------------------------------------------- strawberry

def scorch(w):
    b = w.blade
    n = w.number(20, 90)
    p = w.places(n, .92, .35)
    d = w.depth(w.blobs(p, w.sizes(n, .006, .028), 7, .45), ragged=.009) - .008 * b.near
    w.blend((122, 84, 78), ramp(d, -.014, -.002) * .65, .15)
    w.blend((82, 48, 54), ramp(d, -.003, .006) * .88, .25)
    w.blend((118, 84, 66), ramp(d, .012, .022) * .7, .25)
    if w.severity > .4:
        burnt = np.float32(.07 * w.severity) * (.3 + 1.4 * b.low + .7 * b.mid) - b.edge
        w.blend((112, 68, 62), ramp(burnt, -.02, .01) * .75, .2)
        w.blend((120, 82, 56), ramp(burnt, .01, .03) * .9, .2)


# ---------------------------------------------------------------------------------------------- tomato

def tomato_spot(w):
    n = w.number(30, 120)
    p = w.places(n, .95, .45)
    d = w.depth(w.blobs(p, w.sizes(n, .0035, .0115), 6, .35), ragged=.002)
    w.blend((184, 178, 78), ramp(d, -.03, -.002) * (.10 + .40 * w.severity), .08)
    w.blend((44, 34, 26), ramp(d, -.004, .002) * .92)
    w.tint((.9, .85, .7), ramp(w.blade.low + .3 * w.blade.mid, .2, .9) * w.severity)


def mould(w):
    b = w.blade
    n = w.number(3, 11)
    p = w.places(n, .8, .3)
    d = w.depth(w.blobs(p, w.dice.many(n, .035, .085), 10, .4), ragged=.022) - .015 * b.near
    w.blend((190, 182, 72), ramp(d, -.05, .045) * (.6 + .3 * w.severity), .08)      # no definite margin
    w.blend((150, 122, 62), ramp(d + .02 * b.mid, .035, .075) * .75 * w.severity, .2)
    w.tint((1.15, 1.06, .8), ramp(b.low, 0, .8) * w.severity * .7)


def septoria(w):
    n = w.number(18, 70)
    p = w.places(n, .92, .45)
    d = w.depth(w.blobs(p, w.sizes(n, .0085, .0180), 9, .15), ragged=.0022)
    w.blend((186, 180, 76), ramp(d, -.022, -.003) * (.12 + .40 * w.severity), .08)
    w.blend((54, 38, 28), ramp(d, -.005, .001) * .95)
    w.blend((182, 172, 150), ramp(d, .003, .008) * .92, .10)          # grey centre
    w.blend((40, 34, 30), ramp(d, .005, .009) * ramp(w.blade.grain, .35, .7) * .8)
    w.pit(ramp(d, 0, .004), .6)


def mites(w):
    b = w.blade
    area = ramp(.9 * b.near + .7 * b.low + .35 * b.mid, .75 - .9 * w.severity, 1.2 - .7 * w.severity)
    n = w.number(160, 360)
    p = w.places(n, .92, .5)
    d = w.depth(w.blobs(p, w.dice.many(n, .0022, .0050), 5, .3), ragged=.002)
    w.tint((1.28, 1.14, .98), area * .55)                             # bronzed, bleached
    w.blend((204, 200, 134), ramp(d, -.0045, .002) * (.45 + .5 * area), .05)
    w.blend((206, 202, 140), ramp(b.grain, .25, .75) * ramp(b.fine, -.3, .5) * area * .6, .05)


def target_spot(w):
    n = w.number(6, 26)
    rim, pale = brown(w.dice, .78), (172, 138, 96)
    d = _targets(w, n, w.sizes(n, .009, .034), rim, pale, rings=.012, halo=.10 * w.severity)
    w.blend((178, 152, 112), ramp(d, .008, .014) * .6)
    m = w.number(8, 30)                                               # pin-points that have just begun
    q = w.depth(w.blobs(w.places(m, .9), np.full(m, .004), 6, .3), .001)
    w.blend((88, 62, 40), ramp(q, -.003, .002) * .8)


def yellow_curl(w):
    b = w.blade
    s = .45 + .55 * w.severity
    yellow = ramp(b.edge + .07 * b.low + .04 * b.mid, .17 * s + .02, .02)
    between = ramp(b.near, .45, .02) * ramp(b.low + .5 * b.mid, -1, .6)
    w.blend((204, 196, 84), np.maximum(yellow * .85, between * .40) * s, .08)
    w.tint((1.06, 1.02, .84), np.full_like(b.low, s))


def mosaic(w):
    b = w.blade
    s = .5 + .5 * w.severity
    patch = .8 * b.mid + .55 * b.low + .25 * b.fine - .25 * b.near
    w.blend((164, 182, 92), ramp(patch, -.02, .22) * .72 * s, .06)
    w.tint((.66, .78, .72), ramp(patch, -.08, -.40) * s)
    w.pit(b.mid, -1.5 * s)                               # blistered


PAINTERS = {
    "Apple scab": scab, "Black rot": frog_eye, "Cedar apple rust": cedar_rust, "Powdery mildew": powder,
    "Cercospora leaf spot Gray leaf spot": grey_leaf_spot, "Common rust": common_rust,
    "Northern Leaf Blight": northern_blight, "Esca (Black Measles)": esca,
    "Leaf blight (Isariopsis Leaf Spot)": isariopsis,
    "Early blight": early_blight, "Late blight": late_blight,
    "Leaf scorch": scorch, "Leaf Mold": mould, "Septoria leaf spot": septoria,
    "Spider mites Two-spotted spider mite": mites, "Target Spot": target_spot,
    "Tomato Yellow Leaf Curl Virus": yellow_curl, "Tomato mosaic virus": mosaic,
    ("Grape", "Black rot"): grape_black_rot, ("Peach", "Bacterial spot"): peach_spot,
    ("Pepper", "Bacterial spot"): pepper_spot, ("Tomato", "Bacterial spot"): tomato_spot,
}


def paint(blade, colour, height, crop, disease, dice):
    """Paint a disease onto colour and height, in place; returns how sick each pixel is, (S, S) in 0..1."""
    wound = Wound(blade, colour, height, dice)
    if disease != "healthy":
        PAINTERS.get((crop, disease), PAINTERS.get(disease))(wound)
    return wound.any

"""The nine crops: how the outline, the venation and the surface of a healthy leaf look."""

from typing import NamedTuple

# ---------------------------------------------------------------------------------------------- crops


class Species(NamedTuple):
    width: float  # half-width over length
    base: float  # outline ~ t^base (1 - t)^tip: small = blunt, large = drawn out
    tip: float
    teeth: int  # teeth a side
    depth: float  # their depth over the half-width
    lobes: float  # depth of lobes, 0 = none
    pairs: int  # lateral veins a side
    slope: float  # how far they lean to the tip
    green: tuple  # RGB 0..255
    vein: tuple  # RGB of midrib and veins
    gloss: float
    quilt: float  # how much the blade bulges between its veins
    net: float  # contrast of the network of finest veins
    length: tuple  # leaf length over picture side, lab
    petiole: float


SPECIES = {
    "Apple": Species(
        width=0.31,
        base=0.50,
        tip=0.80,
        teeth=26,
        depth=0.07,
        lobes=0,
        pairs=7,
        slope=0.62,
        green=(88, 122, 62),
        vein=(150, 165, 110),
        gloss=0.25,
        quilt=0.8,
        net=0.55,
        length=(0.80, 1.05),
        petiole=0.22,
    ),
    "Cherry": Species(
        width=0.25,
        base=0.60,
        tip=0.95,
        teeth=34,
        depth=0.09,
        lobes=0,
        pairs=9,
        slope=0.60,
        green=(72, 112, 58),
        vein=(150, 160, 95),
        gloss=0.55,
        quilt=0.9,
        net=0.35,
        length=(0.85, 1.08),
        petiole=0.14,
    ),
    "Corn": Species(
        width=0.20,
        base=0.02,
        tip=0.02,
        teeth=0,
        depth=0,
        lobes=0,
        pairs=0,
        slope=0,
        green=(98, 138, 72),
        vein=(172, 190, 130),
        gloss=0.30,
        quilt=0.2,
        net=0.15,
        length=(2.0, 3.0),
        petiole=0,
    ),
    "Grape": Species(
        width=0.62,
        base=0,
        tip=0,
        teeth=9,
        depth=0.10,
        lobes=0,
        pairs=5,
        slope=0,
        green=(96, 130, 58),
        vein=(160, 172, 100),
        gloss=0.20,
        quilt=0.65,
        net=0.35,
        length=(0.84, 1.05),
        petiole=0.34,
    ),
    "Peach": Species(
        width=0.125,
        base=0.62,
        tip=1.0,
        teeth=40,
        depth=0.06,
        lobes=0,
        pairs=13,
        slope=0.30,
        green=(84, 128, 62),
        vein=(165, 180, 115),
        gloss=0.45,
        quilt=0.5,
        net=0.30,
        length=(0.95, 1.25),
        petiole=0.08,
    ),
    "Pepper": Species(
        width=0.27,
        base=0.62,
        tip=1.0,
        teeth=0,
        depth=0,
        lobes=0,
        pairs=5,
        slope=0.80,
        green=(86, 138, 60),
        vein=(150, 182, 104),
        gloss=0.65,
        quilt=0.7,
        net=0.12,
        length=(0.85, 1.08),
        petiole=0.20,
    ),
    "Potato": Species(
        width=0.33,
        base=0.50,
        tip=0.68,
        teeth=0,
        depth=0,
        lobes=0.05,
        pairs=6,
        slope=0.55,
        green=(96, 128, 74),
        vein=(150, 168, 112),
        gloss=0.15,
        quilt=1.4,
        net=0.35,
        length=(0.80, 1.02),
        petiole=0.12,
    ),
    "Strawberry": Species(
        width=0.40,
        base=0.62,
        tip=0.46,
        teeth=10,
        depth=0.17,
        lobes=0,
        pairs=8,
        slope=0.55,
        green=(72, 116, 62),
        vein=(136, 162, 98),
        gloss=0.25,
        quilt=1.2,
        net=0.30,
        length=(0.78, 0.98),
        petiole=0.10,
    ),
    "Tomato": Species(
        width=0.32,
        base=0.48,
        tip=0.80,
        teeth=7,
        depth=0.10,
        lobes=0.42,
        pairs=6,
        slope=0.70,
        green=(94, 126, 72),
        vein=(146, 160, 110),
        gloss=0.12,
        quilt=1.1,
        net=0.40,
        length=(0.82, 1.08),
        petiole=0.18,
    ),
}

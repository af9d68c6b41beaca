"""`leaves`: a rendered miniature of PlantVillage, 33 classes of crop-leaf disease.

The class names are the real data set's folder names (Hughes and Salathe, "An open access repository of
images on plant health", 2015), less its five crops with a single class, so that a model or a notebook
moves to the real folders by changing a path (`folders`). The crop decides outline, venation, colour and texture
(`blades.py`), the disease decides the lesions (`lesions.py`); pose, size, light, background and noise are
nuisance. Two domains:

    lab     a plain grey or brown table with a soft shadow, as in PlantVillage
    field   real photographs behind the leaf, harsh light, more variation in scale, grass blades in front

Picture `index` of class c is a pure function of (seed, c, index, domain, size): the same in another
process or on another machine. The leaf itself and its lesions depend on (seed, c, index) only, so the
same seed shows the *same leaf* in both domains and at every size; take different seeds for training and
test.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.course import files
from helpers.course.errors import UserError
from helpers.course.progress import track
from helpers.data import sets as data
from helpers.data.leaves.blades import Blade, planes
from helpers.data.leaves.lesions import paint
from helpers.data.leaves.noise import Dice, noise, ramp
from helpers.data.leaves.species import SPECIES

CLASSES = [
    "Apple___Apple_scab",
    "Apple___Black_rot",
    "Apple___Cedar_apple_rust",
    "Apple___healthy",
    "Cherry_(including_sour)___Powdery_mildew",
    "Cherry_(including_sour)___healthy",
    "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot",
    "Corn_(maize)___Common_rust_",
    "Corn_(maize)___Northern_Leaf_Blight",
    "Corn_(maize)___healthy",
    "Grape___Black_rot",
    "Grape___Esca_(Black_Measles)",
    "Grape___Leaf_blight_(Isariopsis_Leaf_Spot)",
    "Grape___healthy",
    "Peach___Bacterial_spot",
    "Peach___healthy",
    "Pepper,_bell___Bacterial_spot",
    "Pepper,_bell___healthy",
    "Potato___Early_blight",
    "Potato___Late_blight",
    "Potato___healthy",
    "Strawberry___Leaf_scorch",
    "Strawberry___healthy",
    "Tomato___Bacterial_spot",
    "Tomato___Early_blight",
    "Tomato___Late_blight",
    "Tomato___Leaf_Mold",
    "Tomato___Septoria_leaf_spot",
    "Tomato___Spider_mites Two-spotted_spider_mite",
    "Tomato___Target_Spot",
    "Tomato___Tomato_Yellow_Leaf_Curl_Virus",
    "Tomato___Tomato_mosaic_virus",
    "Tomato___healthy",
]
DOMAINS = ("lab", "field")


def crop(name: str) -> str:
    """The crop of a class name: "Corn_(maize)___Common_rust_" -> "Corn"."""
    return name.split("___")[0].split("_")[0].rstrip(",")


def disease(name: str) -> str:
    """The disease of a class name in words, or "healthy": "Corn_(maize)___Common_rust_" -> "Common rust"."""
    return name.split("___")[1].replace("_", " ").strip()


def folders(class_names: Sequence[str]) -> list[str]:
    """The folders of a real PlantVillage tree that hold the 33 classes, in the order of `CLASSES`.

    Its editions spell three crops and a disease in two ways, "Corn_(maize)___Common_rust_" or "Corn___Common_rust".
    Raises UserError that names the classes which are not there.
    """
    there = {(crop(name), disease(name)): name for name in class_names if "___" in name}
    if missing := [name for name in CLASSES if (crop(name), disease(name)) not in there]:
        raise UserError(
            f"of PlantVillage's class folders {len(missing)} of 33 are missing: {', '.join(missing[:3])}"
            + ", ..." * (len(missing) > 3)
            + "; point to the folder that holds them"
        )
    return [there[crop(name), disease(name)] for name in CLASSES]


# ---------------------------------------------------------------------------------------------- backgrounds

BACKGROUNDS = [  # photograph, tint: the grey ones get the colour of the thing they show
    ("flower", (1, 1, 1)),
    ("china", (1, 1, 1)),
    ("coffee", (1, 1, 1)),
    ("grass", (0.70, 0.95, 0.48)),
    ("grass", (1.05, 0.98, 0.62)),
    ("grass", (0.55, 0.78, 0.45)),
    ("gravel", (1.05, 0.95, 0.82)),
    ("gravel", (0.80, 0.66, 0.54)),
    ("brick", (1.1, 0.82, 0.68)),
]


@functools.lru_cache(maxsize=4)
def _backgrounds(side):
    """Real photographs, uint8 (H, W, 3), in every scale whose shorter side is `side` to 4 `side` pixels."""
    import cv2

    photographs = data.photographs()
    scales = []
    for name, tint in BACKGROUNDS:
        image = np.minimum(photographs[name] * np.array(tint), 255).astype(np.uint8)
        while min(image.shape[:2]) >= side:  # halving is exact in whole numbers
            if min(image.shape[:2]) < 4 * side:
                scales.append(np.ascontiguousarray(image))
            h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
            image = cv2.resize(image[:h, :w], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    return scales


def _table(dice, side):
    """A plain table: float32 (3, S, S)."""
    warm = dice(-1, 1)
    value = dice(98, 178)
    tone = 1 + 0.05 * noise("low", dice, side) + 0.025 * noise("fine", dice, side)
    tone += 0.035 * noise("grain", dice, side)
    grid = np.arange(side, dtype=np.float32) * np.float32(1 / side) - np.float32(0.5)
    tone += dice(-0.16, 0.16) * grid[None, :] + dice(-0.16, 0.16) * grid[:, None]
    brown, blue = max(warm, 0), max(-warm, 0)
    colour = value * np.array([1 + 0.10 * brown, 1 - 0.02 * (brown + blue), 1.02 - 0.14 * brown + 0.05 * blue])
    return planes(colour) * tone.astype(np.float32)


def _photo(dice, side):
    """A crop of a real photograph, out of focus by a random amount: float32 (3, S, S)."""
    import cv2

    bank = _backgrounds(side)
    image = bank[int(dice() * len(bank))]
    y, x = (int(dice() * (n - side + 1)) for n in image.shape[:2])
    patch = image[y : y + side, x : x + side]
    flip = dice.count(0, 3)
    patch = np.ascontiguousarray(patch[:: -1 if flip & 1 else 1, :: -1 if flip & 2 else 1])
    blur = dice(0.0, 0.022)
    if blur > 0.004:
        patch = cv2.GaussianBlur(patch, (0, 0), side * blur)
    return np.ascontiguousarray(patch.transpose(2, 0, 1)).astype(np.float32) * np.float32(dice(0.55, 1.1))


def _grass(dice, side):
    """Up to two blades of grass in front of everything: list of (colour (3, S, S), coverage (S, S))."""
    import cv2

    blades = []
    for _ in range(dice.count(-1, 2)):
        a, b = dice(0, 2 * math.pi), dice(-0.6, 0.6)
        near, width, sag = 0.75 - dice(0.25, 0.52), dice(0.012, 0.035), dice(-0.3, 0.3)
        root = np.array([0.5 + 0.75 * math.cos(a), 0.5 + 0.75 * math.sin(a)])
        along = np.array([0.5 + near * math.cos(a + b), 0.5 + near * math.sin(a + b)]) - root
        across = np.array([-along[1], along[0]])
        q = np.linspace(0, 1, 9)[:, None]
        line = root + q * along + sag * q * (1 - q) * across
        half = across * (width / math.hypot(*across)) * (1 - q * q)
        shape = np.concatenate([line + half, (line - half)[::-1]])
        cover = np.zeros((side, side), np.uint8)
        cv2.fillPoly(cover, [np.rint(shape * side * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        green = planes((dice(70, 120), dice(110, 150), dice(40, 70))) * (1 + 0.15 * noise("fine", dice, side))
        blades.append((green, cv2.GaussianBlur(cover, (0, 0), side * 0.008) * np.float32(1 / 255)))
    return blades


# ---------------------------------------------------------------------------------------------- one picture

CURL = {"Tomato Yellow Leaf Curl Virus": 1.0, "Tomato mosaic virus": 0.45, "Powdery mildew": 0.3}


class Scene:
    """Background, light and camera around one leaf.

    All chances are drawn at once, so that a leaf can be photographed twice, with its lesions and without.
    """

    def __init__(self, dice, domain, side, blade):
        import cv2

        self.blade, self.side = blade, side
        field = domain == "field"
        a = dice(0, 2 * math.pi)
        self.light = np.float32(math.cos(a)), np.float32(math.sin(a))  # the way it travels
        self.strength = np.float32(dice(0.10, 0.22) if field else dice(0.05, 0.14))
        self.gains = planes((1 + dice(-0.10, 0.10), 1 + dice(-0.05, 0.05), 1 + dice(-0.10, 0.10)))
        self.gains *= np.float32(dice(0.72, 1.28) if field else dice(0.80, 1.20))
        self.contrast, self.lift = np.float32(dice(0.88, 1.10)), np.float32(128 + dice(-8, 12))
        self.blur = max(0.0, dice(-0.5, 0.75))
        self.noise = 3 + 9 * dice() ** 2
        self.back = _photo(dice, side) if field else _table(dice, side)
        far = side * dice(0.01, 0.05)
        fallen = _shift((blade.alpha * 255).astype(np.uint8), far * self.light[0], far * self.light[1])
        shadow = cv2.GaussianBlur(fallen, (0, 0), side * dice(0.008, 0.035))
        self.back *= 1 - shadow * np.float32(dice(0.30, 0.62) / 255)
        self.flecks = None
        if field and dice.chance(0.55):  # sun flecks through the canopy
            canopy = noise("low", dice, side) + 0.5 * noise("mid", dice, side)
            self.flecks = 1 + np.float32(dice(0.15, 0.45)) * (ramp(canopy, -0.35, 0.35) * 2 - 1)
        self.grass = _grass(dice, side) if field else []
        raw = dice.raw(side * side // 4).view(np.uint8).reshape(side // 2, side // 2, 8).astype(np.int16)
        grain = 2 * (raw[..., :1] + raw[..., 1:2]) + raw[..., 2:5] + raw[..., 5:8] - 3 * 255
        self.grain = grain * np.int16(self.noise) // 512

    def photograph(self, colour: np.ndarray, height: np.ndarray, sick: np.ndarray) -> np.ndarray:
        """Colour (3, S, S) and relief (S, S) of the leaf to an image, uint8 (S / 2, S / 2, 3)."""
        import cv2

        blade = self.blade
        slope = np.zeros_like(height)  # rising along the light = facing it; central differences
        slope[:, 1:-1] += (height[:, 2:] - height[:, :-2]) * self.light[0]
        slope[1:-1] += (height[2:] - height[:-2]) * self.light[1]
        shade = np.maximum(np.minimum(1 + self.strength * slope, 1.55), 0.45)
        shine = np.float32(blade.species.gloss) * ramp(shade, 1.02, 1.5) * (1 - np.float32(0.7) * sick)
        lit = colour * shade + shine * planes((92, 98, 96))
        image = self.back + (lit - self.back) * blade.alpha
        if self.flecks is not None:
            image *= self.flecks
        for green, alpha in self.grass:
            image += (green - image) * alpha
        image = (image * self.gains - 128) * self.contrast + self.lift
        image = np.rint(np.minimum(np.maximum(image, 0), 255)).astype(np.uint8)
        half = self.side // 2
        image = cv2.resize(cv2.merge(list(image)), (half, half), interpolation=cv2.INTER_AREA)
        if self.blur > 0.25:
            image = cv2.GaussianBlur(image, (3, 3), self.blur)
        return np.minimum(np.maximum(image + self.grain, 0), 255).astype(np.uint8)


def _form(blade, dice, curl):
    """The leaf as a bent sheet: a fold at the midrib, curling margins, waves; height in pixels (S, S)."""
    fold, cup, wave = dice(-0.15, 0.35), dice(-0.35, 0.35) + 0.9 * curl, dice(0.3, 1.0) + curl
    across = np.abs(blade.v) * np.float32(1 / blade.width)
    fold, cup = np.float32(0.62 * fold * blade.length), np.float32(0.40 * cup * blade.length)
    return (fold + cup * across) * across + np.float32(0.050 * wave * blade.side) * blade.low


def _shift(plane, dx, dy):
    """A plane moved by whole pixels, its border repeated."""
    index = np.arange(len(plane))
    rows, columns = (np.clip(index - round(float(d)), 0, len(plane) - 1) for d in (dy, dx))
    return plane[rows[:, None], columns]


def _stage(cls, seed, domain, size, index):
    """Leaf, scene, healthy colour and relief, and a function that paints the disease on them in place."""
    c = _checked(cls, seed, domain, size, index)
    side = 2 * size  # everything is drawn at twice the size, then averaged 2 x 2
    name, what = crop(CLASSES[c]), disease(CLASSES[c])
    leaf, scene = Dice(seed, c, index, 0), Dice(seed, c, index, 2 + DOMAINS.index(domain))
    curl = CURL.get(what, 0)
    short, long = SPECIES[name].length
    length = scene(0.72 * short, 1.12 * long) if domain == "field" else scene(short, long)
    centre = side * scene(0.44, 0.56), side * scene(0.44, 0.56)
    squash = leaf(0.80, 1.05) * (1 - 0.22 * curl)  # seen a little from the side, or rolled up
    bend = leaf(-0.5, 0.5) * (0.5 if name in ("Grape", "Corn") else 1)
    blade = Blade(name, leaf, side, (scene(0, 2 * math.pi), side * length, *centre, squash), bend, curl)
    colour, height = blade.surface(leaf)
    height += _form(blade, leaf, curl)
    return (
        blade,
        Scene(scene, domain, side, blade),
        colour,
        height,
        lambda: paint(blade, colour, height, name, what, Dice(seed, c, index, 1)),
    )


def _checked(cls, seed, domain, size, index):
    """The class number, once every argument has been found good."""
    if isinstance(cls, str):
        if cls not in CLASSES:
            raise UserError(f"unknown class {cls!r}: one of leaves.CLASSES, such as {CLASSES[0]!r}")
        cls = CLASSES.index(cls)
    if not 0 <= cls < len(CLASSES):
        raise UserError(f"class {cls} is out of range: 0 to {len(CLASSES) - 1}")
    if domain not in DOMAINS:
        raise UserError(f"unknown domain {domain!r}: 'lab' or 'field'")
    if not 32 <= size <= 192:
        raise UserError(f"size {size} is out of range: 32 to 192 pixels")
    if seed < 0 or index < 0:
        raise UserError(f"seed {seed} and index {index} must not be negative")
    return int(cls)


def render(cls: int | str, seed: int, domain: str = "lab", size: int = 64, index: int = 0) -> np.ndarray:
    """Picture `index` of a class (number or name) under a seed: uint8 (size, size, 3), RGB."""
    _, scene, colour, height, infect = _stage(cls, seed, domain, size, index)
    return scene.photograph(colour, height, infect())


def layers(cls: int | str, seed: int, domain: str = "lab", size: int = 64, index: int = 0) -> dict[str, np.ndarray]:
    """The same picture with its truth, a dict of arrays.

    image    uint8 (size, size, 3), equal to render(...)
    healthy  uint8 (size, size, 3), the same leaf, scene and noise without the lesions
    mask     bool (size, size), True where a pixel sees any of the lamina, blur included
    sick     float32 (size, size), how much of each pixel is lesion, 0..1
    """
    import cv2

    blade, scene, colour, height, infect = _stage(cls, seed, domain, size, index)
    healthy = scene.photograph(colour, height, np.zeros_like(height))
    sick = infect()
    image = scene.photograph(colour, height, sick)
    seen = blade.lamina
    for _, alpha in scene.grass:
        seen = seen * (1 - alpha)
    around = np.ones((3, 3), np.uint8)
    mask = cv2.dilate((seen > 0).astype(np.uint8), around)  # shading looks one pixel around
    mask = mask.reshape(size, 2, size, 2).max((1, 3))
    if scene.blur > 0.25:
        mask = cv2.dilate(mask, around)
    sick = cv2.resize(sick * seen, (size, size), interpolation=cv2.INTER_AREA)
    return {"image": image, "healthy": healthy, "mask": mask > 0, "sick": sick}


# ---------------------------------------------------------------------------------------------- many pictures


def dataset(per_class: int, seed: int, domain: str = "lab", size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels): uint8 (N, 3, size, size) RGB and int64 (N,), N = 33 per_class.

    Interleaved: picture 0 of all 33 classes, then picture 1 of all, ..., so that labels = arange(N) % 33,
    every prefix of 33 k pictures is balanced, and a smaller data set is the beginning of a larger one.
    """
    if per_class < 1:
        raise UserError(f"per_class must be at least 1; got {per_class}")
    n = len(CLASSES)
    images = np.empty((per_class * n, 3, size, size), np.uint8)
    for k in track(range(per_class * n), "leaves"):
        images[k] = render(k % n, seed, domain, size, k // n).transpose(2, 0, 1)
    return images, np.arange(per_class * n, dtype=np.int64) % n


def write_folder(
    out: str | Path, per_class: int, seed: int, domain: str = "lab", size: int = 128, valid: float = 0.25
) -> tuple[int, int]:
    """An ImageFolder tree: out/train/CLASS/*.png and, the last `valid` of each class, out/val/CLASS.

    Returns (number of training pictures, number of validation pictures). Refuses a folder that is not empty.
    """
    import cv2

    root = Path(files.empty_folder(out))
    _checked(0, seed, domain, size, 0)
    if per_class < 2:
        raise UserError(f"per_class must be at least two, one to train and one to validate; got {per_class}")
    held = min(max(1, round(valid * per_class)), per_class - 1)
    for c, name in enumerate(CLASSES):
        for i in range(per_class):
            folder = root / ("val" if i >= per_class - held else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            ok, png = cv2.imencode(".png", render(c, seed, domain, size, i)[..., ::-1])
            (folder / f"{domain}_{seed}_{i:04d}.png").write_bytes(png.tobytes())
    return len(CLASSES) * (per_class - held), len(CLASSES) * held

"""Where augmentation goes wrong: workers that draw the same numbers, and flips that change the label."""

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.course.batches import seed_worker  # noqa: F401  the cure stands where the course's loader uses it
from helpers.course.errors import UserError

# ---------------------------------------------------------------- workers that draw the same numbers


class ShiftedInWorker(Dataset):
    """Pictures (N, C, H, W), each rolled to the right by columns drawn in `__getitem__`, so in a worker
    process of the DataLoader. Item i is (picture, shift).

    draw: "numpy" is NumPy's global generator, which PyTorch itself seeds in every worker (since 1.9); "own"
    is a generator that the data set carries, "opencv" is OpenCV's. Those two are copied into every worker as
    they are: all workers draw the same numbers, and again in every epoch, unless `seed_worker` is used.
    """

    def __init__(self, images, draw="own"):
        self.images, self.draw, self.rng = images, draw, np.random.default_rng(0)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        width = self.images.shape[-1]
        if self.draw == "numpy":
            shift = np.random.randint(width)
        elif self.draw == "own":
            shift = self.rng.integers(width)
        else:
            import cv2

            shift = cv2.randu(np.zeros((1, 1), np.int32), 0, width)[0, 0]
        return self.images[i].roll(int(shift), -1), int(shift)


# ---------------------------------------------------------------- arrows: where a flip changes the label


def arrows(n, size=16, seed=0):
    """n pictures of an arrow, uint8 (n, 1, size, size), and labels int64 (n,): 0 points left, 1 points right.

    Place, length, thickness, head, tilt, contrast and noise vary. Pictures 2i and 2i+1 are mirror images of
    each other with the two labels. So, over such a set with every picture flipped with probability 1/2, the
    expected accuracy of *every* classifier f is exactly 1/2: each of the two pictures of a pair is met twice,
    once under each label, and f(x) is right once and wrong once.
    """
    if n % 2:
        raise UserError(f"arrows come in mirrored pairs: n must be even; got {n}")
    rng, m = np.random.default_rng(seed), n // 2
    x0, y0 = rng.uniform(-0.12, 0.12, (2, m)) * size + (size - 1) / 2
    half, head, thick = (rng.uniform(a, b, m) * size for a, b in ((0.22, 0.34), (0.16, 0.26), (0.03, 0.08)))
    tilt = rng.uniform(-0.5, 0.5, m)
    along = np.stack([-np.cos(tilt), np.sin(tilt)], -1)  # (m, 2): the direction, to the left
    centre = np.stack([x0, y0], -1)
    tip, tail = centre + along * half[:, None], centre - along * half[:, None]
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)[None]  # (1, H, W, 2) as x, y
    distance = np.full((m, size, size), np.inf)
    ends = [tail]
    for side in (-1, 1):  # the two strokes of the head, 40 degrees off the shaft
        c, s = np.cos(side * 0.7), np.sin(side * 0.7)
        back = -np.stack([c * along[:, 0] - s * along[:, 1], s * along[:, 0] + c * along[:, 1]], -1)
        ends.append(tip + back * head[:, None])
    for end in ends:  # each stroke goes from the tip to an end; a pixel's distance to it:
        stroke, d = (end - tip)[:, None, None], pixels - tip[:, None, None]
        t = np.clip((d * stroke).sum(-1) / (stroke**2).sum(-1), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(d - t[..., None] * stroke, axis=-1))
    ink = np.clip(thick[:, None, None] - distance + 0.5, 0, 1)
    paper, strength = rng.uniform(20, 90, (m, 1, 1)), rng.uniform(90, 150, (m, 1, 1))
    left = np.clip(paper + strength * ink + rng.normal(0, 8, ink.shape), 0, 255).astype(np.uint8)
    images = np.stack([left, left[:, :, ::-1]], 1).reshape(n, 1, size, size)
    return torch.from_numpy(images), torch.arange(n) % 2

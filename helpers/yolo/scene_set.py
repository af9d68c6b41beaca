"""Rendered scenes as a data set for the detector."""

import torch

from helpers.course.batches import Tensors
from helpers.data import scenes
from helpers.yolo.grid import pad_truth


class SceneSet(Tensors):
    """n scenes of a split of `scenes`, rendered now: about 2 ms each at 160 pixels. digits: "mnist5k" or "mnist"."""

    def __init__(self, n, split="train", size=160, seed=0, digits="mnist5k"):
        images, self.boxes, self.labels = scenes.dataset(n, seed, split, size, digits)
        self.images = torch.from_numpy(images)
        self.truth = pad_truth(self.boxes, self.labels, size, size)
        super().__init__(self.images, self.truth)
        self.classes, self.size, self.shapes = [str(k) for k in range(10)], (size, size), [(size, size)] * n
        self.summary = f"{n} {split} scenes of {size} x {size} pixels, {sum(map(len, self.labels))} digits"

    def truths(self):
        """For `average_precision.evaluate`."""
        return [{"boxes": b, "labels": k} for b, k in zip(self.boxes, self.labels)]

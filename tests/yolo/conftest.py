"""Two detectors that know a few scenes by heart: trained once for all tests of the package."""

import numpy as np
import pytest
import torch

from helpers.course.batches import Tensors
from helpers.course.training import fit
from helpers.data import scenes
from helpers.yolo import model as yolo_model
from helpers.yolo import scene_set
from helpers.yolo import train as yolo_train
from helpers.yolo.boxes import kmeans_anchors
from helpers.yolo.grid import pad_truth
from helpers.yolo.model import make_augment

SIZE = 96


def some_scenes(n, seed=0, split="train"):
    images, boxes, labels = scenes.dataset(n, seed, split, SIZE)
    sizes = np.concatenate([b[:, 2:] - b[:, :2] for b in boxes])
    return torch.from_numpy(images), boxes, labels, sizes


@pytest.fixture(scope="session")
def eight(once):
    """A small YOLO of its own recipe, eight scenes by heart: (model, cfg, images, truths)."""
    images, boxes, labels, sizes = some_scenes(8)
    torch.manual_seed(0)
    cfg = yolo_model.small_cfg(10, kmeans_anchors(sizes, 4), (SIZE, SIZE), width=8, residuals=1)
    model = yolo_model.new(cfg)
    data = Tensors(images, pad_truth(boxes, labels, SIZE, SIZE))

    def trained():
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
        settings = {"epochs": 300, "batch_size": 8, "device": "cpu"}
        fit(model, data, step=yolo_model.make_step(), optimizer=optimizer, scheduler=schedule, **settings)
        return model.state_dict()

    model.load_state_dict(once("eight", trained))
    return model.eval(), cfg, images, [{"boxes": b, "labels": k} for b, k in zip(boxes, labels)]


@pytest.fixture(scope="session")
def twelve(once):
    """`train_detector`, twelve scenes by heart: (model, result, data)."""
    data = scene_set.SceneSet(12, size=96)

    def trained():
        model, result = yolo_train.train_detector(
            data,
            data,
            epochs=160,
            width=8,
            residuals=1,
            batch_size=6,
            lr=8e-3,
            device="cpu",
            judgements=3,
            augment=make_augment(zoom=1.0, shift=0.0, colour=0.0),
        )
        return model.config, model.state_dict(), result

    config, state, result = once("twelve", trained)
    model = yolo_model.new(config["cfg"]).to(memory_format=torch.channels_last)  # as it was trained
    model.config = config
    model.load_state_dict(state)
    return model, result, data

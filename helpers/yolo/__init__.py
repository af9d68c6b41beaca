"""Lecture 08, from classification to YOLO: boxes, grids, losses, detectors and their scores.

Notebook: notebooks/08b_yolo.ipynb. An image goes through `scene_set` or `data.voc`, `train`, `model`, `grid`, `loss`,
`detect` and `average_precision`; `darknet` reads and writes the networks of the C program; `v1`, `tasks`, `shifts`,
`anchors` and `receptive_field` are topics of the lecture; `experiments` holds the recorded runs, `cli` the command.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "anchors",
        "average_precision",
        "boxes",
        "cli",
        "darknet",
        "detect",
        "experiments",
        "figures",
        "grid",
        "loss",
        "model",
        "receptive_field",
        "resample",
        "scene_set",
        "shifts",
        "tasks",
        "train",
        "v1",
    ],
    submod_attrs={
        "detect": ["detect_batch", "detect_dataset", "postprocess"],
        "grid": ["decode_v1", "decode_v2", "decode_v3", "is_object", "split", "targets"],
        "loss": ["loss_v3"],
        "scene_set": ["SceneSet"],
        "train": ["train_detector"],
    },
)

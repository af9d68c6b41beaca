"""Lecture 08, from classification to YOLO: boxes, grids, losses, detectors and their scores.

Notebooks: notebooks/08a_tasks.ipynb, with `tasks`, `heads`, `shifts`, `receptive_field`, `stages` and `sketches`; and
notebooks/08b_yolo.ipynb. There an image goes through `scene_set` or `data.voc`, `train`, `model`, `grid`, `loss`,
`detect` and `average_precision`; `resample` gives intervals over images; `darknet` reads and writes the networks of
the C program; `backbone` borrows features, which `photographs` compares; `v1` and `anchors` are topics of the lecture;
`experiments` holds the recorded runs, `cli` the command.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "anchors",
        "average_precision",
        "backbone",
        "boxes",
        "cli",
        "darknet",
        "detect",
        "experiments",
        "figures",
        "grid",
        "heads",
        "loss",
        "model",
        "photographs",
        "receptive_field",
        "resample",
        "scene_set",
        "shifts",
        "sketches",
        "stages",
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

"""What lecture 06 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "06_transfer_learning": Page(
            "Why do borrowed features work, and what of a pretrained network should go on learning?",
            "전이 학습",
            "A head of zeros beats a head that was probed first",
        )
    },
    experiments={
        "transfer-head": Experiment(
            "head:heads", "Which head should fine-tuning start from, and should batch norm go on counting?"
        ),
        "transfer-resolution": Experiment(
            "rule:resolution",
            "At which resolution, and with how many leaves, is fine-tuning better than a frozen base?",
        ),
        "transfer-photographs": Experiment(
            "rule:real", "Does the 2x2 rule hold on real pictures, similar to ImageNet's and different ones?", real=True
        ),
    },
    measures={
        "lab": "accuracy, lab leaves",
        "field": "accuracy, field leaves",
        "valid": "accuracy, validation pictures",
        "rate": "learning rate chosen",
        "steps": "steps chosen",
        "l2": "weight decay of the head chosen",
        "first gradient": "norm of the base's first gradient",
    }
    | {
        f"valid {rate}": f"accuracy, validation, rate {rate}"
        for rate in ("3e-05", "0.0001", "0.0003", "0.001", "0.003")
    },
)

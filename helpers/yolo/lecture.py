"""What lecture 08 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "08a_tasks": Page(
            "How does a network say where things are, and not only what is in a picture?",
            "분류에서 객체 탐지로",
            "At equal training a second stage reads more digits",
        ),
        "08b_yolo": Page(
            "How does one pass of a network find all objects, and how is that scored?",
            "객체 탐지",
            "The same code finds blood cells in real photographs",
        ),
    },
    experiments={
        "yolo-shift": Experiment("shifts:shifts", "What do shifts and distortions do to convolutional networks?"),
        "yolo-stages": Experiment("stages:stages", "One stage or two, at equal training?"),
        "yolo-v1": Experiment("experiments:ends", "What does the fully connected end of YOLOv1 cost?"),
        "yolo-ablation": Experiment(
            "experiments:ablation", "Which parts of a small YOLO matter, changed one at a time?"
        ),
        "yolo-confidence": Experiment(
            "experiments:confidence", "Does the objectness of a YOLO follow hits or the IoU?"
        ),
        "yolo-photographs": Experiment(
            "photographs:arms", "Do borrowed features help a detector that has few photographs?"
        ),
    },
    measures={
        "map": "mAP",
        "map50": "mAP50",
        "map75": "mAP75",
        "map_small": "mAP, small",
        "map_medium": "mAP, medium",
        "gap": "calibration error",
        "rank": "rank correlation of confidence and IoU",
        "place": "AP50 of any digit",
        "objectness, hits": "objectness: error to the share of hits",
        "objectness, IoU": "objectness: error to the mean IoU",
        "score, hits": "objectness x class: error to the share of hits",
        "score, IoU": "objectness x class: error to the mean IoU",
    },
)

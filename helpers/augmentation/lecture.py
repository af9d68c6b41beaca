"""What lecture 07 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "07_image_augmentation": Page(
            "Which changes to a picture help, and which ones hurt?",
            "이미지 증강",
            "TrivialAugment needs a longer budget on rendered leaves",
        )
    },
    experiments={
        "augmentation-gap": Experiment("experiments:gap", "Which augmentation helps, and with how few pictures?"),
        "augmentation-steps": Experiment(
            "steps:budgets", "How many steps does each augmentation need before it is worth it?"
        ),
        "augmentation-leak": Experiment("experiments:leak", "How much does copying before the split flatter?"),
        "augmentation-flip-digits": Experiment("experiments:digits", "What do flips do to digits?"),
    },
    measures={
        "train": "accuracy, training pictures",
        "test": "accuracy, test pictures",
        "tta": "accuracy, test-time augmentation",
        "valid": "accuracy, validation set",
        "rate": "learning rate chosen",
        "fresh": "accuracy, fresh pictures",
        "shared": "share with a copy in training",
        "times_v2": "times faster than v2, tensors",
        "times_copy": "time of copies",
    },
)

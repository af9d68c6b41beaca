"""What lecture 06 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "06_transfer_learning": Page(
            "When do borrowed features beat your own, and how many layers should you freeze?",
            "전이 학습",
            "With few, similar pictures fine-tuning everything beats the rule's frozen base",
        )
    },
    experiments={
        "transfer-leaves": Experiment("experiments:strategies", "Which strategy is best at 20 pictures a class?"),
        "transfer-rule": Experiment(
            "experiments:rule", "Does the 2x2 rule of transfer learning pick the best strategy?"
        ),
        "transfer-depth": Experiment("experiments:depth", "How does accuracy depend on the number of frozen blocks?"),
    },
    measures={"lab": "accuracy, lab leaves", "field": "accuracy, field leaves"},
)

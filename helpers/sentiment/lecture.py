"""What lecture 09 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "09_sentiment": Page(
            "Does a network that reads in order beat counting words?",
            "감성 분석",
            "To an LSTM the order of the words is worth little",
        )
    },
    experiments={
        "sentiment-ladder": Experiment("experiments:ladder", "Does a recurrent network beat counting words?"),
        "sentiment-padding": Experiment("experiments:padding", "What does it cost to read padding as if it were text?"),
        "sentiment-nsmc": Experiment(
            "experiments:korean", "Into which units should a Korean review be cut?", real=True
        ),
        "sentiment-folds": Experiment(
            "experiments:korean_folds", "How good is counting characters on Korean reviews?", real=True
        ),
    },
    measures={
        "balanced": "balanced accuracy",
        "shuffled": "balanced accuracy, words shuffled",
        "C": "strength of the linear head",
    },
)

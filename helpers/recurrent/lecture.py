"""What lecture 09 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "09_rnn_lstm": Page(
            "What does a recurrent network remember, and for how long?",
            "순환 신경망",
            "At PyTorch's start values an LSTM has lost its gradient",
        )
    },
    experiments={
        "rnn-survival": Experiment(
            "experiments:survival", "How much gradient is left after 100 steps, before training?"
        ),
        "rnn-problems": Experiment("experiments:problems", "How soon does each start learn to remember?"),
        "translate": Experiment(
            "experiments:translation", "What does attention add, by epoch and by the length of the sentence?"
        ),
        "forecast": Experiment(
            "experiments:forecasting", "Does an LSTM forecast share prices better than the last one?"
        ),
    },
    measures={
        "return": "error of returns",
        "price %": "error of prices, %",
        "skill": "skill against the last price",
        "share": "error / that of no memory, by epoch",
        "best": "lowest share of the error",
        "epochs": "epochs until a tenth is left",
        "clipped": "share of steps clipped, by epoch",
        "months": "squared error, by month",
        "measured": "factor a step, measured",
        "at rest": "factor a step, without input",
        "predicted": "factor a step, predicted",
        "measured 10": "left after 10 steps",
        "measured 25": "left after 25 steps",
        "measured 50": "left after 50 steps",
        "measured 100": "left after 100 steps",
        "greedy": "exact match, greedy",
        "beam": "exact match, beam",
        "bleu": "BLEU",
    },
)

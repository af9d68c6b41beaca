"""What lecture 07 tells about itself: its page, its recorded experiments, the names of its measures."""

from helpers.course.lectures import Experiment, Lecture, Page

LECTURE = Lecture(
    pages={
        "07_autoencoders_tsne": Page(
            "What does a network keep when it may keep only a few numbers, and can you trust the map?",
            "오토인코더, t-SNE",
            "One cluster is ten times as wide as another: a t-SNE map at perplexity 30",
        )
    },
    experiments={
        "autoencoder-width": Experiment("experiments:widths", "What does a code of width k hold, against PCA?"),
        "autoencoder-curve": Experiment(
            "curves:curves", "Would an autoencoder reach PCA's error if it were trained for longer?"
        ),
        "autoencoder-denoise": Experiment("experiments:denoise", "Does an autoencoder remove noise it was not shown?"),
        "tsne-start": Experiment("experiments:starts", "Does a PCA start keep the global structure?"),
        "tsne-input": Experiment("experiments:inputs", "What should t-SNE be fed, at which perplexity?"),
    },
    measures={
        "kl": "KL divergence",
        "knn": "k-NN accuracy",
        "trust": "trustworthiness",
        "global": "correlation of centroid distances",
        "error": "reconstruction error",
        "epochs": "epochs of the curve",
        "train curve": "error by epoch, training pictures",
        "valid curve": "error by epoch, validation pictures",
        "test curve": "error by epoch, test pictures",
        "stopped at": "epoch where the validation error is lowest",
        "last": "test error after the last epoch",
        "train error": "reconstruction error, training pictures",
        "valid error": "reconstruction error, validation pictures",
        "auc turned": "AUC, turned digits",
        "auc patches": "AUC, patches",
        "memory_mb": "memory, MB",
    }
    | {
        f"{when} {noise}": f"PSNR in dB, noise {noise}, {what}"
        for noise in (0.1, 0.3, 0.5)
        for when, what in (("none", "untouched"), ("early", "early in training"), ("late", "late in training"))
    },
)

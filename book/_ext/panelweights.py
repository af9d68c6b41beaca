"""What a panel of the book needs of a trained model: the facts and arrays that `helpers.course.panels` packs."""

import json
import logging
from pathlib import Path

import numpy as np

LIMIT = 2_000_000  # bytes that a reader loads with one panel, scripts and weights together

# ---------------------------------------------------------------- lecture 09: two classifiers of reviews

WHITE = (
    r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Python's \s, which JavaScript's is not
)


def varied(numbers):
    """Whole numbers >= 0 -> uint8: seven bits a byte, the lowest first; the last byte of a number is below 128."""
    out = bytearray()
    for n in map(int, numbers):
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        out.append(n)
    return np.frombuffer(bytes(out), np.uint8)


def bigram_code(pairs, size):
    """Distinct sorted pairs (N, 2) of numbers below `size` -> uint8: each first's count, then the seconds as steps."""
    counts = np.bincount(pairs[:, 0], minlength=size)
    steps = np.diff(pairs[:, 1], prepend=0)
    begins = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    steps[begins] = pairs[begins, 1]
    return varied(np.concatenate([counts, steps]))


def sentiment(root):
    """`checkpoints/sentiment-reviews`, an LSTM, and `checkpoints/sentiment-linear`, words and bigrams.

    The terms of the linear model are put in another order: first the tokens, then the bigrams by their two tokens.
    """
    from helpers.sentiment import Classifier
    from helpers.sentiment.model import MAX_TOKENS
    from helpers.sentiment.text import _WORD

    lstm, linear = (Classifier.load(Path(root, "checkpoints", f"sentiment-{kind}")) for kind in ("reviews", "linear"))
    reader, counter = lstm.models[0].state_dict(), linear.models[0]
    assert lstm.kind == "lstm" and lstm.unit == linear.unit == "word", "the panel reads words with one LSTM"
    assert (counter.low, counter.high, counter.binary) == (1, 2, True), "the panel counts words and bigrams once"
    tokens = linear.vocabulary.tokens
    place = {token: k for k, token in enumerate(tokens)}
    singles = [counter.index[token] for token in tokens]
    pairs = sorted(
        (*map(place.__getitem__, term.split("\t")), k) for k, term in enumerate(counter.terms) if "\t" in term
    )
    pairs = np.array(pairs)
    order = np.concatenate([singles, pairs[:, 2]])
    assert len(order) == len(counter.terms)
    facts = {
        "classes": lstm.classes,
        "priors": {"lstm": lstm.prior, "linear": linear.prior},
        "maxTokens": MAX_TOKENS,
        "word": _WORD.pattern.replace(r"\s", WHITE),
        "white": WHITE,
        "bias": float(counter.bias),
        "samples": [
            "A dull, lifeless script, but the acting is superb.",
            "It is not a bad film.",
            "The film lasts two hours.",
        ],
    }
    half = {name: values.half().numpy() for name, values in reader.items()}
    cell = "encoder.directions.0.0."
    arrays = {
        "tokens": "\n".join(tokens),
        "known": np.array([place[token] for token in lstm.vocabulary.tokens], np.uint16),
        "bigrams": bigram_code(pairs[:, :2], len(tokens)),
        "weight": counter.weight.half().numpy()[order],
        "idf": counter.idf.half().numpy()[order],
        "embedding": half["encoder.embedding.weight"],
        "w_ih": half[f"{cell}weight_ih_l0"],
        "w_hh": half[f"{cell}weight_hh_l0"],
        "b_ih": half[f"{cell}bias_ih_l0"],
        "b_hh": half[f"{cell}bias_hh_l0"],
        "head": half["head.1.weight"],
        "head_bias": half["head.1.bias"],
    }
    return facts, arrays


# ---------------------------------------------------------------- lecture 08: a detector of digits


def steps(image):
    """uint8 (C, H, W) -> the same shape, each pixel less its left and upper neighbours': small numbers deflate well."""
    return np.diff(np.diff(image.astype(int), axis=2, prepend=0), axis=1, prepend=0).astype(np.uint8)


def scenes(count=4):
    """The first test scenes that lecture 08 shows, (C, 160, 160) each; none where their data cannot be had."""
    from helpers.course.errors import UserError
    from helpers.data import scenes

    try:
        return scenes.dataset(count, 7, "test", 160, "mnist5k")[0]
    except UserError as missing:  # no network yet
        logging.getLogger(__name__).info(f"the detector's panel has no sample: {missing}")
        return []


def detector(root):
    """`checkpoints/yolo-scenes`: the layers of its cfg, and each layer's weights as a `float24`.

    In 16 bits a number the scores of 100 test scenes move by up to 0.0025, in 24 bits by 0.00006.
    """
    from helpers.yolo import train

    model = train.load(Path(root, "checkpoints", "yolo-scenes", "model.safetensors"))
    kept = ("filters", "size", "stride", "activation", "from", "layers", "mask", "anchors", "scale", "alpha", "beta")
    layers, arrays = [], {}
    for k, section in enumerate(model.sections):
        layers.append(
            {"kind": section.kind} | {name: section.options[name] for name in kept if name in section.options}
        )
        for name, values in model.layers[k].state_dict().items():
            if values.is_floating_point():
                arrays[f"{k}.{name}"] = values.float().numpy()
    facts = {"size": list(model.size), "classes": model.config["classes"], "layers": layers}
    samples = {f"sample {k}": steps(image) for k, image in enumerate(scenes())}
    return facts, arrays | samples


# ---------------------------------------------------------------- lecture 07: augmentation, which has no weights

LEAVES = {  # of lecture 06 and 07, and the number of the rendered leaf
    "a grape leaf": ("Grape___Black_rot", 3),
    "a tomato leaf": ("Tomato___Early_blight", 1),
    "an apple leaf": ("Apple___healthy", 2),
}


def augmentation(root):
    """Three rendered leaves of 64 x 64 pixels, the first of them the lecture's."""
    from helpers.data import leaves

    drawn = (leaves.render(kind, number, size=64).transpose(2, 0, 1) for kind, number in LEAVES.values())
    return {"samples": list(LEAVES)}, {f"sample {k}": steps(image) for k, image in enumerate(drawn)}


# ---------------------------------------------------------------- lecture 07: an autoencoder and a map of its codes


def digits(seed):
    """One test digit of each class, (10, 1, 28, 28); none where their data cannot be had."""
    from helpers.course.errors import UserError
    from helpers.embedding import places

    try:
        return places.unseen("mnist5k", seed)[1][0]
    except UserError as missing:  # no network yet
        logging.getLogger(__name__).info(f"the autoencoder's panel has no sample: {missing}")
        return []


def autoencoder(root):
    """`checkpoints/digits-autoencoder` and its map."""
    from helpers.embedding import autoencoder, panel, places

    folder = Path(root, "checkpoints", "digits-autoencoder")
    model, atlas = autoencoder.load(folder / "model.safetensors"), places.load(folder / "map.safetensors")
    trained = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return panel.contents(model, atlas, digits(trained["seed"]), trained["error"])


EXPORTS = {"sentiment": sentiment, "detector": detector, "augmentation": augmentation, "autoencoder": autoencoder}

"""Four ways to the same picture: exact t-SNE of ours and of scikit-learn, its Barnes-Hut, and openTSNE.

    python benchmarks/tsne.py [--points 1797] [--iterations 1000] [--rounds 3] [--threads 2] [--device cpu]
                              [--without NAME] [--growth 500,1000,2000,5000] [--json] [--record]

The handwritten digits of scikit-learn (up to 1,797 points of 64 features; MNIST, 784 features, above), perplexity
30, PCA start, early exaggeration 12 for 250 iterations, each library's own automatic learning rate. Timed is
the whole way from features to picture, P included, with early stopping off, so that all do the same number of
iterations. Every round runs every way once, one after the other, so that a slower moment of the machine hits
all alike; a ratio is the median of the ratios within the rounds. The KL divergence of every picture is computed by
the same exact formula, in float64, against the same exact P.

--growth times ours, Barnes-Hut and openTSNE's two ways also at several sizes (300 iterations, once each) and
fits seconds ~ N^exponent. --record writes it all to results/bench-tsne.json, which lecture 07 draws from.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.data import sets as data
from helpers.embedding import tsne  # noqa: E402
from helpers.embedding.scores import knn_accuracy  # noqa: E402

EARLY = 250


def features(n):
    """Points (n, D) float64 and labels (n,), drawn with seed 0 where there are more."""
    x, labels = data.digits() if n <= 1797 else data.mnist5k()
    if n > len(x):
        sys.exit(f"there are at most {len(x)} points")
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:n])
    return x[rows].reshape(n, -1).astype(np.float64), labels[rows]


def ours(x, iterations, threads, device):
    y, _ = tsne.tsne(torch.tensor(x).to(device), n_iter=iterations, record_every=iterations)
    return y.cpu().numpy()  # waits for the device


def scikit_learn(x, iterations, threads, device, method):
    from sklearn.manifold import TSNE

    return TSNE(
        method=method,
        max_iter=iterations,
        init="pca",
        random_state=0,
        n_jobs=threads,
        n_iter_without_progress=iterations,
        min_grad_norm=0,
    ).fit_transform(x)


def open_tsne(x, iterations, threads, device, method="auto"):
    from openTSNE import TSNE

    return np.asarray(
        TSNE(
            early_exaggeration_iter=EARLY,
            n_iter=iterations - EARLY,
            n_jobs=threads,
            negative_gradient_method=method,
            random_state=0,
        ).fit(x)
    )


WAYS = {
    "ours, exact": ours,
    "scikit-learn, Barnes-Hut": lambda *a: scikit_learn(*a, method="barnes_hut"),
    "openTSNE": open_tsne,
    "scikit-learn, exact": lambda *a: scikit_learn(*a, method="exact"),
}
GROWTH = {
    "ours, exact": ours,
    "scikit-learn, Barnes-Hut": WAYS["scikit-learn, Barnes-Hut"],
    "openTSNE, Barnes-Hut": lambda *a: open_tsne(*a, method="bh"),
    "openTSNE, FFT": lambda *a: open_tsne(*a, method="fft"),
}


def measure(points=1797, iterations=1000, rounds=3, threads=2, device="cpu", without=()):
    """{"seconds": {way: [rounds]}, "ratio": {way: its time over ours}, "kl": {way: nats}, "knn": {way: share}}."""
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    ways = {name: way for name, way in WAYS.items() if name not in without}
    x, labels = features(points)
    seconds, pictures = {name: [] for name in ways}, {}
    with threadpool_limits(threads):
        for way in ways.values():  # imports and the first use of everything are not what we time
            way(x[:100], EARLY + 10, threads, device)
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                pictures[name] = way(x, iterations, threads, device)
                seconds[name].append(time.perf_counter() - start)
    p = tsne.joint_probabilities(x, dtype=torch.float64)
    first = next(iter(ways))
    ratios = {name: [a / b for a, b in zip(seconds[name], seconds[first])] for name in ways}
    return {
        "points": points,
        "iterations": iterations,
        "rounds": rounds,
        "threads": threads,
        "device": device,
        "memory_mb": tsne.memory(points, device) / 1e6,
        "seconds": seconds,
        "ratio": {name: statistics.median(ratio) for name, ratio in ratios.items()},
        "kl": {name: float(tsne.kl_divergence(p, torch.tensor(y).double())) for name, y in pictures.items()},
        "knn": {name: knn_accuracy(y, labels) for name, y in pictures.items()},
    }


def growth(sizes, threads=2, device="cpu", iterations=300):
    """{"sizes": [N], "iterations": n, "seconds": {way: [one per size]}, "exponent": {way: b of seconds ~ N^b}}."""
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    seconds = {name: [] for name in GROWTH}
    with threadpool_limits(threads):
        for n in sizes:
            x, _ = data.mnist5k()  # one source for all sizes
            x = x[np.sort(np.random.default_rng(0).permutation(len(x))[:n])].reshape(n, -1).astype(np.float64)
            for name, way in GROWTH.items():
                if n == sizes[0]:
                    way(x[:100], EARLY + 10, threads, device)
                start = time.perf_counter()
                way(x, iterations, threads, device)
                seconds[name].append(time.perf_counter() - start)
    fit = {name: float(np.polyfit(np.log(sizes), np.log(t), 1)[0]) for name, t in seconds.items()}
    return {"sizes": list(sizes), "iterations": iterations, "seconds": seconds, "exponent": fit}


def runs(result):
    """The runs of the record: one a way, one a way and number of points, one a way's exponent; and its facts."""
    rows = [{"arm": way} | {key: result[key][way] for key in ("seconds", "ratio", "kl", "knn")} for way in result["kl"]]
    grown = result["growth"]
    for way, times in grown["seconds"].items():
        rows += [{"arm": way, "points": n, "seconds to grow": time} for n, time in zip(grown["sizes"], times)]
    rows += [{"arm": way, "exponent": exponent} for way, exponent in grown["exponent"].items()]
    facts = {name: result[name] for name in ("points", "iterations", "rounds", "memory_mb")}
    return rows, facts | {"iterations to grow": grown["iterations"]}


def main():
    about = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about[0], epilog=about[2])
    parser.add_argument("--points", type=int, default=1797, help="how many points (up to 5,000)")
    parser.add_argument("--iterations", type=int, default=1000, help=f"more than {EARLY}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where ours runs; the others know only the CPU")
    parser.add_argument("--without", action="append", default=[], choices=list(WAYS)[1:], help="leave one out")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--growth", default="", help="also time these numbers of points, with commas between")
    parser.add_argument("--record", action="store_true", help="write results/bench-tsne.json")
    options = vars(parser.parse_args())
    as_json, record, sizes = (options.pop(name) for name in ("json", "record", "growth"))
    if options["iterations"] <= EARLY or options["points"] < 100 or options["rounds"] < 1:
        parser.error(f"take more than {EARLY} iterations, 100 points or more, and a round or more")
    if record and not sizes:
        sizes = "500,1000,2000,5000"
    try:
        sizes = [int(n) for n in sizes.split(",") if n]
    except ValueError:
        parser.error(f"--growth takes numbers with commas between, not {sizes}")
    if sizes and (len(sizes) < 2 or not all(100 <= n <= 5000 for n in sizes)):
        parser.error("--growth takes two sizes or more, from 100 to 5000 points")
    result = measure(**options)
    if sizes:
        result["growth"] = growth(sizes, options["threads"], options["device"])
    if record:
        from helpers.course.experiments import write

        words = [f"--{name} {options[name]}" for name in ("points", "iterations", "rounds", "threads")]
        command = f"python benchmarks/tsne.py --record {' '.join(words)} --growth {','.join(map(str, sizes))}"
        header = {name: options[name] for name in ("threads", "device")}
        write("bench-tsne", "t-SNE: ours, scikit-learn, openTSNE", "embedding", command, *runs(result), **header)
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['points']} points, {result['iterations']} iterations, {result['threads']} threads, ours on "
        f"{result['device']} with {result['memory_mb']:.0f} MB\n"
    )
    print(f"{'':26}{'seconds':>9}{'x ours':>8}{'KL':>8}{'10-NN':>8}")
    for name, times in result["seconds"].items():
        print(
            f"{name:26}{statistics.median(times):9.2f}{result['ratio'][name]:8.2f}"
            f"{result['kl'][name]:8.4f}{result['knn'][name]:8.4f}"
        )
    for name, exponent in result.get("growth", {}).get("exponent", {}).items():
        print(f"{name:26} seconds ~ N^{exponent:.2f}")


if __name__ == "__main__":
    main()

"""`python -m helpers sentiment ...`, as a reader runs it: a table of texts in, a model, scores, one JSON object out."""

import json

import numpy as np
import pytest
from command_line import TWO, here, shell, stopped, the_object
from command_line import refused as one_line

from helpers.data.texts import load_tsv
from helpers.sentiment.model import Classifier
from helpers.sentiment.train import evaluate


def write(path, n=300, seed=0, header="text\tlabel\tfilm", labels=("0", "1")):
    """A table of texts whose class is told by one word of them; 20 films."""
    rng = np.random.default_rng(seed)
    lines = [header]
    for _ in range(n):
        label = rng.integers(2)
        words = list(rng.choice("the film is a story of two men and one dog".split(), rng.integers(2, 9)))
        words.insert(rng.integers(len(words) + 1), rng.choice([["dull", "bad"], ["fine", "great"]][label]))
        lines.append(f"{' '.join(words)}\t{labels[label]}\tfilm {rng.integers(20)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "train.tsv")


def arguments(table, out, *more):
    return [
        "sentiment",
        "train",
        "--data",
        f"tsv:{table}",
        "--group",
        "film",
        "--lr",
        "1e-2",
        "--device",
        "cpu",
        "--out",
        str(out),
        *map(str, more),
    ]


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """The folder and the answer of an LSTM whose training was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = here(*arguments(table, out, "--epochs", 5, "--json"))
    assert done.exit_code == 0, done.output
    return out, the_object(done.stdout)


@pytest.fixture(scope="module")
def linear(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("linear") / "run"
    done = here(*arguments(table, out, "--model", "linear", "--json"))
    assert done.exit_code == 0, done.output
    return out, the_object(done.stdout)


def test_train_answers_with_one_object(trained, linear):
    for (out, facts), model in ((trained, "lstm"), (linear, "linear")):
        assert facts["model"] == model and facts["train"] == 300 and facts["classes"] == ["0", "1"]
        assert facts["accuracy"] > 0.9 and facts["measured_on"] == "validation" and 30 <= facts["n"] < 70
        assert facts["seconds"] > 0 and facts["resumed_from"] is None
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        assert facts.items() <= metrics.items() and "torch" in metrics["versions"] and metrics["command"]
        assert [e["epoch"] for e in metrics["history"]] == list(range(1, facts["epochs"] + 1))
    assert trained[1]["epochs"] == 5 and linear[1]["epochs"] == 0


def test_a_test_share_is_kept_back(table, tmp_path):
    done = here(*arguments(table, tmp_path, "--epochs", 5, "--test-share", 0.3, "--seed", 1, "--json"))
    facts = the_object(done.stdout)
    assert facts["measured_on"] == "test" and facts["train"] + facts["n"] == 300 and facts["n"] >= 90
    assert facts["accuracy"] > 0.9 and facts["balanced_accuracy"] > 0.9


def test_a_table_without_groups_is_split_at_random(tmp_path):
    """The film reviews as a bare table of texts and labels, as many corpora come; ten random folds gave 0.794."""
    from helpers.data.texts import film_reviews

    reviews = film_reviews()
    lines = [
        "text\tlabel",
        *("\t".join([" ".join(text.split()), str(label)]) for text, label in zip(reviews.texts, reviews.labels)),
    ]
    (tmp_path / "bare.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = here(
        "sentiment",
        "train",
        "--data",
        f"tsv:{tmp_path / 'bare.tsv'}",
        "--model",
        "linear",
        "--test-share",
        0.1,
        "--out",
        tmp_path / "model",
        "--json",
    )
    facts = the_object(done.stdout)
    assert done.exit_code == 0 and facts["train"] + facts["n"] == len(reviews) and facts["n"] >= 1275
    assert 0.76 < facts["accuracy"] < 0.83  # ± 3 standard errors of 1,275 texts


def test_eval_gives_the_accuracy_of_that_model(trained, tmp_path):
    path = write(tmp_path / "test.tsv", 200, seed=1)
    done = here("sentiment", "eval", "--weights", trained[0], "--data", f"tsv:{path}", "--json")
    facts = the_object(done.stdout)
    expected = evaluate(Classifier.load(trained[0]), load_tsv(path))
    assert facts["n"] == 200 and facts["accuracy"] == expected["accuracy"] > 0.9
    assert facts["balanced_accuracy"] == expected["balanced_accuracy"]
    assert facts["low"] < facts["accuracy"] <= facts["high"] <= 1
    done = here("sentiment", "eval", "--weights", trained[0], "--data", f"tsv:{path}")
    assert done.stdout.startswith(f"accuracy {facts['accuracy']:.4f} (95 %") and done.stdout.count("\n") == 1


def test_predict_gives_scores_word_by_word(trained, linear):
    for out, _ in (trained, linear):
        done = here("sentiment", "predict", "--weights", out, "a great  film", "dull", "--json")
        first, second = the_object(done.stdout)["predictions"]
        assert first["label"] == "1" and first["score"] > 0.5 > second["score"] and second["label"] == "0"
        assert first["words"] == ["a", "great", "film"] and len(first["running"]) == 3 and first["known"] == 3
        assert first["running"][-1] == pytest.approx(first["score"], abs=1e-6)
        assert first["running"][1] > first["running"][0]
    done = here("sentiment", "predict", "--weights", trained[0], "a great film")
    assert " 1: a great film\n  a 0." in done.stdout


def test_odd_texts_have_defined_answers(trained, linear):
    for out, _ in (trained, linear):
        texts = ["", " \t", "qqqq vvvv", "영화 재미", "\x00great", "😀 great", "gr\u0301eat"]
        done = here("sentiment", "predict", "--weights", out, "--json", "--", *texts)
        assert done.exit_code == 0, done.output
        answers = the_object(done.stdout)["predictions"]
        prior = answers[0]["score"]
        assert [a["known"] for a in answers[:4]] == [0, 0, 0, 0] and {a["score"] for a in answers[:4]} == {prior}
        assert 0.4 < prior < 0.6 and answers[0]["tokens"] == 0 and answers[0]["running"] == []
        assert all(0 <= a["score"] <= 1 for a in answers) and answers[5]["label"] == "1"
        done = here("sentiment", "predict", "--weights", out, "")
        assert "no word of it is known" in done.stdout


def test_a_hundred_thousand_words(trained, linear):
    text = b"great " * 1000 + b"dull " * 99_000 + b"\nfine\n"
    for (out, _), read, same in ((trained, 1000, "great " * 1000), (linear, 100_000, "great great dull dull")):
        done = shell("sentiment", "predict", "--weights", out, "-", "--json", input=text, text=False)
        assert done.returncode == 0, done.stderr
        long, short = the_object(done.stdout.decode())["predictions"]
        assert long["tokens"] == 100_000 and long["read"] == read  # a reader says how far it has read
        assert long["score"] == pytest.approx(Classifier.load(out).score([same])[0], abs=1e-6)
        assert len(long["running"]) == 200 and short["label"] == "1"


def test_words_that_are_no_text(trained):
    done = shell(
        "sentiment", "predict", "--weights", trained[0], b"gr\xe9at".decode(errors="surrogateescape"), text=False
    )
    assert (
        done.returncode == 2
        and done.stderr.decode().strip() == "error: text 1 is not UTF-8: convert it, with iconv for example"
    )
    for data, words in (
        (b"fine\ngr\xe9at\n", "standard input, line 2: not UTF-8"),
        (b"fine\nbad\nfi\0ne\n", "standard input, line 3: a NUL byte"),
    ):
        done = shell("sentiment", "predict", "--weights", trained[0], "-", input=data, text=False)
        assert done.returncode == 2 and words in done.stderr.decode() and done.stdout == b""


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", ("is empty",)),
        (b"text\tlabel\tfilm\n", ("no rows",)),
        (b"text\tlabel\na\t0\nb\t1\n", ("no column 'film'", "text, label")),
        (b"review\tlabel\tfilm\na\t0\tx\n", ("no column 'text'",)),
        (b"text\tsentiment\tfilm\na\t0\tx\n", ("no column 'label'",)),
        (b"text\tlabel\tfilm\na\t0\tx\nb\t0\ty\n", ("two classes", "it has 1: '0'")),
        (b"text\tlabel\tfilm\na\t0\tx\nb\t1\ty\nc\t2\tz\n", ("two classes", "it has 3: '0', '1', '2'")),
        (b"text\tlabel\tfilm\na\t0\tx\nb\t\ty\n", ("line 3", "label is empty")),
        (b"text\tlabel\tfilm\na\t0\tx\nb\t1\n", ("line 3", "2 columns")),
        (b"text\tlabel\tfilm\na\t0\tx\nb\0\t1\ty\n", ("line 3", "NUL byte")),
        ("text\tlabel\tfilm\n영화\t0\tx\n".encode("cp949"), ("line 2", "not UTF-8", "iconv")),
        ("text\tlabel\tfilm\na\t0\tx\n".encode("utf-16"), ("UTF-16",)),
        (b"text\tlabel\tfilm\na a b b\t0\tx\nb b a a\t1\tx\n", ("groups",)),
        (b"text\tlabel\tfilm\nabc\t0\tx\nbca\t1\ty\ncab\t0\ty\n", ("no word occurs twice",)),
        (b"text\tlabel\tfilm\na a\t0\tx\na b\t1\ty\n", ("both classes",)),
    ],
)
def test_a_bad_table_ends_in_one_line(data, words, tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_bytes(data)
    done = here(*arguments(path, tmp_path / "run"))
    one_line(done, *words)
    assert not (tmp_path / "run").exists()
    for model in ("bag", "linear", "naive-bayes"):
        if words != ("no word occurs twice",) or model == "bag":  # the linear ones know every word
            one_line(here(*arguments(path, tmp_path / "run", "--model", model)), *words)


@pytest.mark.parametrize(
    "more, words",
    [
        (("--data", "tsv:nowhere.tsv"), ("nowhere.tsv",)),
        (("--data", "csv:x"), ("tsv:PATH",)),
        (("--data", "tsv:"), ("needs a path",)),
        (("--data", "reviews", "--group", "author"), ("grouped by film",)),
        (("--device", "cuda:99"), ("cuda:99",)),
        (("--lr", "1e9", "--epochs", "2"), ("lower the learning rate",)),
    ],
)
def test_wrong_options_are_named(table, tmp_path, more, words):
    one_line(here(*arguments(table, tmp_path / "run", "--epochs", 1, *more)), *words)


def test_weights_that_are_none(trained, tmp_path):
    one_line(here("sentiment", "predict", "--weights", tmp_path / "none", "text"), "none")
    (tmp_path / "sentiment.safetensors").write_bytes((trained[0] / "sentiment.safetensors").read_bytes()[:2000])
    one_line(here("sentiment", "predict", "--weights", tmp_path, "text"), "sentiment.safetensors")
    path = write(tmp_path / "other.tsv", 20, labels=("bad", "good"))
    done = here("sentiment", "eval", "--weights", trained[0], "--data", f"tsv:{path}")
    one_line(done, "line 2", "neither '0' nor '1'")


def test_names_of_classes_may_be_written_as_numbers(table, tmp_path):
    path = write(tmp_path / "named.tsv", labels=("bad", "good"))
    assert here(*arguments(path, tmp_path / "run", "--model", "naive-bayes")).exit_code == 0
    for data in (path, table):
        done = here("sentiment", "eval", "--weights", tmp_path / "run", "--data", f"tsv:{data}", "--json")
        assert the_object(done.stdout)["accuracy"] > 0.9


def test_a_model_in_16_bits_is_half_as_large(trained, table, tmp_path):
    done = here(*arguments(table, tmp_path, "--epochs", 5, "--half", "--json"))
    assert the_object(done.stdout)["accuracy"] == trained[1]["accuracy"]
    small, whole = (folder / "sentiment.safetensors" for folder in (tmp_path, trained[0]))
    assert small.stat().st_size < 0.55 * whole.stat().st_size
    texts = load_tsv(table).texts
    assert np.abs(Classifier.load(tmp_path).score(texts) - Classifier.load(trained[0]).score(texts)).max() < 0.01


def test_a_run_is_not_written_over_and_a_broken_one_is_named(trained, linear, table, tmp_path):
    for (out, _), model in ((trained, "lstm"), (linear, "linear"), (trained, "bag")):
        before = (out / "sentiment.safetensors").read_bytes()
        one_line(here(*arguments(table, out, "--epochs", 5, "--model", model)), "--resume")
        assert (out / "sentiment.safetensors").read_bytes() == before
    state = tmp_path / "cut" / "member0" / "last.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes((trained[0] / "member0" / "last.safetensors").read_bytes()[:1000])
    one_line(here(*arguments(table, tmp_path / "cut", "--epochs", 5)), "--resume")
    one_line(here(*arguments(table, tmp_path / "cut", "--epochs", 5, "--resume")), "last.safetensors")
    one_line(here(*arguments(table, trained[0], "--epochs", 5, "--model", "bilstm", "--resume")), "lstm, not bilstm")


def test_stopped_and_resumed_equals_never_stopped(trained, table, tmp_path, monkeypatch):
    words = arguments(table, tmp_path / "cut", "--epochs", 5, "--json")
    stopped(monkeypatch, 2, *words)
    resumed = the_object(here(*words, "--resume").stdout)
    assert resumed["resumed_from"] == {"epoch": 2, "step": 0}
    assert resumed["epochs"] == 5 and resumed["accuracy"] == trained[1]["accuracy"]
    texts = load_tsv(table).texts
    one, two = (Classifier.load(out).score(texts) for out in (trained[0], tmp_path / "cut"))
    assert np.array_equal(one, two)


def test_two_processes_learn_the_language_first_and_speak_once(table, tmp_path):
    """`best` trains twice, and each member has its folder: which only this lecture does."""
    model, epochs, least = "best", 1, 0.4
    words = ("--epochs", epochs, "--model", model, "--members", 1, "--pretrain-epochs", 1, "--json")
    done = shell(*arguments(table, tmp_path / "two", *words), launcher=TWO, text=False)
    assert done.returncode == 0, done.stderr
    # some versions of PyTorch let Gloo, which connects the processes, write lines of its own
    said = [line for line in done.stdout.decode().splitlines(keepends=True) if not line.startswith("[Gloo]")]
    facts = the_object("".join(said))
    assert facts["epochs"] == epochs and facts["accuracy"] > least
    done = here("sentiment", "eval", "--weights", tmp_path / "two", "--data", f"tsv:{table}", "--json")
    assert the_object(done.stdout)["accuracy"] > least

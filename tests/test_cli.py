"""The command line as a whole: help, options, the packages that mount themselves, experiments."""

import resource
import shutil
import subprocess
import sys

import pytest
import typer
from command_line import ENVIRONMENT, ROOT, options, refused, shell, the_object
from command_line import here as run

from helpers.__main__ import app


def here(*words):
    """A command in this process: (status, stdout, stderr)."""
    done = run(*words)
    return done.exit_code, done.stdout, done.stderr


# ------------------------------------------------------------------ help


def test_help_and_lists_are_quick_because_pytorch_is_not_loaded():
    heavy = {"torch", "numpy", "scipy", "matplotlib", "sklearn"}
    code = f"import sys, helpers.__main__; assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = shell("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and all(word in done.stdout for word in ("data", "transfer", "experiment"))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5  # of a core, however busy it is


def walk(typer_app=app, path=()):
    """All commands: [("transfer", "train"), ...]."""
    for info in typer_app.registered_commands:
        yield *path, info.name or info.callback.__name__
    for group in typer_app.registered_groups:
        name = group.typer_instance.info.name  # an app without one adds its commands to the root's
        yield from walk(group.typer_instance, (*path, name) if isinstance(name, str) else path)


def test_every_command_explains_every_option():
    commands = list(walk())
    assert {("data", "list"), ("transfer", "train"), ("augment",), ("experiment",)} <= set(commands)
    for path in [(), ("data",), ("transfer",), *commands]:
        status, out, _ = here(*path, "--help")
        assert status == 0 and "Usage" in out, path

    def check(parsed, path):
        assert parsed.help, path
        for name, inner in getattr(parsed, "commands", {}).items():
            check(inner, (*path, name))
        for parameter in parsed.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), f"{' '.join(path)}: {parameter.name} has no help"

    check(typer.main.get_command(app), ())


def test_the_design_command_lines_exist():
    train = here("transfer", "train", "--help")[1]
    for option in (
        "--data",
        "--backbone",
        "--freeze",
        "--epochs",
        "--size",
        "--out",
        "--seed",
        "--json",
        "--resume",
        "--device",
        "--precision",
        "--compile",
        "--batch-size",
        "--lr",
    ):
        assert option in train
    assert all(option in here("experiment", "--help")[1] for option in ("--seeds", "--scale"))


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["transfer", "train"], "--data"),
        (["transfer", "train", "--data", "leaves", "--epochs", "0"], "--epochs"),
        (["transfer", "train", "--data", "leaves", "--seed", "-1"], "--seed"),
        (["transfer", "train", "--data", "leaves", "--lr", "nan"], "--lr"),
        (["transfer", "train", "--data", "leaves", "--lr", "0"], "--lr"),
        (["transfer", "train", "--data", "leaves", "--size", "8"], "--size"),
        (["transfer", "train", "--data", "leaves", "--nonsense"], "--nonsense"),
        (["transfer", "train", "--data", "leaves", "--freeze", "most"], "base, half, none"),
        (["transfer", "eval", "--weights", "x", "--data", "leaves", "--split", "all"], "train, valid, test"),
        (["yolo", "train", "--box-loss", "l1"], "v3, iou, giou, ciou"),
        (["yolo", "train", "--flip", "up"], "none, horizontal, both"),
        (["yolo", "train", "--precision", "int4"], "auto, no, bf16, fp16"),
        (["yolo", "eval", "--weights", "x", "--data", "scenes", "--split", "dev"], "--split"),
        (["autoencoder", "train", "--data", "nonsense"], "mnist5k, mnist"),
        (["autoencoder", "train", "--kind", "deep"], "dense, conv, linear"),
        (["autoencoder", "train", "--loss", "mae"], "bce, mse"),
        (["sentiment", "train", "--model", "transformer"], "naive-bayes, tfidf, linear, bag"),
        (["sentiment", "train", "--unit", "letter"], "word, space"),
        (["sentiment", "train", "--precision", "half"], "--precision"),
        (["data", "leaves", "--out", "x", "--domain", "sea"], "lab, field"),
        (["experiment", "transfer-head", "--scale", "huge"], "tiny, small, full"),
        (["transfer", "eval", "--weights", "x", "--data", "leaves", "--seed", "-1"], "--seed"),
        (["transfer", "predict", "--weights", "x"], "IMAGES"),
        (["experiment", "transfer-head", "--seeds", "0"], "--seeds"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_options_are_named(arguments, word):
    status, out, err = here(*arguments)
    assert status == 2 and out == "" and word.lower() in err.lower()


def test_a_package_with_commands_mounts_itself(tmp_path):
    """A lecture is a package with a `cli`; the root finds it without being changed."""
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name, given in (("zoo", 'name="zoo", help="Animals."'), ("alone", "")):
        (tmp_path / "helpers" / name).mkdir()
        (tmp_path / "helpers" / name / "__init__.py").touch()
        code = f"import typer\napp = typer.Typer({given})\n@app.callback()\ndef _(): ...\n" if given else ""
        code = code or "import typer\napp = typer.Typer()\n"
        code += f"@app.command()\ndef feed_{name}():\n    print('fed')\n"
        (tmp_path / "helpers" / name / "cli.py").write_text(code)
    for words in (("zoo", "feed-zoo"), ("feed-alone",)):
        done = subprocess.run(
            [sys.executable, "-m", "helpers", *words],
            cwd=tmp_path,
            env=ENVIRONMENT | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "fed\n", done.stderr


def test_choices_are_those_of_the_code_behind_them():
    """The options stand in modules that do not load PyTorch; the values live in modules that do."""
    from helpers.embedding.cli import train as autoencoder_train
    from helpers.embedding.train import DATA
    from helpers.sentiment.cli import train as sentiment_train
    from helpers.sentiment.model import LINEAR
    from helpers.sentiment.readers import READERS
    from helpers.sentiment.text import UNITS
    from helpers.yolo.cli import train as yolo_train
    from helpers.yolo.detect import MIRRORS

    assert options(sentiment_train)["model"] == [*LINEAR, *READERS]
    assert options(sentiment_train)["unit"] == list(UNITS)
    assert options(yolo_train)["flip"] == list(MIRRORS)
    assert options(autoencoder_train)["data"] == list(DATA)


# ------------------------------------------------------------------ experiments


def test_experiment_lists_refuses_and_reports(tmp_path, monkeypatch):
    from helpers.course import experiments

    status, out, _ = here("experiment", "list", "--json")
    assert status == 0 and the_object(out).keys() == experiments.experiments().keys()
    assert here("experiment", "list")[1].count("\n") == len(experiments.experiments())
    refused(run("experiment", "nonsense"), "'nonsense'", "transfer-head")
    monkeypatch.setattr(experiments, "arms", lambda name, scale: {"arm": lambda seed: {"accuracy": seed / 4}})
    words = ("experiment", "transfer-head", "--scale", "tiny", "--folder", tmp_path, "--seeds", 2, "--json")
    for _ in range(2):  # the second time nothing is left to do
        status, out, _ = here(*words)
        facts = the_object(out)
        assert status == 0 and facts["runs"] == 2 and facts["name"] == "transfer-head" and facts["scale"] == "tiny"
    refused(run(*words[:2], "--scale", "small", "--folder", tmp_path), "measured at scale tiny")

"""The command line as a user meets it: exit status, one JSON object, one clear line, and runs that were killed."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course import checkpoint
from helpers.course import commands as cli
from helpers.course.errors import UserError
from helpers.data.catalogue import CATALOGUE
from helpers.data.leaves.render import CLASSES
from helpers.data.sets import photographs

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def command(*arguments, launcher=()):
    return [sys.executable, *launcher, "-m", "helpers", *map(str, arguments)]


def shell(*arguments, launcher=()):
    """A command in a process of its own: (status, stdout, stderr)."""
    done = subprocess.run(
        command(*arguments, launcher=launcher), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def here(*arguments):
    """The same in this process, which has PyTorch already: (status, stdout, stderr)."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def the_object(out):
    """The one JSON object that a command prints, and nothing beside it on stdout."""
    assert out.endswith("}\n") and out.count("\n") == 1, out
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def refused(result, *words):
    """Exit status 2, nothing on stdout, and one line that begins with "error: " and holds the words."""
    status, out, err = result
    assert status == 2 and out == "", (status, out, err)
    line = err.strip().split("\n")[-1]
    assert line.startswith("error: ") and "Traceback" not in err
    for word in words:
        assert str(word) in line, (word, line)
    return line


# ------------------------------------------------------------------ help


def test_help_and_lists_are_quick_because_pytorch_is_not_loaded():
    heavy = {"torch", "numpy", "scipy", "matplotlib", "sklearn"}
    code = f"import sys, helpers.__main__; assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, out, _ = shell("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0 and all(word in out for word in ("data", "transfer", "experiment"))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5  # of a core, however busy it is


def walk(typer_app=app, path=()):
    """All commands: [("transfer", "train"), ...]."""
    for info in typer_app.registered_commands:
        yield *path, info.name or info.callback.__name__
    for group in typer_app.registered_groups:
        yield from walk(group.typer_instance, (*path, group.name))


def test_every_command_explains_every_option():
    import typer

    commands = list(walk())
    assert {("data", "list"), ("transfer", "train"), ("transfer", "predict"), ("experiment",)} <= set(commands)
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
        (["transfer", "eval", "--weights", "x", "--data", "leaves", "--seed", "-1"], "--seed"),
        (["transfer", "predict", "--weights", "x"], "IMAGES"),
        (["experiment", "transfer-leaves", "--seeds", "0"], "--seeds"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_options_are_named(arguments, word):
    status, out, err = here(*arguments)
    assert status == 2 and out == "" and word.lower() in err.lower()


# ------------------------------------------------------------------ what all commands share


def test_an_error_of_the_user_is_one_line_and_status_2_and_a_bug_is_not_hidden(capsys):
    import typer

    def attempt(error):
        @cli.clear
        def run():
            raise error

        with pytest.raises(typer.Exit) as ended:
            run()
        assert capsys.readouterr().out == ""
        return ended.value.exit_code

    assert attempt(UserError("x is wrong")) == 2
    assert attempt(OSError(28, "No space left on device", "/somewhere")) == 2
    assert attempt(PermissionError(13, "Permission denied", "/somewhere")) == 2
    assert attempt(RuntimeError("CUDA out of memory. Tried")) == 2
    assert attempt(KeyboardInterrupt()) == 130
    for bug in (RuntimeError("shapes"), ValueError("x"), FileNotFoundError(2, "no such file")):
        with pytest.raises(type(bug)):
            attempt(bug)


def test_only_the_first_of_several_processes_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    cli.note("progress")
    cli.answer({"a": 1}, True, "text")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    cli.note("progress")
    cli.answer({"a": 1}, True, "text")
    assert capsys.readouterr() == ('{"a": 1}\n', "progress\n")


def test_data_arguments():
    kinds = {"folder": "folder:PATH", "leaves": "leaves"}
    assert cli.kind_and_path("leaves", kinds) == ("leaves", "")
    assert cli.kind_and_path("folder:a:b c", kinds) == ("folder", "a:b c")
    assert cli.kind_and_path("folder:~/x", kinds) == ("folder", str(Path.home() / "x"))
    for bad, words in (
        ("folder", "needs a path"),
        ("folder:", "needs a path"),
        ("leaves:x", "takes no path"),
        ("/tmp", "not one of folder:PATH, leaves"),
    ):
        with pytest.raises(UserError, match=words):
            cli.kind_and_path(bad, kinds)


# ------------------------------------------------------------------ data


def test_data_list_and_verify(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path))
    status, out, _ = here("data", "list", "--json")
    rows = the_object(out)["data"]
    assert status == 0 and [r["name"] for r in rows] == list(CATALOGUE)
    assert {r["state"] for r in rows} == {"installed", "missing"}
    text = here("data", "list")[1].split("\n")
    assert len(text) == len(rows) + 2 and all(r["name"] in line for r, line in zip(rows, text[1:]))
    status, out, _ = here("data", "verify", "photographs", "--json")
    assert (status, the_object(out)) == (0, {"photographs": "installed"})

    entry = CATALOGUE["mnist-5k"]
    (tmp_path / entry.name / entry.place).parent.mkdir(parents=True)
    (tmp_path / entry.name / entry.place).write_bytes(b"damaged")
    status, out, err = here("data", "verify", "mnist-5k", "--json")
    assert status == 2 and the_object(out)["mnist-5k"].startswith("corrupt")
    assert err.startswith("error: corrupt: mnist-5k;") and "data fetch mnist-5k" in err


def test_a_wrong_name_is_said_before_the_first_download(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path / "cache"))
    refused(here("data", "fetch", "mnist-5k", "photograph"), "'photograph'", "did you mean photographs?")
    assert not (tmp_path / "cache").exists()
    refused(here("data", "verify", "zzz"), "'zzz'", "data list")


# ------------------------------------------------------------------ transfer

NAMES = ("brick", "coffee", "grass")


def crops(root, names=NAMES, train=16, val=8):
    """Class folders of real photographs: 96 x 96 crops, training from the left half, validation from the right."""
    rng = np.random.default_rng(0)
    for name in names:
        x = photographs()[name]
        half = x.shape[1] // 2
        for part, n, left, right in (("train", train, 0, half - 96), ("val", val, half, x.shape[1] - 96)):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                top, side = rng.integers(0, x.shape[0] - 96), rng.integers(left, right)
                crop = Image.fromarray(x[top : top + 96, side : side + 96])
                crop.save(root / part / name / f"{i:02}.jpg", quality=92)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return crops(tmp_path_factory.mktemp("crops"))


def training(data, out, *more):
    return [
        "transfer",
        "train",
        "--data",
        f"folder:{data}",
        "--size",
        64,
        "--out",
        out,
        "--device",
        "cpu",
        "--json",
        *more,
    ]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A frozen-base run: (folder of the weights, what the command printed)."""
    out = tmp_path_factory.mktemp("runs") / "base"
    status, printed, err = here(*training(folder, out, "--epochs", 8))
    assert status == 0, err
    return out, the_object(printed)


def weights(out):
    return checkpoint.load(out / "model.safetensors")["model"]


def equal(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_frozen_base_learns_three_textures(trained):
    out, facts = trained
    assert facts["accuracy"] >= 0.9 and facts["n"] == 24 and facts["train"] == 48 and facts["classes"] == 3
    assert (facts["accuracy"] * 24) % 1 == pytest.approx(0, abs=1e-9)  # k/N
    assert facts["epochs"] == 8 and facts["resumed_from"] is None and facts["seconds"] > 0
    assert {p.name for p in out.glob("*")} == {"metrics.json", *(f"{n}.safetensors" for n in ("model", "last", "best"))}
    metrics = json.loads((out / "metrics.json").read_text())
    history = metrics["history"]
    assert len(history) == 8 and metrics["accuracy"] == facts["accuracy"]
    best = min(history, key=lambda entry: entry["valid_loss"])
    assert best["epoch"] == facts["best_epoch"]  # kept is what validated best, not what came last
    assert best["valid_loss"] == pytest.approx(facts["loss"], rel=1e-4)


def test_the_base_was_frozen(trained):
    from helpers.transfer.model import Classifier

    got, before = weights(trained[0]), Classifier(3).state_dict()
    moved = {name for name in before if not torch.equal(before[name], got[name])}
    assert moved == {"head.weight", "head.bias"}


def test_eval_and_predict_agree_with_the_training(trained, folder):
    out, facts = trained
    status, printed, _ = here("transfer", "eval", "--weights", out, "--data", f"folder:{folder}", "--json")
    scores = the_object(printed)
    assert status == 0 and scores["accuracy"] == facts["accuracy"] and scores["n"] == 24
    assert scores["low"] < scores["accuracy"] <= scores["high"] + 1e-9

    files = sorted((folder / "val").glob("*/*.jpg"))
    status, printed, _ = here("transfer", "predict", *files, "--weights", out, "--top", 99, "--json")
    rows = the_object(printed)["predictions"]
    assert [r["image"] for r in rows] == [str(f) for f in files]
    hits = sum(r["class"] == f.parent.name for r, f in zip(rows, files))
    assert hits == round(facts["accuracy"] * 24)
    for row in rows:
        p = [t["probability"] for t in row["top"]]
        assert {t["class"] for t in row["top"]} == set(NAMES) and sum(p) == pytest.approx(1, abs=1e-5)
        assert p == sorted(p, reverse=True) and p[0] == row["probability"]
    loss = -np.mean(
        [np.log(next(t["probability"] for t in r["top"] if t["class"] == f.parent.name)) for r, f in zip(rows, files)]
    )
    assert loss == pytest.approx(scores["loss"], abs=1e-4)  # cross-entropy from the printed probabilities

    text = here("transfer", "eval", "--weights", out, "--data", f"folder:{folder}", "--split", "train")[1]
    assert "on 48 pictures of the train split" in text and text.count("\n") == 1


def test_predict_takes_every_kind_of_picture_and_names_the_unreadable_one(trained, folder, tmp_path):
    out, _ = trained
    source = Image.open(next((folder / "val" / "brick").glob("*.jpg")))
    files = []
    for name, image in {
        "rgb.png": source,
        "grey.png": source.convert("L"),
        "palette.gif": source.quantize(250),
        "print it.jpg": source.convert("CMYK"),
        "alpha.tif": source.convert("RGBA"),
    }.items():
        image.save(tmp_path / name)
        files.append(tmp_path / name)
    deep = np.asarray(source.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    status, printed, _ = here("transfer", "predict", *files, tmp_path / "deep.png", "--weights", out, "--json")
    rows = {Path(r["image"]).name: r for r in the_object(printed)["predictions"]}
    assert status == 0 and len(rows) == 6 and rows["rgb.png"]["class"] == "brick"
    for a, b in zip(rows["deep.png"]["top"], rows["grey.png"]["top"]):  # 257 x is x at 16 bits: the same picture
        assert a["class"] == b["class"] and a["probability"] == pytest.approx(b["probability"], abs=1e-6)
    bad = tmp_path / "text ü.jpg"
    bad.write_text("no picture")
    refused(here("transfer", "predict", files[0], bad, "--weights", out, "--json"), bad, "not a readable picture")
    refused(here("transfer", "predict", tmp_path / "no.jpg", "--weights", out), "there is no picture", "no.jpg")


def test_a_mixed_folder(folder, tmp_path):
    """A text file called .jpg ends in one line that names it; without it, all the other kinds are trained on."""
    mixed = crops(tmp_path / "mixed", ("brick", "coffee"), 4, 2)
    brick = mixed / "train" / "brick"
    source = Image.open(brick / "00.jpg")
    source.convert("CMYK").save(brick / "cmyk.jpg")
    source.quantize(200).save(brick / "palette.png")
    source.convert("L").save(brick / "grey.jpg")
    Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257).save(brick / "16.png")
    (brick / "notes.txt").write_text("notes")
    bad = brick / "text.jpg"
    bad.write_text("no picture")
    out = tmp_path / "run"
    refused(here(*training(mixed, out)), bad, "not a readable picture", "remove it")
    assert not out.exists()
    bad.unlink()
    status, printed, err = here(*training(mixed, out, "--epochs", 2))
    facts = the_object(printed)
    assert status == 0 and (facts["train"], facts["n"], facts["classes"]) == (12, 4, 2)
    assert "skipped 1 file that is not a picture" in err


def test_a_flat_folder_is_evaluated_on_the_split_that_it_was_trained_with(folder, tmp_path):
    flat = folder / "train"
    for seed in (0, 3):
        out = tmp_path / str(seed)
        facts = the_object(here(*training(flat, out, "--epochs", 2, "--seed", seed))[1])
        assert (facts["train"], facts["n"]) == (39, 9)  # round(16 / 5) = 3 a class
        again = the_object(here("transfer", "eval", "--weights", out, "--data", f"folder:{flat}", "--json")[1])
        assert (again["accuracy"], again["loss"]) == pytest.approx((facts["accuracy"], facts["loss"]), rel=1e-6)


def test_what_train_refuses_before_any_work(trained, folder, tmp_path):
    out = trained[0]
    before = (out / "last.safetensors").read_bytes()
    refused(here(*training(folder, out)), out / "last.safetensors", "--resume")
    assert (out / "last.safetensors").read_bytes() == before
    refused(here(*training(tmp_path / "nowhere", tmp_path / "x")), "there is no folder", tmp_path / "nowhere")
    refused(here(*training(folder, tmp_path / "x", "--freeze", "most")), "--freeze most", "base, half, none")
    refused(here(*training(folder, tmp_path / "x", "--backbone", "efficientnet_lite9")), "efficientnet_lite9")
    refused(here(*training(folder, tmp_path / "x", "--no-pretrained")), "--freeze none")
    refused(here(*training(folder, tmp_path / "x", "--precision", "fp16")), "fp16 needs a GPU")
    refused(here(*training(folder, tmp_path / "x", "--device", "abacus")), "'abacus'")
    refused(here("transfer", "train", "--data", "tsv:x"), "tsv:x", "folder:PATH")
    refused(here(*training(folder, tmp_path / "x", "--only-33")), "33 of 33 are missing", CLASSES[0])
    file = tmp_path / "file"
    file.touch()
    refused(here(*training(folder, file / "x")), file, "is a file")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_out_is_refused_before_any_work(folder, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    refused(here(*training(folder, closed / "run")), "no permission", closed)


def test_weights_that_are_none(trained, folder, tmp_path):
    data = f"folder:{folder}"
    refused(here("transfer", "eval", "--weights", tmp_path, "--data", data), tmp_path / "model.safetensors")
    checkpoint.save(tmp_path / "model.safetensors", {"config": {"words": 3}, "model": {}})
    refused(here("transfer", "eval", "--weights", tmp_path, "--data", data), "no picture classifier")
    (tmp_path / "model.safetensors").write_bytes((trained[0] / "model.safetensors").read_bytes()[:1_000_000])
    refused(here("transfer", "eval", "--weights", tmp_path, "--data", data), "model.safetensors", "truncated")
    crops(tmp_path / "other", ("brick", "gravel"), 2, 1)
    other = f"folder:{tmp_path / 'other'}"
    refused(here("transfer", "eval", "--weights", trained[0], "--data", other), "brick, coffee, grass", "gravel")
    refused(here("transfer", "eval", "--weights", trained[0], "--data", data, "--split", "test"), "test")
    refused(here("transfer", "eval", "--weights", trained[0], "--data", data, "--split", "all"), "--split all")


def test_a_rate_that_breaks_the_weights_ends_in_one_line(folder, tmp_path):
    out = tmp_path / "run"
    line = refused(here(*training(folder, out, "--freeze", "none", "--epochs", 2, "--lr", 1e9)), "NaN or infinite")
    assert "lower the learning rate" in line and not (out / "model.safetensors").exists()


def test_a_full_disk_loses_nothing(folder, trained, tmp_path):
    """The limit on the size of a file makes the kernel refuse the write, as a full disk would."""
    out = tmp_path / "run"
    here(*training(folder, out, "--epochs", 2))
    model = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # the model has 14 MB, the states of the head less
    try:
        refused(here(*training(folder, out, "--epochs", 2, "--resume")), out / "model.safetensors", "free some space")
        refused(here(*training(folder, tmp_path / "new", "--epochs", 2)), tmp_path / "new", "untouched")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    status, _, _ = here(*training(folder, out, "--epochs", 2, "--resume"))  # with room again, it goes on
    assert status == 0 and (out / "model.safetensors").read_bytes() == model


def test_resume_refuses_other_settings_and_damaged_checkpoints(trained, folder, tmp_path):
    out = tmp_path / "run"
    here(*training(folder, out, "--epochs", 2))
    refused(here(*training(folder, out, "--epochs", 3, "--resume")), "epochs 2, not 3", "last.safetensors")
    refused(here(*training(folder, out, "--epochs", 2, "--resume", "--seed", 1)), "seed 0, not 1")
    again = the_object(here(*training(folder, out, "--epochs", 2, "--resume"))[1])  # a finished run stays as it is
    assert again["resumed_from"] == {"epoch": 2, "step": 0} and again["epochs"] == 2
    last = out / "last.safetensors"
    whole = last.read_bytes()
    for cut in (0, 5, 1000, len(whole) - 1):
        last.write_bytes(whole[:cut])
        refused(here(*training(folder, out, "--epochs", 2, "--resume")), last, "delete it")


FULL = ("--freeze", "none", "--epochs", 3)


def test_killed_and_resumed_equals_never_stopped(folder, tmp_path):
    """Everything trained, with augmentation: kill -9 in the second epoch, go on in a new process, same bytes."""
    status, out, err = shell(*training(folder, tmp_path / "whole", *FULL))
    facts = the_object(out)
    assert status == 0 and facts["accuracy"] >= 0.8 and facts["epochs"] == 3 and facts["n"] == 24
    lines = err.strip().split("\n")
    assert lines[0].startswith("48 pictures to train on") and lines[-1].startswith("epoch 3, ") and len(lines) == 4

    with subprocess.Popen(
        command(*training(folder, tmp_path / "cut", *FULL)),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch 1"):
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL and process.stdout.read() == ""
    assert not (tmp_path / "cut" / "model.safetensors").exists()

    status, out, err = shell(*training(folder, tmp_path / "cut", *FULL, "--resume"))
    resumed = the_object(out)
    assert status == 0 and resumed["resumed_from"]["epoch"] in (1, 2), err
    assert [resumed[k] for k in ("accuracy", "loss", "epochs", "best_epoch")] == [
        facts[k] for k in ("accuracy", "loss", "epochs", "best_epoch")
    ]
    for name in ("model", "last", "best"):
        a, b = (tmp_path / run / f"{name}.safetensors" for run in ("whole", "cut"))
        assert a.read_bytes() == b.read_bytes(), name


def test_two_processes_give_the_same_and_speak_once(folder, trained, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    status, out, err = shell(*training(folder, tmp_path / "two", "--epochs", 8), launcher=launcher)
    assert status == 0, err
    facts, one = the_object(out), trained[1]
    assert [facts[k] for k in ("accuracy", "n", "train", "epochs", "best_epoch")] == [
        one[k] for k in ("accuracy", "n", "train", "epochs", "best_epoch")
    ]
    assert facts["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert err.count("pictures to train on") == 1 and err.count("epoch 8, ") == 1
    for name, value in weights(trained[0]).items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------ experiments


def test_experiment_lists_refuses_and_reports(tmp_path, monkeypatch):
    from helpers.course import experiments

    status, out, _ = here("experiment", "list", "--json")
    assert status == 0 and the_object(out).keys() == experiments.experiments().keys()
    assert here("experiment", "list")[1].count("\n") == len(experiments.experiments())
    refused(here("experiment", "nonsense"), "'nonsense'", "transfer-leaves")
    refused(here("experiment", "transfer-leaves", "--scale", "huge"), "'huge'", "tiny, small, full")
    monkeypatch.setattr(experiments, "arms", lambda name, scale: {"arm": lambda seed: {"accuracy": seed / 4}})
    run = ("experiment", "transfer-leaves", "--scale", "tiny", "--folder", tmp_path, "--seeds", 2, "--json")
    for _ in range(2):  # the second time nothing is left to do
        status, out, _ = here(*run)
        facts = the_object(out)
        assert status == 0 and facts["runs"] == 2 and facts["name"] == "transfer-leaves" and facts["scale"] == "tiny"
    refused(here(*run[:2], "--scale", "small", "--folder", tmp_path), "measured at scale tiny")

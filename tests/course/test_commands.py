"""What all commands share, and above all `train`: killed, stopped, resumed, on a full disk, by two processes."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_train
import torch
import typer
from command_line import ENVIRONMENT, ROOT, TWO, here, options, refused, shell, the_object, wrong_option

from helpers.course import checkpoint, devices, experiments
from helpers.course import commands as cli
from helpers.course.errors import UserError

PAUSE = ("--epochs", 12, "--pause", 0.03)  # 5 steps an epoch: slow enough to be stopped in the middle


def train(out, *more):
    return here("train", "--out", out, "--json", *more, app=tiny_train.app)


def files(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name != "metrics.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the answer of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = train(out, *PAUSE)
    assert done.exit_code == 0, done.output
    return out, the_object(done.stdout)


# ------------------------------------------------------------------ the answer


def test_the_answer_is_one_object_and_metrics_tell_how_it_was_made(whole):
    out, facts = whole
    assert facts["n"] == 20 and facts["epochs"] == 12 and facts["accuracy"] >= 0.6 and facts["seconds"] > 0
    assert facts["resumed_from"] is None and facts["stopped_early"] is False and facts["weights"] == str(out)
    names = {"metrics.json", *(f"{name}.safetensors" for name in ("model", "last", "best"))}
    assert {p.name for p in out.iterdir()} == names
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["command"].startswith("python -m helpers") and metrics["seed"] == 0 and len(metrics["date"]) == 10
    assert metrics["versions"]["torch"] and len(metrics["history"]) == 12 and facts.items() <= metrics.items()
    best = min(metrics["history"], key=lambda entry: entry["valid_loss"])
    assert best["epoch"] == facts["best_epoch"] and best["valid_loss"] == pytest.approx(facts["loss"], rel=1e-5)


def test_without_json_it_is_a_sentence(tmp_path):
    done = here("train", "--out", tmp_path / "run", "--epochs", 1, app=tiny_train.app)
    assert done.exit_code == 0 and done.stdout.startswith("accuracy 0.") and done.stdout.count("\n") == 1
    assert done.stdout.endswith(f" on 20 points; the model lies in {tmp_path / 'run'}\n")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_null(tmp_path, value):
    facts = the_object(train(tmp_path, "--epochs", 1, "--score", value).stdout)
    text = (tmp_path / "metrics.json").read_text()
    assert facts["accuracy"] is None and json.loads(text, parse_constant=pytest.fail)["accuracy"] is None


def test_json_is_strict_at_any_depth():
    nan, path = float("nan"), Path("a")
    tree = {"a": [1, nan, {"b": (nan, 2.5)}], "text": "NaN é", "path": path, "none": None, "yes": True}
    plain = {"a": [1, None, {"b": [None, 2.5]}], "text": "NaN é", "path": "a", "none": None, "yes": True}
    assert json.loads(cli.to_json(tree), parse_constant=pytest.fail) == plain and "é" in cli.to_json(tree)


# ------------------------------------------------------------------ stopped and resumed


@pytest.mark.parametrize("sent, status", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_and_resumed_equals_never_stopped(whole, tmp_path, sent, status):
    """kill -9, or Ctrl-C, after the second epoch; go on in this process: the same bytes."""
    words = ["train", "--out", tmp_path / "cut", "--json", *PAUSE]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.tiny_train", *map(str, words)],
        cwd=ROOT,
        env=ENVIRONMENT | {"OMP_NUM_THREADS": str(torch.get_num_threads())},  # sums in the same order as here
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch 2"):
                process.send_signal(sent)
        assert process.wait() == status and process.stdout.read() == ""
    if sent == signal.SIGINT:
        assert line == "stopped; go on with --resume\n"
    assert not (tmp_path / "cut" / "model.safetensors").exists()

    done = here(*words, "--resume", app=tiny_train.app)
    resumed = the_object(done.stdout)
    assert done.exit_code == 0 and 2 <= resumed["resumed_from"]["epoch"] <= 11, done.stderr
    for name in ("accuracy", "loss", "epochs", "best_epoch"):
        assert resumed[name] == whole[1][name], name
    assert files(tmp_path / "cut") == files(whole[0])


def test_a_run_is_not_written_over(whole):
    out, facts = whole
    before = files(out)
    line = refused(train(out, *PAUSE), out / "last.safetensors", "--resume")
    assert line.startswith(f"error: {out / 'last.safetensors'} exists: ") and files(out) == before
    again = the_object(train(out, *PAUSE, "--resume").stdout)  # a finished run stays as it is
    assert again["resumed_from"] == {"epoch": 12, "step": 0} and again["epochs"] == 12 and files(out) == before


def test_resume_refuses_other_settings_and_damaged_checkpoints(tmp_path):
    out = tmp_path / "run"
    train(out, "--epochs", 2)
    refused(train(out, "--epochs", 3, "--resume"), "epochs 2, not 3", "last.safetensors")
    refused(train(out, "--epochs", 2, "--resume", "--seed", 1), "seed 0, not 1")
    last = out / "last.safetensors"
    bytes_ = last.read_bytes()
    for cut in (0, 5, 1000, len(bytes_) - 1):
        last.write_bytes(bytes_[:cut])
        refused(train(out, "--epochs", 2, "--resume"), last, "delete it")


def test_a_rate_that_breaks_the_weights_ends_in_one_line(tmp_path):
    line = refused(train(tmp_path / "run", "--lr", 1e38), "NaN or infinite")
    assert "lower the learning rate" in line and not (tmp_path / "run" / "model.safetensors").exists()


# ------------------------------------------------------------------ several processes


def test_two_processes_give_the_same_and_speak_once(tmp_path):
    """Without dropout and noise, of which each process draws its own."""
    words = ("--epochs", 12, "--plain")
    one = the_object(train(tmp_path / "one", *words).stdout)
    done = shell("train", "--out", tmp_path / "two", "--json", *words, module="tests.tiny_train", launcher=TWO)
    assert done.returncode == 0, done.stderr
    facts = the_object(done.stdout)
    for name in ("accuracy", "n", "epochs", "best_epoch"):
        assert facts[name] == one[name], name
    assert facts["loss"] == pytest.approx(one["loss"], rel=1e-3)
    a, b = (checkpoint.load(tmp_path / run / "model.safetensors")["model"] for run in ("one", "two"))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-5)
    assert done.stderr.count("100 points") == 1 and done.stderr.count("epoch 12, ") == 1
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert facts.items() <= metrics.items() and len(metrics["history"]) == 12
    assert checkpoint.load(tmp_path / "two" / "model.safetensors")["config"] == {"seed": 0}


def test_only_the_first_of_several_processes_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    cli.note("progress")
    cli.answer({"a": 1}, True, "text")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    cli.note("progress")
    cli.answer({"a": 1}, True, "text")
    assert capsys.readouterr() == ('{"a": 1}\n', "progress\n")


# ------------------------------------------------------------------ refused before any work


def refused_at_once(done, *words):
    """Refused, and before `run` was called."""
    refused(done, *words)
    assert done.stderr.count("\n") == 1


def test_what_train_refuses_before_any_work(tmp_path):
    refused_at_once(train(tmp_path / "x", "--precision", "fp16"), "fp16 needs a GPU")
    refused_at_once(train(tmp_path / "x", "--device", "abacus"), "'abacus'")
    refused_at_once(train(tmp_path / "x", "--device", "cuda:99"), "cuda:99")
    wrong_option(train(tmp_path / "x", "--precision", "half"), "--precision", "'half'", "'bf16'")
    wrong_option(train(tmp_path / "x", "--lr", "nan"), "--lr", "positive number; got nan")
    (tmp_path / "file").touch()
    refused_at_once(train(tmp_path / "file" / "x"), tmp_path / "file", "is a file")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_out_is_refused_before_any_work(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    refused_at_once(train(closed / "run"), "no permission", closed)


def test_a_read_only_out_is_refused_for_root_too(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.os, "access", lambda *_: False)
    refused_at_once(train(tmp_path / "run"), "no permission", tmp_path)


def test_a_full_disk_loses_nothing(tmp_path):
    """The limit on the size of a file makes the kernel refuse the write, as a full disk would."""
    out = tmp_path / "run"
    train(out)
    model = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # the model has 137 kB, the states of the head less
    try:
        refused(train(out, "--resume"), out / "model.safetensors", "free some space")
        refused(train(tmp_path / "new"), tmp_path / "new", "untouched")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        refused(train(tmp_path / "newer"), tmp_path / "newer", "free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    done = train(out, "--resume")  # with room again, it goes on
    assert done.exit_code == 0 and (out / "model.safetensors").read_bytes() == model


# ------------------------------------------------------------------ errors and options


def test_an_error_of_the_user_is_one_line_and_status_2_and_a_bug_is_not_hidden(capsys):
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


def test_data_arguments():
    kinds = {"folder": "folder:PATH", "leaves": "leaves"}
    assert cli.kind_and_path("leaves", kinds) == ("leaves", "")
    assert cli.kind_and_path("folder:a:b c", kinds) == ("folder", "a:b c")
    assert cli.kind_and_path("folder:~/x", kinds) == ("folder", str(Path.home() / "x"))
    for bad, words in (
        ("folder", "needs a path"),
        ("folder:", "needs a path"),
        ("leaves:x", "takes no path"),
        ("/tmp", "must be one of folder:PATH, leaves; got '/tmp'"),
    ):
        with pytest.raises(UserError, match=words):
            cli.kind_and_path(bad, kinds)


def test_the_choices_are_those_of_the_course():
    from helpers.course.cli import experiment

    assert options(experiment)["scale"] == list(experiments.SCALES)
    with pytest.raises(UserError, match=", ".join(options(tiny_train.train)["precision"])):
        devices.engine("cpu", "int4")

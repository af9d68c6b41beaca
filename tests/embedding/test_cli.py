"""`python -m helpers autoencoder train`, as a reader runs it: digits in, a model and one JSON object out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.embedding import autoencoder
from helpers.embedding.train import splits

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def arguments(out, *more):
    return [
        "autoencoder",
        "train",
        "--data",
        "digits",
        "--kind",
        "dense",
        "--latent",
        "4",
        "--batch-size",
        "128",
        "--device",
        "cpu",
        "--out",
        str(out),
        *map(str, more),
    ]


def here(*words):
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "120"})


def the_object(text):
    return json.loads(text.strip().split("\n")[-1])


def command(*words, launcher=()):
    return [sys.executable, *launcher, "-m", "helpers", *words]


def shell(*words, launcher=()):
    return subprocess.run(
        command(*words, launcher=launcher), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def weights(out):
    return autoencoder.load(out / "model.safetensors").state_dict()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder and the answer of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = here(*arguments(out, "--epochs", 6, "--lr", 3e-3, "--seed", 2, "--json"))
    assert done.exit_code == 0, done.output
    return out, the_object(done.stdout)


def test_train_answers_with_one_object_and_a_model_that_gives_that_error(trained):
    out, facts = trained
    assert facts["n"] == 179 and facts["epochs"] == 6 and facts["resumed_from"] is None and facts["seconds"] > 0
    assert 0 <= facts["knn"] <= 1 and facts["error"] < facts["mean_error"] and facts["pca_error"] < facts["mean_error"]
    test = splits("digits", 2)["test"][0]
    with torch.no_grad():
        model = autoencoder.load(out / "model.safetensors")
        error = (model(test).sigmoid() - test).square().flatten(1).sum(1).mean().item()
    assert facts["error"] == pytest.approx(error, rel=1e-5)
    assert json.loads((out / "metrics.json").read_text()) == facts


def test_without_json_it_is_a_sentence(tmp_path):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, "--kind", "linear"))
    assert done.exit_code == 0 and done.stdout.count("\n") == 1
    assert done.stdout.startswith("squared error ") and "179 test pictures" in done.stdout


def test_noise_and_loss_reach_the_model(tmp_path):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, "--noise", 0.3, "--loss", "mse", "--json"))
    facts = the_object(done.stdout)
    assert facts["noise"] == 0.3 and facts["loss"] == "mse"
    assert autoencoder.load(tmp_path / "run" / "model.safetensors").loss == "mse"


@pytest.mark.parametrize(
    "more, words",
    [
        (("--data", "nonsense"), "'nonsense'"),
        (("--kind", "deep"), "'deep'"),
        (("--loss", "mae"), "'mae'"),
        (("--noise", "-1"), "--noise"),
        (("--noise", "nan"), "--noise"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, more, words):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, *more))
    assert done.exit_code == 2 and done.stdout == "", done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_written_over_and_a_broken_one_is_named(trained, tmp_path):
    out, _ = trained
    before = (out / "model.safetensors").read_bytes()
    done = here(*arguments(out, "--epochs", 6))
    assert done.exit_code == 2 and "--resume" in done.stderr and (out / "model.safetensors").read_bytes() == before
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "last.safetensors").write_bytes((out / "last.safetensors").read_bytes()[:1000])
    done = here(*arguments(tmp_path / "cut", "--epochs", 6, "--lr", 3e-3, "--seed", 2, "--resume"))
    assert done.exit_code == 2 and "last.safetensors" in done.stderr and done.stderr.count("\n") == 1
    done = here(*arguments(out, "--latent", 5, "--epochs", 6, "--resume"))
    assert done.exit_code == 2 and "latent 4, not 5" in done.stderr


def test_killed_and_resumed_equals_never_stopped(trained, tmp_path):
    """kill -9 after the second epoch, go on in another process: the same bytes."""
    out, whole = trained
    words = arguments(tmp_path / "cut", "--epochs", 6, "--lr", 3e-3, "--seed", 2, "--json")
    with subprocess.Popen(
        command(*words), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch 2"):
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL and process.stdout.read() == ""
    done = here(*words, "--resume")
    resumed = the_object(done.stdout)
    assert done.exit_code == 0 and 2 <= resumed["resumed_from"]["epoch"] <= 5, done.output
    assert resumed["epochs"] == 6 and resumed["error"] == pytest.approx(whole["error"], rel=1e-4)
    for name, value in weights(out).items():
        torch.testing.assert_close(weights(tmp_path / "cut")[name], value, rtol=1e-3, atol=1e-5)


def test_two_processes_give_the_same_and_speak_once(trained, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = shell(*arguments(tmp_path / "two", "--epochs", 6, "--lr", 3e-3, "--seed", 2, "--json"), launcher=launcher)
    assert done.returncode == 0, done.stderr
    facts, (out, one) = the_object(done.stdout), trained
    assert done.stdout.count("\n") == 1 and done.stderr.count("epoch 6, ") == 1
    assert facts["n"] == one["n"] and facts["error"] == pytest.approx(one["error"], rel=1e-3)
    for name, value in weights(out).items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-2, atol=1e-3)

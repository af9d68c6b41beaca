"""`python -m helpers autoencoder train | map`, as a reader runs it: digits in, a model or a map and one object out."""

import json

import pytest
import torch
from command_line import here, refused, stopped, the_object

from helpers.embedding import autoencoder, places
from helpers.embedding.train import splits


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
    metrics = json.loads((out / "metrics.json").read_text())
    assert facts.items() <= metrics.items() and len(metrics["history"]) == 6 and metrics["versions"]["torch"]


def test_without_json_it_is_a_sentence(tmp_path):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, "--kind", "linear"))
    assert done.exit_code == 0 and done.stdout.count("\n") == 1
    assert done.stdout.startswith("squared error ") and "179 test pictures" in done.stdout


def test_noise_and_loss_reach_the_model(tmp_path):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, "--noise", 0.3, "--loss", "mse", "--json"))
    facts = the_object(done.stdout)
    assert facts["noise"] == 0.3 and facts["loss"] == "mse"
    assert autoencoder.load(tmp_path / "run" / "model.safetensors").loss == "mse"


def test_half_stores_16_bits_and_reports_what_they_give(tmp_path):
    facts = the_object(here(*arguments(tmp_path / "run", "--epochs", 1, "--half", "--json")).stdout)
    path = tmp_path / "run" / "model.safetensors"
    model = autoencoder.load(path)
    assert all(torch.equal(x, x.half().float()) for x in model.state_dict().values())
    numbers = sum(x.numel() for x in model.state_dict().values())
    assert path.stat().st_size < 2 * numbers + 5000
    test = splits("digits", 0)["test"][0]
    error = (autoencoder.reconstruct(model, test) - test).square().flatten(1).sum(1).mean().item()
    assert facts["error"] == pytest.approx(error, rel=1e-5)


def test_a_map_of_the_codes_and_its_error(trained):
    out, _ = trained
    words = ["autoencoder", "map", "--weights", out, "--data", "digits", "--seed", 2, "--steps", 60]
    facts = the_object(here(*words, "--json").stdout)
    model, atlas = autoencoder.load(out / "model.safetensors"), places.load(out / "map.safetensors")
    (x, labels), _ = places.unseen("digits", 2)
    assert facts["n"] == len(x) == 348 and torch.equal(atlas.labels, labels)
    assert atlas.codes == pytest.approx(autoencoder.encode(model, x), rel=1e-3, abs=1e-3)  # 16 bits a number
    far = places.errors(atlas, places.shuffled(atlas)).distance.mean().item()
    assert 0 < facts["error"] < far / 2 and 0.2 < facts["own"] <= 1
    assert here(*words).stdout.startswith("a map of 348 pictures; left out and placed again, ")
    refused(here(*words[:4], "--data", "mnist5k"), "--data mnist5k has [1, 28, 28]")
    refused(here(*words[:3], out / "nowhere"), "there is no checkpoint")


@pytest.mark.parametrize(
    "more, words",
    [(("--noise", "-1"), "--noise"), (("--noise", "nan"), "--noise"), (("--device", "cuda:99"), "cuda:99")],
)
def test_bad_input_ends_in_one_line(tmp_path, more, words):
    done = here(*arguments(tmp_path / "run", "--epochs", 1, *more))
    assert done.exit_code == 2 and done.stdout == "", done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_resume_with_other_settings_is_refused(trained):
    refused(here(*arguments(trained[0], "--latent", 5, "--epochs", 6, "--resume")), "latent 4, not 5")


def test_stopped_and_resumed_equals_never_stopped(trained, tmp_path, monkeypatch):
    out, whole = trained
    words = arguments(tmp_path / "cut", "--epochs", 6, "--lr", 3e-3, "--seed", 2, "--json")
    stopped(monkeypatch, 2, *words)
    resumed = the_object(here(*words, "--resume").stdout)
    assert resumed["resumed_from"] == {"epoch": 2, "step": 0}
    assert resumed["epochs"] == 6 and resumed["error"] == whole["error"]
    for name, value in weights(out).items():
        assert torch.equal(weights(tmp_path / "cut")[name], value), name

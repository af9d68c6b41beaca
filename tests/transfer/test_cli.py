"""`python -m helpers transfer ...`, as a reader runs it: class folders in, a classifier and one JSON object out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import here as run
from command_line import refused, stopped, the_object
from PIL import Image

from helpers.course import checkpoint
from helpers.data.leaves.rendering import CLASSES
from helpers.data.sets import photographs


def here(*words):
    """A command in this process: (status, stdout, stderr)."""
    done = run(*words)
    return done.exit_code, done.stdout, done.stderr


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
    refused(run("transfer", "predict", files[0], bad, "--weights", out, "--json"), bad, "not a readable picture")
    refused(run("transfer", "predict", tmp_path / "no.jpg", "--weights", out), "there is no picture", "no.jpg")


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
    refused(run(*training(mixed, out)), bad, "not a readable picture", "remove it")
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
    refused(run(*training(folder, out)), out / "last.safetensors", "--resume")
    assert (out / "last.safetensors").read_bytes() == before
    refused(run(*training(tmp_path / "nowhere", tmp_path / "x")), "there is no folder", tmp_path / "nowhere")
    refused(run(*training(folder, tmp_path / "x", "--backbone", "efficientnet_lite9")), "efficientnet_lite9")
    refused(run(*training(folder, tmp_path / "x", "--no-pretrained")), "--freeze none")
    refused(run("transfer", "train", "--data", "tsv:x"), "tsv:x", "folder:PATH")
    refused(run(*training(folder, tmp_path / "x", "--only-33")), "33 of 33 are missing", CLASSES[0])
    assert not (tmp_path / "x").exists()


def test_weights_that_are_none(trained, folder, tmp_path):
    data = f"folder:{folder}"
    refused(run("transfer", "eval", "--weights", tmp_path, "--data", data), tmp_path / "model.safetensors")
    checkpoint.save(tmp_path / "model.safetensors", {"config": {"words": 3}, "model": {}})
    refused(run("transfer", "eval", "--weights", tmp_path, "--data", data), "does not hold a picture classifier")
    (tmp_path / "model.safetensors").write_bytes((trained[0] / "model.safetensors").read_bytes()[:1_000_000])
    refused(run("transfer", "eval", "--weights", tmp_path, "--data", data), "model.safetensors", "truncated")
    crops(tmp_path / "other", ("brick", "gravel"), 2, 1)
    other = f"folder:{tmp_path / 'other'}"
    refused(run("transfer", "eval", "--weights", trained[0], "--data", other), "brick, coffee, grass", "gravel")
    refused(run("transfer", "eval", "--weights", trained[0], "--data", data, "--split", "test"), "test")


def test_a_rate_that_breaks_the_weights_ends_in_one_line(folder, tmp_path):
    out = tmp_path / "run"
    line = refused(run(*training(folder, out, "--freeze", "none", "--epochs", 2, "--lr", 1e9)), "NaN or infinite")
    assert "lower the learning rate" in line and not (out / "model.safetensors").exists()


FULL = ("--freeze", "none", "--epochs", 3)


def test_stopped_and_resumed_equals_never_stopped(folder, tmp_path, monkeypatch):
    """Everything trained, with augmentation, stopped after the first epoch: the same bytes."""
    done = run(*training(folder, tmp_path / "whole", *FULL))
    facts, lines = the_object(done.stdout), done.stderr.strip().split("\n")
    assert facts["accuracy"] >= 0.8 and facts["epochs"] == 3 and facts["n"] == 24
    assert lines[0].startswith("48 pictures to train on") and lines[-1].startswith("epoch 3, ") and len(lines) == 4
    stopped(monkeypatch, 1, *training(folder, tmp_path / "cut", *FULL))
    resumed = the_object(run(*training(folder, tmp_path / "cut", *FULL, "--resume")).stdout)
    assert resumed["resumed_from"] == {"epoch": 1, "step": 0}
    for name in ("accuracy", "loss", "epochs", "best_epoch"):
        assert resumed[name] == facts[name], name
    for name in ("model", "last", "best"):
        a, b = (tmp_path / place / f"{name}.safetensors" for place in ("whole", "cut"))
        assert a.read_bytes() == b.read_bytes(), name

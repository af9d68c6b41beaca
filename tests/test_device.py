"""On a device of its own, as a GPU is one: nothing mixes, and the results are the CPU's (tests/pretended_device.py)."""

import json
import os

import numpy as np
import pytest
import torch
from full_scale import voc_layout
from PIL import Image
from pretended_device import DEVICE, engine_on_it, pretended, there
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.augmentation import transforms as A
from helpers.course import devices, evaluation, training
from helpers.course.augment import flip_and_shift
from helpers.course.batches import Tensors
from helpers.embedding import scores as embedding
from helpers.embedding import tsne
from helpers.yolo import model as yolo_model
from helpers.yolo import v1 as yolo_v1
from helpers.yolo.detect import detect_batch


@pytest.fixture
def device(monkeypatch):
    """The pretended device, and an engine that takes it."""
    for module in (training, evaluation):
        monkeypatch.setattr(module, "engine", engine_on_it(devices.engine))
    with pretended():
        yield DEVICE


def test_a_tensor_stays_where_it_was_sent(device):
    x = torch.arange(6.0).view(2, 3).to(device)
    assert x.device == x[0].device == x.sum().device == torch.zeros_like(x).device == x.new_ones(2).device == device
    assert x.to(device) is x and x.cpu().device.type == "cpu" == torch.ones(2).device.type
    assert F.one_hot(x.long(), 6).device == device and torch.ones(2, device=device).mean().device == device
    assert (x * torch.tensor(2.0)).device == device and x[torch.tensor([True, False])].device == device
    x.cpu().fill_(7)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]  # a copy is a copy


@pytest.mark.parametrize(
    "fault",
    [
        lambda x, y: x + y,
        lambda x, y: y @ x,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: y[x[:2, 0].long()],
        lambda x, y: F.linear(x, y),
        lambda x, y: F.cross_entropy(x, y[:, 0].long()),
        lambda x, y: y.add_(x),
    ],
)
def test_what_mixes_devices_fails(device, fault):
    with pytest.raises(RuntimeError, match="same device"):
        fault(torch.eye(3).to(device), torch.eye(3))
    fault(torch.eye(3), torch.eye(3))  # the device was the fault


@pytest.mark.parametrize("fault", [lambda x: x.numpy(), np.asarray, lambda x: x.detach().numpy()])
def test_numpy_does_not_read_the_device(device, fault):
    with pytest.raises(TypeError, match="numpy"):
        fault(torch.ones(3).to(device))
    fault(torch.ones(3).to(device).cpu())


def test_what_was_asked_for_counts_more_than_the_environment(monkeypatch):
    for name, value in (("ACCELERATE_USE_CPU", "true"), ("ACCELERATE_TORCH_DEVICE", "cpu")):
        monkeypatch.setenv(name, value)
        assert devices.engine().device.type == "cpu" and os.environ[name] == value
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")  # a device that is always there
    assert devices.engine(precision="no").device.type == "meta"
    assert devices.engine("cpu").device.type == "cpu" and os.environ["ACCELERATE_TORCH_DEVICE"] == "meta"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert devices.engine().device.type == "cpu" and os.environ["ACCELERATE_TORCH_DEVICE"] == "meta"


def step(model, batch):
    x, y = batch
    return {"loss": F.cross_entropy(model(x), y, reduction="sum"), "accuracy": (model(x).argmax(1) == y).sum()}


def trained(epochs=4, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(50, 4)
    data, held = Tensors(x, x[:, :3].argmax(1)), Tensors(x[:20], x[:20, :3].argmax(1))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    result = training.fit(
        model,
        data,
        held,
        step=step,
        optimizer=optimizer,
        epochs=epochs,
        precision="no",
        seed=3,
        keep="best",
        clip=1.0,
        **options,
    )
    return model, result, training.evaluate(model, held, step=step), training.predict(model, x)


def test_training_gives_what_the_cpu_gives_and_the_model_comes_back(device):
    model, result, scores, outputs = trained()
    assert not any(there(t) for t in [*model.parameters(), outputs])
    on_cpu = trained(device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), on_cpu[0].state_dict().values()))
    assert scores == on_cpu[2] and torch.equal(outputs, on_cpu[3])
    for a, b in zip(result.history, on_cpu[1].history, strict=True):
        assert a == pytest.approx(b, rel=1e-6)  # sums in 32 bits there, in 64 here


def test_the_model_comes_back_after_a_fault(device):
    model = nn.Linear(2, 2)

    def broken(model, batch):
        raise ValueError("broken")

    data = Tensors(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
    for call in (
        lambda: training.evaluate(model, data, step=broken),
        lambda: training.predict(model, data, forward=lambda x: broken(model, x)),
        lambda: training.fit(model, data, step=broken, optimizer=torch.optim.SGD(model.parameters(), 0.1), epochs=1),
    ):
        with pytest.raises(ValueError, match="broken"):
            call()
        assert not there(model.weight)


def test_a_run_that_was_saved_goes_on(device, tmp_path):
    trained(epochs=2, out=tmp_path)
    model, result, *_ = trained(out=tmp_path, resume=True)
    assert result.resumed_from["epoch"] == 2 and len(result.history) == 4
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained()[0].state_dict().values()))


AUGMENTS = {
    "crop": A.RandomCrop(16, padding=2),
    "flip": A.RandomFlip(0.5),
    "affine": A.RandomAffine(10, 0.1, (0.9, 1.1), 5),
    "jitter": A.ColorJitter(0.3, 0.3, 0.3, 0.1),
    "erasing": A.RandomErasing(0.5),
    "mixup": A.MixUp(3, alpha=0.4),
    "cutmix": A.CutMix(3, alpha=1.0),
    "both": A.Compose(A.RandomFlip(0.5), A.RandomCrop(16, padding=2)),
    "lecture 06": flip_and_shift,
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_augmentation_draws_the_same_on_the_device(device, name):
    x = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    y = torch.arange(12) % 3
    there_, here = (AUGMENTS[name]((x.to(d), y.to(d)), torch.Generator().manual_seed(2)) for d in (device, "cpu"))
    assert all(there(t) for t in there_) and not any(there(t) for t in here)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(there_, here))


def test_detectors_and_maps_compute_on_the_device(device):
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8).to(device)
    truth = torch.tensor([[[0.3, 0.4, 0.2, 0.2, 1.0], [0.7, 0.7, 0.3, 0.4, 0.0]]] * 2).to(device)
    images, truth = yolo_model.make_augment("both")((images, truth), torch.Generator().manual_seed(0))
    cfg = yolo_model.small_cfg(2, [[8.0, 8.0], [16.0, 16.0], [20.0, 30.0], [30.0, 20.0]], (64, 64), 2, (8, 16))
    model = yolo_model.new(cfg).to(device)
    for loss in ("v3", "ciou"):
        sums = yolo_model.make_step(loss, rescore=True)(model, (images, truth))
        sums["loss"].backward()
        assert all(there(part) for part in sums.values())
    assert not any(there(t) for one in detect_batch(model, images.cpu(), flip="both") for t in one.values())
    first = yolo_v1.network(side=4, classes=2).to(device)
    assert there(yolo_v1.make_step(side=4, classes=2)(first, (images, truth))["loss"])
    x = torch.randn(40, 5).to(device)
    y, _ = tsne.tsne(x, perplexity=5, n_iter=30)
    assert there(y) and 0 <= embedding.knn_accuracy(y, torch.arange(40) % 2) <= 1
    assert 0 <= embedding.trustworthiness(x, y) <= 1


def command(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--json"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_the_command_line_trains_and_answers_there(device, tmp_path):
    random = np.random.default_rng(0)
    for split, name, shade in ((s, n, v) for s in ("train", "val") for n, v in (("dark", 60), ("light", 190))):
        folder = tmp_path / "pictures" / split / name
        folder.mkdir(parents=True)
        for i in range(4):
            picture = random.integers(0, 60, (40, 40, 3)) + shade
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.png")
    picture = tmp_path / "pictures/val/dark/0.png"
    for freeze in ("base", "half"):
        out = tmp_path / freeze
        command(
            "transfer",
            "train",
            "--data",
            f"folder:{tmp_path / 'pictures'}",
            "--freeze",
            freeze,
            "--epochs",
            1,
            "--size",
            64,
            "--out",
            out,
        )
        assert command("transfer", "predict", "--weights", out, picture)["predictions"]
    boxes = voc_layout(tmp_path / "voc")
    command(
        "yolo", "train", "--data", f"voc:{boxes}", "--size", 96, "--epochs", 2, "--width", 2, "--out", tmp_path / "yolo"
    )
    command("yolo", "detect", "--weights", tmp_path / "yolo", picture)
    (tmp_path / "texts.tsv").write_text(
        "text\tlabel\n"
        + "".join(
            f"{word} film number {i % 7}\t{label}\n" for i in range(30) for word, label in (("good", 1), ("bad", 0))
        )
    )
    for model in ("lstm", "best", "class-ratio"):
        out = tmp_path / model
        options = ("--pretrain-epochs", 1) if model == "best" else ()
        command(
            "sentiment",
            "train",
            "--data",
            f"tsv:{tmp_path / 'texts.tsv'}",
            "--model",
            model,
            "--epochs",
            1,
            "--members",
            1,
            "--test-share",
            "0.2",
            *options,
            "--out",
            out,
        )
        assert command("sentiment", "predict", "--weights", out, "a good film")["predictions"]
    assert (
        command(
            "autoencoder", "train", "--data", "digits", "--kind", "conv", "--epochs", 1, "--out", tmp_path / "codes"
        )["error"]
        > 0
    )

"""A run killed, stopped, damaged and resumed; and which of its epochs is the best."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from blobs import blobs, net, run, same, step

from helpers.course import checkpoint, devices, training
from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import evaluate, fit

TESTS = str(Path(__file__).parents[1])


def test_step_lr_follows_its_closed_form_also_after_a_resume(tmp_path):
    def go(epochs, resume=False):
        model = net()
        opt = torch.optim.Adam(model.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.StepLR(opt, step_size=7, gamma=0.1)
        return fit(
            model,
            blobs(20),
            step=step,
            optimizer=opt,
            scheduler=schedule,
            epochs=epochs,
            device="cpu",
            out=tmp_path,
            resume=resume,
        )

    go(9)
    result = go(16, resume=True)
    assert result.resumed_from == {"epoch": 9, "step": 0}
    assert [e["lr"] for e in result.history] == pytest.approx([0.01 * 0.1 ** (e // 7) for e in range(16)], rel=1e-12)


def test_early_stop_and_best_weights_come_from_the_validation_set(tmp_path):
    data, valid = blobs(30), Tensors(torch.randn(40, 5), torch.arange(40) % 3)  # noise: validation gets worse
    model, result = run(data=data, valid=valid, epochs=60, patience=4, keep="best", out=tmp_path)
    assert result.stopped_early and result.epochs < 60
    losses = [e["valid_loss"] for e in result.history]
    assert result.best["valid_loss"] == min(losses) and result.epochs == losses.index(min(losses)) + 1 + 4
    assert evaluate(model, valid, step=step, device="cpu")["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_a_judge_decides_which_weights_are_the_best(tmp_path):
    """What is no sum over samples, as a mAP: it joins the history, some epochs only, and the larger wins."""
    marks, seen = {2: 0.3, 4: 0.9, 6: 0.5}, {}

    def judge(model, epoch):
        seen[epoch] = {k: v.clone() for k, v in model.state_dict().items()}
        return {"valid_map": marks[epoch]} if epoch in marks else None

    model, result = run(epochs=7, keep="best", monitor="valid_map", mode="max", judge=judge, out=tmp_path)
    assert [e.get("valid_map") for e in result.history] == [None, 0.3, None, 0.9, None, 0.5, None]
    assert result.best["epoch"] == 4 and all(torch.equal(v, seen[4][k]) for k, v in model.state_dict().items())


# ------------------------------------------------------------------ kill, resume, damage


WORKER = """
    import sys, time, torch
    sys.path.insert(0, {tests!r})
    from blobs import net, blobs, step
    from helpers.course.training import fit
    out, epochs, slow = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    model = net(dropout=0.3)
    opt = torch.optim.AdamW(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 4 * 15)
    def slowly(model, batch):
        time.sleep(slow)
        return step(model, batch)
    def augment(batch, generator):
        x, y = batch
        return x + 0.1 * torch.randn(x.shape, generator=generator), y
    result = fit(model, blobs(), blobs(31), step=slowly, optimizer=opt, scheduler=schedule, schedule_by="step",
                 epochs=epochs, batch_size=7, out=out, resume=True, augment=augment, save_seconds=0, look_every=1,
                 device="cpu", keep="best")
    print(result.resumed_from, result.history)
"""


def worker(out, epochs=4, slow=0.0, **kw):
    code = textwrap.dedent(WORKER.format(tests=TESTS))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(out), str(epochs), str(slow)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kw,
    )


def test_killed_and_resumed_in_a_new_process_equals_never_stopped(tmp_path):
    whole = worker(tmp_path / "whole")
    out, err = whole.communicate(timeout=120)
    assert whole.returncode == 0, err
    kills = 0
    while kills < 3:
        one = worker(tmp_path / "killed", slow=0.03)
        path, before = tmp_path / "killed" / "last.safetensors", None
        end = time.monotonic() + 60
        while time.monotonic() < end and one.poll() is None:  # let it save a few more times, then kill -9
            now = path.stat().st_mtime_ns if path.exists() else None
            before = now if before is None else before
            if now and now != before:
                time.sleep(0.25)
                break
            time.sleep(0.01)
        one.send_signal(signal.SIGKILL)
        one.communicate()
        kills += 1
    last = worker(tmp_path / "killed")
    resumed_out, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    assert resumed_out.startswith("{'epoch'") and not resumed_out.startswith("{'epoch': 4"), resumed_out
    assert resumed_out.split("}", 1)[1] == out.split("None", 1)[1]  # the whole history, to the last digit
    a, b = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "killed"))
    flat = []
    for tree in (a, b):
        tensors = {}
        flat.append((checkpoint._split(tree, "", tensors), tensors))
    assert flat[0][0] == flat[1][0]
    assert all(torch.equal(v, flat[1][1][k]) for k, v in flat[0][1].items()) and len(flat[0][1]) > 10


def test_interrupt_ends_between_steps_and_can_be_resumed(tmp_path):
    model, seen = net(), []

    def interrupting(model, batch):
        seen.append(1)
        if len(seen) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return step(model, batch)

    opt = torch.optim.Adam(model.parameters(), 0.01)
    with pytest.raises(KeyboardInterrupt):
        fit(model, blobs(), step=interrupting, optimizer=opt, epochs=3, batch_size=7, device="cpu", out=tmp_path)
    assert len(seen) == 20  # step 20 = the 5th of epoch 2 was finished
    again, result = run(net(), out=tmp_path, resume=True)
    assert result.resumed_from == {"epoch": 1, "step": 5}
    straight, _ = run(net())
    assert same(again, straight)


def test_a_finished_run_resumes_to_itself(tmp_path):
    first, a = run(out=tmp_path)
    second, b = run(out=tmp_path, resume=True)
    assert same(first, second) and a.history == b.history and b.resumed_from["epoch"] == 3


def test_an_existing_run_is_not_overwritten_and_settings_must_agree(tmp_path):
    run(out=tmp_path)
    with pytest.raises(UserError, match="--resume"):
        run(out=tmp_path)
    with pytest.raises(UserError, match="batch_size 7, not 8"):
        run(out=tmp_path, resume=True, batch_size=8)


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign", "empty"])
def test_a_damaged_checkpoint_ends_in_one_clear_line(tmp_path, damage):
    run(out=tmp_path)
    path = tmp_path / "last.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
    path.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "foreign": b"hello", "empty": b""}[damage])
    with pytest.raises(UserError, match="last.safetensors") as error:
        run(out=tmp_path, resume=True)
    assert "\n" not in str(error.value) and ("delete" in str(error.value))


def test_a_nan_names_its_step_and_keeps_the_good_state(tmp_path):
    data = blobs()
    run(data=data, out=tmp_path, epochs=1)
    good = (tmp_path / "last.safetensors").read_bytes()
    calls = []

    def broken(model, batch):
        calls.append(1)
        sums = step(model, batch)
        return sums | {"loss": sums["loss"] * (math.nan if len(calls) == 4 else 1)}

    model = net()
    with pytest.raises(UserError, match="step 4 of epoch 2.*lower the learning rate"):
        fit(
            model,
            data,
            step=broken,
            optimizer=torch.optim.Adam(model.parameters(), 0.01),
            epochs=2,
            batch_size=7,
            out=tmp_path,
            resume=True,
            device="cpu",
        )
    assert (tmp_path / "last.safetensors").read_bytes() == good


@pytest.mark.parametrize("mode, epoch", [("min", 3), ("max", 2)])
def test_the_mode_says_which_epoch_is_the_best(mode, epoch):
    """Also where the name of what is watched would suggest the other direction."""
    marks = {1: 0.5, 2: 0.9, 3: 0.1, 4: 0.5}

    def judge(model, epoch):
        return {"valid_loss": marks[epoch]}

    _, result = run(epochs=4, keep="best", monitor="valid_loss", mode=mode, judge=judge)
    assert result.best["epoch"] == epoch


def test_without_a_validation_set_the_last_weights_are_kept_and_none_is_the_best(tmp_path):
    _, result = run(out=tmp_path)
    assert result.best is None and [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


def test_the_model_comes_back_where_the_run_was_refused(tmp_path, monkeypatch):
    run(out=tmp_path)
    left, moved = [], devices.moved

    def watched(model, device):
        back = moved(model, device)
        back.callback(left.append, True)
        return back

    monkeypatch.setattr(training, "moved", watched)
    with pytest.raises(UserError, match="--resume"):
        run(out=tmp_path)
    assert left


def test_a_gradient_scaler_is_part_of_the_run(tmp_path, monkeypatch):
    """What fp16 on a GPU needs, here on the CPU: its scale is saved, and a step that overflows moves no schedule."""
    scalers = []

    def with_scaler(device="auto", precision="auto"):
        acc = devices.engine(device, "no")
        acc.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4)
        scalers.append(acc.scaler)
        return acc

    monkeypatch.setattr(training, "engine", with_scaler)

    def go(epochs, overflow=None, **kw):
        model, calls = net(), []

        def step_(model, batch):
            calls.append(1)
            sums = step(model, batch)
            sums["loss"].register_hook(lambda grad: grad * (torch.inf if len(calls) == overflow else 1))
            return sums

        opt = torch.optim.SGD(model.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.StepLR(opt, 1, gamma=0.99)
        kw |= dict(optimizer=opt, scheduler=schedule, schedule_by="step", clip=1.0, device="cpu", batch_size=7)
        return model, fit(model, blobs(), step=step_, epochs=epochs, **kw)

    whole, _ = go(3)
    scale = scalers[-1].get_scale()
    go(1, out=tmp_path)
    parts, result = go(3, out=tmp_path, resume=True)
    assert result.resumed_from["epoch"] == 1 and same(whole, parts)
    assert scalers[-1].get_scale() == scale == 2.0 ** (10 + 45 // 4)
    _, one = go(1, overflow=3)
    assert one.last["lr"] == pytest.approx(0.1 * 0.99**14)  # 15 steps, one of them skipped

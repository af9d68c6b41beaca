"""The loop against closed forms, against itself killed and resumed, and against several processes."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.course import batches, checkpoint
from helpers.course.batches import Batches, Tensors, pieces
from helpers.course.errors import UserError
from helpers.course.training import evaluate, fit, predict


def step(model, batch):
    x, y = batch
    logits = model(x)
    return {"loss": F.cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == y).sum()}


def blobs(n=100, dtype=torch.float32):
    g = torch.Generator().manual_seed(3)
    y = torch.arange(n) % 3
    return Tensors(torch.randn(n, 5, generator=g, dtype=dtype) + y[:, None], y)


def net(dropout=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3)).to(dtype)


def run(model=None, data=None, **kw):
    model, data = model or net(), blobs() if data is None else data
    kw = dict(epochs=3, batch_size=7, device="cpu") | kw
    opt = kw.pop("optimizer", None) or torch.optim.Adam(model.parameters(), 0.01)
    return model, fit(model, data, step=step, optimizer=opt, **kw)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# ------------------------------------------------------------------ exact figures


@pytest.mark.parametrize("batch_size", [1, 7, 32, 99, 100, 1000])
def test_accuracy_is_k_over_n_for_every_batch_size(batch_size):
    data, model = blobs(), net()
    hits = (model(data.tensors[0]).argmax(1) == data.tensors[1]).sum().item()
    scores = evaluate(model, data, step=step, batch_size=batch_size, device="cpu")
    assert scores["accuracy"] == hits / 100 and scores["n"] == 100
    assert scores["loss"] == pytest.approx(F.cross_entropy(model(data.tensors[0]), data.tensors[1]).item(), rel=1e-6)


def test_the_loop_equals_the_loop_written_by_hand():
    model, data = net(), blobs()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    ours = net()
    _, result = run(model=ours, data=data, optimizer=torch.optim.SGD(ours.parameters(), 0.1), epochs=2)
    for epoch in range(2):
        order = torch.randperm(100, generator=torch.Generator().manual_seed(batches.mixed(0, epoch)))
        for i in range(0, 100, 7):
            x, y = data.tensors[0][order[i : i + 7]], data.tensors[1][order[i : i + 7]]
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    for a, b in zip(ours.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert len(result.history) == 2 and result.history[1]["loss"] < result.history[0]["loss"]


def test_accumulation_gives_the_same_gradient():
    data = blobs(dtype=torch.float64)
    whole, _ = run(net(dtype=torch.float64), data, batch_size=12)
    parts, _ = run(net(dtype=torch.float64), data, batch_size=12, accumulate=5)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_pieces_cut_nested_batches_alike():
    batch = (torch.arange(10), {"boxes": list("abcdefghij")})
    parts = pieces(batch, 3)
    assert [len(p[0]) for p in parts] == [len(p[1]["boxes"]) for p in parts] == [4, 4, 2]
    assert torch.cat([p[0] for p in parts]).equal(batch[0])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_sample_is_seen_once_by_one_process(world):
    for epoch in range(3):
        seen = []
        for rank in range(world):
            b = Batches(23, 4, shuffle=True, seed=1, rank=rank, world=world)
            b.epoch = epoch
            for i, mine in enumerate(b):
                seen += mine if b.share(i) else []
        assert sorted(seen) == list(range(23))


def test_the_order_changes_with_the_epoch_and_the_seed():
    orders = set()
    for seed in range(3):
        for epoch in range(3):
            b = Batches(50, 50, shuffle=True, seed=seed)
            b.epoch = epoch
            orders.add(tuple(next(iter(b))))
    assert len(orders) == 9


@pytest.mark.parametrize("n", [1, 7, 1000, 1003])
def test_batches_of_similar_length_leave_no_sample_out(n):
    lengths, orders = torch.randint(1, 40, (n,), generator=torch.Generator().manual_seed(0)), set()
    for epoch in range(3):
        b = Batches(n, 8, shuffle=True, seed=1, lengths=lengths)
        b.epoch = epoch
        rows = list(b)
        assert sorted(i for row in rows for i in row) == list(range(n)) and rows == list(b)
        assert [len(row) for row in rows] == [b.size(step) for step in range(len(b))]
        orders.add(tuple(map(tuple, rows)))
        if n >= 1000:
            spread = [int(lengths[row].max() - lengths[row].min()) for row in rows]
            assert sum(spread) / len(spread) < 3  # 28 or so where they are mixed at random
            first = torch.stack([lengths[row].float().mean() for row in rows[: len(rows) // 2]]).mean()
            assert abs(first - lengths.float().mean()) < 5  # not the short ones first
    assert len(orders) == (3 if n >= 1000 else 1)  # one batch is one batch


def test_predict_keeps_the_order_and_the_mode():
    model, data = net(dropout=0.5).train(), blobs()
    out = predict(model, data.tensors[0], batch_size=9, device="cpu")
    assert model.training
    torch.testing.assert_close(out, model.eval()(data.tensors[0]))


# ------------------------------------------------------------------ schedules, early stop, best weights


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
    from test_training import net, blobs, step
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
    code = textwrap.dedent(WORKER.format(tests=os.path.dirname(__file__)))
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


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path / "a.safetensors", {"x": torch.ones(3)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save(path, {"x": torch.zeros(3)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_checkpoints_keep_every_leaf(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tree = {"a": {1: tied.T, "b": [tied, True, None, 2.5, "ü"]}, "e": torch.zeros(0), "h": torch.ones(2).bfloat16()}
    back = checkpoint.load(checkpoint.save(tmp_path / "t.safetensors", tree))
    assert back["a"][1].equal(tied.T) and back["a"]["b"][1:] == [True, None, 2.5, "ü"]
    assert back["e"].shape == (0,) and back["h"].dtype == torch.bfloat16
    with pytest.raises(TypeError, match="checkpoint holds"):
        checkpoint.save(tmp_path / "t.safetensors", {"f": print})


# ------------------------------------------------------------------ bad numbers


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


def test_clipping_bounds_the_step():
    model = net()
    before = [p.clone() for p in model.parameters()]
    run(model, epochs=1, batch_size=100, clip=1e-3, optimizer=torch.optim.SGD(model.parameters(), 1.0))
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), before, strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_bf16_on_the_cpu_is_close_and_leaves_the_model_in_float32():
    a, plain = run(epochs=1)
    b, half = run(epochs=1, precision="bf16")
    assert half.last["loss"] == pytest.approx(plain.last["loss"], abs=1e-2) and half.last["loss"] != plain.last["loss"]
    assert all(p.dtype == torch.float32 for p in b.parameters())
    assert b(torch.zeros(1, 5)).dtype == torch.float32  # nothing of the engine is left on the model


@pytest.mark.parametrize(
    "kw, words",
    [
        (dict(data=blobs(0)), "empty"),
        (dict(epochs=0), "at least 1"),
        (dict(keep="best"), "validation"),
        (dict(precision="fp16"), "needs a GPU"),
        (dict(precision="int8"), "not one of"),
        (dict(device="cuda:7"), "no device"),
    ],
)
def test_bad_settings_end_in_one_line(kw, words):
    if "cuda" in kw.get("device", "") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match=words):
        run(**kw)


# ------------------------------------------------------------------ several processes

PAIR = """
    import json, sys
    sys.path.insert(0, {tests!r})
    from test_training import pair
    from accelerate import PartialState
    answer = pair(int(sys.argv[2]))
    if PartialState().is_main_process:
        json.dump([PartialState().num_processes, *answer], open(sys.argv[1], "w"))
"""


def pair(accumulate):
    """History and weights of a short run in float64; the last batch has one sample: nothing for a second process."""
    model = net(dtype=torch.float64)
    result = fit(
        model,
        blobs(dtype=torch.float64),
        blobs(31, dtype=torch.float64),
        step=step,
        epochs=2,
        batch_size=9,
        optimizer=torch.optim.Adam(model.parameters(), 0.01),
        device="cpu",
        accumulate=accumulate,
    )
    return result.history, [p.tolist() for p in model.parameters()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_equal_one_in_float64(tmp_path, accumulate):
    script, out = tmp_path / "pair.py", tmp_path / "out.json"
    script.write_text(textwrap.dedent(PAIR.format(tests=os.path.dirname(__file__))))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*launch, script, out, str(accumulate)],
        check=True,
        capture_output=True,
        timeout=90,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
    )
    world, history2, weights2 = json.loads(out.read_text())
    history, weights = pair(accumulate)
    assert world == 2
    for a, b in zip(history, history2, strict=True):
        assert a.keys() == b.keys() and all(a[k] == pytest.approx(b[k], rel=1e-6) for k in a)
    for a, b in zip(weights, weights2, strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------ the meta device finds what was left on the CPU


def test_the_meta_device_shows_a_forgotten_tensor():
    sums = step(net().to("meta"), tuple(t.to("meta") for t in blobs(4).tensors))
    assert sums["loss"].is_meta

    def forgetful(model, batch):
        return {"loss": (model(batch[0]) * torch.ones(4, 3)).sum()}

    with pytest.raises(RuntimeError, match="device"):
        forgetful(net().to("meta"), tuple(t.to("meta") for t in blobs(4).tensors))

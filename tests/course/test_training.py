"""The loop against closed forms, against itself written by hand, and against several processes."""

import inspect
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from blobs import blobs, net, pair, run
from torch.nn import functional as F

from helpers.course import batches
from helpers.course.errors import UserError
from helpers.course.training import fit, train_epoch

TESTS = str(Path(__file__).parents[1])


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
        (dict(monitor="valid_accuracy"), "smaller or a larger 'valid_accuracy' better"),
        (dict(mode="larger"), "'min' or 'max'"),
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
    from blobs import pair
    from accelerate import PartialState
    answer = pair(int(sys.argv[2]), sys.argv[1] + "/run")
    rank = PartialState().process_index
    json.dump([PartialState().num_processes, *answer], open(sys.argv[1] + "/" + str(rank) + ".json", "w"))
"""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_equal_one_in_float64(tmp_path, accumulate):
    script = tmp_path / "pair.py"
    script.write_text(textwrap.dedent(PAIR.format(tests=TESTS)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*launch, script, tmp_path, str(accumulate)],
        check=True,
        capture_output=True,
        timeout=90,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
    )
    history, weights, judged = pair(accumulate, tmp_path / "alone")
    for rank in (0, 1):
        world, history2, weights2, judged2 = json.loads((tmp_path / f"{rank}.json").read_text())
        assert world == 2
        assert judged2 == (judged if rank == 0 else []), "the judge speaks in the first process alone, and all hear it"
        for a, b in zip(history, history2, strict=True):
            assert a.keys() == b.keys() and all(a[k] == pytest.approx(b[k], rel=1e-6) for k in a)
        for a, b in zip(weights, weights2, strict=True):
            torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------ the code itself


def test_the_loop_can_be_read_aloud_and_every_argument_is_explained():
    code, doc = inspect.getsource(train_epoch), inspect.getdoc(fit)
    assert len(code.splitlines()) <= 40
    order = [
        code.index(word)
        for word in ("sums = module(part)", "acc.backward(loss)", "clip_grad_norm_", "optimizer.step()")
    ]
    assert order == sorted(order)
    explained = {word.strip(",") for line in doc.splitlines() for word in line[:14].split() if not line.startswith(" ")}
    assert set(inspect.signature(fit).parameters) <= explained

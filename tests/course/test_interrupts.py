"""The stop button of a notebook: a training ends between two steps, is kept, and the same cell offers to go on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from helpers.course import interrupts
from helpers.course.batches import Tensors
from helpers.course.training import fit

ROOT = Path(__file__).parents[2]
manager = pytest.importorskip("jupyter_client.manager", reason="the test extra is not installed")
SETUP = """
import time, torch
from torch import nn
from helpers.course.batches import Tensors
from helpers.course.training import fit
def step(model, batch):
    time.sleep(pause)
    return {"loss": (model(batch[0]) - batch[1]).square().sum()}
g = torch.Generator().manual_seed(0)
data = Tensors(torch.randn(64, 3, generator=g), torch.randn(64, 1, generator=g))
def train(epochs=4, **settings):
    torch.manual_seed(1)
    model = nn.Linear(3, 1)
    result = fit(model, data, step=step, optimizer=torch.optim.Adam(model.parameters(), 0.01), epochs=epochs,
                 batch_size=8, device="cpu", **settings)
    return result, model
def told(result, model):
    print(result.resumed_from, result.epochs, model.weight.tolist(), len(result.history))
"""


class Notebook:
    """A kernel in a folder of its own, and one cell of it at a time."""

    def __init__(self, folder):
        self.km = manager.KernelManager()
        self.km.start_kernel(
            cwd=str(folder),
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.kc = self.km.blocking_client()
        self.kc.start_channels()
        self.kc.wait_for_ready(timeout=60)

    def cell(self, code, answer=None, stop_after=None):
        """Run a cell; returns (what it printed, its error lines, the question that it asked)."""
        self.kc.execute(code, allow_stdin=answer is not None)
        printed, error, question, end = "", None, None, time.monotonic() + 60
        bars = 0
        while time.monotonic() < end:
            if answer is not None and self.kc.stdin_channel.msg_ready():
                question = self.kc.get_stdin_msg(timeout=1)["content"]["prompt"]
                self.kc.input(answer)
            if not self.kc.iopub_channel.msg_ready():
                time.sleep(0.02)
                continue
            message = self.kc.get_iopub_msg(timeout=1)
            kind, body = message["msg_type"], message["content"]
            if kind == "update_display_data" and "<progress" in body["data"].get("text/html", ""):
                bars += 1
                if bars == stop_after:
                    self.km.interrupt_kernel()
            if kind == "stream":
                printed += body["text"]
            if kind == "error":
                error = body["traceback"]
            if kind == "status" and body["execution_state"] == "idle":
                return printed, error, question
        raise AssertionError("the cell did not end")

    def close(self):
        self.kc.stop_channels()
        self.km.shutdown_kernel(now=True)


@pytest.fixture
def notebook(tmp_path):
    kernel = Notebook(tmp_path)
    kernel.cell(SETUP)
    yield kernel
    kernel.close()


def kept(folder):
    return sorted(folder.glob("runs/interrupted/*/last.safetensors"))


def test_stop_then_go_on_ends_where_a_run_without_a_stop_does(notebook, tmp_path):
    whole, _, _ = notebook.cell("pause = 0.0\ntold(*train())")
    assert whole.startswith("None 4 ") and not kept(tmp_path)
    _, error, _ = notebook.cell("pause = 0.1\ntold(*train())", stop_after=4)
    assert len(error) == 1, "one sentence, no traceback"
    assert error[0].startswith("Stopped after ") and "run the cell again to go on" in error[0]
    assert len(kept(tmp_path)) == 1
    again, error, question = notebook.cell("pause = 0.0\ntold(*train())", answer="")
    assert error is None and question.startswith("An interrupted run of this training stopped ")
    assert again.startswith("{'epoch': ") and again.partition(" 4 ")[2] == whole.partition(" 4 ")[2]
    assert not kept(tmp_path)
    third, _, question = notebook.cell("told(*train())", answer="")
    assert question is None and third == whole


def test_no_begins_anew_and_other_settings_are_another_training(notebook, tmp_path):
    whole, _, _ = notebook.cell("pause = 0.0\ntold(*train())")
    notebook.cell("pause = 0.1\ntrain()", stop_after=4)
    other, _, question = notebook.cell("pause = 0.0\ntold(*train(seed=5))", answer="")
    assert question is None and other.startswith("None 4 ") and other != whole and len(kept(tmp_path)) == 1
    again, _, question = notebook.cell("told(*train())", answer="n")
    assert question and again == whole and not kept(tmp_path)


def test_nobody_is_asked_where_nobody_answers(notebook, tmp_path):
    """`make notebooks` and the tests run cells without a reader: they begin anew."""
    notebook.cell("pause = 0.1\ntrain()", stop_after=4)
    again, error, question = notebook.cell("pause = 0.0\ntold(*train())")
    assert error is None and question is None and again.startswith("None 4 ") and not kept(tmp_path)


def test_the_best_weights_survive_a_stop(notebook, tmp_path):
    settings = "valid=data, keep='best'"
    whole, _, _ = notebook.cell(f"pause = 0.0\ntold(*train({settings}))")
    _, error, _ = notebook.cell(f"pause = 0.06\ntold(*train({settings}))", stop_after=6)
    assert error and len(list(tmp_path.glob("runs/interrupted/*/best.safetensors"))) == 1, error
    again, _, question = notebook.cell(f"pause = 0.0\ntold(*train({settings}))", answer="y")
    assert question and again.partition(" 4 ")[2] == whole.partition(" 4 ")[2]


def test_outside_a_notebook_nothing_is_kept_and_the_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(3, 1)

    def step(model, batch):
        os.kill(os.getpid(), signal.SIGINT)
        return {"loss": (model(batch[0]) - batch[1]).square().sum()}

    data, opt = Tensors(torch.zeros(8, 3), torch.zeros(8, 1)), torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(interrupts.Stopped, match=r"after epoch 1 of 3: nothing was saved\."):
        fit(model, data, step=step, optimizer=opt, epochs=3, batch_size=8, device="cpu")
    with pytest.raises(interrupts.Stopped, match=r"the state is in .*last\.safetensors; resume=True goes on\."):
        fit(model, data, step=step, optimizer=opt, epochs=3, batch_size=8, device="cpu", out=tmp_path / "mine")
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


def test_a_stop_in_the_last_epoch_is_not_swallowed():
    """A loop over seeds must not go on to the next one."""
    model = torch.nn.Linear(3, 1)

    def step(model, batch):
        if not model.training:  # while it is evaluated, after the last step
            os.kill(os.getpid(), signal.SIGINT)
        return {"loss": (model(batch[0]) - batch[1]).square().sum()}

    data, opt = Tensors(torch.zeros(8, 3), torch.zeros(8, 1)), torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(interrupts.Stopped, match="after epoch 1 of 1"):
        fit(model, data, data, step=step, optimizer=opt, epochs=1, batch_size=8, device="cpu")

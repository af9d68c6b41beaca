"""Figures are exact: k of N, whatever the size of a batch."""

import pytest
import torch
from blobs import blobs, net, step
from torch.nn import functional as F

from helpers.course.evaluation import evaluate, predict


@pytest.mark.parametrize("batch_size", [1, 7, 32, 99, 100, 1000])
def test_accuracy_is_k_over_n_for_every_batch_size(batch_size):
    data, model = blobs(), net()
    hits = (model(data.tensors[0]).argmax(1) == data.tensors[1]).sum().item()
    scores = evaluate(model, data, step=step, batch_size=batch_size, device="cpu")
    assert scores["accuracy"] == hits / 100 and scores["n"] == 100
    assert scores["loss"] == pytest.approx(F.cross_entropy(model(data.tensors[0]), data.tensors[1]).item(), rel=1e-6)


def test_predict_keeps_the_order_and_the_mode():
    model, data = net(dropout=0.5).train(), blobs()
    out = predict(model, data.tensors[0], batch_size=9, device="cpu")
    assert model.training
    torch.testing.assert_close(out, model.eval()(data.tensors[0]))

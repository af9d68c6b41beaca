"""The classification step against sums by hand."""

import torch

from helpers.course.classify import classify

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def test_hard_labels_are_summed_not_averaged():
    y = torch.tensor([0, 1, 2, 2])
    sums = classify(torch.nn.Identity(), (LOGITS, y))
    by_hand = sum(float(row.exp().sum().log() - row[k]) for row, k in zip(LOGITS, y))
    assert sums.keys() == {"loss", "accuracy"}
    assert abs(sums["loss"].item() - by_hand) < 1e-12 and sums["accuracy"].item() == 3


def test_soft_labels_of_one_class_equal_hard_ones():
    y = torch.tensor([0, 1, 2, 2])
    hard = classify(torch.nn.Identity(), (LOGITS, y))
    soft = classify(torch.nn.Identity(), (LOGITS, torch.nn.functional.one_hot(y, 3).double()))
    assert torch.allclose(hard["loss"], soft["loss"], atol=1e-12) and hard["accuracy"] == soft["accuracy"]


def test_a_mixed_label_costs_its_shares_and_counts_as_its_larger_part():
    mixed = torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.float64)
    sums = classify(torch.nn.Identity(), (LOGITS[:1], mixed))
    parts = [classify(torch.nn.Identity(), (LOGITS[:1], torch.tensor([k])))["loss"].item() for k in (0, 1)]
    assert abs(sums["loss"].item() - (0.7 * parts[0] + 0.3 * parts[1])) < 1e-12 and sums["accuracy"].item() == 1

"""Which gradient enters the base from which head, and the arms of the factorial."""

import pytest
import torch
from torch import nn

from helpers.course.batches import Tensors
from helpers.transfer import head
from helpers.transfer.model import Classifier
from helpers.transfer.train import train_classifier


@pytest.fixture(scope="module")
def data():
    x = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Tensors(x, torch.arange(8) % 4)


@pytest.mark.parametrize("start", head.HEADS)
def test_the_first_gradient_into_the_base(start, data):
    """Of a zero head it is exactly 0: the gradient of the features is W^T times that of the logits, and W is 0."""
    model = head.classifier(start, 4, seed=0)
    first = head.FirstGradient(model.base)
    train_classifier(model, data, strategy="none", epochs=2, lr=1e-4, lp_first=start == "probed", batch_size=4)
    norm = first.norm()
    assert norm == 0 if start == "zero" else norm > 1e-3


def test_the_first_gradient_is_that_of_autograd():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 3)
    first = head.FirstGradient(net)
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(net(x).mean(), net.parameters())]).norm().item()
    for scale in (1, 7):  # the second backward pass is not the first
        net.zero_grad()
        (scale * net(x).mean()).backward()
    assert first.norm() == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="no gradient"):
        head.FirstGradient(net).norm()


def test_the_random_head_is_pytorchs_own():
    torch.manual_seed(3)
    model = Classifier(4)
    own = nn.Linear(model.head.in_features, 4)
    ours = head.classifier("random", 4, seed=3).head
    bound = ours.in_features**-0.5
    for mine, theirs in zip(ours.parameters(), own.parameters()):
        assert 0.9 * bound < mine.abs().max() <= bound and mine.std().item() == pytest.approx(theirs.std().item(), 0.5)
    assert not any(p.any() for p in head.classifier("zero", 4, seed=3).head.parameters())


def test_arms_are_every_head_with_either_batch_norm_and_one_grid():
    arms = head.heads("small")
    assert list(arms) == [f"{a}, {b}" for a in ("random", "zero", "probed") for b in ("live", "stored")]
    assert {one.args[2:] for one in arms.values()} == {arms["zero, live"].args[2:]}
    assert len({one.args[:2] for one in arms.values()}) == 6


def test_no_two_sets_share_a_picture():
    parts = head.sets(1, 1, 1, 0)
    seen = [{image.numpy().tobytes() for image in part.tensors[0]} for part in parts]
    assert len(parts) == 4 and len(set().union(*seen)) == sum(map(len, seen)) == 4 * 33


def test_batch_norm_is_live_or_stored_as_the_arm_says(monkeypatch):
    """With stored statistics the running means of the base stay where they were; live ones move."""
    moved = {}
    real = head.validated

    def watched(grid, train, *rest):
        def one(rate):
            model = train(rate)
            fresh = Classifier(2).base.state_dict()
            moved[kind] = any(
                not torch.equal(value, fresh[name])
                for name, value in model.base.state_dict().items()
                if name.endswith("running_mean")
            )
            return model

        return real(grid, one, *rest)

    monkeypatch.setattr(head, "validated", watched)
    for kind in head.STATISTICS:
        values = head.heads("tiny")[f"zero, {kind}"](0)
        assert values["first gradient"] == 0 and values["rate"] in (1e-4, 3e-4)
    assert moved == {"live": True, "stored": False}

"""Letterboxing against libdarknet, and the way back."""

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle

from helpers.course.errors import UserError
from helpers.data import geometry


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("size", [(50, 77), (77, 50), (64, 64), (30, 200), (375, 500), (20, 20), (480, 640)])
@pytest.mark.parametrize("net", [(64, 96), (96, 64), (128, 128)])
def test_letterbox_equals_libdarknet(darknet, size, net):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    ours, theirs = geometry.letterbox(image, *net).numpy(), darknet.letterbox(image.numpy(), *net)
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_c_library_blackens_the_last_row_at_some_sizes(darknet):
    """(h - 1) * ((H - 1) / (h - 1)) may round to just below H - 1; then the C code leaves out the neighbour
    that carries all the weight. About 3 sizes in 100. Ours is what it means to compute."""
    image = torch.full((1, 225, 346), 0.8)
    ours, theirs = geometry.letterbox(image, 320, 608).numpy(), darknet.letterbox(image.numpy(), 320, 608)
    assert theirs[0, -1, 100:500].max() < 0.01 and ours[0, -1, 100:500].min() > 0.79
    assert np.abs(ours - theirs)[:, :-1].max() < 1e-5


def test_letterbox_of_a_batch_and_of_a_needle():
    batch = torch.rand(2, 3, 20, 30)
    boxed = geometry.letterbox(batch, 40, 40)
    assert torch.equal(boxed[1], geometry.letterbox(batch[1], 40, 40)) and (boxed[:, :, :6] == 0.5).all()
    with pytest.raises(UserError, match="1000 x 2 pixels is too narrow"):
        geometry.letterbox(torch.rand(3, 2, 1000), 40, 40)


def test_unletterbox_undoes_letterbox():
    """A white rectangle is found where it was."""
    image = torch.zeros(1, 100, 200)
    image[:, 30:60, 50:120] = 1
    boxed = geometry.letterbox(image, 128, 96)[0]
    rows, columns = (boxed > 0.6).nonzero().T
    found = torch.tensor(
        [
            (columns.min() + columns.max() + 1) / 2 / 96,
            (rows.min() + rows.max() + 1) / 2 / 128,
            (columns.max() - columns.min() + 1) / 96,
            (rows.max() - rows.min() + 1) / 128,
        ]
    )
    assert torch.allclose(geometry.unletterbox(found, 100, 200, 128, 96), torch.tensor([85.0, 45, 70, 30]), atol=2.5)

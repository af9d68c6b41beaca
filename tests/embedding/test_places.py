"""Places on a finished map: against scikit-learn's neighbours, closed forms, and a map whose truth is known."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from helpers.course.errors import UserError
from helpers.embedding import autoencoder, places
from helpers.embedding.train import splits


def some(n=60, k=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    codes, y = torch.randn(n, k, generator=rng), 20 * torch.randn(n, 2, generator=rng)
    return places.Atlas(codes, y, torch.randint(0, 4, (n,), generator=rng))


def test_neighbours_are_those_of_scikit_learn():
    atlas, z = some(), torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    wanted = NearestNeighbors(n_neighbors=7).fit(atlas.codes.numpy()).kneighbors(z.numpy(), return_distance=False)
    assert places.nearest(atlas.codes, z, 7).tolist() == wanted.tolist()


def test_left_out_means_without_itself():
    atlas = some()
    found = places.nearest(atlas.codes, atlas.codes, 5, left_out=True)
    for i in range(len(found)):
        rest = [j for j in range(len(found)) if j != i]
        alone = places.nearest(atlas.codes[rest], atlas.codes[i : i + 1], 5)[0]
        assert found[i].tolist() == [rest[j] for j in alone.tolist()]


@pytest.mark.parametrize("k", [1, 2, 9, 10])
def test_the_place_is_the_median_in_each_direction(k):
    atlas, z = some(), torch.randn(8, 5, generator=torch.Generator().manual_seed(2))
    wanted = [np.median(atlas.y[near].double().numpy(), axis=0) for near in places.nearest(atlas.codes, z, k)]
    assert places.place(atlas, z, k).numpy() == pytest.approx(np.array(wanted), abs=1e-12)


def test_a_map_that_is_the_codes_themselves_has_small_errors_and_a_shuffled_one_large():
    """Points on a plane mapped by the identity: a neighbour is near, and a random point of a disc is not."""
    rng = torch.Generator().manual_seed(0)
    y = torch.rand(900, 2, generator=rng)
    atlas = places.Atlas(y, y, (y[:, 0] > 0.5).long())
    near = places.errors(atlas, places.place(atlas, atlas.codes, 5, left_out=True))
    # 5 neighbours lie within sqrt(5 / (pi 900)) = 0.042 of the point, the radius of a unit square is 1 / sqrt(6)
    assert near.distance.mean() < 0.042 * 6**0.5 and near.own.double().mean() > 0.95
    far = places.errors(atlas, places.shuffled(atlas))
    # two random points of a unit square are 0.5214 apart on average
    assert far.distance.mean().item() == pytest.approx(0.5214 * 6**0.5, rel=0.05)
    assert far.own.double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_the_shuffled_places_are_of_other_points():
    atlas = some()
    found = places.shuffled(atlas, 3)
    assert (found != atlas.y).any(1).all() and not torch.equal(found, places.shuffled(atlas, 4))


def test_the_map_gets_no_picture_of_the_training_and_no_sample():
    (x, labels), (chosen, chosen_labels) = places.unseen("digits", 1)
    assert chosen_labels.tolist() == list(range(10)) and len(x) == len(labels) == 2 * 179 - 10
    training = {z.numpy().tobytes() for z in splits("digits", 1)["train"][0]}
    mapped = {z.numpy().tobytes() for z in x}
    assert not training & mapped and not mapped & {z.numpy().tobytes() for z in chosen}


def test_a_map_comes_back_and_what_is_none_is_refused(tmp_path):
    torch.manual_seed(0)
    model = autoencoder.build("dense", (1, 8, 8), 4)
    (x, labels), _ = places.unseen("digits")
    atlas = places.draw(model, x[:50], labels[:50], perplexity=10, n_iter=20, record_every=20)
    places.save(tmp_path / "map.safetensors", atlas)
    again = places.load(tmp_path / "map.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(atlas, again)) and again.codes.shape == (50, 4)
    assert again.codes == pytest.approx(autoencoder.encode(model, x[:50]), abs=2e-3)  # 16 bits a number
    autoencoder.save(tmp_path / "model.safetensors", model)
    with pytest.raises(UserError, match="holds no map"):
        places.load(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="k must be from 1 to 49"):
        places.nearest(again.codes, again.codes, 50, left_out=True)

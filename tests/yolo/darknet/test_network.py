"""Darknet's networks in PyTorch against libdarknet: every layer, the weights file, the boxes of a picture."""

import numpy as np
import pytest
import torch
from darknet_networks import CONV, HEAD, NETWORKS, WIDE, at_size, both, cfg, compare_layers, random_network
from darknet_oracle import config, package_file

from helpers.course.errors import UserError
from helpers.yolo import boxes as detection
from helpers.yolo.darknet.network import Darknet, Header, read_weights, write_weights


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_equals_libdarknet(darknet, tmp_path, name):
    text = at_size(config(name), *NETWORKS[name])
    network = random_network(text)
    net = both(darknet, tmp_path, network, text)
    x = torch.rand(1, network.channels, *network.size, generator=torch.Generator().manual_seed(1))
    assert compare_layers(darknet, net, network, x) < 1e-5
    darknet.free_network(net)


def test_dropout_drops_in_training_by_the_numbers_of_rand():
    network = Darknet(HEAD.format(w=8, h=6, c=3) + "[dropout]\nprobability=.25\n")
    x = torch.rand(2, 3, 6, 8) + 1
    assert torch.equal(network.eval()(x), x)
    torch.manual_seed(4)
    out = network.train()(x)
    torch.manual_seed(4)
    torch.testing.assert_close(out, x * (torch.rand(x.shape) >= 0.25) / 0.75)
    with pytest.raises(UserError, match=r"line \d+, section \[dropout\].*1.5 is not between 0 and 1"):
        Darknet(HEAD.format(w=8, h=6, c=3) + "[dropout]\nprobability=1.5\n")


# ---------------------------------------------------------------- weights

SMALL = (
    HEAD.format(w=16, h=16, c=3)
    + WIDE
    + "[maxpool]\nsize=2\nstride=2\n[local]\nsize=3\npad=1\nstride=1\nfilters=2\nactivation=leaky\n"
    + "[connected]\nbatch_normalize=1\noutput=7\nactivation=relu\n[connected]\noutput=5\nactivation=linear\n"
)


@pytest.mark.parametrize(
    "header",
    [
        Header(),
        Header(0, 2, 0, 2**33 + 5),
        Header(0, 1, 0, 64),
        Header(0, 1, 3, 7),
        Header(1, 0, 0, 9),
        Header(1001, 0, 0, 3),
    ],
)
def test_weights_written_are_read_back_to_the_byte(tmp_path, header):
    one, other = random_network(SMALL, 1), random_network(SMALL, 2)
    write_weights(one, tmp_path / "a.weights", header)
    assert read_weights(other, tmp_path / "a.weights") == header
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values()):
        assert torch.equal(a, b) or "num_batches" in name, name
    write_weights(other, tmp_path / "b.weights", header)
    assert (tmp_path / "a.weights").read_bytes() == (tmp_path / "b.weights").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.weights", "b.weights"]


@pytest.mark.parametrize("header", [Header(0, 2, 0, 2**33 + 5), Header(0, 1, 0, 64), Header(1001, 0, 0, 3)])
def test_libdarknet_reads_our_weights_and_we_read_its(darknet, tmp_path, header):
    network = random_network(SMALL, 1)
    (tmp_path / "net.cfg").write_text(SMALL)
    write_weights(network, tmp_path / "ours.weights", header)
    net = darknet.network(tmp_path / "net.cfg", tmp_path / "ours.weights")
    assert darknet.dk_get_seen(net) == header.seen
    x = torch.rand(1, 3, 16, 16)
    assert compare_layers(darknet, net, network, x) < 2e-6
    darknet.save_weights(net, str(tmp_path / "theirs.weights").encode())
    again = random_network(SMALL, 5)
    assert read_weights(again, tmp_path / "theirs.weights") == Header(0, 2, 0, header.seen)
    assert compare_layers(darknet, net, again, x) < 2e-6
    write_weights(again, tmp_path / "again.weights", Header(0, 2, 0, header.seen))
    assert (tmp_path / "again.weights").read_bytes() == (tmp_path / "theirs.weights").read_bytes()
    darknet.free_network(net)


def test_weights_of_the_first_layers_only(tmp_path):
    text = HEAD.format(w=16, h=16, c=3) + CONV.format(f=4, s=2) + CONV.format(f=5, s=1)
    whole, start = random_network(text, 1), HEAD.format(w=16, h=16, c=3) + CONV.format(f=4, s=2)
    first = random_network(start, 2)
    write_weights(first, tmp_path / "first.conv")
    before = whole.layers[1].conv.weight.clone()
    read_weights(whole, tmp_path / "first.conv", upto=1)
    assert torch.equal(whole.layers[0].conv.weight, first.layers[0].conv.weight)
    assert torch.equal(whole.layers[1].conv.weight, before)
    with pytest.raises(UserError, match=r"line 11, section \[convolutional\].*end here: 112 of 297"):
        read_weights(whole, tmp_path / "first.conv")


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda d: d[:-4], r"line 25, section \[connected\]: the weights in .*w.weights end here.*Truncated"),
        (lambda d: d[:-2], "whole number: truncated"),
        (lambda d: d[:10], "10 bytes are too few"),
        (lambda d: d[:2600], r"line 15, section \[local\].*end here"),
        (lambda d: d + d[-8:], "weights of another cfg"),
    ],
)
def test_truncated_and_surplus_weights_are_explained(tmp_path, change, what):
    network, path = random_network(SMALL), tmp_path / "w.weights"
    write_weights(network, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=what):
        read_weights(network, path)


def test_missing_and_unwritable_weights_are_explained(tmp_path):
    with pytest.raises(UserError, match="none.weights: cannot be read"):
        read_weights(random_network(SMALL), tmp_path / "none.weights")
    with pytest.raises(UserError, match="cannot be written"):
        write_weights(random_network(SMALL), tmp_path / "no" / "such" / "folder.weights")


# ---------------------------------------------------------------- cfg


def test_every_cfg_of_the_package_is_built_or_refused_with_a_reason():
    example = package_file("/cfg/yolov3.cfg")
    if example is None:
        pytest.skip("the Debian package darknet is not installed")
    refused = {}
    for path in sorted(example.parent.glob("*.cfg")):
        try:
            with torch.device("meta"):
                Darknet(path)
        except UserError as error:
            refused[path.stem] = str(error)
    assert set(refused) == {"darknet9000", "yolo9000", "go", "go.test", "gru", "rnn", "rnn.train"}


# ---------------------------------------------------------------- from a picture to boxes


@pytest.mark.parametrize("name", ["yolov1-tiny", "yolov2-tiny-voc", "yolov3-tiny", "yolov3"])
def test_the_same_boxes_for_a_picture(darknet, tmp_path, name):
    """Letterbox, network, decode, correction and NMS of a photograph, through ours and through libdarknet.

    For v1 the photograph is square: the C library scales v1's boxes without undoing the letterbox.
    """
    from skimage import data

    photograph = torch.tensor(data.chelsea()).permute(2, 0, 1).float() / 255  # (3, 300, 451)
    if "v1" in name:
        photograph = photograph[:, :, 70:370]
    height, width, slimmer = NETWORKS[name] if "v1" in name else (96, 160, 4)
    text = at_size(config(name), height, width, slimmer)
    network = random_network(text, seed=4)
    net = both(darknet, tmp_path, network, text)

    boxed = darknet.letterbox(photograph.numpy(), height, width)
    darknet.forward(net, boxed)
    with torch.no_grad():
        best = network.decode(network(torch.from_numpy(boxed)[None]))[1].flatten().topk(121).values
    threshold = best[119:].mean().item()  # between the 120th and the 121st score
    boxes, scores = darknet.boxes(net, *photograph.shape[1:], threshold, 0.45, network.heads[0].classes)
    index, labels = np.nonzero(scores)
    theirs = sorted(zip(labels.tolist(), scores[index, labels].tolist(), boxes[index].tolist()))

    found = network.detect(photograph, threshold, 0.45)
    ours = sorted(
        zip(found["labels"].tolist(), found["scores"].tolist(), detection.xyxy_to_cxcywh(found["boxes"]).tolist())
    )
    assert 10 < len(theirs) <= 120
    assert [label for label, _, _ in ours] == [label for label, _, _ in theirs]
    assert np.allclose([s for _, s, _ in ours], [s for _, s, _ in theirs], atol=0, rtol=1e-4)
    assert np.allclose([b for _, _, b in ours], [b for _, _, b in theirs], atol=1e-2, rtol=1e-4)  # pixels
    darknet.free_network(net)


def test_a_classifier_does_not_detect():
    with pytest.raises(UserError, match="does not find boxes"):
        Darknet(cfg("[avgpool]\n[softmax]\n")).detect(torch.rand(3, 10, 10))


def test_devices_and_gradients():
    text = cfg(
        CONV.format(f=4, s=2), CONV.format(f=21, s=2), "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=1,2,3,4,5,6\n"
    )
    with torch.device("meta"):
        network = Darknet(text)
        heads = network(torch.rand(2, 3, 32, 32))
    assert network.decode(heads)[1].shape == (2, 3 * 8 * 8, 2) and heads[0].device.type == "meta"
    network = Darknet(text)
    sum(h.sum() for h in network(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None for p in network.parameters())

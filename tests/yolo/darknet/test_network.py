"""Darknet's networks in PyTorch against libdarknet: every layer, the weights file, the boxes of a picture."""

import re

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle, config, package_file
from torch import nn

from helpers.course.errors import UserError
from helpers.yolo import boxes as detection
from helpers.yolo.darknet import layers as darknet_layers
from helpers.yolo.darknet.cfg import cfg_text, read_cfg
from helpers.yolo.darknet.network import Darknet, Header, read_weights, write_weights


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def at_size(text, height, width, slimmer=1):
    """A cfg for smaller pictures; slimmer=4 leaves a quarter of the filters inside, the ends stay whole."""
    text = re.sub(r"(?m)^height\s*=.*", f"height={height}", text)
    text = re.sub(r"(?m)^width\s*=.*", f"width={width}", text)
    if slimmer == 1:
        return text
    parts = re.split(r"(?m)^(?=\[)", text)
    for i, part in enumerate(parts):
        end = i + 1 == len(parts) or re.match(r"\[(yolo|region|avgpool|softmax)", parts[i + 1])
        if part.startswith(("[convolutional]", "[local]")) and not end:
            parts[i] = re.sub(r"filters\s*=\s*(\d+)", lambda m: f"filters={max(1, int(m[1]) // slimmer)}", part)
    return "".join(parts)


def random_network(text, seed=0, **size):
    """A network with random weights and statistics under which its signals about keep their size."""
    generator = torch.Generator().manual_seed(seed)
    network = Darknet(text, **size).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                nn.init.normal_(parameter, 0, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.running_mean, 0, 0.1, generator=generator)
    for layer, following in zip(network.layers, network.sections[1:]):
        if following.kind == "shortcut" and getattr(layer, "norm", None):  # else sums grow without end
            layer.norm.weight.data *= 0.3
        if following.kind in ("yolo", "region"):  # else all scores are 0 or 1
            layer.conv.weight.data *= 0.5
    return network


def both(darknet, folder, network, text):
    """The same network and weights in the C library."""
    (folder / "net.cfg").write_text(text)
    write_weights(network, folder / "net.weights")
    return darknet.network(folder / "net.cfg", folder / "net.weights")


def compare_layers(darknet, net, network, x):
    """The largest difference in any layer, relative to the layer's largest number (at least 1)."""
    with torch.no_grad():
        outputs = network.outputs(x)
    darknet.forward(net, x.numpy())
    assert darknet.dk_layers(net) == len(outputs)
    worst = 0
    for i, ours in enumerate(outputs):
        ours, theirs = ours.numpy().ravel(), darknet.output(net, i)
        assert ours.shape == theirs.shape, f"layer {i} [{network.sections[i].kind}]"
        assert np.abs(theirs).max() > 1e-6
        worst = max(worst, np.abs(ours - theirs).max() / max(1, np.abs(theirs).max()))
    return worst


# the ends and the connected layers of yolov1 need its map to be square; slimmer=4 keeps the suite short
NETWORKS = {
    "yolov1": (128, 128, 4),
    "yolov1-tiny": (128, 128, 4),
    "yolov2": (96, 128, 4),
    "yolov2-tiny": (96, 128, 1),
    "yolov2-tiny-voc": (128, 96, 1),
    "yolov3": (96, 64, 4),
    "yolov3-tiny": (96, 128, 1),
    "yolov3-spp": (64, 96, 4),
    "darknet19": (96, 64, 4),
    "darknet53": (64, 96, 4),
    "resnet18": (96, 64, 1),
    "resnet50": (96, 64, 4),
    "resnext50": (64, 64, 1),
    "densenet201": (64, 96, 1),
    "alexnet": (96, 96, 4),
    "cifar": (28, 28, 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_equals_libdarknet(darknet, tmp_path, name):
    text = at_size(config(name), *NETWORKS[name])
    network = random_network(text)
    net = both(darknet, tmp_path, network, text)
    x = torch.rand(1, network.channels, *network.size, generator=torch.Generator().manual_seed(1))
    assert compare_layers(darknet, net, network, x) < 1e-5
    darknet.free_network(net)


# The C program gives [local] a quarter of the memory it needs and writes past it, unless some convolution
# asks for more: this one does.
WIDE = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=7\npad=1\nstride=1\nactivation=leaky\n"
HEAD = "[net]\nwidth={w}\nheight={h}\nchannels={c}\n"
CONV = "[convolutional]\nfilters={f}\nsize=3\npad=1\nstride={s}\nactivation=leaky\n"


@pytest.mark.parametrize(
    "name, layers",
    {
        "maxpools": "[maxpool]\nsize=2\nstride=1\n[maxpool]\nsize=3\nstride=2\n[maxpool]\nsize=5\nstride=1\n"
        "[maxpool]\nsize=2\nstride=2\npadding=0\n[maxpool]\nsize=3\nstride=1\npadding=1\n",
        "activations": "".join(
            f"[activation]\nactivation={a}\n"
            for a in ("leaky", "elu", "selu", "tanh", "loggy", "hardtan", "relie", "ramp", "logistic", "relu", "linear")
        ),
        "shortcut_half": CONV.format(f=6, s=1) + CONV.format(f=4, s=2) + "[shortcut]\nfrom=-2\nactivation=relu\n",
        "shortcut_double": CONV.format(f=6, s=2) + CONV.format(f=8, s=1) + "[upsample]\nstride=2\n"
        "[shortcut]\nfrom=-2\nactivation=linear\nalpha=.5\nbeta=2\n",
        "upsample": CONV.format(f=4, s=2) + "[upsample]\nstride=3\nscale=.5\n",
        "reorg": CONV.format(f=8, s=1) + "[reorg]\nstride=2\n",
        "routes": CONV.format(f=3, s=1) + "[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1,0,-2\n[route]\nlayers=1\n",
        "local": WIDE + "[local]\nsize=3\npad=1\nstride=2\nfilters=5\nactivation=leaky\n"
        "[local]\nsize=1\nstride=1\nfilters=3\nactivation=tanh\n",
        "connected": "[connected]\noutput=10\nbatch_normalize=1\nactivation=leaky\n[connected]\noutput=6\n"
        "activation=linear\n[softmax]\ngroups=2\ntemperature=2\n",
        "crop": "[crop]\ncrop_height=8\ncrop_width=6\n[dropout]\n[crop]\ncrop_height=5\ncrop_width=5\nnoadjust=1\n",
    }.items(),
)
def test_single_layers_equal_libdarknet(darknet, tmp_path, name, layers):
    text = HEAD.format(w=12, h=20, c=3) + layers
    network = random_network(text, seed=2)
    net = both(darknet, tmp_path, network, text)
    x = torch.randn(1, 3, 20, 12, generator=torch.Generator().manual_seed(3)) * 2  # negative ones too
    assert compare_layers(darknet, net, network, x) < 1e-5
    darknet.free_network(net)


def test_max_pooling_pads_with_minus_infinity():
    """The defect of a well-known reimplementation: with zeros the right and lower border is wrong."""
    pooled = darknet_layers.MaxPool(2, 1, 1)(-torch.ones(1, 1, 3, 3))
    assert torch.equal(pooled, -torch.ones(1, 1, 3, 3))


def test_reorg_is_not_pixel_unshuffle():
    x = torch.arange(2 * 8 * 4 * 4.0).view(2, 8, 4, 4)
    ours, other = darknet_layers.Reorg(2)(x), nn.functional.pixel_unshuffle(x, 2)
    assert ours.shape == other.shape and not torch.equal(ours, other)


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


def cfg(*layers, net="width=32\nheight=32\n"):
    return f"[net]\n{net}" + "".join(layers)


@pytest.mark.parametrize(
    "text, what",
    [
        (cfg("[convolutionall]\nfilters=2\n"), r"line 4, section \[convolutionall\]: unknown section; did you mean"),
        (cfg("[lstm]\noutput=2\n"), r"line 4, section \[lstm\]: .*not supported"),
        (cfg("[convolutional]\nfilers=2\n"), r"line 5, section \[convolutional\]: unknown option 'filers'; did you"),
        (cfg("[convolutional]\nfilters=two\n"), r"line 5, .*filters=two: a whole number is needed"),
        (cfg("[convolutional]\nfilters=0\n"), r"line 5, .*filters=0: at least 1"),
        (cfg("[convolutional]\nactivation=swish\n"), r"line 5, .*activation=swish: choose linear"),
        (cfg("[convolutional]\nfilters=4\ngroups=2\n"), r"line 6, .*3 input channels and 4 filters do not split"),
        (cfg("[convolutional]\nfilters\n"), r"'filters' at line 5 is neither"),
        (cfg("[route]\nlayers=-1\n"), r"line 5, section \[route\]: layers=-1 is no earlier layer"),
        (cfg(CONV.format(f=2, s=1), CONV.format(f=2, s=2), "[route]\nlayers=0,1\n"), r"line 17, .*32 x 32.*16 x 16"),
        (cfg(CONV.format(f=2, s=1), "[shortcut]\nfrom=3\n"), r"line 11, section \[shortcut\]: from=3 is no earlier"),
        (cfg("[reorg]\nstride=2\n"), r"line 5, section \[reorg\]: cannot reorganise 3 x 32 x 32"),
        (cfg("[maxpool]\nsize=50\nstride=1\npadding=0\n"), r"line 4, section \[maxpool\]: nothing is left"),
        (
            cfg("[convolutional]\nfilters=20\n", "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=1,2,3,4,5,6\n"),
            r"line 7, section \[yolo\]: 3 anchors x \(5 \+ 2 classes\) = 21 channels are needed.* has 20",
        ),
        (
            cfg("[convolutional]\nfilters=21\n", "[yolo]\nclasses=2\nnum=3\nmask=0,1,3\nanchors=1,2,3,4,5,6\n"),
            r"line 9, section \[yolo\]: mask=\[0, 1, 3\]: there are anchors 0 to 2",
        ),
        (
            cfg("[convolutional]\nfilters=21\n", "[region]\nclasses=2\nnum=3\nanchors=1,2,3,4,5\n"),
            r"line 9, section \[region\]: num=3 anchors are 6 numbers, not 5",
        ),
        (
            cfg("[connected]\noutput=30\n[detection]\ncoords=4\nclasses=2\nside=2\nnum=1\n"),
            r"line 6, section \[detection\]: .* 28 inputs are needed; the layer before gives 30",
        ),
        (cfg("[dropout]\n", net="width=32\n"), r"line 1, section \[net\]: width, height and channels"),
        (cfg(), r"section \[net\]: no layer follows"),
        ("width=3\n\n", "line 1: 'width=3' stands before"),
        ("[convolutional]\n[net]\n", r"starts with \[net\]"),
        ("# nothing\n\n", "no section"),
    ],
)
def test_a_wrong_cfg_is_explained_with_section_and_line(text, what):
    with pytest.raises(UserError, match=what) as caught:
        Darknet(text)
    assert "\n" not in str(caught.value)


def test_a_cfg_file_is_named_in_its_errors(tmp_path):
    path = tmp_path / "my.cfg"
    path.write_text(cfg("[oops]\n"))
    with pytest.raises(UserError, match=r"my.cfg, line 4, section \[oops\]"):
        Darknet(path)
    with pytest.raises(UserError, match="none.cfg: not a readable cfg"):
        Darknet(tmp_path / "none.cfg")


def test_comments_spaces_aliases_and_doubles():
    net, conv, pool = read_cfg("[network]\n# a\n; b\n width = 8 \nheight=9\nheight=10\n[conv]\nfilters = 3\n[max]\n")
    assert (net["width"], net["height"], conv.kind, conv["filters"], pool.kind) == (8, 9, "convolutional", 3, "maxpool")
    assert conv["activation"] == "logistic"  # Darknet's default


def test_a_cfg_is_written_as_it_is_read():
    layers = [
        ("net", {"width": 32, "height": 32}),
        ("convolutional", {"filters": 21, "activation": "linear"}),
        ("yolo", {"classes": 2, "num": 3, "mask": [0, 1, 2], "anchors": [1.5, 2, 3.25, 4, 5, 6]}),
    ]
    _, conv, yolo = read_cfg(cfg_text(layers))
    assert conv["filters"] == 21 and yolo["anchors"] == [1.5, 2, 3.25, 4, 5, 6] and yolo["mask"] == [0, 1, 2]


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

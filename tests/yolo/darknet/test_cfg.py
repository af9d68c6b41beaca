"""Darknet's configuration files: read, written, and their errors named."""

import pytest
from darknet_networks import CONV, cfg

from helpers.course.errors import UserError
from helpers.yolo.darknet.cfg import cfg_text, read_cfg
from helpers.yolo.darknet.network import Darknet


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

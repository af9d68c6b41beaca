"""The loss of YOLOv3 against libdarknet, closed forms and a plain loop."""

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle
from random_truth import ANCHORS, CLASSES, MASKS, logits, objects
from torchvision.ops import box_iou, complete_box_iou_loss

from helpers.course.errors import UserError
from helpers.yolo import boxes
from helpers.yolo.boxes import cxcywh_to_xyxy, giou, iou
from helpers.yolo.grid import split
from helpers.yolo.loss import loss_v3


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


def yolo_cfg(mask, h, w, ignore=0.7):
    anchors = ",".join(str(a) for a in ANCHORS.flatten().tolist())
    return (
        f"[net]\nbatch=1\nwidth={w}\nheight={h}\nchannels={len(mask) * (5 + CLASSES)}\n[yolo]\nclasses={CLASSES}\n"
        f"num=6\nmask={','.join(map(str, mask))}\nanchors={anchors}\nignore_thresh={ignore}\ntruth_thresh=1\n"
    )


def delta(darknet, folder, cfg, raw, truth):
    """libdarknet's delta for a net that is nothing but the head: its input are the logits."""
    (folder / "head.cfg").write_text(cfg)
    net = darknet.network(folder / "head.cfg")
    rows = truth[0][truth[0, :, 4] >= 0].numpy()
    darknet.forward(net, raw.numpy(), truth=rows, train=True)
    result = darknet.delta(net, 0)
    darknet.free_network(net)
    return torch.from_numpy(result).view_as(raw)


def gradient_v3(raw, truth, mask, **options):
    """The head of `mask` has the input's size as its grid, so that [net] can be the head."""
    raw = raw.clone().requires_grad_()
    size = raw.shape[2:]
    loss = loss_v3([raw], truth, ANCHORS, [mask], size, **options)["loss"]
    return torch.autograd.grad(loss, raw)[0]


CASES = {"plain": objects(6), "one": objects(1, 3), "none": objects(0), "many": objects(19, 5)}
CASES["same_cell"] = torch.cat([objects(3, 1), objects(3, 1)], 1)[:, [0, 1, 20, 21, 2, 5]]  # twice each
CASES["same_cell"][0, 2:4, 4] = (CASES["same_cell"][0, 2:4, 4] + 1) % CLASSES  # other class
CASES["same_cell"][0, 2:4, 0] += 0.001  # other box
CASES["border"] = torch.tensor(
    [
        [
            [0.999, 0.999, 0.3, 0.2, 1],
            [0.001, 0.5, 0.1, 0.1, 2],
            [0.5, 0.0005, 0.5, 0.4, 0],
            [0.9999, 0.2, 0.05, 0.9, 3],
            [0, 0, 0, 0, -1],
        ]
    ]
)
CASES["huge_and_tiny"] = torch.tensor(
    [[[0.5, 0.5, 1.0, 1.0, 1], [0.3, 0.3, 0.002, 0.003, 2], [0.7, 0.2, 1.5, 0.01, 0]]]
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("grid", [(13, 13), (6, 11)])
def test_v3_loss_has_minus_darknets_delta_as_gradient(darknet, tmp_path, case, mask, grid):
    """Here the anchors (10 to 119) are measured in cells of an input of 13: every prior is larger than the
    picture, so the logits of the sizes are drawn around the logarithm that makes boxes of all sizes."""
    truth = CASES[case]
    raw = logits(3, CLASSES, *grid, seed=len(case), scale=1.0)
    raw.view(3, -1, *grid)[:, 2:4] += (torch.tensor(grid).flip(0) / ANCHORS[mask] * 0.3).log()[..., None, None]
    theirs = delta(darknet, tmp_path, yolo_cfg(mask, *grid), raw, truth)
    ours = gradient_v3(raw, truth, mask)
    assert (theirs != 0).any() and (ours + theirs).abs().max() < 1e-6 * max(1, theirs.abs().max())


@pytest.mark.parametrize("ignore", [0.1, 0.3, 0.5, 0.9])
def test_v3_ignore_threshold(darknet, tmp_path, ignore):
    truth, mask, grid = objects(12, 9), [0, 1, 2], (10, 10)
    raw = logits(3, CLASSES, *grid, seed=4)
    raw.view(3, -1, *grid)[:, 2:4] += (10 / ANCHORS[mask] * 0.3).log()[..., None, None]
    theirs = delta(darknet, tmp_path, yolo_cfg(mask, *grid, ignore), raw, truth)
    ours = gradient_v3(raw, truth, mask, ignore=ignore)
    assert (ours + theirs).abs().max() < 1e-6 * max(1, theirs.abs().max())
    ignored = (theirs.view(3, -1, *grid)[:, 4] == 0).sum()
    assert (ignored > 0) == (ignore < 0.9)  # and the case is there


def test_v3_loss_of_a_two_scale_network_sees_the_networks_size(darknet, tmp_path):
    """Upsampled by stride-2 pooling: the input is twice the grid, so anchors and grid differ in unit."""
    mask = [3, 4, 5]
    channels = 3 * (5 + CLASSES)
    cfg = yolo_cfg(mask, 128, 160).replace("[yolo]", "[maxpool]\nsize=16\nstride=16\npadding=0\n[yolo]")
    (tmp_path / "head.cfg").write_text(cfg)
    net = darknet.network(tmp_path / "head.cfg")
    truth, image = objects(8, 2), logits(3, CLASSES, 128, 160, seed=1)
    raw = torch.nn.functional.max_pool2d(image, 16) - 2  # (1, 27, 8, 10)
    darknet.forward(net, (image - 2).numpy(), truth=truth[0, :8].numpy(), train=True)
    theirs = torch.from_numpy(darknet.delta(net, 1)).view(1, channels, 8, 10)
    raw.requires_grad_()
    loss = loss_v3([raw], truth, ANCHORS, [mask], (128, 160))["loss"]
    (ours,) = torch.autograd.grad(loss, raw)
    assert (ours + theirs).abs().max() < 1e-6 * max(1, theirs.abs().max())
    darknet.free_network(net)


def test_x_equal_to_zero_ends_darknets_list_but_not_ours(darknet, tmp_path):
    """`if(!truth.x) break;`: in the C program an object centred exactly on the left edge, and all that
    follow it, do not exist. Here only class -1 (or no area) means an empty row."""
    truth, mask, grid = objects(5, 3), [0, 1, 2], (9, 9)
    truth[0, 2, 0] = 0.0
    raw = logits(3, CLASSES, *grid)
    theirs = delta(darknet, tmp_path, yolo_cfg(mask, *grid), raw, truth)
    cut = truth.clone()
    cut[0, 2:, 4] = -1
    assert (gradient_v3(raw, cut, mask) + theirs).abs().max() < 1e-6 * max(1, theirs.abs().max())
    assert (gradient_v3(raw, truth, mask) + theirs).abs().max() > 0.1


def test_a_batch_is_the_sum_of_its_images():
    heads = [logits(3, CLASSES, 4, 5, 1, batch=3), logits(3, CLASSES, 8, 10, 2, batch=3)]
    truth = torch.cat([objects(3, 1), objects(0, 2), objects(9, 3)])
    together = loss_v3(heads, truth, ANCHORS, MASKS, (128, 160))
    alone = [loss_v3([h[i : i + 1] for h in heads], truth[i : i + 1], ANCHORS, MASKS, (128, 160)) for i in range(3)]
    for name, value in together.items():
        assert value.item() == pytest.approx(sum(a[name].item() for a in alone), rel=1e-5)
    assert together["loss"].item() == pytest.approx(
        sum(together[n].item() for n in ("box", "objectness", "class")), rel=1e-6
    )


def test_objects_without_area_are_no_objects():
    heads, truth = [logits(3, CLASSES, 8, 8)], objects(4)
    cut = truth.clone()
    truth[0, 1, 2], truth[0, 3, 3] = 0.0, -0.1
    cut[0, [1, 3], 4] = -1
    a, b = (loss_v3(heads, t, ANCHORS, MASKS[1:], (64, 64))["loss"] for t in (truth, cut))
    assert a == b and a.isfinite()


@pytest.mark.parametrize("box_loss", ["iou", "giou", "ciou"])
def test_box_losses(box_loss):
    """One object: the box part is (2 - w h) (1 - overlap) of the box decoded by hand."""
    truth = torch.tensor([[[0.4, 0.6, 0.3, 0.2, 1.0]]])
    raw = logits(3, CLASSES, 5, 5, 8)
    mask = MASKS[0]
    loss = loss_v3([raw], truth, ANCHORS, [mask], (160, 160), box_loss=box_loss)
    t = raw.view(3, 9, 5, 5)[1, :4, 3, 2]  # 48 x 32 pixels: anchor 62 x 45; cell (2, 3)
    box = torch.tensor(
        [(2 + t[0].sigmoid()) / 5, (3 + t[1].sigmoid()) / 5, 62 / 160 * t[2].exp(), 45 / 160 * t[3].exp()]
    )
    overlap = {"iou": iou, "giou": giou, "ciou": boxes.ciou}[box_loss]
    by_hand = (2 - 0.06) * (1 - overlap(cxcywh_to_xyxy(box), cxcywh_to_xyxy(truth[0, 0, :4])))
    assert loss["box"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    with pytest.raises(UserError, match="one of v3, iou, giou, ciou"):
        loss_v3([raw], truth, ANCHORS, [mask], (160, 160), box_loss="diou")


def test_the_loss_stays_on_its_device():
    heads = [torch.empty(2, 27, 4, 4, device="meta"), torch.empty(2, 27, 8, 8, device="meta")]
    truth, anchors = torch.empty(2, 5, 5, device="meta"), ANCHORS.to("meta")
    assert loss_v3(heads, truth, anchors, MASKS, (64, 64), rescore=True)["loss"].device.type == "meta"


def by_hand(raw, truth, own, size):
    """The loss that lecture 08b trains, one anchor and one cell at a time; overlaps by torchvision.

    raw (A, H, W, 5 + K), truth (T, 5), anchors own (A, 2) in pixels of a picture of size x size
    """
    bce = lambda logit, want: float(np.logaddexp(0, logit) - want * logit)
    corner = lambda x, y, w, h: torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], dtype=torch.float64)
    (a, h, w, _), total, owner = raw.shape, 0.0, {}
    for x, y, bw, bh, k in truth.tolist():
        fit = [box_iou(corner(0, 0, bw * size, bh * size), corner(0, 0, *pair)).item() for pair in own.tolist()]
        for i in range(a):
            if fit[i] > 0.4 or fit[i] == max(fit):
                owner[i, int(y * h), int(x * w)] = (x, y, bw, bh, int(k))
    boxes_ = torch.cat([corner(*one[:4]) for one in truth.tolist()])
    for i, r, c in np.ndindex(a, h, w):
        tx, ty, tw, th, o, *scores = raw[i, r, c].tolist()
        mine = corner(
            (1 / (1 + np.exp(-tx)) + c) / w,
            (1 / (1 + np.exp(-ty)) + r) / h,
            own[i, 0].item() * np.exp(tw) / size,
            own[i, 1].item() * np.exp(th) / size,
        )
        if (i, r, c) in owner:
            x, y, bw, bh, k = owner[i, r, c]
            total += (2 - bw * bh) * complete_box_iou_loss(mine, corner(x, y, bw, bh)).item() + bce(o, 1)
            total += sum(bce(s, j == k) for j, s in enumerate(scores))
        elif box_iou(mine, boxes_).max().item() <= 0.7:
            total += bce(o, 0)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_that_is_trained_equals_a_plain_loop(seed):
    own, raw, truth = ANCHORS[:3].double(), logits(3, CLASSES, 8, 8, seed).double(), objects(7, seed, rows=7).double()
    cell = torch.randperm(64, generator=torch.Generator().manual_seed(seed))[:7]  # no two objects share one
    truth[0, :, 0], truth[0, :, 1] = (cell % 8 + 0.3) / 8, (cell // 8 + 0.6) / 8
    found = loss_v3([raw], truth, own, [[0, 1, 2]], (128, 128), ignore=0.7, box_loss="ciou", anchor_iou=0.4)["loss"]
    expected = by_hand(split(raw, 3)[0], truth[0], own, 128)
    assert found.item() == pytest.approx(expected, rel=1e-6)

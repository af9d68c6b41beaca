"""YOLO's coding, losses and letterbox against libdarknet, closed forms and each other."""

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle

from helpers.course.errors import UserError
from helpers.data import geometry
from helpers.yolo import boxes
from helpers.yolo import grid as yolo
from helpers.yolo.boxes import cxcywh_to_xyxy, giou, iou
from helpers.yolo.detect import detections
from helpers.yolo.loss import loss_v2, loss_v3

ANCHORS = torch.tensor([[10.0, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119]])
MASKS = [[3, 4, 5], [0, 1, 2]]
CLASSES = 4


@pytest.fixture(scope="module")
def darknet(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("shim"))


def logits(n, classes, h, w, seed=0, batch=1, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, n * (5 + classes), h, w, generator=generator) * scale


def objects(n, seed=0, classes=CLASSES, rows=20):
    """(1, rows, 5): n random objects, then padding."""
    rng = np.random.default_rng(seed)
    truth = torch.zeros(1, rows, 5)
    truth[..., 4] = -1
    size = np.exp(rng.uniform(np.log(0.03), np.log(0.8), (n, 2)))
    centre = rng.uniform(0.02, 0.98, (n, 2))
    truth[0, :n] = torch.tensor(np.concatenate([centre, size, rng.integers(0, classes, (n, 1))], 1)).float()
    return truth


# ---------------------------------------------------------------- letterbox


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
    with pytest.raises(UserError, match="1000 x 2 pixels is too long and thin"):
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


# ---------------------------------------------------------------- the loss: v3


def yolo_cfg(mask, h, w, ignore=0.7):
    anchors = ",".join(str(a) for a in ANCHORS.flatten().tolist())
    return (
        f"[net]\nbatch=1\nwidth={w}\nheight={h}\nchannels={len(mask) * (5 + CLASSES)}\n[yolo]\nclasses={CLASSES}\n"
        f"num=6\nmask={','.join(map(str, mask))}\nanchors={anchors}\nignore_thresh={ignore}\ntruth_thresh=1\n"
    )


def delta(darknet, folder, cfg, raw, truth, seen=None):
    """libdarknet's delta for a net that is nothing but the head: its input are the logits."""
    (folder / "head.cfg").write_text(cfg)
    net = darknet.network(folder / "head.cfg")
    if seen is not None:
        darknet.dk_seen(net, seen)
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


def test_a_batch_is_the_sum_of_its_pictures():
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
    with pytest.raises(UserError, match="choose v3, iou, giou or ciou"):
        loss_v3([raw], truth, ANCHORS, [mask], (160, 160), box_loss="diou")


# ---------------------------------------------------------------- the loss: v2


def region_cfg(h, w, **options):
    lines = "\n".join(f"{k}={v}" for k, v in options.items())
    return (
        f"[net]\nbatch=1\nwidth={w}\nheight={h}\nchannels=27\n[region]\nclasses={CLASSES}\ncoords=4\nnum=3\n"
        f"anchors=1.5,2,4,3,8,9\n{lines}\n"
    )


@pytest.mark.parametrize("rescore", [0, 1])
@pytest.mark.parametrize("bias_match", [0, 1])
@pytest.mark.parametrize("softmax", [0, 1])
@pytest.mark.parametrize("seen", [0, 20000])
@pytest.mark.parametrize("case", ["plain", "same_cell", "border", "none", "many"])
def test_v2_loss_has_minus_darknets_delta_as_gradient(darknet, tmp_path, case, rescore, bias_match, softmax, seen):
    grid, truth = (7, 11), CASES[case]
    raw = logits(3, CLASSES, *grid, seed=6)
    scales = {"coord_scale": 1.5, "object_scale": 5.0, "noobject_scale": 0.7, "class_scale": 1.2}
    cfg = region_cfg(*grid, thresh=0.5, rescore=rescore, bias_match=bias_match, softmax=softmax, **scales)
    theirs = delta(darknet, tmp_path, cfg, raw, truth, seen)
    raw.requires_grad_()
    anchors = torch.tensor([[1.5, 2], [4, 3], [8, 9]])
    loss = loss_v2(
        raw,
        truth,
        anchors,
        threshold=0.5,
        rescore=bool(rescore),
        bias_match=bool(bias_match),
        softmax=bool(softmax),
        young=seen < 12800,
        **scales,
    )
    (ours,) = torch.autograd.grad(loss["loss"], raw)
    assert (theirs != 0).any() and (ours + theirs).abs().max() < 1e-6 * max(1, theirs.abs().max())


# ---------------------------------------------------------------- coding


def test_what_is_encoded_is_decoded():
    """Logits made of the targets give the objects back, each in its own place and class."""
    truth = objects(12, 7)
    best = yolo.best_anchor(truth, ANCHORS, (128, 160))
    found = []
    for mask, grid in zip(MASKS, [(4, 5), (8, 10)]):
        target = yolo.targets(truth, best, mask, ANCHORS, grid, (128, 160), CLASSES)
        code = yolo.offsets(target.box, ANCHORS[mask], (128, 160))
        raw = torch.cat(
            [
                torch.logit(code[..., :2]),
                code[..., 2:],
                torch.logit(target.present.float())[..., None],
                torch.logit(target.classes),
            ],
            -1,
        )
        boxes, scores = yolo.decode_v3(raw.movedim(-1, 2).flatten(1, 2), ANCHORS[mask], (128, 160))
        found.append(torch.cat([boxes, scores], -1)[scores.amax(-1) > 0.5])
    found = torch.cat(found)
    rows = truth[0, :12]
    nearest = (found[:, None, :4] - rows[:, :4]).abs().amax(-1)
    assert len(found) == 12 and nearest.amin(0).max() < 1e-6
    assert torch.equal(found[nearest.argmin(0), 4:].argmax(-1), rows[:, 4].long())


def test_each_object_has_one_owner_on_the_head_of_its_best_anchor():
    truth = objects(15, 11)
    best = yolo.best_anchor(truth, ANCHORS, (256, 256))
    shapes = truth[0, :15, None, 2:4] * 256
    overlap = torch.minimum(shapes, ANCHORS).prod(-1)
    overlap = overlap / (shapes.prod(-1) + ANCHORS.prod(-1) - overlap)
    assert torch.equal(best[0, :15], overlap.argmax(-1))
    count = [
        yolo.targets(truth, best, mask, ANCHORS, grid, (256, 256), CLASSES).present.sum()
        for mask, grid in zip(MASKS, [(32, 32), (64, 64)])
    ]
    assert sum(count) == 15


def test_with_anchor_iou_several_anchors_answer_for_an_object():
    """One shape, one grid: the answering anchors are those that torchvision's IoU of centred boxes puts above it."""
    from torchvision.ops import box_iou

    truth = objects(15, 11)
    half = torch.cat([-truth[0, :15, 2:4], truth[0, :15, 2:4]], 1) * 128
    overlap = box_iou(half, torch.cat([-ANCHORS, ANCHORS], 1) / 2)  # (15, 6)
    for least in (0.2, 0.4, 1.0):
        expected = (overlap > least) | (overlap == overlap.amax(1, keepdim=True))
        many = yolo.responsible_anchors(truth, ANCHORS, (256, 256), least)
        assert torch.equal(many[0, :15], expected) and (least < 1) == (expected.sum() > 15)
        present = sum(
            yolo.targets(truth, many, mask, ANCHORS, (256, 256), (256, 256), CLASSES).present.sum() for mask in MASKS
        )
        assert present == expected.sum()  # on so fine a grid no two objects share a cell
    best = yolo.best_anchor(truth, ANCHORS, (256, 256))
    assert torch.equal(yolo.responsible_anchors(truth, ANCHORS, (256, 256)).int().argmax(-1)[0, :15], best[0, :15])


def test_detections_are_per_class_and_limited():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]])
    scores = torch.tensor([[0.9, 0.6], [0.8, 0.7], [0.1, 0.3]])
    found = detections(boxes, scores, threshold=0.25)
    assert found["labels"].tolist() == [0, 1, 1]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.3])
    assert len(detections(boxes, scores, 0.25, most=2)["boxes"]) == 2
    assert detections(boxes, scores, 0.25, candidates=2)["scores"].tolist() == pytest.approx([0.9])
    assert detections(boxes, scores, 0.95)["boxes"].shape == (0, 4)


def test_the_loss_stays_on_its_device():
    heads = [torch.empty(2, 27, 4, 4, device="meta"), torch.empty(2, 27, 8, 8, device="meta")]
    truth, anchors = torch.empty(2, 5, 5, device="meta"), ANCHORS.to("meta")
    assert loss_v3(heads, truth, anchors, MASKS, (64, 64), rescore=True)["loss"].device.type == "meta"
    assert loss_v2(heads[0], truth, anchors[:3])["loss"].device.type == "meta"

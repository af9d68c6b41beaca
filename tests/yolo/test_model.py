"""The small YOLO: its cfg, its augmentation, that it learns, and that the C program finds the same boxes."""

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle

from helpers.course.errors import UserError
from helpers.data import scenes
from helpers.yolo import model as yolo_model
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from helpers.yolo.darknet.network import Darknet
from helpers.yolo.detect import detect_batch
from helpers.yolo.grid import pad_truth

SIZE = 96


def some_scenes(n, seed=0, split="train"):
    images, boxes, labels = scenes.dataset(n, seed, split, SIZE)
    sizes = np.concatenate([b[:, 2:] - b[:, :2] for b in boxes])
    return torch.from_numpy(images), boxes, labels, sizes


def test_eight_scenes_are_learnt_by_heart(eight):
    model, _, images, truths = eight
    summary = evaluate(detect_batch(model, images), truths).summary()
    assert summary["map50"] >= 0.99 and summary["map"] > 0.6
    strangers, boxes, labels, _ = some_scenes(8, 1, "test")
    other = evaluate(
        detect_batch(model, strangers), [{"boxes": b, "labels": k} for b, k in zip(boxes, labels)]
    ).summary()
    assert other["map50"] < 0.5  # by heart, not by understanding: the metric can tell


def test_trained_here_run_there(eight, tmp_path):
    """The exported cfg and weights in libdarknet: the same boxes, classes and scores."""
    darknet = Oracle(tmp_path)
    model, cfg, images, _ = eight
    yolo_model.export(model, cfg, tmp_path / "out", list("0123456789"))
    net = darknet.network(tmp_path / "out" / "yolo.cfg", tmp_path / "out" / "yolo.weights")
    total = 0
    for image in images[:4]:
        darknet.forward(net, image.float().numpy() / 255)
        boxes, scores = darknet.boxes(net, SIZE, SIZE, 0.3, 0.45, 10)
        index, label = np.nonzero(scores)
        theirs = sorted(zip(label.tolist(), scores[index, label].tolist(), boxes[index].tolist()))
        found = detect_batch(model, image[None], 0.3)[0]
        ours = sorted(zip(found["labels"].tolist(), found["scores"].tolist(), xyxy_to_cxcywh(found["boxes"]).tolist()))
        assert [k for k, _, _ in ours] == [k for k, _, _ in theirs]
        assert np.allclose([s for _, s, _ in ours], [s for _, s, _ in theirs], atol=1e-5)
        assert np.allclose([b for _, _, b in ours], [b for _, _, b in theirs], atol=1e-3)  # pixels
        total += len(ours)
    assert total >= 4
    darknet.free_network(net)


@pytest.mark.parametrize("strides, anchors", [((8,), 3), ((8, 16), 6), ((8, 16, 32), 9), ((4, 16), 4)])
def test_cfg_has_one_head_a_stride(strides, anchors):
    cfg = yolo_model.small_cfg(3, [[8 * (i + 1)] * 2 for i in range(anchors)], (64, 96), 8, strides)
    model = Darknet(cfg)
    heads = model(torch.rand(2, 3, 64, 96))
    assert [tuple(h.shape) for h in heads] == [
        (2, anchors // len(strides) * 8, 64 // s, 96 // s) for s in reversed(strides)
    ]
    assert model.heads[-1].mask[0] == 0  # the finest has the smallest


@pytest.mark.parametrize(
    "arguments, what",
    [
        (([[8, 8]] * 5, (64, 64), 8, (8, 16)), "got strides .* and 5 anchors"),
        (([[8, 8]] * 4, (64, 72), 8, (8, 16)), "72 x 64"),
        (([[8, 8]] * 4, (64, 64), 8, (16, 8)), "ascending"),
        (([[8, 8]], (60, 60), 8, (10,)), "powers of 2"),
    ],
)
def test_bad_cfgs_are_explained(arguments, what):
    with pytest.raises(UserError, match=what):
        yolo_model.small_cfg(3, *arguments)


@pytest.mark.parametrize("flip", ["none", "horizontal", "both"])
def test_augmented_boxes_follow_the_picture(flip):
    """White squares on grey: after zoom, shift and mirror each box is where its square is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.full((64, 3, 96, 128), 128, dtype=torch.uint8)
    corner = torch.rand(64, 2, generator=generator) * torch.tensor([70.0, 40.0]) + 10
    side = torch.rand(64, 2, generator=generator) * 25 + 15
    boxes = torch.cat([corner, corner + side], 1).round()
    for image, (x0, y0, x1, y1) in zip(images, boxes.int().tolist()):
        image[:, y0:y1, x0:x1] = 255
    truth = pad_truth(boxes[:, None], torch.zeros(64, 1), 96, 128)
    moved, after = yolo_model.make_augment(flip=flip, zoom=1.3, shift=0.2, colour=0.0)((images, truth), generator)
    kept = 0
    for image, row in zip(moved, after):
        rows, columns = (image[0] > 191).nonzero().T
        if row[0, 4] < 0:
            continue
        kept += 1
        found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        expected = cxcywh_to_xyxy(row[:, :4])[0] * torch.tensor([128, 96, 128, 96])
        assert (found - expected).abs().max() <= 1.0
    assert kept > 50 and (after[..., :4] >= 0).all() and (after[..., :4] <= 1).all()
    assert (after[:, 0, 0] - truth[:, 0, 0]).std() > 0.05  # something happened


@pytest.mark.parametrize("flip, turned", [("none", (0, 0)), ("horizontal", (1, 0)), ("both", (1, 1))])
def test_flips_turn_what_they_say_and_half_of_the_pictures(flip, turned):
    """Without zoom and shift a centre stays on its side of the middle, at a distance that only the stretch changes."""
    truth = torch.tensor([0.35, 0.3, 0.1, 0.1, 0]).expand(400, 1, 5)
    augment = yolo_model.make_augment(flip=flip, zoom=1.0, shift=0.0, colour=0.0)
    _, after = augment((torch.zeros(400, 3, 32, 32, dtype=torch.uint8), truth), torch.Generator().manual_seed(0))
    ratio = (after[:, 0, :2] - 0.5) / (truth[:, 0, :2] - 0.5)  # (400, 2): x, y
    assert (ratio.abs() >= 1 / 1.1 - 1e-5).all() and (ratio.abs() <= 1.1 + 1e-5).all()
    for share, may in zip((ratio < 0).double().mean(0), turned):
        assert 0.4 < share < 0.6 if may else share == 0  # 4 deviations of 400 coins


def test_augmentation_is_a_function_of_its_generator_and_colours_stay_legal():
    images, boxes, labels, _ = some_scenes(4)
    batch = images, pad_truth(boxes, labels, SIZE, SIZE)
    one, two, three = (yolo_model.make_augment()(batch, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and not torch.equal(one[0], three[0])
    assert one[0].dtype == torch.uint8 and one[0].shape == images.shape


def test_a_step_stays_on_its_device():
    with torch.device("meta"):
        model = yolo_model.new(yolo_model.small_cfg(3, [[8, 8], [16, 16]], (64, 64), 8, (8, 16)))
        batch = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 4, 5)
    for box_loss in ("v3", "ciou"):
        sums = yolo_model.make_step(box_loss, rescore=True)(model, batch)
        assert all(value.device.type == "meta" and value.ndim == 0 for value in sums.values())
        sums["loss"].backward()


def test_an_unknown_flip_is_refused_before_training():
    with pytest.raises(UserError, match="flip must be one of none, horizontal, both; got 'vertical'"):
        yolo_model.make_augment("vertical")

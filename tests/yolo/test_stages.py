"""One stage and two: boxes, assignment, cut-outs, losses, and that both learn."""

import json

import pytest
import torch
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.course.experiments import Record
from helpers.yolo import stages

KINDS = list(stages.DETECTORS)


def truth(device="cpu"):
    """Two pictures of 96 pixels: two digits and one."""
    boxes, labels = torch.zeros(2, 6, 4, device=device), torch.full((2, 6), -1, device=device)
    boxes[0, :2] = torch.tensor([[8.0, 8, 32, 40], [50, 50, 80, 90]])
    boxes[1, 0] = torch.tensor([10.0, 60, 30, 90])
    labels[0, :2], labels[1, 0] = torch.tensor([3, 7]), 1
    return torch.zeros(2, 3, 96, 96, device=device), boxes, labels


def test_a_box_in_the_middle_of_its_cell():
    raw = torch.zeros(1, 15, 12, 12)  # sigmoid(0) = 0.5: the centre of the cell; exp(0) = 1: the typical side
    boxes, confidence = stages.decode(raw)
    assert boxes.shape == (1, 144, 4) and confidence.shape == (1, 144)
    centre = (boxes[0, 12 * 3 + 5, :2] + boxes[0, 12 * 3 + 5, 2:]) / 2  # row 3, column 5
    assert torch.allclose(centre, torch.tensor([5.5 * 8, 3.5 * 8]))
    assert torch.allclose(boxes[..., 2:] - boxes[..., :2], torch.tensor(24.0))


def test_each_object_belongs_to_the_cell_of_its_centre():
    _, boxes, labels = truth()
    picture, thing, cell = stages.cells(boxes, labels, 12)
    assert picture.tolist() == [0, 0, 1] and thing.tolist() == [0, 1, 0]
    assert cell.tolist() == [3 * 12 + 2, 8 * 12 + 8, 9 * 12 + 2]  # centres (20, 24), (65, 70), (20, 75), over 8


def test_proposals_are_the_best_without_doubles():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60], [20, 20, 30, 30]]])
    [found] = stages.propose(boxes, torch.tensor([[0.9, 0.8, 0.3, 0.5]]), most=2)
    assert torch.equal(found, boxes[0, [0, 3]])


def test_reading_starts_from_the_proposal():
    torch.manual_seed(0)
    model = stages.TwoStages()
    model.second[-1].weight.data.zero_()
    model.second[-1].bias.data.zero_()
    rois = [torch.tensor([[8.0, 8, 32, 40], [3, 5, 20, 30]]), torch.tensor([[10.0, 60, 30, 90]])]
    classes, boxes = model.read(torch.rand(2, 48, 12, 12), rois)
    assert classes.shape == (3, 11) and torch.allclose(boxes, torch.cat(rois), atol=1e-4)


def test_roi_align_at_a_box_of_whole_cells_is_their_mean():
    """The oracle of the drawing: a part that covers 1 x 1 cells, sampled at 2 x 2 points, is an interpolated mean."""
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)  # its value is the column, so the mean of a part is its middle
    cut = stages.roi_align(ramp, [torch.tensor([[16.0, 16, 56, 56]])], 5, 1 / 8, 2, True)[0, 0]
    assert torch.allclose(cut, torch.arange(2.0, 7).expand(5, 5), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_finite_and_detections_are_boxes(kind):
    torch.manual_seed(0)
    model = stages.DETECTORS[kind]()
    loss = stages.step(model, truth())["loss"]
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        found = model.eval().detect(torch.rand(3, 3, 96, 96))
    assert len(found) == 3 and all(one["boxes"].shape == (len(one["scores"]), 4) for one in found)


def test_the_one_stage_detector_on_the_meta_device():
    assert stages.OneStage().to("meta")(torch.zeros(1, 3, 96, 96, device="meta")).shape == (1, 15, 12, 12)


def test_both_have_nearly_as_many_weights():
    one, two = (sum(p.numel() for p in make().parameters()) for make in stages.DETECTORS.values())
    assert 0.9 < one / two < 1.1


@pytest.mark.parametrize("kind", KINDS)
def test_both_learn_eight_scenes_by_heart(kind):
    data = stages.draw(8, "train", 96, 1)
    torch.manual_seed(0)
    model = stages.train(stages.DETECTORS[kind](), data, epochs=100, lr=0.003, seed=0, batch_size=4)
    assert stages.score(model, data)["place"] > 0.6  # untrained it is near 0


def test_recorded_command_on_a_tiny_scale(tmp_path):
    done = CliRunner().invoke(
        app, ["experiment", "yolo-stages", "--seeds", "2", "--scale", "tiny", "--folder", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.strip().split("\n")[-1])["runs"] == 4
    record = Record("yolo-stages", tmp_path)
    for kind in KINDS:
        assert all(0 <= v <= 1 for metric in ("map50", "longer place") for v in record[kind, metric])
        assert set(record[kind, "rate"]) <= set(stages.RATES)

"""YOLOv1: its loss against the C program's gradient, its cells against a loop, and that it learns."""

import numpy as np
import pytest
import torch
from darknet_oracle import Oracle

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import fit
from helpers.data import scenes
from helpers.yolo import v1
from helpers.yolo.average_precision import evaluate
from helpers.yolo.detect import detect_batch
from helpers.yolo.grid import pad_truth

S, N, K = 5, 2, 4


def objects(n, seed=0, rows=8):
    rng = np.random.default_rng(seed)
    truth = torch.zeros(1, rows, 5)
    truth[..., 4] = -1
    truth[0, :n] = torch.tensor(
        np.concatenate([rng.uniform(0.02, 0.98, (n, 2)), rng.uniform(0.05, 0.7, (n, 2)), rng.integers(0, K, (n, 1))], 1)
    ).float()
    return truth


def raw_output(seed=0):
    """Outputs like those of a network in training: sizes positive and negative, some boxes far off."""
    output = torch.randn(1, S * S * (K + 5 * N), generator=torch.Generator().manual_seed(seed)) * 0.6
    output[:, S * S * (K + N) :] += 0.4
    return output


CASES = {"several": objects(5), "one": objects(1, 3), "none": objects(0), "many": objects(8, 7)}
CASES["two in a cell"] = torch.tensor(
    [[[0.31, 0.31, 0.3, 0.2, 1.0], [0.33, 0.32, 0.5, 0.1, 2.0], [0.9, 0.1, 0.2, 0.2, 0.0]]]
)
CASES["untouched"] = torch.tensor([[[0.11, 0.91, 0.004, 0.003, 3.0], [0.999, 0.001, 0.002, 0.002, 1.0]]])


def loop(output, truth, coord=5.0, noobject=0.5):
    """The loss by the paper's sentences, one box at a time, in plain numbers."""
    out = output[0].double().numpy()
    p, c, b = np.split(out, [S * S * K, S * S * (K + N)])
    p, c, b = p.reshape(S, S, K), c.reshape(S, S, N), b.reshape(S, S, N, 4)
    owner = {}
    for x, y, w, h, k in truth[0].double().numpy():
        if k >= 0:
            owner.setdefault((min(int(y * S), S - 1), min(int(x * S), S - 1)), (x, y, w, h, int(k)))
    total = 0.0
    for row in range(S):
        for column in range(S):
            best = None
            if (row, column) in owner:
                x, y, w, h, k = owner[row, column]
                ious, far = [], []
                for j in range(N):
                    bx, by = (b[row, column, j, 0] + column) / S, (b[row, column, j, 1] + row) / S
                    bw, bh = b[row, column, j, 2] ** 2, b[row, column, j, 3] ** 2
                    ix = max(0, min(bx + bw / 2, x + w / 2) - max(bx - bw / 2, x - w / 2))
                    iy = max(0, min(by + bh / 2, y + h / 2) - max(by - bh / 2, y - h / 2))
                    ious.append(ix * iy / (bw * bh + w * h - ix * iy))
                    far.append((bx - x) ** 2 + (by - y) ** 2 + (bw - w) ** 2 + (bh - h) ** 2)
                best = int(np.argmax(ious)) if max(ious) > 0 else int(np.argmin(far))
                wanted = [x * S - column, y * S - row, w**0.5, h**0.5]
                total += coord * ((b[row, column, best] - wanted) ** 2).sum()
                total += (c[row, column, best] - ious[best]) ** 2
                total += ((p[row, column] - np.eye(K)[k]) ** 2).sum()
            total += sum(noobject * c[row, column, j] ** 2 for j in range(N) if j != best)
    return total


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_equals_a_loop_over_boxes(case, seed):
    output, truth = raw_output(seed), CASES[case]
    parts = v1.loss_v1(output.double(), truth.double(), S, N, K)
    assert parts["loss"].item() == pytest.approx(loop(output, truth), rel=1e-9)
    assert parts["loss"].item() == pytest.approx(sum(parts[k].item() for k in ("box", "objectness", "class")))


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_minus_twice_darknets_delta(tmp_path, case):
    """Darknet descends ½ (out - wanted)^2; the paper writes it without the half."""
    darknet, truth, output = Oracle(tmp_path), CASES[case], raw_output(2)
    (tmp_path / "head.cfg").write_text(
        f"[net]\nbatch=1\nwidth=1\nheight=1\nchannels={output.shape[1]}\n[detection]\nclasses={K}\ncoords=4\nrescore=1\nside={S}\nnum={N}\nsoftmax=0\nsqrt=1\nobject_scale=1\nnoobject_scale=.5\nclass_scale=1\ncoord_scale=5\n"
    )
    cells = np.zeros((S, S, 1 + K + 4), np.float32)  # is there one, its class, x and y in the cell
    for x, y, w, h, k in truth[0].numpy():
        row, column = min(int(y * S), S - 1), min(int(x * S), S - 1)
        if k >= 0 and not cells[row, column, 0]:
            cells[row, column] = [1, *np.eye(K)[int(k)], x * S - column, y * S - row, w, h]
    net = darknet.network(tmp_path / "head.cfg")
    darknet.forward(net, output.numpy(), truth=cells, train=True)
    theirs = torch.from_numpy(darknet.delta(net, 0))
    ours = output.clone().requires_grad_()
    v1.loss_v1(ours, truth, S, N, K)["loss"].backward()
    assert theirs.abs().max() > 0.1
    # x and y in a cell are x * S - column: for truth in float32 both lose the same digits in another order
    torch.testing.assert_close(ours.grad[0], -2 * theirs, rtol=1e-5, atol=2e-5)


def test_truth_written_into_the_output_has_no_loss_and_decodes_to_the_truth():
    truth = torch.cat([CASES["one"], CASES["several"]])
    target = v1.cells(truth, S)
    inside = target.box[..., :2] * S
    box = torch.cat([inside - inside.floor(), target.box[..., 2:].sqrt()], -1)[..., None, :].expand(-1, -1, -1, N, -1)
    confidence = torch.zeros(2, S, S, N)
    confidence[..., 0] = target.present.float()  # of equal boxes the first answers
    label = torch.nn.functional.one_hot(target.label, K).float()
    output = torch.cat([label.flatten(1), confidence.flatten(1), box.flatten(1)], 1)
    assert v1.loss_v1(output, truth, S, N, K)["loss"] < 1e-9
    boxes, scores = v1.decode_v1(output, S, N, K)
    for i, rows in enumerate(truth):
        rows = rows[rows[:, 4] >= 0]
        found = boxes[i][scores[i].amax(1) > 0.5]
        assert len(found) == len(rows)
        torch.testing.assert_close(found[found[:, 0].argsort()], rows[rows[:, 0].argsort(), :4])


def test_the_first_of_two_objects_in_a_cell_stays():
    target = v1.cells(CASES["two in a cell"], S)
    assert target.present.sum() == 2 and target.label[0, 1, 1] == 1


def test_wrong_size_is_named():
    with pytest.raises(UserError, match="350 outputs; got 300"):
        v1.split(torch.zeros(1, 300), S, N, K)


def test_eight_scenes_by_heart():
    images, boxes, labels = scenes.dataset(8, 0, "train", 96)
    truths = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels)]
    torch.manual_seed(0)
    model = v1.network()
    before = evaluate(detect_batch(model, torch.from_numpy(images)), truths).ap(0.5)
    data = Tensors(torch.from_numpy(images), pad_truth(boxes, labels, 96, 96))
    fit(
        model,
        data,
        step=v1.make_step(),
        optimizer=torch.optim.Adam(model.parameters(), 2e-3),
        epochs=200,
        batch_size=8,
        device="cpu",
    )
    after = evaluate(detect_batch(model, torch.from_numpy(images)), truths).ap(0.5)
    assert before < 0.1 and after > 0.8


def test_step_leaves_nothing_on_the_cpu():
    model = v1.network().to("meta")
    batch = torch.zeros(2, 3, 96, 96, dtype=torch.uint8, device="meta"), torch.zeros(2, 3, 5, device="meta")
    assert v1.make_step()(model, batch)["loss"].device.type == "meta"


def test_the_cells_of_a_convolution_are_read_as_those_of_the_vector():
    """A column of numbers for each cell, put where section 2 of the paper has it, read by `split` and `decode_v1`."""
    cell = torch.rand(2, K + 5 * N, S, S, generator=torch.Generator().manual_seed(0))
    probability, confidence, box = v1.split(v1.Cellwise(N, K)(cell), S, N, K)
    for row, column in ((0, 0), (1, 2), (S - 1, 0)):
        one = cell[:, :, row, column]
        assert torch.equal(probability[:, row, column], one[:, :K])
        assert torch.equal(confidence[:, row, column], one[:, K : K + N])
        assert torch.equal(box[:, row, column].flatten(1), one[:, K + N :])
    boxes, scores = v1.decode_v1(v1.Cellwise(N, K)(cell), S, N, K)
    assert torch.equal(boxes.view(2, S, S, N, 4)[:, 1, 2, 0, 0], (cell[:, K + N, 1, 2] + 2) / S)
    assert torch.equal(scores.view(2, S, S, N, K)[:, 1, 2, 1], cell[:, K + 1, 1, 2, None] * cell[:, :K, 1, 2])


def test_without_its_connected_end_it_moves_along_with_the_picture():
    """The same weights for every cell: away from the border a picture moved by a cell gives an answer moved by one."""
    torch.manual_seed(0)
    model = v1.network(6, connected=False).eval()
    assert model(torch.zeros(1, 3, 96, 96)).shape == v1.network(6)(torch.zeros(2, 3, 96, 96))[:1].shape
    x = torch.zeros(1, 3, 96, 96)
    x[..., 40:56, 32:48] = torch.rand(3, 16, 16)
    here, there = (v1.split(model(y), 6, 2, 10)[0] for y in (x, x.roll(16, -1)))
    torch.testing.assert_close(here[:, 2:4, 1:4], there[:, 2:4, 2:5], atol=1e-5, rtol=1e-4)
    assert (here[:, 2:4, 1:4] - there[:, 2:4, 1:4]).abs().max() > 1e-4

"""One stage or two: two small detectors that share everything but how an object's class is read.

Both have the same features and the same first head, which says in each cell of the map how sure it is of an object
and where its box lies. The one-stage detector reads the ten classes there, too. The two-stage detector takes the best
boxes as proposals, cuts each out of the map (`roi_align`) and reads the class, and a better box, with a second head.

    model = OneStage(), or TwoStages()
    model.detect(images)                         # [{"boxes", "scores", "labels"}, ...] in pixels
    train(model, scenes, epochs=6, lr=3e-3, seed=0)

Their second parts have nearly as many parameters: a deeper head (`OneStage`) against the head of the second stage.
"""

from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from helpers.course.batches import Tensors
from helpers.course.training import fit
from helpers.data import scenes
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import giou, iou, xyxy_to_cxcywh
from helpers.yolo.detect import postprocess
from helpers.yolo.experiments import place
from helpers.yolo.heads import features

STRIDE, CLASSES, TYPICAL = 8, 10, 24.0  # pixels a cell; digits; a box whose two size outputs are 0 has this side
ROI, PROPOSALS = 5, 12  # cells a side of what is cut out; proposals a picture


def block(c, d, kernel=3):
    """Convolution, batch normalisation, ReLU."""
    return [nn.Conv2d(c, d, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(d), nn.ReLU()]


def decode(raw):
    """A head's first five channels (B, 5+, H, W) -> boxes (B, H W, 4) xyxy in pixels, confidence (B, H W), logits."""
    b, _, h, w = raw.shape
    y, x = torch.meshgrid(*(torch.arange(n, device=raw.device) for n in (h, w)), indexing="ij")
    t = raw[:, :5].flatten(2)  # (B, 5, H W)
    centre = (torch.stack([x, y]).flatten(1) + 2 * t[:, 1:3].sigmoid() - 0.5) * STRIDE
    half = TYPICAL * t[:, 3:5].clamp(-4, 4).exp() / 2
    return torch.cat([centre - half, centre + half], 1).transpose(1, 2), t[:, 0]


def cells(boxes, labels, width):
    """The cell of each object's centre: (picture, object, cell) of boxes (B, M, 4) and labels (B, M), -1 for none."""
    picture, thing = (labels >= 0).nonzero(as_tuple=True)
    centre = (boxes[picture, thing, :2] + boxes[picture, thing, 2:]) / 2 / STRIDE
    return picture, thing, centre[:, 1].long() * width + centre[:, 0].long()


def first_loss(raw, truth, labels):
    """(loss, cells) of the part that both share: confidence in every cell, 1 - GIoU where an object's centre lies."""
    boxes, confidence = decode(raw)
    picture, thing, cell = cells(truth, labels, raw.shape[-1])
    wanted = torch.zeros_like(confidence)
    wanted[picture, cell] = 1
    loss = F.binary_cross_entropy_with_logits(confidence, wanted, reduction="sum")
    return loss + 2 * (1 - giou(boxes[picture, cell], truth[picture, thing])).sum(), (picture, thing, cell)


class OneStage(nn.Module):
    """Features, a deeper head on the map, and in each cell a confidence, a box and ten classes."""

    def __init__(self, width=16):
        super().__init__()
        c = 3 * width
        self.features = features(width)
        self.head = nn.Sequential(*block(c, c), *block(c, c), *block(c, c), *block(c, c))
        self.out = nn.Conv2d(c, 5 + CLASSES, 1)

    def forward(self, images):
        return self.out(self.head(self.features(images)))  # (B, 15, H / 8, W / 8)

    def loss(self, images, truth, labels):
        raw = self(images)
        loss, (picture, thing, cell) = first_loss(raw, truth, labels)
        classes = raw[:, 5:].flatten(2)[picture, :, cell]  # (objects, 10)
        return loss + F.cross_entropy(classes, labels[picture, thing], reduction="sum")

    def detect(self, images):
        raw = self(images)
        boxes, confidence = decode(raw)
        scores = confidence.sigmoid()[..., None] * raw[:, 5:].flatten(2).transpose(1, 2).softmax(-1)
        return [postprocess(xyxy_to_cxcywh(b), s, 0.01, 0.5, 100) for b, s in zip(boxes, scores)]


def propose(boxes, confidence, most=PROPOSALS, limit=0.6):
    """The best boxes of each picture, without doubles: [(n, 4), ...], n at most `most`; no gradient goes through."""
    found = []
    for box, sure in zip(boxes.detach(), confidence.detach()):
        best = sure.topk(min(4 * most, len(sure))).indices
        found.append(box[best][nms(box[best], sure[best], limit)[:most]])
    return found


class TwoStages(nn.Module):
    """Features, a head that proposes boxes, and a second network for each box that is cut out of the map."""

    def __init__(self, width=16):
        super().__init__()
        c = 3 * width
        self.features = features(width)
        self.head = nn.Sequential(*block(c, c))
        self.out = nn.Conv2d(c, 5, 1)
        self.second = nn.Sequential(nn.Flatten(), nn.Linear(c * ROI**2, 48), nn.ReLU(), nn.Linear(48, CLASSES + 1 + 4))

    def forward(self, images):
        map_ = self.features(images)
        return map_, self.out(self.head(map_))  # (B, C, H / 8, W / 8), (B, 5, H / 8, W / 8)

    def read(self, map_, rois):
        """Class logits (N, 11), the last one the background, and better boxes (N, 4) of all pictures' proposals."""
        cut = roi_align(map_, rois, ROI, 1 / STRIDE, sampling_ratio=2, aligned=True)  # (N, C, 5, 5)
        answer, boxes = self.second(cut), torch.cat(rois)
        size = boxes[:, 2:] - boxes[:, :2]
        centre = (boxes[:, 2:] + boxes[:, :2]) / 2 + answer[:, -4:-2] * size
        half = size * answer[:, -2:].clamp(-2, 2).exp() / 2
        return answer[:, :-4], torch.cat([centre - half, centre + half], 1)

    def loss(self, images, truth, labels):
        map_, raw = self(images)
        loss, _ = first_loss(raw, truth, labels)
        real = [t[k >= 0] for t, k in zip(truth, labels)]
        rois = [torch.cat(pair) for pair in zip(propose(*decode(raw)), real)]  # the objects themselves, too
        overlap = [iou(r[:, None], t) for r, t in zip(rois, real)]
        best = [o.max(1) for o in overlap]
        hit = torch.cat([b.values for b in best]) >= 0.5
        match = torch.cat([k[k >= 0][b.indices] for k, b in zip(labels, best)])
        boxes = torch.cat([t[b.indices] for t, b in zip(real, best)])
        classes, better = self.read(map_, rois)
        loss = loss + F.cross_entropy(classes, torch.where(hit, match, CLASSES), reduction="sum") / 2
        return loss + (1 - giou(better[hit], boxes[hit])).sum() / 2

    def detect(self, images):
        map_, raw = self(images)
        rois = propose(*decode(raw))
        classes, boxes = self.read(map_, rois)
        n = [len(r) for r in rois]
        parts = zip(xyxy_to_cxcywh(boxes).split(n), classes.softmax(-1)[:, :CLASSES].split(n))
        return [postprocess(b, s, 0.01, 0.5, 100) for b, s in parts]


# ------------------------------------------------------------------ scenes, training, the record


@lru_cache(maxsize=4)
def draw(n, split, size, seed):
    """n scenes: images (n, 3, size, size) in 0..1, boxes (n, 6, 4) in pixels, labels (n, 6) with -1 for none."""
    images, boxes, labels = scenes.dataset(n, seed, split, size)
    truth, names = torch.zeros(n, scenes.MOST, 4), torch.full((n, scenes.MOST), -1)
    for i, (b, k) in enumerate(zip(boxes, labels)):
        truth[i, : len(b)], names[i, : len(k)] = torch.from_numpy(b), torch.from_numpy(k)
    return torch.from_numpy(images).float() / 255, truth, names


def step(model, batch):
    """For `fit`: the sum of the losses of a batch (images, boxes, labels)."""
    return {"loss": model.loss(*batch)}


def train(model, data, epochs, lr, seed, batch_size=16):
    """Train in place: Adam, one cycle of the learning rate up to `lr` and down to nothing."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps = epochs * -(-len(data[0]) // batch_size)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps)
    fit(
        model,
        Tensors(*data),
        step=step,
        optimizer=optimizer,
        scheduler=cycle,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        clip=20.0,
        label="",
    )
    return model


@torch.no_grad()
def score(model, data):
    """mAP50 and mAP on scenes, and "place": AP50 of finding any digit, whatever its class."""
    model.eval()
    found = [one for images in data[0].split(64) for one in model.detect(images)]
    truths = [{"boxes": b[k >= 0], "labels": k[k >= 0]} for b, k in zip(data[1], data[2])]
    result = evaluate(found, truths)
    return {"map50": result.ap(0.5), "map": result.ap(), "place": place(found, truths, limit=0.5)}


DETECTORS = {"one stage": OneStage, "two stages": TwoStages}
RATES = (3e-3, 1e-2)  # the best one is chosen on validation scenes


def _stages(kind, n, n_test, epochs, times, seed):
    """Scores on test scenes after `epochs` and, as "longer ...", after `times` as many; the learning rate was chosen on
    validation scenes after the short training."""
    data, valid, test = (draw(m, split, 96, seed) for m, split in ((n, "train"), (n_test, "valid"), (n_test, "test")))

    def trained(lr, epochs):
        torch.manual_seed(seed)
        return train(DETECTORS[kind](), data, epochs, lr, seed)

    tries = {lr: trained(lr, epochs) for lr in RATES}
    chosen = max(RATES, key=lambda lr: score(tries[lr], valid)["map50"])
    longer = score(trained(chosen, times * epochs), test)
    return score(tries[chosen], test) | {f"longer {name}": value for name, value in longer.items()} | {"rate": chosen}


def stages(scale):
    """One stage and two: the same scenes, steps and learning rates to choose from, and three times the steps."""
    settings = {"tiny": (16, 12, 1, 1), "small": (800, 200, 6, 3), "full": (8000, 1000, 30, 3)}[scale]
    return {kind: partial(_stages, kind, *settings) for kind in DETECTORS}

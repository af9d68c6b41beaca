"""What follows the features of a convolutional network: one class, one box, a class for every pixel.

    images, boxes, labels = one_digit(1000, "train", 96, seed=0)   # (1000, 3, 96, 96), (1000, 4) in 0..1, (1000,)
    model = Locator()
    classes, found = model(images[:8])                             # (8, 10) logits, (8, 4) boxes
    locate_loss(classes, found, labels[:8], boxes[:8])

The notebook writes `Locator` and `Segmenter` again in its own cells; the tests hold both against each other.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from helpers.course.batches import Tensors
from helpers.course.progress import track
from helpers.course.training import fit
from helpers.data import scenes
from helpers.yolo.boxes import iou

SIDE = 48  # pixels of the pictures with one digit


def one_digit(n, split, size, seed, digits="mnist5k"):
    """n scenes of one digit: images (n, 3, size, size) in 0..1, boxes (n, 4) xyxy in their sides, labels (n,)."""
    found = [scenes.scene(i, seed, split, size, digits, most=1) for i in track(range(n), f"{split} scenes")]
    images = torch.from_numpy(np.stack([one.image for one in found])).float() / 255
    boxes = torch.from_numpy(np.concatenate([one.boxes for one in found])) / size
    return images, boxes, torch.from_numpy(np.concatenate([one.labels for one in found]))


PIXELS = ("background", "dark digit", "light digit")  # the classes of a pixel


def pixel_classes(n, split, size, seed, digits="mnist5k"):
    """n scenes of several digits: images (n, 3, size, size) in 0..1, a class of `PIXELS` a pixel (n, size, size)."""
    images, classes = torch.zeros(n, 3, size, size), torch.zeros(n, size, size, dtype=torch.long)
    for i in track(range(n), f"{split} scenes"):
        one = scenes.scene(i, seed, split, size, digits)
        images[i] = torch.from_numpy(one.image).float() / 255
        for mask in torch.from_numpy(one.masks):  # the ink of one digit has one colour
            classes[i][mask] = 1 + int(images[i][:, mask].mean() > 0.5)
    return images, classes


def features(width=24, channels=3):
    """Four convolutions, three of stride 2: (B, 3, H, W) -> (B, 3 width, H / 8, W / 8)."""
    layers = []
    for filters, stride in ((width, 2), (2 * width, 2), (3 * width, 2), (3 * width, 1)):
        layers += [nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers)


# ------------------------------------------------------------------ one class and one box


def windows(images, boxes, side, generator):
    """A random window of `side` pixels around the box of each image: images (N, 3, side, side), boxes (N, 4) in it.

    images (N, 3, H, H), boxes (N, 4) xyxy in sides of the image; no box may be larger than the window.
    """
    n, full = len(images), images.shape[-1]
    pixels = (boxes * full).round()
    first = (pixels[:, 2:] - side).clamp(min=0)  # the window's corner lies between these two, (N, 2) x and y
    last = pixels[:, :2].clamp(max=full - side)
    corner = first + ((last - first + 1) * torch.rand(n, 2, generator=generator).to(boxes)).floor().minimum(
        last - first
    )
    x, y = (
        corner[:, i, None].long() + torch.arange(side, device=corner.device) for i in (0, 1)
    )  # (N, side) columns and rows
    picture, channel = (torch.arange(k, device=images.device) for k in (n, 3))
    where = picture[:, None, None, None], channel[:, None, None], y[:, None, :, None], x[:, None, None, :]
    return images[where], (pixels - corner.repeat(1, 2)) / side


class Locator(nn.Module):
    """A picture (B, 3, 48, 48) -> logits of ten classes (B, 10) and one box (B, 4), xyxy in sides of the picture."""

    def __init__(self, width=16, side=SIDE):
        super().__init__()
        self.features = features(width)  # (B, 3 width, 6, 6)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(3 * width * (side // 8) ** 2, 64), nn.ReLU())
        self.classes = nn.Linear(64, 10)
        self.box = nn.Linear(64, 4)

    def forward(self, images):
        hidden = self.hidden(self.features(images))  # (B, 64)
        centre, size = self.box(hidden).sigmoid().split(2, dim=1)  # (B, 2) each, between 0 and 1
        return self.classes(hidden), torch.cat([centre - size / 2, centre + size / 2], 1)


def locate_loss(classes, found, labels, boxes):
    """Mean over a batch: cross-entropy of the class plus 20 times the smooth L1 loss of the box."""
    return F.cross_entropy(classes, labels) + 20 * F.smooth_l1_loss(found, boxes, beta=0.1)


def locate_step(model, batch):
    """For `fit`: sums over a batch (images, boxes, labels)."""
    images, boxes, labels = batch
    return {"loss": locate_loss(*model(images), labels, boxes) * len(images)}


def train_locator(model, data, epochs, seed=0, lr=3e-3, batch_size=32):
    """Train in place on `one_digit` data, in every step on new windows: Adam, one cycle of the learning rate."""
    images, boxes, labels = data
    optimizer = torch.optim.Adam(model.parameters(), lr)
    fit(
        model,
        Tensors(images, boxes, labels),
        step=locate_step,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, epochs * -(-len(images) // batch_size)),
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        augment=lambda batch, generator: (*windows(batch[0], batch[1], SIDE, generator), batch[2]),
        label="training",
    )
    return model.eval()


@torch.no_grad()
def report(model, data, goals=(0.72, 0.8)):
    """Print whether a `Locator` reaches a mean IoU and an accuracy of the class on pictures (images, boxes, labels)."""
    images, boxes, labels = data
    classes, found = model.eval()(images)
    values = iou(found, boxes).mean().item(), (classes.argmax(1) == labels).double().mean().item()
    for name, value, goal in zip(("mean IoU", "accuracy of the class"), values, goals):
        print(f"{name}: {'above' if value > goal else 'not above'} {goal}")


# ------------------------------------------------------------------ a class for every pixel


class Segmenter(nn.Module):
    """A picture (B, 3, H, W) -> logits (B, 3, H, W) of the classes `PIXELS`, for every pixel.

    Down to an eighth of the side, where a cell sees far, and up again; at each size the map from the way down is added,
    which still knows where the edges lie.
    """

    def __init__(self, width=16):
        super().__init__()
        self.down = nn.ModuleList(_down(c, d) for c, d in ((3, width), (width, 2 * width), (2 * width, 3 * width)))
        self.side = nn.ModuleList(nn.Conv2d(k * width, 2 * width, 1) for k in (1, 2, 3))
        self.out = nn.Conv2d(2 * width, len(PIXELS), 1)

    def forward(self, x):
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)  # (B, 16, H / 2, W / 2), (B, 32, H / 4, W / 4), (B, 48, H / 8, W / 8)
        x = self.side[2](maps[2])  # (B, 32, H / 8, W / 8)
        for k in (1, 0):
            x = F.interpolate(x, scale_factor=2) + self.side[k](maps[k])  # twice the size
        return F.interpolate(self.out(x.relu()), scale_factor=2, mode="bilinear")  # (B, 3, H, W)


def _down(c, d):
    return nn.Sequential(nn.Conv2d(c, d, 3, 2, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU())


class ByColour:
    """The control of `Segmenter`: names each pixel by its own colour alone, from a table of colours.

    A table has `bins` steps for each of red, green and blue; a colour gets the class with the most training pixels,
    a background pixel counting `weight`. images (N, 3, H, W) in 0..1, classes (N, H, W); called with images it gives
    classes.
    """

    def __init__(self, images, classes, weight=1.0, bins=16):
        self.bins = bins
        place = self.colours(images) * len(PIXELS) + classes
        counts = torch.bincount(place.flatten(), minlength=bins**3 * len(PIXELS)).view(-1, len(PIXELS)).double()
        counts[:, 0] *= weight
        self.table = counts.argmax(1)  # (bins^3,); a colour that was never seen is background

    def colours(self, images):
        """(N, H, W): the number of the colour of each pixel."""
        red, green, blue = (images * self.bins).long().clamp(max=self.bins - 1).unbind(1)
        return (red * self.bins + green) * self.bins + blue

    def __call__(self, images):
        return self.table[self.colours(images)]


def confusion(found, truth, classes=3):
    """Pixels of each picture by true and by found class: two integer tensors (N, H, W) -> (N, classes, classes)."""
    picture = torch.arange(len(truth), device=truth.device).view(-1, 1, 1)
    place = (picture * classes + truth) * classes + found
    return torch.bincount(place.flatten(), minlength=len(truth) * classes**2).view(-1, classes, classes)


def class_iou(counts):
    """IoU of each class over all pixels of all pictures, from their `confusion` (N, classes, classes) -> (classes,).

    Pixels that both call k over pixels that either calls k; NaN where nobody does.
    """
    both = counts.sum(0)
    hit = both.diagonal().double()
    return hit / (both.sum(0) + both.sum(1) - hit)

"""From a network's output to boxes: threshold, non-maximum suppression, a batch of images, a whole data set.

    found = detect_batch(model, images)                  # images (N, 3, H, W) of the network's size
    found = detect_dataset(model, data)                  # a `SceneSet` or a `voc.VocSet`, in its images' pixels

A model is a module with `decode`: its output -> boxes (B, n, 4) cxcywh as fractions of the input, scores (B, n, K).
One image's detections are a dict {"boxes": (N, 4) xyxy, "scores": (N,), "labels": (N,)}, the best score first.
"""

import torch

from helpers.data.geometry import unletterbox
from helpers.yolo.boxes import batched_nms, cxcywh_to_xyxy, xyxy_to_cxcywh
from helpers.yolo.grid import split

# the mirror images of an image (B, 3, H, W) that a `flip` means, by the dimensions that are reversed
MIRRORS = {"none": [()], "horizontal": [(), (3,)], "both": [(), (3,), (2,), (2, 3)]}


def postprocess(boxes, scores, threshold=0.25, nms=0.45, max_detections=None, candidates=5000):
    """One image's boxes (N, 4) cxcywh and scores (N, K) -> its detections, boxes in the same unit.

    Every class of a box with score > threshold is a detection of its own; NMS within each class; the best
    `max_detections`. If there are more than `candidates` before NMS, the others are dropped: NMS would take long.
    """
    index, labels = (scores > threshold).nonzero(as_tuple=True)
    if len(index) > candidates:
        best = scores[index, labels].topk(candidates).indices.sort()[0]
        index, labels = index[best], labels[best]
    boxes, scores = cxcywh_to_xyxy(boxes[index]), scores[index, labels]
    kept = batched_nms(boxes, scores, labels, nms)[:max_detections]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


@torch.no_grad()
def detect_batch(model, images, threshold=0.005, nms=0.45, max_detections=100, batch_size=64, flip=None):
    """Detections in images (N, 3, H, W), uint8 or in 0..1, of the network's size: boxes in their pixels, on the CPU.

    flip  the mirror images that are asked about, too: "none", "horizontal" or "both"; None: as it was trained
    """
    model.eval()
    flip = flip or getattr(model, "config", {}).get("flip", "none")
    device, (height, width) = next(model.parameters()).device, images.shape[-2:]
    # an untrained network finds thousands of boxes: ten times `max_detections` are enough for NMS
    candidates = {} if max_detections is None else {"candidates": 10 * max_detections}
    found = []
    for batch in torch.as_tensor(images).split(batch_size):
        x = batch.to(device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        boxes, scores = model.decode(model(x) if flip == "none" else mirrored(model, x, flip))
        boxes = (boxes * boxes.new_tensor([width, height, width, height])).cpu()
        found += [postprocess(b, s, threshold, nms, max_detections, **candidates) for b, s in zip(boxes, scores.cpu())]
    return found


def detect_dataset(model, data, threshold=0.005, nms=0.55, max_detections=100, batch_size=32):
    """Detections in every image of a data set, xyxy in its pixels: what `average_precision.evaluate` wants."""
    found = []
    for start in range(0, len(data), batch_size):
        rows = list(range(start, min(start + batch_size, len(data))))
        images, _ = data.collate(data.__getitems__(rows))
        found += detect_batch(model, images, threshold, nms, max_detections)
    return [to_image(one, shape, data.size) for one, shape in zip(found, data.shapes)]


def to_image(found, shape, size, cut=True):
    """One image's detections in pixels of the network's input -> in those of the image; cut: at its edges.

    shape  (height, width) of the image;  size  (height, width) of the input that it was letterboxed to
    """
    (height, width), (net_height, net_width) = shape, size
    fractions = xyxy_to_cxcywh(found["boxes"]) / torch.tensor([net_width, net_height] * 2)
    boxes = cxcywh_to_xyxy(unletterbox(fractions, *shape, *size))
    if cut:
        boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height] * 2))
    return found | {"boxes": boxes}


def mirrored(model, x, flip):
    """The logits of all heads, as model(x), but the mean over the mirror images of x (B, 3, H, W), turned back.

    Who has learnt from mirror images may be asked about them: four answers err less than one. Turned back, the
    cells stand in the opposite order, and since 1 - sigma(t) = sigma(-t) the place in a cell has its sign changed.
    """
    answers = []
    for dims in MIRRORS[flip]:
        heads = [split(head, len(end.mask)).flip(dims) for head, end in zip(model(x.flip(dims)), model.heads)]
        sign = x.new_tensor([-1 if dim in dims else 1 for dim in (3, 2)])  # of t_x, t_y
        answers.append([torch.cat([raw[..., :2] * sign, raw[..., 2:]], -1) for raw in heads])
    return [torch.stack(one).mean(0).movedim(-1, 2).flatten(1, 2) for one in zip(*answers)]

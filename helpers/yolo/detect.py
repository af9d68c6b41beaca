"""From a network's scores to boxes: threshold, non-maximum suppression, a whole data set in batches."""

import torch

from helpers.yolo.boxes import batched_nms, cxcywh_to_xyxy


def detections(boxes, scores, threshold=0.25, nms=0.45, most=None, candidates=5000):
    """One picture's boxes (N, 4) cxcywh and scores (N, K) -> {"boxes" xyxy, "scores", "labels"}, best first.

    Every class of a box with score > threshold is a detection of its own; NMS within each class; the best
    `most`. If there are more than `candidates` before NMS, the others are dropped: NMS would take long.
    """
    index, labels = (scores > threshold).nonzero(as_tuple=True)
    if len(index) > candidates:
        best = scores[index, labels].topk(candidates).indices.sort()[0]
        index, labels = index[best], labels[best]
    boxes, scores = cxcywh_to_xyxy(boxes[index]), scores[index, labels]
    kept = batched_nms(boxes, scores, labels, nms)[:most]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


@torch.no_grad()
def find(decoded, images, device, threshold=0.005, nms=0.45, most=100, batch_size=64):
    """Detections for pictures (N, 3, H, W) uint8: one dict a picture, boxes xyxy in pixels, on the CPU.

    `decoded`: (B, 3, H, W) in 0..1 on `device` -> boxes (B, n, 4) cxcywh as fractions, scores (B, n, K).
    """
    height, width = images.shape[-2:]
    found = []
    for batch in torch.as_tensor(images).split(batch_size):
        boxes, scores = decoded(batch.to(device).float() / 255)
        boxes = (boxes * boxes.new_tensor([width, height, width, height])).cpu()
        # an untrained network finds thousands of boxes: ten times `most` are enough for NMS
        found += [detections(b, s, threshold, nms, most, 10 * most) for b, s in zip(boxes, scores.cpu())]
    return found

"""Studies without training: anchors found in three ways, and the highest mAP that the coding of boxes allows."""

import numpy as np
import torch

from helpers.course.progress import track
from helpers.yolo.average_precision import evaluate
from helpers.yolo.boxes import kmeans_anchors, mean_best_iou, xyxy_to_cxcywh
from helpers.yolo.detect import postprocess
from helpers.yolo.grid import best_anchor, decode_v3, offsets, targets


def box_sizes(data):
    """(width, height) in pixels of every box of a `SceneSet`: (M, 2)."""
    return torch.cat([xyxy_to_cxcywh(torch.as_tensor(t["boxes"]))[:, 2:] for t in data.truths()])


def euclid_anchors(sizes, k, seed=0):
    """k-means under the Euclidean distance of (width, height): the control. (N, 2) -> (k, 2)."""
    from sklearn.cluster import KMeans

    return torch.as_tensor(KMeans(k, n_init=3, random_state=seed).fit(np.asarray(sizes)).cluster_centers_).double()


def random_anchors(sizes, k, seed=0):
    """k boxes picked at random: the other control. (N, 2) -> (k, 2)."""
    return sizes[torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))[:k]].double()


METHODS = {"k-means, 1 - IoU": kmeans_anchors, "k-means, Euclid": euclid_anchors, "random boxes": random_anchors}


def anchor_curves(ks, seeds, train, test):
    """{method: (seeds, len(ks)) mean best IoU with the held-out sizes `test` (M, 2)}; fitted on `train` (N, 2)."""
    return {
        name: np.array(
            [
                [mean_best_iou(test.double(), make(train, k, seed)).item() for k in ks]
                for seed in track(range(seeds), name)
            ]
        )
        for name, make in METHODS.items()
    }


# ---------------------------------------------------------------- the ceiling of the coding


def perfect_heads(truth, anchors, masks, strides, size, classes=10, sure=12.0):
    """The logits of a network without any error: what it is told, written the way it speaks.

    truth (B, T, 5), anchors (n, 2) in pixels, a mask and a stride for each head -> list of (B, A (5 + K), H, W).
    """
    best, heads = best_anchor(truth, anchors, size), []
    for mask, stride in zip(masks, strides):
        told = targets(truth, best, mask, anchors, (size[0] // stride, size[1] // stride), size, classes)
        place = offsets(told.box, anchors[mask], size)
        middle = place[..., :2].clamp(1e-6, 1 - 1e-6).logit()
        yes = torch.cat([told.present[..., None], told.classes > 0], -1)
        logits = torch.cat([middle, place[..., 2:], torch.where(yes, sure, -sure)], -1)  # (B, A, H, W, 5 + K)
        heads.append(logits.movedim(-1, 2).flatten(1, 2))
    return heads


def ceiling(data, anchors, masks, strides, size, nms=0.45):
    """The evaluation of a perfect network on the scenes of a `SceneSet`: what is missing at 1, the coding lost."""
    scale = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32)
    heads = perfect_heads(data.truth, anchors, masks, strides, size)
    decoded = [decode_v3(head, anchors[mask], size) for head, mask in zip(heads, masks)]
    boxes, scores = (torch.cat(parts, 1) for parts in zip(*decoded))
    return evaluate([postprocess(b * scale, s, 0.5, nms) for b, s in zip(boxes, scores)], data.truths())

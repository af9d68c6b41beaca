"""Images of any shape in the network's input, and boxes back in the image: letterboxing."""

import torch
from torch.nn.functional import interpolate, pad

from helpers.course.errors import UserError


def fitted(height: int, width: int, to_height: int, to_width: int) -> tuple[int, int]:
    """The largest size (h, w) with the image's proportions that fits into the network's input."""
    if to_width * height < to_height * width:
        return height * to_width // width, to_width
    return to_height, width * to_height // height


def letterbox(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Scale images (..., C, H, W) in 0..1 to fit height x width, the rest grey (0.5), centred.

    Bilinear between the corner pixels' *centres* (`align_corners=True`), as Darknet does.
    """
    shape, images = images.shape, images.reshape(-1, *images.shape[-3:])
    h, w = fitted(shape[-2], shape[-1], height, width)
    if min(h, w) < 2:
        raise UserError(
            f"a picture of {shape[-1]} x {shape[-2]} pixels is too narrow to be scaled to {width} x {height}"
        )
    scaled = interpolate(images, (h, w), mode="bilinear", align_corners=True)
    left, top = (width - w) // 2, (height - h) // 2
    boxed = pad(scaled, (left, width - w - left, top, height - h - top), value=0.5)
    return boxed.reshape(*shape[:-2], height, width)


def unletterbox(boxes: torch.Tensor, height: int, width: int, net_height: int, net_width: int) -> torch.Tensor:
    """Boxes (..., 4) cxcywh, fractions of the letterboxed input -> cxcywh in the image's pixels."""
    h, w = fitted(height, width, net_height, net_width)
    x, y, bw, bh = boxes.unbind(-1)
    x = (x - (net_width - w) / 2 / net_width) / (w / net_width) * width
    y = (y - (net_height - h) / 2 / net_height) / (h / net_height) * height
    return torch.stack([x, y, bw * net_width / w * width, bh * net_height / h * height], -1)

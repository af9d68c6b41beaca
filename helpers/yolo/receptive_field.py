"""What a convolutional network sees: how far one output looks.

receptive_field([(3, 1), (2, 2), (3, 1)])            # (kernel, stride) of each layer -> 8 pixels
measured_field(nn.Sequential(...), channels=3)       # the same, from gradients
"""

import torch
from torch import nn

from helpers.course.errors import UserError


def receptive_field(layers):
    """Side in pixels of what one output sees, from (kernel, stride) of each layer: r_l = r_{l-1} + (k_l - 1) j_{l-1}.

    j is the distance in pixels between two neighbours of a map; a stride multiplies it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field


def kernels(model):
    """(kernel, stride) of the convolutions and poolings of a `nn.Sequential` or Darknet-like chain, in order."""
    pair = lambda v: v[0] if isinstance(v, tuple) else v
    return [
        (pair(m.kernel_size), pair(m.stride))
        for m in model.modules()
        if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
    ]


def sensitivity(model, channels=3, size=64, images=32, seed=0):
    """|d output / d pixel| of the output in the middle of the map, mean over random images: (size, size).

    Max pooling passes the gradient to one pixel only, another one in another image: hence several images.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, channels, size, size, generator=generator, requires_grad=True)
    y = model(x)  # (N, C, H, W)
    middle = y[:, :, y.shape[2] // 2, y.shape[3] // 2]
    weights = torch.randn(middle.shape, generator=generator)  # no two channels may cancel each other
    return torch.autograd.grad((middle * weights).sum(), x)[0].abs().mean((0, 1))


def measured_field(model, channels=3, size=64, images=32):
    """(height, width) of the smallest box around all pixels that the middle output depends on at all."""
    rows, columns = (sensitivity(model, channels, size, images) > 0).nonzero().T
    field = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    if size in field:
        raise UserError(f"the receptive field reaches the border of an image of {size} pixels: choose a larger size")
    return field


def chain(kinds, filters=8, channels=3):
    """A network from the letters of `kinds`: c a convolution 3 x 3, s one of stride 2, p a max pooling 2 x 2."""
    layers = []
    for kind in kinds:
        if kind == "p":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, filters, 3, 2 if kind == "s" else 1, 1), nn.LeakyReLU(0.1)]
            channels = filters
    return nn.Sequential(*layers)

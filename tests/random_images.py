"""Random batches for the tests of augmentation, and torchvision on one image after the other."""

import torch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=8, c=3, h=20, w=28, seed=0):
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=generator(seed))


def each(function, x, *parameters):
    """torchvision, one image after the other, with one number of each parameter."""
    columns = zip(x, *(p.tolist() for p in parameters))
    return torch.stack([function(*row) for row in columns])

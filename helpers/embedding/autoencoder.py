"""Autoencoders: networks whose target is their input, with a narrow place, the code, in the middle.

    x (B, C, H, W) in [0, 1]  --encoder-->  code (B, K)  --decoder-->  output (B, C, H, W)

A dense one, a convolutional one and a linear one, which trained to the end is PCA. With the loss
"bce" the output is a logit for each pixel (the picture is its sigmoid), with "mse" it is the pixel.
"""

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F

from helpers.course.errors import UserError
from helpers.course.training import load_model, predict, save_model

# ---------------------------------------------------------------- models


class Autoencoder(nn.Module):
    """`encoder` and `decoder` of one model; `config` rebuilds it, `loss` says what its output means."""

    def __init__(self, encoder, decoder, **config):
        super().__init__()
        self.encoder, self.decoder, self.config, self.loss = encoder, decoder, config, config["loss"]

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def image(self, output):
        """Pixels from outputs, in [0, 1] where the loss is "bce"."""
        return output.sigmoid() if self.loss == "bce" else output


def dense(shape, latent, loss="bce"):
    """An autoencoder of fully connected layers for pictures of `shape` (C, H, W); D = C H W."""
    d = shape[0] * shape[1] * shape[2]
    encoder = nn.Sequential(  # (B, C, H, W)
        nn.Flatten(),  # (B, D)
        nn.Linear(d, 512),
        nn.ReLU(),  # (B, 512)
        nn.Linear(512, 128),
        nn.ReLU(),  # (B, 128)
        nn.Linear(128, latent),  # (B, K), the code
    )
    decoder = nn.Sequential(  # the same way back
        nn.Linear(latent, 128),
        nn.ReLU(),  # (B, 128)
        nn.Linear(128, 512),
        nn.ReLU(),  # (B, 512)
        nn.Linear(512, d),  # (B, D)
        nn.Unflatten(1, shape),  # (B, C, H, W)
    )
    return Autoencoder(encoder, decoder, kind="dense", shape=list(shape), latent=latent, loss=loss)


def conv(shape, latent, loss="bce"):
    """An autoencoder of convolutions for pictures of `shape` (C, H, W), H and W divisible by 4.

    The decoder doubles the picture and then convolves. A transposed convolution of stride 2 would do both
    at once, but its overlapping stamps leave a checkerboard (Odena et al., 2016).
    """
    c, h, w = shape
    if h % 4 or w % 4:
        raise UserError(f"a convolutional autoencoder needs height and width divisible by 4; got {h} x {w}")
    encoder = nn.Sequential(  # (B, C, H, W)
        nn.Conv2d(c, 16, 3, stride=2, padding=1),
        nn.ReLU(),  # (B, 16, H/2, W/2)
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),  # (B, 32, H/4, W/4)
        nn.Flatten(),  # (B, 32 H/4 W/4)
        nn.Linear(32 * (h // 4) * (w // 4), latent),  # (B, K), the code
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 32 * (h // 4) * (w // 4)),
        nn.ReLU(),  # (B, 32 H/4 W/4)
        nn.Unflatten(1, (32, h // 4, w // 4)),  # (B, 32, H/4, W/4)
        nn.Upsample(scale_factor=2),  # (B, 32, H/2, W/2)
        nn.Conv2d(32, 16, 3, padding=1),
        nn.ReLU(),  # (B, 16, H/2, W/2)
        nn.Upsample(scale_factor=2),  # (B, 16, H, W)
        nn.Conv2d(16, c, 3, padding=1),  # (B, C, H, W)
    )
    return Autoencoder(encoder, decoder, kind="conv", shape=list(shape), latent=latent, loss=loss)


def linear(shape, latent, loss="mse"):
    """Two matrices and nothing else: x -> W_e x + b_e -> W_d (W_e x + b_e) + b_d."""
    d = shape[0] * shape[1] * shape[2]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(d, latent))  # (B, D) -> (B, K)
    decoder = nn.Sequential(nn.Linear(latent, d), nn.Unflatten(1, shape))  # (B, D) -> (B, C, H, W)
    return Autoencoder(encoder, decoder, kind="linear", shape=list(shape), latent=latent, loss=loss)


MODELS = {"dense": dense, "conv": conv, "linear": linear}


def build(kind, shape, latent, loss=None):
    """One of `MODELS` by name; `loss` "bce" or "mse", by default the model's own."""
    if kind not in MODELS:
        raise UserError(f"there is no autoencoder {kind!r}; choose one of {', '.join(MODELS)}")
    if loss not in (None, "bce", "mse"):
        raise UserError(f"there is no loss {loss!r}; choose bce (pixels in [0, 1]) or mse")
    if latent < 1:
        raise UserError(f"latent must be 1 or more; got {latent}")
    return MODELS[kind](tuple(shape), latent, **({"loss": loss} if loss else {}))


def save(path, model, half=False):
    """The model in one hashed file, with `half` in 16 bits a number."""
    return save_model(path, deepcopy(model).half() if half else model, model.config)


def load(path):
    """The model that `save` wrote."""
    weights, config = load_model(path)
    if set(config) != {"kind", "shape", "latent", "loss"}:
        raise UserError(f"{path} holds no autoencoder: give a file that `autoencoder train` wrote")
    model = build(**config)
    model.load_state_dict(weights)
    return model.eval()


# ---------------------------------------------------------------- loss and input


def step(model, batch):
    """Sums over the batch: "loss", and "squared_error" of the pictures, the same unit for both losses.

    `batch` is (x,): target = input, or (noisy, clean): denoising. Sums run over pixels too.
    """
    source, target = batch[0], batch[-1]
    output = model(source)  # (B, C, H, W)
    squared = F.mse_loss(model.image(output), target, reduction="sum")
    if model.loss == "mse":
        return {"loss": squared, "squared_error": squared}
    # -sum x log s + (1 - x) log(1 - s), s = sigmoid(output). It has a minimum only for x in [0, 1]
    loss = F.binary_cross_entropy_with_logits(output, target, reduction="sum")
    return {"loss": loss, "squared_error": squared}


def noisy(x, sigma, generator=None):
    """`x` plus normal noise of standard deviation `sigma`, kept in [0, 1]. The generator is a CPU one."""
    return (x + sigma * torch.randn(x.shape, generator=generator).to(x)).clamp_(0, 1)


def denoising(batch, generator, sigma):
    """(x,) -> (x with noise, x): an `augment` of `training.fit`; new noise in every step."""
    return noisy(batch[0], sigma, generator), batch[0]


def to_images(x):
    """Pictures as float32 (N, C, H, W) in [0, 1]: from uint8, or from floats that are there already.

    Takes (N, H, W), (N, C, H, W), arrays and tensors. Raises UserError for others, NaN and an empty set.
    """
    x = torch.as_tensor(x)
    if x.ndim == 3:
        x = x.unsqueeze(1)
    if x.ndim != 4 or x.numel() == 0:
        raise UserError(f"images must have the shape (N, C, H, W), with one or more of each; got {tuple(x.shape)}")
    if x.dtype == torch.uint8:
        return x / 255
    low, high = x.min().item(), x.max().item()  # NaN if there is one
    if not (low >= 0 and high <= 1):
        raise UserError(f"the pixels run from {low:g} to {high:g}: autoencoders here want [0, 1]; rescale them")
    return x.float()


# ---------------------------------------------------------------- what to do with one


def encode(model, x, **options):
    """Codes (N, K) of pictures (N, C, H, W), in batches, on the CPU; `options` of `training.predict`."""
    return predict(model, to_images(x), forward=model.encoder, **options)


def decode(model, codes, **options):
    """Pictures (N, C, H, W) of codes (N, K), in batches, on the CPU."""
    return predict(model, codes, forward=lambda z: model.image(model.decoder(z)), **options)


def reconstruct(model, x, **options):
    """Pictures (N, C, H, W) as the model gives them back, in batches, on the CPU."""
    return predict(model, to_images(x), forward=lambda x: model.image(model(x)), **options)


def anomaly_score(model, x, **options):
    """Squared error (N,) of each picture's reconstruction: large where it is unlike the training set."""
    x = to_images(x)
    return (reconstruct(model, x, **options) - x.cpu()).square().flatten(1).sum(1)


def interpolate(model, a, b, steps=9, **options):
    """Pictures (steps, C, H, W) of the codes on the straight line from picture `a` to picture `b` (C, H, W)."""
    start, end = encode(model, torch.stack([a, b]), **options)
    return decode(model, start + (end - start) * torch.linspace(0, 1, steps)[:, None], **options)


def psnr(x, y):
    """Peak signal-to-noise ratio (N,) in dB of pictures `x` against `y` (N, C, H, W) with peak 1."""
    return -10 * (x - y).square().flatten(1).mean(1).log10()

"""Autoencoders: networks whose target is their input, with a narrow place, the code, in the middle.

    x (B, C, H, W) in [0, 1]  --encoder-->  code (B, K)  --decoder-->  output (B, C, H, W)

A dense one, a convolutional one and a linear one, which trained to the end is PCA. With the loss
"bce" the output is a logit for each pixel (the picture is its sigmoid), with "mse" it is the pixel.
"""

from functools import partial
from time import monotonic

import torch
from torch import nn
from torch.nn import functional as F

from helpers.course.batches import Tensors
from helpers.course.errors import UserError
from helpers.course.training import fit, load_model, predict, save_model
from helpers.data import sets as data
from helpers.embedding.scores import knn_accuracy, pca

# ---------------------------------------------------------------- models


class Autoencoder(nn.Module):
    """`encoder` and `decoder` of one model; `config` rebuilds it, `loss` says what its output means."""

    def __init__(self, encoder, decoder, **config):
        super().__init__()
        self.encoder, self.decoder, self.config, self.loss = encoder, decoder, config, config["loss"]

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def picture(self, output):
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
        raise UserError(f"the convolutional autoencoder halves pictures twice: {h} x {w} is not divisible by 4")
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
        raise UserError(f"a code needs at least 1 number, not {latent}")
    return MODELS[kind](tuple(shape), latent, **({"loss": loss} if loss else {}))


def save(path, model):
    """The model in one hashed file."""
    return save_model(path, model, model.config)


def load(path):
    """The model that `save` wrote."""
    weights, config = load_model(path)
    if set(config) != {"kind", "shape", "latent", "loss"}:
        raise UserError(f"{path} holds no autoencoder")
    model = build(**config)
    model.load_state_dict(weights)
    return model.eval()


# ---------------------------------------------------------------- loss and training


def step(model, batch):
    """Sums over the batch: "loss", and "squared_error" of the pictures, the same unit for both losses.

    `batch` is (x,): target = input, or (noisy, clean): denoising. Sums run over pixels too.
    """
    source, target = batch[0], batch[-1]
    output = model(source)  # (B, C, H, W)
    squared = F.mse_loss(model.picture(output), target, reduction="sum")
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


def pictures(x):
    """Pictures as float32 (N, C, H, W) in [0, 1]: from uint8, or from floats that are there already.

    Takes (N, H, W), (N, C, H, W), arrays and tensors. Raises UserError for others, NaN and an empty set.
    """
    x = torch.as_tensor(x)
    if x.ndim == 3:
        x = x.unsqueeze(1)
    if x.ndim != 4 or x.numel() == 0:
        raise UserError(f"there must be a picture or more, of shape (N, C, H, W), not {tuple(x.shape)}")
    if x.dtype == torch.uint8:
        return x / 255
    low, high = x.min().item(), x.max().item()  # NaN if there is one
    if not (low >= 0 and high <= 1):
        raise UserError(f"the pixels run from {low:g} to {high:g}: autoencoders here want [0, 1]; rescale them")
    return x.float()


DATA = ("mnist5k", "mnist", "digits", "fashion-mnist")


def sets(name, seed=0):
    """{"train", "valid", "test": (pictures (N, 1, H, W), labels (N,))} of one of `DATA`.

    A tenth is for validation, a tenth for the test (MNIST and Fashion-MNIST: their own 10,000); `seed` draws them.
    """
    if name not in DATA:
        raise UserError(f"there is no data set {name!r}; choose one of {', '.join(DATA)}")
    whole = {"mnist": data.mnist, "fashion-mnist": data.fashion_mnist}.get(name)
    if whole:
        x, labels = whole("train")
    elif name == "mnist5k":
        x, labels = data.mnist5k()
    else:
        x, labels = data.digits()
        x = x / 16  # 0..16 as scikit-learn gives them
    x, labels, tenth = pictures(x), torch.as_tensor(labels), len(x) // 10
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    parts = {"valid": order[:tenth], "test": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    if whole:
        parts = {"valid": order[:tenth], "train": order[tenth:]}
    found = {part: (x[rows], labels[rows]) for part, rows in parts.items()}
    if whole:
        x, labels = whole("test")
        found["test"] = pictures(x), torch.as_tensor(labels)
    return found


def fit_pictures(model, x, valid=None, *, epochs, noise=0.0, lr=1e-3, batch_size=64, seed=0, **options):
    """Train `model` on pictures `x` (N, C, H, W); returns the `Result` of `training.fit`, which takes `options`.

    noise  standard deviation of the noise that the model has to remove (a denoising autoencoder), 0: none
    """
    x = pictures(x)
    if tuple(x.shape[1:]) != tuple(model.config["shape"]):
        raise UserError(f"the model is for pictures {tuple(model.config['shape'])}, not {tuple(x.shape[1:])}")
    if valid is not None:
        clean = pictures(valid)
        valid = Tensors(noisy(clean, noise, torch.Generator().manual_seed(seed)), clean)
    augment = partial(denoising, sigma=noise) if noise else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    return fit(
        model,
        Tensors(x),
        valid,
        step=step,
        optimizer=optimizer,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        augment=augment,
        label=f"{model.config['kind']} autoencoder",
        **options,
    )


def train(name, latent=16, kind="conv", *, epochs=20, loss=None, noise=0.0, seed=0, out=None, **options):
    """Train on a data set of `DATA` and judge on its test part: (model, report), the command line's work.

    The report: "error", the mean squared error per picture (a sum over pixels; of the clean picture where
    there is noise), beside "pca_error" at the same width and "mean_error" of the mean picture; "knn", the
    accuracy of 10 nearest neighbours among the codes, beside "pca_knn"; "n", "seconds", "epochs",
    "resumed_from", "history". With `out`, a folder, the model is written to OUT/model.safetensors.
    """
    from accelerate.state import PartialState

    if noise < 0:
        raise UserError(f"noise is a standard deviation of 0 or more, not {noise}")
    parts, start = sets(name, seed), monotonic()
    (x, labels), (valid, _), (test, test_labels) = parts["train"], parts["valid"], parts["test"]
    torch.manual_seed(seed)
    model = build(kind, x.shape[1:], latent, loss)
    config = model.config | {"data": name, "noise": noise}
    result = fit_pictures(model, x, valid, epochs=epochs, noise=noise, seed=seed, out=out, config=config, **options)
    if out and PartialState().is_main_process:
        save(f"{out}/model.safetensors", model)
    device = {"device": options.get("device", "auto")}
    source = noisy(test, noise, torch.Generator().manual_seed(seed)) if noise else test
    control = pca(x, latent)
    codes, test_codes = encode(model, x, **device), encode(model, source, **device)
    squared = lambda y: (y - test.flatten(1)).square().sum(1).mean().item()
    return model, {
        "data": name,
        "model": kind,
        "latent": latent,
        "loss": model.loss,
        "noise": noise,
        "n": len(test),
        "error": squared(reconstruct(model, source, **device).flatten(1)),
        "pca_error": squared(control.decode(control.encode(source))),
        "mean_error": squared(x.flatten(1).mean(0)),
        "knn": knn_accuracy(codes, labels, test_codes, test_labels),
        "pca_knn": knn_accuracy(control.codes, labels, control.encode(source), test_labels),
        "seconds": monotonic() - start,
        "epochs": result.epochs,
        "resumed_from": result.resumed_from,
        "history": result.history,
    }


# ---------------------------------------------------------------- what to do with one


def encode(model, x, **options):
    """Codes (N, K) of pictures (N, C, H, W), in batches, on the CPU; `options` of `training.predict`."""
    return predict(model, pictures(x), forward=model.encoder, **options)


def decode(model, codes, **options):
    """Pictures (N, C, H, W) of codes (N, K), in batches, on the CPU."""
    return predict(model, codes, forward=lambda z: model.picture(model.decoder(z)), **options)


def reconstruct(model, x, **options):
    """Pictures (N, C, H, W) as the model gives them back, in batches, on the CPU."""
    return predict(model, pictures(x), forward=lambda x: model.picture(model(x)), **options)


def anomaly_score(model, x, **options):
    """Squared error (N,) of each picture's reconstruction: large where it is unlike the training set."""
    x = pictures(x)
    return (reconstruct(model, x, **options) - x.cpu()).square().flatten(1).sum(1)


def walk(model, a, b, steps=9, **options):
    """Pictures (steps, C, H, W) of the codes on the straight line from picture `a` to picture `b` (C, H, W)."""
    start, end = encode(model, torch.stack([a, b]), **options)
    return decode(model, start + (end - start) * torch.linspace(0, 1, steps)[:, None], **options)


def psnr(x, y):
    """Peak signal-to-noise ratio (N,) in dB of pictures `x` against `y` (N, C, H, W) with peak 1."""
    return -10 * (x - y).square().flatten(1).mean(1).log10()


# ---------------------------------------------------------------- the linear one, to the end


def fit_linear(x, latent, seed=0, n_iter=1000):
    """A linear autoencoder of pictures `x` (N, C, H, W) at the minimum of its squared error, in float64.

    L-BFGS on all of `x` at once from a random start. The minimum is PCA (Baldi & Hornik, 1989): the error is
    the sum of the discarded variances, and W_d spans the same subspace, though not with the same axes.
    """
    x = pictures(x).double()
    n, d = len(x), x[0].numel()
    if not 1 <= latent <= min(n, d):
        raise UserError(f"{n} pictures of {d} pixels have at most {min(n, d)} components, not {latent}")
    torch.manual_seed(seed)
    model = linear(tuple(x.shape[1:]), latent).double().to(x.device)
    mean = x.mean(0, keepdim=True)
    for p in model.parameters():
        # small: what W_e starts with in directions where the pictures hardly vary, the descent hardly removes
        nn.init.normal_(p, std=1e-3)
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=n_iter,
        history_size=30,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = step(model, (x - mean,))["loss"] / n
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():  # trained on centred pictures; the biases take the mean in: x - mean -> x
        model.encoder[1].bias -= model.encoder[1].weight @ mean.flatten()
        model.decoder[0].bias += mean.flatten()
    return model.eval()

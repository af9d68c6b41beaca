"""Transfer learning: pretrained weights, a new head, and what to freeze (lecture 06).

A `Classifier` is a backbone that turns pictures into features, and a linear head that turns
features into scores. Strategies differ in what is trained:

    scratch   everything, from random weights (the control)
    base      the head alone; the base is frozen, so its features are computed once
    half      the head and the later half of the blocks
    none      everything, nothing frozen ("full fine-tuning")

With a pretrained base the head is brought to its optimum first and the rest is trained from there:
linear probing, then fine-tuning (LP-FT, Kumar et al., ICLR 2022). A random head would send large
gradients of nonsense through the pretrained blocks. That head was fitted to features that batch norm
makes with its *stored* statistics, so fine-tuning goes on with these (`freeze_statistics`): the statistics
of a small batch would change every feature at the first step, and the fitted head would be worth nothing.
"""

import types

import torch
from torch import nn
from torch.nn import functional as F

from helpers.data import UserError, lite0_state_dict
from helpers.training import Tensors, fit, predict

STRATEGIES = ("scratch", "base", "half", "none")


def backbone(name="efficientnet_lite0", pretrained=True):
    """A timm network without its classifier, and the input (mean, std) per channel, for pixels in [0, 1].

    "efficientnet_lite0" comes with built-in ImageNet weights. They were trained in TensorFlow: "SAME"
    padding, batch-norm epsilon 0.001, inputs (x - 127) / 128; timm calls that variant `tf_efficientnet_lite0`.
    Other names are timm's, their weights are downloaded. Raises UserError for unknown names and no network.
    """
    import timm

    known = "tf_efficientnet_lite0" if name == "efficientnet_lite0" else name
    if not timm.is_model(known):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "efficientnet_lite0, resnet50"
        raise UserError(f"there is no backbone {name!r} in timm; did you mean one of {close}?")
    builtin = name == "efficientnet_lite0"
    try:
        net = timm.create_model(known, pretrained=pretrained and not builtin)
    except Exception as error:  # timm passes on whatever its download raises
        raise UserError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}); use efficientnet_lite0, "
            "whose weights are built in, or --no-pretrained"
        ) from error
    if builtin and pretrained:
        # the file names its tensors otherwise, but lists the same 296 in the same order
        net.load_state_dict(dict(zip(net.state_dict(), lite0_state_dict().values(), strict=True)))
    if builtin:
        return net, ([127 / 255] * 3, [128 / 255] * 3)
    return net, (list(net.default_cfg["mean"]), list(net.default_cfg["std"]))


class Classifier(nn.Module):
    """Pictures (B, 3, H, W), uint8 -> scores (B, classes), by a backbone's features (B, D) and a linear head."""

    def __init__(self, classes, name="efficientnet_lite0", pretrained=True):
        super().__init__()
        self.base, (mean, std) = backbone(name, pretrained)
        self.base.reset_classifier(0)  # head surgery: what remains ends with the pooled features
        self.head = nn.Linear(self.base.num_features, classes)
        nn.init.zeros_(self.head.weight)  # the first loss is ln(classes), and no direction is favoured
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def features(self, x):
        x = (x.float() / 255 - self.mean) / self.std  # (B, 3, H, W), as the weights have always been fed
        return self.base(x)  # (B, D)

    def forward(self, x):
        return self.head(self.features(x))


def blocks(base):
    """[(name, module)] of a network from input to output, stages one by one; only those with parameters."""
    out = []
    for name, child in base.named_children():
        stages = isinstance(child, nn.Sequential) and all(isinstance(c, nn.Sequential) for c in child) and len(child)
        out += [(f"{name}.{i}", c) for i, c in child.named_children()] if stages else [(name, child)]
    return [(name, module) for name, module in out if any(True for _ in module.parameters())]


def freeze(module):
    """Stop training `module`, *wholly*: its parameters and its batch-norm statistics.

    `requires_grad=False` alone leaves running_mean and running_var moving with every forward pass in
    training mode. So the module also stays in evaluation mode when its parent calls `train()`.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    module.train = types.MethodType(lambda self, mode=True: nn.Module.train(self, False), module)
    module.eval()
    return module


def freeze_statistics(module):
    """Keep every batch norm in `module` on its stored mean and variance; its scale and shift still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.train = types.MethodType(lambda self, mode=True: nn.Module.train(self, False), part)
            part.eval()
    return module


def unfreeze(module):
    """Undo `freeze` and `freeze_statistics`."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def freeze_first(base, count):
    """Freeze the first `count` blocks of a network; returns the names of the frozen ones."""
    parts = blocks(base)
    if not 0 <= count <= len(parts):
        raise UserError(f"cannot freeze {count} of {len(parts)} blocks")
    for _, module in parts[:count]:
        freeze(module)
    return [name for name, _ in parts[:count]]


def prepare(model, strategy):
    """Freeze what the strategy says: nothing, the whole base, half of its blocks, or its first k blocks."""
    if strategy not in STRATEGIES and not isinstance(strategy, int):
        raise UserError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)} or a number of blocks")
    unfreeze(model)
    if isinstance(strategy, int):
        freeze_first(model.base, strategy)
    if strategy == "base":
        freeze(model.base)
    if strategy == "half":
        freeze_first(model.base, len(blocks(model.base)) // 2)
    return model


def trainable(model):
    """The parameters an optimiser should get: Adam and weight decay would move the others too."""
    return [p for p in model.parameters() if p.requires_grad]


def classify(model, batch):
    """Training step: sums of cross-entropy and of hits over a batch (x, y); y are classes (B,)."""
    x, y = batch
    logits = model(x)  # (B, classes)
    return {"loss": F.cross_entropy(logits, y, reduction="sum"), "accuracy": (logits.argmax(1) == y).sum()}


def flip_and_shift(batch, generator, reach=1 / 8):
    """Augment (x, y) on its device: each picture mirrored or not, and shifted by up to `reach` of its size."""
    x, y = batch
    n, side = len(x), x.shape[-1]
    pad = int(side * reach)
    mirror = torch.rand(n, generator=generator) < 0.5
    shift = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    mirror, (top, left) = mirror.to(x.device), shift.to(x.device)
    x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    wide = F.pad(x.float(), (pad,) * 4, mode="reflect").to(x.dtype)
    rows = top[:, None] + torch.arange(x.shape[-2], device=x.device)  # (B, H)
    columns = left[:, None] + torch.arange(side, device=x.device)  # (B, W)
    sample = torch.arange(n, device=x.device)
    x = wide[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C): indices come first
    return x.permute(0, 3, 1, 2), y


# ---------------------------------------------------------------- the head alone


def features(model, data, **kw):
    """Features (N, D) of all pictures: what a frozen base needs to compute only once."""
    return predict(model, data, forward=model.features, **kw)


def linear_probe(x, y, classes, l2=1e-2):
    """The best linear head on fixed features: a convex problem, brought to its optimum.

    minimise  1/n sum_i CE(W z_i + b, y_i) + l2/2 |W|^2,   z = (x - mean) / s,   W (classes, D), b (classes,)

    by L-BFGS in double precision. The mean is one per feature; s, the deviation of all features together, is
    a single number: dividing each feature by its own would blow up those that hardly vary. The optimum is
    that of scikit-learn's LogisticRegression(C=1/(n l2)) on z. Returns (W, b) for x itself, in float32.
    """
    x = x.double()
    mean, s = x.mean(0), x.std()
    z = (x - mean) / s
    w = torch.zeros(classes, x.shape[1], dtype=torch.float64, device=x.device, requires_grad=True)
    b = torch.zeros(classes, dtype=torch.float64, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w, b],
        max_iter=500,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective():
        solver.zero_grad()
        loss = F.cross_entropy(z @ w.T + b, y) + l2 / 2 * w.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    with torch.no_grad():  # W z + b = (W/s) x + (b - W mean/s)
        return (w / s).float(), (b - w @ mean / s).float()


def probe(model, train, **kw):
    """Bring the head of `model` to its optimum on the features of `train`; returns these features."""
    x = features(model, train, **kw)
    w, b = linear_probe(x, _labels(train).cpu(), model.head.out_features)
    with torch.no_grad():
        model.head.weight.copy_(w)
        model.head.bias.copy_(b)
    return x


# ---------------------------------------------------------------- a whole training


def train(
    model,
    data,
    valid=None,
    *,
    strategy="base",
    epochs=10,
    lr=None,
    batch_size=32,
    lp_first=True,
    live_statistics=False,
    augment=True,
    seed=0,
    **kw,
):
    """Train a `Classifier` by one of the strategies and return `training.Result`; extra arguments go to `fit`.

    base: the head on features that are computed once (no augmentation: each picture has one feature).
    half, none, k: first the head to its optimum (`lp_first`), then everything that is not frozen, AdamW under a
    cosine schedule from `lr` to 0, batch norm on its stored statistics unless `live_statistics`.
    scratch: everything from random weights, with a larger rate and live statistics.
    """
    prepare(model, strategy)
    place = {k: kw[k] for k in ("device", "workers") if k in kw}
    if strategy == "base":
        parts = [
            Tensors(features(model, part, **place), _labels(part)) if part is not None else None
            for part in (data, valid)
        ]
        head = Scaled(model.head, parts[0].tensors[0])
        result = _descend(head, *parts, epochs=epochs, lr=lr or 3e-3, batch_size=batch_size, seed=seed, **kw)
        head.fold(model.head)
        model.eval()
        return result
    if strategy != "scratch" and lp_first:
        probe(model, data, **place)
    if strategy != "scratch" and not live_statistics:
        freeze_statistics(model)
    # the better of 3e-4 and 1e-3 on leaves of other seeds than those that the experiments test on
    rate = lr or (2e-3 if strategy == "scratch" else 3e-4 if lp_first else 1e-3)
    return _descend(
        model,
        data,
        valid,
        epochs=epochs,
        lr=rate,
        batch_size=batch_size,
        seed=seed,
        augment=flip_and_shift if augment else None,
        **kw,
    )


def _labels(data):
    return data.tensors[1] if isinstance(data, Tensors) else torch.tensor([label for _, label in data.items])


def _descend(model, data, valid, *, epochs, lr, batch_size, **kw):
    optimizer = torch.optim.AdamW(trainable(model), lr, weight_decay=0.01)
    steps = epochs * -(-len(data) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return fit(
        model,
        data,
        valid,
        step=classify,
        optimizer=optimizer,
        scheduler=schedule,
        schedule_by="step",
        epochs=epochs,
        batch_size=batch_size,
        **kw,
    )


class Scaled(nn.Module):
    """A linear head on (x - mean) / s, as in `linear_probe`: inputs of size 1 suit the learning rates in use."""

    def __init__(self, head, x):
        super().__init__()
        self.linear = nn.Linear(head.in_features, head.out_features)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("s", x.std())

    def forward(self, x):
        return self.linear((x - self.mean) / self.s)

    @torch.no_grad()
    def fold(self, head):
        """Write the same map into a plain linear layer on raw features."""
        w = self.linear.weight / self.s
        head.weight.copy_(w)
        head.bias.copy_(self.linear.bias - w @ self.mean)


# ---------------------------------------------------------------- what a network costs


def costs(net, shape=(1, 3, 224, 224)):
    """Per child of `net`, in order: parameters, multiply-adds and saved activations (outputs of conv and batch norm).

    Returns [(name, parameters, macs, activations)], all for an input of `shape`, counted on the `meta` device:
    shapes without numbers, so it takes no time. Multiply-adds are half of what FlopCounterMode counts.
    """
    import copy

    from torch.utils.flop_counter import FlopCounterMode

    net = copy.deepcopy(net).to("meta").eval()
    saved = {}
    for name, child in net.named_children():
        for module in child.modules():
            if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
                module.register_forward_hook(
                    lambda _, __, out, name=name: saved.__setitem__(name, saved.get(name, 0) + out.numel())
                )
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(torch.empty(shape, device="meta"))
    flops = counter.get_flop_counts()
    top = type(net).__name__
    return [
        (
            name,
            sum(p.numel() for p in child.parameters()),
            sum(flops.get(f"{top}.{name}", {}).values()) // 2,
            saved.get(name, 0),
        )
        for name, child in net.named_children()
    ]


def saved_bytes(step):
    """Bytes that autograd keeps for the backward pass of `step()`; memory shared by several nodes counts once."""
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)  # kept alive: an address must not be used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        step()
    return sum(size for size, _ in seen.values())

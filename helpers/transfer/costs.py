"""What a network costs: parameters, multiply-adds, saved activations."""

import torch
from torch import nn

# ---------------------------------------------------------------- what a network costs


def cost_table(net, shape=(1, 3, 224, 224)):
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

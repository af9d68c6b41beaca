"""What is frozen while a network trains: whole modules, or the stored statistics of their batch norms.

freeze(model.base)              # neither weights nor batch-norm statistics move
freeze_statistics(model.base)   # weights learn, batch norm goes on with its stored mean and variance
unfreeze(model)
"""

import types

from torch import nn


def _stay(module: nn.Module) -> None:
    """Keep a module in evaluation mode, also when its parent calls `train()`."""
    module.train = types.MethodType(lambda self, mode=True: nn.Module.train(self, False), module)  # type: ignore[method-assign]
    module.eval()


def freeze(module: nn.Module) -> nn.Module:
    """Stop training `module`, *wholly*: its parameters and its batch-norm statistics.

    `requires_grad=False` alone leaves running_mean and running_var moving with every forward pass in
    training mode. So the module also stays in evaluation mode when its parent calls `train()`.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    _stay(module)
    return module


def freeze_statistics(module: nn.Module) -> nn.Module:
    """Keep every batch norm in `module` on its stored mean and variance; its scale and shift still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            _stay(part)
    return module


def unfreeze(module: nn.Module) -> nn.Module:
    """Undo `freeze` and `freeze_statistics`."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module

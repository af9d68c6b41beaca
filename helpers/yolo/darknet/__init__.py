"""Darknet's networks in PyTorch: read (`cfg`), built (`network`), computed (`layers`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["cfg", "layers", "network"],
    submod_attrs={"network": ["Darknet", "read_weights", "write_weights", "Header"]},
)

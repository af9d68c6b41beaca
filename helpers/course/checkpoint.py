"""Checkpoints: one file, written atomically, hashed, and read back without a pickle.

A checkpoint is a tree of dicts and lists whose leaves are tensors or plain JSON values (just
what `state_dict()` of models, optimisers and schedulers gives). The tensors go into a
safetensors file, the rest of the tree into its header as JSON, with a SHA-256 over both.
`torch.load` would unpickle, that is, run code from the file; this cannot.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from helpers.course.errors import UserError
from helpers.course.files import write_atomically


def _split(tree, name, tensors):
    """The tree as JSON, each tensor replaced by {"tensor": its name} and collected in `tensors`."""
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        # pairs, not an object: JSON would turn the integer keys of an optimiser's state into strings
        return {"dict": [[key, _split(value, f"{name}.{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        return {"list": [_split(value, f"{name}.{i}", tensors) for i, value in enumerate(tree)]}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(f"{name} is a {type(tree).__name__}: a checkpoint holds tensors, dicts, lists and JSON values")


def _join(tree, tensors):
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "list" in tree:
        return [_join(value, tensors) for value in tree["list"]]
    return {key: _join(value, tensors) for key, value in tree["dict"]}


def _digest(tensors, tree):
    sha = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return sha.hexdigest()


def save(path: str | os.PathLike, tree: Any) -> Path:
    """Save a tree of dicts, lists, tensors and JSON values as one `.safetensors` file, always the same bytes."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_split(tree, "", tensors))
    # one entry, not two: safetensors writes several in an order that changes from file to file
    return write_atomically(path, to_bytes(tensors, {"checkpoint": f"{_digest(tensors, text)} {text}"}))


def load(path: str | os.PathLike) -> Any:
    """The tree that `save` wrote, its tensors on the CPU. A damaged or foreign file raises UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: check the path, or train first")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"the checkpoint {path} is truncated or damaged ({error}): delete it, train again") from error
    if "checkpoint" not in header:
        raise UserError(f"{path} is not a checkpoint of this course; give the folder that a `train` command wrote")
    digest, _, text = header["checkpoint"].partition(" ")
    if _digest(tensors, text) != digest:
        raise UserError(f"the checkpoint {path} is damaged (its SHA-256 differs); delete it and train again")
    return _join(json.loads(text), tensors)


def save_model(path: str | os.PathLike, model: nn.Module, config: dict[str, Any]) -> Path:
    """Weights and the JSON config that rebuilds the model, in one hashed file."""
    return save(path, {"config": config, "model": model.state_dict()})


def load_model(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(state_dict, config) of a file that `save_model` wrote."""
    saved = load(path)
    if "config" not in saved or "model" not in saved:
        raise UserError(f"{path} holds no model; give the folder that a `train` command wrote")
    return saved["model"], saved["config"]

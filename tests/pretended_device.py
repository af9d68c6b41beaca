"""A second device that is none: every tensor stays in the CPU's memory, but one that was sent to `DEVICE` carries a
label, and an operation that mixes labelled and unlabelled tensors fails as it would with a GPU.

    with pretended():
        torch.ones(3, device=DEVICE) + torch.ones(3)      # RuntimeError

So code that forgets to move a tensor is found on a machine without a GPU, and since the arithmetic is the CPU's,
results can be compared bit by bit. Allowed, as in PyTorch: tensors without dimensions beside others, indices from the
CPU into a tensor on the device, copies between the two. Not seen: what a GPU computes otherwise, and waiting for it.
"""

from contextlib import contextmanager
from functools import cache

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

HALF_IS_FAST = torch.ops.mkldnn._is_mkldnn_bf16_supported()
DEVICE = torch.device("xpu", 0)  # a kind of device that no machine of ours has
TO_ITS_FIRST = {"copy_", "set_", "index"}  # operations whose result is where their first tensor is
MIXING = TO_ITS_FIRST | {"index_put_", "index_put", "_index_put_impl_"}
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, torch.frombuffer}
_labelled, _limit = {}, 1000  # address -> storage, which keeps the address from being given away


def there(x):
    """Is this tensor on the pretended device?"""
    return _address(x) in _labelled


def _label(x, on):
    global _limit
    if not torch._C._has_storage(x):
        return
    storage = x.untyped_storage()
    if on and storage.data_ptr():
        _labelled[storage.data_ptr()] = storage
    else:
        _labelled.pop(storage.data_ptr(), None)
    if len(_labelled) > _limit:  # let go what nobody else holds
        for address in [a for a, s in _labelled.items() if torch._C._storage_Use_Count(s._cdata) == 1]:
            del _labelled[address]
        _limit = 2 * len(_labelled) + 1000


def _tensors(*things):
    found = []
    _collect(things, found)
    return found


def _collect(things, found):
    for x in things:
        if isinstance(x, torch.Tensor):
            found.append(x)
        elif isinstance(x, (list, tuple)):
            _collect(x, found)
        elif isinstance(x, dict):
            _collect(x.values(), found)


def _address(x):
    return x.untyped_storage().data_ptr() if torch._C._has_storage(x) else None


@cache
def _name(func):
    return func._schema.name.partition("::")[2]


class _Operations(TorchDispatchMode):
    """Looks at what every operation gets, and labels what it makes; `look` sees each of them first."""

    def __init__(self, look=None):
        super().__init__()
        self.look = look

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.look:
            self.look(func, args, kwargs)
        if not _labelled and not _Functions.inside:
            return func(*args, **kwargs)
        name, given = _name(func), _tensors(args, kwargs)
        places = [_address(x) for x in given]
        on = [place in _labelled for place in places]
        if any(on) and not all(on) and name not in MIXING:
            filled = [(x, o) for x, o in zip(given, on) if x.dim() and x.numel()]
            if len({o for _, o in filled}) > 1:
                what = ", ".join(f"{tuple(x.shape)} on {DEVICE if o else 'cpu'}" for x, o in filled)
                raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {what}")
        if name == "index" and not on[0] and any(o for x, o in zip(given, on) if x.dim() and x.numel()):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        out = func(*args, **kwargs)
        where = (on[0] if name in TO_ITS_FIRST else any(on)) if given else _Functions.inside
        for x in _tensors(out):
            if _address(x) not in places:
                _label(x, where)
        return out


class _Functions(TorchFunctionMode):
    """Understands `device=`, `.to()` and `.cpu()`, and refuses NumPy."""

    inside = False  # a function whose tensors are on the device makes new ones there, as one_hot does

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, args, goal = dict(kwargs or {}), list(args), None
        if getattr(func, "__name__", "") in ("numpy", "__array__") and there(args[0]):
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first")
        if func is torch.Tensor.cpu:
            goal = torch.device("cpu")
        if func is torch.Tensor.new_tensor:
            goal = args[0].device
        if func is torch.Tensor.to:
            for i, x in enumerate(args[1:], 1):
                if isinstance(x, (str, torch.device)):
                    goal = torch.device(x)
                    args[i] = torch.device("cpu") if goal.type == DEVICE.type else goal
                elif isinstance(x, torch.Tensor):
                    goal = x.device
        if kwargs.get("device") is not None:
            goal = torch.device(kwargs["device"])
            kwargs["device"] = torch.device("cpu") if goal.type == DEVICE.type else goal
        given = _tensors(args, kwargs)
        _Functions.inside = bool(_labelled) and any(there(x) for x in given if x.dim())
        try:
            out = func(*args, **kwargs)
        finally:
            _Functions.inside = False
        if torch.is_tensor(out) and goal is not None and goal.type in ("cpu", DEVICE.type):
            if there(out) != (goal.type == DEVICE.type):
                if _address(out) in map(_address, given):  # nothing was copied yet
                    out = out.clone()
                _label(out, goal.type == DEVICE.type)
        elif func in FROM_NUMBERS and not given:
            _label(out, False)
        return out


@contextmanager
def pretended(look=None, half=True):
    """In here there is `DEVICE`.

    look    a function of each operation, its args and kwargs, called before it runs: a second mode would cost every
            operation as much again
    half    it computes in 16 bits (`engine_on_it`), as a GPU does: without oneDNN where that cannot, which is slow
    """
    real = torch._C.TensorBase.device.__get__
    torch.Tensor.device = property(lambda x: DEVICE if there(x) else real(x))
    # a GPU computes an LSTM in bf16; oneDNN does so on some processors only, PyTorch's own loops on all
    own = torch.backends.mkldnn.flags(enabled=HALF_IS_FAST or not half, allow_tf32=False)
    try:
        with _Functions(), _Operations(look), own:
            yield
    finally:
        del torch.Tensor.device
        _labelled.clear()


def engine_on_it(real, half=True):
    """`training.engine`, which takes `DEVICE` for "auto" and, with `half`, 16 bits, as it would a GPU."""

    def engine(device="auto", precision="auto"):
        acc = real("cpu", "no" if device == "cpu" else precision.replace("auto", "bf16" if half else "no"))
        if device == "auto":
            acc.__class__ = type("Elsewhere", (type(acc),), {"device": DEVICE})
        return acc

    return engine

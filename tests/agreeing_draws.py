"""Draws that do not agree between computers, found in the code and as they happen. Why: helpers/course/draws.py.

    faults("F.dropout(x)")      # [(1, "torch.nn.functional.dropout")], once F is imported: what draws, and where
    with agreeing():
        F.dropout(x)            # RuntimeError: aten::bernoulli_ may draw other numbers on another computer ...

The first finds what no run reaches, such as a command for full data; the second what the code does not name, such as a
network of another package that was given its dropout in a dictionary. Not seen by the second: what other threads and
other processes draw.
"""

import ast
from contextlib import contextmanager
from functools import cache

import nbformat
import torch
from IPython.core.inputtransformer2 import TransformerManager
from torch.utils._python_dispatch import TorchDispatchMode

WHY = "may draw other numbers on another computer (PyTorch issue 121595): use helpers.course.draws, or torch.rand"

# ---------------------------------------------------------------- in the code

METHODS = {"bernoulli", "bernoulli_", "exponential_", "multinomial"}  # of torch, and of any tensor
NAMES = {
    f"{module}.{name}"
    for module, names in {
        "torch": "dropout dropout_ native_dropout alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ "
        "feature_alpha_dropout feature_alpha_dropout_ rrelu rrelu_",
        "torch.nn": "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout RReLU",
        "torch.nn.functional": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
        "gumbel_softmax rrelu rrelu_",
        "torch.utils.data": "WeightedRandomSampler",
        "torch.distributions": "Bernoulli Binomial Categorical Exponential Geometric MixtureSameFamily Multinomial "
        "NegativeBinomial OneHotCategorical OneHotCategoricalStraightThrough Pareto Poisson Weibull",
        "torchvision.ops": "StochasticDepth stochastic_depth DropBlock2d DropBlock3d drop_block2d drop_block3d",
        "timm.layers": "DropPath drop_path DropBlock2d drop_block_2d PatchDropout",
    }.items()
    for name in names.split()
}
SHARES = {"dropout", "dropout_p", "drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate"}  # keywords
DROPPING = {  # what takes such a share: its place among the arguments without a name, and the default
    "torch.nn.RNN": (5, 0.0),
    "torch.nn.LSTM": (5, 0.0),
    "torch.nn.GRU": (5, 0.0),
    "torch.nn.MultiheadAttention": (2, 0.0),
    "torch.nn.TransformerEncoderLayer": (3, 0.1),
    "torch.nn.TransformerDecoderLayer": (3, 0.1),
    "torch.nn.Transformer": (5, 0.1),
    "torch.nn.functional.scaled_dot_product_attention": (4, 0.0),
}


def _imports(tree):
    """{name in this file: what it stands for}, of all imports wherever they are."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                known |= {alias.asname: alias.name} if alias.asname else {first: first}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return known


def _full(node, known):
    """F.dropout -> torch.nn.functional.dropout; x.bernoulli_ -> .bernoulli_ where x is no import; "" for no name."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    return f"{_full(node.value, known)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _said(node, known):
    """The full names that one node of the tree says."""
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [_full(node, known)] if isinstance(node, (ast.Name, ast.Attribute)) else []


def _draws(name):
    package, _, last = name.rpartition(".")
    return name in NAMES or last in METHODS and package.partition(".")[0] in ("", "torch")


def _drops(call, known):
    """Whether a call gives a dropout that is not 0 to another package's code, or leaves it at such a default."""
    name = _full(call.func, known)
    theirs = name.startswith(("torch.", "torchvision.", "timm."))
    if not theirs and isinstance(call.func, (ast.Name, ast.Attribute)):  # ours; but CELL[cell](...) may be anybody's
        return False
    place, default = DROPPING.get(name, (len(call.args), 0.0))
    given = [k.value for k in call.keywords if k.arg in SHARES] + call.args[place : place + 1]
    return any(not isinstance(v, ast.Constant) or v.value for v in given or [ast.Constant(default)])


def faults(code, known=None):
    """[(line, name)] of all in Python code that draws otherwise. `known`: the imports of earlier cells, which grow."""
    tree, found = ast.parse(code), set()
    known = {} if known is None else known
    known |= _imports(tree)
    for node in ast.walk(tree):
        found |= {(node.lineno, name) for name in _said(node, known) if _draws(name)}
        if isinstance(node, ast.Call) and _drops(node, known):
            found.add((node.lineno, f"{ast.unparse(node.func)} with dropout"))
    return sorted(found)


def faults_of_file(path):
    """The same of a module or of a notebook's code cells, as sentences that name the file and the line."""
    if path.suffix == ".py":
        return [f"{path}, line {n}: {name} {WHY}" for n, name in faults(path.read_text(encoding="utf-8"))]
    known, said = {}, []
    for i, cell in enumerate(nbformat.read(path, 4).cells):
        if cell.cell_type == "code":
            code = TransformerManager().transform_cell(cell.source)  # `%` and `!` are IPython's, not Python's
            said += [f"{path}, cell {i}, line {n}: {name} {WHY}" for n, name in faults(code, known)]
    return said


# ---------------------------------------------------------------- as they happen

AGREE = {  # all others that PyTorch marks as random are refused
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "random", "random_"),
    *("uniform", "uniform_", "normal", "normal_", "normal_functional"),
    "_sample_dirichlet",  # its uniform and normal numbers are the generator's own, whatever the processor
}


@cache
def _can_draw(func):
    """Whether an operation can draw otherwise. Marked are single operations; under inference_mode whole layers come
    here, and not all of those are."""
    name = func._schema.name.partition("::")[2]
    told = {"dropout", "dropout_p"} & {argument.name for argument in func._schema.arguments}
    marked = torch.Tag.nondeterministic_seeded in func.tags or "dropout" in name or "rrelu" in name
    return name not in AGREE and bool(marked or told)


def _draws_now(func, args, kwargs):
    """Whether it does: not outside training, and not where the share to drop is 0."""
    expected = func._schema.arguments
    values = {a.name: a.default_value for a in expected} | dict(zip((a.name for a in expected), args)) | kwargs
    share = values.get("dropout_p", values.get("dropout", values.get("p") if "dropout" in func._schema.name else None))
    return values.get("train", values.get("training")) is not False and share != 0


def watch(refused):
    """A function of (operation, args, kwargs) that raises for a draw which does not agree, and notes it in a list."""

    def look(func, args, kwargs):
        if _can_draw(func) and _draws_now(func, args, kwargs):
            refused.append(f"{func._schema.name} {WHY}")
            raise RuntimeError(refused[-1])

    return look


class _Agreeing(TorchDispatchMode):
    def __init__(self, look):
        super().__init__()
        self.look = look

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.look(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


@contextmanager
def agreeing():
    """In here what may draw other numbers on another computer raises RuntimeError; the list of all such is given."""
    refused = []
    with _Agreeing(watch(refused)):
        yield refused

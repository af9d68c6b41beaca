"""No draw that another computer may draw otherwise: neither said in the code nor met while a notebook runs."""

from contextlib import nullcontext
from pathlib import Path

import nbformat
import pytest
import timm
import torch
import torchvision
from agreeing_draws import WHY, agreeing, faults, faults_of_file
from torch import nn
from torch.nn import functional as F

from helpers.course import draws

ROOT = Path(__file__).parents[1]
FILES = [*sorted((ROOT / "helpers").rglob("*.py")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_says_no_draw_that_does_not_agree(path):
    said = faults_of_file(path)
    assert not said, "\n".join(said)


IMPORTS = (
    "import torch, timm, torchvision\nfrom torch import nn\nimport torch.nn.functional as F\n"
    "import numpy as np\nfrom helpers.course.draws import Dropout, dropout\n"
    "from helpers.recurrent.encoder import Encoder\n"
)


@pytest.mark.parametrize(
    "code, name",
    [
        ("F.dropout(x, 0.5)", "torch.nn.functional.dropout"),
        ("nn.functional.dropout2d(x)", "torch.nn.functional.dropout2d"),
        ("layers = [nn.Linear(2, 2), torch.nn.Dropout(0.1)]", "torch.nn.Dropout"),
        ("def f(make=nn.AlphaDropout): ...", "torch.nn.AlphaDropout"),
        ("from torch.nn import Dropout as Off\nOff(0.1)", "torch.nn.Dropout"),
        ("from torch.nn.functional import gumbel_softmax", "torch.nn.functional.gumbel_softmax"),
        ("from torch import multinomial as m", "torch.multinomial"),
        ("torch.multinomial(w, 3, replacement=True)", "torch.multinomial"),
        ("torch.empty(3).bernoulli_(0.5)", ".bernoulli_"),
        ("(x + 1).exponential_()", ".exponential_"),
        ("x.multinomial(1)", ".multinomial"),
        ("torch.distributions.Categorical(w).sample()", "torch.distributions.Categorical"),
        ("timm.layers.DropPath(0.1)", "timm.layers.DropPath"),
        ("nn.LSTM(4, 4, 2, dropout=0.3)", "nn.LSTM with dropout"),
        ("nn.GRU(4, 4, 2, True, False, p)", "nn.GRU with dropout"),
        ("{1: nn.RNN}[1](4, 4, 2, dropout=p)", "{1: nn.RNN}[1] with dropout"),
        ("nn.MultiheadAttention(4, 2, 0.1)", "nn.MultiheadAttention with dropout"),
        ("nn.TransformerEncoderLayer(4, 2)", "nn.TransformerEncoderLayer with dropout"),  # 0.1 where nothing is said
        ("F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)", "F.scaled_dot_product_attention with dropout"),
        ("timm.create_model('resnet18', drop_path_rate=0.1)", "timm.create_model with dropout"),
        ("torchvision.models.googlenet(dropout=0.2)", "torchvision.models.googlenet with dropout"),
    ],
)
def test_what_does_not_agree_is_found_in_code(code, name):
    code = IMPORTS + code
    assert (len(code.splitlines()), name) in faults(code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "dropout(torch.ones(3), 0.5, True), Dropout(0.5)",
        "Encoder(12, dropout=0.4)",
        "def net(dropout=0.1):\n    return dropout\nnet(dropout=0.2)",
        "nn.LSTM(4, 4, 2), nn.LSTM(4, 4, 2, dropout=0), nn.GRU(4, 4, 2, True, False, 0.0), {1: nn.RNN}[1](4, 4)",
        "nn.TransformerEncoderLayer(4, 2, dropout=0.0), nn.TransformerEncoderLayer(4, 2, 8, 0.0)",
        "torch.rand(3) < 0.5, torch.randn(3), torch.randperm(3), torch.randint(3, (3,)), x.uniform_(), x.normal_()",
        "np.random.default_rng(0).random(3), np.random.multinomial(3, w)",
        "self.dropout(x), dropout",
    ],
)
def test_what_agrees_is_left_alone(code):
    assert faults(IMPORTS + code) == []


def test_a_fault_is_named_by_file_and_line(tmp_path):
    module, notebook = tmp_path / "layers.py", tmp_path / "x.ipynb"
    module.write_text("from torch import nn\n\n\ndef head(p):\n    return nn.Dropout(p)\n")
    assert faults_of_file(module) == [f"{module}, line 5: torch.nn.Dropout {WHY}"]
    sources = ["%matplotlib inline\nfrom torch.nn import functional as F", "!ls\ny = 1", "y = 2\nF.dropout(x)"]
    cells = [nbformat.v4.new_markdown_cell("F.dropout"), *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    assert faults_of_file(notebook) == [f"{notebook}, cell 3, line 2: torch.nn.functional.dropout {WHY}"]


# ---------------------------------------------------------------- as it happens


def inputs(*shape):
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape) / torch.Size(shape).numel()


X, MAPS, WEIGHTS = inputs(2, 3, 4), inputs(1, 2, 3, 4), inputs(5)
LAYERS = {  # each drops in training and not in evaluation
    "nn.RNN": nn.RNN(4, 4, 2, dropout=0.5),
    "nn.LSTM": nn.LSTM(4, 4, 2, dropout=0.5),
    "nn.GRU": nn.GRU(4, 4, 2, dropout=0.5),
    "nn.TransformerEncoderLayer": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    "nn.Dropout": nn.Dropout(0.5),
    "nn.AlphaDropout": nn.AlphaDropout(0.5),
    "nn.RReLU": nn.RReLU(),
    "timm's DropPath": timm.layers.DropPath(0.5),
    "torchvision's StochasticDepth": torchvision.ops.StochasticDepth(0.5, "row"),
}
FUNCTIONS = {
    "F.dropout": lambda: F.dropout(X, 0.5),
    "F.dropout in place": lambda: F.dropout(X.clone(), 0.5, inplace=True),
    "F.dropout2d": lambda: F.dropout2d(MAPS, 0.5),
    "F.feature_alpha_dropout": lambda: F.feature_alpha_dropout(MAPS, 0.5, True),
    "torch.native_dropout": lambda: torch.native_dropout(X, 0.5, True),
    "attention": lambda: F.scaled_dot_product_attention(MAPS, MAPS, MAPS, dropout_p=0.5),
    "torch.bernoulli": lambda: torch.bernoulli(WEIGHTS),
    "torch.bernoulli, p": lambda: torch.bernoulli(WEIGHTS, 0.5),
    "bernoulli_": lambda: torch.empty(3).bernoulli_(0.5),
    "bernoulli_, tensor": lambda: torch.empty(5).bernoulli_(WEIGHTS),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "F.gumbel_softmax": lambda: F.gumbel_softmax(WEIGHTS),
    "torch.multinomial": lambda: torch.multinomial(WEIGHTS, 3),
    "torch.multinomial, replacement": lambda: torch.multinomial(WEIGHTS, 3, replacement=True),
    "Categorical": lambda: torch.distributions.Categorical(WEIGHTS).sample(),
    "Bernoulli": lambda: torch.distributions.Bernoulli(WEIGHTS).sample(),
}
AGREE = {
    "dropout": lambda: draws.dropout(X, 0.5, True),
    "Dropout": lambda: draws.Dropout(0.5)(X),
    "pick": lambda: draws.pick(WEIGHTS),
    "rand": lambda: (torch.rand(3), torch.rand_like(X), torch.empty(3).uniform_(), nn.Linear(3, 3)),
    "randn": lambda: (torch.randn(3), torch.randn_like(X), torch.empty(3).normal_(), torch.normal(0.0, 1.0, (3,))),
    "randint": lambda: (torch.randint(3, (3,)), torch.randperm(3), torch.empty(3).random_()),
    "with a generator": lambda: torch.rand(3, generator=torch.Generator().manual_seed(0)),
    "p = 0": lambda: (nn.Dropout(0.0)(X), nn.LSTM(4, 4, 2)(X), F.scaled_dot_product_attention(MAPS, MAPS, MAPS)),
}
WAYS = {"with gradients": nullcontext, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
in_each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def refused(call, way):
    with way(), agreeing() as found, pytest.raises(RuntimeError, match="PyTorch issue 121595") as error:
        call()
    assert found == [str(error.value)] and "\n" not in found[0] and "helpers.course.draws" in found[0]


@in_each_way
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_does_not_agree_is_refused(name, way):
    FUNCTIONS[name]()  # the draw was the fault
    refused(FUNCTIONS[name], way)


@in_each_way
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_refused_in_training_alone(name, way):
    layer = LAYERS[name].train()
    refused(lambda: layer(X), way)
    with way(), agreeing() as found:
        layer.eval()(X)
    assert not found


@in_each_way
@pytest.mark.parametrize("name", AGREE)
def test_what_agrees_is_let_through(name, way):
    with way(), agreeing() as found:
        AGREE[name]()
    assert not found

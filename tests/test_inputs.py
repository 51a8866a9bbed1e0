"""Inputs of several arguments: kernels are those of plain autograd, row by row in float64."""

from collections import UserDict

import pytest
import torch
from never_wrong_networks import Net, plain_gradient
from torch import nn

import ntkflow
from ntkflow import diagonal_kernel, empirical_ntk, ntk_operator
from ntkflow.errors import ConfigurationError, KernelError, UnsupportedLayerError

torch.set_num_threads(1)

METHODS = ["auto", "layerwise", "jacobian", "vector_product", "autograd"]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class Towers(nn.Module):
    """Inner products of two towers, the second of which may be missing."""

    def __init__(self, outputs=2):
        super().__init__()
        self.left, self.right, self.read = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(5, outputs)

    def forward(self, image, text=None, scale=1):
        h = self.left(image).tanh()
        if text is not None:
            h = h * self.right(text).tanh()
        return self.read(scale * h)


class Transformer(nn.Module):
    """One head of attention over tokens, those behind the mask left out, and their mean."""

    def __init__(self):
        super().__init__()
        self.embed, self.read = nn.Embedding(9, 4), nn.Linear(4, 2)
        self.keys, self.values = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)

    def forward(self, input_ids, attention_mask=None, causal=False):
        h = self.embed(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        allowed = mask[:, None, :].bool().expand(-1, h.shape[1], -1)
        allowed = allowed.tril() if causal else allowed
        scores = (self.keys(h) @ h.mT).masked_fill(~allowed, -1e9)
        h = (h + scores.softmax(-1) @ self.values(h)).tanh() * mask[..., None]
        return self.read(h.sum(1) / mask.sum(1, keepdim=True))


def tokens(n, length):
    ids = torch.randint(1, 9, (n, length))
    mask = (torch.arange(length) < torch.arange(n)[:, None] + 2).long()
    return {"input_ids": ids, "attention_mask": mask}


def towers_of(n):
    return draw(n, 3), draw(n, 4)


def named_towers(n):
    return {"text": draw(n, 4), "image": draw(n, 3)}


CASES = {
    "tuple": lambda: (Towers(), towers_of(4), towers_of(3)),
    "one tensor in a tuple": lambda: (Towers(), (draw(4, 3),), draw(3, 3)),
    "an argument None in a list": lambda: (Towers(), [draw(4, 3), None, 2], None),
    "keywords": lambda: (Towers(), {"scale": 2} | named_towers(3), named_towers(2)),
    "one row": lambda: (Towers(), towers_of(1), towers_of(4)),
    "masked tokens": lambda: (Transformer(), tokens(4, 5), None),
    "longer x2": lambda: (Transformer(), tokens(3, 3), tokens(4, 12)),
    "shorter x2": lambda: (Transformer(), tokens(3, 12) | {"causal": True}, tokens(2, 3)),
}
SOME = ["keywords", "shorter x2"]


def row(x, n):
    """The arguments and keywords of one row."""
    if isinstance(x, torch.Tensor):
        x = (x,)
    alone = {
        key: each[n : n + 1].clone() if isinstance(each, torch.Tensor) else each
        for key, each in (x.items() if isinstance(x, dict) else enumerate(x))
    }
    return ((), alone) if isinstance(x, dict) else (tuple(alone.values()), {})


def rows(x):
    members = [x] if isinstance(x, torch.Tensor) else x.values() if isinstance(x, dict) else x
    return next(len(each) for each in members if isinstance(each, torch.Tensor))


def plain_jacobian(network, x):
    """Gradients (N, O, P), one backward pass per row and output."""
    named = dict(network.named_parameters())
    each = []
    for n in range(rows(x)):
        args, keywords = row(x, n)
        outputs = network(*args, **keywords).reshape(-1)
        each.append(
            torch.stack([torch.cat(list(plain_gradient(o, named).values())) for o in outputs])
        )
    return torch.stack(each)


def plain_kernel(network, x1, x2=None):
    left = plain_jacobian(network, x1)
    right = left if x2 is None else plain_jacobian(network, x2)
    return torch.einsum("nop,mqp->oqnm", left, right)


def equal(found, expected):
    size = expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * size)


def make(name):
    torch.manual_seed(0)
    network, x1, x2 = CASES[name]()
    return network.double(), x1, x2


@pytest.fixture(params=CASES)
def case(request):
    return make(request.param)


@pytest.mark.parametrize("method", METHODS)
def test_kernel_is_that_of_plain_autograd(case, method):
    kernel = empirical_ntk(*case, method=method)
    assert method in ("auto", kernel.method)
    equal(kernel.values, plain_kernel(*case))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("method", METHODS)
def test_one_row_at_a_time(name, method):
    case = make(name)
    equal(empirical_ntk(*case, method=method, memory_budget=1).values, plain_kernel(*case))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("method", ["layerwise", "jacobian", "vector_product"])
def test_conventions_and_layers(name, method):
    case = make(name)
    block = plain_kernel(*case)
    diagonal = torch.stack([block[o, o] for o in range(2)])
    expected = {"diagonal": diagonal, "trace": diagonal.sum(0), "mean": diagonal.mean(0)}
    for outputs, values in expected.items():
        equal(empirical_ntk(*case, outputs=outputs, method=method).values, values)
    equal(empirical_ntk(*case, outputs=1, method=method).values, block[1, 1])
    parts = empirical_ntk(*case, method=method, by_layer=True).by_parameter
    equal(sum(parts.values()), block)


@pytest.mark.parametrize("method", ["auto", "jacobian", "vector_product"])
def test_other_arguments_in_x2(method):
    torch.manual_seed(0)
    network, x1, x2 = Towers().double(), towers_of(2), {"image": draw(3, 3), "scale": 2}
    for pair in ((x1, x2), (x2, x1)):
        equal(empirical_ntk(network, *pair, method=method).values, plain_kernel(network, *pair))


@pytest.mark.parametrize("budget", [None, 1])
@pytest.mark.parametrize("name", SOME)
def test_operator(name, budget):
    network, x, _ = make(name)
    expected = plain_kernel(network, x).permute(2, 0, 3, 1).reshape(2 * rows(x), -1)
    operator = ntk_operator(network, x, memory_budget=budget)
    equal(operator @ torch.eye(len(expected), dtype=torch.float64), expected)


def test_a_mapping_that_is_no_dict():
    network, x = Transformer(), tokens(3, 4)
    found = empirical_ntk(network, UserDict(x)).values
    torch.testing.assert_close(found, empirical_ntk(network, x).values)


def test_operator_casts_real_numbers_alone():
    network, x = Transformer(), tokens(3, 4)
    operator = ntk_operator(network, x, dtype=torch.float64)
    expected = plain_kernel(network.double(), x).permute(2, 0, 3, 1).reshape(6, 6)
    equal(operator @ torch.eye(6, dtype=torch.float64), expected)


@pytest.mark.parametrize("method", ["auto", "vector_product"])
@pytest.mark.parametrize("named", [False, True])
def test_a_function_gets_several_arguments_after_its_parameters(method, named):
    torch.manual_seed(0)
    network, (image, text) = Towers().double(), towers_of(4)
    x = {"image": image, "text": text} if named else (image, text)

    def function(parameters, *args, **keywords):
        return torch.func.functional_call(network, parameters, args, keywords)

    parameters = dict(network.named_parameters())
    found = empirical_ntk(function, x, parameters=parameters, method=method).values
    equal(found, plain_kernel(network, x))


@pytest.mark.parametrize("method", METHODS)
def test_inputs_stay_as_they_are(method):
    network = Towers().double()
    write = network.forward
    network.forward = lambda image, text: write(image.mul_(2), text.add_(1))
    x = towers_of(3)
    before = [each.clone() for each in x]
    values = empirical_ntk(network, x, method=method).values
    assert all(map(torch.equal, x, before))
    equal(values, plain_kernel(network, x))


@pytest.mark.parametrize("sizes", [(1, 6), (6, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_images_of_two_sizes(sizes, method):
    """Sums over few places are best formed as pairs of places, over many as rows."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    network = nn.Sequential(*layers, *pool).double()
    x1, x2 = (draw(3, 1, size, size) for size in sizes)
    block = plain_kernel(network, x1, x2)
    equal(empirical_ntk(network, x1, x2, method=method, memory_budget=1).values, block)
    trace = empirical_ntk(network, x1, x2, method=method, outputs="trace").values
    equal(trace, block[0, 0] + block[1, 1])


@pytest.mark.parametrize("named", [False, True])
def test_diagonal_kernel(named):
    torch.manual_seed(0)
    network, (image, text) = Towers(1).double(), towers_of(1)
    start = {name: p.detach()[None] for name, p in network.named_parameters()}
    inputs = {"text": text, "image": image} if named else (image, text)
    _, full = diagonal_kernel(network, start, inputs)
    equal(full, plain_kernel(network, inputs).flatten())
    with pytest.raises(KernelError, match=r"x: shape \(2, 3\) is not allowed; use \(1, ...\)"):
        diagonal_kernel(network, start, (draw(2, 3), draw(2, 4)))


def test_rows_that_interact_through_the_second_argument_are_refused():
    network = Towers().double()
    centred = Net(None, body=network)
    centred.forward = lambda image, text: network(image, text - text.mean(0))
    with pytest.raises(UnsupportedLayerError, match="rows interact"):
        empirical_ntk(centred, towers_of(4))


def test_other_numbers_of_outputs_are_refused():
    network = nn.Linear(3, 2)
    with pytest.raises(UnsupportedLayerError, match=r"8 output\(s\) for a row of x1 and 10 for"):
        empirical_ntk(network, torch.randn(3, 4, 3), torch.randn(3, 5, 3))


def test_no_values_are_needed():
    network = Towers().to("meta")
    x1, x2 = ([each.float().to("meta") for each in towers_of(n)] for n in (3, 4))
    for method in METHODS:
        values = empirical_ntk(network, x1, x2, method=method).values
        assert (values.shape, values.is_meta) == ((2, 2, 3, 4), True)


IMAGE, TEXT = torch.randn(4, 3), torch.randn(4, 4)
WRONG = {
    "rows": ((IMAGE, TEXT[:3]), r"x1\[1\]: 3 row\(s\), but x1\[0\] has 4; expand"),
    "rows by name": (
        {"image": IMAGE, "text": TEXT[:3]},
        r"x1\['text'\]: 3 row\(s\), but x1\['image'\] has 4",
    ),
    "no axes": ((IMAGE, torch.tensor(2.0)), r"x1\[1\]: a tensor without axes has no rows"),
    "nested": (((IMAGE, TEXT), None), r"x1\[0\]: tuple is not allowed; use a torch.Tensor"),
    "nested dict": ({"image": {"left": IMAGE}}, r"x1\['image'\]: dict is not allowed"),
    "array": ({"image": IMAGE.numpy()}, r"x1\['image'\]: ndarray is not allowed"),
    "keys": ({0: IMAGE}, "x1: key 0 is not allowed; use names of arguments"),
    "no tensor": ((None, 1), "x1: holds no tensor; use tensors in a tuple or dict"),
    "nothing": ((), "x1: holds no tensor"),
    "no rows": ((IMAGE[:0], TEXT[:0]), "x1: no rows; give at least one input"),
    "list of rows": (list(IMAGE), r"x1: .*positional arguments.*rows in a list are stacked"),
    "unknown name": ({"picture": IMAGE}, "x1: .*unexpected keyword argument 'picture'; a tuple"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_an_error_in_one_line(name):
    x, words = WRONG[name]
    with pytest.raises(ConfigurationError, match=f"^{words}") as caught:
        empirical_ntk(Towers(), x)
    assert "\n" not in str(caught.value)


def test_the_second_inputs_are_named():
    with pytest.raises(ConfigurationError, match=r"^x2\[1\]: 3 row\(s\), but x2\[0\] has 4"):
        empirical_ntk(Towers(), (IMAGE, TEXT), (IMAGE, TEXT[:3]))
    with pytest.raises(ConfigurationError, match=r"^x1\[1\]: 3 row\(s\), but x1\[0\] has 4"):
        ntk_operator(Towers(), (IMAGE, TEXT[:3]))


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_name_in_the_second_inputs_is_told(method):
    x1 = {"image": IMAGE, "text": TEXT}
    words = r"^x2: .*unexpected keyword argument 'txt'; a tuple"
    with pytest.raises(ConfigurationError, match=words) as caught:
        empirical_ntk(Towers(), x1, {"image": IMAGE, "txt": TEXT}, method=method)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^x2: .*missing 1 required .*'image'; a tuple"):
        empirical_ntk(Towers(), x1, {"text": TEXT}, method=method)
    with pytest.raises(ConfigurationError, match=r"^x2: .*positional arguments"):
        ntkflow.explain(Towers(), x1, (IMAGE, TEXT, 1, TEXT))
    with pytest.raises(ConfigurationError, match=r"^x: .*unexpected keyword argument 'txt'"):
        ntkflow.gradient_norms(Towers(), {"image": IMAGE, "txt": TEXT})


ONE_TENSOR = {
    "kappa": lambda net, x, y: ntkflow.kappa(net, x, y),
    "training": lambda net, x, y: ntkflow.LinearizedTraining(net, x, y, learning_rate=0.1),
    "outputs": lambda net, x, y: ntkflow.ensemble_outputs(net, {}, x),
    "evaluated": lambda net, x, y: ntkflow.evaluated(net, {}, x),
    "limit": lambda net, x, y: ntkflow.limit_kernels(net, x),
}


@pytest.mark.parametrize("name", ONE_TENSOR)
@pytest.mark.usefixtures("unchecked_types")
def test_what_takes_one_tensor_says_so(name):
    for x in ((IMAGE,), {"input": IMAGE}):
        kind = type(x).__name__
        with pytest.raises(ConfigurationError, match=f": {kind} is not .* a torch.Tensor$"):
            ONE_TENSOR[name](nn.Linear(3, 2), x, TEXT[:, :2])


@pytest.mark.usefixtures("unchecked_types")
def test_anything_else_is_an_error():
    with pytest.raises(ConfigurationError, match=r"^x1: ndarray is not allowed; use tensors in"):
        empirical_ntk(Towers(), IMAGE.numpy())

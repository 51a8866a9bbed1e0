"""Kernels in other types, also of few digits or several at once: right, or an error."""

import copy

import pytest
import torch
from never_wrong_cases import CASES
from never_wrong_networks import Net, build, plain_kernels, tanh_mlp
from torch import nn

from ntkflow import empirical_ntk, explain, gradient_norms, laplacian
from ntkflow.errors import ConfigurationError, KernelError

torch.set_num_threads(1)

METHODS = ["auto", "layerwise", "jacobian", "vector_product", "autograd"]
SHORT = [torch.float16, torch.bfloat16]


def error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def expected_of(network, x):
    network = copy.deepcopy(network).double()
    return sum(plain_kernels(network, x.double(), x.double()).values())


def make(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 2)]
    return nn.Sequential(*layers), torch.randn(5, 4)


@pytest.mark.parametrize("method", METHODS)
def test_dtype_is_that_of_a_copy(method):
    network, x = make()
    before = copy.deepcopy(network.state_dict())
    kernel = empirical_ntk(network, x, x[:2], dtype=torch.float64, method=method, by_layer=True)
    expected = expected_of(network, x)[..., :2]
    assert kernel.values.dtype == kernel.by_parameter["0.bias"].dtype == torch.float64
    assert error(kernel.values, expected) < 1e-14
    assert all(torch.equal(before[name], p) for name, p in network.state_dict().items())
    assert {p.dtype for p in network.parameters()} == {x.dtype} == {torch.float32}


class Normalised(nn.Module):
    """Buffers, a parameter that stays fixed, and whole numbers among the inputs."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.read = nn.Embedding(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.read.weight.requires_grad_(False)

    def forward(self, ids, shift):
        return self.read(self.norm(self.embed(ids) + shift).tanh())


@pytest.mark.parametrize("function", [False, True])
def test_everything_is_cast(function):
    torch.manual_seed(0)
    network, x = Normalised().eval(), (torch.tensor([0, 3, 3]), torch.randn(3, 4))
    double = copy.deepcopy(network).double()
    parameters = {n: p for n, p in double.named_parameters() if p.requires_grad}
    expected = empirical_ntk(double, (x[0], x[1].double())).values
    if function:

        def call(parameters, *x):
            return torch.func.functional_call(double, parameters, x)

        short = {name: p.float() for name, p in parameters.items()}
        found = empirical_ntk(call, x, parameters=short, dtype=torch.float64)
    else:
        found = empirical_ntk(network, x, dtype=torch.float64)
    assert error(found.values, expected) < 1e-14


@pytest.mark.parametrize("wanted", ["2.*", ["0.weight", "4.bias"]])
def test_parameters_by_name(wanted):
    network, x = make()
    double = empirical_ntk(copy.deepcopy(network).double(), x.double(), parameters=wanted)
    found = empirical_ntk(network, x, parameters=wanted, dtype=torch.float64)
    assert error(found.values, double.values) < 1e-14


def test_parameters_by_part_and_of_another_type():
    network, x = make()
    part = empirical_ntk(network, x, parameters=network[2], dtype=torch.float64).values
    named = {name: p for name, p in network.double().named_parameters() if name.startswith("2.")}
    assert (
        error(empirical_ntk(network.float(), x, parameters=named, dtype=torch.float64).values, part)
        == 0
    )


def test_operator_and_explain():
    network, x = make()
    options = dict(operator=laplacian, dtype=torch.float64)
    found = empirical_ntk(network, x, **options).values
    double = copy.deepcopy(network).double(), x.double()
    assert error(found, empirical_ntk(*double, operator=laplacian).values) < 1e-13
    summary, expected = explain(network, x, **options), explain(*double, operator=laplacian)
    assert (summary.method, summary.operations) == (expected.method, expected.operations)
    assert summary.kernel_bytes == expected.kernel_bytes == 8 * 4 * 25


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize("method", ["auto", "layerwise", "jacobian", "autograd"])
@pytest.mark.parametrize("dtype", SHORT)
def test_short_numbers_are_summed_in_float32(dtype, method, by_layer):
    """Only factors and the result are rounded; 60 equal summands would lose digits."""

    def repeated(net, x):
        return sum(layer(x) for layer in net.layers)

    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(40, 1, bias=False) for _ in range(60)])
    network, x = Net(repeated, layers=layers).to(dtype), torch.randn(3, 40).to(dtype)
    kernel = empirical_ntk(network, x, method=method, by_layer=by_layer)
    assert kernel.values.dtype == dtype
    expected = 60 * (x.double() @ x.double().T)[None, None]
    rounding = torch.finfo(dtype).eps / 2
    assert ((kernel.values.double() - expected) / expected).abs().max() <= 1.1 * rounding


@pytest.mark.parametrize("method", METHODS)
def test_autocast(method):
    network, x = make()
    expected = expected_of(network, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = empirical_ntk(network, x, method=method).values
        wide = empirical_ntk(network, x, method=method, dtype=torch.float32).values
        assert torch.is_autocast_enabled("cpu")
    assert (found.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    assert error(found, expected) < 0.01
    assert error(wide, expected) < 1e-6


@pytest.mark.parametrize("method", ["auto", "layerwise", "jacobian", "autograd"])
def test_autocast_rounds_the_network_and_not_the_kernel(method):
    """Rows that are rounded by the network, and products of them that are not."""
    torch.manual_seed(0)
    network, x = (
        Net(lambda net, x: net.a(x).float(), a=nn.Linear(40, 2, bias=False)),
        torch.randn(5, 40),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernel = empirical_ntk(network, x, method=method)
        norms = gradient_norms(network, x)
    rounded = x.bfloat16().double()
    assert kernel.values.dtype == torch.float32
    assert error(kernel.values[1, 1], rounded @ rounded.T) < 1e-6
    assert error(norms[0], rounded.norm(dim=1)) < 1e-6


class Mixed(nn.Module):
    """A first layer of 16 bits, as a quantised or half-cast model has."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6).bfloat16(), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(self.a(x.to(self.a.weight.dtype)).to(self.b.weight.dtype).tanh())


@pytest.mark.parametrize("method", METHODS)
def test_mixed_weights(method):
    torch.manual_seed(0)
    network, x = Mixed(), torch.randn(5, 4)
    expected = expected_of(network, x)
    found = empirical_ntk(network, x, method=method, by_layer=True)
    assert found.values.dtype == torch.float32
    assert {part.dtype for part in found.by_parameter.values()} == {torch.float32}
    assert error(found.values, expected) < 0.01
    wide = empirical_ntk(network, x, method=method, dtype=torch.float64).values
    assert error(wide, expected) < 1e-14


@pytest.mark.parametrize("name", ["alias", "fixed"])
def test_network_of_a_fixed_type_is_refused(name):
    network, x = build(CASES["alias"])
    if name == "fixed":
        network = Net(lambda net, x: net.a(x.float()), a=nn.Linear(4, 2))
    with pytest.raises(ConfigurationError, match=r"^dtype: the network fails in torch.float64 \("):
        empirical_ntk(network.float(), x.float(), dtype=torch.float64)


@pytest.mark.parametrize("dtype", ["float64", torch.int64, torch.complex64, float])
@pytest.mark.usefixtures("unchecked_types")
def test_other_types_are_an_error(dtype):
    network, x = make()
    with pytest.raises(
        ConfigurationError, match=r"^dtype: .* is not allowed; use a floating-point"
    ):
        empirical_ntk(network, x, dtype=dtype)


def big(rows, factor, dtype=torch.float16, n=4):
    """Inputs that are larger in these rows."""
    torch.manual_seed(0)
    x = 1 + torch.rand(n, 4)
    x[list(rows)] *= factor
    return x.to(dtype)


ENDS = "as float16 ends at 6.55e\\+04; use dtype=torch.float32"
# Rows of x1 and of x2 that are large, by how much, and what is said.
OVERFLOWS = {
    "a pair": ([2], [], 200, f"input 2 of x1 and input 2 of x2, {ENDS}"),
    "every pair of a row": ([2], [], 30_000, f"input 2 of x1, {ENDS}"),
    "a row of x2": ([], [1], 30_000, f"input 1 of x2, {ENDS}"),
    "one of each": ([2], [1], 300, f"input 2 of x1 and input 1 of x2, {ENDS}"),
    "infinite": ([2], [], torch.inf, "input 2 of x1, nor is it in float64; look at x"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", OVERFLOWS)
def test_overflow_names_input_and_type(name, method):
    first, second, factor, words = OVERFLOWS[name]
    network = nn.Linear(4, 1).half()
    x1, x2 = big(first, factor), big(second, factor) if second else None
    with pytest.raises(KernelError, match=f"^kernel: not finite for {words}") as caught:
        empirical_ntk(network, x1, x2, method=method)
    assert "\n" not in str(caught.value)
    if factor < torch.inf:
        assert empirical_ntk(network, x1, x2, dtype=torch.float32).values.isfinite().all()


def test_overflow_of_a_type_with_a_wide_range():
    network, x = nn.Linear(4, 1).bfloat16(), big([1], 1e25, torch.bfloat16)
    with pytest.raises(
        KernelError, match=r"input 1 of x1 .*as bfloat16 ends.*use dtype=torch.float64"
    ):
        empirical_ntk(network, x)
    assert empirical_ntk(network, x, dtype=torch.float64).values.isfinite().all()


def test_sums_that_end_within_the_range():
    """Summands of a trace or of parameters do not overflow by themselves."""
    network = tanh_mlp(4, 3).half()
    values = empirical_ntk(network, big([], 1), outputs="mean").values
    assert values.isfinite().all()
    large = nn.Linear(4, 3).half()
    x = torch.full((1, 4), 100, dtype=torch.float16)
    assert empirical_ntk(large, x, outputs="mean").values.isfinite().all()
    with pytest.raises(KernelError, match="input 0 of x1"):
        empirical_ntk(large, x, outputs="trace")

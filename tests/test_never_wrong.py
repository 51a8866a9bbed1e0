"""Kernels are those of plain autograd, or refused: on every kind of network and by every method."""

import copy

import numpy as np
import pytest
import torch
from never_wrong_cases import CASES, INTERACTING
from never_wrong_networks import Broken, build, plain_jacobian, plain_kernels, tanh_mlp, two
from torch import nn
from torch.nn import functional as F

from ntkflow import empirical_ntk
from ntkflow.empirical.capture import claims_of, look
from ntkflow.empirical.model import as_model
from ntkflow.errors import ConfigurationError, KernelError, UnsupportedLayerError

torch.set_num_threads(1)

X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ALWAYS = ["auto", "autograd"]
FAST = ["layerwise", "jacobian", "vector_product"]


def right(found, expected, size=None):
    size = (expected if size is None else size).abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * size)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.mark.parametrize("method", ALWAYS)
def test_kernel_is_that_of_plain_autograd(case, method):
    network, x = build(case)
    right(
        empirical_ntk(network, x, method=method).values, sum(plain_kernels(network, x, x).values())
    )


def found_or_refusal(network, x, method):
    try:
        return empirical_ntk(network, x, method=method).values
    except UnsupportedLayerError as error:
        return str(error)


@pytest.mark.parametrize("method", FAST)
def test_fast_method_is_right_or_refuses_in_one_line(case, method):
    network, x = build(case)
    found = found_or_refusal(network, x, method)
    if isinstance(found, str):
        assert found.startswith(f"method: '{method}' ")
        assert "\n" not in found
    else:
        right(found, sum(plain_kernels(network, x, x).values()))


@pytest.mark.parametrize("method", ALWAYS)
def test_conventions_and_parameters_by_one_row_at_a_time(case, method):
    network, x = build(case, n=5)
    parts = plain_kernels(network, x, x)
    expected = sum(parts.values())
    options = dict(method=method, memory_budget=1)
    diagonal = torch.stack([expected[o, o] for o in range(len(expected))])
    right(empirical_ntk(network, x, outputs="diagonal", **options).values, diagonal)
    right(empirical_ntk(network, x, outputs="trace", **options).values, diagonal.sum(0))
    right(empirical_ntk(network, x, outputs="mean").values, diagonal.mean(0))
    by_name = empirical_ntk(network, x, by_layer=True, **options).by_parameter
    assert set(by_name) == set(parts)
    for name, part in parts.items():
        right(by_name[name], part, size=expected)


@pytest.mark.parametrize("method", ALWAYS)
@pytest.mark.parametrize("rows", [1, 2])
def test_cross_kernel(case, method, rows):
    network, x = build(case, n=5)
    expected = sum(plain_kernels(network, x[:rows], x[rows:]).values())
    right(empirical_ntk(network, x[:rows], x[rows:], method=method).values, expected)


def test_network_and_inputs_stay_as_they_were(case):
    network, x = build(case)
    given, before = x.clone(), copy.deepcopy(network.state_dict())
    result = empirical_ntk(network, x)
    assert torch.equal(x, given)
    assert not result.values.requires_grad
    assert all(torch.equal(before[name], p) for name, p in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("method", ["auto", "autograd", "jacobian", "layerwise", "vector_product"])
@pytest.mark.parametrize("name", INTERACTING)
def test_rows_that_interact_are_refused(name, method):
    network, x = build(INTERACTING[name], n=5)
    with pytest.raises(UnsupportedLayerError, match=r"^network: .*rows interact"):
        empirical_ntk(network, x, method=method)
    with pytest.raises(UnsupportedLayerError, match=r"^network: .*rows interact"):
        empirical_ntk(network, x[:1], x[1:], method=method)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.b(net.a(x)).T,
        lambda net, x: net.b(net.a(x.unflatten(1, (2, 2)).repeat(1, 1, 2))).flatten(0, 1),
    ],
)
def test_outputs_whose_first_axis_is_not_the_rows_are_refused(forward, rows):
    with pytest.raises(UnsupportedLayerError, match="first axis of the outputs must be that of"):
        empirical_ntk(two(forward).double(), X[:rows])


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (lambda y: {"logits": y}, "a dict with keys 'logits'"),
        (lambda y: (y, y), "a tuple of 2"),
        (lambda y: y.mean(), r"shape \(\) for 4 row"),
        (lambda y: y.to(torch.complex64), "complex64"),
        (lambda y: y.argmax(1), "int64"),
        (lambda y: None, "a NoneType"),
    ],
)
def test_other_outputs_are_refused_by_name(returned, named):
    network = two(lambda net, x: returned(net.b(net.a(x)))).double()
    with pytest.raises(UnsupportedLayerError, match=f"^network: returns .*{named}.* is needed"):
        empirical_ntk(network, X[:4])


@pytest.mark.parametrize("output", ["logits", lambda returned: returned["logits"]])
def test_part_of_what_is_returned(output):
    plain = two(lambda net, x: net.b(net.a(x).tanh())).double()
    network = two(lambda net, x: {"loss": None, "logits": net.b(net.a(x).tanh())}).double()
    network.load_state_dict(plain.state_dict())
    right(empirical_ntk(network, X, output=output).values, empirical_ntk(plain, X).values)
    with pytest.raises(
        UnsupportedLayerError, match=r"^output: 'scores' is not in .* keys 'loss', 'l"
    ):
        empirical_ntk(network, X, output="scores")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_module():
    network = tanh_mlp(4, 2).double()
    scripted = torch.jit.trace(network, X)
    expected = sum(plain_kernels(network, X, X).values())
    right(empirical_ntk(scripted, X).values, expected)
    right(empirical_ntk(scripted, X, method="autograd").values, expected)


@pytest.mark.parametrize("method", ALWAYS)
def test_inside_inference_mode(method):
    network = tanh_mlp(4, 2).double()
    expected = sum(plain_kernels(network, X, X).values())
    with torch.inference_mode():
        right(empirical_ntk(network, X * 1, method=method).values, expected)


def test_replaced_parameters_act_where_a_checkpoint_computes_again():
    network, x = build(CASES["checkpoint of a convolution"])
    other = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    found = empirical_ntk(network, x, parameters=other, method="autograd").values
    network.load_state_dict(other)
    right(found, sum(plain_kernels(network, x, x).values()))


def test_parameter_held_in_a_plain_attribute_cannot_be_replaced():
    network, x = build(CASES["alias"])
    other = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    with pytest.raises(UnsupportedLayerError, match="'middle' cannot be replaced"):
        empirical_ntk(network, x, parameters=other)


FIRST = {"body.0.weight", "body.0.bias"}


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("force", FIRST | {"body.2.weight"}),
        ("energy and force", FIRST | {"body.2.weight", "body.2.bias"}),
        ("force on an image", {"body.0.bias", "body.3.weight"}),
        ("input in place", FIRST | {"body.2.weight", "body.2.bias"}),
    ],
)
def test_second_uses_in_a_double_backward_are_met(name, claimed):
    network, x = build(CASES[name])
    found = claims_of(as_model(network), look(as_model(network), x))[0]
    assert found.claimed == claimed
    assert "body.2.bias" in found.claimed | found.idle or name == "force on an image"


def test_experts_that_the_first_row_does_not_meet():
    network, x = build(CASES["experts by assignment"], n=8)
    chosen = network.gate(x).argmax(1)
    x = x[chosen.argsort()]
    right(empirical_ntk(network, x).values, sum(plain_kernels(network, x, x).values()))


def test_what_cannot_be_differentiated_is_refused_in_one_line():
    network = two(lambda net, x: net.b(Broken.apply(net.a(x)))).double()
    with pytest.raises(
        UnsupportedLayerError, match=r"^network: torch cannot diff.*: no derivative$"
    ):
        empirical_ntk(network, X)


@pytest.mark.parametrize("outputs", [[0, 2], (2, 0), [np.int64(1)], [-1, 0], np.array([2, 1])])
@pytest.mark.parametrize("method", ["layerwise", "jacobian", "vector_product", "autograd"])
def test_list_of_outputs_is_their_block(outputs, method):
    network = tanh_mlp(4, 3).double()
    chosen = [int(o) % 3 for o in outputs]
    expected = sum(plain_kernels(network, X, X).values())[chosen][:, chosen]
    right(empirical_ntk(network, X, outputs=outputs, method=method).values, expected)


@pytest.mark.parametrize("output", [np.int64(1), torch.tensor(1), 1])
def test_number_of_an_output_in_any_type(output):
    network = tanh_mlp(4, 3).double()
    kernel = empirical_ntk(network, X, outputs=output)
    right(kernel.values, sum(plain_kernels(network, X, X).values())[1, 1])
    assert kernel.outputs == 1


@pytest.mark.parametrize("outputs", [True, "all", [], [0, 0], [0, 3], 1.5, [1.0], ["block"]])
@pytest.mark.usefixtures("unchecked_types")
def test_other_outputs_are_an_error(outputs):
    with pytest.raises(ConfigurationError, match=r"^outputs: "):
        empirical_ntk(tanh_mlp(4, 3).double(), X, outputs=outputs)


@pytest.mark.parametrize(
    "choose",
    [
        lambda net: "2.*",
        lambda net: ["2.weight", "2.bias"],
        lambda net: net[2],
        lambda net: net[2].parameters(),
        lambda net: [net[2].weight, "2.b*"],
        lambda net: {"2.weight": net[2].weight, "2.bias": net[2].bias},
    ],
)
@pytest.mark.parametrize("method", ["auto", "jacobian", "vector_product", "layerwise", "autograd"])
def test_part_of_the_parameters_in_every_form(choose, method):
    network = tanh_mlp(4, 3).double()
    parts = plain_kernels(network, X, X)
    kernel = empirical_ntk(network, X, parameters=choose(network), method=method, by_layer=True)
    assert set(kernel.by_parameter) == {"2.weight", "2.bias"}
    right(kernel.values, parts["2.weight"] + parts["2.bias"])
    assert not kernel.values.requires_grad


@pytest.mark.parametrize(
    ("choose", "named"),
    [
        (lambda net: "3.*", r"no parameter '3\.\*'"),
        (lambda net: nn.Linear(4, 3), "no parameter of that Linear"),
        (lambda net: [torch.ones(3)], "no parameter that is this Tensor"),
        (lambda net: 3, "int is not allowed"),
        (lambda net: [], "none is given"),
        (lambda net: {"2.bias": torch.ones(5)}, r"'2.bias' has shape \(5,\); use \(3,\)"),
    ],
)
def test_parameters_that_the_network_does_not_have(choose, named):
    network = tanh_mlp(4, 3).double()
    with pytest.raises(ConfigurationError, match=f"^parameters: .*{named}"):
        empirical_ntk(network, X, parameters=choose(network))


def test_overflow_names_input_and_type():
    network = nn.Linear(4, 1).half()
    x = torch.ones(3, 4).half()
    x[1] *= 300
    with pytest.raises(KernelError, match="input 1 of x1 and input 1 of x2, as float16"):
        empirical_ntk(network, x)
    assert empirical_ntk(network.float(), x.float()).values.isfinite().all()


@pytest.mark.parametrize("method", ["layerwise", "jacobian", "vector_product", "autograd"])
def test_mixed_types(method):
    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = tanh_mlp(4, 2)

        def forward(self, x):
            return self.body(x.bfloat16()).float()

    network = Logits().bfloat16()
    expected = sum(plain_kernels(copy.deepcopy(network.body).double(), X, X).values()).float()
    found = empirical_ntk(network, X.float(), method=method).values
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize("outputs", ["block", "diagonal", "trace", 0])
@pytest.mark.parametrize("method", ["layerwise", "jacobian", "vector_product"])
def test_a_wrong_gradient_is_found_whatever_the_convention(outputs, method):
    """The gradient of this activation is another under torch.func and where rows are many."""

    def forward(net, x):
        h = net.a(x)
        if h.requires_grad and (len(x) > 1 or torch._C._functorch.is_functorch_wrapped_tensor(h)):
            h = h + 0.01 * (h - h.detach())
        return net.b(h.tanh())

    network = two(forward).double()
    with pytest.raises(UnsupportedLayerError, match="deviates from plain autograd"):
        empirical_ntk(network, X, method=method, outputs=outputs)
    jacobian = torch.cat(list(plain_jacobian(network, X).values()), dim=2)
    block = torch.einsum("nop,mqp->oqnm", jacobian, jacobian)
    right(empirical_ntk(network, X).values, block)


def test_kinks_that_rounding_crosses_are_no_deviation():
    """Pre-activations of exactly zero, up to rounding, in float32."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 2))
    x = torch.randn(6, 64)
    with torch.no_grad():
        network[0].bias.copy_(-F.linear(x[:1], network[0].weight)[0])
    for method in ("layerwise", "jacobian"):
        assert empirical_ntk(network, x, method=method).method == method


@pytest.mark.parametrize("sizes", [(3, 8), (8, 3)])
def test_inputs_of_two_sizes(sizes):
    pool = nn.AdaptiveAvgPool2d(1)
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()]
    network = nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(3, 2)).double()
    x1, x2 = (torch.randn(3, 1, size, size, dtype=torch.float64) for size in sizes)
    right(empirical_ntk(network, x1, x2).values, sum(plain_kernels(network, x1, x2).values()))


def test_difference_of_networks_is_rounding_not_interaction():
    """Outputs that cancel to their last digits, in float32."""
    network = tanh_mlp(4, 2, width=64)
    start = copy.deepcopy(network).requires_grad_(False)
    with torch.no_grad():
        network[2].weight += 1e-6
    scaled = nn.Module()
    scaled.network, scaled.start = network, start
    scaled.forward = lambda x: 1e4 * (network(x) - start(x))
    values = empirical_ntk(scaled, X.float()).values
    expected = 1e8 * empirical_ntk(network, X.float()).values
    assert (values - expected).abs().max() < 2e-6 * expected.abs().max()

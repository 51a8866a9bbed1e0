"""Conventions, invariances, inputs of all shapes and errors of `empirical_ntk`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ntkflow import Kernel, empirical_ntk, ntk_operator
from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.networks import cnn, mlp

torch.set_num_threads(1)

METHODS = ["jacobian", "vector_product", "layerwise"]
ORACLE = Path(__file__).parent / "data" / "oracle"


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture(params=["mlp", "cnn"])
def case(request):
    torch.manual_seed(0)
    if request.param == "mlp":
        network, shape = mlp(4, [6, 5], 3, sigma_b=0.4), (4,)
    else:
        network, shape = cnn(2, [3, 2], 3, image_size=4, sigma_b=0.4), (2, 4, 4)
    x = torch.randn(7, *shape, dtype=torch.float64)
    return network.double(), x[:4], x[4:]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("other", [True, False])
def test_conventions_are_parts_of_the_block_kernel(case, method, other):
    network, x1, x2 = case

    def call(outputs):
        options = dict(outputs=outputs, method=method)
        return empirical_ntk(network, x1, x2 if other else None, **options).values

    block = call("block")
    diagonal = torch.stack([block[o, o] for o in range(3)])
    equal(call("diagonal"), diagonal)
    equal(call("trace"), diagonal.sum(0))
    equal(call("mean"), diagonal.mean(0))
    equal(call(1), block[1, 1])
    equal(call(-1), block[2, 2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outputs", ["block", "mean", 2])
def test_parameters_sum_to_the_kernel(case, method, outputs):
    network, x1, x2 = case
    kernel = empirical_ntk(network, x1, x2, outputs=outputs, method=method, by_layer=True)
    assert set(kernel.by_parameter) == {name for name, _ in network.named_parameters()}
    equal(sum(kernel.by_parameter.values()), kernel.values)
    equal(kernel.values, empirical_ntk(network, x1, x2, outputs=outputs).values)


def nested():
    """Layers in layers, weights of several names, and a parameter beside the layers."""
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    network = nn.Module()
    network.gain = nn.Parameter(torch.ones(4))
    network.body = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
    register_parametrization(network.body[0], "weight", nn.Tanh())
    network.attention = attention
    network.forward = lambda x: (
        attention(*[h := network.body(x * network.gain)] * 3)[0].sum(1) + h[:, 0]
    )
    return network.double(), torch.randn(4, 3, 4, dtype=torch.float64)


LAYERS = {
    "": ["gain"],
    "body.0": ["body.0.bias", "body.0.parametrizations.*"],
    "body.1.0": ["body.1.0.weight", "body.1.0.bias"],
    "attention": ["attention.in_proj_*"],
    "attention.out_proj": ["attention.out_proj.*"],
}


@pytest.mark.parametrize("method", ["auto", *METHODS, "autograd"])
def test_layers_are_their_parameters(method):
    torch.manual_seed(0)
    network, x = nested()
    kernel = empirical_ntk(network, x, x[:2], outputs="mean", method=method, by_layer=True)
    assert set(kernel.by_layer) == set(LAYERS)
    for layer, patterns in LAYERS.items():
        alone = empirical_ntk(network, x, x[:2], outputs="mean", parameters=patterns).values
        torch.testing.assert_close(kernel.by_layer[layer], alone, rtol=1e-10, atol=1e-12)
    equal(sum(kernel.by_layer.values()), kernel.values)
    assert kernel.by_parameter["gain"].data_ptr() == kernel.by_layer[""].data_ptr()


def test_layers_are_told_apart_where_they_were_asked_for():
    network, x = nn.Linear(3, 2), torch.randn(4, 3)
    assert empirical_ntk(network, x).by_layer is None
    kernel = empirical_ntk(network, x, by_layer=True)
    equal(kernel.by_layer[""], kernel.values)
    assert list(empirical_ntk(lambda p, x: x @ p, x, parameters=x.T, by_layer=True).by_layer) == [
        ""
    ]


@pytest.mark.parametrize("method", METHODS)
def test_one_parameter_alone_is_its_part(case, method):
    network, x1, x2 = case
    parts = empirical_ntk(network, x1, x2, method=method, by_layer=True).by_parameter
    for name, parameter in network.named_parameters():
        alone = empirical_ntk(network, x1, x2, parameters={name: parameter}, method=method)
        equal(alone.values, parts[name])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("budget", [1, 5_000, 50_000])
def test_chunks_do_not_change_the_kernel(case, method, other, budget):
    network, x1, x2 = case
    x2 = x2 if other else None
    small = empirical_ntk(network, x1, x2, method=method, memory_budget=budget)
    equal(small.values, empirical_ntk(network, x1, x2).values)


@pytest.mark.parametrize("outputs", ["diagonal", "trace"])
def test_chunks_do_not_change_other_conventions(case, outputs):
    network, x, _ = case
    small = empirical_ntk(network, x, outputs=outputs, memory_budget=1).values
    equal(small, empirical_ntk(network, x, outputs=outputs).values)


@pytest.mark.parametrize("method", METHODS)
def test_permuted_inputs_permute_the_kernel(case, method):
    network, x, _ = case
    order = torch.tensor([2, 0, 3, 1])
    permuted = empirical_ntk(network, x[order], method=method).values
    equal(permuted, empirical_ntk(network, x).values[:, :, order][..., order])


def test_kernel_is_positive_semidefinite(case):
    network, x, _ = case
    matrix = empirical_ntk(network, x).values.permute(0, 2, 1, 3).reshape(12, 12)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12 * matrix.trace()


def test_result_states_convention_and_method(case):
    kernel = empirical_ntk(*case[:2], outputs="mean")
    assert isinstance(kernel, Kernel)
    assert (kernel.outputs, kernel.method, kernel.by_parameter) == ("mean", "layerwise", None)
    assert "mean over outputs" in kernel.convention
    assert "output o = 1 alone" in empirical_ntk(*case[:2], outputs=1).convention


class Angles(nn.Linear):
    """A layer whose weight meets its inputs in no operation that is known."""

    def forward(self, x):
        return torch.atan2(x[:, None], self.weight).sum(-1) + self.bias


@pytest.mark.parametrize(
    ("rows", "known", "method"),
    [
        (5, True, "layerwise"),
        (1, True, "layerwise"),
        (5, False, "jacobian"),
        (1, False, "vector_product"),
    ],
)
@pytest.mark.parametrize("function", [False, True])
def test_method_is_chosen_by_operations_and_rows(rows, known, method, function):
    network, x = nn.Linear(4, 2) if known else Angles(4, 5), torch.randn(5, 4)
    parameters = dict(network.named_parameters())

    def call(parameters, x):
        return torch.func.functional_call(network, parameters, (x,))

    target = (call, x[:rows], x) if function else (network, x[:rows], x)
    found = empirical_ntk(*target, parameters=parameters)
    assert found.method == method
    torch.testing.assert_close(found.values, empirical_ntk(network, x[:rows], x).values)


def test_network_of_other_layers_takes_its_jacobian():
    network = nn.Sequential(Angles(4, 3), nn.Linear(3, 1)).double()
    kernel = empirical_ntk(network, torch.randn(3, 4).double())
    assert kernel.method == "jacobian"


@pytest.mark.parametrize("method", METHODS)
def test_function_of_any_pytree(method):
    torch.manual_seed(0)
    network, x = mlp(4, [3], 2, sigma_b=1.0, dtype=torch.float64), torch.randn(5, 4).double()
    w1, b1, w2, b2 = network.parameters()
    tree = {"hidden": [w1, b1], "readout": (w2, b2)}

    def function(tree, x):
        (w1, b1), (w2, b2) = tree["hidden"], tree["readout"]
        return torch.relu(x @ w1.T / 2 + b1) @ w2.T / 3**0.5 + b2

    kernel = empirical_ntk(function, x, parameters=tree, method=method, by_layer=True)
    equal(kernel.values, empirical_ntk(network, x).values)
    assert set(kernel.by_parameter) == {"hidden.0", "hidden.1", "readout.0", "readout.1"}
    parts = empirical_ntk(network, x, by_layer=True).by_layer
    for name, part in zip(["hidden", "readout"], parts.values(), strict=True):
        equal(kernel.by_layer[name], part)


@pytest.mark.parametrize("method", METHODS)
def test_given_parameters_replace_the_module_s(case, method):
    network, x1, x2 = case
    other = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    replaced = empirical_ntk(network, x1, x2, parameters=other, method=method).values
    network.load_state_dict(other)
    equal(replaced, empirical_ntk(network, x1, x2, method=method).values)


@pytest.mark.parametrize("method", METHODS)
def test_fixed_parameters_are_left_out(case, method):
    network, x1, x2 = case
    network[0].weight.requires_grad_(False)
    kernel = empirical_ntk(network, x1, x2, method=method, by_layer=True)
    assert "0.weight" not in kernel.by_parameter
    equal(sum(kernel.by_parameter.values()), kernel.values)


def test_network_is_left_as_it_was(case):
    network, x, _ = case
    before = {name: p.clone() for name, p in network.state_dict().items()}
    with torch.no_grad():
        empirical_ntk(network, x)
    assert all(torch.equal(before[name], p) for name, p in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(layer._forward_hooks for layer in network.modules())


def oracle_network(data, spec):
    """The network of an oracle file and its inputs, axes moved to those of torch."""
    scales = dict(activation=spec["activation"], sigma_w=spec["W_std"], sigma_b=spec["b_std"])
    hidden, x1, x2 = spec["hidden_layers"], data["x1"], data["x2"]
    if spec["kind"] == "conv":
        x1, x2 = x1.transpose(0, 3, 1, 2), x2.transpose(0, 3, 1, 2)
        sizes = dict(image_size=x1.shape[-1], head=spec["head"])
        network = cnn(x1.shape[1], [spec["channels"]] * hidden, spec["outputs"], **sizes, **scales)
    else:
        network = mlp(x1.shape[1], [spec["width"]] * hidden, spec["outputs"], **scales)
    layers = [layer for layer in network if hasattr(layer, "weight")]
    for index, layer in enumerate(layers):
        weight = data[f"W{index}"]
        weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
        layer.weight = nn.Parameter(torch.from_numpy(weight.copy()))
        layer.bias = nn.Parameter(torch.from_numpy(data[f"b{index}"].reshape(-1)))
    return network, torch.from_numpy(x1.copy()), torch.from_numpy(x2.copy())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["fc_relu_2_0", "fc_erf_1_1", "conv_relu_gap_2_0"])
def test_oracle(name, method):
    data = np.load(ORACLE / f"empirical_{name}.npz")
    network, x1, x2 = oracle_network(data, json.loads(str(data["spec"])))

    def axes(key):
        return torch.from_numpy(data[key].transpose(2, 3, 0, 1).copy())

    equal(network(x1), torch.from_numpy(data["f1"]))
    equal(empirical_ntk(network, x1, method=method).values, axes("ntk_11"))
    equal(empirical_ntk(network, x2, x1, method=method).values, axes("ntk_21"))


@settings(max_examples=25)
@given(
    rows=st.integers(1, 4),
    others=st.none() | st.integers(1, 4),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    widths=st.lists(st.integers(1, 4), max_size=2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    method=st.sampled_from(["vector_product", "layerwise"]),
)
def test_all_shapes_agree_with_the_jacobian(rows, others, inputs, outputs, widths, dtype, method):
    network = mlp(inputs, widths, outputs, activation="erf", sigma_b=0.5, dtype=dtype)
    x1 = torch.randn(rows, inputs, dtype=dtype)
    x2 = None if others is None else torch.randn(others, inputs, dtype=dtype)
    found = empirical_ntk(network, x1, x2, method=method).values
    expected = empirical_ntk(network, x1, x2, method="jacobian").values
    assert found.shape == (outputs, outputs, rows, rows if others is None else others)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outputs", ["block", "mean", "diagonal", 0])
def test_meta_device(method, outputs):
    network = cnn(1, [2], 3, image_size=4, sigma_b=0.1, device="meta")
    x1, x2 = (torch.empty(n, 1, 4, 4, device="meta") for n in (4, 3))
    values = empirical_ntk(network, x1, x2, method=method, outputs=outputs).values
    assert values.device.type == "meta"
    assert values.shape[-2:] == (4, 3)


def test_outputs_of_several_axes_are_flattened():
    network = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)))
    assert empirical_ntk(network, torch.randn(2, 4)).values.shape == (6, 6, 2, 2)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False).eval(), nn.Dropout()]
)
def test_training_mode_is_an_error(layer):
    with pytest.raises(UnsupportedLayerError, match=r"layer '0': .* use network.eval\(\)"):
        empirical_ntk(nn.Sequential(layer, nn.Linear(4, 2)), torch.randn(3, 4))


@pytest.mark.parametrize("noise", [F.dropout, nn.RReLU()])
def test_chance_in_the_forward_pass_is_an_error(noise):
    def network(parameters, x):
        return noise(x @ parameters["w"])

    x, parameters = -torch.ones(2, 3), {"w": torch.ones(3, 2)}
    with pytest.raises(UnsupportedLayerError, match="draws random numbers"):
        empirical_ntk(network, x, parameters=parameters)
    with pytest.raises(UnsupportedLayerError, match="draws random numbers"):
        ntk_operator(network, x, parameters=parameters)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (dict(outputs="all"), "outputs: 'all'"),
        (dict(outputs=2), "outputs: 2"),
        (dict(method="fast"), "method: 'fast'"),
        (dict(parameters={"weight": torch.ones(1)}), "no parameter 'weight'"),
        (dict(parameters={}), "parameters: "),
    ],
)
def test_unknown_option_is_an_error(options, named):
    with pytest.raises(ConfigurationError, match=named):
        empirical_ntk(mlp(4, [3], 2), torch.randn(3, 4), **options)


def test_function_needs_parameters():
    with pytest.raises(ConfigurationError, match="give a pytree"):
        empirical_ntk(lambda p, x: x, torch.randn(3, 4))


def test_function_goes_through_its_operations():
    x, p = torch.randn(3, 4).double(), torch.randn(4, 2).double()
    kernel = empirical_ntk(lambda p, x: torch.tanh(x @ p), x, parameters=p)
    assert kernel.method == "layerwise"
    plain = empirical_ntk(lambda p, x: torch.tanh(x @ p), x, parameters=p, method="autograd")
    equal(kernel.values, plain.values)


def test_no_rows_is_an_error():
    with pytest.raises(ConfigurationError, match="no rows"):
        empirical_ntk(mlp(4, [3], 2), torch.randn(0, 4))

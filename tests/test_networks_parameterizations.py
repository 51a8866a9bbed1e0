import pytest
import torch
from descents import descent
from torch import nn
from torch.func import functional_call

from ntkflow import empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.networks import StandardConv2d, StandardLinear, cnn, draw_parameters, member, mlp
from ntkflow.training import train_ensemble
from ntkstudy.subjects.networks import build_network

BLOCK = {
    "kind": "mlp", "depth": 2, "width": 40, "activation": "relu", "parameterization": "pytorch",
    "sigma_w": 1.0, "sigma_w_last": None, "sigma_b": 0.0, "bias": "normal",
}  # fmt: skip


@pytest.mark.parametrize("make", [mlp, lambda n, w, **how: cnn(n, w, image_size=4, **how)])
def test_pytorch_draws_uniformly_with_variance_one_third_of_the_inverse_fan_in(make):
    network = make(3, [40, 40], parameterization="pytorch")
    drawn = draw_parameters(network, range(50))
    for name, layer in network.named_children():
        if hasattr(layer, "weight"):
            fan_in = layer.weight[0].numel()
            for part in ("weight", "bias"):
                values = drawn[f"{name}.{part}"] * fan_in**0.5
                assert values.abs().max() <= 1
                reach = 5 / values.numel() ** 0.5
                assert abs(values.mean().item()) < reach
                assert values.var().item() == pytest.approx(1 / 3, abs=reach)


def test_pytorch_layers_are_those_of_torch():
    network = build_network(BLOCK, 1, 1)
    assert [type(layer) for layer in network[::2]] == [nn.Linear] * 3
    torch.manual_seed(3)
    alone = nn.Linear(4, 5).weight
    torch.manual_seed(3)
    assert torch.equal(mlp(4, [], 5, parameterization="pytorch")[0].weight, alone)


@pytest.mark.parametrize("bias", ["normal", "zero"])
def test_standard_layers_have_the_scales_of_their_initialisation(bias):
    layer = StandardLinear(64, 2000, sigma_w=2.0, sigma_b=0.5, bias=bias)
    assert layer.weight.std().item() == pytest.approx(2 / 8, rel=0.02)
    assert layer.bias.std().item() == pytest.approx(0.5 if bias == "normal" else 0, rel=0.05)
    filters = StandardConv2d(16, 500, 3, sigma_w=3.0)
    assert filters.weight.std().item() == pytest.approx(3 / 12, rel=0.02)
    assert filters.bias is None
    assert filters(torch.zeros(1, 16, 5, 5)).shape == (1, 500, 5, 5)


def test_standard_and_ntk_are_one_function_with_different_kernels():
    """With W_standard = W_ntk / sqrt(fan_in) the kernel of a layer is fan_in times as large."""
    x = torch.randn(4, 3, dtype=torch.float64)
    how = dict(activation="tanh", dtype=torch.float64)
    ntk, standard = (mlp(3, [7], parameterization=name, **how) for name in ("ntk", "standard"))
    drawn = member(draw_parameters(ntk, [0]), 0)
    scaled = {"0.weight": drawn["0.weight"] / 3**0.5, "2.weight": drawn["2.weight"] / 7**0.5}
    torch.testing.assert_close(
        functional_call(ntk, drawn, (x,)), functional_call(standard, scaled, (x,))
    )
    one = empirical_ntk(ntk, x, parameters=drawn, by_layer=True).by_parameter
    two = empirical_ntk(standard, x, parameters=scaled, by_layer=True).by_parameter
    torch.testing.assert_close(two["0.weight"], 3 * one["0.weight"])
    torch.testing.assert_close(two["2.weight"], 7 * one["2.weight"])


@pytest.mark.parametrize("name", ["pytorch", "standard"])
def test_the_dense_engine_trains_them_like_autograd(name):
    x, y = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    network = mlp(2, [6, 6], parameterization=name)
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    dense, general = (
        train_ensemble(network, start, x, y, **descent(0.1, 20), engine=engine).parameters
        for engine in ("dense", "general")
    )
    for key, value in general.items():
        torch.testing.assert_close(dense[key], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["pytorch", "standard"])
def test_they_are_built_and_drawn_on_the_meta_device(name):
    network = build_network(BLOCK | {"parameterization": name, "width": 100_000}, 2, 1)
    assert network(torch.empty(7, 2, device="meta")).shape == (7, 1)
    small = build_network(BLOCK | {"parameterization": name}, 2, 1)
    assert all(tensor.is_meta for tensor in draw_parameters(small, [0], device="meta").values())


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: mlp(1, [2], parameterization="mup"),
            "parameterization: 'mup' is unknown; allowed: ntk, ",
        ),
        (
            lambda: mlp(1, [2], parameterization="pytorch", sigma_w=2.0),
            "sigma_w: 2.0 is not allowed with parameterization 'pytorch'",
        ),
        (lambda: StandardLinear(1, 1, sigma_w=-1.0), "sigma_w: -1.0 is not allowed"),
        (lambda: StandardConv2d(1, 1, 3, bias="one"), "bias: 'one' is unknown"),
    ],
)
def test_mistakes_name_the_value(make, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        make()

import math

import pytest
import torch

from ntkflow.empirical import diagonal_kernel, empirical_ntk
from ntkflow.errors import KernelError
from ntkflow.finite_width import finite_dispersion, inverse_width, kernel_dispersion
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, member, mlp

X = torch.tensor([[0.6, -0.8]], dtype=torch.float64)


def network(depth, width):
    scales = dict(sigma_w=2**0.5, sigma_w_last=1.0, sigma_b=1.0, bias="zero")
    return mlp(2, [width] * depth, device="meta", **scales)


def test_diagonal_kernels_of_an_ensemble_are_those_of_its_members():
    net = network(3, 8)
    drawn = draw_parameters(net, range(4), dtype=torch.float64)
    weights, full = diagonal_kernel(net, drawn, X)
    for seed in range(4):
        kernel = empirical_ntk(net, X, parameters=member(drawn, seed), by_layer=True)
        parts = kernel.by_parameter
        assert full[seed].item() == pytest.approx(kernel.values.item(), rel=1e-12)
        mine = sum(part.item() for name, part in parts.items() if name.endswith("weight"))
        assert weights[seed].item() == pytest.approx(mine, rel=1e-12)


def test_diagonal_kernel_is_of_one_input_and_one_output():
    drawn = draw_parameters(mlp(2, [4], 3), [0], dtype=torch.float64)
    with pytest.raises(KernelError, match=r"^outputs: shape \(1, 3\) .* use \(1, 1\)$"):
        diagonal_kernel(mlp(2, [4], 3, device="meta"), drawn, X)


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_mean_over_networks_is_the_limit_and_the_closed_form(depth):
    layers = depth + 1
    closed_form = layers * 0.5 + (layers + 1) / 2  # d |x|^2 / n0 + (d + 1) / 2
    assert limit_kernels(network(depth, 1), X).ntk.item() == pytest.approx(closed_form, rel=1e-12)


def test_dispersion_of_known_networks():
    assert inverse_width([64] * 4) == pytest.approx(1 / 16)
    expected = {(64, 5): 0.211, (32, 5): 0.427, (32, 9): 0.874, (64, 17): 0.874}
    for (width, layers), value in expected.items():
        assert kernel_dispersion([width] * (layers - 1)) == pytest.approx(value, abs=5e-4)
    u = 5e-4  # 2 u / 3 for small u
    assert kernel_dispersion([10_000]) == pytest.approx(2 * u / 3, rel=1e-3)


@pytest.mark.parametrize("depth", [1, 3])
def test_dispersion_of_few_layers_is_that_of_many_networks(depth):
    drawn = draw_parameters(network(depth, 32), range(4000))
    weights = diagonal_kernel(network(depth, 32), drawn, X.float())[0].double()
    measured = (weights.square().mean() / weights.mean() ** 2).log().item()
    assert measured == pytest.approx(finite_dispersion([32] * depth), rel=0.08)


def test_dispersion_of_few_layers_tends_to_that_of_many():
    many = [2000] * 100  # beta = 1 / 20; the two differ by the 1 / n between layers
    u, v = 5 / 20, 4 / 20
    expected = u + math.log(2 * (v + math.expm1(-v)) / v**2)
    assert finite_dispersion(many) == pytest.approx(expected, rel=1e-2)

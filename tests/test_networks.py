import pytest
import torch
from torch import nn
from torch.func import functional_call

from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.networks import (
    ACTIVATIONS,
    Conv2d,
    Dense,
    GlobalAveragePool,
    Residual,
    activation_layer,
    cnn,
    draw_parameters,
    evaluated,
    has_modes,
    member,
    mlp,
)
from ntkstudy.registry import discover
from ntkstudy.subjects.networks import build_network

discover()

BLOCK = {
    "kind": "mlp", "depth": 2, "width": 6, "activation": "relu",
    "sigma_w": 1.5, "sigma_w_last": None, "sigma_b": 0.3, "bias": "normal",
    "parameterization": "ntk", "activation_first": None,
}  # fmt: skip


def test_dense_is_its_formula():
    layer = Dense(3, 4, sigma_w=2.0, sigma_b=0.5, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    expected = 2 * x @ layer.weight.T / 3**0.5 + 0.5 * layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolution_is_its_formula(padding):
    layer = Conv2d(2, 3, 3, sigma_w=2.0, sigma_b=0.5, padding=padding, dtype=torch.float64)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    padded = nn.functional.pad(x, (1, 1, 1, 1)) if padding == "same" else x
    patches = padded.unfold(2, 3, 1).unfold(3, 3, 1)
    sums = torch.einsum("ncpqij,ocij->nopq", patches, layer.weight)
    expected = 2 * sums / 18**0.5 + 0.5 * layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected, rtol=1e-13, atol=1e-14)


def test_biases_are_absent_zero_or_normal():
    assert Dense(2, 3).bias is None
    zero, normal = (Dense(2, 3, sigma_b=1.0, bias=bias).bias for bias in ("zero", "normal"))
    assert zero.requires_grad
    assert (zero == 0).all()
    assert (normal != 0).all()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Dense(1, 1, sigma_w=-1.0), "sigma_w: -1.0 is not allowed"),
        (lambda: Dense(1, 1, sigma_b=float("nan")), "sigma_b: nan is not allowed"),
        (lambda: Dense(1, 1, bias="one"), "bias: 'one' is unknown; allowed: normal, zero"),
        (
            lambda: Conv2d(1, 1, 3, padding="circular"),
            "padding: 'circular' is unknown; allowed: same, valid",
        ),
        (lambda: Conv2d(1, 1, 2), "kernel_size: 2 is even"),
        (lambda: activation_layer("rellu"), "activation: 'rellu' is unknown; allowed: relu, erf"),
        (
            lambda: mlp(2, [3], dropout=1.0),
            "dropout: 1.0 is not allowed; use a number >= 0 and < 1",
        ),
        (
            lambda: mlp(2, [3], normalization="layer"),
            "normalization: 'layer' is unknown; allowed: none, batch",
        ),
        (
            lambda: cnn(1, [2], image_size=3, head="max"),
            "head: 'max' is unknown; allowed: flatten, gap",
        ),
    ],
)
def test_mistakes_name_the_value(make, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        make()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    functions = {
        "relu": torch.relu, "erf": torch.erf, "gelu": nn.functional.gelu, "sin": torch.sin,
        "abs": torch.abs, "tanh": torch.tanh, "linear": lambda x: x,
    }  # fmt: skip
    torch.testing.assert_close(activation_layer(name)(x), functions[name](x))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_multilayer_perceptrons_have_their_sizes(depth):
    network = mlp(2, [5] * depth, 3, sigma_b=0.1)
    sizes = [(layer.in_features, layer.out_features) for layer in network[::2]]
    assert sizes == list(zip([2, *[5] * depth], [*[5] * depth, 3], strict=True))
    assert network(torch.zeros(4, 2)).shape == (4, 3)


@pytest.mark.parametrize(("head", "features"), [("flatten", 4 * 36), ("gap", 4)])
def test_convolutional_networks_have_their_sizes(head, features):
    network = cnn(1, [3, 4], 2, image_size=6, head=head)
    assert network[-1].in_features == features
    assert network(torch.zeros(5, 1, 6, 6)).shape == (5, 2)


def test_pool_and_residual():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert GlobalAveragePool()(x).tolist() == [[1.5, 5.5]]
    assert Residual(nn.ReLU())(torch.tensor([-1.0, 2.0])).tolist() == [-1.0, 4.0]


def test_a_network_is_built_without_memory_and_drawn_on_any_device():
    network = build_network(BLOCK | {"width": 100_000}, 2, 1)
    assert all(parameter.is_meta for parameter in network.parameters())
    assert network(torch.empty(7, 2, device="meta")).shape == (7, 1)
    drawn = draw_parameters(build_network(BLOCK, 2, 1), [0, 1], device="meta")
    assert all(tensor.is_meta and len(tensor) == 2 for tensor in drawn.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_gives_the_same_network_alone_and_among_others(dtype):
    network = build_network(BLOCK, 2, 1)
    alone = member(draw_parameters(network, [7], dtype=dtype), 0)
    among = member(draw_parameters(network, [3, 9, 7], dtype=dtype), 2)
    single = member(draw_parameters(network, [7]), 0)
    for name, tensor in alone.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, among[name])
        assert torch.equal(tensor, single[name].to(dtype))


def test_drawing_leaves_the_random_state_and_the_network_alone():
    network = mlp(2, [4])
    before, state = network[0].weight.clone(), torch.get_rng_state()
    draw_parameters(network, [0, 1])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network[0].weight, before)


def test_parameters_are_standard_normal_and_seeds_differ():
    network = build_network(BLOCK | {"width": 100}, 2, 1)
    weight = draw_parameters(network, range(10))["2.weight"]
    assert weight.shape == (10, 100, 100)
    moments = [(weight**power).mean().item() for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.05)
    correlations = torch.corrcoef(weight.flatten(1)) - torch.eye(10)
    assert correlations.abs().max() < 0.05


def test_a_layer_may_draw_new_tensors():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.reset_parameters()

        def reset_parameters(self):
            self.weight = torch.nn.Parameter(torch.randn(2))

    first, second = draw_parameters(Scale(), [0, 1])["weight"]
    assert (first != second).all()


def test_parameters_that_nothing_draws_are_an_error():
    network = torch.nn.Sequential(torch.nn.MultiheadAttention(4, 2))
    with pytest.raises(UnsupportedLayerError, match=r"layer '0': MultiheadAttention has param"):
        draw_parameters(network, [0])


def test_members_are_networks():
    network = mlp(2, [4], dtype=torch.float64)
    parameters = draw_parameters(network, [5])
    value = functional_call(network, member(parameters, 0), (torch.ones(3, 2).double(),))
    hidden = torch.relu(torch.ones(3, 2).double() @ parameters["0.weight"][0].T / 2**0.5)
    torch.testing.assert_close(value, hidden @ parameters["2.weight"][0].T / 2)


def test_the_first_activation_can_differ():
    network = mlp(3, [4, 4], activation_first="linear")
    assert [type(layer).__name__ for layer in network][1::2] == ["Identity", "ReLU"]


def test_images_shrink_without_padding():
    network = cnn(1, [2, 3], 5, image_size=8, kernel_size=3, padding="valid")
    assert network(torch.ones(4, 1, 8, 8)).shape == (4, 5)
    with pytest.raises(
        ConfigurationError, match="image_size: 4 is not allowed with 2 convolutions"
    ):
        cnn(1, [2, 3], 5, image_size=4, kernel_size=3, padding="valid")


def test_layers_that_depend_on_the_mode_have_their_places():
    network = build_network(BLOCK | {"normalization": "batch", "dropout": 0.5}, 2, 1)
    hidden = ["Dense", "BatchNorm1d", "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in network] == [*hidden, *hidden, "Dense"]
    assert has_modes(network)
    assert not has_modes(build_network(BLOCK, 2, 1))


def test_evaluation_freezes_the_statistics_of_every_layer():
    network = mlp(3, [6, 5], 2, normalization="batch", dropout=0.5, dtype=torch.float64)
    parameters = member(draw_parameters(network, [0]), 0)
    x, other = torch.randn(2, 9, 3, dtype=torch.float64)
    frozen = evaluated(network, parameters, x)
    h, z = x, other
    for layer in (0, 4):
        weight = parameters[f"{layer}.weight"]
        h, z = (a @ weight.T / weight.shape[1] ** 0.5 for a in (h, z))
        mean, root = h.mean(0), (h.var(0, correction=0) + 1e-5).sqrt()
        h, z = (torch.relu((a - mean) / root) for a in (h, z))
    for inputs, hidden in ((x, h), (other, z)):
        expected = hidden @ parameters["8.weight"].T / 5**0.5
        found = functional_call(frozen, parameters, (inputs,))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert network.training
    assert network[1].running_mean is None


def test_networks_of_one_mode_are_evaluated_as_they_are():
    network = mlp(3, [4])
    assert evaluated(network, {}, torch.ones(2, 3)) is network

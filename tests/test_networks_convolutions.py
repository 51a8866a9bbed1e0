"""Convolutions of every kind against their sums, torch's layers and plain autograd."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ntkflow import Dense, empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.networks import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    layers,
)

SIZES = {1: (9,), 2: (7, 8), 3: (5, 4, 6)}
CONVOLUTIONS = {1: Conv1d, 2: Conv2d, 3: Conv3d}
TRANSPOSED = {1: ConvTranspose1d, 2: ConvTranspose2d, 3: ConvTranspose3d}
PLACES = [
    {"kernel_size": 3},
    {"kernel_size": 2, "stride": 2, "padding": "valid"},
    {"kernel_size": 3, "dilation": 2, "groups": 2},
    {"kernel_size": 3, "padding": 2, "padding_mode": "circular", "stride": 2},
    {"kernel_size": 3, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding_mode": "replicate", "padding": 1},
]


def images(axes, channels=4, rows=3):
    return torch.randn(rows, channels, *SIZES[axes], dtype=torch.float64)


def scaled(layer):
    """Weights and biases that torch's own layer needs to compute the same."""
    return {
        "weight": layer.weight.detach() * layer.weight_scale,
        "bias": layer.bias.detach() * layer.sigma_b,
    }


def naive(layer, x):
    """Sum over channels and entries of the filter, place by place."""
    both = [m for m in reversed(layer.margins) for _ in range(2)]
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    patches = F.pad(x, both, mode=mode)
    for axis, (k, s, r) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    ):
        patches = patches.unfold(axis + 2, r * (k - 1) + 1, s)[..., ::r]
    axes, groups = layer.axes, layer.groups
    patches = patches.unflatten(1, (groups, -1))
    places = patches.shape[3 : 3 + axes]
    patches = patches.movedim(tuple(range(3, 3 + axes)), tuple(range(-axes, 0)))
    patches = patches.reshape(len(x), groups, -1, places.numel())
    weight = layer.weight.reshape(groups, layer.out_channels // groups, -1)
    h = torch.einsum("ngip,goi->ngop", patches, weight).reshape(len(x), -1, *places)
    fan_in = layer.in_channels // groups * torch.tensor(layer.kernel_size).prod().item()
    return layer.sigma_w * h / fan_in**0.5 + layer.sigma_b * layer.bias.view(-1, *[1] * axes)


@pytest.mark.parametrize("axes", CONVOLUTIONS)
@pytest.mark.parametrize("places", PLACES)
def test_convolutions_are_their_sums_and_torchs_layers(axes, places):
    options = dict(sigma_w=1.5, sigma_b=0.3, dtype=torch.float64)
    layer, x = CONVOLUTIONS[axes](4, 6, **places, **options), images(axes)
    torch.testing.assert_close(layer(x), naive(layer, x), rtol=1e-12, atol=1e-13)
    twin = getattr(nn, f"Conv{axes}d")(4, 6, **{"padding": "same"} | places, dtype=torch.float64)
    twin.load_state_dict(scaled(layer))
    torch.testing.assert_close(layer(x), twin(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(layer(x[0]), twin(x)[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("axes", TRANSPOSED)
@pytest.mark.parametrize(
    "places",
    [
        {"kernel_size": 3},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "output_padding": 1, "groups": 2, "dilation": 2},
    ],
)
def test_transposed_convolutions_are_torchs_layers(axes, places):
    options = dict(sigma_w=1.5, sigma_b=0.3, dtype=torch.float64)
    layer, x = TRANSPOSED[axes](4, 6, **places, **options), images(axes)
    twin = getattr(nn, f"ConvTranspose{axes}d")(4, 6, **places, dtype=torch.float64)
    twin.load_state_dict(scaled(layer))
    torch.testing.assert_close(layer(x), twin(x), rtol=1e-12, atol=1e-13)
    share = (places["kernel_size"] / places.get("stride", 1)) ** axes
    assert layer.fan_in == pytest.approx(4 / places.get("groups", 1) * share)


def test_rectangular_filters_and_each_axis_of_its_own():
    options = dict(stride=(2, 1), padding=[0, 2], dilation=(1, 2), dtype=torch.float64)
    layer, x = Conv2d(4, 6, (3, 5), sigma_b=0.1, **options), images(2)
    torch.testing.assert_close(layer(x), naive(layer, x), rtol=1e-12, atol=1e-13)
    assert (layer.kernel_size, layer.stride, layer.margins) == ((3, 5), (2, 1), (0, 2))
    assert (layer.padding, layer.fan_in) == ([0, 2], 60)


@pytest.mark.parametrize(
    ("make", "outputs"),
    [
        (lambda w: Conv1d(2, w, 3, padding="valid"), (slice(None),)),
        (lambda w: Conv2d(2, w, (1, 3), padding_mode="circular"), (slice(None),) * 2),
        (lambda w: ConvTranspose2d(2, w, 4, stride=2), (slice(2, -2),) * 2),
    ],
)
def test_variance_of_outputs_at_initialisation(make, outputs):
    """With inputs whose squares are one the sum over a filter has variance sigma_w^2."""
    torch.manual_seed(0)
    layer = make(4000)
    x = torch.ones(1, 2, *SIZES[layer.axes])
    h = layer(x)[(0, slice(None), *outputs)].flatten(1).square().mean(1).detach()
    assert abs(h.mean() - 1) < 4 * h.std() / len(h) ** 0.5


@pytest.mark.parametrize(
    "network",
    [
        [Conv1d(4, 3, 3, groups=1, sigma_b=0.2), nn.ReLU(), nn.Flatten(), Dense(27, 2)],
        [Conv2d(4, 4, (3, 1), groups=2, stride=2, padding=1), nn.Flatten(), Dense(4 * 20, 2)],
        [ConvTranspose1d(4, 3, 3, stride=2, sigma_b=0.2), nn.Tanh(), nn.Flatten(), Dense(57, 2)],
    ],
)
def test_empirical_kernels_are_those_of_autograd(network):
    network = nn.Sequential(*network).double()
    x = images(network[0].axes)
    kernel, plain = (empirical_ntk(network, x, method=m).values for m in ("auto", "autograd"))
    torch.testing.assert_close(kernel, plain, rtol=1e-10, atol=1e-12)


def test_layers_pickled_before_there_were_strides_are_read():
    layer = Conv2d(2, 3, 3, sigma_b=0.1)
    state = dict(layer.__dict__, kernel_size=3)
    for name in ("stride", "dilation", "groups", "padding_mode"):
        del state[name]
    old = Conv2d.__new__(Conv2d)
    old.__setstate__(pickle.loads(pickle.dumps(state)))
    x = torch.randn(2, 2, 5, 5)
    assert old.kernel_size == (3, 3)
    assert torch.equal(old(x), layer(x))
    # Pickles name the module in which the class stood.
    assert layers.Conv2d is Conv2d


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Conv2d(1, 1, 3, stride=2), r"padding: 'same' is not allowed with stride \(2, 2\)"),
        (lambda: Conv2d(1, 1, (3, 2)), r"kernel_size: \(3, 2\) is even"),
        (lambda: Conv1d(1, 1, (3, 3)), r"kernel_size: \(3, 3\) .* or 1 for 1 axes"),
        (lambda: Conv1d(1, 1, 0), "kernel_size: 0 is not allowed"),
        (lambda: Conv1d(1, 1, 3, dilation=0), "dilation: 0 is not allowed"),
        (lambda: Conv1d(1, 1, 3, padding=-1), "padding: -1 is not allowed"),
        (lambda: Conv1d(1, 1, 3, padding_mode="mirror"), "padding_mode: 'mirror' is unknown"),
        (lambda: Conv2d(4, 6, 3, groups=4), "groups: 4 does not divide 6 channels"),
        (lambda: ConvTranspose2d(4, 6, 3, groups=0), "groups: 0 is not allowed"),
        (lambda: ConvTranspose2d(4, 6, 3, output_padding=-1), "output_padding: -1 is not"),
    ],
)
def test_mistakes_name_the_value(make, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        make()

"""Limit kernels of convolutional networks."""

import json
import math
from pathlib import Path

import limit_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.limits import limit_kernels
from ntkflow.networks import Conv2d, Dense, GlobalAveragePool, Residual, cnn, draw_parameters, mlp

ORACLE = Path(__file__).parent / "data" / "oracle"
FILES = sorted(path.name for path in ORACLE.glob("conv_*.npz"))


def images(n, channels=2, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, size, size, dtype=torch.float64, generator=generator)


def net(layers, head, channels=2, **options):
    return cnn(channels, [1] * layers, image_size=6, head=head, device="meta", **options)


@pytest.mark.parametrize("name", FILES)
def test_reference_kernels(name):
    data = np.load(ORACLE / name)
    spec = json.loads(str(data["spec"]))
    x1, x2 = (torch.tensor(data[key]).permute(0, 3, 1, 2) for key in ("x1", "x2"))
    options = {"sigma_w": spec["W_std"], "sigma_b": spec["b_std"]}
    network = net(spec["hidden_layers"], spec["head"], x1.shape[1], **options)
    own, cross = limit_kernels(network, x1), limit_kernels(network, x2, x1)
    off_diagonal = ~torch.eye(len(x1), dtype=torch.bool)
    for kernel in ("nngp", "ntk"):
        expected = torch.tensor(data[f"{kernel}_11"])
        torch.testing.assert_close(
            getattr(own, kernel)[off_diagonal], expected[off_diagonal], rtol=1e-10, atol=0
        )
        torch.testing.assert_close(
            getattr(cross, kernel), torch.tensor(data[f"{kernel}_21"]), rtol=1e-10, atol=0
        )


def stack(filters, padding, head, sigma_w, sigma_b, channels=2):
    options = {"sigma_w": sigma_w, "sigma_b": sigma_b, "device": "meta"}
    layers = []
    for size in filters:
        layers += [Conv2d(channels, 1, size, padding=padding, **options), nn.ReLU()]
        channels = 1
    pool = nn.Flatten() if head == "flatten" else GlobalAveragePool()
    return nn.Sequential(*layers, pool, Dense(1, 1, **options))


@pytest.mark.parametrize("head", ["flatten", "gap"])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize(
    ("filters", "padding"),
    [([3, 3], "same"), ([5, 3], "same"), ([3, 2], "valid"), ([2, 4], "valid")],
)
def test_against_loops_over_pixels(head, sigma_b, filters, padding):
    options = {"sigma_w": 1.3, "sigma_b": sigma_b}
    x1, x2 = images(2, seed=1), images(3, seed=2)
    kernels = limit_kernels(stack(filters, padding, head, **options), x1, x2)
    for i, j in [(0, 0), (1, 2)]:
        expected = reference.conv_kernels(
            x1[i], x2[j], filters=filters, padding=padding, head=head, **options
        )
        for kernel, value in zip(kernels, expected, strict=True):
            assert kernel[i, j].item() == pytest.approx(value.item(), rel=1e-10)


def test_one_pixel_is_a_dense_net():
    x = images(4, channels=3, size=1)
    options = {"sigma_w": 1.3, "sigma_b": 0.2}
    dense = limit_kernels(mlp(3, [1, 1], **options), x.flatten(1))
    for head in ("flatten", "gap"):
        conv = limit_kernels(stack([1, 1], "same", head, **options, channels=3), x)
        torch.testing.assert_close(conv, dense, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_nearly_equal_images_keep_their_angles(head):
    x, step = images(1, channels=3, size=1), images(1, channels=3, size=1, seed=1)
    wide = (x + 1e-8 * step).expand(1, 3, 4, 4)
    network = stack([1, 1], "same", head, 2**0.5, 0.0, channels=3)
    kernels = limit_kernels(network, x.expand(1, 3, 4, 4), wide)
    expected = reference.dense_kernels(
        x.flatten(),
        (x + 1e-8 * step).flatten(),
        layers=3,
        sigma_w=2**0.5,
        sigma_b=0,
        moments=reference.relu_moments,
    )
    if head == "flatten":
        assert kernels.ntk.item() == pytest.approx(float(expected[1]), rel=1e-12)
    assert kernels.nngp.item() == pytest.approx(float(expected[0]), rel=1e-12)


def test_images_with_empty_background():
    x = torch.zeros(3, 1, 6, 6, dtype=torch.float64)
    x[0, 0, 2, 3], x[1, 0, 2, 3] = 0.3, 0.7
    x[2, 0, 1:5, 2:4] = images(1, 1, 6)[0, 0, 1:5, 2:4]
    kernels = limit_kernels(net(3, "flatten", channels=1, sigma_w=1.2), x)
    ratio = kernels.ntk[0, 1] / kernels.ntk[0, 0]
    assert ratio.item() == pytest.approx(0.7 / 0.3, rel=1e-13)
    assert kernels.ntk.isfinite().all()


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_symmetry_definiteness_permutation_and_tiles(head):
    network, x = net(2, head, sigma_w=1.2, sigma_b=0.1), images(9, size=6)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    whole, permuted = limit_kernels(network, x), limit_kernels(network, x[order])
    tiled, cross = limit_kernels(network, x, tile=2), limit_kernels(network, x, x)
    for a, b, c, d in zip(whole, permuted, tiled, cross, strict=True):
        assert torch.equal(a, a.T)
        assert torch.linalg.eigvalsh(a)[0] > 0
        for other, expected in ((b, a[order][:, order]), (c, a), (d, a)):
            torch.testing.assert_close(other, expected, rtol=1e-13, atol=1e-14)


def wide_ntk(network, parameters, x):
    def kernel(member):
        jacobian = jacrev(lambda p: functional_call(network, p, (x,))[:, 0])(member)
        return sum(j.flatten(1) @ j.flatten(1).T for j in jacobian.values())

    return vmap(kernel, chunk_size=4)(parameters)


def agrees_with_wide_nets(network, x, width):
    samples = wide_ntk(network, draw_parameters(network, range(24)), x)
    error = samples.std(0) / math.sqrt(len(samples))
    limit = limit_kernels(network, x).ntk
    return ((samples.mean(0) - limit).abs() < 4 * error + limit.abs() * 2 / width).all()


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_wide_nets_agree_within_standard_errors(head):
    network = cnn(
        2,
        [32, 32],
        image_size=5,
        head=head,
        sigma_w=1.3,
        sigma_b=0.2,
        dtype=torch.float64,
    )
    assert agrees_with_wide_nets(network, images(3), 32)


def test_layers_after_pooling_agree_with_wide_nets():
    options = {"sigma_w": 1.3, "dtype": torch.float64}
    network = nn.Sequential(
        Conv2d(2, 32, 3, **options),
        nn.ReLU(),
        Residual(nn.Sequential(Conv2d(32, 32, 3, sigma_b=0.2, **options), nn.ReLU())),
        GlobalAveragePool(),
        Dense(32, 32, **options),
        nn.ReLU(),
        Dense(32, 1, **options),
    )
    assert agrees_with_wide_nets(network, images(3), 32)
    network[2].branch = nn.Sequential(Conv2d(32, 32, 3, sigma_b=0.2, **options))
    assert agrees_with_wide_nets(network, images(3), 32)


class Written(nn.Module):
    """The same networks with functions in their forward."""

    def __init__(self, head):
        super().__init__()
        self.conv, self.dense, self.head = Conv2d(2, 1, 3), Dense(1, 1), head

    def forward(self, x):
        return self.dense(self.head(torch.relu(self.conv(x))))


@pytest.mark.parametrize(
    ("head", "function"),
    [
        ("flatten", lambda x: x.flatten(1)),
        ("flatten", lambda x: torch.flatten(x, start_dim=1)),
        ("flatten", lambda x: x.view(x.shape[0], -1)),
        ("flatten", lambda x: x.reshape(x.size(0), -1)),
        ("gap", lambda x: x.mean(dim=(-2, -1))),
        ("gap", lambda x: torch.mean(x, [2, 3])),
        ("gap", lambda x: x.mean((3, 2))),
    ],
)
def test_heads_written_as_functions(head, function):
    x = images(3)
    expected = limit_kernels(net(1, head), x)
    torch.testing.assert_close(limit_kernels(Written(function), x), expected)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.mean(dim=1), "mean over channels"),
        (lambda x: x.flatten(0), "sums over rows"),
        (lambda x: x.amax((-2, -1)), "a maximum"),
    ],
)
def test_other_reductions_are_errors(function, message):
    network = Written(function)
    network.conv = Conv2d(2, 4, 3)
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(network, images(2))


def test_valid_convolution_may_be_the_read_out():
    x = images(3, size=4)
    conv = nn.Sequential(Conv2d(2, 1, 1), nn.ReLU(), Conv2d(1, 1, 4, padding="valid"), nn.Flatten())
    dense = nn.Sequential(Conv2d(2, 1, 1), nn.ReLU(), nn.Flatten(), Dense(1, 1))
    torch.testing.assert_close(limit_kernels(conv, x), limit_kernels(dense, x))


def test_a_flattened_image_is_a_dense_net():
    x = images(3)
    flat = limit_kernels(nn.Sequential(nn.Flatten(), *mlp(50, [1])), x)
    torch.testing.assert_close(flat, limit_kernels(mlp(50, [1]), x.flatten(1)))
    pooled = limit_kernels(nn.Sequential(GlobalAveragePool(), *mlp(2, [1])), x)
    torch.testing.assert_close(pooled, limit_kernels(mlp(2, [1]), x.mean((-2, -1))))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv2d(2, 1, 3), nn.ReLU(), Conv2d(1, 1, 3)], r"2 \(Conv2d\): .*ends with a map"),
        ([Conv2d(2, 1, 3), nn.ReLU(), Dense(1, 1)], r"2 \(Dense\): Dense on images"),
        ([Conv2d(2, 1, 7, padding="valid"), nn.Flatten()], r"0 \(Conv2d\): .*at least that large"),
    ],
)
def test_shapes_that_do_not_fit(layers, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(nn.Sequential(*layers), images(2))


def test_channels_that_do_not_fit_the_first_layer():
    message = r"0 \(Conv2d\) sums over 27 numbers there, but has weights for 18"
    with pytest.raises(ConfigurationError, match=message):
        limit_kernels(net(1, "gap"), images(2, channels=3))


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_meta_device(head):
    x = torch.empty(3, 2, 6, 6, device="meta")
    kernels = limit_kernels(net(2, head, sigma_b=0.1), x, x[:2])
    assert all(kernel.is_meta and kernel.shape == (3, 2) for kernel in kernels)

"""Limit kernels of fully connected networks."""

import json
import math
from pathlib import Path

import limit_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

import ntkflow
from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.limits import limit_kernels, register_activation
from ntkflow.networks import Conv2d, Dense, Residual, draw_parameters, mlp

ORACLE = Path(__file__).parent / "data" / "oracle"
DENSE_FILES = sorted(path.name for path in ORACLE.glob("fc_*.npz"))
MOMENTS = {
    "relu": reference.relu_moments,
    "abs": reference.abs_moments,
    "erf": reference.erf_moments,
}


def load(name):
    data = np.load(ORACLE / name)
    return json.loads(str(data["spec"])), {k: torch.tensor(data[k]) for k in data if k != "spec"}


def net(layers, *, activation="relu", sigma_w=2**0.5, sigma_b=0.0, **options):
    return mlp(
        1,
        [1] * (layers - 1),
        activation=activation,
        sigma_w=sigma_w,
        sigma_b=sigma_b,
        device="meta",
        **options,
    )


def pair_at(cosine, dim=2):
    """Two inputs with <x, x>/n0 = 1 and <x, x'>/n0 = cosine."""
    x = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]], dtype=torch.float64)
    return x * math.sqrt(2)


def relative(value, expected):
    return ((value - expected).abs() / expected.abs()).max().item()


def inputs(n, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", DENSE_FILES)
def test_reference_kernels(name):
    spec, data = load(name)
    network = net(
        spec["hidden_layers"] + 1,
        activation=spec["activation"],
        sigma_w=spec["W_std"],
        sigma_b=spec["b_std"],
    )
    own, cross = limit_kernels(network, data["x1"]), limit_kernels(network, data["x2"], data["x1"])
    off_diagonal = ~torch.eye(len(data["x1"]), dtype=torch.bool)
    for kernel in ("nngp", "ntk"):
        value, expected = getattr(own, kernel), data[f"{kernel}_11"]
        torch.testing.assert_close(
            value[off_diagonal], expected[off_diagonal], rtol=1e-10, atol=1e-13
        )
        torch.testing.assert_close(
            getattr(cross, kernel), data[f"{kernel}_21"], rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("name", [n for n in DENSE_FILES if "relu" in n or "erf" in n])
def test_diagonals_have_fifty_digits_behind_them(name):
    spec, data = load(name)
    options = {"sigma_w": spec["W_std"], "sigma_b": spec["b_std"]}
    layers, activation = spec["hidden_layers"] + 1, spec["activation"]
    kernels = limit_kernels(net(layers, activation=activation, **options), data["x1"])
    for n, x in enumerate(data["x1"]):
        expected = reference.dense_kernels(
            x, x, layers=layers, moments=MOMENTS[activation], **options
        )
        for kernel, value in zip(kernels, expected, strict=True):
            assert kernel[n, n].item() == pytest.approx(float(value), rel=1e-13)


@pytest.mark.parametrize(
    ("layers", "cosine", "options", "nngp", "ntk"),
    [
        (2, 0.5, {}, 1.217995562088, 1.884662228755),
        (3, 0.5, {}, 1.367811301797, 2.702959122247),
        (4, 0.5, {}, 1.476256384602, 3.475689358431),
        (3, 0.0, {}, 0.987462180401, 1.371417272566),
        (3, 0.5, {"sigma_b": 0.1}, 1.396627653215, 2.753671357566),
        (
            3,
            0.5,
            {"activation": "erf", "sigma_w": 1.5, "sigma_b": 0.05},
            0.474622013433,
            1.483794058873,
        ),
        (
            3,
            1.0,
            {"activation": "erf", "sigma_w": 1.5, "sigma_b": 0.05},
            1.181811531820,
            5.018617910451,
        ),
    ],
)
def test_values_layer_by_layer(layers, cosine, options, nngp, ntk):
    kernels = limit_kernels(net(layers, **options), pair_at(cosine))
    assert kernels.nngp[0, 1].item() == pytest.approx(nngp, abs=1e-12)
    assert kernels.ntk[0, 1].item() == pytest.approx(ntk, abs=1e-12)


def test_ntk_of_equal_inputs_is_twice_the_depth():
    for layers in (1, 2, 5):
        ntk = limit_kernels(net(layers), pair_at(1.0)).ntk
        torch.testing.assert_close(ntk, torch.full_like(ntk, 2 * layers), rtol=1e-15, atol=0)


@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "abs", "erf"])
@pytest.mark.parametrize("dim", [2, 30])
def test_nearly_parallel_inputs(activation, sigma_b, dim):
    x, step = inputs(1, dim, seed=1), inputs(1, dim, seed=2)
    angles = torch.tensor([1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 0.0], dtype=torch.float64)
    near = (x + angles[:, None] * step) * torch.linspace(0.5, 2, 8, dtype=torch.float64)[:, None]
    options = {"sigma_w": 2**0.5, "sigma_b": sigma_b}
    kernels = limit_kernels(net(4, activation=activation, **options), x, near)
    expected = [
        reference.dense_kernels(x[0], v, layers=4, moments=MOMENTS[activation], **options)
        for v in near
    ]
    for kernel, column in zip(kernels, zip(*expected, strict=True), strict=True):
        assert (
            relative(kernel[0], torch.tensor([float(v) for v in column], dtype=torch.float64))
            < 1e-12
        )


@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "abs", "erf"])
def test_nearly_antiparallel_inputs(activation, sigma_b):
    x, step = inputs(1, 5, seed=1), inputs(1, 5, seed=2)
    angles = torch.tensor([1e-2, 1e-4, 1e-6, 1e-8], dtype=torch.float64)
    options = {"sigma_w": 2**0.5, "sigma_b": sigma_b}
    near = -1.5 * (x + angles[:, None] * step)
    ntk = limit_kernels(net(3, activation=activation, **options), x, near).ntk
    expected = [
        reference.dense_kernels(x[0], v, layers=3, moments=MOMENTS[activation], **options)[1]
        for v in near
    ]
    assert relative(ntk[0], torch.tensor([float(v) for v in expected], dtype=torch.float64)) < 1e-12


def test_one_hidden_layer_antiparallel_kernel_is_small_and_right():
    x, step = inputs(1, 5, seed=1), inputs(1, 5, seed=2)
    near = -(x + 1e-8 * step)
    expected = reference.dense_kernels(
        x[0], near[0], layers=2, sigma_w=1, sigma_b=0, moments=reference.relu_moments
    )[1]
    ntk = limit_kernels(net(2, sigma_w=1.0), x, near).ntk.item()
    assert ntk == pytest.approx(float(expected), rel=1e-7, abs=0)
    assert abs(ntk - float(expected)) < 1e-16


def test_many_nearly_parallel_inputs():
    x = inputs(1, 40, seed=3) + 1e-7 * inputs(30, 40, seed=4)
    ntk = limit_kernels(net(3, sigma_b=0.1), x).ntk
    for i, j in [(0, 1), (7, 22), (29, 3)]:
        expected = reference.dense_kernels(
            x[i], x[j], layers=3, sigma_w=2**0.5, sigma_b=0.1, moments=reference.relu_moments
        )[1]
        assert ntk[i, j].item() == pytest.approx(float(expected), rel=1e-13)


def test_scattered_duplicates_are_exact():
    x = inputs(40, 60)
    x[31], x[17] = x[2], 3 * x[5]
    ntk = limit_kernels(net(3), x, tile=16).ntk
    assert ntk[31, 2].item() == pytest.approx(ntk[2, 2].item(), rel=1e-15)
    assert ntk[17, 5].item() == pytest.approx(3 * ntk[5, 5].item(), rel=1e-14)


@pytest.mark.parametrize("bias", ["normal", "zero"])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["relu", "abs", "erf", "gelu", "sin", "tanh", "linear"])
def test_zero_inputs_are_finite(activation, sigma_b, bias):
    x = torch.zeros(2, 3, dtype=torch.float64)
    x[1] = 1
    kernels = limit_kernels(net(3, activation=activation, sigma_b=sigma_b, bias=bias), x)
    assert all(kernel.isfinite().all() for kernel in kernels)
    if sigma_b == 0:
        assert kernels.ntk[0].abs().max() == 0


def test_zero_input_with_zero_bias_is_that_of_the_finite_net():
    x = torch.zeros(1, 3, dtype=torch.float64)
    network = mlp(3, [4, 4], sigma_b=0.3, bias="zero", dtype=torch.float64)
    ntk = limit_kernels(network, x).ntk.item()
    assert ntk == pytest.approx(empirical_ntk(network, draw_parameters(network, [0]), x).item())


def test_bias_that_starts_at_zero_counts_in_the_ntk_only():
    x = inputs(3, 4)
    without = limit_kernels(net(1), x)
    kernels = limit_kernels(net(1, sigma_b=0.5, bias="zero"), x)
    torch.testing.assert_close(kernels.nngp, without.nngp)
    torch.testing.assert_close(kernels.ntk, without.ntk + 0.25)


def empirical_ntk(network, parameters, x):
    """NTK (S, N, N) of the single output of each member of an ensemble."""

    def kernel(member):
        jacobian = jacrev(lambda p: functional_call(network, p, (x,))[:, 0])(member)
        return sum(j.flatten(1) @ j.flatten(1).T for j in jacobian.values())

    return vmap(kernel)(parameters)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "sin", "abs", "tanh"])
def test_wide_nets_agree_within_standard_errors(activation):
    x = inputs(3, 4)
    network = mlp(
        4, [128, 128], activation=activation, sigma_w=1.3, sigma_b=0.4, dtype=torch.float64
    )
    parameters = draw_parameters(network, range(30))
    samples = empirical_ntk(network, parameters, x)
    error = samples.std(0) / math.sqrt(len(samples))
    limit = limit_kernels(network, x).ntk
    # 4 standard errors, and the bias of a finite width, of order 1/128
    assert ((samples.mean(0) - limit).abs() < 4 * error + limit.abs() * 2 / 128).all()


class Callable(nn.Module):
    """A network whose middle is written as functions."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.last = Dense(1, 1, sigma_b=0.2), Dense(1, 1, sigma_w=1.3)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize(
    ("function", "activation"),
    [
        (torch.relu, "relu"),
        (F.relu, "relu"),
        (lambda x: x.relu(), "relu"),
        (torch.erf, "erf"),
        (torch.sin, "sin"),
        (torch.abs, "abs"),
        (lambda x: x.abs(), "abs"),
        (F.gelu, "gelu"),
        (torch.tanh, "tanh"),
        (lambda x: F.leaky_relu(x, 0.0), "relu"),
        (lambda x: F.leaky_relu(x, negative_slope=-1.0), "abs"),
        (lambda x: F.leaky_relu(x, negative_slope=1.0), "linear"),
    ],
)
def test_functions_are_read_like_modules(function, activation):
    x = inputs(4, 3)
    module = ntkflow.networks.activation_layer(activation)
    expected = limit_kernels(
        nn.Sequential(Dense(1, 1, sigma_b=0.2), module, Dense(1, 1, sigma_w=1.3)), x
    )
    torch.testing.assert_close(
        limit_kernels(Callable(function), x), expected, rtol=1e-13, atol=1e-14
    )


class QuadratureErf(nn.Module):
    def forward(self, x):
        return torch.erf(x)


class QuadratureGelu(nn.Module):
    def forward(self, x):
        return F.gelu(x)


class QuadratureSin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Kink(nn.Module):
    def forward(self, x):
        return torch.relu(x)


@pytest.mark.parametrize(
    ("module", "activation"),
    [(QuadratureErf, "erf"), (QuadratureGelu, "gelu"), (QuadratureSin, "sin")],
)
def test_quadrature_agrees_with_closed_forms(module, activation):
    register_activation(module)
    x = inputs(5, 3)
    options = {"sigma_w": 2.0, "sigma_b": 0.3}
    layers = [Dense(1, 1, **options), module(), Dense(1, 1, **options), module(), Dense(1, 1)]
    closed = [
        ntkflow.networks.activation_layer(activation) if i % 2 else m for i, m in enumerate(layers)
    ]
    torch.testing.assert_close(
        limit_kernels(nn.Sequential(*layers), x),
        limit_kernels(nn.Sequential(*closed), x),
        rtol=1e-11,
        atol=1e-12,
    )


def test_quadrature_refuses_a_kink():
    register_activation(Kink)
    with pytest.raises(UnsupportedLayerError, match=r"1 \(Kink\).*smooth"):
        limit_kernels(nn.Sequential(Dense(1, 1), Kink(), Dense(1, 1)), inputs(2, 3))


def swish(x):
    return x * torch.sigmoid(x)


class WithSwish(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = Dense(1, 1), Dense(1, 1)

    def forward(self, x):
        return self.last(swish(self.first(x)))


def test_registered_function():
    register_activation(swish)
    x = inputs(3, 4)
    expected = limit_kernels(nn.Sequential(Dense(1, 1), nn.SiLU(), Dense(1, 1)), x)
    torch.testing.assert_close(limit_kernels(WithSwish(), x), expected)


def test_residual_sum_of_dense_layers():
    x = inputs(3, 4)
    block = nn.Sequential(nn.ReLU(), Dense(1, 1, sigma_w=0.7))
    network = nn.Sequential(Dense(1, 1, sigma_w=1.2), Residual(block), nn.ReLU(), Dense(1, 1))
    stem = limit_kernels(nn.Sequential(Dense(1, 1, sigma_w=1.2)), x)
    branch = limit_kernels(nn.Sequential(Dense(1, 1, sigma_w=1.2), *block), x)
    total = limit_kernels(network[:2], x)
    torch.testing.assert_close(total.nngp, stem.nngp + branch.nngp)
    torch.testing.assert_close(total.ntk, stem.ntk + branch.ntk)
    q = total.nngp.diagonal()
    value, slope = relu_map(q[:, None], q, total.nngp)
    torch.testing.assert_close(limit_kernels(network, x).ntk, total.ntk * slope + value)


def relu_map(q1, q2, s):
    phi = torch.acos((s / (q1 * q2).sqrt()).clamp(-1, 1))
    value = (q1 * q2).sqrt() * (phi.sin() + (math.pi - phi) * phi.cos()) / (2 * math.pi)
    return value, (math.pi - phi) / (2 * math.pi)


class TwoBranches(nn.Module):
    """Two dense layers that read the same inputs, added; `mid` reads the sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = Dense(1, 1), Dense(1, 1, sigma_w=2.0), Dense(1, 1)

    def forward(self, x):
        return self.last(torch.relu(self.a(x) + self.b(x)))


def test_sum_of_two_layers_is_one_layer_of_both_variances():
    x = inputs(4, 3)
    one = nn.Sequential(Dense(1, 1, sigma_w=5**0.5), nn.ReLU(), Dense(1, 1))
    torch.testing.assert_close(limit_kernels(TwoBranches(), x), limit_kernels(one, x))


class Lambda(nn.Module):
    """A forward given as a function of (layers, x)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.b, self.last = Dense(1, 1), Dense(1, 1), Dense(1, 1)
        self.skip = Residual(nn.ReLU())

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: m.last(m.a(x) + torch.relu(m.a(x))), "used twice|correlated"),
        (lambda m, x: m.last(m.skip(m.a(x))), "correlated"),
        (lambda m, x: m.last(torch.relu(m.a(x)) + torch.relu(m.b(x))), "correlated"),
        (lambda m, x: m.last(x + m.a(x)), "inputs themselves"),
        (lambda m, x: m.last(torch.relu(torch.sin(m.a(x)))), r"relu .*right before"),
        (lambda m, x: m.last(torch.relu(x)), r"relu .*right before"),
        (lambda m, x: torch.relu(m.a(x)), r"relu .*end with a weight layer"),
        (lambda m, x: m.last(m.a(x) * 2), r"mul .*no known limit"),
        (lambda m, x: m.last(torch.relu(m.a(m.a(x)))), r"a \(Dense\): .*used twice"),
        (lambda m, x: m.last(x) if x.sum() > 0 else x, "cannot trace"),
        (lambda m, x: (m.a(x), m.b(x)), "not one tensor"),
    ],
)
def test_unsupported_forwards(function, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(Lambda(function), inputs(2, 3))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Linear(3, 3), r"1 \(Linear\) has no known limit; supported: ntkflow's Dense"),
        (nn.BatchNorm1d(3), r"1 \(BatchNorm1d\) has no known limit"),
        (nn.Dropout(), r"1 \(Dropout\)"),
        (nn.Hardtanh(), r"1 \(Hardtanh\)"),
        (Conv2d(1, 1, 3), r"1 \(Conv2d\): .*images"),
        (ntkflow.GlobalAveragePool(), r"1 \(GlobalAveragePool\): .*images"),
    ],
)
def test_unsupported_layers_are_named(layer, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(nn.Sequential(Dense(3, 3), layer, nn.ReLU(), Dense(3, 1)), inputs(2, 3))


def test_unknown_kernel_is_an_error():
    with pytest.raises(ConfigurationError, match="'both' is unknown"):
        limit_kernels(net(2), inputs(2, 3), only="both")


@pytest.mark.parametrize("only", ["nngp", "ntk"])
def test_only_one_kernel(only):
    x = inputs(5, 3)
    one, both = limit_kernels(net(3), x, only=only), limit_kernels(net(3), x)
    torch.testing.assert_close(getattr(one, only), getattr(both, only), rtol=0, atol=0)
    assert sum(kernel is None for kernel in one) == 1


@settings(max_examples=25, deadline=None)
@given(
    n1=st.integers(0, 7),
    n2=st.integers(0, 7),
    dim=st.integers(1, 5),
    tile=st.integers(1, 8),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    activation=st.sampled_from(["relu", "erf", "gelu", "sin", "abs", "tanh", "linear"]),
)
def test_shapes_and_tiles(n1, n2, dim, tile, dtype, activation):
    network = net(3, activation=activation, sigma_b=0.1)
    x1, x2 = inputs(n1, dim, seed=1).to(dtype), inputs(n2, dim, seed=2).to(dtype)
    kernels = limit_kernels(network, x1, x2, dtype=dtype, tile=tile)
    exact = limit_kernels(network, x1.double(), x2.double())
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    for kernel, expected in zip(kernels, exact, strict=True):
        assert kernel.shape == (n1, n2)
        assert kernel.dtype == dtype
        torch.testing.assert_close(kernel.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "sin", "abs", "tanh"])
def test_symmetry_definiteness_permutation_and_tiles(activation):
    network, x = net(4, activation=activation, sigma_b=0.1), inputs(20, 6)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    whole, permuted = limit_kernels(network, x), limit_kernels(network, x[order])
    tiled, cross = limit_kernels(network, x, tile=7), limit_kernels(network, x, x)
    for a, b, c, d in zip(whole, permuted, tiled, cross, strict=True):
        assert torch.equal(a, a.T)
        assert torch.equal(c, c.T)
        assert torch.linalg.eigvalsh(a)[0] > -1e-13 * a.trace()
        for other, expected in ((b, a[order][:, order]), (c, a), (d, a)):
            torch.testing.assert_close(other, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_meta_device(activation):
    x = torch.empty(5, 3, device="meta")
    kernels = limit_kernels(net(3, activation=activation, sigma_b=0.1), x, tile=2)
    assert all(kernel.is_meta and kernel.shape == (5, 5) for kernel in kernels)


def test_peak_and_tail_on_the_circle():
    angles = torch.tensor([0.0, math.pi], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    ntk = limit_kernels(mlp(2, [1] * 3, sigma_b=0.1), x).ntk
    assert ntk[0, 0].item() == pytest.approx(0.28250, abs=1e-5)
    assert ntk[0, 1].item() == pytest.approx(0.06435, abs=1e-5)

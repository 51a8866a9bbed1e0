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
from torch.func import functional_call, jacrev, vmap

from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, mlp

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


def net(layers, dim=3, *, activation="relu", sigma_w=2**0.5, sigma_b=0.0, **options):
    return mlp(
        dim,
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
        data["x1"].shape[1],
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
    network = net(layers, data["x1"].shape[1], activation=activation, **options)
    kernels = limit_kernels(network, data["x1"])
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
    kernels = limit_kernels(net(layers, dim=2, **options), pair_at(cosine))
    assert kernels.nngp[0, 1].item() == pytest.approx(nngp, abs=1e-12)
    assert kernels.ntk[0, 1].item() == pytest.approx(ntk, abs=1e-12)


def test_ntk_of_equal_inputs_is_twice_the_depth():
    for layers in (1, 2, 5):
        ntk = limit_kernels(net(layers, dim=2), pair_at(1.0)).ntk
        torch.testing.assert_close(ntk, torch.full_like(ntk, 2 * layers), rtol=1e-15, atol=0)


@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "abs", "erf"])
@pytest.mark.parametrize("dim", [2, 30])
def test_nearly_parallel_inputs(activation, sigma_b, dim):
    x, step = inputs(1, dim, seed=1), inputs(1, dim, seed=2)
    angles = torch.tensor([1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 0.0], dtype=torch.float64)
    near = (x + angles[:, None] * step) * torch.linspace(0.5, 2, 8, dtype=torch.float64)[:, None]
    options = {"sigma_w": 2**0.5, "sigma_b": sigma_b}
    kernels = limit_kernels(net(4, dim, activation=activation, **options), x, near)
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
    ntk = limit_kernels(net(3, dim=5, activation=activation, **options), x, near).ntk
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
    ntk = limit_kernels(net(2, dim=5, sigma_w=1.0), x, near).ntk.item()
    assert ntk == pytest.approx(float(expected), rel=1e-7, abs=0)
    assert abs(ntk - float(expected)) < 1e-16


def test_many_nearly_parallel_inputs():
    x = inputs(1, 40, seed=3) + 1e-7 * inputs(30, 40, seed=4)
    ntk = limit_kernels(net(3, dim=40, sigma_b=0.1), x).ntk
    for i, j in [(0, 1), (7, 22), (29, 3)]:
        expected = reference.dense_kernels(
            x[i], x[j], layers=3, sigma_w=2**0.5, sigma_b=0.1, moments=reference.relu_moments
        )[1]
        assert ntk[i, j].item() == pytest.approx(float(expected), rel=1e-13)


def test_scattered_duplicates_are_exact():
    x = inputs(40, 60)
    x[31], x[17] = x[2], 3 * x[5]
    ntk = limit_kernels(net(3, dim=60), x, tile=16).ntk
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
    without = limit_kernels(net(1, dim=4), x)
    kernels = limit_kernels(net(1, dim=4, sigma_b=0.5, bias="zero"), x)
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


def test_unknown_kernel_is_an_error():
    with pytest.raises(ConfigurationError, match=r"^only: 'both' is unknown; allowed: nngp, ntk$"):
        limit_kernels(net(2), inputs(2, 3), only="both")


def test_inputs_that_do_not_fit_the_first_layer():
    message = r"0 \(Dense\) sums over 3 numbers there, but has weights for 2"
    with pytest.raises(ConfigurationError, match=message):
        limit_kernels(net(2, dim=2), inputs(2, 3))


@pytest.mark.parametrize("only", ["nngp", "ntk"])
def test_only_one_kernel(only):
    x = inputs(5, 3)
    one, both = limit_kernels(net(3), x, only=only), limit_kernels(net(3), x)
    torch.testing.assert_close(getattr(one, only), getattr(both, only), rtol=0, atol=0)
    assert sum(kernel is None for kernel in one) == 1


@settings(max_examples=25)
@given(
    n1=st.integers(0, 7),
    n2=st.integers(0, 7),
    dim=st.integers(1, 5),
    tile=st.integers(1, 8),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    activation=st.sampled_from(["relu", "erf", "gelu", "sin", "abs", "tanh", "linear"]),
)
def test_shapes_and_tiles(n1, n2, dim, tile, dtype, activation):
    network = net(3, dim, activation=activation, sigma_b=0.1)
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
    network, x = net(4, dim=6, activation=activation, sigma_b=0.1), inputs(20, 6)
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


def test_kernels_do_not_depend_on_the_number_of_threads():
    network, x = net(3, dim=300, sigma_b=0.1), inputs(60, 300)
    threads, kernels = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            kernels.append(limit_kernels(network, x, tile=16))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(kernels[0].ntk, kernels[1].ntk)
    assert torch.equal(kernels[0].nngp, kernels[1].nngp)

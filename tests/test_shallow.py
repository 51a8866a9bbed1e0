import pytest
import torch
from torch import nn

from ntkflow.empirical import empirical_ntk, ntk_operator, top_eigenpairs
from ntkflow.empirical.one_hidden_layer import mean_kernels, scalar_twin
from ntkflow.linalg.batches import eigenvalues, largest_eigenvalues
from ntkflow.networks import draw_parameters, member, mlp

X = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("widths", [(1,), (6,), (5, 3)])
@pytest.mark.parametrize(
    "options",
    [{}, dict(sigma_b=0.3), dict(activation="tanh", sigma_w=1.4), dict(activation="linear")],
)
def test_mean_kernels_are_those_of_every_network(widths, options):
    network = mlp(4, widths, 3, dtype=torch.float64, **options)
    parameters = draw_parameters(network, [0, 1])
    kernels = mean_kernels(network, parameters, X)
    for seed in range(2):
        one = member(parameters, seed)
        naive = empirical_ntk(network, X, parameters=one, outputs="mean", method="jacobian")
        torch.testing.assert_close(kernels[seed], naive.values, rtol=1e-10, atol=1e-12)


def frozen_kernel(parameters, x, *, detach=True):
    """Naive twin of batch normalisation: Jacobians sample by sample, mean over outputs."""

    def outputs(p):
        h = x @ p["0.weight"].T / 2
        mean, variance = h.mean(0), h.var(0, correction=0)
        if detach:
            mean, variance = mean.detach(), variance.detach()
        return torch.relu((h - mean) / (variance + 1e-5).sqrt()) @ p["3.weight"].T / 6**0.5

    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    f = outputs(leaves)
    rows = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(one, leaves.values(), retain_graph=True)]
        )
        for one in f.flatten()
    ]
    jacobian = torch.stack(rows).unflatten(0, f.shape)
    return torch.einsum("nop,mop->nm", jacobian, jacobian) / f.shape[1]


def test_kernel_of_batch_normalisation_at_frozen_statistics():
    network = mlp(4, (6,), 3, normalization="batch", dtype=torch.float64)
    parameters = draw_parameters(network, [0, 1])
    kernels = mean_kernels(network, parameters, X)
    for seed in range(2):
        one = member(parameters, seed)
        torch.testing.assert_close(kernels[seed], frozen_kernel(one, X), rtol=1e-10, atol=1e-12)
        differs = frozen_kernel(one, X, detach=False)
        assert (kernels[seed] - differs).norm() > 0.05 * differs.norm()


@pytest.mark.parametrize("widths", [(6,), (5, 3)])
def test_kernel_of_dropout_is_that_without_it(widths):
    network = mlp(4, widths, 3, dropout=0.5, dtype=torch.float64)
    plain = mlp(4, widths, 3, dtype=torch.float64)
    parameters = draw_parameters(network, [0, 1])
    names = dict(zip(parameters, dict(plain.named_parameters()), strict=True))
    same = {names[name]: p for name, p in parameters.items()}
    kernels = mean_kernels(network, parameters, X)
    torch.testing.assert_close(kernels, mean_kernels(plain, same, X), rtol=1e-10, atol=1e-12)


def test_mean_kernels_of_torch_layers():
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    parameters = draw_parameters(network, [0])
    naive = empirical_ntk(network, X, parameters=member(parameters, 0), outputs="mean")
    torch.testing.assert_close(
        mean_kernels(network, parameters, X)[0], naive.values, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("options", [{}, dict(activation="erf", sigma_w=1.3)])
def test_one_output_has_the_kernel_of_the_mean(options):
    network = mlp(4, (6,), 3, dtype=torch.float64, **options)
    parameters = draw_parameters(network, [0])
    twin, one = scalar_twin(network, member(parameters, 0))
    kernel = mean_kernels(network, parameters, X)[0]
    found = empirical_ntk(twin, X, parameters=one, outputs=0).values
    torch.testing.assert_close(found, kernel, rtol=1e-10, atol=1e-12)
    top = top_eigenpairs(ntk_operator(twin, X, parameters=one, dtype=torch.float64), 3)
    torch.testing.assert_close(top.values, eigenvalues(kernel[None])[0, :3], rtol=1e-7, atol=0)


@pytest.mark.parametrize("network", [mlp(4, (3, 3), 2), mlp(4, (3,), 2, sigma_b=0.1)])
def test_other_networks_have_no_such_twin(network):
    with pytest.raises(TypeError, match="not one hidden layer without output bias"):
        scalar_twin(network, member(draw_parameters(network, [0]), 0))


def semidefinite(kind, size, dtype, seed=0):
    """Positive semi-definite matrix of some kind, with `size` rows."""
    g = torch.Generator().manual_seed(seed)
    random = torch.randn(size, size + 3, dtype=torch.float64, generator=g)
    rotation, _ = torch.linalg.qr(random @ random.mT)
    spectrum = torch.linspace(1, 0, size + 1, dtype=torch.float64)[:size]
    angles = 2 * torch.pi * torch.arange(size, dtype=torch.float64) / size
    values = {
        "full": random @ random.mT,
        "one": random[:, :1] @ random[:, :1].mT,
        "centred": (random - random.mean(0)) @ (random - random.mean(0)).mT,
        "identity": 7 * torch.eye(size, dtype=torch.float64),
        "twice": rotation
        @ torch.diag(spectrum.clamp(max=spectrum[min(1, size - 1)]))
        @ rotation.mT,
        "crowded": rotation @ torch.diag(1 + 0.1 * spectrum) @ rotation.mT,
        "circle": 1 + 3 * torch.cos(angles[:, None] - angles),
        "zero": torch.zeros(size, size, dtype=torch.float64),
        "tiny": 1e-30 * random @ random.mT,
    }[kind]
    return values.to(dtype)


KINDS = ("full", "one", "centred", "identity", "twice", "crowded", "circle", "zero", "tiny")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 16, 60])
def test_largest_eigenvalues_are_those_of_the_dense_solver(size, dtype):
    kernels = torch.stack([semidefinite(kind, size, dtype, s) for kind in KINDS for s in range(3)])
    found, expected = largest_eigenvalues(kernels), torch.linalg.eigvalsh(kernels.double())[:, -1]
    zero = expected <= size * torch.finfo(dtype).eps * kernels.abs().amax((1, 2))
    torch.testing.assert_close(found[~zero].double(), expected[~zero], rtol=2e-6, atol=0)
    assert (found[zero].abs() <= 1e-5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_largest_eigenvalues_of_kernels_orthogonal_to_ones(dtype):
    two = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]], dtype=dtype)
    assert largest_eigenvalues(two).item() == pytest.approx(2, rel=1e-6)
    circle = semidefinite("circle", 16, dtype)
    assert largest_eigenvalues(circle[None]).item() == pytest.approx(24, rel=1e-6)


def test_largest_eigenvalues_that_lanczos_does_not_reach_are_computed(monkeypatch):
    near = semidefinite("crowded", 200, torch.float64)
    far = semidefinite("one", 200, torch.float64)
    dense, calls = eigenvalues(near[None])[0, 0], []
    spy = lambda kernels: calls.append(len(kernels)) or eigenvalues(kernels)  # noqa: E731
    monkeypatch.setattr("ntkflow.linalg.batches.eigenvalues", spy)
    # Without a test of the residual the best of 20 products is what is returned.
    lax = largest_eigenvalues(torch.stack([near, far]), tolerance=1.0)
    assert not calls
    assert lax[0] / dense - 1 < -1e-6
    found = largest_eigenvalues(torch.stack([near, far]))
    assert calls == [1]
    assert found[0] == dense
    assert found[1] == pytest.approx(far.trace().item(), rel=1e-12)


@pytest.mark.parametrize("size", [3, 20, 64])
def test_largest_eigenvalues_do_not_depend_on_the_batch(size):
    kernels = torch.stack([semidefinite(kind, size, torch.float64) for kind in KINDS])
    together = largest_eigenvalues(kernels)
    for index in range(len(KINDS)):
        assert torch.equal(largest_eigenvalues(kernels[index, None])[0], together[index])
    assert torch.equal(largest_eigenvalues(kernels[4:]), together[4:])


def test_a_diverged_network_is_nan_and_harms_nobody():
    kernels = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    kernels[0, 0, 1] = torch.nan
    assert torch.equal(eigenvalues(kernels)[1], torch.ones(3, dtype=torch.float64))
    assert eigenvalues(kernels)[0].isnan().all()
    assert largest_eigenvalues(kernels)[0].isnan()
    assert largest_eigenvalues(kernels)[1] == pytest.approx(1)
    kernels[0, 0, 1] = torch.inf
    assert largest_eigenvalues(kernels)[0].isnan()


def test_meta_device():
    network = mlp(4, (6,), 3)
    parameters = draw_parameters(network, [0, 1], device="meta")
    assert mean_kernels(network, parameters, X.float().to("meta")).shape == (2, 9, 9)

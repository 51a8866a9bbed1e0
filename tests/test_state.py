"""A kernel is that of the state a network is in, and leaves it as it is."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

import ntkflow
from ntkflow.errors import UnsupportedLayerError

METHODS = ["auto", "jacobian", "vector_product", "layerwise"]
IMAGES = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.ones(5, 2, dtype=torch.float64)


class Counter(nn.Module):
    """Multiplies by how often it was called, which a buffer counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.ones((), dtype=torch.float64))

    def forward(self, x):
        self.calls += 1
        return self.calls * x


def instance(**options):
    norm = nn.InstanceNorm2d(2, track_running_stats=True, **options)
    return nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.Flatten(), nn.Tanh(), nn.Linear(8, 2))


def spectral(normalise):
    network = nn.Sequential(nn.Flatten(), normalise(nn.Linear(16, 4)), nn.Tanh(), nn.Linear(4, 2))
    network.double()(IMAGES)
    return network


def counted():
    return nn.Sequential(nn.Flatten(), Counter(), nn.Linear(16, 3), nn.Tanh(), nn.Linear(3, 2))


NETWORKS = {
    "instance": lambda: instance().train(),
    "instance with weights": lambda: instance(affine=True).train(),
    "instance in evaluation": lambda: instance(affine=True).eval(),
    "spectral": lambda: spectral(parametrizations.spectral_norm).eval(),
    "spectral by hook": lambda: spectral(spectral_norm).eval(),
    "batch in evaluation": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)
    ).eval(),
    "counter": lambda: counted(),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(1)
    return NETWORKS[request.param]().double()


def row_by_row(network, x):
    """Kernel by one backward pass a row and output, every row from the state the network is in."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    weights = list(network.parameters())
    rows = []
    for row in x:
        for output in network(row[None])[0]:
            parts = torch.autograd.grad(output, weights, retain_graph=True)
            rows.append(torch.cat([part.flatten() for part in parts]))
        network.load_state_dict(state)
    jacobian = torch.stack(rows).unflatten(0, (len(x), -1))
    return torch.einsum("nop,mqp->oqnm", jacobian, jacobian)


@pytest.fixture
def unchanged(network):
    """Checks at the end that parameters, buffers, modes and plain tensors are what they were."""

    def state():
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        modes = [layer.training for layer in network.modules()]
        plain = [v for m in network.modules() for v in vars(m).values() if torch.is_tensor(v)]
        return tensors, {name: t.detach().clone() for name, t in tensors.items()}, modes, plain

    tensors, values, modes, plain = state()
    yield
    assert all(state()[0][name] is tensor for name, tensor in tensors.items())
    assert all(torch.equal(state()[1][name], value) for name, value in values.items())
    assert state()[2] == modes
    assert all(after is before for after, before in zip(state()[3], plain, strict=True))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("memory_budget", [1, 2**30])
def test_kernel_is_that_of_the_present_state(network, method, memory_budget):
    expected = row_by_row(copied(network), IMAGES)
    options = dict(method=method, memory_budget=memory_budget)
    found = ntkflow.empirical_ntk(network, IMAGES, **options).values
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    cross = ntkflow.empirical_ntk(network, IMAGES[:2], IMAGES[2:], **options).values
    torch.testing.assert_close(cross, expected[..., :2, 2:], rtol=1e-10, atol=1e-12)


def copied(network):
    """A copy, though plain tensors of torch's older spectral normalisation belong to a graph."""
    known = {
        id(v): v.detach() for m in network.modules() for v in vars(m).values() if torch.is_tensor(v)
    }
    return copy.deepcopy(network, known)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("memory_budget", [1, 2**30])
def test_operator_is_that_of_the_present_state(network, memory_budget):
    block = row_by_row(copied(network), IMAGES)
    operator = ntkflow.ntk_operator(network, IMAGES, memory_budget=memory_budget)
    expected = torch.linalg.eigvalsh(block.permute(2, 0, 3, 1).reshape(10, 10))
    top = ntkflow.top_eigenpairs(operator, 2)
    torch.testing.assert_close(top.values, expected.flip(0)[:2], rtol=1e-8, atol=0)
    norm = ntkflow.jacobian_norm(network, IMAGES, tolerance=1e-14)
    assert norm**2 == pytest.approx(expected[-1].item(), rel=1e-6)
    ntkflow.kappa(network, IMAGES, Y, max_iterations=3)


@pytest.mark.usefixtures("unchanged")
def test_training_in_closed_form_starts_in_the_present_state(network):
    here = copied(network)(IMAGES).detach()
    training = ntkflow.LinearizedTraining(network, IMAGES, Y, learning_rate=0.01)
    torch.testing.assert_close(training.train_outputs(0), here, rtol=1e-10, atol=1e-12)
    assert training.distance(math.inf) > 0
    assert all(p.isfinite().all() for p in training.weights(3).values())


@pytest.mark.usefixtures("unchanged")
def test_linearized_networks_stay_in_the_state_of_the_start(network):
    network = copied(network)
    here = copied(network)(IMAGES).detach()
    linear = ntkflow.Linearized(network)
    for _ in range(2):
        torch.testing.assert_close(linear(IMAGES), here, rtol=1e-10, atol=1e-12)
    scaled = ntkflow.ScaledOutput(network)
    before = [buffer.clone() for buffer in scaled.network.buffers()]
    scaled.initial(IMAGES)
    assert all(map(torch.equal, scaled.network.buffers(), before))


REFUSED = {
    "spectral": (lambda: spectral(parametrizations.spectral_norm), IMAGES, "spectral normalis"),
    "hook": (lambda: spectral(spectral_norm), IMAGES, "spectral normalis"),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(7, 4, max_norm=0.5), nn.Flatten(), nn.Linear(8, 2)),
        torch.tensor([[0, 1], [2, 3], [4, 5], [6, 0], [1, 3]]),
        "max_norm=0.5",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "call",
    [
        ntkflow.empirical_ntk,
        ntkflow.ntk_operator,
        ntkflow.jacobian_norm,
        lambda network, x: ntkflow.kappa(network, x, Y),
        lambda network, x: ntkflow.LinearizedTraining(network, x, Y, learning_rate=0.1),
        lambda network, x: ntkflow.Linearized(network)(x),
    ],
)
def test_layers_that_are_another_function_at_every_call_are_refused(name, call):
    make, x, message = REFUSED[name]
    torch.manual_seed(1)
    network = make().double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UnsupportedLayerError, match=rf"^layer '.*': .*{message}.*; "):
        call(network, x)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

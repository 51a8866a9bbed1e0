import pytest
import torch
from torch import nn

from ntkflow import empirical_ntk
from ntkflow.networks import cnn, mlp

torch.set_num_threads(1)

METHODS = ["jacobian", "vector_product", "layerwise"]


def naive_ntk(network, x1, x2):
    """Double loop over rows and outputs of torch.autograd.grad: (O, O, N1, N2)."""
    parameters = list(network.parameters())

    def gradient(output):
        found = torch.autograd.grad(output, parameters, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found])

    def gradients(x):
        rows = [[gradient(f) for f in network(row[None]).flatten()] for row in x]
        return torch.stack([torch.stack(row) for row in rows])

    return torch.einsum("aop,bqp->oqab", gradients(x1), gradients(x2))


class Shared(nn.Module):
    """A dense layer and a convolution, each used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.dense = nn.Linear(8, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        x = self.conv(torch.tanh(self.conv(x))).flatten(1)
        return self.out(torch.tanh(self.dense(torch.tanh(self.dense(x)))))


class Tied(nn.Module):
    """Two modules that share one weight but not the bias."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class UsedOutside(nn.Module):
    """A weight that also acts outside its layer, which no hook sees."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x):
        return torch.tanh(self.dense(x)) @ self.dense.weight


class AlongSequence(nn.Module):
    """Dense layers along a sequence, whose first axis is not that of the rows."""

    def __init__(self):
        super().__init__()
        self.dense, self.out = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.tanh(self.dense(x.transpose(0, 1))).transpose(0, 1)
        return self.out(h).mean(1)


class Attention(nn.Module):
    """A transformer layer: dense layers met by hooks, and others inside fused attention."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.layer(x).mean(1))


class Tokens(nn.Module):
    """An embedding of integers, and a layer called by keyword."""

    def __init__(self):
        super().__init__()
        self.embed, self.dense = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.dense(input=torch.tanh(self.embed(x))).sum(1)


class Raw(nn.Module):
    """A parameter of its own kind."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))
        self.dense = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.dense(torch.sin(x * self.scale))


CASES = {
    "mlp": (lambda: mlp(4, [6, 5], 3, sigma_w=1.3, sigma_b=0.4), (4,)),
    "no bias": (lambda: mlp(4, [6], 1), (4,)),
    "one layer": (lambda: mlp(4, [], 2, sigma_b=1.0), (4,)),
    "cnn flatten": (lambda: cnn(2, [3, 4], 2, image_size=4, sigma_b=0.2), (2, 4, 4)),
    "cnn gap": (lambda: cnn(2, [3], 3, image_size=3, head="gap"), (2, 3, 3)),
    "plain": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)), (4,)),
    "ends in softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), (4,)),
    "stride": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
            nn.Tanh(),
            nn.Conv2d(3, 2, (3, 1), padding="same"),
            nn.Flatten(),
            nn.Linear(36, 2),
        ),
        (2, 5, 4),
    ),
    "groups": (lambda: nn.Sequential(nn.Conv2d(2, 4, 2, groups=2), nn.Flatten()), (2, 3, 2)),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)),
        (4,),
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten()).eval(),
        (2, 3, 3),
    ),
    "shared": (Shared, (2, 2, 2)),
    "tied": (Tied, (4,)),
    "used outside": (UsedOutside, (4,)),
    "sequence": (AlongSequence, (4, 3)),
    "raw": (Raw, (4,)),
    "attention": (lambda: Attention().eval(), (3, 4)),
}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    build, shape = CASES[request.param]
    network = build().double()
    network(torch.randn(1, *shape, dtype=torch.float64))
    return network, torch.randn(3, *shape).double(), torch.randn(2, *shape).double()


@pytest.mark.parametrize("method", METHODS)
def test_block_equals_naive_double_loop(case, method):
    network, x1, x2 = case
    expected = naive_ntk(network, x1, x2)
    torch.testing.assert_close(
        empirical_ntk(network, x1, x2, method=method).values, expected, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("method", METHODS)
def test_integer_inputs(method):
    network, x = Tokens().double(), torch.tensor([[0, 3], [4, 1], [3, 3]])
    values = empirical_ntk(network, x, method=method).values
    torch.testing.assert_close(values, naive_ntk(network, x, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_symmetric_kernel_equals_naive_double_loop(case, method):
    network, x, _ = case
    values = empirical_ntk(network, x, method=method).values
    torch.testing.assert_close(values, naive_ntk(network, x, x), rtol=1e-10, atol=1e-10)
    assert torch.equal(values, values.permute(1, 0, 3, 2))

"""Every operation that the layerwise method knows agrees with plain autograd, and is used."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import GradientEdge
from torch.nn import functional as F

from ntkflow import empirical_ntk
from ntkflow.empirical.capture import claims_of, look
from ntkflow.empirical.model import as_model
from ntkflow.empirical.walking import Made, pulled_back

torch.set_num_threads(1)


class Calls(nn.Module):
    """Parameters that are read outside of modules."""

    def __init__(self, forward, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Tied(nn.Module):
    """An embedding whose table is also the read-out, positions, attention and RMS norms."""

    def __init__(self):
        super().__init__()
        self.table, self.positions = nn.Embedding(11, 4), nn.Parameter(torch.randn(1, 5, 4))
        self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.norm, self.head = nn.RMSNorm(4), nn.Linear(4, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.norm(self.block(self.table(ids) + self.positions))[:, -1])


def flat(*layers):
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3))


def pair(first, second):
    """Two layers of which the second sees what the first made."""
    return flat(first, nn.Tanh(), second)


def sequence_first(layer):
    return flat(Calls(lambda self, x: layer(x.transpose(0, 1)).transpose(0, 1)), layer)


PLACES = torch.tensor([[3, -5]])
IMAGES, SIGNALS, VOLUMES = (2, 7, 6), (4, 9), (2, 4, 5, 4)
LAYERS = {
    "linear, places": (lambda: pair(nn.Linear(9, 5), nn.Linear(5, 4)), SIGNALS),
    "linear, lines of odd lengths": (lambda: pair(nn.Linear(9, 16), nn.Linear(16, 8)), SIGNALS),
    "linear without bias": (lambda: pair(nn.Linear(9, 5, bias=False), nn.Linear(5, 4)), SIGNALS),
    "linear on time steps first": (lambda: sequence_first(nn.Linear(9, 9)), SIGNALS),
    "linear on columns": (
        lambda: flat(Calls(lambda s, x: F.linear(x.mT, s.w, s.b), w=(3, 4), b=(3,))),
        SIGNALS,
    ),
    "addmm": (lambda: flat(Calls(lambda s, x: torch.addmm(s.b, x, s.w), w=(6, 5), b=(5,))), (6,)),
    "addmm, scaled": (
        lambda: flat(
            Calls(lambda s, x: torch.addmm(s.b, x, s.w, alpha=0.5, beta=3), w=(6, 5), b=(5,))
        ),
        (6,),
    ),
    "matrix product, scaled bias": (
        lambda: flat(Calls(lambda s, x: 0.3 * (x @ s.w) - 2 * s.b, w=(9, 5), b=(5,))),
        SIGNALS,
    ),
    "bias minus product": (
        lambda: flat(Calls(lambda s, x: torch.sub(s.b, x @ s.w, alpha=3), w=(6, 5), b=(5,))),
        (6,),
    ),
    "weight and bias at once": (
        lambda: flat(Calls(lambda s, x: (x * s.w).sin() + s.w, w=(9,))),
        SIGNALS,
    ),
    "weight turned and added": (
        lambda: flat(Calls(lambda s, x: (x @ s.w.T).sin() @ s.w.T + s.w, w=(6, 6))),
        (6, 6),
    ),
    "product read twice": (
        lambda: flat(Calls(lambda s, x: (h := x @ s.w) + s.b + h.sin(), w=(6, 5), b=(5,))),
        (6,),
    ),
    "bias on one place": (
        lambda: flat(Calls(lambda s, x: x @ s.w + s.b, w=(9, 5), b=(4, 1))),
        SIGNALS,
    ),
    "conv1d": (lambda: pair(nn.Conv1d(4, 6, 3, stride=2), nn.Conv1d(6, 3, 2, dilation=2)), SIGNALS),
    "conv2d": (lambda: flat(nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(2, 1))), IMAGES),
    "conv2d, 8 channels": (lambda: pair(nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 2)), IMAGES),
    "conv2d, same": (lambda: flat(nn.Conv2d(2, 3, (3, 5), padding="same")), IMAGES),
    "conv2d, circular": (
        lambda: flat(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
        IMAGES,
    ),
    "conv3d": (lambda: flat(nn.Conv3d(2, 3, (2, 3, 2), padding=1)), VOLUMES),
    "grouped": (lambda: pair(nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 4, 1, groups=4)), IMAGES),
    "transposed": (
        lambda: pair(nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1), nn.Tanh()),
        SIGNALS,
    ),
    "transposed 2d": (
        lambda: flat(nn.ConvTranspose2d(2, 3, (2, 3), stride=(2, 1), dilation=(1, 2))),
        IMAGES,
    ),
    "layer norm": (lambda: pair(nn.LayerNorm(9), nn.LayerNorm((4, 9))), SIGNALS),
    "RMS norm": (lambda: flat(nn.RMSNorm(9)), SIGNALS),
    "group norm": (lambda: flat(nn.GroupNorm(2, 4)), SIGNALS),
    "batch norm": (lambda: flat(nn.BatchNorm1d(4)), SIGNALS),
    "PReLU": (lambda: pair(nn.PReLU(4), nn.PReLU()), SIGNALS),
    "gain and shift": (
        lambda: flat(Calls(lambda s, x: s.g * x.sin() + s.b - s.c, g=(4, 1), b=(), c=(1, 1, 9))),
        SIGNALS,
    ),
    "token in front": (
        lambda: flat(
            Calls(lambda s, x: torch.cat([s.t.expand(len(x), -1, -1), x], 1), t=(1, 2, 9))
        ),
        SIGNALS,
    ),
    "attention": (
        lambda: flat(nn.TransformerEncoderLayer(8, 2, 6, dropout=0.0, batch_first=True)),
        (5, 8),
    ),
    "images on time steps": (
        lambda: flat(
            Calls(lambda s, x: F.conv1d(x.flatten(0, 1), s.w).unflatten(0, (-1, 2)), w=(3, 4, 2))
        ),
        (2, 4, 6),
    ),
}


def check(network, x):
    """All parameters are claimed, and every convention agrees with plain autograd."""
    claims, _ = claims_of(as_model(network), look(as_model(network), x))
    assert claims.claimed == {name for name, _ in network.named_parameters()}
    for outputs in ("block", "trace", [1, 0]):
        for rows, other in ((x, None), (x, x[1:]), (x[:1], x)):
            options = dict(outputs=outputs, by_layer=outputs == "trace")
            found = empirical_ntk(network, rows, other, method="layerwise", **options)
            plain = empirical_ntk(network, rows, other, method="autograd", **options)
            size = plain.values.abs().max()
            assert (found.values - plain.values).abs().max() <= 1e-12 * size
            for name, part in (plain.by_parameter or {}).items():
                assert (found.by_parameter[name] - part).abs().max() <= 1e-12 * size, name
    narrow = empirical_ntk(network, x, method="layerwise", memory_budget=1).values
    whole = empirical_ntk(network, x, method="layerwise").values
    assert (narrow - whole).abs().max() <= 1e-12 * whole.abs().max()


@pytest.mark.parametrize("name", LAYERS)
def test_operation(name):
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    network, x = build(), torch.randn(3, *shape)
    network(x)  # sizes of lazy layers, averages of batch norm
    check(network.double().eval(), x.double())


@pytest.mark.parametrize("padding", [None, 3, -1])
@pytest.mark.parametrize("size", [11, 400])
def test_embedding(padding, size):
    """Small tables as rows, large ones by equal indices."""
    torch.manual_seed(0)
    network = flat(nn.Embedding(size, 4, padding_idx=padding)).double()
    ids = torch.tensor([[3, 1, 3, 10], [10, 3, 0, 0], [7, 7, 7, 2]])
    network(ids)
    check(network, ids)


def test_table_that_is_also_the_read_out():
    torch.manual_seed(0)
    ids = torch.tensor([[3, 1, 3, 10, 0], [10, 3, 0, 0, 5], [7, 7, 7, 2, 1]])
    network = Tied().double().eval()
    found, plain = (empirical_ntk(network, ids, method=m).values for m in ("auto", "autograd"))
    assert (found - plain).abs().max() <= 1e-12 * plain.abs().max()
    assert empirical_ntk(network, ids).method == "layerwise"


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), nn.Tanh()),
        nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh()),
        Calls(lambda s, x: x @ (s.w * s.g), w=(4, 2), g=()),
        Calls(lambda s, x: x @ s.w[:4], w=(5, 2)),
        Calls(lambda s, x: x @ (s.w[1:] + s.w[:4]) + s.w[2, :2] * s.g, w=(5, 2), g=(2,)),
        Calls(lambda s, x: x @ (s.a @ s.b) + s.b[0], a=(4, 3), b=(3, 2)),
        Calls(lambda s, x: s.w.softmax(0).sum(1) * x, w=(4, 2)),
        Calls(lambda s, x: x @ torch.stack([s.a, s.a.exp()], 1) @ s.a[:2, None], a=(4,)),
        Calls(lambda s, x: x @ s.w.split(1, 1)[1] + s.w.unbind(1)[0].sum(), w=(4, 2)),
        Calls(lambda s, x: x + s.w[PLACES].permute(-1, 0, 1).flatten(), w=(5, 2)),
        Calls(lambda s, x: x * s.w.T[:, PLACES].sum(0).flatten().repeat(2), w=(5, 2)),
        Calls(lambda s, x: x * s.w[torch.tensor([True, False, True])].flatten(), w=(3, 2)),
    ],
)
@pytest.mark.parametrize("by_layer", [False, True])
def test_what_is_made_of_parameters_alone_is_one_more(network, by_layer):
    network, x = network.double().eval(), torch.randn(3, 4, dtype=torch.float64)
    claims, _ = claims_of(as_model(network), look(as_model(network), x))
    assert claims.claimed == set(dict(network.named_parameters()))
    options = dict(by_layer=by_layer)
    found = empirical_ntk(network, x, method="layerwise", **options)
    plain = empirical_ntk(network, x, method="autograd", **options)
    assert torch.allclose(found.values, plain.values, rtol=1e-12, atol=1e-12)
    for name, part in (plain.by_parameter or {}).items():
        assert torch.allclose(found.by_parameter[name], part, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: w[torch.tensor([[0, -2, 4], [4, 4, -5]])].permute(-1, 0, 1).contiguous()[None],
        lambda w: w[torch.tensor([1, 1, 3])].view(6, 1).permute(1, -2),
        lambda w: w.permute(-1, 0).unsqueeze(1)[torch.tensor([[1], [0], [1]])],
    ],
)
def test_rows_of_a_table_are_put_back_at_once(make, monkeypatch):
    """As torch puts back one gradient after the other, and without it."""
    table, name = torch.randn(5, 2, dtype=torch.float64, requires_grad=True), frozenset("w")
    made = make(table)
    signals = torch.randn(2, 3, made.numel(), dtype=torch.float64)
    one_by_one = [
        torch.autograd.grad(made, table, each.view(made.shape), retain_graph=True)[0].flatten()
        for each in signals.flatten(0, 1)
    ]
    monkeypatch.setattr(torch.autograd, "grad", None)
    found = pulled_back(Made(GradientEdge(made.grad_fn, 0), name), signals, table)
    assert torch.allclose(found, torch.stack(one_by_one).view(2, 3, -1), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv1d(4, 2, 1), nn.Tanh()),
        Calls(lambda s, x: torch.einsum("nd,dc->nc", x, s.w), w=(4, 2)),
    ],
)
def test_unknown_operations_are_left_to_the_jacobian(network):
    """Or the layer sees no axis of rows: an image (C, H) is no batch."""
    network, x = network.double(), torch.randn(3, 4, dtype=torch.float64)
    convolution = isinstance(network, nn.Sequential)
    x = x[..., None] if convolution else x
    claims, _ = claims_of(as_model(network), look(as_model(network), x))
    assert claims.claimed == ({"0.weight", "0.bias"} if convolution else set())
    found, plain = (empirical_ntk(network, x, method=m).values for m in ("layerwise", "autograd"))
    assert torch.allclose(found, plain, rtol=1e-12, atol=1e-12)

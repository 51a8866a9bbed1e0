"""Twins in NTK parameterization: torch's formula, and all that stays."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_twins import set_weights

import ntkflow
from ntkflow import ntk_parameterization
from ntkflow.errors import ConfigurationError

D = {"dtype": torch.float64}
SCALES = dict(sigma_w=1.4, sigma_b=0.2)
TOKENS = torch.tensor([[1, 4, 0, 2], [3, 3, 5, 1], [0, 1, 2, 2]])


class Block(nn.Module):
    """Two convolutions and a sum, as in a residual network."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, groups=2)
        self.downsample = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x):
        h = self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, (3, 5), padding=(1, 2)), nn.AvgPool2d(2))
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((-2, -1)))


class Reader(nn.Module):
    """An embedding, a recurrent layer and a linear one on its last output."""

    def __init__(self, kind, **options):
        super().__init__()
        self.embed = nn.Embedding(6, 4, padding_idx=0)
        self.rnn = kind(4, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 2)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0][:, -1])


class Stepper(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell, nn.Linear(5, 2)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Vision(nn.Module):
    """Patches, a class token, a position code, an encoder; both codes are read in the forward."""

    def __init__(self, **options):
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 3, stride=3)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        h = self.patches(x).flatten(2).mT
        h = torch.cat([self.token.expand(len(h), -1, -1), h], 1) + self.position
        return self.head(self.encoder(h)[:, 0])


class Attending(nn.Module):
    """Attention called with torch's defaults, whose weights are used as well."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        h, weights = self.attention(x, x, x)
        return self.head((weights @ h).mean(1))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerDecoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.decoder, self.head = nn.TransformerDecoder(layer, 2), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.decoder(x, x.flip(1)).mean(1))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Transformer(4, 2, 1, 1, 6, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x, x[:, :2]).mean(1))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        self.again = self.first
        self.steps = [self.first]

    def forward(self, x):
        return self.last(torch.tanh(self.again(torch.tanh(self.first(x.mean(1))))))


IMAGES, SEQUENCES = torch.randn(3, 2, 6, 6, **D), torch.randn(3, 4, 4, **D)
UPSAMPLING = [nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(432, 2)]
CASES = {
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), SEQUENCES),
    "resnet": (ResNet, IMAGES),
    "upsampling": (lambda: nn.Sequential(*copy.deepcopy(UPSAMPLING)), IMAGES),
    "rnn": (lambda: Reader(nn.RNN, nonlinearity="relu", bidirectional=True), TOKENS),
    "lstm": (lambda: Reader(nn.LSTM, num_layers=2), TOKENS),
    "gru": (lambda: Reader(nn.GRU), TOKENS),
    "rnn cell": (lambda: Stepper(nn.RNNCell(4, 5)), SEQUENCES),
    "lstm cell": (lambda: Stepper(nn.LSTMCell(4, 5)), SEQUENCES),
    "gru cell": (lambda: Stepper(nn.GRUCell(4, 5, bias=False)), SEQUENCES),
    "vision": (Vision, IMAGES),
    "vision, norm first": (lambda: Vision(norm_first=True, activation="gelu"), IMAGES),
    "attention": (Attending, SEQUENCES),
    "attention without biases": (lambda: Attending(bias=False), SEQUENCES),
    "decoder": (Decoder, SEQUENCES),
    "transformer": (Translator, SEQUENCES),
    "shared": (Shared, SEQUENCES),
}


def case(name, attention="tied 1/d"):
    make, x = CASES[name]
    network = make().double().eval()
    return network, ntk_parameterization(network, attention=attention, **SCALES), x


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("attention", ["tied 1/d", "many heads", "1/sqrt(d)"])
def test_a_twin_is_torchs_formula_with_scaled_weights(name, attention):
    network, twin, x = case(name, attention)
    assert type(twin) is type(network)
    before = copy.deepcopy(network.state_dict())
    expected = set_weights(copy.deepcopy(network), twin)(x)
    torch.testing.assert_close(twin(x), expected, rtol=1e-12, atol=1e-12)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_of_a_twin_is_that_of_autograd(name):
    _, twin, x = case(name)
    kernel, plain = (
        ntkflow.empirical_ntk(twin, x[:2], method=method).values for method in ("auto", "autograd")
    )
    torch.testing.assert_close(kernel, plain, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["resnet", "lstm", "vision"])
def test_a_twin_trains(name):
    _, twin, x = case(name)
    optimizer = torch.optim.SGD(twin.parameters(), 0.01)
    losses = []
    for _ in range(8):
        losses.append(twin(x).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_a_layer_alone_has_a_twin():
    twin = ntk_parameterization(nn.Linear(3, 2), sigma_w=2.0)
    assert (type(twin), twin.sigma_w, twin.bias) == (ntkflow.Dense, 2.0, None)
    encoder = nn.TransformerEncoderLayer(4, 2, 8)
    twin = ntk_parameterization(encoder, attention="many heads")
    assert type(twin) is ntkflow.TransformerEncoderLayer
    assert twin(torch.ones(5, 3, 4)).shape == (5, 3, 4)


def test_layers_and_weights_that_are_shared_stay_shared():
    twin = ntk_parameterization(Shared(), **SCALES)
    assert twin.first is twin.again is twin.steps[0]
    tied = nn.ModuleDict({"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    tied["head"].weight = tied["embed"].weight
    twin = ntk_parameterization(tied)
    assert twin["head"].weight is twin["embed"].weight
    assert (twin["head"].weight_scale, twin["embed"].weight_scale) == (0.5, 1.0)


def test_modes_types_devices_and_frozen_parameters_stay():
    network = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5), nn.Dropout(0.5)).to(torch.bfloat16)
    network[0].weight.requires_grad_(False)
    network[1].requires_grad_(False).eval()
    twin = ntk_parameterization(network.to("meta"), **SCALES)
    assert {(p.dtype, p.device.type) for p in twin.parameters()} == {(torch.bfloat16, "meta")}
    free = {name for name, p in twin.named_parameters() if p.requires_grad}
    assert free == {"0.bias"}
    assert [layer.training for layer in twin] == [True, False, True]
    assert not twin[1].cells[0].training


def test_normalisations_codes_and_buffers_are_copied():
    layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.LayerNorm((5, 4))
    network = nn.Sequential(*layers)
    network(torch.randn(5, 3))  # moves the running averages
    twin = ntk_parameterization(network)
    for own, theirs in zip(twin[1:], network[1:], strict=True):
        for key, value in theirs.state_dict().items():
            assert torch.equal(own.state_dict()[key], value)
            assert own.state_dict()[key].data_ptr() != value.data_ptr()
    vision = Vision()
    assert torch.equal(ntk_parameterization(vision, attention="tied 1/d").token, vision.token)


def test_layers_in_ntk_parameterization_stay_as_they_are():
    network = ntkflow.mlp(3, [4], 2, sigma_w=1.7)
    twin = ntk_parameterization(network, sigma_w=1.0)
    assert torch.equal(twin(torch.ones(1, 3)), network(torch.ones(1, 3)))


def test_twins_are_drawn_by_torchs_state_or_by_seeds():
    network = Reader(nn.GRU)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(ntk_parameterization(network).head.weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    first, second = (ntkflow.draw_parameters(ntk_parameterization(network), [3]) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_scales_by_layer():
    network, overrides = Vision(), {"encoder.*": {"sigma_w": 2.0}, "head": {"sigma_b": 0.0}}
    overrides |= {"encoder.layers.1.self_attn": {"sigma_qk": 3.0, "sigma_b_qk": 0.1}}
    twin = ntk_parameterization(network, attention="tied 1/d", overrides=overrides, **SCALES)
    attention = [layer.self_attn for layer in twin.encoder.layers]
    assert [each.query.sigma_w for each in attention] == [2.0, 3.0]
    assert [each.query.sigma_b for each in attention] == [0.0, 0.1]
    assert [each.value.sigma_b for each in attention] == [0.2, 0.2]
    assert (twin.patches.sigma_w, twin.patches.sigma_b) == (1.4, 0.2)
    assert twin.head.bias is None
    twin = ntk_parameterization(Reader(nn.RNN), sigma_w=2.0, overrides={"rnn": {"sigma_u": 0.5}})
    assert (twin.rnn.cells[0].hidden.sigma_w, twin.rnn.cells[0].input.sigma_w) == (2.0, 0.5)


def test_a_layer_alone_has_no_name():
    twin = ntk_parameterization(nn.Linear(3, 2), overrides={"": {"sigma_w": 2.0}})
    assert twin.sigma_w == 2.0
    with pytest.raises(ConfigurationError, match=r"^sigma_b: -1.0 is not allowed"):
        ntk_parameterization(nn.Linear(3, 2), sigma_b=-1.0, overrides={"": {"sigma_w": 2.0}})


def spread(weights):
    """Standard deviation of torch's weights, and its standard error."""
    return weights.std().item(), weights.std().item() / weights.numel() ** 0.5


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (nn.Linear(90, 80, bias=False), lambda a, b: [(a.weight, b)]),
        (nn.Conv2d(20, 40, 3, groups=2, bias=False), lambda a, b: [(a.weight, b)]),
        (nn.Embedding(90, 80), lambda a, b: [(a.weight, b)]),
        (
            nn.MultiheadAttention(60, 2, bias=False),
            lambda a, b: [
                *zip(a.in_proj_weight.chunk(3), (b.query, b.key, b.value), strict=True),
                (a.out_proj.weight, b.out),
            ],
        ),
    ],
)
def test_scales_of_torch_are_those_of_its_initialisation(layer, weights):
    twin = ntk_parameterization(layer, scales="torch", attention="many heads")
    for theirs, ours in weights(layer, twin):
        found, error = spread(theirs.detach())
        assert abs(ours.weight_scale - found) < 4 * error


def test_products_of_queries_and_keys_of_other_sizes_have_torchs_scale():
    layer = nn.MultiheadAttention(8, 2, kdim=6, vdim=5, bias=False)
    twin = ntk_parameterization(layer, scales="torch", attention="many heads")
    # Glorot: 2 / (rows + columns)
    product = (2 / 16 * 2 / 14) ** 0.5
    assert twin.query.weight_scale * twin.key.weight_scale == pytest.approx(product)
    assert twin.value.weight_scale == pytest.approx((2 / 13) ** 0.5)


@pytest.mark.parametrize(
    ("network", "options", "problem"),
    [
        (nn.Linear(3, 2), {}, "Linear: sigma_b: torch draws biases of variance .* 0.333 for this"),
        (nn.GRU(3, 2, bias=False), {}, "GRU: sigma_u: .* not seen at large width; .*sigma_u"),
        (nn.ConvTranspose1d(3, 2, 2), {"sigma_b": 0.0}, "ConvTranspose1d: sigma_w: .* by the"),
        (nn.TransformerEncoderLayer(4, 2, 8), {"attention": "many heads"},
         r"layer 'self_attn' \(Multi.*: sigma_b: torch starts these biases at zero"),
        (nn.Linear(3, 2), {"sigma_w": 1.0}, "sigma_w: 1.0 is not allowed with scales 'torch'"),
    ],
)  # fmt: skip
def test_initialisations_of_torch_without_a_limit_are_refused(network, options, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        ntk_parameterization(network, scales="torch", **options)


def test_what_torch_has_no_limit_for_is_named():
    overrides = {"rnn": {"sigma_u": 1.0}}
    twin = ntk_parameterization(Reader(nn.RNN), scales="torch", sigma_b=0.0, overrides=overrides)
    assert twin.rnn.cells[0].hidden.sigma_w == twin.head.sigma_w == 3**-0.5
    assert (twin.embed.sigma_w, twin.rnn.cells[0].input.sigma_w) == (1.0, 1.0)

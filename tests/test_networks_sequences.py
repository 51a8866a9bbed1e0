"""Embeddings, attention, recurrence and transformers against torch's own and plain autograd."""

import pytest
import torch
from torch import nn
from torch_twins import set_weights

import ntkflow
from ntkflow.errors import ConfigurationError
from ntkflow.networks import (
    GRU,
    LSTM,
    RNN,
    Dense,
    Embedding,
    GRUCell,
    LSTMCell,
    MultiheadAttention,
    RNNCell,
    TransformerEncoder,
    TransformerEncoderLayer,
)

D = {"dtype": torch.float64}
TOLERANCE = dict(rtol=1e-12, atol=1e-13)


def rows(*shape):
    return torch.randn(*shape, **D)


def test_an_embedding_is_a_dense_layer_on_one_hot_inputs():
    layer, tokens = Embedding(7, 3, sigma_w=1.5, **D), torch.tensor([[1, 6, 1], [0, 2, 3]])
    hot = nn.functional.one_hot(tokens, 7).double()
    torch.testing.assert_close(layer(tokens), 1.5 * hot @ layer.weight, **TOLERANCE)
    assert layer.fan_in == 1


def test_padding_is_zero_and_is_not_trained():
    layer = Embedding(4, 3, padding_idx=-1)
    layer(torch.tensor([3, 1])).sum().backward()
    assert layer.padding_idx == 3
    assert (layer(torch.tensor(3)) == 0).all()
    assert layer.weight.grad[3].abs().max() == 0 < layer.weight.grad[1].abs().max()


SCALINGS = [("tied 1/d", 1), ("tied 1/d", 2), ("many heads", 4), ("1/sqrt(d)", 2)]


@pytest.mark.parametrize(("scaling", "heads"), SCALINGS)
def test_attention_is_its_formula(scaling, heads):
    scales = dict(sigma_qk=1.2, sigma_v=1.1, sigma_o=1.3, sigma_b=0.1, sigma_b_v=0.2)
    layer, x = MultiheadAttention(8, heads, scaling=scaling, **scales, **D), rows(3, 5, 8)
    q, k, v = (
        sigma * x @ part.weight.T / 8**0.5
        for sigma, part in ((1.2, layer.query), (1.2, layer.key), (1.1, layer.value))
    )
    v, d = v + 0.2 * layer.value.bias, 8 // heads
    outputs = []
    for head in range(heads):
        at = slice(head * d, (head + 1) * d)
        scores = q[..., at] @ k[..., at].mT / (d if scaling == "tied 1/d" else d**0.5)
        outputs.append(torch.softmax(scores, -1) @ v[..., at])
    expected = 1.3 * torch.cat(outputs, -1) @ layer.out.weight.T / 8**0.5 + 0.1 * layer.out.bias
    torch.testing.assert_close(layer(x, x, x)[0], expected, **TOLERANCE)
    assert (layer.key is layer.query) == (scaling == "tied 1/d")


MASKS = {
    "none": {},
    "causal": {"attn_mask": torch.ones(4, 5, dtype=torch.bool).triu(2)},
    "added": {"attn_mask": torch.linspace(-1, 1, 20, **D).view(4, 5)},
    "keys": {"key_padding_mask": torch.tensor([[False] * 5, [False, True] * 2 + [True]])},
    "heads": {"attn_mask": torch.ones(4, 4, 5, dtype=torch.bool).triu(1)},
    "both": {
        "attn_mask": torch.ones(4, 5, dtype=torch.bool).triu(3),
        "key_padding_mask": torch.tensor([[False] * 5, [False] * 4 + [True]]),
    },
    "per head": {"average_attn_weights": False},
    "without weights": {"need_weights": False},
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masks", MASKS)
def test_attention_is_torchs(masks, batch_first):
    sizes = dict(kdim=6, vdim=7, batch_first=batch_first, **D)
    scales = dict(sigma_qk=1.2, sigma_b=0.1, sigma_b_v=0.2, sigma_b_qk=0.3)
    ours = MultiheadAttention(8, 2, scaling="1/sqrt(d)", **scales, **sizes)
    theirs = set_weights(nn.MultiheadAttention(8, 2, **sizes), ours)
    x = rows(2, 4, 8), rows(2, 5, 6), rows(2, 5, 7)
    x = x if batch_first else tuple(each.transpose(0, 1) for each in x)
    expected, weights = theirs(*x, **MASKS[masks])
    found, found_weights = ours(*x, **MASKS[masks])
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert (weights is None) == (found_weights is None)
    if weights is not None:
        torch.testing.assert_close(found_weights, weights, **TOLERANCE)


@pytest.mark.parametrize("scaling", ["tied 1/d", "many heads"])
def test_attention_of_one_sequence_is_torchs(scaling):
    ours = MultiheadAttention(8, 2, scaling=scaling, **D)
    theirs, x = set_weights(nn.MultiheadAttention(8, 2, **D), ours), rows(4, 8)
    torch.testing.assert_close(ours(x, x, x), theirs(x, x, x), **TOLERANCE)


@pytest.mark.parametrize(
    ("score", "function"),
    [("identity", lambda s: s), (nn.ReLU(), torch.relu), (nn.Sigmoid(), torch.sigmoid)],
)
def test_other_scores_are_zero_where_they_are_masked(score, function):
    layer, x = MultiheadAttention(4, score=score, **D), rows(2, 3, 4)
    q = layer.query(x)
    kept = torch.ones(3, 3, **D).tril()
    expected = function(q @ q.mT / 4) * kept
    for how in (dict(is_causal=True), dict(attn_mask=kept == 0)):
        output, weights = layer(x, x, x, **how)
        torch.testing.assert_close(weights, expected, **TOLERANCE)
        torch.testing.assert_close(output, layer.out(expected @ layer.value(x)), **TOLERANCE)
    _, shifted = layer(x, x, x, attn_mask=torch.ones(3, 3, **D))
    torch.testing.assert_close(shifted, function(q @ q.mT / 4 + 1), **TOLERANCE)


PAIRS = [(RNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)]
SHAPES = [
    dict(num_layers=1),
    dict(num_layers=2, bidirectional=True),
    dict(num_layers=3, batch_first=False),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("started", [False, True])
def test_recurrent_networks_are_torchs(ours, theirs, shape, started):
    shape = {"batch_first": True} | shape
    layer = ours(3, 6, sigma_w=1.4, sigma_u=1.2, sigma_b=0.3, **shape, **D)
    twin = set_weights(theirs(3, 6, **shape, **D), layer)
    h = rows(len(layer.cells), 4, 6) if started else None
    state = (h, h.flip(0)) if started and ours is LSTM else h
    x = rows(4, 5, 3) if shape["batch_first"] else rows(5, 4, 3)
    torch.testing.assert_close(layer(x, state), twin(x, state), **TOLERANCE)
    torch.testing.assert_close(layer(x[0]), twin(x[0]), **TOLERANCE)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)]
)
def test_cells_are_torchs(ours, theirs):
    cell = ours(3, 6, sigma_b=0.2, **D)
    twin, x = set_weights(theirs(3, 6, **D), cell), rows(4, 3)
    state = cell(x)
    torch.testing.assert_close(state, twin(x), **TOLERANCE)
    torch.testing.assert_close(cell(x, state), twin(x, state), **TOLERANCE)


def test_a_recurrent_network_is_its_formula():
    layer = RNN(3, 6, activation="erf", sigma_w=1.5, sigma_u=1.2, sigma_b=0.1, **D)
    cell, x, state = layer.cells[0], rows(4, 5, 3), torch.zeros(4, 6, **D)
    for step in range(5):
        h = 1.5 * state @ cell.hidden.weight.T / 6**0.5
        h = h + 1.2 * x[:, step] @ cell.input.weight.T / 3**0.5 + 0.1 * cell.input.bias
        state = torch.erf(h)
        torch.testing.assert_close(layer(x)[0][:, step], state, **TOLERANCE)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", torch.tanh])
def test_encoders_of_transformers_are_torchs(norm_first, activation):
    options = dict(activation=activation, norm_first=norm_first, batch_first=True)
    scales = dict(sigma_w=1.3, sigma_b=0.2, sigma_v=1.1, scaling="many heads", affine=True)
    layers = [TransformerEncoderLayer(8, 2, 12, **options, **scales, **D) for _ in range(2)]
    ours = TransformerEncoder(layers, nn.LayerNorm(8, **D))
    theirs = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, **options, **D)
    theirs = nn.TransformerEncoder(theirs, 2, nn.LayerNorm(8, **D), enable_nested_tensor=False)
    set_weights(theirs, ours)
    x, causal = rows(3, 4, 8), nn.Transformer.generate_square_subsequent_mask(4, **D)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE)
    expected = theirs(x, mask=causal, is_causal=True)
    torch.testing.assert_close(ours(x, mask=causal, is_causal=True), expected, **TOLERANCE)
    torch.testing.assert_close(ours(x, is_causal=True), expected, **TOLERANCE)
    padding = torch.tensor([[False] * 4, [False, False, True, True], [False] * 3 + [True]])
    expected = theirs(x, src_key_padding_mask=padding)
    torch.testing.assert_close(ours(x, src_key_padding_mask=padding), expected, **TOLERANCE)


def squares(layer, x, width):
    """Mean square of each of many networks' outputs."""
    with torch.no_grad():
        drawn = torch.stack([layer(width)(x).square().mean() for _ in range(40)])
    return drawn.mean().item(), drawn.std().item() / 40**0.5


def test_variances_at_initialisation():
    """Of E[h^2]: the embedding's, one step's, and values averaged over equal scores."""
    torch.manual_seed(0)
    x = torch.ones(1, 2, 3)

    def step(width):
        return RNNCell(3, width, "linear", sigma_u=0.8, sigma_b=0.5)

    def attention(width):
        layer = MultiheadAttention(width, sigma_qk=0.0, sigma_v=1.1, sigma_o=1.3, sigma_b=0.4)
        return lambda x: layer(*[torch.ones(1, 2, width)] * 3)[0]

    cases = [(lambda w: lambda x: Embedding(5, w, sigma_w=1.5)(torch.arange(5)), 1.5**2)]
    cases += [(step, 0.8**2 + 0.5**2), (attention, (1.1 * 1.3) ** 2 + 0.4**2)]
    for layer, expected in cases:
        mean, error = squares(layer, x, 200)
        assert abs(mean - expected) < 4 * error


def assert_kernel_of_autograd(network, x):
    kernel, plain = (
        ntkflow.empirical_ntk(network, x, method=m).values for m in ("auto", "autograd")
    )
    torch.testing.assert_close(kernel, plain, rtol=1e-10, atol=1e-12)


class First(nn.Module):
    """The first of what a layer returns."""

    def __init__(self, layer, several=1):
        super().__init__()
        self.layer, self.several = layer, several

    def forward(self, x):
        return self.layer(*[x] * self.several)[0]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: First(MultiheadAttention(6, 2, sigma_b=0.1, **D), 3),
        lambda: First(MultiheadAttention(6, 2, scaling="many heads", score="identity", **D), 3),
        lambda: First(RNN(6, 6, sigma_b=0.3, **D)),
        lambda: First(LSTM(6, 3, bidirectional=True, **D)),
        lambda: First(GRU(6, 6, num_layers=2, **D)),
        lambda: TransformerEncoderLayer(6, 2, 8, norm_first=True, sigma_b=0.1, **D),
    ],
)
def test_empirical_kernels_are_those_of_autograd(layer):
    network = nn.Sequential(Dense(4, 6, **D), layer(), nn.Flatten(), Dense(18, 2, **D))
    assert_kernel_of_autograd(network, rows(3, 3, 4))


def attend(**masks):
    return MultiheadAttention(2)(*[torch.ones(1, 3, 2)] * 3, **masks)


def test_the_empirical_kernel_of_an_embedding_is_that_of_autograd():
    network = nn.Sequential(Embedding(9, 4, **D), nn.Flatten(), Dense(12, 2, **D))
    assert_kernel_of_autograd(network, torch.tensor([[1, 2, 1], [0, 8, 3]]))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Embedding(3, 2, padding_idx=3), "padding_idx: 3 is not allowed"),
        (lambda: Embedding(3, 2, sigma_w=-1.0), "sigma_w: -1.0 is not allowed"),
        (lambda: MultiheadAttention(6, 4), "heads: 4 does not divide 6 features"),
        (lambda: MultiheadAttention(6, 0), "heads: 0 is not allowed"),
        (lambda: MultiheadAttention(6, scaling="1/d"), "scaling: '1/d' is unknown; allowed: tied"),
        (lambda: MultiheadAttention(6, score="relu"), "score: 'relu' is unknown; allowed: softmax"),
        (lambda: MultiheadAttention(6, kdim=4), "kdim: 4 is not allowed with scaling 'tied 1/d'"),
        (lambda: attend(attn_mask=torch.ones(3, 3).int()), "attn_mask: type torch.int32 is not"),
        (lambda: RNN(2, 3, activation="relus"), "activation: 'relus' is unknown"),
        (lambda: RNN(2, 3, num_layers=0), "num_layers: 0 is not allowed"),
        (lambda: GRU(2, 3, sigma_u=-1.0), "sigma_u: -1.0 is not allowed"),
        (lambda: MultiheadAttention(6, sigma_qk=-1.0), "sigma_qk: -1.0 is not allowed"),
        (lambda: MultiheadAttention(6, sigma_b_v=-1.0), "sigma_b_v: -1.0 is not allowed"),
    ],
)  # fmt: skip
def test_mistakes_name_the_value(make, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        make()


@pytest.mark.usefixtures("unchecked_types")
def test_packed_sequences_are_refused():
    packed = nn.utils.rnn.pack_sequence([torch.ones(2, 3)])
    with pytest.raises(ConfigurationError, match=r"^x: PackedSequence is not allowed"):
        RNN(3, 4)(packed)


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.a = self.b = Dense(3, 3)

    def forward(self, x):
        return self.a(torch.tanh(self.b(x)))


@pytest.mark.parametrize("make", [Twice, lambda: Attending(MultiheadAttention(3, 1))])
def test_networks_keep_their_parameters_where_layers_are_shared(make):
    network = make()
    before = list(network.parameters())
    x = torch.randn(4, 3) if make is Twice else torch.randn(4, 2, 3)
    for _ in range(2):
        weights = {name: p.detach() + 1 for name, p in network.named_parameters()}
        ntkflow.empirical_ntk(network, x, parameters=weights)
    assert all(a is b for a, b in zip(before, network.parameters(), strict=True))


class Attending(nn.Module):
    """Self-attention alone, as outputs of rows."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, x, x)[0].flatten(1)

"""Residual, recurrent and attending networks as entries of the study, and all under one name."""

import pytest
import torch
from plans import build_plan
from study_cases import DIGITS
from torch.func import functional_call
from torch.nn import functional as F

from ntkflow.empirical import empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, evaluated, has_modes, member
from ntkflow.networks.patches import PatchEmbedding, position_code
from ntkstudy.networks.architecture import ARCHITECTURES, WITHOUT_LIMIT
from ntkstudy.options import read_options
from ntkstudy.plan.entries import read_facts
from ntkstudy.plan.memory import network_size
from ntkstudy.registry import NETWORKS
from ntkstudy.subjects.fits import limit_network
from ntkstudy.subjects.networks import build_narrow, build_network

SCALES = {"sigma_w": 1.5, "sigma_b": 0.3, "bias": "normal"}
ACTIVATIONS = {"relu": torch.relu, "erf": torch.erf, "tanh": torch.tanh}
BLOCKS = {
    "resnet": {"kind": "resnet", "depth": 2, "width": 3, "activation": "erf", "kernel_size": 3},
    "rnn": {"kind": "rnn", "depth": 1, "width": 5, "activation": "erf", "sigma_state": 0.7},
    "transformer": {
        "kind": "transformer", "depth": 2, "width": 12, "heads": 3, "patch_size": 3, "padding": 1,
        "scores": "many heads", "activation": "relu",
    },
}  # fmt: skip


def drawn(block, inputs=16, outputs=2):
    network = build_network(block, inputs, outputs)
    weights = member(draw_parameters(network, [3], dtype=torch.float64), 0)
    return network, weights


def images(count, side):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, side**2, dtype=torch.float64, generator=generator)


def layers(weights):
    """Weights of layers in the order in which they are made, biases beside."""
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    return [(weights[f"{name}.weight"], weights.get(f"{name}.bias")) for name in names]


def dense(x, weight, bias, sigma_w=1.5):
    h = sigma_w * x @ weight.T / weight.shape[1] ** 0.5
    return h if bias is None else h + 0.3 * bias


def convolved(x, weight, bias):
    fan_in = weight[0].numel()
    return F.conv2d(x, 1.5 * weight / fan_in**0.5, 0.3 * bias, padding="same")


def test_resnet_is_its_formula():
    network, weights = drawn(BLOCKS["resnet"] | SCALES)
    x = images(4, 4)
    first, *blocks, last = layers(weights)
    h = convolved(x.reshape(4, 1, 4, 4), *first)
    for inner, outer in zip(blocks[::2], blocks[1::2], strict=True):
        h = h + convolved(torch.erf(convolved(torch.erf(h), *inner)), *outer)
    expected = dense(torch.erf(h).mean((2, 3)), *last)
    torch.testing.assert_close(functional_call(network, weights, (x,)), expected)


def test_rnn_reads_rows_with_the_same_weights():
    network, weights = drawn(BLOCKS["rnn"] | SCALES)
    x, states = images(4, 4), []
    (state, none), of_input, last = layers(weights)
    assert none is None
    for step, row in enumerate(x.reshape(4, 4, 4).unbind(1)):
        h = dense(row, *of_input)
        states.append(torch.erf(h + dense(states[-1], state, None, 0.7) if step else h))
    expected = dense(torch.stack(states).mean(0), *last)
    torch.testing.assert_close(functional_call(network, weights, (x,)), expected)


def test_transformer_is_its_formula():
    network, weights = drawn(BLOCKS["transformer"] | SCALES, inputs=16)
    x = images(4, 4)
    (embed, bias), *blocks, last = layers(weights)
    padded = F.pad(x.reshape(4, 4, 4), (1, 1, 1, 1))
    patches = [padded[:, i : i + 3, j : j + 3].flatten(1) for i in (0, 3) for j in (0, 3)]
    h = dense(torch.stack(patches, 1), embed, bias) + position_code(4, 12)
    for first in (0, 6):
        query, key, value, out, inner, outer = blocks[first : first + 6]
        normed = F.layer_norm(h, (12,))
        sides = (dense(normed, *query, 1.0), dense(normed, *key, 1.0), dense(normed, *value))
        q, k, v = (each.reshape(4, 4, 3, 4).transpose(1, 2) for each in sides)
        attended = torch.softmax(q @ k.mT / 2, -1) @ v
        h = h + dense(attended.transpose(1, 2).flatten(2), *out)
        h = h + dense(torch.relu(dense(F.layer_norm(h, (12,)), *inner)), *outer)
    expected = dense(h.mean(1), *last)
    torch.testing.assert_close(functional_call(network, weights, (x,)), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_a_network_of_its_kind(name):
    block = {"kind": "architecture", "architecture": name, "width": 16}
    x, sizes = images(3, 7).float(), (49, 10)
    network = build_network(block, *sizes)
    weights = member(draw_parameters(network, [0]), 0)
    assert functional_call(network, weights, (x,)).shape == (3, 10)
    options = read_options(NETWORKS["architecture"].options, block)
    same = build_network(options.block(49), *sizes)
    assert [p.shape for p in same.parameters()] == [p.shape for p in network.parameters()]
    kernel = empirical_ntk(network, x, parameters=weights, outputs="mean").values
    naive = empirical_ntk(network, x, parameters=weights, outputs="mean", method="autograd").values
    torch.testing.assert_close(kernel, naive, rtol=1e-4, atol=1e-4)
    estimate = network_size(read_facts({"task": DIGITS, "network": block}))[0]
    weights = sum(p.numel() for p in network.parameters())
    # Of a cnn a flat head is assumed.
    assert weights <= estimate <= (3 if name != "cnn" else 4) * weights


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {*WITHOUT_LIMIT, "transformer_heads"}))
def test_limits_are_those_of_any_width(name):
    block = {"kind": "architecture", "architecture": name, "width": 24}
    x = images(3, 7)
    wide = limit_kernels(build_network(block, 49, 10), x).ntk
    torch.testing.assert_close(limit_kernels(build_narrow(block, 49, 10), x).ntk, wide)
    torch.testing.assert_close(limit_kernels(limit_network(block, 49, 10), x).ntk, wide)


def test_narrow_networks_have_room_for_codes_and_heads():
    options = {"kind": "architecture", "architecture": "transformer_heads", "width": 64}
    narrow = build_narrow({key: options[key] for key in ("kind", "architecture")}, 196, 10)
    assert narrow[2].code.shape == (16, 36)
    block = BLOCKS["transformer"] | {"width": 24, "heads": 3}
    assert build_narrow(block, 16, 2)[2].code.shape == (4, 6)


def test_codes_have_an_exact_gram_matrix():
    code = position_code(6, 7)
    torch.testing.assert_close(code @ code.T / 7, torch.eye(6).double())
    torch.testing.assert_close(code.mean(1), torch.zeros(6).double())
    with pytest.raises(ConfigurationError, match="features: 6 is not allowed with 6 tokens"):
        position_code(6, 6)
    with pytest.raises(ConfigurationError, match="patch_size: 3 does not divide the image size 8"):
        PatchEmbedding(32, image_size=8, patch_size=3)


PLAIN = {
    "task": {"kind": "mnist", "train_points": 8, "test_points": 4, "image_size": 7},
    "sweep": {"network.width": [16]},
    "measurements": [{"kind": "kernel", "when": ["initialization"]}],
}
TRANSFORMER = {"kind": "transformer", "depth": 1, "width": 16, "patch_size": 7}
LSTM = {"kind": "lstm", "width": 16}
MIXED = {"kind": "architecture", "architecture": "transformer", "width": 9}
KNOWN_LIMIT = (
    "a known infinite width (network.parameterization ntk, or network.has_limit of a module; not "
    "lstm or gru)"
)
ROOM = (
    "a width above the number of patches for a transformer, 9 of 7 x 7 pixels and else 16; a "
    "multiple of 4 with a quarter of its square above that for transformer_heads"
)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"network": TRANSFORMER | {"heads": 3}},
            "network.heads: 3 is not allowed here: with width 16, 49 inputs 'transformer' needs "
            "heads that divide the width (network.heads)",
        ),
        (
            {"network": TRANSFORMER | {"patch_size": 2}},
            "network.patch_size: 2 is not allowed here: with padding 0, width 16, 49 inputs "
            "'transformer' needs patches that divide the padded images (network.patch_size, "
            "network.padding)",
        ),
        (
            {"network": TRANSFORMER | {"patch_size": 1}},
            "network.width: 16 is not allowed here: with 49 inputs 'transformer' needs more "
            "features than patches, for orthogonal codes of positions (network.width)",
        ),
        (
            {"network": LSTM, "measurements": [{"kind": "kernel", "when": ["limit"]}]},
            "measurements[0].kind: 'kernel' (limit) is not allowed here: it needs " + KNOWN_LIMIT,
        ),
        (
            {
                "network": LSTM,
                "measurements": [{"kind": "kernel_classifiers", "when": ["machines"],
                                  "fits": ["limit mean ridge"]}],
            },
            "measurements[0].kind: 'kernel_classifiers' (machines) is not allowed here: it needs "
            "layers whose infinite width is known in NTK parameterization (not lstm or gru)",
        ),
        (
            {"network": LSTM, "measurements": [{"kind": "profile", "when": ["initialization"]}]},
            "measurements[0].kind: 'profile' (initialization) is not allowed here: it needs "
            "evaluation inputs on the unit circle",
        ),
        (
            {"network": MIXED | {"architecture": "lstm", "activation": "relu"}},
            "network.activation: 'relu' is not allowed here: with normalization null, dropout 0, "
            "architecture lstm, width 16, 49 inputs 'architecture' needs network.activation null, "
            "normalization none and dropout 0 of lstm and gru",
        ),
        (
            {"network": MIXED | {"architecture": "gru", "dropout": 0.5}},
            "network.dropout: 0.5 is not allowed here: with activation null, normalization null, "
            "architecture gru, width 16, 49 inputs 'architecture' needs network.activation null, "
            "normalization none and dropout 0 of lstm and gru",
        ),
        (
            {"network": MIXED, "sweep": {"network.width": [9]}},
            "network.width: 9 is not allowed here: with architecture transformer, 49 inputs "
            f"'architecture' needs {ROOM}",
        ),
        (
            {"network": MIXED, "task": PLAIN["task"] | {"image_size": 2}},
            "network.kind: 'architecture' is not allowed here: with architecture transformer, "
            "width 16, 4 inputs it needs images of 4, 7, 14 or 28 pixels a side for a transformer",
        ),
        (
            {"network": MIXED | {"architecture": "transformer_heads"},
             "sweep": {"network.width": [18]}},
            "network.width: 18 is not allowed here: with architecture transformer_heads, 49 inputs "
            f"'architecture' needs {ROOM}",
        ),
        (
            {"network": {"kind": "cnn", "depth": 2, "width": 2}},
            "network.kind: 'cnn' is not allowed here: with padding valid, width 16, 49 inputs it "
            "needs images that are larger than what the filters take away (padding same, or fewer "
            "layers)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(changes, problem):
    with pytest.raises(ConfigurationError) as caught:
        build_plan(**(PLAIN | changes))
    [width] = (PLAIN | changes)["sweep"]["network.width"]
    assert str(caught.value) == f"a.yaml: experiments.e.{problem} (in cell width~{width})"


def test_what_can_be_is_planned():
    build_plan(**(PLAIN | {"network": TRANSFORMER | {"heads": 4}}))
    fits = [{"kind": "kernel_classifiers", "when": ["machines"], "fits": ["sample mean ridge"]}]
    build_plan(**(PLAIN | {"network": LSTM, "measurements": fits}))


MODES = {"normalization": "usual", "dropout": 0.25}


def architecture(name, **changes):
    return build_network(
        {"kind": "architecture", "architecture": name, "width": 12} | changes, 49, 10
    )


def modules(network, kind):
    return [each for each in network.modules() if isinstance(each, kind)]


@pytest.mark.parametrize(
    ("name", "norm", "norms", "masks"),
    [
        ("mlp", torch.nn.BatchNorm1d, 2, 2),
        ("cnn", torch.nn.BatchNorm2d, 2, 2),
        ("resnet", torch.nn.BatchNorm2d, 5, 5),
        ("rnn", torch.nn.LayerNorm, 1, 1),
        ("transformer", torch.nn.LayerNorm, 4, 8),
    ],
)
def test_architectures_are_normalised_and_drop_out(name, norm, norms, masks):
    network = architecture(name, **MODES)
    assert len(modules(network, norm)) == norms
    assert sum(each.p == 0.25 for each in modules(network, torch.nn.Dropout)) == masks
    plain = architecture(name, normalization="none")
    assert not modules(plain, torch.nn.LayerNorm | torch.nn.modules.batchnorm._BatchNorm)
    assert has_modes(network)
    assert [p.shape for p in plain.parameters()] == [p.shape for p in network.parameters()]


def test_normalised_networks_are_their_formulas():
    x = images(6, 7)

    def run(name, **changes):
        network = architecture(name, normalization="usual", activation="tanh", depth=1, **changes)
        weights = member(draw_parameters(network, [3], dtype=torch.float64), 0)
        return functional_call(network, weights, (x,)), layers(weights)

    def dense(h, weight, bias=None, sigma=2**0.5):
        h = sigma * h @ weight.T / weight.shape[1] ** 0.5
        return h if bias is None else h + 0.1 * bias

    found, (first, last) = run("cnn")
    h = 2**0.5 * F.conv2d(x.reshape(6, 1, 7, 7), first[0] / 3, padding=1)
    h = h + 0.1 * first[1][:, None, None]
    h = (h - h.mean((0, 2, 3), keepdim=True)) / (
        h.var((0, 2, 3), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(found, dense(h.tanh().mean((2, 3)), *last))

    found, ((state, _), of_input, last) = run("rnn")
    outputs = []
    for step, row in enumerate(x.reshape(6, 7, 7).unbind(1)):
        h = dense(row, *of_input) + (dense(outputs[-1], state, sigma=1.0) if step else 0)
        outputs.append(F.layer_norm(h, (12,)).tanh())
    torch.testing.assert_close(found, dense(torch.stack(outputs).mean(0), *last))


def test_dropout_leaves_the_evaluated_network_as_it_is():
    x = images(5, 7)
    for name in ("mlp", "cnn", "resnet", "rnn", "transformer"):
        network, plain = architecture(name, dropout=0.5), architecture(name)
        weights = member(draw_parameters(network, [0], dtype=torch.float64), 0)
        bare = dict(zip(dict(plain.named_parameters()), weights.values(), strict=True))
        found = functional_call(evaluated(network, weights, x), weights, (x,))
        torch.testing.assert_close(found, functional_call(plain, bare, (x,)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"architecture": "lstm", "dropout": 0.5}, "dropout 0 of lstm and gru"),
        ({"architecture": "gru", "normalization": "usual"}, "normalization none"),
        ({"architecture": "mlp", "normalization": "usual"}, "without dropout and batch norm"),
        ({"architecture": "cnn", "dropout": 0.1}, "without dropout and batch norm"),
    ],
)
def test_what_regularised_networks_do_not_have_is_refused(changes, problem):
    block = {"kind": "architecture", "width": 16} | changes
    with pytest.raises(ConfigurationError, match=problem):
        build_plan(
            **(PLAIN | {"network": block, "measurements": [{"kind": "kernel", "when": ["limit"]}]})
        )

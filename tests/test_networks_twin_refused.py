"""Layers without a twin in NTK parameterization, weights that stay, and mistakes."""

import pytest
import torch
from torch import nn

import ntkflow
from ntkflow import ntk_parameterization
from ntkflow.errors import ConfigurationError, UnsupportedLayerError


class OwnLinear(nn.Linear):
    pass


class OwnEncoder(nn.TransformerEncoderLayer):
    pass


class Raw(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(*shape))


class Peeking(nn.Module):
    """Registers a layer's weight a second time, to read it in the forward."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.table = self.embed.weight


def hooked():
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def sharing():
    network = nn.ModuleList([nn.RNNCell(4, 4), nn.Linear(4, 4)])
    network[1].weight = network[0].weight_hh
    return network


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (nn.Bilinear(2, 3, 4), "Bilinear has weights 'weight' of its own and no twin"),
        (nn.Sequential(Raw(3, 2)), r"layer '0' \(Raw\) has weights 'matrix'.*keep=\['0.matrix'\]"),
        (nn.EmbeddingBag(3, 2), "EmbeddingBag has weights 'weight'"),
        (OwnLinear(3, 2), "OwnLinear is a torch.nn.Linear of its own kind"),
        (OwnEncoder(4, 2, 8), "OwnEncoder is a torch.nn.TransformerEncoderLayer of its own"),
        (ntkflow.StandardLinear(3, 2), "StandardLinear is a torch.nn.Linear of its own kind"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "ParametrizedLinear is a"),
        (nn.LazyLinear(3), "LazyLinear is a torch.nn.Linear of its own kind"),
        (hooked(), "Linear has hooks"),
        (nn.Embedding(3, 2, max_norm=1.0), "Embedding: max_norm has no twin"),
        (nn.LSTM(3, 4, proj_size=2), "LSTM: proj_size has no twin"),
        (nn.MultiheadAttention(4, 2, add_bias_kv=True), "MultiheadAttention: bias_k has no twin"),
        (nn.MultiheadAttention(4, 2, add_zero_attn=True), "MultiheadAttention: add_zero_attn has"),
        (Peeking(), r"layer 'embed' \(Embedding\) shares weights with Peeking"),
        (sharing(), r"layer '1' \(Linear\) shares weights with layer '0' \(RNNCell\)"),
    ],
)
def test_layers_without_a_twin_are_refused(network, problem):
    with pytest.raises(UnsupportedLayerError, match=f"^{problem}"):
        ntk_parameterization(network, attention="tied 1/d")


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 4, 3), (1, 1, 3)])
def test_gains_and_codes_stay(shape):
    assert ntk_parameterization(Raw(*shape)).matrix.shape == shape


def test_weights_that_are_kept_stay():
    network = nn.Sequential(Raw(3, 2), nn.Linear(2, 2))
    twin = ntk_parameterization(network, keep="0.*")
    assert torch.equal(twin[0].matrix, network[0].matrix)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, r"layer 'self_attn' \(Multi.*: attention: none is chosen; .*'tied 1/d'.*'many heads'"),
        ({"attention": "many"}, "attention: 'many' is unknown; allowed: tied 1/d, many heads"),
        ({"attention": "tied 1/d", "scales": "pytorch"}, "scales: 'pytorch' is unknown"),
        ({"attention": "tied 1/d", "overrides": {"linear3": {"sigma_w": 1.0}}},
         "overrides: no layer 'linear3' has a sigma_w"),
        ({"attention": "tied 1/d", "overrides": {"linear1": {"sigma_u": 1.0}}},
         "overrides: no layer 'linear1' has a sigma_u"),
        ({"attention": "tied 1/d", "overrides": {"linear1": {"sigma": 1.0}}},
         "overrides: 'sigma' is unknown"),
        ({"attention": "tied 1/d", "overrides": {"linear1": {"sigma_w": -1.0}}},
         "sigma_w: -1.0 is not allowed"),
        ({"attention": "tied 1/d", "keep": ["code"]}, "keep: the network has no parameter 'code'"),
        ({"attention": "tied 1/d", "bias": "one", "sigma_b": 1.0},
         r"layer 'self_attn' .*bias: 'one' is unknown"),
    ],
)  # fmt: skip
def test_mistakes_name_the_value(options, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        ntk_parameterization(nn.TransformerEncoderLayer(4, 2, 8), **options)


def test_a_filter_without_a_middle_is_named():
    network = nn.Sequential(nn.Conv1d(2, 3, 2, padding="same"))
    with pytest.raises(ConfigurationError, match=r"^layer '0' \(Conv1d\): kernel_size: .* is even"):
        ntk_parameterization(network)

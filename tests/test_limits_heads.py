"""Limits of attention with many heads whose scores are sampled."""

import copy
import math
import pickle

import pytest
import torch
from limit_networks import OUTPUTS, Net, dense, sequences
from limit_sequences import attention
from torch import nn
from torch.func import jacrev

import ntkflow
from ntkflow.errors import UnsupportedLayerError
from ntkflow.limits import limit_kernels
from ntkflow.limits.scores import Elementwise, Softmax

TOKENS = 3
CLOSE = dict(rtol=1e-9, atol=1e-9)


def heads(score, width=16, pooled=True, **masks):
    """Attention with many heads, read over all tokens after a ReLU, or token by token."""

    def forward(m, x):
        h = m.embed(x)
        h = m.attention(h, h, h, need_weights=False, **masks)[0]
        return m.last(torch.relu(h).mean(1) if pooled else h.flatten(1))

    count = 2 ** round(math.log2(width) / 2)
    return Net(
        forward,
        embed=dense(4, width),
        attention=attention(width, "many heads", score, count),
        last=dense(width if pooled else TOKENS * width, OUTPUTS),
    )


def limits(network, x=None, x2=None, **options):
    x = sequences(t=TOKENS) if x is None else x
    return ntkflow.limit_kernels(network, x, x2, **dict(samples=64) | options)


@pytest.fixture(scope="module")
def found():
    return limits(heads("softmax"))


def deviation(found, expected):
    """Largest distance in standard errors."""
    return max(
        ((a - b).abs() / e).max().item()
        for a, b, e in zip(found, expected, found.errors, strict=True)
    )


def draws(make, x, count=12):
    tangent, products = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        network = make().eval()
        with torch.no_grad():
            f = network(x)
        tangent.append(ntkflow.empirical_ntk(network, x, outputs="trace").values / OUTPUTS)
        products.append(f @ f.T / OUTPUTS)
    return torch.stack(products), torch.stack(tangent)


@pytest.mark.parametrize("score", ["softmax", nn.Tanh()])
def test_wide_networks_agree_within_errors(score):
    def make():
        return heads(score, width=256, is_causal=True)

    limit = limits(make(), samples=2048)
    for samples, mean, error in zip(
        draws(make, sequences(t=TOKENS)), limit, limit.errors, strict=True
    ):
        allowed = 5 * (samples.var(0) / len(samples) + error**2).sqrt() + mean.abs() / 128
        assert ((samples.mean(0) - mean).abs() < allowed).all()
        assert ((samples.mean(0) - 2 * mean).abs() > allowed).any()


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("is_causal", [True, False])
def test_identity_by_sampling_is_the_closed_form(pooled, is_causal):
    exact = limits(heads("identity", pooled=pooled, is_causal=is_causal))
    assert exact.errors is None
    sampled = limits(heads(nn.Identity(), pooled=pooled, is_causal=is_causal), samples=2048)
    assert type(sampled) is ntkflow.SampledKernels
    assert deviation(sampled, exact) < 4
    for kernel, error in zip(exact, sampled.errors, strict=True):
        assert error.max() < 0.1 * kernel.max()


def test_errors_shrink_with_the_root_of_the_samples():
    def error(samples):
        found = [limits(heads("softmax"), samples=samples, seed=k).errors for k in range(2)]
        return torch.stack([torch.stack(tuple(each)) for each in found]).square().mean().sqrt()

    assert 2.5 < error(64) / error(1024) < 6  # 4


def test_kernels_are_symmetric_and_the_same_in_any_tile(found):
    network, x = heads("softmax"), sequences(t=TOKENS)
    tiles = limits(network, x, tile=2)
    crossed = limits(network, x[:2], x[1:], tile=1)
    back = limits(network, x[1:], x[:2])
    for k in range(2):
        torch.testing.assert_close(tiles[k], found[k], **CLOSE)
        torch.testing.assert_close(crossed[k], found[k][:2, 1:], **CLOSE)
        torch.testing.assert_close(back[k], crossed[k].mT, **CLOSE)


def test_equal_inputs_have_equal_entries_and_near_ones_small_angles():
    x = sequences(n=1, t=TOKENS)
    x = torch.cat([x, x, x + 1e-4])
    nngp, _ = limits(heads("softmax"), x)
    torch.testing.assert_close(nngp[0, 1], nngp[0, 0], rtol=1e-12, atol=0)
    gap = 1 - nngp[0, 2] / (nngp[0, 0] * nngp[2, 2]).sqrt()
    assert 0 < gap < 1e-6


def test_a_seed_names_the_samples(found):
    again, other = (limits(heads("softmax"), seed=seed) for seed in (0, 1))
    assert torch.equal(again.ntk, found.ntk)
    assert torch.equal(again.errors.ntk, found.errors.ntk)
    assert not torch.equal(other.ntk, found.ntk)
    assert deviation(other, found) < 8


def test_sampled_kernels_unpack_and_copy(found):
    nngp, _ = found
    assert nngp is found.nngp
    assert isinstance(found, ntkflow.LimitKernels)
    for same in (copy.copy(found), pickle.loads(pickle.dumps(found))):
        assert torch.equal(same.errors.ntk, found.errors.ntk)
    alone = limits(heads("softmax"), only="ntk")
    assert alone.nngp is alone.errors.nngp is None
    assert torch.equal(alone.ntk, found.ntk)


def test_a_mask_that_is_added_counts(found):
    mask = torch.linspace(-3, 3, TOKENS**2, dtype=torch.float64).view(TOKENS, TOKENS).sin()
    masked = limits(heads("softmax", attn_mask=3 * mask))
    assert not torch.allclose(masked.ntk, found.ntk, rtol=0.1)
    shifted = limits(heads("softmax", attn_mask=torch.full_like(mask, 2.0)))
    torch.testing.assert_close(shifted.ntk, found.ntk, **CLOSE)


def test_float32_agrees(found):
    rounded = limits(heads("softmax"), dtype=torch.float32)
    torch.testing.assert_close(rounded.ntk.double(), found.ntk, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_of_torch_has_a_limit(norm_first):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    network = nn.Sequential(nn.Linear(4, 16), encoder, nn.Flatten(), nn.Linear(TOKENS * 16, 1))
    twin = ntkflow.ntk_parameterization(network, attention="many heads").eval()
    found = limits(twin)
    for kernel, error in zip(found, found.errors, strict=True):
        assert torch.linalg.eigvalsh(kernel).min() > 0
        assert (error < 0.1 * kernel.diagonal().max()).all()


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("kind", [Softmax, lambda mask: Elementwise(torch.tanh, mask)])
def test_changes_of_weights_are_those_of_autograd(kind, crossed):
    mask = torch.full((3, 4), -math.inf, dtype=torch.float64).triu(2)
    score, generator = kind(mask), torch.Generator().manual_seed(0)
    g = torch.randn(2, 3, 1, 4, dtype=torch.float64, generator=generator)
    values, theta = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=generator)
    slopes = [score.drawn(each[None]).slopes for each in g]
    found = score.changes(*slopes, values, theta, crossed)[0]

    jacobians = [_jacobian(kind, mask, each[:, 0]) for each in g]
    expected = torch.einsum("tsp,urq,sr,pq->tu", *jacobians, values[0], theta[0])
    torch.testing.assert_close(found, expected if crossed else expected.diagonal())


def _jacobian(kind, mask, scores):
    """dA[t, s] / dG[t, r]."""

    def weights(g):
        if kind is Softmax:
            return torch.softmax(g + mask, -1)
        return torch.tanh(g) * (mask == 0)

    return torch.einsum("tstr->tsr", jacrev(weights)(scores))


def test_one_layer_with_and_without_a_mask_that_is_added_is_refused():
    def twice(m, x):
        h = m.embed(x)
        added = torch.linspace(-1, 0, 25, dtype=torch.float64).view(5, 5)
        plain, masked = (m.attention(h, h, h, attn_mask=each)[0] for each in (None, added))
        return m.last((plain + masked).mean(1))

    network = Net(
        twice,
        embed=dense(4, 16),
        attention=attention(16, "many heads", "identity", 4),
        last=dense(16, 1),
    )
    with pytest.raises(UnsupportedLayerError, match=r"attention \(Multi.*in another way"):
        limit_kernels(network, sequences())

"""Products and backward passes in pieces of any size agree with plain autograd."""

import math

import pytest
import torch
from torch import nn

from ntkflow import empirical_ntk, gradient_norms
from ntkflow.empirical import factors, layer_factors, layerwise, products
from ntkflow.empirical.factors import GramFactor, JacobianFactor, ReadoutFactor
from ntkflow.empirical.factors import TiedFactor as Tied
from ntkflow.empirical.layout import Layout, Sizes
from ntkflow.empirical.products import fill_products

SIZES = {
    "one pair of places, one output": Sizes(1, 1),
    "some places, some outputs": Sizes(700, 250),
    "everything at once": Sizes(10**6, 10**6),
}


@pytest.fixture(params=SIZES)
def sizes(request, monkeypatch):
    """Tiles so small that outputs, rows and places are split, and so large that nothing is."""
    monkeypatch.setattr(Sizes, "on", classmethod(lambda cls, device: SIZES[request.param]))


def draw(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("mode", ["block", "diagonal", "trace"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("places", "width"), [(1, 2), (6, 2), (6, 9)])
@pytest.mark.parametrize("one_side", [False, True])
def test_sum_of_products_is_the_formula(
    sizes, mode, places, width, symmetric, one_side, monkeypatch
):
    monkeypatch.setattr(products, "one_side_cost", lambda *sizes: 0 if one_side else math.inf)
    outputs, n1, n2 = 3, 18, 18 if symmetric else 5
    left = [draw(places, n1, 2, seed=0), draw(places, outputs, n1, width, seed=1)]
    rows = draw(outputs, n1, 7, seed=2)
    right, rows2 = (left, rows) if symmetric else ([], draw(outputs, n2, 7, seed=5))
    right = right or [draw(places, n2, 2, seed=3), draw(places, outputs, n2, width, seed=4)]
    expected = torch.einsum("tna,uma,tonc,upmc->opnm", left[0], right[0], left[1], right[1])
    expected += torch.einsum("onk,pmk->opnm", rows, rows2)
    layout = Layout(mode, outputs)
    values = layout.empty(n1, n2, rows).fill_(torch.nan)
    pair = [[GramFactor(*side), JacobianFactor(j)] for side, j in ((left, rows), (right, rows2))]
    fill_products(zip(*pair, strict=True), layout, values, symmetric)
    if symmetric:
        layout.mirror(values, slice(None), slice(None))
        assert torch.equal(values, layout.transpose(values))
    wanted = {
        "block": expected,
        "diagonal": torch.einsum("oonm->onm", expected),
        "trace": torch.einsum("oonm->nm", expected),
    }
    assert torch.allclose(values, wanted[mode], rtol=1e-13, atol=1e-13)


def test_turned_rows_meet_rows_and_places_in_the_order_of_the_weight():
    gradients, inputs = draw(4, 3, 5, 8, seed=0), draw(4, 5, 6, seed=1)
    places = GramFactor(inputs, gradients)
    upright = torch.einsum("tonc,tnd->oncd", gradients, inputs).flatten(2)
    turned = JacobianFactor(torch.einsum("tonc,tnd->ondc", gradients, inputs).flatten(2), 8)
    expected = torch.einsum("onk,pmk->opnm", upright, upright)
    for pair in (turned, turned), (turned, places), (places, turned):
        assert torch.allclose(filled_with(*pair, 3, 5), expected, rtol=1e-13, atol=1e-13)
    weights = draw(3, seed=2)
    assert torch.allclose(turned.gradient(weights, 1), weights @ upright[:, 1], rtol=1e-13)
    assert torch.equal(turned.first().upright().rows, turned.upright().rows[:, :1])


def filled_with(factor, other, outputs, rows):
    layout = Layout("block", outputs)
    values = layout.empty(rows, rows, torch.empty(0, dtype=torch.float64))
    fill_products([(factor, other)], layout, values, symmetric=False)
    return values


def test_few_pairs_of_places_are_taken_one_by_one():
    term = GramFactor(draw(6, 4, 2, seed=0), draw(6, 3, 4, 2, seed=1))
    (whole,) = term.terms(term)
    sizes = [(len(part.left), len(part.right)) for part in whole.split(factors.FEW_PLACES - 1)]
    assert sizes == [(1, 1)] * 36
    assert [(len(p.left), len(p.right)) for p in whole.split(13)] == [(2, 6)] * 3


class Doubled(torch.autograd.Function):
    """Twice its input, by a backward pass that torch cannot vectorise."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(2 * gradient.numpy())


class Scaled(nn.Module):
    def forward(self, x):
        return Doubled.apply(torch.tanh(x))


@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize("middle", [nn.Tanh, Scaled])
def test_gradients_of_several_outputs_at_once(monkeypatch, size, middle):
    """In one pass, output by output, and output by output where one pass fails."""
    monkeypatch.setattr(layerwise, "GRADIENT_BYTES", size)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 2), middle(), nn.Flatten(), nn.Linear(27, 4)).double()
    x = draw(3, 1, 4, 4, seed=0)
    for outputs in ("block", [2, 0], "trace"):
        found = empirical_ntk(network, x, outputs=outputs, method="layerwise").values
        plain = empirical_ntk(network, x, outputs=outputs, method="autograd").values
        assert torch.allclose(found, plain, rtol=1e-12, atol=1e-12)


class TiedReadout(nn.Module):
    """Scores of all words at the last place by the table of their embeddings."""

    def __init__(self, words=40):
        super().__init__()
        self.table, self.middle = nn.Embedding(words, 3), nn.Linear(3, 3)

    def forward(self, ids):
        h = torch.tanh(self.middle(self.table(ids)))
        h = h + torch.tanh(h).mean(1, keepdim=True)
        return (h @ self.table.weight.T)[:, -1, :5]


@pytest.fixture
def tied():
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (4, 6), generator=torch.Generator().manual_seed(0))
    return TiedReadout().double().eval(), ids


@pytest.mark.parametrize("outputs", ["block", "diagonal", "trace"])
@pytest.mark.parametrize("cross", [False, True])
def test_a_table_that_also_multiplies_meets_itself_in_both_uses(tied, outputs, cross, monkeypatch):
    network, ids = tied
    monkeypatch.setattr(layer_factors, "prefers_rows", lambda task, sizes: False)
    made = []
    monkeypatch.setattr(layer_factors, "TiedFactor", lambda *each: made.append(each) or Tied(*each))
    sides = (ids, ids[:, 2:]) if cross else (ids,)
    found = empirical_ntk(network, *sides, outputs=outputs, method="layerwise").values
    expected = empirical_ntk(network, *sides, outputs=outputs, method="autograd").values
    assert made
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_norms_of_gradients_of_a_tied_table_count_both_uses(tied, monkeypatch):
    network, ids = tied
    monkeypatch.setattr(layer_factors, "prefers_rows", lambda task, sizes: False)
    norms = gradient_norms(network, ids, parameters="table.weight")
    expected = empirical_ntk(network, ids, parameters="table.weight", method="autograd").values
    expected = expected.diagonal(0, 0, 1).diagonal(0, 0, 1).sqrt()
    torch.testing.assert_close(norms, expected, rtol=1e-12, atol=1e-12)


def test_places_without_a_gradient_are_left_out(tied, monkeypatch):
    network, ids = tied
    places = []
    gram = layer_factors._gram
    monkeypatch.setattr(layer_factors, "_gram", lambda parts: places.append(parts) or gram(parts))
    monkeypatch.setattr(layer_factors, "prefers_rows", lambda task, sizes: False)
    empirical_ntk(network, ids, method="layerwise")
    found = {p.seen.use.names[0]: p.at_places.shape[2] for parts in places for p in parts}
    assert found == {"table.weight": 1, "middle.weight": 6}


@pytest.mark.parametrize("mode", ["trace", "diagonal", "block"])
def test_products_of_long_rows_are_as_exact_as_those_of_short_ones(mode):
    rows = torch.randn(2, 3, 2**18, generator=torch.Generator().manual_seed(0))
    found, expected = (
        filled(JacobianFactor(each), Layout(mode, 2), len(rows[0]))
        for each in (rows, rows.double())
    )
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()


def filled(factor, layout, count):
    values = layout.empty(count, count, factor.rows)
    fill_products([(factor, factor)], layout, values, symmetric=False)
    return values


def test_features_of_a_long_readout_are_multiplied_as_exactly():
    rows = torch.randn(3, 2**18, generator=torch.Generator().manual_seed(0))
    found, expected = (
        ReadoutFactor(each).gram(ReadoutFactor(each)) for each in (rows, rows.double())
    )
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()

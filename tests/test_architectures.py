"""Kernels of toy networks of every kind are those of plain autograd, however they are asked for."""

import re
from functools import cache
from itertools import cycle

import pytest
import torch
from architectures import (
    ARCHITECTURES,
    PRODUCTS_BY_PLAIN_AUTOGRAD,
    build,
)
from never_wrong_networks import plain_kernels

from ntkflow import empirical_ntk, ntk_operator
from ntkflow.errors import NtkflowError

torch.set_num_threads(1)

# torch says so where vmap falls back on a loop.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

FAST = ["layerwise", "jacobian", "vector_product"]
CONVENTIONS = ["block", "diagonal", "trace", "mean", "int", "list"]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 2e-6}
TAKEN = [name for name, each in ARCHITECTURES.items() if "auto" not in each.refused]


@cache
def plain(name):
    """Block kernel of all five rows in float64, row by row and output by output."""
    network, x1, x2 = build(name)
    x = torch.cat([x1, x2])
    return sum(plain_kernels(network, x, x).values())


def expected(name, outputs, columns):
    """The kernel of the first three rows with some rows, from the block kernel."""
    block = plain(name)[..., :3, columns]
    if isinstance(outputs, int):
        return block[outputs, outputs]
    if isinstance(outputs, list):
        return block[outputs][:, outputs]
    diagonal = block.diagonal().movedim(-1, 0)
    return {
        "block": block,
        "diagonal": diagonal,
        "trace": diagonal.sum(0),
        "mean": diagonal.mean(0),
    }[outputs]


def asked_for(name, convention):
    """The value of `outputs=`: an output and a list of outputs are the last, and first."""
    last = len(plain(name)) - 1
    return {"int": last, "list": [last, 0] if last else [0]}.get(convention, convention)


def right(found, plainly):
    """Relative to the largest entry of the kernel."""
    assert not isinstance(found, str), found
    assert found.shape == plainly.shape
    deviation = (found.double() - plainly).abs().max()
    assert deviation <= TOLERANCES[found.dtype] * plainly.abs().max()


def found_or_refusal(name, dtype, method):
    """Cross kernel, or the words of the error."""
    network, x1, x2 = build(name, dtype)
    try:
        return empirical_ntk(network, x1, x2, method=method).values
    except NtkflowError as error:
        return str(error)


SLOWEST = pytest.param("vector_product", marks=pytest.mark.slow)


@pytest.mark.parametrize("method", ["auto", "layerwise", "jacobian", SLOWEST])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cross_kernel_is_right_or_refused_as_listed(name, method):
    found = found_or_refusal(name, torch.float64, method)
    if method in ARCHITECTURES[name].refused:
        assert re.match(r"(method|network|layer)\b.*: [^\n]+\Z", found)
    else:
        right(found, expected(name, "block", slice(3, 5)))


@pytest.mark.parametrize(("name", "convention"), list(zip(TAKEN, cycle(CONVENTIONS))))
def test_one_row_at_a_time(name, convention):
    """Each network in one convention here, in all of them below."""
    network, x, _ = build(name)
    outputs = asked_for(name, convention)
    found = empirical_ntk(network, x, outputs=outputs, memory_budget=1).values
    right(found, expected(name, outputs, slice(3)))


@pytest.mark.parametrize("name", TAKEN[::4])
def test_single_precision(name):
    """Some networks here, all of them below."""
    found = found_or_refusal(name, torch.float32, "auto")
    assert found.dtype == torch.float32
    right(found, expected(name, "block", slice(3, 5)))


def by_vectors(block):
    """The matrix (N1 O, N2 O) of a block kernel."""
    return block.permute(2, 0, 3, 1).flatten(0, 1).flatten(1)


def right_products(operator, matrix):
    """Both ways, of one vector and of several."""
    torch.manual_seed(1)
    left, vectors = (torch.randn(size, 2, dtype=torch.float64) for size in matrix.shape)
    right(operator @ vectors, matrix @ vectors)
    right(operator @ vectors[:, 0], matrix @ vectors[:, 0])
    right(operator.T @ left, matrix.T @ left)


def check_operator(name, memory_budget):
    network, x1, x2 = build(name)
    symmetric = ntk_operator(network, x1, memory_budget=memory_budget)
    by_rows = symmetric.method == "autograd"
    assert by_rows == (name in PRODUCTS_BY_PLAIN_AUTOGRAD)
    right_products(symmetric, by_vectors(expected(name, "block", slice(3))))
    outputs = asked_for(name, "list")
    cross = ntk_operator(network, x1, x2, outputs=outputs, memory_budget=memory_budget)
    right_products(cross, by_vectors(expected(name, outputs, slice(3, 5))))


@pytest.mark.parametrize("name", TAKEN)
def test_operator_one_row_at_a_time(name):
    check_operator(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_operator(name):
    check_operator(name, None)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(TAKEN)))
def test_operator_is_refused_as_listed(name):
    network, x, _ = build(name)
    with pytest.raises(NtkflowError, match=r"\A(network|layer)\b.*: [^\n]+\Z"):
        ntk_operator(network, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_operator_in_single_precision(name):
    network, x1, x2 = build(name, torch.float32)
    operator, matrix = (
        ntk_operator(network, x1, x2),
        by_vectors(expected(name, "block", slice(3, 5))),
    )
    vector = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(1))
    right(operator @ vector, matrix @ vector.double())


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_every_convention(name):
    network, x1, x2 = build(name)
    for convention in CONVENTIONS:
        outputs = asked_for(name, convention)
        kernel = empirical_ntk(network, x1, x2, outputs=outputs, by_layer=True)
        right(kernel.values, expected(name, outputs, slice(3, 5)))
        right(sum(kernel.by_parameter.values()), kernel.values)


def turns():
    """Methods that take each network, and a convention in turn for each of them."""
    takers = [
        (name, method)
        for name in TAKEN
        for method in ("autograd", *FAST)
        if method not in ARCHITECTURES[name].refused
    ]
    turns = zip(takers, cycle(CONVENTIONS), strict=False)
    return [(name, method, turn) for (name, method), turn in turns]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method", "convention"), turns())
def test_conventions_by_every_method(name, method, convention):
    network, x1, x2 = build(name)
    outputs = asked_for(name, convention)
    options = dict(method=method, outputs=outputs)
    symmetric = empirical_ntk(network, x1, memory_budget=1, **options).values
    right(symmetric, expected(name, outputs, slice(3)))
    cross = empirical_ntk(network, x1, x2, **options).values
    right(cross, expected(name, outputs, slice(3, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "autograd", *FAST])
@pytest.mark.parametrize("name", TAKEN)
def test_single_precision_by_every_method(name, method):
    if method not in ARCHITECTURES[name].refused:
        found = found_or_refusal(name, torch.float32, method)
        right(found, expected(name, "block", slice(3, 5)))


def test_a_wrong_kernel_is_noticed():
    plainly = plain("gpt2")
    with pytest.raises(AssertionError):
        right(plainly + 1e-9 * plainly.abs().max(), plainly)

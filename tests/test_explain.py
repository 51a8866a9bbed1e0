"""What `explain` says is what `empirical_ntk` does."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ntkflow
from ntkflow.empirical import jacobian, layerwise
from ntkflow.errors import ConfigurationError, UnsupportedLayerError


class Net(nn.Module):
    """A network of these layers with this forward pass."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def tied():
    """The weight of `a` acts in its matrix product, and in an arctangent beside it."""
    return Net(
        lambda net, x: net.b(torch.atan2(net.a(x), net.a.weight[0])),
        a=nn.Linear(4, 4), b=nn.Linear(4, 9),
    )  # fmt: skip


def uncalled():
    layers = dict(a=nn.Linear(4, 4), b=nn.Linear(4, 9))
    return Net(lambda net, x: net.b(torch.atan2(x, net.a.weight[0])), **layers)


def from_the_left():
    """A weight that multiplies columns."""
    return Net(lambda net, x: net.b((net.a.weight @ x.T).T), a=nn.Linear(4, 3), b=nn.Linear(3, 9))


def multiplied():
    """Two parameters that meet each other first."""
    return Net(lambda net, x: net.b(x * (net.a.weight * net.a.bias)[0]),
        a=nn.Linear(4, 1), b=nn.Linear(4, 9),
    )  # fmt: skip


def scaled():
    """A gain of a weight, not of rows."""
    return Net(
        lambda net, x: net.b(x @ (net.a.bias * net.b.weight.sin()[:4, :4])),
        a=nn.Linear(1, 4), b=nn.Linear(4, 9, bias=False),
    )  # fmt: skip


def across():
    """A convolution along the axis of the rows."""
    return Net(lambda net, x: net.b(net.a(x.T[None])[0].T), a=nn.Conv1d(4, 3, 1), b=nn.Linear(3, 9))


def grouped():
    layers = nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten()
    return nn.Sequential(nn.Unflatten(1, (2, 4, 4)), *layers, nn.Linear(16, 3))


def shifted():
    """A layer on inputs whose rows are on the second axis."""
    return Net(lambda net, x: net.b(net.a(x[None]).tanh()[0]), a=nn.Linear(4, 3), b=nn.Linear(3, 9))


def mostly_arctangents():
    return Net(
        lambda net, x: net.b(torch.atan2(x[:, :, None], net.a.weight).sum(1)),
        a=nn.Linear(9, 4, bias=False), b=nn.Linear(9, 1),
    )  # fmt: skip


def row_by_row():
    return Net(lambda net, x: torch.cat([net.a(row[None]) for row in x]), a=nn.Linear(4, 2))


def looping():
    """A loop on numbers, which torch.func does not take."""

    def run(net, x):
        return torch.stack([net.a(row) * (2.0 if row[0].item() > 0 else 1.0) for row in x])

    return Net(run, a=nn.Linear(4, 2))


def recursive():
    """A layer that acts three times."""
    return Net(lambda net, x: net.a(net.a(net.a(x).tanh()).tanh()), a=nn.Linear(4, 4))


# Network, inputs, method, and the reason that some parameters go a slower way.
KNOWN = "^matrix product, a known operation, which this method does without$"
UNLIKE = "^three rows meet other operations than two$"
CASES = {
    "dense": (lambda: ntkflow.mlp(4, [6, 5], 2, sigma_b=0.1), 4, "layerwise", {}),
    "normalised": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)), 4, "layerwise", {}
    ),
    "grouped": (grouped, 32, "layerwise", {}),
    "shifted": (shifted, 4, "layerwise", {}),
    "recursive": (recursive, 4, "layerwise", {}),
    "tied": (tied, 4, "layerwise", {"a.weight": "^read by Atan2, which no rule covers$"}),
    "uncalled": (uncalled, 4, "layerwise", {"a.weight": "^read by Atan2, which no rule covers$"}),
    "from the left": (
        from_the_left, 4, "layerwise", {"a.weight": "^read by Mm, in a form that no rule covers$"}
    ),
    "multiplied": (multiplied, 4, "layerwise", {}),
    "scaled": (scaled, 4, "layerwise", {}),
    "across": (
        across, 4, "layerwise",
        dict.fromkeys(("a.weight", "a.bias"), "^the rows are not the first axis of its convolution")
    ),
    "most elsewhere": (
        mostly_arctangents, 4, "jacobian",
        {"a.weight": "^read by Atan2", "b.weight": KNOWN, "b.bias": KNOWN},
    ),
    "row by row": (row_by_row, 4, "jacobian", dict.fromkeys(("a.weight", "a.bias"), UNLIKE)),
    "looping": (looping, 4, "autograd", dict.fromkeys(("a.weight", "a.bias"), UNLIKE)),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    make, inputs, method, reasons = CASES[request.param]
    return make().double(), torch.randn(6, inputs, dtype=torch.float64), method, reasons


def spied(monkeypatch, module):
    """Names and numbers of rows with which a module asks for Jacobian rows."""
    calls, real = [], module.jacobian_factors

    def recorded(task, x, names):
        calls.append((list(names), len(x)))
        return real(task, x, names)

    monkeypatch.setattr(module, "jacobian_factors", recorded)
    return calls


def test_method_and_ways_are_those_of_the_kernel(case, monkeypatch):
    network, x, method, reasons = case
    summary = ntkflow.explain(network, x)
    calls = spied(monkeypatch, layerwise)
    kernel = ntkflow.empirical_ntk(network, x)
    assert summary.method == kernel.method == method
    ways = {each.name: each for each in summary.parameters}
    assert list(ways) == [name for name, _ in network.named_parameters()]
    others = [name for name, each in ways.items() if each.way not in ("layer", "none")]
    if method == "layerwise":
        # a.bias of "uncalled" does nothing
        asked = {name for names, _ in calls for name in names}
        assert asked == set(others)
    assert set(others) == set(reasons)
    for name, reason in reasons.items():
        assert re.search(reason, ways[name].reason), name
    assert [each.size for each in ways.values()] == [p.numel() for p in network.parameters()]


class Single(nn.Module):
    """One parameter in an operation, of which three outputs are kept."""

    def __init__(self, function, shape):
        super().__init__()
        self.p, self.function = nn.Parameter(torch.randn(shape)), function

    def forward(self, x):
        return self.function(x, self.p).flatten(1)[:, :3]


# What one parameter meets, inputs of a row, and how that is told.
OPERATIONS = {
    "matrix product at 5 places": (lambda x, w: x @ w, (4, 3), (5, 4)),
    "convolution at 4 places": (lambda x, w: F.conv1d(x, w), (3, 2, 2), (2, 5)),
    "transposed convolution at 5 places": (
        lambda x, w: F.conv_transpose1d(x, w), (2, 3, 2), (2, 5)
    ),
    "grouped convolution at 4 places": (
        lambda x, w: F.conv1d(x, w, groups=2), (4, 1, 2), (2, 5)
    ),
    "layer normalisation at 5 places": (lambda x, w: F.layer_norm(x, (4,), w), (4,), (5, 4)),
    "group normalisation at 5 places": (lambda x, w: F.group_norm(x, 2, w), (4,), (4, 5)),
    "elementwise product at 2 places": (lambda x, w: x * w, (3,), (2, 3)),
    "elementwise product": (lambda x, w: x * w, (2, 3), (2, 3)),
    "elementwise sum at 6 places": (lambda x, w: x + w, (1,), (2, 3)),
    "PReLU at 6 places": (lambda x, w: F.prelu(x, w), (1,), (2, 3)),
    "elementwise product at 2 places, layer normalisation at 2 places": (
        lambda x, w: F.layer_norm(x * w, (3,), w), (3,), (2, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("told", OPERATIONS)
def test_operations_have_names_and_places(told):
    torch.manual_seed(0)
    function, shape, inputs = OPERATIONS[told]
    network, x = Single(function, shape).double(), torch.randn(4, *inputs).double()
    (only,) = ntkflow.explain(network, x).parameters
    assert only.way == "layer"
    assert ntkflow.empirical_ntk(network, x).method == "layerwise"
    # Operations of one parameter are met from the outputs on; their order is no promise.
    assert sorted(only.reason.split(", ")) == sorted(told.split(", "))


def test_tables_and_loops_are_counted():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 3))
    ways = ntkflow.explain(network, torch.randint(0, 7, (6, 5))).parameters
    assert [each.reason for each in ways] == ["embedding at 5 places", *["matrix product"] * 2]
    ways = ntkflow.explain(recursive(), torch.randn(3, 4)).parameters
    assert [each.reason for each in ways] == ["matrix product at 3 places"] * 2


def test_a_parameter_that_does_nothing_is_told():
    network, x = uncalled(), torch.randn(3, 4)
    ways = {each.name: each for each in ntkflow.explain(network, x).parameters}
    assert ways["a.bias"][2:] == ("none", "does not act on the outputs")
    assert not ntkflow.empirical_ntk(network, x, by_layer=True).by_parameter["a.bias"].any()


def test_refusals_are_told():
    torch.manual_seed(0)
    summary = ntkflow.explain(looping(), torch.randn(6, 4))
    assert list(summary.refused) == ["layerwise", "jacobian"]
    assert summary.refused["layerwise"] == "has most parameters in other operations"
    assert summary.refused["jacobian"].startswith("fails on this network (")
    assert summary.refused["jacobian"].endswith(".)")  # the first sentence of torch
    assert all(len(reason) < 150 for reason in summary.refused.values())
    assert "not taken   layerwise: has most parameters in other operations" in str(summary)


@pytest.mark.parametrize("rows", [(1, 5), (5, 1), (5, 5), (1, None)])
@pytest.mark.parametrize("known", [True, False])
def test_functions_go_the_ways_of_modules(rows, known):
    x1 = torch.randn(rows[0], 4).double()
    x2 = None if rows[1] is None else torch.randn(rows[1], 4).double()
    parameters = {"w": torch.randn(4, 2).double()}

    def network(p, x):
        return (x @ p["w"] if known else torch.atan2(x[..., None], p["w"]).sum(1)).tanh()

    summary = ntkflow.explain(network, x1, x2, parameters=parameters)
    kernel = ntkflow.empirical_ntk(network, x1, x2, parameters=parameters)
    slow = "vector_product" if 1 in rows else "jacobian"
    assert summary.method == kernel.method == ("layerwise" if known else slow)
    (only,) = summary.parameters
    assert only.reason == ("matrix product" if known else "read by Atan2, which no rule covers")
    assert any("100% of the parameters go a slower way" in e for e in summary.faster) != known


def test_several_inputs_of_two_lengths():
    torch.manual_seed(0)
    network = Net(lambda net, pair: net.a(pair[0]).mean(1) * pair[1], a=nn.Linear(4, 3))
    network.forward = lambda x, y: network.run(network, (x, y))
    x1, x2 = ((torch.randn(n, t, 4), torch.randn(n, 1)) for n, t in ((6, 2), (5, 7)))
    summary = ntkflow.explain(network, x1, x2)
    kernel = ntkflow.empirical_ntk(network, x1, x2)
    assert summary.method == kernel.method == "layerwise"
    assert summary.shape == (6, 5, 3)
    assert summary.kernel_bytes == kernel.values.nbytes
    # those of the longer side
    assert summary.parameters[0].reason == "matrix product at 7 places"
    longer = ntkflow.explain(network, x2)
    assert summary.operations[:2] == longer.operations[:2]
    assert summary.blocks.row_bytes == longer.blocks.row_bytes


@pytest.mark.parametrize("outputs", ["block", "trace"])
def test_operations_of_a_dense_network_are_those_of_the_formula(outputs):
    d, width, o, n = 7, 11, 3, 40
    layers = nn.Linear(d, width, bias=False), nn.Tanh(), nn.Linear(width, o, bias=False)
    network, x = nn.Sequential(*layers).double(), torch.randn(n, d).double()
    found = ntkflow.explain(network, x, outputs=outputs).operations
    # <x, x'>, <g, g'> for the pairs of outputs, <a, a'>; two operations a multiply-add
    products = o * o * width if outputs == "block" else o * width
    assert found.pair == 2 * (d + products + width)
    # forward, and backward through the last layer for each output
    assert found.row == 2 * (d * width + width * o) + o * 2 * width * o
    assert found.total == pytest.approx(n * found.row + n * n * found.pair, rel=0.02)


@pytest.mark.parametrize(
    ("rows", "function", "memory_budget"),
    [
        ((60, None), False, None),
        ((60, None), False, 20_000),
        ((30, 50), False, 20_000),
        ((60, None), True, 20_000),
        ((1, 200), True, None),
    ],
)
def test_operations_are_those_of_the_kernel(rows, function, memory_budget, monkeypatch):
    # What else looks at many rows; the rest of the proof takes as much for one row.
    monkeypatch.setattr("ntkflow.empirical.proof._check_arrangements", lambda *asked: None)
    monkeypatch.setattr("ntkflow.empirical.layerwise._other_outputs", lambda *asked: [])
    torch.manual_seed(0)
    network = ntkflow.mlp(9, [8], 1, sigma_b=0.1, dtype=torch.float64)
    x1, x2 = (None if n is None else torch.randn(n, 9).double() for n in rows)
    options = {"memory_budget": memory_budget}
    target = network
    if function:
        options["parameters"] = dict(network.named_parameters())

        def target(p, x):
            return torch.func.functional_call(network, {k: v.sin() for k, v in p.items()}, (x,))

    summary = ntkflow.explain(target, x1, x2, **options)
    with FlopCounterMode(display=False) as one:  # what looks at single rows
        ntkflow.empirical_ntk(target, x1[:1], None if x2 is None else x2[:1], **options)
    with FlopCounterMode(display=False) as every:
        ntkflow.empirical_ntk(target, x1, x2, **options)
    counted = every.get_total_flops() - one.get_total_flops()
    assert summary.operations.total == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("memory_budget", [30_000, 300_000])
def test_blocks_are_those_of_the_kernel(memory_budget, monkeypatch):
    torch.manual_seed(0)
    network, x = row_by_row().double(), torch.randn(90, 4).double()
    found = ntkflow.explain(network, x, memory_budget=memory_budget)
    assert found.method == "jacobian"
    calls = spied(monkeypatch, jacobian)
    ntkflow.empirical_ntk(network, x, memory_budget=memory_budget)
    sizes = [size for _, size in calls]
    rows, columns = found.blocks.shape
    assert sizes[0] == rows == max(sizes)
    assert (found.blocks.whole_budget <= memory_budget) == (sizes == [90])
    if sizes != [90]:
        assert sizes[1] == columns
        assert f"memory_budget={found.blocks.whole_budget} takes all rows" in str(found)


def test_the_whole_budget_is_the_least_that_takes_all_rows():
    network, x = ntkflow.mlp(4, [6], 2), torch.randn(30, 4)
    whole = ntkflow.explain(network, x).blocks.whole_budget
    enough = ntkflow.explain(network, x, memory_budget=whole)
    short = ntkflow.explain(network, x, memory_budget=whole - 1)
    assert enough.blocks.shape == (30, 30) > short.blocks.shape
    assert not any("memory_budget" in each for each in enough.faster)


def test_cheaper_conventions_are_named():
    network, x = ntkflow.mlp(4, [50], 10), torch.randn(30, 4)
    summary = ntkflow.explain(network, x)
    total = ntkflow.explain(network, x, outputs="trace").operations.total
    assert f'outputs="trace" or "mean" takes {total:.2g} operations' in summary.faster
    assert ntkflow.explain(network, x, outputs="trace").faster == []
    tight = ntkflow.explain(network, x, memory_budget=1000)
    assert any("ntkflow.ntk_operator" in each for each in tight.faster)
    assert tight.kernel_bytes == ntkflow.empirical_ntk(network, x).values.nbytes


def test_the_summary_is_a_short_table():
    network, x = ntkflow.mlp(3, [64, 64], 2, sigma_b=0.1), torch.randn(100, 3)
    lines = str(ntkflow.explain(network, x)).splitlines()
    assert lines[0] == "method      layerwise, for 100 x 100 rows and 2 outputs"
    assert lines[1].endswith(" by layer (matrix product): 0.weight, 0.bias, 2.weight and 3 more")
    assert [line.split()[0] for line in lines[2:4]] == ["operations", "memory"]
    assert "100 x 100 rows at once within 1.07 GB; the kernel takes 160 kB" in lines[3]


def test_the_network_stays_as_it_is():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    ntkflow.explain(network, torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "options", "kind"),
    [
        (nn.Dropout(0.5), {}, UnsupportedLayerError),
        (nn.Linear(4, 2), {"outputs": "all"}, ConfigurationError),
        (nn.Linear(4, 2), {"parameters": "head.*"}, ConfigurationError),
        (nn.Linear(4, 2), {"x1": torch.ones(0, 4)}, ConfigurationError),
        (Net(lambda net, x: net.a(x) - x.mean(0), a=nn.Linear(4, 4)), {}, UnsupportedLayerError),
    ],
)
def test_errors_are_those_of_the_kernel(network, options, kind):
    arguments = {"network": network, "x1": torch.randn(5, 4)} | options
    with pytest.raises(kind) as expected:
        ntkflow.empirical_ntk(**arguments)
    with pytest.raises(kind, match=f"^{re.escape(str(expected.value))}$"):
        ntkflow.explain(**arguments)

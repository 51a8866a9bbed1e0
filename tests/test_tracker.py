"""The tracker against plain formulas, and what it does to a network and to the time of a loop."""

import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.tracking import tracker as module
from ntkflow.tracking.values import COLUMNS

EXAMPLE = Path(__file__).parents[1] / "examples" / "track_training.py"
ROWS, OUTPUTS = 12, 3
LABELS = torch.arange(ROWS) % OUTPUTS


def squared(f, y):
    return (f - y).square().sum() / len(y)


def huber_of_half(f, y):
    return F.huber_loss(f, y, delta=0.5)


Y = torch.randn(ROWS, OUTPUTS, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
# The tracker's loss, its targets, and a plain function that gives the same.
LOSSES = {
    "mse": ("mse", Y, squared),
    "cross_entropy": ("cross_entropy", LABELS, F.cross_entropy),
    "torch's mean squared error": (F.mse_loss, Y, F.mse_loss),
    "torch's cross-entropy": (F.cross_entropy, LABELS, F.cross_entropy),
    "huber": (huber_of_half, Y, huber_of_half),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, OUTPUTS)
    return nn.Sequential(*layers).double()


@pytest.fixture
def x():
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def descend(network, x, y, loss, updates=5, rate=0.1):
    for _ in range(updates):
        gradients = torch.autograd.grad(loss(network(x), y), list(network.parameters()))
        with torch.no_grad():
            for p, g in zip(network.parameters(), gradients, strict=True):
                p -= rate * g


def plain_jacobian(network, x):
    """Rows n O + o, by one backward pass each."""
    rows = [
        torch.autograd.grad(output, list(network.parameters()), retain_graph=True)
        for output in network(x).flatten()
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).numpy()


def plain_values(jacobian, start, outputs, y, loss):
    """The table's values of one row in NumPy."""
    kernel, before = jacobian @ jacobian.T, start @ start.T
    size = outputs.numel()
    curvature = torch.func.hessian(lambda f: loss(f, y))(outputs.detach()).reshape(size, size)
    spectrum = np.linalg.eigvalsh(kernel)
    p = np.maximum(spectrum, 1e-300) / spectrum.sum()
    targets = (y if y.is_floating_point() else F.one_hot(y).double()).numpy().ravel()
    norm = np.linalg.norm(kernel)
    return {
        "lambda_max": spectrum[-1],
        "sharpness": np.linalg.eigvalsh(jacobian.T @ curvature.numpy() @ jacobian)[-1],
        "trace": np.trace(kernel),
        "effective_rank": np.exp(-(p * np.log(p)).sum()),
        "alignment": targets @ kernel @ targets / (norm * (targets @ targets)),
        "drift": np.linalg.norm(kernel - before) / np.linalg.norm(before),
    }


def tracked(network, x, loss, **options):
    """Table before and after some steps, and the values that its second row should have."""
    given, y, plain = LOSSES[loss]
    tracker = ntkflow.Tracker(network, x, y, every=5, share=math.inf, loss=given, **options)
    start = plain_jacobian(network, x)
    assert tracker.step(0, learning_rate=0.1)
    descend(network, x, y, plain)
    assert tracker.step(5, learning_rate=0.1)
    expected = plain_values(plain_jacobian(network, x), start, network(x), y, plain)
    return tracker.table(), expected


@pytest.mark.parametrize("loss", LOSSES)
def test_values_of_the_formed_kernel(network, x, loss):
    table, expected = tracked(network, x, loss)
    for name, value in expected.items():
        assert table[name][1] == pytest.approx(value, rel=1e-8), name
    assert table["kernel"] == ["formed", "formed"]
    assert table["trace_error"] == table["drift_error"] == table["alignment_error"] == [0, 0]
    assert table["drift"][0] == 0 < 1e-3 < table["drift"][1]
    assert table["stability_limit"] == [20, 20]


@pytest.mark.parametrize("loss", LOSSES)
def test_values_from_products_are_near_and_say_how_near(network, x, loss):
    table, expected = tracked(network, x, loss, form_up_to=0)
    for name in ("lambda_max", "sharpness"):
        assert table[name][1] == pytest.approx(expected[name], rel=1e-6), name
    for name in ("trace", "alignment", "drift"):
        error = table[f"{name}_error"][1]
        assert table[name][1] == pytest.approx(expected[name], abs=4 * error), name
        assert 0 < error < 0.1 * expected[name], name
    assert table["kernel"] == ["products", "products"]
    assert table["drift"][0] == 0
    assert all(map(math.isnan, table["effective_rank"]))


@pytest.mark.parametrize(
    "options", [{}, {"form_up_to": 0, "memory_budget": 1100}], ids=["formed", "three rows at once"]
)
def test_sharpness_is_that_of_the_library(network, x, options):
    x = x[:4]
    tracker = ntkflow.Tracker(network, x, loss="cross_entropy", **options)
    tracker.step(0)
    block = ntkflow.empirical_ntk(network, x).values
    expected = ntkflow.gauss_newton_sharpness(block, network(x).softmax(1))
    table = tracker.table()
    assert table["sharpness"][0] == pytest.approx(expected, rel=1e-6)
    assert math.isnan(table["alignment"][0])
    assert math.isnan(table["stability_limit"][0])


def test_a_loss_linear_in_the_outputs_has_no_sharpness(network, x):
    tracker = ntkflow.Tracker(network, x, Y, loss=lambda f, y: (f * y).sum())
    tracker.step(0)
    assert tracker.table()["sharpness"] == [0]


def test_parameters_that_are_held_fixed_do_not_count(network, x):
    tracker = ntkflow.Tracker(network, x, parameters="2.*")
    tracker.step(0)
    expected = ntkflow.empirical_ntk(network, x, parameters="2.*", outputs="trace").values.trace()
    assert tracker.table()["trace"][0] == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("form_up_to", [0, 2000])
def test_network_gradients_modes_and_random_numbers_stay(x, form_up_to):
    torch.manual_seed(0)
    layers = nn.Linear(4, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 2)
    network = nn.Sequential(*layers).double().train()
    network[3].eval()
    network(x).sum().backward()
    y = torch.zeros(ROWS, 2)
    before = copy.deepcopy(network)
    gradients = [p.grad.clone() for p in network.parameters()]
    held = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters())]
    np.random.seed(3)
    random, numpy_random = torch.get_rng_state(), np.random.get_state()[1]
    tracker = ntkflow.Tracker(network, x, y, form_up_to=form_up_to)
    tracker.step(0)
    assert torch.equal(torch.get_rng_state(), random)
    assert np.array_equal(np.random.get_state()[1], numpy_random)
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]
    assert all(map(torch.equal, network.state_dict().values(), before.state_dict().values()))
    now = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters())]
    assert all(each is kept for each, kept in zip(now, held, strict=True))
    assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), gradients, strict=True))
    kernel = ntkflow.empirical_ntk(before.eval(), x, outputs="trace").values
    assert tracker.table()["trace"][0] == pytest.approx(kernel.trace().item(), rel=0.3)


def test_modes_come_back_after_an_error(x):
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(())

    network = nn.Sequential(Noisy(4, 2), nn.Dropout(0.5)).double().train()
    with pytest.raises(UnsupportedLayerError, match="draws random numbers"):
        ntkflow.Tracker(network, x)
    assert network.training
    assert network[1].training


class Clock:
    """Time that passes where it is told to."""

    def __init__(self, monkeypatch, cost):
        self.now, self.cost = 100.0, cost
        monkeypatch.setattr(module, "perf_counter", lambda: self.now)

    def slow(self, tracker):
        """Let every measurement take `cost` seconds."""
        measure = tracker._meter.measure

        def measured(subject):
            self.now += self.cost
            return measure(subject)

        tracker._meter.measure = measured
        return tracker


def loop(tracker, clock, steps, seconds):
    for step in range(steps):
        tracker.step(step)
        clock.now += seconds
    return tracker.table()


def test_measurements_are_put_off_to_stay_within_the_share(network, x, monkeypatch):
    clock = Clock(monkeypatch, cost=2.0)
    tracker = clock.slow(ntkflow.Tracker(network, x, every=10, share=0.05))
    table = loop(tracker, clock, 250, seconds=1.0)
    # Two measurements are 4 of 80 seconds, three 6 of 120.
    assert table["step"] == [0, 80, 120, 160, 200, 240]
    assert table["due"] == [0, 10, 90, 130, 170, 210]
    assert table["training_seconds"] == [0, 80, 120, 160, 200, 240]
    assert table["seconds"] == [2.0] * 6


def test_cheap_measurements_are_made_when_they_are_due(network, x, monkeypatch):
    clock = Clock(monkeypatch, cost=0.01)
    tracker = clock.slow(ntkflow.Tracker(network, x, every=10, share=0.05))
    assert loop(tracker, clock, 35, seconds=1.0)["step"] == [0, 10, 20, 30]
    tracker = clock.slow(ntkflow.Tracker(network, x, every=10, share=math.inf))
    assert [tracker.step(step) for step in (5, 14, 16, 17, 30)] == [True, False] * 2 + [True]
    assert tracker.table()["due"] == [5, 15, 25]


def test_a_measurement_can_be_asked_for(network, x, monkeypatch):
    clock = Clock(monkeypatch, cost=100.0)
    tracker = clock.slow(ntkflow.Tracker(network, x, every=10))
    assert [tracker.step(0), tracker.step(10), tracker.step(13, now=True)] == [True, False, True]
    assert (tracker.table()["step"], tracker.table()["due"]) == ([0, 13], [0, 10])


def test_values_do_not_depend_on_the_share(network, x):
    tables = []
    for share in (math.inf, 1e-9):
        twin = copy.deepcopy(network)
        tracker = ntkflow.Tracker(twin, x, Y, every=1, share=share)
        for step in range(4):
            tracker.step(step, now=step == 3)
            descend(twin, x, Y, squared, updates=1)
        tables.append(tracker.table())
    full, spared = tables
    assert (full["step"], spared["step"]) == ([0, 1, 2, 3], [0, 3])
    assert spared["due"] == [0, 1]
    for name in COLUMNS:
        assert spared[name] == [full[name][0], full[name][3]], name


@pytest.mark.parametrize("form_up_to", [0, 2000])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_diverged_network_has_rows_of_nan(network, x, form_up_to, loss):
    tracker = ntkflow.Tracker(network, x, Y, loss=loss, form_up_to=form_up_to, share=math.inf)
    tracker.step(0)
    with torch.no_grad():
        network[0].weight.fill_(math.nan)
    tracker.step(100)
    table = tracker.table()
    for name in ("lambda_max", "sharpness", "trace", "alignment", "drift"):
        assert math.isfinite(table[name][0]), name
        assert math.isnan(table[name][1]), name


def test_a_table_is_a_data_frame(network, x):
    tracker = ntkflow.Tracker(network, x)
    assert pd.DataFrame(tracker.table()).empty
    tracker.step(0)
    frame = pd.DataFrame(tracker.table())
    assert frame.shape == (1, len(COLUMNS) + len(module.TIMES))
    tracker.table()["step"].append(7)
    assert tracker.table()["step"] == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": F.relu}, r"^network: function is not allowed; use a torch.nn.Module$"),
        ({"x": torch.ones(0, 4)}, "^x: no rows"),
        ({"x": np.ones((2, 4))}, "^x: ndarray is not allowed"),
        ({"every": 0}, "^every: 0 is not allowed; use a whole number from 1 on$"),
        ({"every": 1.5}, "^every: 1.5 is not allowed"),
        ({"share": 0}, "^share: 0 is not allowed; use a number > 0$"),
        ({"loss": "msr"}, "^loss: 'msr' is unknown; allowed: mse, cross_entropy; did you mean mse"),
        ({"loss": 3}, "^loss: 3 is not allowed; use 'mse', 'cross_entropy' or a function$"),
        ({"loss": F.mse_loss, "y": None}, "^y: None is not allowed for a loss of your own"),
        ({"y": Y[:4]}, r"^y: shape \(4, 3\) is not allowed; use \(12, 3\), or that many labels$"),
        ({"y": LABELS + 1}, r"^y: 3 is not allowed; use 0 ... 2$"),
        ({"parameters": "head.*"}, r"^parameters: the network has no parameter 'head\.\*'"),
    ],
)
def test_arguments_that_are_not_allowed(network, x, options, message, unchecked_types):
    arguments = {"network": network, "x": x, "y": Y} | options
    with pytest.raises(ConfigurationError, match=message):
        ntkflow.Tracker(**arguments)


def test_calls_that_are_not_allowed(network, x, unchecked_types):
    tracker = ntkflow.Tracker(network, x, Y)
    with pytest.raises(ConfigurationError, match=r"^learning_rate: -1 is not allowed"):
        tracker.step(0, learning_rate=-1)
    tracker.step(5)
    with pytest.raises(ConfigurationError, match=r"^step: 5 is not allowed; use a whole number"):
        tracker.step(5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda f, y: (f - y).square(), r"^loss: returns \(12, 3\); use a function that returns"),
        (lambda f, y: (f - y).norm(), "^loss: its samples act together"),
    ],
)
def test_losses_that_are_not_allowed(network, x, loss, message):
    with pytest.raises(ConfigurationError, match=message):
        ntkflow.Tracker(network, x, Y, loss=loss).step(0)


def test_the_example_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    spec = importlib.util.spec_from_file_location("track_training", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "STEPS", 150)
    table = example.train()
    assert table.step.iloc[0] == 0
    assert table.step.iloc[-1] == 150
    assert (table.sharpness > 0).all()
    example.draw(table, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").stat().st_size > 10_000

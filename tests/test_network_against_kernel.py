"""A network that stops early against its limit kernel: on a few labelled rows; its figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import in_float64, measured, noisy_classes
from torch.func import functional_call

from figures import network_against_kernel as figure
from ntkflow import ridge_regression
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, mlp
from ntkflow.randomness import generator
from ntkstudy.claims.uncertainty import interval
from ntkstudy.data.tables import with_axes
from ntkstudy.report.plotting import use_style
from ntkstudy.theory.setting import Setting

OPTIONS = {"sizes": [20, 40], "ridges": [0.001, 0.1, 10.0], "held_out": 0.25, "draws": 3}
TRAINING = {
    "loss": "cross_entropy", "optimizer": "sgd", "learning_rate": 1.0, "steps": 60,
    "snapshots": 12, "spacing": "linear", "dtype": "float64", "output_scale": 2.0,
    "centred": True, "engine": "auto", "l1": 0.0, "l2": 0.0, "decay": "coupled",
}  # fmt: skip
NETWORK = mlp(6, [9], 3, activation="relu", sigma_w=2**0.5, sigma_b=0.1, device="meta")


@pytest.fixture
def data(tmp_path):
    with noisy_classes(tmp_path, 30) as data:
        yield data


def found(data, options=OPTIONS, **training):
    setting = Setting.prepare(NETWORK, data, TRAINING | training, "cpu")
    return measured("network_against_kernel", setting, data, "theory", **options)


def descended(seed, x, y, others, steps):
    """Outputs at other inputs of a centred network after every number of steps up to the last."""
    start = {n: p[0] for n, p in draw_parameters(NETWORK, [seed], dtype=torch.float64).items()}
    p, outputs = start, []

    def f(parameters, inputs):
        run = (functional_call(NETWORK, one, (inputs,)) for one in (parameters, start))
        return 2.0 * (next(run) - next(run).detach())

    for _ in range(steps + 1):
        p = {name: each.detach().requires_grad_() for name, each in p.items()}
        outputs.append(f(p, others).detach())
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(f(p, x), y.argmax(1)) / 2.0**2
            slopes = torch.autograd.grad(loss, list(p.values()))
        p = {name: each - slope for (name, each), slope in zip(p.items(), slopes, strict=True)}
    return outputs


def regressed(x, y, others, ridge):
    """Naive regression with centred targets and an absolute ridge."""
    gram, cross = limit_kernels(NETWORK, x).ntk, limit_kernels(NETWORK, others, x).ntk
    return ridge_regression(gram, cross, y - y.mean(0), ridge=ridge) + y.mean(0)


def misread(f, y):
    return (f.argmax(1) != y.argmax(1)).double().mean().item()


def test_every_number_is_that_of_its_definition(data):
    numbers = found(data)
    train_x, train_y, test_x, test_y = in_float64(data)
    for seed in range(3):
        order = generator(seed, "split").permutation(40)
        for place, (n, judges) in enumerate(((20, 5), (40, 10))):
            x, y = train_x[order[:n]], train_y[order[:n]]
            rows = x[:-judges], y[:-judges], x[-judges:]
            y_judge = y[-judges:]
            path = descended(seed, *rows, 60)[::5]
            losses = [torch.nn.functional.cross_entropy(f, y_judge.argmax(1)) for f in path]
            scores = [
                (misread(f, y_judge), loss.item()) for f, loss in zip(path, losses, strict=True)
            ]
            stop = 5 * scores.index(min(scores))
            scale = limit_kernels(NETWORK, x).ntk.diagonal().mean().item()
            guesses = [regressed(*rows, scale * ridge) for ridge in OPTIONS["ridges"]]
            scores = [(misread(f, y_judge), (f - y_judge).square().mean().item()) for f in guesses]
            ridge = OPTIONS["ridges"][scores.index(min(scores))]
            network = 1 - misread(descended(seed, x, y, test_x, stop)[-1], test_y)
            kernel = 1 - misread(regressed(x, y, test_x, scale * ridge), test_y)
            at = (seed, place)
            assert (numbers["stop"][at], numbers["ridge"][at]) == (stop, ridge)
            assert numbers["network"][at] == pytest.approx(network)
            assert numbers["kernel"][at] == pytest.approx(kernel)
            assert numbers["difference"][at] == pytest.approx(network - kernel)
    change = numbers["difference"] - numbers["difference"][:, :1]
    np.testing.assert_allclose(numbers["change"], change)
    assert numbers["n"].tolist() == [20, 40]
    for name in ("stop", "ridge", "network", "kernel"):  # a choice that never differs tests nothing
        assert len(np.unique(numbers[name])) > 1


def test_test_rows_have_no_part_in_the_choices(data, monkeypatch):
    first, targets = found(data), data.targets
    monkeypatch.setattr(type(data), "targets", lambda self, **where: targets(**where).flip(1))
    other = found(data)
    for name in ("stop", "ridge"):
        np.testing.assert_array_equal(first[name], other[name])
    for name in ("network", "kernel"):
        assert (first[name] != other[name]).any()


def test_a_network_that_diverges_on_all_rows_has_no_accuracy(data, monkeypatch):
    numbers = found(data, learning_rate=1e9, loss="mse", snapshots=1)
    assert (numbers["stop"] == 0).all()  # what diverged is never chosen
    assert np.isfinite(numbers["network"]).all()
    chosen = "ntkstudy.theory.network_against_kernel._best"
    monkeypatch.setattr(chosen, lambda scores: len(scores) - 1)
    numbers = found(data, learning_rate=1e9, loss="mse", snapshots=1)
    assert np.isnan(numbers["network"]).all()
    assert np.isnan(numbers["difference"]).all()
    assert np.isfinite(numbers["kernel"]).all()


def test_too_few_rows_are_named(data):
    message = "^network_against_kernel: sizes: 41 is not allowed; allowed: at most the 40 training"
    with pytest.raises(ConfigurationError, match=message):
        found(data, OPTIONS | {"sizes": [20, 41]})


def test_the_figure_shows_means_and_the_interval_that_is_judged():
    axes = {"seed": range(4), "n": [500, 2000]}
    table = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    rng = np.random.default_rng(0)
    table = table.assign(network=rng.uniform(0.8, 0.9, 8), kernel=rng.uniform(0.85, 0.9, 8))
    table.loc[0, "network"] = np.nan  # diverged
    table = with_axes(table.assign(difference=table["network"] - table["kernel"]), list(axes))
    use_style()
    drawn = figure.draw({"theory_network_against_kernel": table}, {})
    drawn.draw_without_rendering()
    accuracies, differences = drawn.axes
    assert [len(each.containers) for each in drawn.axes] == [2, 1]
    kernel = accuracies.containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(kernel, 100 * table.groupby("n")["kernel"].mean())
    bars = differences.containers[0].lines[2][0].get_segments()
    for (_, sample), bar in zip(table.dropna().groupby("n")["difference"], bars, strict=True):
        np.testing.assert_allclose(
            bar[:, 1], 100 * np.array(interval(sample.to_numpy(), "mean").ends)
        )
    assert any(list(line.get_ydata()) == [0, 0] for line in differences.lines)
    plt.close(drawn)

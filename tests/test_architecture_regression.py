"""Networks and kernels on splits of a pool, against naive fits; their figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import measured, noisy_classes

from figures import architecture_regression as figure
from ntkflow import empirical_ntk, ridge_regression
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, ensemble_outputs, member, mlp
from ntkflow.randomness import generator
from ntkflow.training import GradientDescent, Objective, Schedule, train_ensemble
from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.plotting import use_style
from ntkstudy.theory.setting import Setting

NETWORK = mlp(6, [12], 3, activation="relu", sigma_w=2**0.5, sigma_b=0.1, device="meta")
TRAINING = {
    "loss": "cross_entropy", "optimizer": "sgd", "learning_rate": 0.5, "steps": 15,
    "dtype": "float64", "output_scale": 1.0, "centred": False, "engine": "auto",
    "l1": 0.0, "l2": 0.0, "decay": "coupled",
}  # fmt: skip
OPTIONS = {"draws": 3, "train": 20, "test": 18, "ridges": [0.01, 1.0], "folds": 4}


@pytest.fixture
def data(tmp_path):
    with noisy_classes(tmp_path, 3) as data:
        yield data


def found(data, **options):
    setting = Setting.prepare(NETWORK, data, TRAINING, "cpu")
    return measured("architecture_regression", setting, data, "theory", **OPTIONS | options)


def right(f, y):
    return (f.argmax(1) == y.argmax(1)).double().mean().item()


def test_every_number_is_that_of_its_definition(data):
    numbers = found(data)
    x, y = data.training_set(dtype=torch.float64, device="cpu")
    for seed in range(3):
        order = generator(seed, "split").permutation(40)
        train, test = order[:20], order[20:38]
        start = draw_parameters(NETWORK, [seed], dtype=torch.float64)
        trained = train_ensemble(
            NETWORK, start, x[train], y[train], objective=Objective("cross_entropy"),
            optimizer=GradientDescent(0.5), schedule=Schedule(15),
        ).parameters  # fmt: skip
        network = right(ensemble_outputs(NETWORK, trained, x[test])[0], y[test])
        assert numbers["network"][seed] == pytest.approx(network)
        random = empirical_ntk(NETWORK, x, parameters=member(start, 0), outputs="mean").values
        kernels = {"random": random, "limit": limit_kernels(NETWORK, x).ntk}
        for name, kernel in kernels.items():
            gram, cross = kernel[train][:, train], kernel[test][:, train]
            ridge = numbers[f"{name}_ridge"][seed]
            assert ridge in (0.01, 1.0)
            absolute = ridge * gram.diagonal().mean().item()
            f = ridge_regression(gram, cross, y[train], ridge=absolute)
            assert numbers[name][seed] == pytest.approx(right(f, y[test]))
        if seed:
            assert np.isnan(numbers["block"][seed])
            continue
        block = block_matrix(empirical_ntk(NETWORK, x[train], parameters=member(start, 0)).values)
        wide = empirical_ntk(NETWORK, x[test], x[train], parameters=member(start, 0)).values
        absolute = numbers["block_ridge"][seed] * block.diagonal().mean().item()
        targets = y[train].T.reshape(-1)
        f = ridge_regression(block, block_matrix(wide), targets, ridge=absolute)
        assert numbers["block"][seed] == pytest.approx(right(f.reshape(3, -1).T, y[test]))
    pairs = [("network", "random"), ("limit", "network"), ("limit", "random")]
    for better, worse in pairs:
        difference = numbers[better] - numbers[worse]
        np.testing.assert_allclose(numbers[f"{better}_over_{worse}"], difference, atol=1e-12)
        assert (difference != 0).any()


def test_a_pool_that_is_too_small_is_refused_before_any_work():
    digits = {"kind": "mnist", "train_points": 40, "test_points": 10}
    entry = {"kind": "architecture_regression", "when": ["theory"], "train": 30, "test": 11}
    with pytest.raises(ConfigurationError) as error:
        build_plan(task=digits, sweep={"network.width": [4]}, measurements=[entry])
    assert str(error.value) == (
        "a.yaml: experiments.e.measurements[0].kind: 'architecture_regression' (theory) is not "
        "allowed here: it needs task.train_points of at least train + test (30 + 11) "
        "(in cell width~4)"
    )


def test_figure_shows_the_interval_that_is_judged():
    rng, rows = np.random.default_rng(0), []
    for name in ("mlp", "rnn_erf"):
        for seed in range(5):
            rows.append((name, seed, *rng.uniform(0.7, 0.9, 4)))
    columns = ["architecture", "seed", "network", "random", "block", "limit"]
    table = pd.DataFrame(rows, columns=columns)
    for better, worse in (
        ("network", "random"),
        ("limit", "network"),
        ("limit", "random"),
        ("block", "random"),
    ):
        table[f"{better}_over_{worse}"] = table[better] - table[worse]
    use_style()
    drawn = figure.draw({"theory_architecture_regression": table}, {})
    [axes] = drawn.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mlp", "rnn erf"]
    bars = axes.containers[3].lines[2][0].get_segments()[0]  # rnn_erf, first pair
    sample = table[table["architecture"] == "rnn_erf"]["network_over_random"].to_numpy()
    np.testing.assert_allclose(bars[:, 0], 100 * np.array(interval(sample, "mean").ends))
    plt.close(drawn)

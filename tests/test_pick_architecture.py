"""Scores of untrained networks against accuracy after training, network by network; the figure."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import EXPERIMENT, build_plan, load, wrap
from scipy import stats
from study_cases import digits_data, measured

from figures import architecture_choice as figure
from ntkflow import alignment, effective_rank, empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, ensemble_outputs, member
from ntkflow.randomness import generator
from ntkflow.training import Adam, Objective, Schedule, train_ensemble
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.networks import build_network
from ntkstudy.theory.pick_architecture import SCORES, _arrays
from ntkstudy.theory.setting import Setting

TRAINING = {
    "loss": "cross_entropy", "optimizer": "adam", "learning_rate": 0.05, "steps": 6,
    "dtype": "float64", "output_scale": 1.0, "centred": False, "engine": "auto",
    "l1": 0.0, "l2": 0.0, "decay": "coupled",
}  # fmt: skip
OPTIONS = {
    "draws": 2, "choosing": 1, "train": 16, "test": 14, "folds": 4, "ridges": [0.1], "good": 0.2,
    "width": 6, "architectures": ["mlp", "rnn_erf"], "depths": [1], "sigma_ws": [0.3, 1.0, 2.0],
    "sigma_bs": [0.1],
}  # fmt: skip


def test_every_number_is_that_of_its_definition(tmp_path):
    block = {"kind": "architecture", "depth": 1, "sigma_b": 0.1, "width": 6, "activation": "relu"}
    blocks = [
        block | {"architecture": name, "sigma_w": sigma}
        for name in ("mlp", "rnn_erf")
        for sigma in (0.3, 1.0, 2.0)
    ]
    networks = [build_network(each, 49, 10) for each in blocks]
    with digits_data(tmp_path) as data:
        setting = Setting.prepare(networks[0], data, TRAINING, "cpu")
        found = measured("pick_architecture", setting, data, "theory", **OPTIONS)
        x, y = data.training_set(dtype=torch.float64, device="cpu")
    for seed in range(2):
        order = generator(seed, "split").permutation(30)
        train, test = order[:16], order[16:]
        for place, network in enumerate(networks):
            start = draw_parameters(network, [seed], dtype=torch.float64)
            k = empirical_ntk(network, x[train], parameters=member(start, 0), outputs="mean").values
            spectrum = torch.linalg.eigvalsh(k)
            value = dict(zip(SCORES, found["value"][seed, :, place], strict=True))
            assert value["lambda_max"] == pytest.approx(spectrum[-1].item() / 16)
            assert value["trace"] == pytest.approx(spectrum.sum().item() / 16)
            assert value["effective_rank"] == pytest.approx(effective_rank(spectrum.numpy()))
            assert value["alignment"] == pytest.approx(alignment(k, y[train], centred=True))
            condition = min((spectrum[-1] / spectrum[0]).item(), 1e7)
            assert value["condition"] == pytest.approx(condition, rel=1e-4)
            trained = train_ensemble(
                network, start, x[train], y[train], objective=Objective("cross_entropy"),
                optimizer=Adam(0.05), schedule=Schedule(6),
            ).parameters  # fmt: skip
            f = ensemble_outputs(network, trained, x[test])[0]
            right = (f.argmax(1) == y[test].argmax(1)).double().mean().item()
            assert found["accuracy"][seed, place] == pytest.approx(right)
    accuracy = found["accuracy"]
    raw = np.array([
        [stats.spearmanr(found["value"][s, k], accuracy[s])[0] for k in range(len(SCORES))]
        for s in range(2)
    ])  # fmt: skip
    sign = np.where(raw[0] < 0, -1, 1)
    np.testing.assert_allclose(found["correlation"], raw * sign)
    assert found["chosen"].tolist() == (np.abs(raw[0]) == np.abs(raw[0]).max()).astype(int).tolist()
    assert found["judging"].tolist() == [0, 1]
    np.testing.assert_array_equal(found["good"], (accuracy > 0.2).sum(1))
    assert (found["null"] != found["correlation"]).any()


def test_no_score_is_chosen_where_no_correlation_is_known():
    values, accuracies = np.random.default_rng(0).uniform(size=(3, 6, 7)), np.full((3, 7), 0.1)
    options = SimpleNamespace(choosing=1, good=0.8)
    found = _arrays(options, values, accuracies, [f"mlp {place}" for place in range(7)])
    assert not found["chosen"].values.any()
    assert np.isnan(found["correlation"].values).all()
    better = accuracies + values[:, 3]
    found = _arrays(options, values, better, [f"mlp {place}" for place in range(7)])
    assert found["chosen"].values.tolist() == [0, 0, 0, 1, 0, 0]
    np.testing.assert_allclose(found["correlation"].values[:, 3], 1.0)
    np.testing.assert_array_equal(found["good"].values, (better > 0.8).sum(1))


TASK = {"kind": "mnist", "train_points": 30, "test_points": 10, "image_size": 4}
ASKED = {"kind": "pick_architecture", "when": ["theory"], **OPTIONS}


def planned(**changes):
    swept = {"network.width": [4]}
    return build_plan(task=TASK, sweep=swept, measurements=[ASKED | changes])


def test_a_name_that_is_no_architecture_is_refused(tmp_path):
    planned()
    asked = {"task": TASK, "measurements": [ASKED | {"architectures": ["mpl"]}]}
    with pytest.raises(ConfigurationError, match=r"'mpl' is (not allowed|unknown)"):
        load(tmp_path, wrap(e=EXPERIMENT | asked))


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"choosing": 2}, "fewer splits that choose than draws (choosing 2, draws 2)"),
        ({"train": 20, "test": 11}, "task.train_points of at least train + test (20 + 11)"),
        (
            {"architectures": ["mlp", "gru", "lstm"]},
            "architectures that take one of activations (not gru, lstm)",
        ),
        (
            {"architectures": ["mlp", "transformer"], "width": 16},
            "a width above the number of patches for a transformer, 9 of 7 x 7 pixels and else "
            "16; a multiple of 4 with a quarter of its square above that for transformer_heads "
            "(architecture transformer, width 16)",
        ),
    ],
)
def test_grids_and_splits_that_cannot_be_are_refused_before_any_work(changes, needed):
    with pytest.raises(ConfigurationError) as error:
        planned(**changes)
    assert str(error.value) == (
        "a.yaml: experiments.e.measurements[0].kind: 'pick_architecture' (theory) is not allowed "
        f"here: it needs {needed} (in cell width~4)"
    )


def test_figure_shows_the_splits_that_judge_alone():
    rng, rows = np.random.default_rng(0), []
    names = [f"{kind} {depth} relu 1 0.1" for kind in ("mlp", "cnn") for depth in range(4)]
    for seed in range(3):
        for place, name in enumerate(names):
            accuracy = rng.uniform(0.3, 0.9)
            for score in ("ridge", "trace"):
                rows.append((seed, score, name, rng.uniform() * place, accuracy, 0.6, 0.1,
                             int(score == "ridge"), int(seed > 0)))  # fmt: skip
    columns = ["seed", "score", "candidate", "value", "accuracy", "correlation", "among_good"]
    table = pd.DataFrame(rows, columns=[*columns, "chosen", "judging"])
    use_style()
    drawn = figure.draw({"theory_pick_architecture": table}, {})
    scatter, ranks = drawn.axes
    points = np.concatenate([one.get_offsets() for one in scatter.collections])
    assert len(points) == 8  # a network each, means over the two splits that judge
    expected = table[(table["judging"] == 1) & (table["score"] == "ridge")]
    np.testing.assert_allclose(
        sorted(points[:, 1]), sorted(100 * expected.groupby("candidate")["accuracy"].mean())
    )
    assert [text.get_text() for text in ranks.get_yticklabels()] == [
        "kernel ridge\n(chosen)",
        "trace",
    ]
    plt.close(drawn)

"""Networks trained to the same loss, against naive descent and closed forms."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import in_float64, measured, noisy_classes
from torch.func import functional_call

from figures import architecture_drift, architecture_gap
from ntkflow import empirical_ntk
from ntkflow.dynamics import TrainingDynamics
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, mlp
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects import trained_to_loss as subject
from ntkstudy.subjects.members import Members

NETWORK = mlp(6, [16], 3, activation="relu", sigma_w=2**0.5, sigma_b=0.1, device="meta")
OPTIONS = {"levels": [0.8, 0.05], "step_share": 0.2, "most_steps": 60}


@pytest.fixture
def data(tmp_path):
    with noisy_classes(tmp_path, 9) as data:
        yield data


def untrained(seeds):
    start = draw_parameters(NETWORK, range(seeds))
    return Members(NETWORK, start, start, range(seeds))


def kernel(parameters, x):
    return empirical_ntk(NETWORK, x, parameters=parameters, outputs="mean").values


def descended(start, x, y, rate):
    """Weights of a centred network after 0, 1, ... steps, and losses."""
    h_0, p, path = functional_call(NETWORK, start, (x,)).detach(), start, []
    for _ in range(OPTIONS["most_steps"] + 1):
        p = {name: each.detach().requires_grad_() for name, each in p.items()}
        with torch.enable_grad():
            loss = (functional_call(NETWORK, p, (x,)) - h_0 - y).square().sum() / len(x)
            slopes = torch.autograd.grad(loss, list(p.values()))
        path.append(({name: each.detach() for name, each in p.items()}, loss.item()))
        p = {name: each - rate * s for (name, each), s in zip(p.items(), slopes, strict=True)}
    return path


def test_every_number_is_that_of_its_definition(data):
    x, y, test, _ = in_float64(data)
    networks = untrained(3)
    found = measured("trained_to_loss", networks, data, "initialization", **OPTIONS)
    starts = [one.weights for one in networks.in_double]
    first = [kernel(start, x) for start in starts]
    tops = [torch.linalg.eigvalsh(k)[-1].item() for k in first]
    limit = limit_kernels(NETWORK, x).ntk
    cross = limit_kernels(NETWORK, test, x).ntk
    for seed, start in enumerate(starts):
        rate = 0.2 * len(x) / tops[seed]
        path = descended(start, x, y, rate)
        low = [step for step, (_, loss) in enumerate(path) if loss <= 0.8 * path[0][1]]
        steps = low[0]
        assert found["steps"][seed, 0] == steps
        now = path[steps][0]
        drift = (kernel(now, x) - first[seed]).norm() / first[seed].norm()
        assert found["drift"][seed, 0] == pytest.approx(drift.item(), rel=1e-3)
        growth = torch.linalg.eigvalsh(kernel(now, x))[-1].item() / tops[seed]
        assert found["growth"][seed, 0] == pytest.approx(growth, rel=1e-4)
        f = functional_call(NETWORK, now, (test,)) - functional_call(NETWORK, start, (test,))
        dynamics = TrainingDynamics(limit, learning_rate=rate)
        f_inf = dynamics.mean(cross, y, steps)
        gap = ((f - f_inf).norm() / f_inf.norm()).item()
        assert found["gap"][seed, 0] == pytest.approx(gap, rel=1e-3)
    # Noisy classes are not learned to a twentieth in so few steps.
    for name in ("steps", "drift", "growth", "gap"):
        assert np.isnan(found[name][:, 1]).all()
    assert found["level"].tolist() == [0.8, 0.05]


def test_the_limit_is_made_once_for_all_networks(data, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return limit_kernels(*arguments)

    monkeypatch.setattr(subject, "limit_kernels", counted)
    measured("trained_to_loss", untrained(3), data, "initialization", **OPTIONS)
    assert len(calls) == 2  # between the training inputs, and of the test inputs with these


def test_the_gap_is_asked_of_architectures_with_a_limit_alone(data):
    digits = {"kind": "mnist", "train_points": 10, "test_points": 10, "image_size": 4}
    lstm = {"kind": "architecture", "architecture": "lstm", "width": 4}
    ask = {"kind": "trained_to_loss", "when": ["initialization"]}
    cell = dict(task=digits, network=lstm, sweep={"network.width": [4]})
    build_plan(**cell, measurements=[ask | {"against_limit": False}])
    with pytest.raises(ConfigurationError, match="lstm or gru"):
        build_plan(**cell, measurements=[ask])
    options = OPTIONS | {"against_limit": False}
    without = measured("trained_to_loss", untrained(1), data, "initialization", **options)
    assert "gap" not in without


def test_figures_show_the_last_common_level_and_leave_out_who_does_not_arrive():
    rows = []
    for name, widths in (("mlp", (8, 32)), ("cnn", (32, 128)), ("rnn_erf", (32, 128, 512))):
        for width in widths:
            for level in (0.5, 0.1):
                for seed in range(4):
                    value = 2 * level / width if seed or width > 8 else np.nan
                    rows.append((name, width, seed, level, value * (1 + seed / 10), value))
    columns = ["architecture", "width", "seed", "level", "drift", "gap"]
    table = {"initialization_trained_to_loss": pd.DataFrame(rows, columns=columns)}
    use_style()
    for module, factor, power in ((architecture_drift, 1.15, -1.0), (architecture_gap, 1.0, -0.5)):
        drawn = module.draw(table, {})
        assert [axes.get_title() for axes in drawn.axes] == ["mlp", "cnn", "rnn erf"]
        assert len({axes.get_xlim() for axes in drawn.axes}) == 1
        assert len({axes.get_ylim() for axes in drawn.axes}) == 1
        bars = drawn.axes[2].containers[0].lines[0]
        np.testing.assert_allclose(bars.get_ydata(), factor / np.array([32, 128, 512]), rtol=1e-9)
        dashed = next(line for line in drawn.axes[2].lines if line.get_linestyle() == "--")
        x, y = (np.asarray(each, dtype=float) for each in dashed.get_data())
        assert np.polyfit(np.log(x), np.log(y), 1)[0] == pytest.approx(power)
        plt.close(drawn)

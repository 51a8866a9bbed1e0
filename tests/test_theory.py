import copy
import math
import time

import numpy as np
import pytest
import torch
from study_cases import in_float64, measured, task_arrays, task_data

from ntkflow import empirical_ntk, limit_kernels
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.randomness import generator
from ntkstudy.data.dataset import DataSet
from ntkstudy.data.storage import StageFile
from ntkstudy.plan.schedule import spread_steps
from ntkstudy.theory import kernels, stopping
from ntkstudy.theory.kernels import relu_ntk
from ntkstudy.theory.one_parameter import OneParameter
from ntkstudy.theory.setting import Setting

CIRCLE = {"kind": "circle_product", "train_points": 6, "probe_points": 24, "noise": 0.0}
TRAINING = {
    "learning_rate": 0.05, "steps": 60, "output_scale": 100.0, "snapshots": 20,
    "spacing": "linear",
}  # fmt: skip
LIMITS = {"tolerance": 1e-6, "max_iterations": 200}


def run(entry, network, tmp_path, task=CIRCLE, training=TRAINING):
    """Values of one check by name."""
    with task_data(tmp_path, task) as data:
        setting = Setting.prepare(network, data, training, "cpu")
        return measured(subject=setting, data=data, when="theory", **entry)


def inputs():
    """Training inputs on the circle."""
    return torch.as_tensor(task_arrays(CIRCLE)["train/x"].values)


def network(width=16, depth=1, **options):
    return mlp(2, [width] * depth, device="meta", **{"sigma_b": 0.5} | options)


def test_recursion_is_that_of_the_limit_kernel_and_the_printed_one_is_not():
    for depth, sigma_b, cosine in ((1, 0.0, 0.3), (3, 0.1, 1.0), (3, 0.1, -1.0), (2, 0.7, -0.4)):
        x = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]], dtype=torch.float64)
        expected = limit_kernels(network(depth=depth, sigma_b=sigma_b), x).ntk[0, 1].item()
        assert relu_ntk(cosine, depth, sigma_b) == pytest.approx(expected, rel=1e-8)
    printed = [relu_ntk(cosine, 3, 0.1, printed=True) for cosine in (1.0, -1.0)]
    assert printed == pytest.approx([0.478, 0.0138], abs=5e-4)


def test_random_networks_follow_the_right_recursion(tmp_path):
    task = CIRCLE | {"train_points": None, "probe_points": 2}
    found = run({"kind": "recursion", "draws": 40}, network(400), tmp_path, task)
    error = found["measured"].std(axis=0) / math.sqrt(40)
    assert (abs(found["measured"].mean(axis=0) - found["right"]) < 4 * error).all()
    assert (abs(found["measured"].mean(axis=0) - found["printed"]) > 10 * error).all()


def test_kurtosis_is_that_of_all_networks_together(tmp_path):
    one = network(4)
    found = run({"kind": "output_kurtosis", "draws": 60, "groups": 6}, one, tmp_path)
    drawn, x = draw_parameters(one, range(60), dtype=torch.float64), inputs()
    outputs = np.stack(
        [torch.func.functional_call(one, member(drawn, i), (x,))[:, 0] for i in range(60)]
    )

    def kurtosis(values):
        return (values**4).mean(axis=0) / (values**2).mean(axis=0) ** 2 - 3

    whole, close = kurtosis(outputs), dict(rtol=1e-9, atol=1e-9)
    for group in range(6):
        others = np.delete(outputs, range(10 * group, 10 * group + 10), axis=0)
        pseudo = 6 * whole - 5 * kurtosis(others)
        np.testing.assert_allclose(found["kurtosis"][group], pseudo, **close)
        np.testing.assert_allclose(found["size"][group], np.sign(whole) * pseudo, **close)


def test_output_covariance_expects_the_limit(tmp_path):
    found = run({"kind": "output_covariance", "draws": 400}, network(64), tmp_path)
    error = found["product"].std(axis=0) / 20
    assert found["product"].shape == (400, 21)
    assert (abs(found["product"].mean(axis=0) - found["expected"]) < 4.5 * error).all()


def test_definiteness_knows_its_counter_examples(tmp_path):
    found = run({"kind": "definiteness", "draws": 2, "width": 64}, network(), tmp_path)
    definite = found["definite"].astype(bool)
    assert (found["smallest"][:, definite] > 1e-4).all()
    assert (found["smallest"][:, ~definite] < 1e-14).all()
    assert (found["limit"][~definite] < 1e-14).all()
    assert (found["parameters"] > 10 * found["points"]).all()
    case = found["case"].astype(str)
    assert case[found["hexagon"] == 1].tolist() == [
        "hexagon, bias", "hexagon, two layers", "hexagon"
    ]  # fmt: skip
    assert case[found["degenerate"] == 1].tolist() == ["parallel inputs", "duplicated input"]


def test_linearised_networks_decay_with_their_eigenvalues(tmp_path):
    entry = {"kind": "linear_descent", "draws": 2}
    found = run(entry, network(), tmp_path, training=TRAINING | {"learning_rate": 1e-3})
    np.testing.assert_allclose(found["ratio"], 1, atol=0.01)
    assert (np.diff(found["predicted"]) < 0).all()


def test_descent_ends_at_the_nearest_solution(tmp_path):
    entry, task = {"kind": "least_norm", "draws": 2, "steps": 1500}, CIRCLE | {"train_points": 3}
    found = run(entry, network(64), tmp_path, task)
    assert (found["to_least_norm"] < 1e-3).all()
    assert (found["prediction"] < 1e-3).all()
    assert (found["over_printed"] > 1).all()
    np.testing.assert_allclose(found["over_exact"], 1, atol=1e-3)
    assert (found["network_to_least_norm"] < 0.1).all()


def test_steps_beyond_the_largest_stable_one_raise_the_loss(tmp_path):
    entry = {"kind": "step_sweep", "draws": 2, "fractions": [0.5, 0.98, 1.05]}
    found = run(entry, network(64), tmp_path)
    assert (found["linear_rises"][:, :2] == 0).all()
    assert (found["network_rises"][:, 0] == 0).all()
    assert (found["linear_fall"][:, :2] < 1).all()
    assert (found["linear_fall"][:, 2] > 1).all()


def flow_and_steps(one, seed, batch, steps, rate):
    """Residuals of gradient flow and of descent, of a linearised network, written out."""
    x = inputs()
    weights = member(draw_parameters(one, [seed], dtype=torch.float64), 0)
    target = x[:, 0] * x[:, 1]
    gram = empirical_ntk(one, x, parameters=weights).values[0, 0]
    first = target - torch.func.functional_call(one, weights, (x,))[:, 0]
    flow = torch.stack([torch.matrix_exp(-2 * rate * t / 6 * gram) @ first
                        for t in range(steps + 1)])  # fmt: skip
    random, order, left = generator(seed, "split"), [], [first]
    for _ in range(steps):
        order = order or random.permutation(6).tolist()
        taken, order = order[:batch], order[batch:]
        mask = torch.zeros(6, dtype=torch.float64)
        mask[taken] = 1
        left.append(left[-1] - 2 * rate / len(taken) * gram @ (mask * left[-1]))
    distances = (torch.stack(left) - flow).norm(dim=1)
    return (distances.max() / first.norm()).item()


def test_minibatches_stray_further_from_gradient_flow(tmp_path):
    entry = {"kind": "minibatches", "draws": 2, "sizes": [1, 4]}
    found = run(entry, network(), tmp_path)
    steps, rate = TRAINING["steps"], TRAINING["learning_rate"]
    for seed in range(2):
        for column, batch in enumerate((1, 4)):
            expected = flow_and_steps(network(), seed, batch, steps, rate)
            assert found["minibatch"][seed, column] == pytest.approx(expected, rel=1e-6)
            full = flow_and_steps(network(), seed, 6, steps, rate)
            assert found["full"][seed, column] == pytest.approx(full, rel=1e-6)
    np.testing.assert_allclose(found["ratio"], found["minibatch"] / found["full"])
    assert (found["ratio"] > 1).all()


def test_a_step_costs_a_number_for_every_parameter(tmp_path, monkeypatch):
    def measure(call):
        return None, 0.0, sum(8.0 * gradient.numel() for gradient in call())

    monkeypatch.setattr("ntkstudy.theory.costs.measure_cost", measure)
    found = run({"kind": "step_cost", "draws": 2, "widths": [3, 5]}, network(), tmp_path)
    assert found["parameters"].tolist() == [2 * 3 + 3 * 3 + 3, 2 * 5 + 5 * 5 + 5]
    assert found["bytes"].tolist() == [[8 * d for d in found["parameters"]]] * 2
    assert found["per_parameter"].tolist() == [[1, 1]] * 2


def test_loss_is_convex_in_outputs_and_in_linearised_weights_only(tmp_path):
    found = run({"kind": "convexity", "draws": 3}, network(8), tmp_path)
    assert (found["network"] < -1e-3).all()
    assert (found["linearized"] > -1e-12).all()
    np.testing.assert_allclose(found["function"], 1)


def test_kappa_of_one_hidden_relu_layer_has_a_closed_form(tmp_path):
    """At x = 1 the Hessian pairs a_j with b_j where a_j > 0, with eigenvalues 1 and -1."""
    task = {"kind": "line_points", "inputs": [1.0], "targets": [2.0], "probe_points": 2,
            "probe_range": [0.0, 1.0]}  # fmt: skip
    one = mlp(1, [30], parameterization="standard", device="meta")
    found = run({"kind": "initial_kappa", "draws": 3, **LIMITS}, one, tmp_path, task)
    np.testing.assert_allclose(found["second_derivative"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["distance"], 2)
    np.testing.assert_allclose(found["kappa"], 2 / found["jacobian"] ** 2, rtol=1e-6)


def test_one_parameter_approaches_its_tangent(tmp_path):
    task = {"kind": "line_points", "inputs": [1.5], "targets": [3.0], "probe_points": 2,
            "probe_range": [0.0, 1.0]}  # fmt: skip
    model, training = (
        OneParameter(device="meta", dtype=torch.float64),
        TRAINING | {"learning_rate": 0.05, "steps": 400},
    )
    scales = [1000.0, 4000.0]
    found = run({"kind": "one_parameter", "scales": scales}, model, tmp_path, task, training)
    np.testing.assert_allclose(found["ratio"], 1, atol=0.01)
    slope = np.diff(np.log(found["distance"])) / np.log(4)
    assert slope == pytest.approx(-1, abs=0.01)
    entry = {"kind": "one_parameter_curves", "scales": scales, "points": 5, "reach": 3.0}
    curves = run(entry, model, tmp_path, task, training)
    np.testing.assert_allclose(curves["function"], curves["tangent"], atol=0.1)
    at_start = curves["shift"] == 0
    np.testing.assert_allclose(curves["loss"][:, at_start], 9.0)


NOISE, STOPPING = 0.3, TRAINING | {"learning_rate": 0.5, "steps": 400}


def descend_with_kernels(gram, cross, y, steps):
    """Outputs at the probe of gradient descent with a kernel from 0, step by step."""
    train, test = torch.zeros_like(y), torch.zeros(len(cross), *y.shape[1:], dtype=y.dtype)
    for _ in range(steps + 1):
        yield test.clone()
        slope = 2 * STOPPING["learning_rate"] / len(y) * (train - y)
        train, test = train - gram @ slope, test - cross @ slope


def descend_as_network(one, seed, x, y, probe):
    """Outputs at the probe of alpha (h - h_0) in training, with torch's own gradients."""
    start, alpha = draw_parameters(one, [seed], dtype=torch.float64), STOPPING["output_scale"]
    one = copy.deepcopy(one).to_empty(device="cpu").double()
    one.load_state_dict({name: p[0] for name, p in start.items()})
    before, before_probe = one(x).detach(), one(probe).detach()
    optimizer = torch.optim.SGD(one.parameters(), lr=STOPPING["learning_rate"])
    for _ in range(STOPPING["steps"] + 1):
        yield alpha * (one(probe).detach() - before_probe)
        optimizer.zero_grad()
        ((alpha * (one(x) - before) - y).square().sum() / len(y) / alpha**2).backward()
        optimizer.step()


def test_early_stopping_is_predicted(tmp_path):
    """Times of least error of descents step by step, and of the mean error over the noise."""
    entry = {"kind": "early_stopping", "draws": 4, "noise_std": NOISE}
    task = CIRCLE | {"train_points": 24, "probe_points": 48}
    one, steps = network(64, sigma_b=0.1), np.array(spread_steps(20, 400, "log"))
    found = run(entry, one, tmp_path, task, STOPPING)
    with task_data(tmp_path, task) as data:
        x, y, probe, clean = in_float64(data)
    gram, cross = limit_kernels(one, x).ntk, limit_kernels(one, probe, x).ntk
    # The outputs are A_t y: descents on the unit vectors give A_t.
    maps = list(descend_with_kernels(gram, cross, torch.eye(24, dtype=y.dtype), 400))
    means = [(a @ y - clean).square().sum() + NOISE**2 * a.square().sum() for a in maps]
    assert 1 < found["predicted"] == np.argmin(means) < 400
    for seed in range(4):
        noise = generator(seed, "labels").standard_normal(tuple(y.shape))
        noisy = y + NOISE * torch.as_tensor(noise)
        outputs = descend_as_network(one, seed, x, noisy, probe)
        for name, each in {"limit": [a @ noisy for a in maps], "measured": outputs}.items():
            errors = np.array([(f - clean).square().mean() for f in each])
            best = steps[np.argmin(errors[steps])]
            assert found[name][seed] == best
            assert found[f"{name}_hit"][seed] == (abs(math.log(best / np.argmin(means))) < 0.4055)


@pytest.mark.parametrize(
    ("measured", "hit"), [(100, 1), (150, 1), (151, 0), (67, 1), (66, 0), (1, 0)]
)
def test_hits_are_times_within_half_as_much_again(measured, hit):
    assert stopping._near(torch.tensor(measured), 100.0) == hit


def test_cost_growth_times_every_size(tmp_path, monkeypatch):
    rounds = iter([7.0, 7.0, 1.0, 4.0, 2.0, 5.0])  # the first one warms up
    sizes = []

    def seconds(setting, parameters, x):
        sizes.append(len(x))
        return next(rounds)

    monkeypatch.setattr("ntkstudy.theory.kernels._seconds", seconds)
    found = run({"kind": "cost_growth", "draws": 2, "sizes": [4, 8]}, network(), tmp_path)
    assert found["seconds"].tolist() == [[1, 4], [2, 5]]
    assert sizes == [4, 8] * 3
    assert found["points"].tolist() == [4, 8]


def test_seconds_of_a_kernel_are_those_of_its_processor(monkeypatch):
    one, x = network(), torch.ones(4, 2, dtype=torch.float64)
    setting = Setting(one, x, x[:, :1], DataSet(StageFile.__new__(StageFile)), {})

    def slow(*arguments, **options):
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        return empirical_ntk(*arguments, **options)

    monkeypatch.setattr("ntkstudy.theory.kernels.empirical_ntk", slow)
    drawn = member(draw_parameters(one, [0], dtype=torch.float64), 0)
    begin = time.process_time()
    seconds = kernels._seconds(setting, drawn, x)
    assert 0.1 <= seconds <= time.process_time() - begin


def test_setting_draws_the_same_networks_alone_and_in_groups(tmp_path, monkeypatch):
    one = network()
    x = torch.zeros(1, 2, dtype=torch.float64)
    setting = Setting(one, x, x[:, :1], DataSet(StageFile.__new__(StageFile)), {})
    together = [p["0.weight"] for p in setting.members(3)]
    monkeypatch.setattr("ntkstudy.theory.setting.NUMBERS", 1)
    for first, second in zip(together, setting.members(3), strict=True):
        assert torch.equal(first, second["0.weight"])


DIGITS = {
    "learning_rate": 1.0, "steps": 6, "snapshots": 3, "spacing": "linear", "dtype": "float64",
    "output_scale": 1.0,
}  # fmt: skip
ALONG = {"kind": "principal_component", "draws": 2, "component": 2, "size": 0.5}


def descend_along(x, seed, target):
    """Residuals of one network, step by step, with torch's own gradients."""
    one = network(16)
    start = draw_parameters(one, [seed], dtype=torch.float64)
    one.to_empty(device="cpu").double()
    one.load_state_dict({name: p[0] for name, p in start.items()})
    goal, optimizer = one(x).detach()[:, 0] + target, torch.optim.SGD(one.parameters(), lr=1.0)
    for _ in range(DIGITS["steps"] + 1):
        left = goal - one(x)[:, 0]
        yield left.detach().numpy()
        optimizer.zero_grad()
        left.square().mean().backward()
        optimizer.step()


def test_residual_is_split_along_and_across_a_principal_component(tmp_path):
    found = run(ALONG, network(16, output_dim=3), tmp_path, training=DIGITS)
    x = inputs()
    values, vectors = np.linalg.eigh(limit_kernels(network(), x).ntk.numpy() / len(x))
    v = vectors[:, -2] * math.sqrt(len(x))
    v *= np.sign(v[abs(v).argmax()])
    for seed in range(2):
        left = np.stack(list(descend_along(x, seed, torch.as_tensor(0.5 * v))))[found["step"]]
        along = left @ v / len(x)
        across = np.sqrt(((left - np.outer(along, v)) ** 2).mean(axis=1))
        np.testing.assert_allclose(found["along"][seed], along, rtol=1e-10)
        np.testing.assert_allclose(found["across"][seed], across, rtol=1e-9, atol=1e-14)
        assert found["leak"][seed] == pytest.approx(across.max() / 0.5, rel=1e-9)
    expected = 0.5 * (1 - 2 * values[-2]) ** found["step"]
    np.testing.assert_allclose(found["expected"], expected, rtol=1e-10)


def test_wide_networks_stay_on_the_principal_component(tmp_path):
    narrow, wide = (run(ALONG, network(n), tmp_path, training=DIGITS) for n in (32, 8192))
    np.testing.assert_allclose(wide["rate_ratio"], 1, atol=0.05)
    assert wide["leak"].mean() < 0.2 * narrow["leak"].mean()


def test_a_large_output_scale_is_a_small_target(tmp_path):
    found = run(ALONG, network(), tmp_path, training=DIGITS | {"output_scale": 10.0})
    small = run(ALONG | {"size": 0.05}, network(), tmp_path, training=DIGITS)
    for name in ("along", "across"):
        np.testing.assert_allclose(found[name], 10 * small[name], rtol=1e-8, atol=1e-13)

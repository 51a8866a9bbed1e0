"""Checks of training: engines on the device, and training in closed form."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from torch import Tensor

import ntkflow
from ntkflow.linalg.batches import largest_eigenvalues
from ntkflow.regression.kernel_machines import fit_cross_entropy

from .checking import DOUBLE, SINGLE, Check, Values, draw, run_checks
from .parts import Part, Row, Setting, Skip, Step

SEEDS, STEPS = 3, 12
TRAINED = {DOUBLE: 1e-11, SINGLE: 5e-6}


# Engines


def engines(setting: Setting) -> list[Row]:
    """Written-out gradients and torch.func, every loss, optimizer, penalty and activation."""
    return run_checks(_engine_checks(), setting)


DESCENT = dict(optimizer=ntkflow.GradientDescent(0.05))
VARIANTS: dict[str, dict] = {
    "plain": {},
    "cross-entropy": dict(objective=ntkflow.Objective("cross_entropy")),
    "Adam": dict(optimizer=ntkflow.Adam(0.01)),
    "penalties": dict(optimizer=ntkflow.GradientDescent(0.05, ntkflow.Penalty(l1=1e-3, l2=1e-3))),
    "Adam, decoupled": dict(
        optimizer=ntkflow.Adam(0.01, ntkflow.Penalty(l2=1e-2, decay="decoupled"))
    ),
    "centred": dict(objective=ntkflow.Objective("mse", 3.0, True)),
}
ACTIVATIONS = ("relu", "tanh", "erf", "sin", "abs", "gelu")


def _engine_checks() -> Iterator[Check]:
    for name, options in VARIANTS.items():
        for engine in ("dense", "general"):
            yield _trained(f"{engine}, {name}", {}, engine, options)
    for activation in ACTIVATIONS:
        yield _trained(f"dense, {activation}", dict(activation=activation), "dense", {})
    yield _trained("batch normalisation", dict(normalization="batch"), "general", {})
    yield _dropout()


def _trained(name: str, architecture: dict, engine: str, options: dict) -> Check:
    network = ntkflow.mlp(4, [12, 10], 2, sigma_b=0.3, **architecture)
    train = partial(_train, network, options)
    return Check(name, partial(train, engine), partial(train, "general", "cpu", DOUBLE), TRAINED)


def _train(network, options: dict, engine: str, place, dtype: torch.dtype) -> Values:
    """Losses, and parameters after training."""
    start = ntkflow.draw_parameters(network, range(SEEDS), dtype=dtype, device=place)
    x, y = draw(16, 4).to(place, dtype), torch.eye(2).repeat(8, 1).to(place, dtype)
    schedule = ntkflow.Schedule(STEPS, record=range(STEPS + 1))
    training = DESCENT | options | dict(schedule=schedule, engine=engine)
    found = ntkflow.train_ensemble(network, start, x, y, **training)
    return [found.losses, *(found.parameters[name] for name in sorted(start))]


def _dropout() -> Check:
    """Masks depend on the device's own generator: two runs, the second beside other seeds."""
    network = ntkflow.mlp(4, [12], 2, dropout=0.5)

    def run(place, dtype, seeds):
        start = ntkflow.draw_parameters(network, seeds, dtype=dtype, device=place)
        x, y = draw(16, 4).to(place, dtype), torch.eye(2).repeat(8, 1).to(place, dtype)
        options = DESCENT | dict(schedule=ntkflow.Schedule(STEPS), noise_seeds=seeds)
        return ntkflow.train_ensemble(network, start, x, y, **options).parameters

    def found(place, dtype):
        alone, among = run(place, dtype, [1]), run(place, dtype, [0, 1])
        return [alone[name][0] - among[name][1] for name in alone]

    def wanted():
        return [torch.zeros(p.shape) for _, p in network.named_parameters()]

    exactly = {DOUBLE: 0.0, SINGLE: 0.0}
    return Check("dropout, a seed alone and among others", found, wanted, exactly)


def arcs(setting: Setting) -> list[Row]:
    """The device's dense engine against the CPU's engine for one hidden layer on the circle."""
    try:
        import numba  # noqa: F401
    except ImportError:
        raise Skip("numba is not installed, which the engine 'arcs' needs") from None
    network, angles = ntkflow.mlp(2, [30], sigma_b=0.3), draw(16).mul(2 * math.pi)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)

    def train(engine, place, dtype):
        start = ntkflow.draw_parameters(network, range(SEEDS), dtype=dtype, device=place)
        task = (x.to(place, dtype), (x[:, :1] * x[:, 1:]).to(place, dtype))
        options = DESCENT | dict(schedule=ntkflow.Schedule(STEPS), engine=engine)
        found = ntkflow.train_ensemble(network, start, *task, **options).parameters
        return [found[name] for name in sorted(start)]

    wanted = partial(train, "arcs", "cpu", DOUBLE)
    check = Check("dense, on the circle", partial(train, "dense"), wanted, TRAINED)
    return run_checks([check], setting)


# Training in closed form

EXACT = {DOUBLE: 1e-10}  # computed in float64, whatever the kernel's type
TIMES = [0, 1, 7, 100, math.inf]


def dynamics(setting: Setting) -> list[Row]:
    """Predictions at any time, regressions, linearised networks and measures of laziness."""
    return run_checks([*_dynamics_checks(), *_regression_checks(), *_lazy_checks()], setting)


def _here(name: str, compute: Callable[..., Values], tolerances=None) -> Check:
    """A computation on the device against the same on the CPU in float64."""
    wanted = cache(partial(compute, torch.device("cpu"), DOUBLE))
    return Check(name, compute, wanted, tolerances or EXACT)


def _task(place, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernels of ten training and four test points, of rank nine, and targets of both."""
    features, rest = draw(10, 9), draw(4, 9, seed=1)
    gram, cross = features @ features.T / 9, rest @ features.T / 9
    targets = draw(10, 2, seed=2), draw(4, 2, seed=3)
    return tuple(each.to(place, dtype) for each in (gram, cross, *targets))


def _dynamics_checks() -> Iterator[Check]:
    methods = {
        "gradient descent": {},
        "momentum": dict(momentum=0.9),
        "gradient flow": dict(method="gradient_flow"),
    }
    for name, options in methods.items():
        yield _here(f"{name}, at all times", partial(_predictions, options))
    yield Check("gradient descent, step by step", _seven_steps, _seven_steps_taken, EXACT)
    # The search for the time stops at a relative change of 1e-6.
    yield _here("early stopping", _stopping, {DOUBLE: 1e-5})


def _predictions(options: dict, place, dtype) -> Values:
    gram, cross, y, _ = _task(place, dtype)
    training = ntkflow.TrainingDynamics(gram, learning_rate=0.5, **options)
    test = cross @ cross.mT
    return [
        training.rates,
        training.train_mean(y, TIMES),
        training.mean(cross, y, TIMES),
        training.train_covariance(gram, TIMES),
        training.covariance(cross, gram, cross, test, TIMES),
        training.variance(cross, gram, cross, test.diagonal(), TIMES),
        training.lazy_distance(y, TIMES),
        training.time_to_residual(0.1)[:8],
    ]


def _seven_steps(place, dtype) -> Values:
    gram, cross, y, _ = _task(place, dtype)
    training = ntkflow.TrainingDynamics(gram, learning_rate=0.5)
    return [training.train_mean(y, 7), training.mean(cross, y, 7)]


def _seven_steps_taken() -> Values:
    """The same, f <- f - (2 eta / M) K (f - y) seven times."""
    gram, cross, y, _ = _task("cpu", DOUBLE)
    f, test = torch.zeros(10, 2).double(), torch.zeros(4, 2).double()
    for _ in range(7):
        residual = 0.1 * (f - y)
        f, test = f - gram @ residual, test - cross @ residual
    return [f, test]


def _stopping(place, dtype) -> Values:
    gram, cross, y, clean = _task(place, dtype)
    training = ntkflow.TrainingDynamics(gram, learning_rate=0.1, method="gradient_flow")
    options = dict(noise_std=0.5)
    best = ntkflow.early_stopping_time(training, cross, y, clean, **options)
    errors = ntkflow.expected_test_error(training, cross, y, clean, [0, 3, best], **options)
    return [errors, gram.new_tensor([best])]


def _regression_checks() -> Iterator[Check]:
    yield _here("regression, Gaussian process", _regressions)
    yield _here("kernel machines", _machines)
    yield _here("batched eigenvalues", lambda *at: [largest_eigenvalues(_task(*at)[0][None])])


def _regressions(place, dtype) -> Values:
    gram, cross, y, _ = _task(place, dtype)
    posterior = ntkflow.gaussian_process(gram, cross, cross @ cross.mT, y, ridge=0.1)
    return [ntkflow.ridge_regression(gram, cross, y, ridge=0.1), *posterior]


def _machines(place, dtype) -> Values:
    gram = _task(place, dtype)[0]
    y = torch.eye(2).repeat(5, 1).to(gram)
    start = torch.zeros(2, 2, 10).to(gram)
    return [fit_cross_entropy(gram, y, start, learning_rate=0.01, steps=20).coefficients]


def _lazy_checks() -> Iterator[Check]:
    yield _here("linearised training", _linearised)
    # Power iterations stop at a relative change of 1e-8.
    yield _here("laziness", _laziness, {DOUBLE: 1e-6})
    yield Check("spectra of tensors on the device", _spectra, _spectra_there, EXACT)


def _network(place, dtype) -> tuple[torch.nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    network = ntkflow.mlp(4, [12, 10], 2, activation="tanh", sigma_b=0.3).to(place, dtype)
    return network, draw(5, 4).to(place, dtype), draw(5, 2, seed=1).to(place, dtype)


def _linearised(place, dtype) -> Values:
    network, x, y = _network(place, dtype)
    training = ntkflow.LinearizedTraining(network, x, y, learning_rate=0.1)
    linear, scaled = ntkflow.Linearized(network), ntkflow.ScaledOutput(network, 3.0, centred=False)
    with torch.no_grad():
        for parameter in linear.network.parameters():
            parameter.add_(0.1)
        outputs = [linear(x), scaled(x)]
    return [*outputs, training.outputs(x[:2], 50), *training.weights(50).values()]


def _laziness(place, dtype) -> Values:
    network, x, y = _network(place, dtype)
    return [x.new_tensor([ntkflow.kappa(network, x, y).kappa, ntkflow.jacobian_norm(network, x)])]


def _spectra(place, dtype) -> Values:
    gram, _, y, _ = _task(place, dtype)
    measures = [ntkflow.alignment(gram, y), ntkflow.effective_rank(gram.diagonal())]
    return [gram.new_tensor([*measures, ntkflow.kernel_drift(gram + 1, gram)])]


def _spectra_there() -> Values:
    gram, _, y, _ = (each.numpy() for each in _task("cpu", DOUBLE))
    measures = [ntkflow.alignment(gram, y), ntkflow.effective_rank(gram.diagonal())]
    return [torch.tensor([*measures, ntkflow.kernel_drift(gram + 1, gram)], dtype=DOUBLE)]


PARTS = (
    Part("engines", "training, every engine", (Step("checks", engines, 12),)),
    Part("arcs", "training on the circle against the engine for it", (Step("checks", arcs, 6),)),
    Part("dynamics", "training in closed form, regression", (Step("checks", dynamics, 8),)),
)

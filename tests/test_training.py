import gc

import pytest
import torch
from descents import descent
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from ntkflow.errors import ConfigurationError
from ntkflow.networks import Dense, cnn, draw_parameters, member, mlp
from ntkflow.training import GradientDescent, Loss, Objective, Schedule, train_ensemble
from ntkflow.training.engines import choose_engine
from ntkflow.training.general import GeneralGroup
from ntkflow.training.preparation import _groups

ACTIVATIONS = ["relu", "erf", "tanh", "sin", "gelu", "abs", "linear"]


pytestmark = pytest.mark.usefixtures("one_thread")


def problem(n0=2, m=7, outputs=1, dtype=torch.float64):
    g = torch.Generator().manual_seed(3)
    x = torch.randn(m, n0, generator=g, dtype=dtype)
    return x, torch.randn(m, outputs, generator=g, dtype=dtype)


def naive(network, parameters, x, y, *, eta, steps, alpha=1.0, centred=False):
    """Autograd gradient descent of one seed; parameters and losses of every step."""
    parameters = {k: v.clone().requires_grad_() for k, v in parameters.items()}
    h0 = functional_call(network, parameters, (x,)).detach() if centred else 0
    losses = []
    for _ in range(steps + 1):
        f = alpha * (functional_call(network, parameters, (x,)) - h0)
        loss = (f - y).square().sum(-1).mean() / alpha**2
        losses.append(loss.item())
        final = {k: v.detach().clone() for k, v in parameters.items()}
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for p, g in zip(parameters.values(), gradients, strict=True):
                p -= eta * g
    return final, losses


def assert_follows_naive(
    network, parameters, x, y, *, eta=0.1, steps=30, engine="dense", **scaling
):
    result = train_ensemble(
        network, parameters, x, y, **descent(eta, steps, record=range(steps + 1)), engine=engine,
        objective=Objective("mse", scaling.get("alpha", 1.0), scaling.get("centred", False)),
    )  # fmt: skip
    for s in range(len(result.losses)):
        final, losses = naive(network, member(parameters, s), x, y, eta=eta, steps=steps, **scaling)
        torch.testing.assert_close(result.losses[s].tolist(), losses, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(member(result.parameters, s), final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(9,), (5, 8), (6, 4, 7)])
def test_every_activation_and_depth(activation, widths, engine):
    network = mlp(2, widths, activation=activation, sigma_b=0.3, dtype=torch.float64)
    assert_follows_naive(network, draw_parameters(network, [0, 1]), *problem(), engine=engine)


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize(
    "options",
    [dict(sigma_b=0.0), dict(sigma_b=0.5, bias="zero"), dict(sigma_w=2**0.5), dict(output_dim=3)],
)
def test_biases_scales_and_outputs(options, engine):
    network = mlp(3, (6, 5), dtype=torch.float64, **options)
    task = problem(n0=3, outputs=options.get("output_dim", 1))
    assert_follows_naive(network, draw_parameters(network, [4, 5, 6]), *task, engine=engine)


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("alpha", [0.5, 10.0])
def test_output_scale_and_centring(alpha, centred, engine):
    network = mlp(2, (8,), activation="erf", sigma_b=0.2, dtype=torch.float64)
    parameters = draw_parameters(network, [0, 1])
    scaling = dict(alpha=alpha, centred=centred)
    assert_follows_naive(network, parameters, *problem(), engine=engine, **scaling)


def test_torch_linear_layers():
    layers = [nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 1)]
    network = nn.Sequential(*layers).double()
    assert_follows_naive(network, draw_parameters(network, [0, 1]), *problem())


def test_convolutional_network():
    network = cnn(1, (3,), 2, image_size=4, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 1, 4, 4, generator=g, dtype=torch.float64)
    y = torch.randn(5, 2, generator=g, dtype=torch.float64)
    assert_follows_naive(network, draw_parameters(network, [0, 1]), x, y, engine="auto", steps=5)


@settings(max_examples=25)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    n0=st.integers(1, 4),
    m=st.integers(1, 5),
    outputs=st.integers(1, 3),
    seeds=st.integers(1, 3),
    sigma_b=st.sampled_from([0.0, 0.1]),
)
def test_small_shapes(widths, n0, m, outputs, seeds, sigma_b):
    network = mlp(n0, widths, outputs, activation="tanh", sigma_b=sigma_b, dtype=torch.float64)
    task = problem(n0, m, outputs)
    assert_follows_naive(network, draw_parameters(network, range(seeds)), *task, steps=4)


def test_input_is_not_changed_and_vector_targets_are_allowed():
    network = mlp(2, (4,), dtype=torch.float64)
    parameters = draw_parameters(network, [0, 1])
    before = {name: p.clone() for name, p in parameters.items()}
    x, y = problem()
    flat = train_ensemble(network, parameters, x, y[:, 0], **descent(0.1, 3))
    column = train_ensemble(network, parameters, x, y, **descent(0.1, 3))
    assert all(torch.equal(before[name], parameters[name]) for name in before)
    assert all(torch.equal(flat.parameters[name], column.parameters[name]) for name in before)


@pytest.mark.parametrize("engine", ["dense", "general"])
def test_records_and_snapshots(engine):
    network = mlp(2, (5,), sigma_b=0.1, dtype=torch.float64)
    parameters = draw_parameters(network, [0, 1, 2])
    x, y = problem()
    seen = {}

    def look(step, p):
        seen[step] = {name: each.clone() for name, each in p.items()}

    looks = dict(record=[300, 0, 7], snapshots=[0, 7, 300], on_snapshot=look)
    result = train_ensemble(network, parameters, x, y, **descent(0.1, 300, **looks), engine=engine)
    assert result.steps.tolist() == [0, 7, 300]
    assert result.losses.shape == (3, 3)
    short = train_ensemble(network, parameters, x, y, **descent(0.1, 7), engine=engine)
    for name, initial in parameters.items():
        assert torch.equal(seen[0][name], initial)
        assert torch.equal(seen[7][name], short.parameters[name])
        assert torch.equal(seen[300][name], result.parameters[name])
    whole = train_ensemble(
        network, parameters, x, y, **descent(0.1, 300, record=[7]), engine=engine
    )
    assert torch.equal(whole.losses[:, 0], result.losses[:, 1])


def test_no_steps():
    network = mlp(2, (5,), dtype=torch.float64)
    parameters = draw_parameters(network, [3])
    result = train_ensemble(
        network,
        parameters,
        *problem(),
        **descent(0.1, 0, record=[0]),
    )
    assert torch.equal(result.parameters["0.weight"], parameters["0.weight"])
    assert result.losses.isfinite().all()


@pytest.mark.parametrize(
    ("engine", "widths"), [("dense", (6,)), ("dense", (6, 4)), ("general", (6,))]
)
def test_one_seed_diverges_and_harms_nobody(engine, widths):
    network = mlp(2, widths, sigma_b=0.1, dtype=torch.float64)
    parameters = draw_parameters(network, range(4))
    x, y = problem()
    options = descent(0.1, 260, record=[0, 1, 2, 259, 260]) | {"engine": engine}
    sound = train_ensemble(network, parameters, x, y, **options)
    assert sound.diverged_at.tolist() == [-1] * 4
    wild = {name: p.clone() for name, p in parameters.items()}
    for p in wild.values():
        p[2] *= 30
    result = train_ensemble(network, wild, x, y, **options)
    others = [0, 1, 3]
    assert result.diverged_at[others].tolist() == [-1] * 3
    assert torch.equal(result.losses[others], sound.losses[others])
    for name, p in result.parameters.items():
        assert torch.equal(p[others], sound.parameters[name][others])
        assert p[2].isnan().all()
    at = result.diverged_at[2].item()
    assert 0 < at < 260
    expected = torch.tensor([0, 1, 2, 259, 260]) >= at
    assert torch.equal(result.losses[2].isnan(), expected)


def test_step_of_divergence_is_the_first_above_the_bound():
    network = nn.Sequential(Dense(1, 1, dtype=torch.float64))
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    parameters = {"0.weight": torch.ones(1, 1, 1, dtype=torch.float64)}
    # w <- (1 - 2 eta) w = -10 w: the loss 100^t exceeds 1e6 (1 + 0) first at t = 4.
    result = train_ensemble(network, parameters, x, y, **descent(5.5, 9))
    assert result.diverged_at.tolist() == [4]


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("widths", [(10,), (100,), (1000,), (5, 8, 33), (300, 300, 300)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_seed_alone_is_bitwise_the_same(widths, dtype, engine):
    network = mlp(2, widths, sigma_b=0.1, dtype=dtype)
    parameters = draw_parameters(network, range(10))
    x, y = problem(m=64, dtype=dtype)
    together = train_ensemble(network, parameters, x, y, **descent(0.1, 4), engine=engine)
    for s in (0, 4, 9):
        one = {name: p[s : s + 1] for name, p in parameters.items()}
        alone = train_ensemble(network, one, x, y, **descent(0.1, 4), engine=engine)
        for name, p in alone.parameters.items():
            assert torch.equal(p[0], together.parameters[name][s])


@pytest.mark.parametrize(
    ("widths", "device", "name"),
    [([20], "cpu", "ArcEngine"), ([20], "meta", "DenseEngine"), ([20, 20], "cpu", "DenseEngine")],
)
def test_auto_takes_the_first_engine_that_fits(widths, device, name):
    network = mlp(2, widths)
    parameters = draw_parameters(network, [0])
    angles = torch.arange(9.0, device=device)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    chosen = choose_engine("auto", network, parameters, x, GradientDescent(0.1))
    assert chosen.__name__ == name


def test_groups_cover_the_seeds():
    assert _groups(10, 1) == [slice(i, i + 1) for i in range(10)]
    assert _groups(10, 4) == [slice(0, 5), slice(5, 10)]
    assert _groups(1, 4) == [slice(0, 2)]
    assert all(len(range(10)[g]) > 1 for size in range(2, 12) for g in _groups(10, size))


def test_meta_device():
    network = mlp(2, (5, 4), sigma_b=0.1)
    parameters = draw_parameters(network, [0, 1, 2], device="meta")
    result = train_ensemble(
        network,
        parameters,
        *problem(),
        **descent(0.1, 2, record=[1]),
    )
    assert result.parameters["0.weight"].shape == (3, 5, 2)
    assert result.losses.shape == (3, 1)
    assert result.losses.is_meta


class PseudoHuber(Loss):
    """Sum over outputs of sqrt(1 + (f - y)^2) - 1, mean over samples, over alpha^2."""

    def __init__(self, y, output_scale, offset):
        self.y, self.output_scale, self.offset = y, output_scale, offset
        self.weight = 1 / (len(y) * output_scale)

    @staticmethod
    def check(y):
        pass

    def gap(self, outputs):
        return self.output_scale * (outputs - self.offset) - self.y

    def value(self, outputs):
        values = (1 + self.gap(outputs).square()).sqrt() - 1
        return values.sum(-1).mean(-1) / self.output_scale**2

    def residual(self, outputs, *, out):
        gap = self.gap(outputs)
        return out.copy_(gap / (1 + gap.square()).sqrt())


@pytest.mark.parametrize("engine", ["dense", "general"])
def test_a_loss_of_ones_own(engine):
    network, (x, y) = mlp(2, (6,), 3, dtype=torch.float64), problem(outputs=3)
    start = draw_parameters(network, [0, 1])
    objective = Objective(PseudoHuber, output_scale=2.0, centred=True)
    found = train_ensemble(
        network, start, x, y, **descent(0.1, 4), objective=objective, engine=engine
    )
    parameters = member(start, 1)
    h0 = functional_call(network, parameters, (x,))
    for _ in range(4):
        p = {name: each.clone().requires_grad_() for name, each in parameters.items()}
        f = 2 * (functional_call(network, p, (x,)) - h0)
        loss = ((1 + (f - y) ** 2).sqrt() - 1).sum(1).mean() / 4
        gradients = torch.autograd.grad(loss, list(p.values()))
        parameters = {n: p[n].detach() - 0.1 * g for n, g in zip(p, gradients, strict=True)}
    torch.testing.assert_close(member(found.parameters, 1), parameters, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Objective("mae"),
            "loss: 'mae' is unknown; allowed: mse, cross_entropy; did you mean mse?",
        ),
        (lambda: Objective(output_scale=0.0), "output_scale: 0.0 is not allowed; use a number > 0"),
        (lambda: Schedule(-1), "steps: -1 is not allowed; use an integer >= 0"),
        (lambda: Schedule(3, record=[0, 4]), "record: 4 is not within 0 .. steps = 3"),
        (lambda: Schedule(3, snapshots=[-1]), "snapshots: -1 is not within 0 .. steps = 3"),
        (
            lambda: Schedule(3, snapshots=[1]),
            "on_snapshot: None is not allowed with snapshots; use a function",
        ),
    ],
)
def test_mistakes_in_objectives_and_schedules(make, message):
    with pytest.raises(ConfigurationError) as error:
        make()
    assert str(error.value) == message


def test_unknown_engine():
    network = mlp(2, (4,))
    start, message = draw_parameters(network, [0]), "allowed: auto, arcs, dense, general, loop$"
    with pytest.raises(ConfigurationError, match=f"^engine: 'fast' is unknown; {message}"):
        train_ensemble(network, start, *problem(), **descent(0.1, 3), engine="fast")


def test_inputs_without_targets_are_an_error(unchecked_types):
    network, (x, y) = mlp(2, (4,)), problem()
    start = draw_parameters(network, [0])
    with pytest.raises(ConfigurationError, match=rf"^y: {len(y) - 1} targets for {len(x)} inputs"):
        train_ensemble(network, start, x, y[1:], **descent(0.1, 1))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(), nn.Linear(3, 1)), r"layer 1 \(Softplus"),
        (nn.Sequential(nn.Linear(2, 3), nn.GELU("tanh"), nn.Linear(3, 1)), r"layer 1 \(GELU"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "the last layer is not a dense layer"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 1)), "does not follow a dense layer"),
        (nn.Linear(2, 1), "Linear is not an nn.Sequential"),
        (mlp(2, (3,), sigma_w=0.0), "has no weights that matter"),
    ],
)
def test_dense_engine_says_why_it_does_not_fit(network, reason):
    with pytest.raises(ConfigurationError, match=f"engine: 'dense' does not fit.*{reason}"):
        train_ensemble(
            network, draw_parameters(network, [0]), *problem(), **descent(0.1, 1),
            engine="dense",
        )  # fmt: skip


def test_convolutional_networks_train_one_at_a_time_as_in_torch():
    network = cnn(
        1, [2], 3, image_size=4, kernel_size=3, padding="valid", parameterization="pytorch"
    )
    start = draw_parameters(network, range(2), dtype=torch.float64)
    x, y = torch.randn(5, 1, 4, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    options = descent(0.05, 4) | {"engine": "general"}
    found = train_ensemble(network, start, x, y, **options).parameters
    by_hand = {name: p[1].clone().requires_grad_() for name, p in start.items()}
    for _ in range(4):
        outputs = torch.func.functional_call(network, by_hand, (x,))
        loss = (outputs - y).square().sum(-1).mean()
        gradients = torch.autograd.grad(loss, list(by_hand.values()))
        by_hand = {
            name: (p - 0.05 * g).detach().requires_grad_()
            for (name, p), g in zip(by_hand.items(), gradients, strict=True)
        }
    for name, p in by_hand.items():
        torch.testing.assert_close(found[name][1], p.detach(), rtol=1e-12, atol=1e-12)


def test_no_graph_is_held_between_the_turns_of_networks():
    network = cnn(1, [2], 1, image_size=4, kernel_size=3, padding="valid")
    x, held = torch.randn(3, 1, 4, 4), []

    def look(step, parameters):
        groups = [each for each in gc.get_objects() if issubclass(type(each), GeneralGroup)]
        held.append([group.outputs for group in groups if group.named["0.weight"].shape[0] == 2])

    train_ensemble(
        network, draw_parameters(network, range(3)), x, x[:, 0, 0, :1],
        optimizer=GradientDescent(0.1), engine="general",
        schedule=Schedule(2, snapshots=[0, 1, 2], on_snapshot=look),
    )  # fmt: skip
    assert held == [[None] * 3] * 3


def test_parameters_must_be_those_of_the_network():
    network, x = mlp(2, [3], sigma_b=0.1), torch.ones(4, 2)
    start = draw_parameters(network, [0])
    how = dict(optimizer=GradientDescent(0.1), schedule=Schedule(1))
    less = {name: p for name, p in start.items() if name != "0.bias"}
    for parameters, problem in (
        (less, "'0.bias' is missing; use 0.weight, 0.bias, 2.weight, 2.bias"),
        (start | {"zzz": x}, "'zzz' is no parameter of the network"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            train_ensemble(network, parameters, x, x[:, :1], **how)
    network[0].weight.requires_grad_(False)
    with pytest.raises(ConfigurationError, match=r"'0.weight' requires no gradient"):
        train_ensemble(network, start, x, x[:, :1], **how)

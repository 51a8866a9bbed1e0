"""Full-batch training of whole ensembles of networks, all seeds of a block together."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_tensors
from ..errors import ConfigurationError
from ..networks import drops_out, has_modes
from ..networks.evaluation import uses_batch_statistics
from .arcs import ArcEngine
from .dense import DenseEngine
from .ensemble import GroupTraining, TrainingResult
from .general import GeneralEngine
from .losses import LOSSES
from .optimizers import DECAYS, OPTIMIZERS, Regularization, make_optimizer

__all__ = ["TrainingResult", "train_ensemble"]

ENGINES = {"arcs": ArcEngine, "dense": DenseEngine, "general": GeneralEngine}


def train_ensemble(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "m *d"],
    y: Float[Tensor, "m *o"],
    *,
    learning_rate: float,
    steps: int,
    loss: str = "mse",
    optimizer: str = "sgd",
    l1: float = 0.0,
    l2: float = 0.0,
    decay: str = "coupled",
    engine: str = "auto",
    output_scale: float = 1.0,
    centred: bool = False,
    noise_seeds: Sequence[int] | None = None,
    record_steps: Sequence[int] = (),
    snapshot_steps: Sequence[int] = (),
    on_snapshot: Callable[[int, dict[str, Tensor]], object] | None = None,
) -> TrainingResult:
    """Train every member of an ensemble by full-batch gradient descent or Adam.

    theta <- theta - eta dL/dtheta with L = (1/M) sum_i l(f(x_i), y_i) / alpha^2, l the squared
    distance |f - y|^2 or the cross-entropy -sum_o y_o log softmax(f)_o, both summed over the
    outputs, f = alpha h or, centred, f = alpha (h - h_0) with the network h and its initial
    function h_0. Source: Jacot et al. 2018 (arXiv:1806.07572); scale alpha: Chizat, Bach 2018
    (arXiv:1812.07956).

    A seed's numbers do not depend on its neighbours: bitwise at one thread.

    Layers in training mode train as such: batch normalisation uses and differentiates the
    statistics of all M samples, dropout draws new masks for each seed and step, on the device of
    the parameters. Recorded losses are those of this function, masks included.

    Args:
        network: maps (M, *d) to (M, O); only its structure is used, and the modes of its layers.
        parameters: name to tensor (S, *shape) as `draw_parameters` makes it; not changed. Their
            dtype and device are those of the training.
        x: inputs.
        y: targets (M, O), or (M,) for one output.
        learning_rate: eta > 0.
        steps: number of updates, >= 0.
        loss: "mse" or "cross_entropy", whose targets are one-hot rows.
        optimizer: "sgd" (gradient descent on all samples) or "adam".
        l1: factor >= 0 of the penalty |theta|_1 on all parameters.
        l2: factor >= 0 of the penalty |theta|^2, without 1/2.
        decay: "coupled" (the penalties are part of the loss), "decoupled" (their gradient times
            eta is subtracted beside the step of the loss) or "seed" (coupled, and l2 theta is
            subtracted once more, without eta). Recorded losses leave the penalties out.
        engine: "arcs" (one hidden ReLU layer, one output, inputs on a circle, on the CPU: O(n + M)
            a step), "dense" (written-out gradients of multilayer perceptrons), "general"
            (torch.func, any network) or "auto": the first of these that fits.
        output_scale: alpha > 0.
        centred: subtract the initial function; not for dropout, which makes that random.
        noise_seeds: one per member, for its dropout masks; needed with dropout only.
        record_steps: steps whose losses are recorded, 0 (before any update) to `steps`.
        snapshot_steps: steps, 0 to `steps`, at which `on_snapshot` is called.
        on_snapshot: called with the step and the parameters (S, *shape) after so many updates;
            the tensors change when training goes on, so copy what is to be kept.

    Returns:
        Final parameters, losses and steps of divergence. A seed diverges when its loss is not
        finite or above 1e6 (L at step 0 + L of the zero function); its parameters become NaN.

    Raises:
        ConfigurationError: if a name is unknown, a number out of range, inputs and targets differ
            in number, the engine does not fit the network, dropout has no seeds, or batch
            normalisation keeps running averages.

    Example:
        >>> network, x = ntkflow.mlp(2, [64]), torch.randn(20, 2)
        >>> start = ntkflow.draw_parameters(network, seeds=range(3))
        >>> y = x[:, :1] * x[:, 1:]
        >>> found = ntkflow.train_ensemble(
        ...     network, start, x, y, learning_rate=0.1, steps=50, record_steps=[0, 50]
        ... )
        >>> found.losses.shape, found.diverged_at.tolist()
        (torch.Size([3, 2]), [-1, -1, -1])
    """
    check_tensors(x=x, y=y)
    _check(learning_rate, steps, output_scale, record_steps, snapshot_steps)
    _check_names(loss=loss, optimizer=optimizer, decay=decay)
    penalty = Regularization(*_check_penalties(l1=l1, l2=l2), decay)
    some = next(iter(parameters.values()))
    if len(x) != len(y):
        raise ConfigurationError(f"y: {len(y)} targets for {len(x)} inputs; use one for each")
    seeds, x, y = len(some), x.to(some), y.to(some).reshape(len(y), -1)
    LOSSES[loss].check(y)
    plain = optimizer == "sgd" and not penalty
    chosen = _choose_engine(engine, network, parameters, x, plain=plain)
    # Masks and batch statistics of several networks at once would depend on how many there are.
    size = 1 if has_modes(network) else chosen.seeds_per_group(parameters, x)
    groups = _groups(seeds, size)
    if groups[-1].stop > seeds:
        parameters = {name: torch.cat([p, p]) for name, p in parameters.items()}
    _check_averages(network)
    noise = _noise(network, noise_seeds, seeds, centred=centred)
    ensemble = chosen(network, parameters, x, **noise)
    training = [
        GroupTraining(
            ensemble.group(group),
            lambda offset: LOSSES[loss].scaled(
                y, output_scale, offset if centred else torch.zeros_like(offset)
            ),
            make_optimizer(optimizer, learning_rate, penalty),
            y,
            sorted(set(record_steps)),
        )
        for group in groups
    ]
    visible = {name: p[:seeds] for name, p in ensemble.parameters.items()}
    for stop in sorted({*snapshot_steps, steps}):
        for each in training:
            each.advance(stop)
        if stop in snapshot_steps and on_snapshot is not None:
            on_snapshot(stop, visible)
    return TrainingResult(
        parameters=visible,
        steps=torch.tensor(sorted(set(record_steps)), dtype=torch.int64),
        losses=torch.cat([each.losses for each in training])[:seeds],
        diverged_at=torch.cat([each.diverged_at for each in training])[:seeds],
    )


def _groups(seeds: int, size: int) -> list[slice]:
    """Even slices of `size` or somewhat more seeds: all of one seed, or all of at least two.

    One matrix in a batched product takes another path through the matrix library than several,
    with other rounding. Where networks train in groups, a seed without company therefore trains
    beside its own copy: its slice ends one after the last seed.
    """
    if size == 1:
        return [slice(i, i + 1) for i in range(seeds)]
    count = max(1, seeds // size)
    edges = [seeds * i // count for i in range(count)]
    return [slice(*edge) for edge in pairwise([*edges, max(2, seeds)])]


def _choose_engine(
    engine: str, network: nn.Module, parameters: dict[str, Tensor], x: Tensor, *, plain: bool = True
):
    if engine not in ("auto", *ENGINES):
        allowed = ", ".join(["auto", *ENGINES])
        raise ConfigurationError(f"engine: {engine!r} is unknown; use one of {allowed}")
    for name in ENGINES if engine == "auto" else [engine]:
        reason = ENGINES[name].misfit(network, parameters, x)
        if name == "arcs" and not plain:
            reason = reason or "it is trained by plain gradient descent only"
        if reason is None:
            return ENGINES[name]
    raise ConfigurationError(f"engine: {name!r} does not fit the network: {reason}; use 'auto'")


def _check_averages(network: nn.Module) -> None:
    for name, layer in network.named_modules():
        if uses_batch_statistics(layer) and layer.running_mean is not None:
            raise ConfigurationError(
                f"layer {name!r}: {type(layer).__name__} in training mode keeps running averages; "
                "use track_running_stats=False, and `ntkflow.evaluated` for kernels after training"
            )


def _noise(network: nn.Module, noise_seeds: Sequence[int] | None, seeds: int, *, centred: bool):
    """Options of the engine that draws masks; none for networks without dropout."""
    if not drops_out(network):
        return {}
    if centred:
        raise ConfigurationError("centred: True is not allowed with dropout; use False")
    if noise_seeds is None or len(noise_seeds) != seeds:
        raise ConfigurationError(
            f"noise_seeds: {noise_seeds!r} is not allowed with dropout; use {seeds}, one per member"
        )
    return {"noise_seeds": noise_seeds}


def _check(learning_rate, steps, output_scale, record_steps, snapshot_steps) -> None:
    for name, value in (("learning_rate", learning_rate), ("output_scale", output_scale)):
        if not value > 0:
            raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number > 0")
    if steps < 0:
        raise ConfigurationError(f"steps: {steps!r} is not allowed; use an integer >= 0")
    for name, values in (("record_steps", record_steps), ("snapshot_steps", snapshot_steps)):
        outside = [value for value in values if not 0 <= value <= steps]
        if outside:
            raise ConfigurationError(f"{name}: {outside[0]!r} is not within 0 .. steps = {steps}")


def _check_names(**names: str) -> None:
    known = {"loss": LOSSES, "optimizer": OPTIMIZERS, "decay": DECAYS}
    for key, name in names.items():
        if name not in known[key]:
            allowed = ", ".join(known[key])
            raise ConfigurationError(f"{key}: {name!r} is unknown; use one of {allowed}")


def _check_penalties(**factors: float) -> list[float]:
    for key, value in factors.items():
        if not value >= 0:
            raise ConfigurationError(f"{key}: {value!r} is not allowed; use a number >= 0")
    return list(factors.values())

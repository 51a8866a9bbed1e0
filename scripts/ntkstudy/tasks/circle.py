"""Targets on the unit circle, learned from points of an evaluation grid."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import Sizes
from ..options import Rule
from ..registry import task
from .common import ProbePoints, TaskOptions


@dataclass(frozen=True, kw_only=True)
class CircleOptions(TaskOptions):
    """Points on the circle and noise on their targets."""

    probe_points: ProbePoints = 360
    train_points: Annotated[
        int | None,
        Rule("M, number of random grid points to train on; null takes the whole grid", minimum=1),
    ] = None
    noise: Annotated[
        float, Rule("standard deviation of the noise on training targets", minimum=0)
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(CircleOptions):
    """The waves of the target."""

    modes: Annotated[
        list[Annotated[int, Rule(minimum=0)]],
        Rule("k of the target sum of a_k sin(k gamma + phi_k)", minItems=1),
    ]
    amplitudes: Annotated[list[float], Rule("a_k, one per mode", minItems=1)]
    phases: Annotated[list[float], Rule("phi_k in radians, one per mode", minItems=1)]


def _sizes(options: CircleOptions) -> Sizes:
    return Sizes(options.train_points or options.probe_points, options.probe_points, 2, 1)


@task("circle_product", options=CircleOptions, sizes=_sizes, axis="gamma", on_circle=True)
def circle_product(options: CircleOptions, files):
    """Target x_1 x_2 = sin(2 gamma) / 2."""
    from ..data.targets import circle_points, product_target

    return _arrays(options, lambda angles: product_target(circle_points(angles)))


@task("circle_mixture", options=MixtureOptions, sizes=_sizes, axis="gamma", on_circle=True)
def circle_mixture(options: MixtureOptions, files):
    """Target sum_k a_k sin(k gamma + phi_k)."""
    from ..data.targets import fourier_mixture

    waves = (options.modes, options.amplitudes, options.phases)
    return _arrays(options, lambda angles: fourier_mixture(angles, *waves))


def _arrays(options: CircleOptions, target):
    from ..data.targets import add_noise, circle_points, draw_angles
    from .common import circle_probe, training_arrays

    angles = draw_angles(options.train_points, options.probe_points, options.data_seed)
    noisy = add_noise(target(angles), options.noise, options.data_seed)
    return training_arrays(circle_points(angles), noisy) | circle_probe(
        options.probe_points, target
    )

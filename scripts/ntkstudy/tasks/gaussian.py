"""The target x_1 x_2, learned from points of the plane and looked at on the circle."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import Sizes
from ..options import Rule
from ..registry import task
from .common import ProbePoints, TaskOptions


@dataclass(frozen=True, kw_only=True)
class GaussianOptions(TaskOptions):
    """Points of the plane."""

    probe_points: ProbePoints = 360
    train_points: Annotated[int, Rule("M, number of training points", minimum=1)] = 512


@task(
    "gaussian_product",
    options=GaussianOptions,
    sizes=lambda options: Sizes(options.train_points, options.probe_points, 2, 1),
    axis="gamma",
)
def gaussian_product(options: GaussianOptions, files):
    """Inputs ~ N(0, I_2) with the targets x_1 x_2."""
    from ..data.targets import circle_points, draw_gaussian, product_target
    from .common import circle_probe, training_arrays

    x = draw_gaussian(options.train_points, options.data_seed)
    probe = circle_probe(options.probe_points, lambda gamma: product_target(circle_points(gamma)))
    return training_arrays(x, product_target(x)) | probe

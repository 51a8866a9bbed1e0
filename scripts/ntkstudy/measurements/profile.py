"""The kernel between one point of the circle and all others."""

from ..needs import PLANE
from ..registry import FINITE, measurement
from .common import AnchorOptions


def circle_point(angle: float, where: dict):
    """One point on the unit circle, (1, 2)."""
    import math

    import torch

    return torch.tensor([[math.cos(angle), math.sin(angle)]], **where)


@measurement(
    "profile", when=FINITE, options=AnchorOptions, axes=("probe",), needs=(PLANE,), each=True
)
def profile(options, network, data):
    """Theta(x0, x(gamma)): one vjp at the anchor and one jvp over the circle, never a Jacobian."""
    from ntkflow.empirical import empirical_ntk

    kernel = empirical_ntk(
        network.network,
        circle_point(options.anchor_angle, network.where),
        data.probe(**network.where),
        parameters=network.weights,
        outputs="mean",
        method="vector_product",
    )
    return _arrays(kernel.values[0], kernel.convention, data)


@measurement("profile", when="limit", options=AnchorOptions, axes=("probe",), needs=(PLANE,))
def limit_profile(options, limit, data):
    """Limit NTK Theta(x0, x(gamma))."""
    from ntkflow.limits import limit_kernels

    anchor = circle_point(options.anchor_angle, limit.where)
    theta = limit_kernels(limit.network, anchor, data.probe(**limit.where)).ntk[0]
    return _arrays(theta, "limit NTK, per output", data)


def _arrays(theta, convention: str, data):
    from ..data.storage import Array
    from .common import to_numpy

    return {
        data.axis: data.coordinate,
        "theta": Array(to_numpy(theta), [data.axis], convention),
    }

"""How far the weights have moved."""

from ..registry import measurement
from .common import labelled


@measurement("movement", when=("trained", "training"), modes=True)
def movement(options, networks, data):
    """Distance of the weights from their start."""
    from ntkflow.lazy.movement import parameter_distances

    moved = parameter_distances(networks.parameters, networks.start)
    return labelled(
        ("seed",),
        distance=(moved.distance, "norm of theta_t - theta_0"),
        relative=(moved.relative, "over the norm of theta_0"),
        scaled=(networks.training["output_scale"] * moved.distance, "alpha times the distance"),
        start=(moved.start, "norm of theta_0"),
    )


@measurement("movement", when="prediction")
def predicted_movement(options, prediction, data):
    """Lazy distance of the weights, from an initial function of zero."""
    distance = prediction.dynamics.lazy_distance(prediction.targets, prediction.steps)
    distance = distance / prediction.training["output_scale"]
    return labelled(("step",), distance=(distance, "norm of theta_t - theta_0"))

"""How far the weights have moved."""

from ..registry import measurement
from .common import labelled


@measurement("movement", when=("trained", "training"), modes=True, each=True)
def movement(options, network, data):
    """Distance of the weights from their start."""
    start, now = network.start_weights, network.weights
    moved = sum(float((now[k] - before).double().square().sum()) for k, before in start.items())
    size = sum(float(before.double().square().sum()) for before in start.values()) ** 0.5
    moved, scale = moved**0.5, network.training["output_scale"]
    return labelled(
        distance=(moved, "norm of theta_t - theta_0"),
        relative=(moved / size, "over the norm of theta_0"),
        scaled=(scale * moved, "alpha times the distance"),
        start=(size, "norm of theta_0"),
    )


@measurement("movement", when="prediction")
def predicted_movement(options, prediction, data):
    """Lazy distance of the weights, from an initial function of zero."""
    distance = prediction.dynamics.lazy_distance(prediction.targets, prediction.steps)
    distance = distance / prediction.training["output_scale"]
    return labelled(("step",), distance=(distance, "norm of theta_t - theta_0"))

"""The model with a single weight."""

from ..needs import LINE
from ..registry import NoOptions, network


@network("one_parameter", options=NoOptions, needs=(LINE,))
def one_parameter(options: NoOptions, input_dim: int, output_dim: int):
    """A model with a single weight, small enough to draw."""
    import torch

    from ..theory.one_parameter import OneParameter

    # Drawn in float64, so that the start is exactly zero there.
    return OneParameter(device="meta", dtype=torch.float64)

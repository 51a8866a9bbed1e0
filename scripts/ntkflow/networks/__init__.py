"""Networks: layers, the networks made of them, and parameters of whole ensembles."""

from .activations import ACTIVATIONS, Abs, Erf, Sin, activation_layer
from .builders import cnn, mlp
from .convolutions import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from .ensembles import draw_parameters, member
from .evaluation import drops_out, ensemble_outputs, evaluated, has_modes
from .layers import Dense, GlobalAveragePool, Residual
from .parameterizations import StandardConv2d, StandardLinear

__all__ = [
    "ACTIVATIONS",
    "Abs",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dense",
    "Erf",
    "GlobalAveragePool",
    "Residual",
    "Sin",
    "StandardConv2d",
    "StandardLinear",
    "activation_layer",
    "cnn",
    "draw_parameters",
    "drops_out",
    "ensemble_outputs",
    "evaluated",
    "has_modes",
    "member",
    "mlp",
]

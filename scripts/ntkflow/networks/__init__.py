"""Layers, the networks made of them, and parameters of whole ensembles."""

from .activations import ACTIVATIONS, Abs, Erf, Sin, activation_layer
from .attention import MultiheadAttention
from .builders import cnn, mlp
from .convolutions import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from .embeddings import Embedding
from .ensembles import draw_parameters, member
from .evaluation import drops_out, ensemble_outputs, evaluated, has_modes
from .layers import Dense, GlobalAveragePool, Residual
from .parameterizations import StandardConv2d, StandardLinear
from .recurrence import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .transformers import TransformerEncoder, TransformerEncoderLayer
from .twin import ntk_parameterization

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "RNN",
    "Abs",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dense",
    "Embedding",
    "Erf",
    "GRUCell",
    "GlobalAveragePool",
    "LSTMCell",
    "MultiheadAttention",
    "RNNCell",
    "Residual",
    "Sin",
    "StandardConv2d",
    "StandardLinear",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "activation_layer",
    "cnn",
    "draw_parameters",
    "drops_out",
    "ensemble_outputs",
    "evaluated",
    "has_modes",
    "member",
    "mlp",
    "ntk_parameterization",
]

"""Neural tangent kernels of finite and infinitely wide PyTorch networks.

Names are loaded on first use (PEP 562), so that importing ntkflow itself costs no torch.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Abs": "networks",
    "Conv2d": "networks",
    "Dense": "networks",
    "Eigenpairs": "empirical",
    "Erf": "networks",
    "GlobalAveragePool": "networks",
    "Kappa": "lazy",
    "Kernel": "empirical",
    "LimitKernels": "limits",
    "Linearized": "lazy",
    "LinearizedTraining": "lazy",
    "NtkOperator": "empirical",
    "OneParameter": "networks",
    "Residual": "networks",
    "ScaledOutput": "lazy",
    "Sin": "networks",
    "StandardConv2d": "networks",
    "StandardLinear": "networks",
    "TraceEstimate": "empirical",
    "TrainingDynamics": "prediction",
    "TrainingResult": "training",
    "alignment": "spectra",
    "block_matrix": "spectra",
    "circle_eigenvalues": "limits",
    "circle_modes": "spectra",
    "cnn": "networks",
    "cumulative_distribution": "spectra",
    "draw_parameters": "networks",
    "early_stopping_time": "stopping",
    "effective_rank": "spectra",
    "empirical_ntk": "empirical",
    "evaluated": "networks",
    "expected_test_error": "stopping",
    "gaussian_process": "regression",
    "jacobian_norm": "lazy",
    "kappa": "lazy",
    "kernel_distance": "spectra",
    "kernel_drift": "spectra",
    "limit_kernels": "limits",
    "mlp": "networks",
    "ntk_operator": "empirical",
    "participation_ratio": "spectra",
    "register_activation": "limits",
    "ridge_regression": "regression",
    "second_derivative_norm": "lazy",
    "top_eigenpairs": "empirical",
    "train_ensemble": "training",
    "write_kernel_tiles": "tiles",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'ntkflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

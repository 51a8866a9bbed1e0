"""Neural tangent kernels of finite and infinitely wide PyTorch networks.

Names are loaded on first use (PEP 562), so that importing ntkflow itself costs no torch.
"""

import importlib

__version__ = "0.2.0"

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
    "LinearizedTraining": "dynamics",
    "NtkOperator": "empirical",
    "Residual": "networks",
    "ScaledOutput": "lazy",
    "Sin": "networks",
    "StandardConv2d": "networks",
    "StandardLinear": "networks",
    "TraceEstimate": "empirical",
    "TrainingDynamics": "dynamics",
    "TrainingResult": "training",
    "alignment": "linalg.spectra",
    "block_matrix": "linalg.spectra",
    "circle_eigenvalues": "limits",
    "circle_modes": "linalg.spectra",
    "cnn": "networks",
    "cumulative_distribution": "linalg.spectra",
    "draw_parameters": "networks",
    "early_stopping_time": "dynamics",
    "effective_rank": "linalg.spectra",
    "empirical_ntk": "empirical",
    "evaluated": "networks",
    "expected_test_error": "dynamics",
    "gaussian_process": "regression",
    "jacobian_norm": "lazy",
    "kappa": "lazy",
    "kernel_distance": "linalg.spectra",
    "kernel_drift": "linalg.spectra",
    "limit_kernels": "limits",
    "mlp": "networks",
    "ntk_operator": "empirical",
    "participation_ratio": "linalg.spectra",
    "register_activation": "limits",
    "ridge_regression": "regression",
    "second_derivative_norm": "lazy",
    "top_eigenpairs": "empirical",
    "train_ensemble": "training",
    "write_kernel_tiles": "empirical.tiles",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'ntkflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

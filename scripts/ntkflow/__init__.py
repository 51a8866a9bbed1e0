"""Neural tangent kernels of finite and infinitely wide PyTorch networks.

Names are loaded on first use (PEP 562), so that importing ntkflow itself costs no torch.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Abs": "networks",
    "Conv2d": "networks",
    "Dense": "networks",
    "Erf": "networks",
    "GlobalAveragePool": "networks",
    "LimitKernels": "limits",
    "Residual": "networks",
    "Sin": "networks",
    "circle_eigenvalues": "limits",
    "cnn": "networks",
    "draw_parameters": "networks",
    "limit_kernels": "limits",
    "mlp": "networks",
    "register_activation": "limits",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'ntkflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Neural tangent kernels of finite and infinitely wide PyTorch networks.

Names are loaded on first use (PEP 562), so that importing ntkflow itself costs no torch.
"""

import importlib

__version__ = "0.2.0"

_HOMES = {
    "Abs": "networks",
    "ClassifierFit": "regression.classifiers",
    "ClassifierScores": "regression.classifiers",
    "Adam": "training",
    "Conv1d": "networks",
    "Conv2d": "networks",
    "Conv3d": "networks",
    "ConvTranspose1d": "networks",
    "ConvTranspose2d": "networks",
    "ConvTranspose3d": "networks",
    "CrossEntropyDescent": "training.classification",
    "Dense": "networks",
    "Eigenpairs": "empirical",
    "Embedding": "networks",
    "Erf": "networks",
    "Explanation": "empirical",
    "GRU": "networks",
    "GRUCell": "networks",
    "GlobalAveragePool": "networks",
    "GradientDescent": "training",
    "Kappa": "lazy",
    "Kernel": "empirical",
    "KernelPair": "regression.classifiers",
    "LSTM": "networks",
    "LSTMCell": "networks",
    "LimitKernels": "limits",
    "Linearized": "lazy",
    "LinearizedTraining": "dynamics",
    "Movement": "lazy",
    "MultiheadAttention": "networks",
    "NtkOperator": "empirical",
    "RNN": "networks",
    "RNNCell": "networks",
    "RelativeDistances": "linalg.distances",
    "Objective": "training",
    "Penalty": "training",
    "Residual": "networks",
    "ResidualModes": "dynamics",
    "ScaledOutput": "lazy",
    "Schedule": "training",
    "Sin": "networks",
    "StandardConv2d": "networks",
    "StandardLinear": "networks",
    "TraceEstimate": "empirical",
    "Tracker": "tracking",
    "TrainingDynamics": "dynamics",
    "TrainingResult": "training",
    "TransformerEncoder": "networks",
    "TransformerEncoderLayer": "networks",
    "alignment": "linalg.spectra",
    "block_matrix": "linalg.spectra",
    "circle_eigenvalues": "limits",
    "circle_modes": "linalg.spectra",
    "classifier_scores": "regression.classifiers",
    "cnn": "networks",
    "cross_entropies": "training.classification",
    "cross_entropy_classifiers": "regression.classifiers",
    "cross_entropy_descent": "training.classification",
    "cumulative_distribution": "linalg.spectra",
    "diagonal_kernel": "empirical",
    "draw_parameters": "networks",
    "early_stopping_time": "dynamics",
    "effective_rank": "linalg.spectra",
    "empirical_ntk": "empirical",
    "ensemble_outputs": "networks",
    "evaluated": "networks",
    "expected_test_error": "dynamics",
    "explain": "empirical",
    "gauss_newton_sharpness": "dynamics.stable_steps",
    "gaussian_process": "regression",
    "gradient": "empirical",
    "gradient_norms": "empirical",
    "held_out_ridge_classifier": "regression.classifiers",
    "jacobian_norm": "lazy",
    "kappa": "lazy",
    "kernel_distance": "linalg.spectra",
    "kernel_drift": "linalg.spectra",
    "laplacian": "empirical",
    "limit_kernels": "limits",
    "linear_losses": "dynamics",
    "loss_growth": "dynamics.stable_steps",
    "mlp": "networks",
    "ntk_operator": "empirical",
    "ntk_parameterization": "networks",
    "output_coupling": "linalg.block_structure",
    "parameter_distances": "lazy",
    "participation_ratio": "linalg.spectra",
    "register_activation": "limits",
    "relative_distances": "linalg.distances",
    "residual_modes": "dynamics",
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

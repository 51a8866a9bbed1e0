"""Training in closed form: mode by mode, with a kernel that stays as it is."""

from .early_stopping import early_stopping_time, expected_test_error
from .linearized_training import LinearizedTraining
from .residual_modes import ResidualModes, linear_losses, residual_modes
from .training_dynamics import TrainingDynamics

__all__ = [
    "LinearizedTraining",
    "ResidualModes",
    "TrainingDynamics",
    "early_stopping_time",
    "expected_test_error",
    "linear_losses",
    "residual_modes",
]

"""Full-batch training of whole ensembles of networks, all seeds of a block together."""

from .ensemble import TrainingResult, train_ensemble
from .losses import Loss
from .objective import Objective
from .optimizers import Adam, GradientDescent
from .penalty import Penalty
from .schedule import Schedule

__all__ = [
    "Adam",
    "GradientDescent",
    "Loss",
    "Objective",
    "Penalty",
    "Schedule",
    "TrainingResult",
    "train_ensemble",
]

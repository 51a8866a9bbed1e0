"""Objectives and optimizers described by a `training` block of the configuration."""

from collections.abc import Mapping
from typing import Any

from ntkflow.training import Adam, GradientDescent, Objective, Penalty

OPTIMIZERS = {"sgd": GradientDescent, "adam": Adam}


def build_objective(training: Mapping[str, Any]) -> Objective:
    """What the training minimises; the block is completed with the schema's defaults."""
    return Objective(training["loss"], training["output_scale"], training["centred"])


def build_optimizer(training: Mapping[str, Any]) -> GradientDescent | Adam:
    """How its steps are made; the block is completed with the schema's defaults."""
    penalty = Penalty(**{key: training[key] for key in ("l1", "l2", "decay")})
    return OPTIMIZERS[training["optimizer"]](training["learning_rate"], penalty)

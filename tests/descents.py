"""Arguments of `train_ensemble` that most tests share."""

from ntkflow.training import GradientDescent, Schedule


def descent(learning_rate: float, steps: int, **looks) -> dict:
    """Plain gradient descent for a number of steps; `looks` are options of the schedule."""
    return dict(optimizer=GradientDescent(learning_rate), schedule=Schedule(steps, **looks))

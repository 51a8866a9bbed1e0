"""Estimates from independent draws, with their standard errors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Estimate(NamedTuple):
    """An estimate and its standard error, of the same shape.

    Examples:
        >>> value, standard_error = ntkflow.Estimate(torch.tensor(2.0), torch.tensor(0.5))
        >>> (value / standard_error).item()  # standard errors from zero
        4.0
    """

    value: Float[Tensor, "*shape"]
    standard_error: Float[Tensor, "*shape"]

    @classmethod
    def of(cls, draws: Float[Tensor, "k *shape"] | Sequence[Float[Tensor, "*shape"]]) -> "Estimate":
        """Mean of k >= 2 independent draws, and their standard deviation over sqrt(k).

        Examples:
            >>> ntkflow.Estimate.of(torch.tensor([1.0, 3.0]))
            Estimate(value=tensor(2.), standard_error=tensor(1.))
        """
        draws = draws if isinstance(draws, Tensor) else torch.stack(list(draws))
        return cls(draws.mean(0), draws.std(0) / len(draws) ** 0.5)

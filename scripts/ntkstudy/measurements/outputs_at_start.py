"""Theory: outputs of networks at initialisation, against a Gaussian process."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import NTK
from ..options import Rule
from ..registry import measurement
from .common import Draws


@dataclass(frozen=True, kw_only=True)
class KurtosisOptions(Draws):
    """Groups of the jackknife."""

    groups: Annotated[int, Rule("groups of networks, for the jackknife", minimum=2)] = 20


@measurement(
    "output_kurtosis",
    when="theory",
    options=KurtosisOptions,
    axes=("seed", "sample"),
    draw_s=0.0003,
)
def output_kurtosis(options, setting, data):
    """Excess kurtosis E[f^4] / E[f^2]^2 - 3 of the outputs, 0 for a Gaussian process."""
    from ..theory.initialization import output_kurtosis

    return output_kurtosis(options, setting)


@measurement(
    "output_covariance",
    when="theory",
    options=Draws,
    axes=("seed", "pair"),
    needs=(NTK,),
    draw_s=0.008,
)
def output_covariance(options, setting, data):
    """Products f(x_i) f(x_j) over initialisations, and the limit's covariance, their mean."""
    from ..theory.initialization import output_covariance

    return output_covariance(options, setting)

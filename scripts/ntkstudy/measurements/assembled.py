"""Regression with a kernel whose tiles were made by jobs of their own."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import LABELS
from ..options import Rule
from ..registry import measurement
from .common import Ridges, labelled


@dataclass(frozen=True, kw_only=True)
class KernelRidgeOptions(Ridges):
    """The ridges, and how exactly the rows are fitted."""

    tolerance: Annotated[
        float, Rule("of the relative residual of every output", exclusiveMinimum=0)
    ] = 1e-6


@measurement(
    "kernel_ridge",
    when="assembled",
    options=KernelRidgeOptions,
    axes=("ridge",),
    needs=(LABELS,),
    kernel="tiles",
)
def kernel_ridge(options, kernel, data):
    """Regression with the tiles: its accuracy, and how far it is from that with one dense kernel.

    The dense kernel is made in one piece in float64, and solved by a Cholesky factor. The squared
    error is summed over outputs, and a mean over the evaluation rows.
    `kernel_error` is the largest difference of an entry, over the largest entry; `disagreement`
    the norm of the difference of the predictions on the evaluation rows, over their norm.
    """
    from ..theory.assembled import compared_regressions

    found, kernel_error = compared_regressions(options, kernel, data)
    columns = {name: (values, "1") for name, values in found.items()}
    one = labelled((), kernel_error=(kernel_error, "of the largest entry"))
    return labelled(("ridge",), ridge=(options.ridges, "of the mean diagonal"), **columns) | one

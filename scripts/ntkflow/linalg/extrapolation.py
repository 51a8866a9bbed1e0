"""What kernels of finite networks say of infinite width."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import KernelError


def extrapolate_width(
    values: Float[Tensor, "w *n"], widths: Sequence[float | int]
) -> Float[Tensor, "*n"]:
    """The constant a of the least-squares fit a + b / n, entry by entry.

    Mean kernels of networks of width n are their limit plus a term of order 1 / n (Hanin, Nica
    2019, arXiv:1909.05989; Dyer, Gur-Ari 2020, arXiv:1909.11304), which this takes away.

    Args:
        values: a mean kernel, or any other quantity, of every width.
        widths: n, two different ones or more.

    Returns:
        a, of the shape of one kernel.

    Raises:
        KernelError: if there is not one kernel a width, or all widths are the same.

    Examples:
        >>> from ntkflow.linalg.extrapolation import extrapolate_width
        >>> extrapolate_width(torch.tensor([3 + 1 / 2, 3 + 1 / 4]), [2, 4]).item()
        3.0
    """
    check_shape("values", values, len(widths), ...)
    if len(set(widths)) < 2:
        raise KernelError(f"widths: {list(widths)} are all the same; use two or more")
    inverse = 1 / torch.as_tensor(widths, dtype=values.dtype, device=values.device)
    off = inverse - inverse.mean()
    weights = 1 / len(widths) - inverse.mean() * off / (off**2).sum()
    return torch.tensordot(weights, values, 1)

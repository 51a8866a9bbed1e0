"""Kernel regression: what training ends in, and what a Gaussian process infers.

Computed in float64 on the device of the kernel. Kernels are plain (N, N) matrices shared by all
outputs; a block kernel (O, O, N, N) goes in through `ntkflow.block_matrix`, with targets flattened
the same way (`targets.T.reshape(-1)`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..linalg.solving import check_square, cholesky, columns


def ridge_regression(
    gram: Float[Tensor, "m m"],
    cross_gram: Float[Tensor, "n m"],
    targets: Float[Tensor, "m *o"],
    *,
    ridge: float | int = 0.0,
) -> Float[Tensor, "n *o"]:
    """Kernel ridge regression, the mean prediction after infinite training.

    f(x) = K_x (K + ridge I)^-1 y, with an absolute ridge (not relative to the trace). ridge = 0
    with the neural tangent kernel is gradient descent at t = infinity from f0 = 0 (Jacot et al.
    2018, arXiv:1806.07572, section 5; Lee et al. 2019, arXiv:1902.06720, eq. 13).

    Args:
        gram: K, kernel of the training points.
        cross_gram: K_x, kernel of test points against training points.
        targets: y, one row per training point, any number of outputs.
        ridge: lambda >= 0, added to the diagonal, in the units of the kernel.

    Returns:
        Predictions, one row per test point.

    Raises:
        KernelError: if K + ridge I is not positive definite to working precision, or shapes do not
            fit each other.

    Examples:
        >>> gram = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        >>> ntkflow.ridge_regression(gram, gram[:1], torch.tensor([3.0, 0.0]), ridge=1.0)
        tensor([1.8750], dtype=torch.float64)
    """
    check_square(gram)
    check_shape("cross_gram", cross_gram, None, len(gram))
    check_shape("targets", targets, len(gram), ...)
    factor = cholesky(gram, ridge)
    weights = torch.cholesky_solve(columns(targets), factor)
    return (cross_gram.double() @ weights).reshape(len(cross_gram), *targets.shape[1:])


def gaussian_process(
    gram: Float[Tensor, "m m"],
    cross_gram: Float[Tensor, "n m"],
    test_gram: Float[Tensor, "n n"],
    targets: Float[Tensor, "m *o"],
    *,
    ridge: float | int = 0.0,
) -> tuple[Float[Tensor, "n *o"], Float[Tensor, "n n"]]:
    """Posterior of a Gaussian process, the Bayesian infinitely wide network when K is the NNGP.

    mean = K_x (K + ridge I)^-1 y, covariance = K_xx - K_x (K + ridge I)^-1 K_x' (Lee et al. 2018,
    arXiv:1711.00165, eqs. 8 and 9), for independent outputs and noise variance `ridge`.

    Args:
        gram: K, kernel of the training points.
        cross_gram: K_x, kernel of test points against training points.
        test_gram: K_xx, kernel of the test points.
        targets: y, one row per training point, any number of outputs.
        ridge: lambda >= 0, variance of the noise of the targets.

    Returns:
        Mean, shaped like `ridge_regression`'s, and covariance of one output, (N, N).

    Raises:
        KernelError: if K + ridge I is not positive definite to working precision, or shapes do not
            fit each other.

    Examples:
        >>> one = torch.ones(1, 1)
        >>> y = torch.ones(1)
        >>> mean, covariance = ntkflow.gaussian_process(one, one, one, y, ridge=3.0)
        >>> mean.item(), covariance.item()
        (0.25, 0.75)
    """
    check_square(gram)
    check_shape("cross_gram", cross_gram, None, len(gram))
    check_shape("test_gram", test_gram, len(cross_gram), len(cross_gram))
    check_shape("targets", targets, len(gram), ...)
    factor = cholesky(gram, ridge)
    cross = cross_gram.double()
    weights = torch.cholesky_solve(columns(targets), factor)
    half = torch.linalg.solve_triangular(factor, cross.T, upper=False)
    mean = (cross @ weights).reshape(len(cross), *targets.shape[1:])
    return mean, test_gram.double() - half.T @ half

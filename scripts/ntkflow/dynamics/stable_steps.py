"""How large a step gradient descent bears: the loss's curvature, and what larger steps do."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import check_shape
from ..linalg.solving import check_square
from ..linalg.spectra import block_matrix, eigenvalues
from ..training import GradientDescent, Objective, Schedule, train_ensemble

LARGEST_GROWTH = 1e6


def gauss_newton_sharpness(
    block: Float[Tensor, "o o n n"], probabilities: Float[Tensor, "n o"] | None = None
) -> float:
    """Largest eigenvalue lambda_max of the Gauss-Newton part of the loss's Hessian.

    Gradient descent is stable for steps below 2 / lambda_max where the residual, or the curvature
    of the network, is small: the Hessian is J' H J and more, with H the Hessian of the loss in the
    outputs. Losses are means over n samples, sums over outputs:

    - squared, (1/n) sum_i |f - y|^2: 2 / n times the block kernel's largest eigenvalue;
    - cross-entropy: 1 / n times that of `softmax_weighted(block, probabilities)`.

    Source: Schraudolph 2002 (Gauss-Newton part); Cohen et al. 2021 (arXiv:2103.00065),
    section 2 (sharpness and stability).

    Args:
        block: block kernel Theta of n samples on the training set.
        probabilities: p, softmax of the outputs, for the cross-entropy; None: the squared loss.

    Returns:
        lambda_max, in units of the kernel.

    Raises:
        KernelError: if the kernel is no square block kernel, or `probabilities` does not fit it.

    Examples:
        >>> block = torch.eye(2).reshape(1, 1, 2, 2)  # 2 / n = 1
        >>> ntkflow.gauss_newton_sharpness(block)
        1.0
    """
    matrix = block_matrix(block)
    check_square(matrix)
    curvature = 2.0
    if probabilities is not None:
        matrix, curvature = softmax_weighted(block, probabilities), 1.0
    return curvature * float(eigenvalues(matrix.detach().cpu())[0] / block.shape[-1])


def softmax_weighted(
    block: Float[Tensor, "o o n n"], probabilities: Float[Tensor, "n o"]
) -> Float[Tensor, "no no"]:
    """S' Theta S with S S' = diag(p) - p p' for every sample, rows n O + o.

    Its eigenvalues over n are those of the Gauss-Newton part of the cross-entropy's Hessian, beside
    zeros.

    Args:
        block: block kernel Theta.
        probabilities: p, a row per sample.

    Raises:
        KernelError: if `probabilities` does not fit the kernel.

    Examples:
        >>> from ntkflow.dynamics.stable_steps import softmax_weighted
        >>> block = torch.eye(2).reshape(2, 2, 1, 1)
        >>> round(softmax_weighted(block, torch.tensor([[0.5, 0.5]])).trace().item(), 6)
        0.5
    """
    check_shape("probabilities", probabilities, block.shape[-1], block.shape[0])
    p = probabilities
    return curvature_weighted(block, torch.diag_embed(p) - p[:, :, None] * p[:, None, :])


def curvature_weighted(
    block: Float[Tensor, "o o n n"], curvature: Float[Tensor, "n o o"]
) -> Float[Tensor, "no no"]:
    """S' Theta S with S S' = H, the Hessian of a loss in the outputs of each sample; rows n O + o.

    Its eigenvalues are those of the Gauss-Newton matrix J' H J of that loss, beside zeros.

    Args:
        block: block kernel Theta.
        curvature: H, symmetric and positive semi-definite; negative eigenvalues count as zero.

    Examples:
        >>> from ntkflow.dynamics.stable_steps import curvature_weighted
        >>> block = torch.eye(2).reshape(1, 1, 2, 2)
        >>> curvature_weighted(block, torch.tensor([[[4.0]], [[9.0]]])).diagonal().tolist()
        [4.0, 9.0]
    """
    roots = curvature_roots(curvature)
    weighted = torch.einsum("noi,opnm,mpj->nimj", roots, block, roots)
    return weighted.flatten(2).flatten(0, 1)


def curvature_roots(curvature: Float[Tensor, "n o o"]) -> Float[Tensor, "n o o"]:
    """S with S S' = H for every sample."""
    values, vectors = torch.linalg.eigh(curvature)
    return vectors * values.clamp(min=0).sqrt()[:, None, :]


def loss_growth(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Shaped[Tensor, "n *d"],
    y: Float[Tensor, "n o"],
    *,
    learning_rate: float,
    steps: int,
    loss: str = "mse",
    output_scale: float = 1.0,
    centred: bool = False,
) -> Float[Tensor, " s"]:
    """Largest loss over the first one in a short training, for every network of an ensemble.

    max_t (L_t - L_min) / (L_0 - L_min) for t = 0 .. steps, with L and the training as in
    `ntkflow.train_ensemble`. L_min = 0 for the squared loss; for the cross-entropy the mean entropy
    of the targets over alpha^2. 1 for a stable step.

    Args:
        network: maps (n, *d) to (n, O).
        parameters: name to tensor (S, *shape); not changed.
        x: inputs.
        y: targets; rows of probabilities for the cross-entropy.
        learning_rate: the step, > 0.
        steps: number of updates.
        loss: "mse" or "cross_entropy".
        output_scale: alpha > 0.
        centred: subtract the initial function.

    Returns:
        The growth, from 1 to 1e6; 1e6 also where training diverges.

    Raises:
        ConfigurationError: as `ntkflow.train_ensemble`.

    Examples:
        >>> network, x, y = torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1), torch.ones(1, 1)
        >>> start = {"weight": torch.zeros(1, 1, 1)}  # lambda_max = 2, the largest stable step is 1
        >>> for step in (0.9, 2.0):
        ...     ntkflow.loss_growth(network, start, x, y, learning_rate=step, steps=2).item()
        1.0
        81.0
    """
    losses = train_ensemble(
        network, parameters, x, y, optimizer=GradientDescent(learning_rate),
        schedule=Schedule(steps, record=range(steps + 1)),
        objective=Objective(loss, output_scale, centred),
    ).losses  # fmt: skip
    if loss == "cross_entropy":
        entropy = torch.special.entr(y).sum(1).mean()
        losses = losses - entropy.to(losses) / output_scale**2
    growth = (losses / losses[:, :1]).nan_to_num(torch.inf)
    return growth.amax(1).clamp(max=LARGEST_GROWTH)

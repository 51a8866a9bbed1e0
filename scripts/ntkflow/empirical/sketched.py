"""Features of an approximate kernel of low rank, for more rows than a kernel has room for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import as_whole
from .differential import Operator, as_operator
from .inputs import Several
from .kernel import pose
from .methods import compute
from .outputs import Pick
from .precision import computing
from .selection import Outputs
from .sketching import Sketch

CONVENTIONS = {
    "block": "Theta[o, o', n, n'] = E <phi[n, o], phi[n', o']>",
    "trace": "sum over outputs o of Theta[o, o, n, n'] = E <phi[n], phi[n']>",
    "mean": "mean over outputs o of Theta[o, o, n, n'] = E <phi[n], phi[n']>",
}


@dataclass(frozen=True)
class SketchedFeatures:
    """Features with the convention that their products are in.

    Attributes:
        values: (N, S, D) of a block or a list of outputs, else (N, D); see `sketched_features`.
        outputs: the convention, the output or the outputs that were asked for.
        convention: the same as a formula.
        method: how the gradients were had, as in `empirical_ntk`.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> features = ntkflow.sketched_features(network, x, 100)
        >>> features.values.shape, features.matrix.shape
        (torch.Size([5, 2, 100]), torch.Size([10, 100]))
    """

    values: Tensor
    outputs: str | int | list[int]
    convention: str
    method: str

    @property
    def matrix(self) -> Float[Tensor, "m d"]:
        """Rows n S + s, in the order of `NtkOperator` and of `targets.flatten()`."""
        return self.values.reshape(-1, self.values.shape[-1])


def sketched_features(
    network: nn.Module | Callable,
    x: Shaped[Tensor, "n *shape"] | Several,
    dimension: int,
    *,
    seed: int = 0,
    parameters: Any = None,
    outputs: Outputs = "block",
    output: Pick = None,
    operator: Operator | None = None,
    dtype: torch.dtype | None = None,
    memory_budget: int | float | None = None,
) -> SketchedFeatures:
    """Random projections phi of the gradients of every row, E <phi_n, phi_n'> = Theta(x_n, x_n').

    phi_n = S df(x_n)/dtheta with a random matrix S (D, P), E[S' S] = I, which is never formed: it
    acts layer by layer on what meets and leaves a parameter, a few rows at a time, and no gradient
    of all parameters is held. S depends on the seed, the names and shapes of the parameters and D
    alone, so features of other rows from another call go with these. Sources: Pham, Pagh 2013, KDD
    (TensorSketch); Charikar, Chen, Farach-Colton 2004.

    The error of an entry falls as D^-1/2: its variance is at most about 8 / D of the product of the
    two diagonal entries (Avron, Nguyen, Woodruff 2014, NeurIPS, lemma 1). Two seeds give error
    bars: `Estimate.of` what is found with each.

    Args:
        network: module in evaluation mode, or function of (parameters, x); see `empirical_ntk`.
        x: N inputs, rows first, as in `empirical_ntk`.
        dimension: D.
        seed: of S.
        parameters: as in `empirical_ntk`.
        outputs: "block" (N, O, D): products of all pairs of rows and outputs; "trace" (N, D), the
            kernel summed over equal outputs, or "mean", each output having signs of its own; an int
            (N, D), that output alone; a list of S ints (N, S, D).
        output: of a network that returns several things, which one.
        operator: differential operator of the network, in place of its outputs.
        dtype: type that parameters and inputs are cast to.
        memory_budget: bytes to use beside the result and the network.

    Returns:
        `SketchedFeatures` in the type of the network's outputs, or float32 if that has 16 bits.

    Raises:
        ConfigurationError: if an option, the parameters or the inputs are not allowed.
        UnsupportedLayerError: as `empirical_ntk`.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(50, 3)
        >>> draws = [ntkflow.sketched_features(network, x, 500, seed=seed) for seed in (0, 1)]
        >>> draws[0].values.shape
        torch.Size([50, 2, 500])
        >>> kernel = draws[0].matrix @ draws[0].matrix.T  # about that of ntk_operator(network, x)
        >>> trace, error = ntkflow.Estimate.of([phi.matrix.square().sum() for phi in draws])
        >>> y, ridge = torch.randn(50, 2).flatten(), 1e-2
        >>> phi = draws[0].matrix  # regression in D dimensions in place of N O
        >>> weights = torch.linalg.solve(phi.T @ phi + ridge * torch.eye(500), phi.T @ y)
        >>> aligned = (phi.T @ y).square().sum() / ((phi.T @ phi).norm() * y.square().sum())
        >>> new = ntkflow.sketched_features(network, torch.randn(4, 3), 500)
        >>> (new.matrix @ weights).view(4, 2).shape
        torch.Size([4, 2])
    """
    sketch = Sketch(as_whole("dimension", dimension, 1), as_whole("seed", seed, 0))
    options = dict(parameters=parameters, output=output, operator=as_operator(operator))
    options |= dict(dtype=dtype, by_layer=False, memory_budget=memory_budget)
    options |= dict(name="x", conventions=CONVENTIONS)
    with computing(dtype):
        task, outputs = pose(network, x, None, outputs, **options)
        summed = outputs in ("trace", "mean")
        method, parts = compute(replace(task, sketch=sketch, sketch_summed=summed), "auto")
    values = parts[""]
    if outputs == "mean":
        values = values / len(task.selected) ** 0.5
    values = values if summed else values[:, 0] if isinstance(outputs, int) else values
    return SketchedFeatures(values, outputs, _convention(outputs), method)


def _convention(outputs: str | int | list[int]) -> str:
    if isinstance(outputs, str):
        return CONVENTIONS[outputs]
    if isinstance(outputs, int):
        return f"Theta[n, n'] of output o = {outputs} alone = E <phi[n], phi[n']>"
    return f"{CONVENTIONS['block']} of {outputs}"

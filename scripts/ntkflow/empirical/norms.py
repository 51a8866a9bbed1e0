"""Norms of the gradients of single rows, without the kernel of pairs of rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import check_tensors
from ..errors import ConfigurationError, NtkflowError, UnsupportedLayerError, first_words
from .differential import Operator, as_operator
from .inputs import Arguments, Inputs, Several, as_inputs
from .kernel import pose
from .methods import compute
from .model import Applied
from .outputs import Pick
from .precision import computing

Loss = Callable[[Tensor, Tensor], Tensor]

TARGETS = "targets of the loss"
IN_LOSS = "raised in loss(outputs, targets)"


def gradient_norms(
    network: nn.Module | Callable,
    x: Shaped[Tensor, "n *shape"] | Several,
    *,
    loss: Loss | None = None,
    targets: Shaped[Tensor, "n *y"] | None = None,
    parameters: Any = None,
    output: Pick = None,
    operator: Operator | None = None,
    dtype: torch.dtype | None = None,
    memory_budget: int | float | None = None,
) -> Float[Tensor, "s n"]:
    """Norm of every row's gradient: result[o, n] = |df_o(x_n)/dtheta|.

    Its square is the diagonal of the kernel, Theta[o, o, n, n], of which nothing else is formed.
    With a loss it is |dL(f(x_n), y_n)/dtheta| in place of the outputs. Source: Goodfellow 2015
    (arXiv:1510.01799).

    Args:
        network: module in evaluation mode, or function of (parameters, x); see `empirical_ntk`.
        x: N inputs, rows first: a tensor, or several in a tuple or dict, as in `empirical_ntk`.
        loss: function of what the network returns for N rows and their targets, which returns one
            number for each, (N,), as `torch.nn.CrossEntropyLoss(reduction="none")` does.
        targets: of the loss, rows first.
        parameters: as in `empirical_ntk`.
        output: of a network that returns several things, which one.
        operator: differential operator of the network, in place of its outputs; not with a loss.
        dtype: type that parameters, inputs and targets are cast to.
        memory_budget: bytes to use beside the result and the network.

    Returns:
        (O, N), of a loss (1, N), in the type of the network's outputs or float32, if that has 16
        bits.

    Raises:
        ConfigurationError: if the inputs or parameters are not allowed, a loss is given without
            targets or targets without a loss, or a loss with an operator, or the loss fails.
        UnsupportedLayerError: as `empirical_ntk`.

    Examples:
        >>> network, x = torch.nn.Linear(2, 3), torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> ntkflow.gradient_norms(network, x, parameters="weight").tolist()
        [[5.0, 0.0], [5.0, 0.0], [5.0, 0.0]]
        >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
        >>> ntkflow.gradient_norms(network, x, loss=loss, targets=torch.tensor([0, 2])).shape
        torch.Size([1, 2])
    """
    if (loss is None) != (targets is None) or (loss is not None and operator is not None):
        raise ConfigurationError("loss: needs targets and no operator, and targets need a loss")
    applied, inputs = as_operator(operator), as_inputs("x", x)
    if loss is not None:
        _check_loss(loss, inputs, targets)
        applied, inputs = _with_loss(loss, inputs, targets)
    options = dict(parameters=parameters, output=output, operator=applied, dtype=dtype)
    options |= dict(by_layer=False, memory_budget=memory_budget)
    with _telling_of_the_loss(), computing(dtype):
        task, _ = pose(network, inputs, None, "diagonal", name="x", **options)
        _, parts = compute(replace(task, own_rows=True), "auto")
    return parts[""].clamp_(min=0).sqrt_()


def _check_loss(loss: object, x: Inputs, targets: object) -> None:
    """Raise a ConfigurationError unless this is a function, and there is a target for each row."""
    if not callable(loss):
        raise ConfigurationError(
            f"loss: {loss!r} is not allowed; use a function of outputs and targets, such as "
            'torch.nn.CrossEntropyLoss(reduction="none")'
        )
    check_tensors(targets=targets)
    if targets.shape[:1] != (len(x),):
        raise ConfigurationError(
            f"targets: shape {tuple(targets.shape)} is not allowed for {len(x)} row(s) of x; use "
            f"({len(x)}, ...), one target for each row"
        )


@contextmanager
def _telling_of_the_loss() -> Iterator[None]:
    """Errors that were raised in the loss as such, whatever they were taken for on the way."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, NtkflowError) or IN_LOSS not in getattr(cause, "__notes__", ()):
            raise
        raise ConfigurationError(
            f"loss: fails for these outputs and targets: {first_words(cause)}"
        ) from cause


def _with_loss(loss: Loss, x: Inputs, targets: Tensor) -> tuple[Applied, Arguments]:
    """The loss as an operator of inputs that hold the targets too."""
    alone = isinstance(x, Tensor)
    members, constants = ({0: x}, {}) if alone else (x.tensors, x.constants)

    def applied(network: Callable[[Inputs], Any], both: Inputs) -> Tensor:
        members = {key: each for key, each in both.tensors.items() if key != TARGETS}
        outputs = network(members[0] if alone else Arguments(members, constants))
        try:
            losses = loss(outputs, both.tensors[TARGETS])
        except Exception as error:
            error.add_note(IN_LOSS)
            raise
        if not isinstance(losses, Tensor) or losses.shape != (len(both),):
            tensor = isinstance(losses, Tensor)
            what = f"shape {tuple(losses.shape)}" if tensor else f"a {type(losses).__name__}"
            raise UnsupportedLayerError(
                f"loss: returns {what} for {len(both)} row(s); one number for each is needed, "
                '(N,), as with reduction="none"'
            )
        return losses

    return applied, Arguments(members | {TARGETS: targets}, constants)

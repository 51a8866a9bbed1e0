"""What a network returns, as outputs (N, O) or an error that says what is wrong with it."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from ..errors import UnsupportedLayerError

NEEDED = "one real floating-point tensor (N, ...), rows first, is needed"
HINTS = {
    "network": "give output= (a key, an index or a function of what it returns)",
    "operator": "use a function of (f, x) that returns it, such as ntkflow.laplacian",
}

Pick = str | int | Callable | None


def as_rows(
    returned: object, rows: int, pick: Pick = None, source: str = "network"
) -> Float[Tensor, "n o"]:
    """Outputs of so many rows, every axis after the first flattened into one.

    One row may come without its axis, as `squeeze` leaves it. `source` is what returned them.

    Raises:
        UnsupportedLayerError: if that is not one real tensor with the rows on its first axis.
    """
    outputs = picked(returned, pick)
    if not isinstance(outputs, Tensor):
        raise UnsupportedLayerError(
            f"{source}: returns {_words(outputs)}; {NEEDED}; {HINTS[source]}"
        )
    if not outputs.is_floating_point():
        kind = str(outputs.dtype).removeprefix("torch.")
        raise UnsupportedLayerError(f"{source}: returns a tensor of {kind}; {NEEDED}")
    if outputs.ndim == 2 and len(outputs) == rows:
        return outputs
    if not (rows == 1 and outputs.ndim < 2) and outputs.shape[:1] != (rows,):
        raise UnsupportedLayerError(
            f"{source}: returns shape {tuple(outputs.shape)} for {rows} row(s) of x; {NEEDED}: "
            "the first axis of the outputs must be that of the rows"
        )
    return outputs.reshape(rows, -1)


def picked(returned: object, pick: Pick) -> object:
    """The part of what the network returned that `output=` names."""
    if pick is None:
        return returned
    if callable(pick):
        return pick(returned)
    try:
        return returned[pick]
    except (KeyError, IndexError, TypeError) as error:
        raise UnsupportedLayerError(
            f"output: {pick!r} is not in what the network returns, {_words(returned)}"
        ) from error


def _words(returned: object) -> str:
    """What it is, in a few words."""
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        return f"a {kind} with keys {', '.join(map(repr, returned))}"
    if isinstance(returned, list | tuple):
        return f"a {kind} of {len(returned)}"
    return f"a {kind}"

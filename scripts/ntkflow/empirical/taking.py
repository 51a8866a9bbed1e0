"""What operations of a graph take that index tensors choose."""

from hashlib import sha256

from torch import Tensor

from .graph import Found, kind_of

# Operations that take what tensors of whole numbers, or of truth values, say.
TAKING = frozenset(["Index"])


def taken(found: Found) -> tuple[bytes | None, ...] | None:
    """What those operations take, tensor by tensor; None where that cannot be read."""
    nodes = [node for node in found.walk.nodes if kind_of(node) in TAKING]
    try:
        return tuple(_digest(index) for node in nodes for index in node._saved_indices)
    except (RuntimeError, TypeError):  # it was overwritten or freed, or has no values
        return None


def _digest(index: Tensor | None) -> bytes | None:
    """Type, shape and numbers in few bytes; None for an axis that is taken whole."""
    if index is None:
        return None
    form = f"{index.dtype} {tuple(index.shape)}".encode()
    return sha256(form + index.detach().cpu().numpy().tobytes()).digest()

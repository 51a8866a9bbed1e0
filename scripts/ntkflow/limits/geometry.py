"""Angles between rows without cancellation, and how rows of two sides meet in one array.

Quantities of one input ("rows") have shape (B, P, N): B a batch, P places (pixels, tokens), N
inputs. Quantities of pairs have shape (B, P, N1, N2) where only equal places meet, or
(B, P, N1, P', N2) where all do (`crossed`). For pairs of an input with itself, B are the inputs.

Correlations rho are carried as delta = 1 - rho. Near rho = 1 the angle is sqrt(2 delta), so an
error of 1e-16 in rho is one of 1e-8 in the angle; delta itself, taken from |u - v|^2 / 2, is not
subject to it.
"""

import math

import torch
from torch import Tensor

_GATHERED = 2**22  # numbers per chunk of gathered rows
_DENSE_SHARE = 16  # recompute the whole tile where more than 1/16 of it needs it
_SHORT_ROWS = 16  # or where the rows are so short that gathering costs a CPU more than computing


def left(row: Tensor, crossed: bool) -> Tensor:
    """View of a row quantity (..., B, P, N) that broadcasts along the second side."""
    return row[..., None, None] if crossed else row[..., None]


def right(row: Tensor, crossed: bool) -> Tensor:
    """A row quantity (..., B, P, N) that broadcasts along the first side, one row after another."""
    row = row.contiguous()
    return row[..., :, None, None, :, :] if crossed else row[..., None, :]


def gap(u: Tensor, v: Tensor, crossed: bool, base: Tensor | None = None) -> Tensor:
    """Pair array base + 1 - <u, v> of unit rows (K, B, P, N), accurate where it is small.

    One matrix product gives it up to rounding errors of order eps; entries below eps^(1/4) are
    replaced by base + |u - v|^2 / 2, which has no cancellation. `base` is used up.
    """
    shape = _pair_shape(u, v, crossed)
    u, v = _batched(u, crossed), _batched(v, crossed)
    if base is None:
        return _refine(torch.bmm(u, v.mT).neg_().add_(1), u, v).view(shape)
    base = base.reshape(u.shape[0], u.shape[1], v.shape[1])
    kept = base.clone() if _is_small_somewhere(base) else None
    # The 1 as one more term of the product saves a pass over the pairs.
    one1, one2 = u.new_ones(*u.shape[:2], 1), v.new_ones(*v.shape[:2], 1)
    delta = base.baddbmm_(torch.cat([-u, one1], -1), torch.cat([v, one2], -1).mT)
    return (delta if kept is None else _refine(delta, u, v, kept)).view(shape)


def planar_gap(u: Tensor, v: Tensor, crossed: bool, base: Tensor) -> Tensor:
    """Pair array base + 1 - <u, v> of unit vectors of two numbers, u[1] > 0; `base` is used up.

    At angles a and b, 1 - cos(a - b) = 2 (sin(a/2) cos(b/2) - cos(a/2) sin(b/2))^2.
    """
    u, v = (_batched(torch.stack(_half_angle(*each)), crossed) for each in (u, v))
    sine = torch.bmm(u, torch.stack([v[..., 1], v[..., 0].neg()], -1).mT).view(base.shape)
    return base.addcmul_(sine, sine, value=2)


def _half_angle(cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Sine and cosine of half an angle in [0, pi / 2]."""
    half = ((1 + cosine) / 2).sqrt_()
    return sine / (2 * half), half


def opposite_gap(u: Tensor, v: Tensor, crossed: bool, delta: Tensor) -> Tensor | None:
    """Pair array 1 + <u, v>, accurate where it is small, or None where it is small nowhere."""
    if delta.is_meta or not delta.numel() or delta.amax() <= 2 - _threshold(delta.dtype):
        return None
    eta = 2 - delta
    u, v = _batched(u, crossed), _batched(v, crossed)
    return _refine(eta.reshape(u.shape[0], u.shape[1], v.shape[1]), u, v.neg()).view(delta.shape)


def _is_small_somewhere(delta: Tensor) -> bool:
    """Whether the rounding error of a matrix product would show in some angle."""
    return bool(not delta.is_meta and delta.numel() and delta.amin() < _threshold(delta.dtype))


def _threshold(dtype: torch.dtype) -> float:
    """Gap at which an error of eps is one of eps^(7/8) in the angle."""
    return torch.finfo(dtype).eps ** 0.25


def _pair_shape(u: Tensor, v: Tensor, crossed: bool) -> tuple[int, ...]:
    """Shape of the pair array of two row quantities (K, B, P, N)."""
    return (*u.shape[1:], *v.shape[2:]) if crossed else (*u.shape[1:], v.shape[-1])


def _batched(u: Tensor, crossed: bool) -> Tensor:
    """Rows (K, B, P, N) as (G, I, K): places are a batch, or more rows where crossed."""
    u = u.permute(1, 2, 3, 0)
    return u.flatten(1, 2) if crossed else u.flatten(0, 1)


def _refine(delta: Tensor, u: Tensor, v: Tensor, base: Tensor | None = None) -> Tensor:
    """Replace the small entries of delta (B, I, J) by base + |u - v|^2 / 2."""
    if not _is_small_somewhere(delta):
        return delta
    small = delta < _threshold(delta.dtype)
    length = u.shape[-1]
    short = length <= 2 or (length <= _SHORT_ROWS and u.device.type == "cpu")
    if short or small.sum() * _DENSE_SHARE > small.numel():
        return torch.where(small, _half(_square_distances(u, v), base), delta)
    for b, i, j in _chunks(small.nonzero(), length):
        square = (u[b, i] - v[b, j]).square_().sum(-1)
        delta[b, i, j] = _half(square, None if base is None else base[b, i, j])
    return delta


def _square_distances(u: Tensor, v: Tensor) -> Tensor:
    """|u_i - v_j|^2 (B, I, J) without cancellation."""
    if u.shape[-1] > 2:
        return torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist").square_()
    first, *rest = (u[..., k, None] - v[..., None, :, k] for k in range(u.shape[-1]))
    total = first.square_()
    for difference in rest:
        total.addcmul_(difference, difference)
    return total


def _half(square: Tensor, base: Tensor | None) -> Tensor:
    """Base + square / 2; where that is rounding error of equal rows, zero."""
    square = square.mul_(0.5)
    if base is not None:
        square.add_(base)
    return torch.threshold_(square, 16 * torch.finfo(square.dtype).eps ** 2, 0)


def _chunks(indices: Tensor, length: int):
    """Split index rows so that each chunk gathers a bounded number of values."""
    for chunk in indices.split(math.ceil(_GATHERED / length)):
        yield chunk.unbind(1)

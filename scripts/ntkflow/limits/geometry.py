"""Angles between rows without cancellation, and how rows of two sides meet in one array.

Quantities of one input ("rows") have shape (*pixels, N), N last. Quantities of pairs have shape
(N1, N2), (h, w, N1, N2) where only equal pixels meet, or (h, w, N1, h, w, N2) where all do
(`crossed`).

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


def left(row: Tensor, spread: bool) -> Tensor:
    """View of a row quantity that broadcasts along the second side (`spread`: its pixels too)."""
    return row[..., None, None, None] if spread else row[..., None]


def right(row: Tensor, spread: bool) -> Tensor:
    """View of a row quantity that broadcasts along the first side (`spread`: its pixels too)."""
    return row if spread else row[..., None, :]


def gap(u: Tensor, v: Tensor, crossed: bool, base: Tensor | None = None) -> Tensor:
    """Pair array base + 1 - <u, v> of unit rows (K, *pixels, N), accurate where it is small.

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


def opposite_gap(u: Tensor, v: Tensor, crossed: bool, delta: Tensor) -> Tensor | None:
    """Pair array 1 + <u, v>, accurate where it is small, or None where it is small nowhere."""
    if delta.is_meta or not delta.numel() or delta.amax() <= 2 - _threshold(delta.dtype):
        return None
    eta = 2 - delta
    u, v = _batched(u, crossed), _batched(v, crossed)
    return _refine(eta.view(u.shape[0], u.shape[1], v.shape[1]), u, v.neg()).view(delta.shape)


def _is_small_somewhere(delta: Tensor) -> bool:
    """Whether the rounding error of a matrix product would show in some angle."""
    return bool(not delta.is_meta and delta.numel() and delta.amin() < _threshold(delta.dtype))


def _threshold(dtype: torch.dtype) -> float:
    """Gap at which an error of eps is one of eps^(7/8) in the angle."""
    return torch.finfo(dtype).eps ** 0.25


def _pair_shape(u: Tensor, v: Tensor, crossed: bool) -> tuple[int, ...]:
    """Shape of the pair array of two row quantities (K, *pixels, N)."""
    if crossed and u.ndim == 4:
        return *u.shape[1:], *v.shape[1:]
    return *u.shape[1:], v.shape[-1]


def _batched(u: Tensor, crossed: bool) -> Tensor:
    """Rows (K, *pixels, N) as (B, I, K): pixels are a batch, or more rows where crossed."""
    if crossed or u.ndim == 2:
        return u.flatten(1).mT[None]
    return u.flatten(1, -2).permute(1, 2, 0)


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
    return torch.where(square < 16 * torch.finfo(square.dtype).eps ** 2, 0, square)


def _chunks(indices: Tensor, length: int):
    """Split index rows so that each chunk gathers a bounded number of values."""
    for chunk in indices.split(math.ceil(_GATHERED / length)):
        yield chunk.unbind(1)


def window_sum(array: Tensor, axes: tuple[int, ...], size: int, padding: int) -> Tensor:
    """Sum over `size` shifts, made along all the axes together, with zero padding."""
    length = array.shape[axes[0]]
    out_length = length + 2 * padding - size + 1
    total = _narrow(array, axes, 0, out_length).clone()
    for shift in range(-padding, size - padding):
        start, stop = max(0, -shift), min(out_length, length - shift)
        if shift and stop > start:
            target = _narrow(total, axes, start, stop - start)
            target += _narrow(array, axes, start + shift, stop - start)
    return total


def _narrow(array: Tensor, axes: tuple[int, ...], start: int, length: int) -> Tensor:
    """View of `length` entries from `start` along each of the axes."""
    for axis in axes:
        array = array.narrow(axis, start, length)
    return array

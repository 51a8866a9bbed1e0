"""Factors of the parameters of a layer from what they meet and the gradients of what they make."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .factors import EmbeddingFactor, Factor, GramFactor, JacobianFactor, ReadoutFactor, TiedFactor
from .graph import Use
from .products import all_pairs_cost, one_side_cost
from .rules import PAIRED, PATCH_BYTES, Seen, Sizes, is_swapped, reduced, sizes_of
from .sketching import prefers_matrices
from .task import Task

EVEN = 8  # products whose lines are so many numbers, or a multiple, are faster


@dataclass(frozen=True)
class Part:
    """One use of a weight or a bias, and the gradients (S, N, *dims) of what it makes.

    `bias` is the name of a bias to treat together with the weight.
    """

    seen: Seen
    gradients: Tensor
    bias: str | None

    @property
    def at_places(self) -> Float[Tensor, "s n t c"]:
        """Gradients at the places where they are not all zero, or at one."""
        found = self.seen.place_gradients(self.gradients)
        return found if self._kept is None else found[:, :, self._kept]

    @cached_property
    def _kept(self) -> Tensor | None:
        """Places that have a gradient; None for all. A language model is often read at the last."""
        if self.seen.use.kind != "Matrix" or self.gradients.is_meta:
            return None
        found = self.seen.place_gradients(self.gradients)
        if found[0, 0].any(1).all():
            return None
        kept = found.ne(0).any(3).any(0).any(0).nonzero().flatten()
        return None if len(kept) == found.shape[2] else kept if len(kept) else kept.new_zeros(1)

    @property
    def sizes(self) -> Sizes:
        """Places with a gradient, inputs and outputs joined there."""
        sizes = sizes_of(self.seen.use, self.seen.rows)
        return sizes if self._kept is None else sizes._replace(places=len(self._kept))

    def inputs(self) -> Callable[[slice], Float[Tensor, "n t d"]]:
        """Inputs of some rows, with a last column for the bias."""
        make, dtype, kept = self.seen.inputs(), self.gradients.dtype, self._kept
        scale = None if self.bias is None else self.seen.use.bias.scale

        def of_rows(rows: slice) -> Tensor:
            found = make(rows).to(dtype)
            found = found if kept is None else found[:, kept]
            return found if scale is None else nn.functional.pad(found, (0, 1), value=scale)

        return of_rows

    def bias_rows(self) -> Float[Tensor, "s n p"]:
        """Gradient of the bias alone."""
        bias = self.seen.use.bias
        return reduced(self.gradients, bias.shape) * bias.scale


@torch.no_grad()
def make_factor(task: Task, name: str, parts: list[Part], readout: bool) -> Factor:
    """Of a weight, with its bias if the parts say so, or a bias, from all its uses."""
    uses = [part.seen.use for part in parts]
    if any(is_bias(name, use) for use in uses):
        return JacobianFactor(all_rows(name, parts))
    first = uses[0]
    tied = _tied(task, parts)
    if tied is not None:
        return tied
    alike = len({(use.kind == "Embedding", is_swapped(use)) for use in uses}) == 1
    if not alike or any(use.kind not in PAIRED for use in uses):
        return JacobianFactor(total([_weight_rows(part) for part in parts]))
    if readout and first.kind == "Matrix" and not is_swapped(first):
        return ReadoutFactor(parts[0].inputs()(slice(None))[:, 0])
    by_rows = prefers_rows(task, [part.sizes for part in parts])
    if first.kind == "Embedding":
        return _embedding(parts).summed() if by_rows else _embedding(parts)
    return _summed(parts) if by_rows else _gram(parts)


def _tied(task: Task, parts: list[Part]) -> TiedFactor | None:
    """Of a table that also multiplies, where that costs less than its rows."""
    tables = [part for part in parts if part.seen.use.kind == "Embedding"]
    matrices = [part for part in parts if part.seen.use.kind == "Matrix"]
    apart = tables and matrices and len(tables) + len(matrices) == len(parts)
    if not apart or any(is_swapped(part.seen.use) for part in matrices):
        return None
    if any(prefers_rows(task, [part.sizes for part in each]) for each in (tables, matrices)):
        return None
    return TiedFactor(_embedding(tables), _gram(matrices))


def _gram(parts: list[Part]) -> GramFactor:
    inputs = torch.cat([part.inputs()(slice(None)) for part in parts], dim=1)
    swapped = is_swapped(parts[0].seen.use)
    return GramFactor(inputs.transpose(0, 1).contiguous(), _place_gradients(parts), swapped)


def _embedding(parts: list[Part]) -> EmbeddingFactor:
    indices = torch.cat([part.seen.indices() for part in parts], dim=1)
    size = parts[0].seen.use.weight.shape[0]
    return EmbeddingFactor(indices.mT.contiguous(), _place_gradients(parts), size)


def _place_gradients(parts: list[Part]) -> Float[Tensor, "t s n c"]:
    gradients = torch.cat([part.at_places for part in parts], dim=2)
    return gradients.permute(2, 0, 1, 3)


@torch.no_grad()
def all_rows(name: str, parts: list[Part]) -> Float[Tensor, "s n p"]:
    """Gradient of a weight, a bias or both for each output and row, from all its uses."""
    return total([_rows_of(name, part) for part in parts])


def _rows_of(name: str, part: Part) -> Float[Tensor, "s n p"]:
    """Gradient of a parameter that is a bias, or a bias here and a weight there."""
    rows = [_weight_rows(part)] if part.seen.use.names[0] == name else []
    return total(rows + ([part.bias_rows()] if is_bias(name, part.seen.use) else []))


def total(rows: list[Tensor]) -> Tensor:
    """Sum of one or more tensors of one shape."""
    return sum(rows[1:], rows[0]).contiguous()


def prefers_rows(task: Task, uses: list[Sizes]) -> bool:
    """Whether weight gradients of each row cost less than pairs of places, for a pair of rows."""
    layout, places = task.layout, sum(sizes.places for sizes in uses)
    _, d, c, match = uses[0]
    if task.sketch is not None:
        return match > 1 and prefers_matrices(task, places, d, c)
    if task.own_rows:
        return places * len(task.selected) * c * d <= places**2 * (len(task.selected) * c + d)
    formed = places * layout.outputs * c * d / task.fewest
    if layout.mode == "block":
        pairs = min(cost(places, layout.outputs, c) for cost in (one_side_cost, all_pairs_cost))
        return formed + layout.outputs**2 * c * d / 2 <= pairs + places**2 * match
    pairs = layout.outputs * all_pairs_cost(places, 1, c)
    return formed + layout.outputs * c * d <= pairs + places**2 * match


def _weight_rows(part: Part) -> Float[Tensor, "s n p"]:
    """Gradient of the weight (and bias) for each output and row."""
    kind = part.seen.use.kind
    if kind not in PAIRED:
        return part.seen.weight_rows(part.gradients)
    return _embedding([part]).summed().rows if kind == "Embedding" else _sums_over_places([part])


def _summed(parts: list[Part]) -> JacobianFactor:
    """Sums over places, in the order of the weight or, if its lines are of odd lengths, turned."""
    sizes, bias = parts[0].sizes, parts[0].bias is not None
    odd = (sizes.fan_in + bias) % EVEN and not sizes.fan_out % EVEN
    turned = bool(odd) and not is_swapped(parts[0].seen.use)
    rows = _sums_over_places(parts, turned)
    return JacobianFactor(rows, sizes.fan_out if turned else 0)


def _sums_over_places(parts: list[Part], turned: bool = False) -> Float[Tensor, "s n p"]:
    """Sum over places of all uses of g a', for each output and row, a few rows at a time.

    As (C, D), or (D, C) if the weight is kept so or is turned.
    """
    g = parts[0].at_places if len(parts) == 1 else torch.cat([p.at_places for p in parts], dim=2)
    inputs = [part.inputs() for part in parts]
    swapped = turned or is_swapped(parts[0].seen.use)
    outputs, count, length, fan_out = g.shape
    fan_in = inputs[0](slice(0, 1)).shape[2]
    rows = g.new_empty(outputs, count, *((fan_in, fan_out) if swapped else (fan_out, fan_in)))
    step = max(1, PATCH_BYTES // (length * fan_in * g.element_size()))
    for start in range(0, count, step):
        chunk = slice(start, start + step)
        met = [make(chunk) for make in inputs]
        met = met[0] if len(met) == 1 else torch.cat(met, dim=1)
        for output, here in zip(rows, g, strict=True):
            pair = (met.mT, here[chunk]) if swapped else (here[chunk].mT, met)
            torch.bmm(*pair, out=output[chunk])
    return rows.flatten(2)


def is_bias(name: str, use: Use) -> bool:
    """Whether a parameter is the bias of a use."""
    return use.names[1] == name

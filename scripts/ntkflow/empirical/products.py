"""Sums of products of factors, tile by tile or pair of rows by pair of rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .factors import Factor, ReadoutFactor, Term, row_products, tensors_of
from .layout import TILE_HEIGHT, Layout, Sizes, Target

# Bytes of factors that are held at once, or this part of the bytes of the kernel if it is more,
# as every batch goes through the kernel again.
BATCH_BYTES, BATCH_SHARE = 2**24, 4
# What takes the time of a multiplication in a large product: so many of one over few places,
# of what is done for a pair of rows, and of scaling and adding a product, of one place or of more.
FEW, PAIR_OF_ROWS, ADDED, ADDED_PLACES = 8, 50_000, 20, 75
# Rows of a Jacobian of at most so many numbers are put side by side into one product.
SHORT_ROW = 512


def fill_products(
    pairs: Iterable[tuple[Factor, Factor]], layout: Layout, values: Tensor, symmetric: bool
) -> None:
    """Fill `values` with the sum of the products of factors, made when their turn comes."""
    add = False
    for batch in _batches(pairs, max(BATCH_BYTES, values.nbytes // BATCH_SHARE)):
        _fill_batch(batch, layout, values, symmetric, add)
        add = True
    if not add:
        values.zero_()


def _batches(
    pairs: Iterable[tuple[Factor, Factor]], most: int
) -> Iterator[list[tuple[Factor, Factor]]]:
    """Consecutive pairs of so many bytes, or a little more."""
    batch, held = [], 0
    for pair in pairs:
        batch.append(pair)
        factors = {id(each): each for each in pair}.values()
        held += sum(tensor.nbytes for factor in factors for tensor in tensors_of(factor))
        if held >= most:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _fill_batch(
    pairs: list[tuple[Factor, Factor]], layout: Layout, values: Tensor, symmetric: bool, add: bool
) -> None:
    """Write the sum of some products, or add it to what is there."""
    readouts = [(f, other) for f, other in pairs if isinstance(f, ReadoutFactor)]
    rest = [pair for pair in pairs if not isinstance(pair[0], ReadoutFactor)]
    terms = _joined([term for factor, other in rest for term in factor.terms(other)])
    if layout.mode == "trace":
        summed = [part for term in terms for part in term.packed().over_outputs()]
        _fill_terms(summed, Layout("diagonal", 1), values[None], symmetric, add)
    else:
        paired = [term for term in terms if _sums_one_side(term, layout)]
        rest = [term.packed() for term in terms if not _sums_one_side(term, layout)]
        _fill_terms(rest, layout, values, symmetric, add)
        if paired:
            _add_pairs(paired, values, symmetric)
    for factor, other in readouts:
        _add_readout(factor.gram(other), layout, values)


def _joined(terms: list[Term]) -> list[Term]:
    """The same sum, with the terms of short rows as one: a product costs a pass over the kernel."""
    short = [term for term in terms if term.scale is None and term.left.shape[-1] <= SHORT_ROW]
    if len(short) < 2:
        return terms
    rest = [term for term in terms if all(term is not each for each in short)]
    left = torch.cat([term.left for term in short], -1)
    same = all(term.right is term.left for term in short)
    right = left if same else torch.cat([term.right for term in short], -1)
    return [Term(left, right, None), *rest]


def _sums_one_side(term: Term, layout: Layout) -> bool:
    """Whether pairs of places are better not formed for all pairs of outputs."""
    if layout.mode != "block" or len(term.left) == len(term.right) == 1:
        return False
    sizes = len(term.left), layout.outputs, term.left.shape[-1]
    return one_side_cost(*sizes) < all_pairs_cost(*sizes)


def one_side_cost(places: int, outputs: int, width: int) -> float:
    """Of `_add_pairs` for a pair of rows, in multiplications at the speed of large products."""
    count = places * outputs * width * (places + outputs)
    return (1 + FEW / places) * count / 2 + PAIR_OF_ROWS


def all_pairs_cost(places: int, outputs: int, width: int) -> float:
    """Of `_fill_terms` for a pair of rows, in the same unit."""
    added = ADDED_PLACES if places > 1 else ADDED
    return float((places * outputs) ** 2 * (width + added))


def _add_readout(gram: Float[Tensor, "n1 n2"], layout: Layout, values: Tensor) -> None:
    """Add what is the same for every output, and 0 for two of them."""
    if layout.mode == "trace":
        values.add_(gram, alpha=layout.outputs)
    elif layout.mode == "diagonal":
        values.add_(gram)
    else:
        values.diagonal(0, 0, 1).add_(gram[..., None])


def _fill_terms(
    terms: list[Term], layout: Layout, values: Tensor, symmetric: bool, add: bool
) -> None:
    """Tile by tile, all terms while the tile is in a cache; one matrix product per term and tile.

    Terms without a scale come first: their sum is formed by the products themselves.
    """
    if not terms:
        if not add:
            values.zero_()
        return
    scaled = [term for term in terms if term.scale is not None]
    pieces = [piece for term in terms if term.scale is None for piece in term.pieces()]
    n1, n2 = values.shape[-2:]
    entries = Sizes.on(values.device).tile
    buffer = values.new_empty(max(entries, TILE_HEIGHT * layout.outputs * n2))
    for target in layout.targets(values, symmetric):
        height = max(TILE_HEIGHT, entries // target.values[..., 0, :].numel())
        for start in range(0, n1, height):
            rows = slice(start, min(start + height, n1))
            tile = target.values[..., rows, :]
            pairs = entries // tile.numel()
            for index, piece in enumerate(pieces):
                product = _multiply(piece, layout, target, rows, buffer, index > 0)
            if pieces:
                found = product[:, 0, :, :, 0].transpose(2, 3)
                tile.add_(found) if add else tile.copy_(found)
            parts = (part for term in scaled for part in term.split(pairs))
            for index, part in enumerate(parts, len(pieces)):
                product = _multiply(part, layout, target, rows, buffer, False)
                _add_scaled(tile, part.scale[:, rows], product, add or bool(index))


def _add_pairs(terms: Sequence[Term], values: Float[Tensor, "s s2 n1 n2"], symmetric: bool) -> None:
    """Add sum over t, t' of scale[t, n, t', n'] <left[t, o, n], right[t', o', n']> to a block.

    Summing the right side over its places first takes T T' S' c + S S' T c multiplications for a
    pair of rows instead of T T' S S' c. Of a symmetric block only pairs n <= n' are computed.
    """
    sides = [_OneSide.of(term) for term in terms]
    outputs, others, rows, columns = values.shape
    for n in range(rows):
        first = n if symmetric else 0
        total = values.new_zeros(outputs, columns - first, others)
        for side in sides:
            side.add_row(total, n, first)
        values[:, :, n, first:] += total.transpose(1, 2)
        if symmetric:
            values[:, :, n + 1 :, n] += total[:, 1:].permute(2, 0, 1)


class _OneSide(NamedTuple):
    """A term whose right side is summed over its places first, in the faster of two orders.

    Sides are (N, S, T, k), or (N, S, k, T) if there are more places than k.
    """

    left: Tensor
    right: Tensor
    scale: Float[Tensor, "n1 n2 t t2"]
    places_last: bool

    @classmethod
    def of(cls, term: Term) -> "_OneSide":
        places_last = len(term.left) > term.left.shape[3]
        order = (2, 1, 3, 0) if places_last else (2, 1, 0, 3)
        left = term.left.permute(order).contiguous()
        same = term.right is term.left
        right = left if same else term.right.permute(order).contiguous()
        return cls(left, right, term.scale.permute(1, 3, 0, 2), places_last)

    def add_row(self, total: Float[Tensor, "s m s2"], n: int, first: int) -> None:
        """Add the products of a row of the left side with the rows from `first` of the right."""
        left, right, scale = self.left[n], self.right[first:], self.scale[n, first:]
        pairs = total.view(len(total), -1)
        if self.places_last:
            summed = torch.bmm(right.flatten(1, 2), scale.mT)  # (m, s2 k, t)
        else:
            summed = torch.matmul(scale[:, None], right)  # (m, s2, t, k)
        pairs.add_(row_products(left.flatten(1), summed.view(pairs.shape[1], -1)))


def _multiply(
    term: Term, layout: Layout, target: Target, rows: slice, buffer: Tensor, add: bool
) -> Float[Tensor, "b t g n1 t2 p n2"]:
    """Products of all rows and places, in the buffer, added to what is there if `add`."""
    left, right = term.left[:, target.outputs, rows], term.right[:, target.partners]
    if layout.mode == "block":
        sides = [each.flatten(0, 2)[None] for each in (left, right)]
        axes = [each.shape[:3] for each in (left, right)]
    else:
        sides = [each.transpose(0, 1).flatten(1, 2) for each in (left, right)]
        axes = [(len(each), 1, each.shape[2]) for each in (left, right)]
    shape = len(sides[0]), sides[0].shape[1], sides[1].shape[1]
    product = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
    torch.baddbmm(product, sides[0], sides[1].mT, beta=int(add), out=product)
    return product.view(shape[0], *axes[0], *axes[1])


def _add_scaled(
    tile: Float[Tensor, "b g p n1 n2"],
    scale: Float[Tensor, "t n1 t2 n2"],
    product: Float[Tensor, "b t g n1 t2 p n2"],
    add: bool,
) -> None:
    """Add the products, scaled and summed over places, or write them."""
    if len(scale) == scale.shape[2] == 1:
        scale, product = scale[0, :, 0], product[:, 0, :, :, 0].transpose(2, 3)
        if add:
            tile.addcmul_(scale, product)
        else:
            torch.mul(scale, product, out=tile)
        return
    summed = product.mul_(scale[:, None, :, :, None]).sum((1, 4)).transpose(2, 3)
    if add:
        tile.add_(summed)
    else:
        tile.copy_(summed)

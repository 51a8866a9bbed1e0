"""What the parameters of a use meet, and their gradients from those of its output.

Gradients G (S, N, *dims) of S outputs have the rows first; `dims` is the shape of the output in
which the axis of the rows holds what else lay on it (time steps on the outer or inner side).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from .graph import Use, shape_of

# Bytes of unfolded patches that are held at once.
PATCH_BYTES = 2**26
# Bytes of products of gradients and factors that are formed before they are summed.
PRODUCT_BYTES = 2**20
# Longest lines of places that are better taken number by number than line by line.
SHORT_LINE = 4


class RowAxis(NamedTuple):
    """Axis on which the rows lie, with how many places each, rows on the outer side or inner."""

    axis: int
    places: int
    outer: bool

    def rows_first(self, tensor: Tensor, rows: int, lead: int = 0) -> Tensor:
        """View with the rows on axis `lead`; what else lay on their axis stays where it was."""
        if rows == 1:
            return tensor.unsqueeze(lead)
        sizes = (rows, self.places) if self.outer else (self.places, rows)
        axis = lead + self.axis
        return tensor.unflatten(axis, sizes).movedim(axis if self.outer else axis + 1, lead)


class Sizes(NamedTuple):
    """Places of a row where the weight acts, inputs and outputs that it joins at each."""

    places: int
    fan_in: int
    fan_out: int
    match: int  # multiplications to compare the inputs of two places


def sizes_of(use: Use, rows: int) -> Sizes:
    """Sizes of a use in a graph of so many rows."""
    shape = shape_of(use.source)
    if use.kind == "Matrix":
        d, c = use.weight.shape
        return Sizes(shape[0] // rows, d, c, d)
    if use.kind == "Embedding":
        count, c = use.weight.shape
        return Sizes(shape[:-1].numel() // rows, count, c, 1)
    weight = use.weight.shape
    if use.kind == "Convolution":
        return Sizes(
            shape[0] * shape[2:].numel() // rows, weight[1:].numel(), weight[0], weight[1:].numel()
        )
    places = use.source._saved_input.shape[2:].numel() * shape[0] // rows
    return Sizes(places, weight[0], weight[1:].numel(), weight[0])


PAIRED = ("Matrix", "Convolution", "Transposed", "Embedding")


def is_swapped(use: Use) -> bool:
    """Whether the inputs come first among the axes of the weight."""
    if use.kind == "Matrix":
        return not use.weight.transposed
    return use.kind in ("Transposed", "Embedding")


class Seen(NamedTuple):
    """A use in a graph of some rows, with the axes of the rows at its source and its node."""

    use: Use
    rows: int
    source: RowAxis
    node: RowAxis

    @property
    def scale(self) -> float:
        """Factor of the weight."""
        return self.use.scale * self.use.weight.scale

    def inputs(self) -> Callable[[slice], Float[Tensor, "n t d"]]:
        """What the weight is multiplied with at every place, scaled, of some rows."""
        node = self.use.source
        if self.use.kind == "Matrix":
            a = node._saved_mat1 if hasattr(node, "_saved_mat1") else node._saved_self
            a = self.source.rows_first(a.detach(), self.rows)
            return lambda rows: a[rows].flatten(1, -2) * self.scale
        x = self.source.rows_first(node._saved_input.detach(), self.rows)
        if self.use.kind == "Transposed":
            return lambda rows: x[rows].flatten(3).movedim(2, 3).flatten(1, 2) * self.scale
        return lambda rows: (
            _patches(x[rows].flatten(0, 1), node).unflatten(0, (-1, x.shape[1])).flatten(1, 2)
            * self.scale
        )

    def indices(self) -> Tensor:
        """Rows of the table that an embedding looks up, (N, T)."""
        found = self.source.rows_first(self.use.source._saved_indices, self.rows)
        return found.flatten(1)

    def place_gradients(self, gradients: Tensor) -> Float[Tensor, "s n t c"]:
        """Gradients with the places on one axis, c what the weight joins the inputs to."""
        if self.use.kind in ("Matrix", "Embedding"):
            found = gradients.reshape(*gradients.shape[:2], -1, gradients.shape[-1])
            if self.use.kind == "Embedding":
                return _without_padding(found, self.indices(), self.use) * self.scale
            return found
        if self.use.kind == "Convolution":
            return gradients.flatten(4).movedim(3, 4).flatten(2, 3)
        patches = _patches(gradients.flatten(0, 2), self.use.source)
        return patches.unflatten(0, gradients.shape[:3]).flatten(2, 3)

    def weight_rows(self, gradients: Tensor) -> Float[Tensor, "s n p"]:
        """Gradient of the weight of each output and row, where it is no sum over places g a'."""
        w, node = self.use.weight, self.use.source
        if self.use.kind == "Grouped":
            return _grouped(self, gradients)
        if self.use.kind == "Product":
            factor = node._saved_self if self.use.slot else node._saved_other
            factor = factor.detach().expand(shape_of(node))
        elif self.use.kind == "PreluKernel":
            factor = node._saved_self.detach().clamp(max=0)
        else:
            factor = _normalized(node, self.use.kind)
        factor = self.source.rows_first(factor, self.rows)
        return reduced(gradients, w.shape, factor) * self.scale


def reduced(
    gradients: Float[Tensor, "s n *dims"], shape: Sequence[int], factor: Tensor | None = None
) -> Float[Tensor, "s n p"]:
    """Sum of the gradients (times a factor (N, *dims)) over the axes that `shape` lacks."""
    padded = [1] * (gradients.ndim - 2 - len(shape)) + list(shape)
    axes = [2 + i for i, size in enumerate(padded) if size == 1]
    if factor is None:
        summed = gradients.sum(axes) if axes else gradients
        return summed.reshape(*gradients.shape[:2], -1)
    wide = torch.promote_types(gradients.dtype, torch.float32)
    factor, summed = factor.to(wide), []
    # Products that are still in a cache are summed in a fraction of the time of one einsum.
    for some in gradients.split(max(1, PRODUCT_BYTES // max(1, gradients[0].nbytes))):
        product = some * factor
        summed.append(product.sum(axes) if axes else product)
    return torch.cat(summed).reshape(*gradients.shape[:2], -1)


def _normalized(node, kind: str) -> Tensor:
    """Normalised inputs, before gain and shift."""
    x = node._saved_input.detach()
    if kind == "NativeLayerNorm":
        return (x - node._saved_result1) * node._saved_result2
    if kind == "NativeBatchNorm":
        shape = [1, -1, *[1] * (x.ndim - 2)]
        mean, variance = node._saved_running_mean, node._saved_running_var
        return (x - mean.view(shape)) / (variance.view(shape) + node._saved_eps).sqrt()
    groups = x.reshape(len(x), node._saved_group, -1)
    centred = groups - node._saved_result1.view(len(x), -1, 1)
    return (centred * node._saved_result2.view(len(x), -1, 1)).view(x.shape)


def _without_padding(gradients: Tensor, indices: Tensor, use: Use) -> Tensor:
    padding = use.source._saved_padding_idx
    if padding < 0 or padding >= use.weight.shape[0]:
        return gradients
    return gradients * (indices != padding)[..., None]


def _grouped(seen: Seen, gradients: Tensor) -> Float[Tensor, "s n p"]:
    """Of a grouped convolution: in each group, sum over places of g a'."""
    node, weight = seen.use.source, seen.use.weight.shape
    groups, filters, d = node._saved_groups, weight[0] // node._saved_groups, weight[1:].numel()
    x = seen.source.rows_first(node._saved_input.detach(), seen.rows)
    g = gradients.flatten(4).unflatten(3, (groups, filters))  # s n t groups filters p
    step = max(1, PATCH_BYTES // max(1, x[0].numel() * d * x.element_size()))
    rows = g.new_empty(len(g), len(x), groups, filters, d)
    for start in range(0, len(x), step):
        chunk = slice(start, start + step)
        patches = _patches(x[chunk].flatten(0, 1), node).mT  # (n t) (groups d) p
        patches = patches.reshape(-1, d, patches.shape[-1]).to(g)
        some = g[:, chunk].permute(1, 2, 3, 0, 4, 5)  # n t groups s filters p
        found = torch.bmm(some.reshape(len(patches), -1, some.shape[-1]), patches.mT)
        found = found.view(*some.shape[:-1], d)
        rows[:, chunk] = found.sum(1).movedim(2, 0)
    return rows.flatten(2) * seen.scale


def _patches(images: Float[Tensor, "n c *pixels"], node) -> Float[Tensor, "n p d"]:
    """What a convolution multiplies its weights with at every place, in the order of the weights.

    Copies whole lines of pixels, or short ones number by number, which is several times faster
    than `F.unfold`.
    """
    padding = node._saved_padding
    images = F.pad(images, [p for each in reversed(padding) for p in (each, each)])
    windows = _windows(images, node)
    if windows.shape[-1] <= SHORT_LINE:
        pixels = images.shape[2:]
        numbers = torch.arange(pixels.numel(), device=images.device).view(1, 1, *pixels)
        windows = images.flatten(2).index_select(2, _windows(numbers, node).flatten())
    size = node._saved_weight.shape[2:].numel()
    return windows.reshape(len(images), images.shape[1] * size, -1).mT


def _windows(images: Shaped[Tensor, "n c *pixels"], node) -> Shaped[Tensor, "n c *size_and_places"]:
    """View of the pixels that each number of a filter meets at every place."""
    size, dilation, stride = node._saved_weight.shape[2:], node._saved_dilation, node._saved_stride
    n, c, *pixels = images.shape
    places = [
        (p - d * (k - 1) - 1) // s + 1
        for p, d, k, s in zip(pixels, dilation, size, stride, strict=True)
    ]
    sn, sc, *steps = images.stride()
    inside = [step * d for step, d in zip(steps, dilation, strict=True)]
    between = [step * s for step, s in zip(steps, stride, strict=True)]
    return images.as_strided((n, c, *size, *places), (sn, sc, *inside, *between))

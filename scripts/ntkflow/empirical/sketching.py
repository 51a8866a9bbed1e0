"""Random projections of gradients, from the factors of layers."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .factors import EmbeddingFactor, Factor, GramFactor, ReadoutFactor, TiedFactor
from .rules import PATCH_BYTES
from .task import Task

# Rows, and entries of each, that are scattered at once.
LINES = 64
ENTRIES = 2**12


@dataclass(frozen=True)
class Sketch:
    """The linear map S from gradients of all parameters to `dimension` numbers, E[S' S] = I.

    A parameter is a matrix of its first axis by all others. Entry (i, j) goes with the sign
    s(i) s'(j) to the place (h(i) + h'(j)) mod D, drawn by name: so the map knows nothing of how a
    gradient comes, as sums over places of g a' or as a whole. Of the former it is
    F^-1 sum over places of (F C g) (F C' a), C and C' being count sketches and F Fourier's
    transform. Source: Pham, Pagh 2013, KDD, section 3 (TensorSketch); Charikar, Chen,
    Farach-Colton 2004 for vectors.
    """

    dimension: int
    seed: int

    def of(self, task: Task, names: Sequence[str], factor: Factor) -> Float[Tensor, "s n d"]:
        """S times the gradients that a factor stands for, those of a weight and its bias joined."""
        if isinstance(factor, TiedFactor):
            return self.of(task, names, factor.table) + self.of(task, names, factor.matrix)
        shapes = {name: _matrix_shape(task.model.parameters[name]) for name in names}
        weight, *bias = [_Part(self, name, *shapes[name], task.like.device) for name in names]
        if isinstance(factor, EmbeddingFactor):
            return weight.of_lookups(factor)
        if isinstance(factor, ReadoutFactor):
            found = weight.of_readout(factor.inputs[:, : weight.columns], task.selected)
            last = factor.inputs[:, weight.columns :]
            return found + sum(each.of_readout(last, task.selected) for each in bias)
        if isinstance(factor, GramFactor):
            found = weight.of_places(factor)
            return found + sum(each.of_matrices(_bias_rows(factor)) for each in bias)
        rows = factor.rows.unflatten(2, (weight.rows, -1))
        found = weight.of_matrices(rows[..., : weight.columns])
        return found + sum(each.of_matrices(rows[..., weight.columns :]) for each in bias)

    def combined(self, sketches: Float[Tensor, "s n d"]) -> Float[Tensor, "n d"]:
        """Sum over outputs, each turned by a random number of places and with a random sign."""
        outputs = _Hash.of(self, "", 0, len(sketches), sketches.device)
        pairs = zip(outputs.drawn.tolist(), outputs.signs.to(sketches), sketches, strict=True)
        return sum(sign * each.roll(place, dims=-1) for place, sign, each in pairs)


@dataclass(frozen=True)
class _Hash:
    """Place below D and sign of every index of an axis, the places as NumPy's too."""

    drawn: np.ndarray
    places: Int[Tensor, " m"]
    signs: Float[Tensor, " m"]

    @classmethod
    def of(cls, sketch: Sketch, name: str, axis: int, size: int, device: torch.device) -> "_Hash":
        stream = np.random.default_rng([sketch.seed, zlib.crc32(name.encode()), axis])
        places = stream.integers(0, sketch.dimension, size)
        signs = torch.from_numpy(2.0 * stream.integers(0, 2, size) - 1)
        return cls(places, torch.from_numpy(places).to(device), signs.to(device))


class _Part:
    """The map on one parameter, a matrix."""

    def __init__(self, sketch: Sketch, name: str, rows: int, columns: int, device: torch.device):
        self.dimension, self.rows, self.columns = sketch.dimension, rows, columns
        self.first = _Hash.of(sketch, name, 0, rows, device)
        self.second = _Hash.of(sketch, name, 1, columns, device)

    def of_matrices(self, gradients: Float[Tensor, "s n r c"]) -> Float[Tensor, "s n d"]:
        """Of whole gradients, entry by entry."""
        places = (self.first.places[:, None] + self.second.places) % self.dimension
        signs = torch.outer(self.first.signs, self.second.signs).to(gradients)
        return _scattered(gradients.flatten(2), places.flatten(), signs.flatten(), self.dimension)

    def of_places(self, factor: GramFactor) -> Float[Tensor, "s n d"]:
        """Of sums over places of g a', a few rows at a time."""
        met, made = (self.first, self.second) if factor.swapped else (self.second, self.first)
        inputs, gradients = factor.inputs[..., : len(met.places)], factor.gradients
        length, outputs, count = gradients.shape[:3]
        found = gradients.new_empty(outputs, count, self.dimension)
        row_bytes = 4 * length * self.dimension * gradients.element_size()
        for rows in torch.arange(count).split(max(1, PATCH_BYTES // row_bytes)):
            some = slice(int(rows[0]), int(rows[-1]) + 1)
            a = self._transformed(inputs[:, some], met)
            for output in range(outputs):
                g = self._transformed(gradients[:, output, some], made)
                found[output, some] = torch.fft.irfft((a * g).sum(0), self.dimension)
        return found

    def of_lookups(self, factor: EmbeddingFactor) -> Float[Tensor, "s n d"]:
        """Of tables of which some rows are looked up."""
        indices, g = factor.indices.mT, factor.gradients.permute(1, 2, 0, 3)
        places = (self.first.places[indices][..., None] + self.second.places) % self.dimension
        signs = (self.first.signs[indices][..., None] * self.second.signs).to(g)
        found = g.new_zeros(*g.shape[:2], self.dimension)
        return found.scatter_add_(
            2, places.flatten(1).expand(len(g), -1, -1), (g * signs).flatten(2)
        )

    def of_readout(
        self, inputs: Float[Tensor, "n c"], selected: Sequence[int]
    ) -> Float[Tensor, "s n d"]:
        """Of f = W a: output o has the gradient a in row o of W."""
        row = _scattered(inputs, self.second.places, self.second.signs.to(inputs), self.dimension)
        turns = self.first.drawn[list(selected)].tolist()
        signs = self.first.signs[selected].to(inputs)
        return torch.stack([s * row.roll(turn, -1) for turn, s in zip(turns, signs, strict=True)])

    def _transformed(self, vectors: Float[Tensor, "t n m"], hashed: _Hash) -> Tensor:
        """Fourier's transform of a count sketch."""
        signs = hashed.signs.to(vectors)
        return torch.fft.rfft(_scattered(vectors, hashed.places, signs, self.dimension))


def _scattered(
    values: Float[Tensor, "*rows m"],
    places: Int[Tensor, " m"],
    signs: Float[Tensor, " m"],
    dimension: int,
) -> Float[Tensor, "*rows d"]:
    """Sums of the signed values at the same place."""
    flat = values.reshape(-1, values.shape[-1])
    found = flat.new_empty(len(flat), dimension)
    for start in range(0, len(flat), LINES):
        lines = flat[start : start + LINES]
        # Whole columns of lines are added, while they are in a cache.
        total = flat.new_zeros(dimension, len(lines))
        for first in range(0, lines.shape[1], ENTRIES):
            some = slice(first, first + ENTRIES)
            total.index_add_(0, places[some], (lines[:, some] * signs[some]).T.contiguous())
        found[start : start + LINES] = total.T
    return found.view(*values.shape[:-1], dimension)


def _matrix_shape(parameter: Tensor) -> tuple[int, int]:
    """First axis and all others; a vector is a column."""
    rows = len(parameter) if parameter.ndim else 1
    return rows, parameter.numel() // max(1, rows)


def _bias_rows(factor: GramFactor) -> Float[Tensor, "s n c 1"]:
    """Gradients of the bias, which is met by the last column of the inputs."""
    return torch.einsum("tsnc,tn->snc", factor.gradients, factor.inputs[..., -1])[..., None]


def prefers_matrices(task: Task, places: int, fan_in: int, fan_out: int) -> bool:
    """Whether whole gradients cost less than the transforms of all places.

    In units of adding one number: a matrix product makes about 25 in that time.
    """
    entries, dimension = fan_in * fan_out, task.sketch.dimension
    transforms = fan_out + fan_in / len(task.selected) + dimension * math.log2(1 + dimension)
    return places * entries / 25 + entries <= places * transforms

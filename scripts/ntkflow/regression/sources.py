"""Where the entries of a kernel come from: memory, a file, an operator, or a network."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ..checks import check_choice, check_tensors
from ..empirical import empirical_ntk
from ..empirical.stored import open_square_tiles
from ..empirical.tile_files import source_files
from ..errors import ConfigurationError, KernelError
from ..limits import limit_kernels
from ..linalg.solving import add_products, check_square, slices, stored_product, tile_pairs
from ..linalg.triangles import SharedTriangles

Tile = tuple[slice, slice, Tensor]
KINDS = ("ntk", "nngp", "empirical")
# Rows and columns of a tile: its copy in float64 is small, its making not dominated by overheads;
# rows whose kernel is made for the sake of its diagonal.
_TILE, _DIAGONAL = 2048, 64


class Source(ABC):
    """A symmetric kernel (n, n).

    Attributes:
        size: n.
        dtype: of the entries.
        device: of the entries.
        words: what it is, in words.
        side: rows and columns of a tile.
        stored: whether its entries are in memory.
        has_entries: whether some rows cost less than a product.
    """

    size: int
    dtype: torch.dtype
    device: torch.device
    words: str
    side = _TILE
    stored = False
    has_entries = True

    def parts(self) -> list[Tensor]:
        """Tensors of the user that entries are still made from."""
        return []

    def stamp(self) -> Any:
        """What changes with a file that entries are still read from; None without one."""
        return None

    @abstractmethod
    def tile(self, i: slice, j: slice) -> Float[Tensor, "a b"]:
        """Rows i and columns j, the same ones or later ones."""

    @abstractmethod
    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Rows of these indices."""

    def tiles(self) -> Iterator[Tile]:
        """All tiles on and above the diagonal."""
        return ((i, j, self.tile(i, j)) for i, j in tile_pairs(self.size, self.side))

    def diagonal(self) -> Float[Tensor, " n"]:
        """The diagonal, in float64."""
        found = [self.tile(i, i).diagonal() for i in slices(self.size, self.side)]
        return torch.cat(found).double()

    def multiply(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """K v with products in the type of the entries."""
        return self._multiply(vectors, self.dtype)

    def multiply_exactly(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """K v with products in float64."""
        return self._multiply(vectors, torch.float64)

    def _multiply(self, vectors: Tensor, dtype: torch.dtype) -> Tensor:
        """Each tile serves its rows and its columns; right-hand sides lie along rows here."""
        v = vectors.T.to(dtype).contiguous()
        if self.stored:
            return stored_product(self.tile, v, self.side).T
        product = torch.zeros_like(vectors.T, memory_format=torch.contiguous_format)
        for i, j, tile in self.tiles():
            add_products(product, v, tile, i, j)
        return product.T

    def to_dense(self, dtype: torch.dtype) -> Float[Tensor, "n n"]:
        """All entries in memory, made tile by tile."""
        dense = torch.empty(self.size, self.size, dtype=dtype, device=self.device)
        for i, j, tile in self.tiles():
            dense[i, j] = tile.to(dtype)
            if i != j:
                dense[j, i] = dense[i, j].T
        return dense


class DenseSource(Source):
    """A matrix in memory."""

    stored = True

    def __init__(self, matrix: Tensor):
        check_square(matrix)
        matrix = matrix.detach()
        self.matrix, self.size = matrix, len(matrix)
        self.dtype, self.device = matrix.dtype, matrix.device
        self.words = "a matrix in memory"

    def parts(self) -> list[Tensor]:
        """The matrix."""
        return [self.matrix]

    def tile(self, i: slice, j: slice) -> Tensor:
        """A view."""
        return self.matrix[i, j]

    def rows(self, index: Tensor) -> Tensor:
        """Copies of rows."""
        return self.matrix[index]

    def diagonal(self) -> Tensor:
        """Of the matrix."""
        return self.matrix.diagonal().double()

    def multiply(self, vectors: Tensor) -> Tensor:
        """Half of the matrix is read where that is what takes time."""
        if self.device.type == "cpu":
            return super().multiply(vectors)
        return (vectors.T.to(self.dtype).contiguous() @ self.matrix).T.double()


class TriangleSource(Source):
    """What a factorisation in place has left of a matrix; see `SharedTriangles`."""

    stored = True

    def __init__(self, triangles: SharedTriangles, words: str):
        self._triangles, matrix = triangles, triangles.matrix
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device
        self.words = words

    def tile(self, i: slice, j: slice) -> Tensor:
        """A view, but on the diagonal."""
        found = self._triangles.matrix[i, j]
        if i != j:
            return found
        above = found.triu(1)
        return above + above.T + self._triangles.diagonal[i].to(found).diag()

    def rows(self, index: Tensor) -> Tensor:
        """Columns above the diagonal, rows beside it."""
        matrix = self._triangles.matrix
        found = matrix.new_empty(len(index), self.size)
        for row, i in zip(found, index.tolist(), strict=True):
            row[:i], row[i:] = matrix[:i, i], matrix[i, i:]
            row[i] = self._triangles.diagonal[i]
        return found

    def diagonal(self) -> Tensor:
        """Kept apart from that of the factor."""
        return self._triangles.diagonal


class FileSource(Source):
    """A file of `write_kernel_tiles` or `assemble_kernel_tiles`, read tile by tile."""

    def __init__(self, path: str | Path, data: Any):
        self._path, self._kernel = Path(path).absolute(), open_square_tiles(path, data)
        self._tiles = source_files(self._path)
        self.size, self.side = self._kernel.size, self._kernel.side
        self.dtype, self.device = getattr(torch, self._kernel.dtype), torch.device("cpu")
        self.words = f"the tiles in {path}"

    def stamp(self) -> Any:
        """When its files were written, their lengths and places; nothing of one that is gone."""
        return tuple(map(_stamp, [self._path, *self._tiles]))

    def tile(self, i: slice, j: slice) -> Tensor:
        """Read from the file."""
        return torch.from_numpy(self._kernel.tile(i, j))

    def rows(self, index: Tensor) -> Tensor:
        """Every row of tiles that holds one of them is read once."""
        found = torch.empty(len(index), self.size, dtype=self.dtype)
        for rows in slices(self.size, self.side):
            here = (index >= rows.start) & (index < rows.stop)
            if bool(here.any()):
                slab = torch.from_numpy(self._kernel.rows(rows))
                found[here] = slab[index[here] - rows.start]
        return found


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


class OperatorSource(Source):
    """Anything with a square shape, a dtype, a device and products; entries are not at hand."""

    has_entries = False

    def __init__(self, operator: Any):
        shape = tuple(operator.shape)
        if len(shape) != 2 or shape[0] != shape[1] or not getattr(operator, "symmetric", True):
            raise KernelError(
                f"kernel: an operator {shape} is not allowed unless it is square and symmetric; "
                "leave x2 out of ntk_operator"
            )
        self.operator, self.size = operator, shape[0]
        self.dtype, self.device = operator.dtype, operator.device
        self.words = f"products with {type(operator).__name__}"

    def tile(self, i: slice, j: slice) -> Tensor:
        """From as many products as it has columns."""
        return self.rows(torch.arange(j.start, j.stop, device=self.device))[:, i].T

    def rows(self, index: Tensor) -> Tensor:
        """Products with unit vectors."""
        unit = torch.zeros(self.size, len(index), dtype=self.dtype, device=self.device)
        unit[index, torch.arange(len(index), device=self.device)] = 1
        return (self.operator @ unit).T

    def _multiply(self, vectors: Tensor, dtype: torch.dtype) -> Tensor:
        """In the type of the operator, which knows no other."""
        return (self.operator @ vectors.to(self.dtype)).double()


class NetworkSource(Source):
    """The kernel of a network on rows x, made anew whenever it is needed."""

    def __init__(
        self,
        network: nn.Module,
        x: Shaped[Tensor, "n *shape"],
        kind: str,
        dtype: torch.dtype,
    ):
        check_choice("kind", kind, KINDS)
        self.x, self.size, self.dtype, self.device = x, len(x), dtype, x.device
        self._network, self._kind = network, kind
        name = {"ntk": "limit NTK", "nngp": "NNGP", "empirical": "empirical NTK"}[kind]
        self.words = f"tiles of the {name} of {type(network).__name__}, made anew"

    def parts(self) -> list[Tensor]:
        """Rows and, where the kernel depends on their values, weights."""
        if self._kind != "empirical":
            return [self.x]
        return [self.x, *self._network.parameters(), *self._network.buffers()]

    def between(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """The kernel of some rows with others."""
        if self._kind == "empirical":
            found = empirical_ntk(self._network, x1, x2, outputs="mean", dtype=self.dtype)
            return found.values
        found = limit_kernels(self._network, x1, x2, only=self._kind, dtype=self.dtype)
        return getattr(found, self._kind)

    def tile(self, i: slice, j: slice) -> Tensor:
        """Made anew."""
        return self.between(self.x[i], None if i == j else self.x[j])

    def rows(self, index: Tensor) -> Tensor:
        """Some rows against all."""
        return self.between(self.x[index], self.x)

    def diagonal(self) -> Tensor:
        """Of the rows trained on."""
        return self.diagonal_of(self.x)

    def diagonal_of(self, x: Tensor) -> Float[Tensor, " n"]:
        """k(x, x) of other rows, in float64."""
        pieces = [self.between(piece).diagonal() for piece in x.split(_DIAGONAL)]
        return torch.cat(pieces).double()

    def to_dense(self, dtype: torch.dtype) -> Tensor:
        """In one call for a limit, which fills what it returns in place."""
        if self._kind != "empirical" and dtype == self.dtype:
            return self.between(self.x)
        return super().to_dense(dtype)


Version = tuple[int, int]


def versions(parts: list[Tensor]) -> list[tuple[Tensor, Version]]:
    """Tensors with numbers that are others as soon as they are written into, or lie elsewhere."""
    counts = (0 if each.is_inference() else each._version for each in parts)
    return [(each, (n, each.data_ptr())) for each, n in zip(parts, counts, strict=True)]


def as_source(kernel: Any, data: Any, kind: str, dtype: torch.dtype | None) -> Source:
    """What `kernel_ridge` was given, as a source of entries and products.

    Raises:
        ConfigurationError: if it is none of what is allowed.
    """
    if data is not None and not isinstance(kernel, str | Path):
        raise ConfigurationError("data: the rows are known of a file alone; use none here")
    source = _source(kernel, data, kind, dtype)
    if source.dtype not in (torch.float32, torch.float64):
        raise ConfigurationError(
            f"kernel: type {source.dtype} is not allowed; use torch.float32 or torch.float64"
        )
    return source


def _source(kernel: Any, data: Any, kind: str, dtype: torch.dtype | None) -> Source:
    if isinstance(kernel, Tensor) and kernel.layout == torch.strided:
        return DenseSource(kernel)
    if isinstance(kernel, str | Path):
        return FileSource(kernel, data)
    if isinstance(kernel, tuple) and len(kernel) == 2:
        network, x = kernel
        check_tensors(x=x)
        if x.ndim < 2 or not isinstance(network, nn.Module):
            raise ConfigurationError(
                f"kernel: ({type(network).__name__}, x of shape {tuple(x.shape)}) is not allowed; "
                "use a network and inputs (n, ...)"
            )
        default = torch.float32 if kind != "empirical" else x.dtype
        return NetworkSource(network, x, kind, dtype or default)
    typed = isinstance(getattr(kernel, "dtype", None), torch.dtype)
    if typed and all(hasattr(kernel, name) for name in ("__matmul__", "shape", "device")):
        return OperatorSource(kernel)
    raise ConfigurationError(
        f"kernel: {type(kernel).__name__} is not allowed; use a square tensor, the path of a file "
        "of write_kernel_tiles, an operator with shape, dtype, device and @, or (network, x)"
    )

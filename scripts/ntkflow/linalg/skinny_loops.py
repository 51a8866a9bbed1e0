"""Products of few vectors with tiles of a symmetric matrix, in one pass through each tile.

A library packs the large factor anew for every product, which takes longer than the product.
"""

from functools import partial

import numpy as np

from ..compiling import compiled

# Rows whose sums are in the type of the vectors before they go to float64, and columns that stay
# in the fast caches with ten vectors and ten sums.
_ROWS, _COLUMNS = 512, 1024
# Sums may be reordered, as in any matrix product; what is not finite stays so.
_compiled = partial(compiled, fastmath={"reassoc", "contract", "nsz"})


@_compiled
def _down(sums, x0, x1, x2, x3, a0, a1, a2, a3):
    """Add four rows, each times a number."""
    for c in range(len(sums)):
        sums[c] += (x0 * a0[c] + x1 * a1[c]) + (x2 * a2[c] + x3 * a3[c])


@_compiled
def _down_and_along(sums, x0, x1, x2, x3, a0, a1, a2, a3, y):
    """The same, and the products of the rows with a vector."""
    s0 = s1 = s2 = s3 = y.dtype.type(0)
    for c in range(len(sums)):
        u0, u1, u2, u3, v = a0[c], a1[c], a2[c], a3[c], y[c]
        sums[c] += (x0 * u0 + x1 * u1) + (x2 * u2 + x3 * u3)
        s0 += v * u0
        s1 += v * u1
        s2 += v * u2
        s3 += v * u3
    return s0, s1, s2, s3


@_compiled
def add_tile(product, vectors, tile, width, first, second, mirrored):
    """Add v'A to the columns from `second` on, and if asked to v'A' to those from `first` on.

    Args:
        product: (K, N), in float64.
        vectors: (K, N), in the type that is multiplied in.
        tile: A, (R, at least `width`).
        width: its columns.
        first: row of the matrix that its first row is, and column of the vectors.
        second: column that its first column is.
        mirrored: whether A' stands in the matrix too.
    """
    below, zero = np.empty((len(vectors), _COLUMNS), vectors.dtype), vectors.dtype.type(0)
    for start in range(0, len(tile), _ROWS):
        stop = min(start + _ROWS, len(tile))
        for left in range(0, width, _COLUMNS):
            right = min(left + _COLUMNS, width)
            below.fill(0)
            for r in range(start, stop, 4):
                # Behind the last row stands that row again, times 0.
                r1, r2, r3 = min(r + 1, stop - 1), min(r + 2, stop - 1), min(r + 3, stop - 1)
                a0, a1 = tile[r, left:right], tile[r1, left:right]
                a2, a3 = tile[r2, left:right], tile[r3, left:right]
                for k in range(len(vectors)):
                    v, sums = vectors[k], below[k, : right - left]
                    x0 = v[first + r]
                    x1 = v[first + r1] if r + 1 < stop else zero
                    x2 = v[first + r2] if r + 2 < stop else zero
                    x3 = v[first + r3] if r + 3 < stop else zero
                    if not mirrored:
                        _down(sums, x0, x1, x2, x3, a0, a1, a2, a3)
                        continue
                    y = v[second + left : second + right]
                    found = _down_and_along(sums, x0, x1, x2, x3, a0, a1, a2, a3, y)
                    for row in range(min(4, stop - r)):
                        product[k, first + r + row] += found[row]
            for k in range(len(vectors)):
                for c in range(right - left):
                    product[k, second + left + c] += below[k, c]

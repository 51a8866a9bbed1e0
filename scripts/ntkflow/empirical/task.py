"""What is to be computed, as the methods need to know it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .complexes import in_precision
from .factors import Factor, mapped
from .inputs import Inputs, in_double, in_type
from .layout import Layout
from .model import Model

# Most vectors that are multiplied in one pass; more gain next to nothing.
TOGETHER = 8

# How factors of some rows are made, by the names of the parameters that each stands for.
Factors = dict[tuple[str, ...], Callable[[], Factor]]


@dataclass(frozen=True)
class Task:
    """A kernel between the rows x1 and x2 (None: x1 again, a symmetric kernel).

    Attributes:
        model: network and parameters.
        x1: rows.
        x2: other rows or None.
        selected: outputs that are needed, S of them.
        layout: which of their pairs are kept.
        by_layer: whether each parameter has its own kernel.
        like: outputs of a row, in the type that the kernel is summed in, on its device.
        dtype: type of the kernel, that of the outputs.
        memory_budget: bytes beside the result.
        own_rows: whether only the products of every row with itself are wanted, (S, N1).
        sketch: the `sketching.Sketch` of every row's gradients that is wanted in place of a kernel,
            (N1, S, D), or (N1, D) where it is `sketch_summed` over outputs.
        proof: the `proof.Proof` that the factors must agree with; None on the meta device.
        stands_for: rows in whose place these few are counted.
        evidence: the `precedents.Evidence` of what layers meet, where it is kept.
        alone: first rows of x1 and x2, each with the outputs that it has alone.
    """

    model: Model
    x1: Inputs
    x2: Inputs | None
    selected: list[int]
    layout: Layout
    by_layer: bool
    like: Tensor
    dtype: torch.dtype
    memory_budget: int
    own_rows: bool = False
    sketch: Any = None
    sketch_summed: bool = False
    proof: Any = None
    evidence: Any = None
    stands_for: int | None = None
    alone: Sequence[tuple[Inputs, Tensor]] = ()

    @property
    def fewest(self) -> int:
        """Rows of x1 or x2, whichever has fewer, for which ways are chosen."""
        return self.stands_for or min(len(self.x1), len(self.other))

    @property
    def other(self) -> Inputs:
        """The rows x2, or x1 again."""
        return self.x1 if self.x2 is None else self.x2

    @property
    def largest(self) -> Inputs:
        """Those of x1 and x2 whose rows hold more numbers."""
        return max(self.x1, self.other, key=lambda x: x[:1].numel())

    @property
    def vectors_together(self) -> int:
        """Vectors that are multiplied in one pass; each needs room for its J^T v, twice."""
        gradient_bytes = self.model.size * self.like.element_size()
        return min(TOGETHER, max(1, self.memory_budget // (4 * gradient_bytes)))

    def empty(self) -> Tensor:
        """Kernel yet to be filled."""
        if self.own_rows:
            return self.like.new_empty(len(self.selected), len(self.x1))
        return self.layout.empty(len(self.x1), len(self.other), self.like)

    def factors(self, make: Callable[["Task", Inputs], Factors], second: bool, i: slice) -> Factors:
        """Factors of the rows i of x1 or x2, compared with plain autograd where it is known."""
        x = (self.other if second else self.x1)[i]
        found = make(self, x)
        if self.proof is not None:
            place = second and self.x2 is not None, i
            found = self.proof.watch(self, make, x, place, found)
        return {names: partial(_in_type, make, self.like.dtype) for names, make in found.items()}

    def in_double(self) -> "Task":
        """The same in float64, without a proof."""
        x2 = None if self.x2 is None else in_double(self.x2)
        casts = dict(x1=in_double(self.x1), x2=x2, like=in_double(self.like))
        casts |= dict(proof=None, evidence=None, alone=())
        return replace(self, model=self.model.build(in_precision), **casts)


def _in_type(make: Callable[[], Factor], dtype: torch.dtype) -> Factor:
    """With floating-point numbers of this type."""
    return mapped(make(), partial(in_type, dtype=dtype))

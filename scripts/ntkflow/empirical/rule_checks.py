"""Whether the rule of an operation is right where the gradient of its parameter shows nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .capture import Recording, edges
from .factors import Factor, ReadoutFactor
from .graph import shape_of
from .proof import joined, tolerance
from .rules import Seen


@dataclass(frozen=True)
class RuleChecks:
    """Tells of parameters whether their rule is right for any gradient of what they make.

    The gradient of a parameter that is zero, or within rounding of others, agrees with anything
    (biases of keys, biases before a normalisation, small scales). A drawn gradient of what it makes
    is put in place of the real one, and goes back through that operation alone, by plain autograd.
    The real one has to be there, however small: it tells which rows are where.

    Attributes:
        uses: operations with parameters.
        gradients: of what they make, (S, N, *dims).
        selected: outputs that are needed.
        recording: the graph.
        factor: makes the factor of some parameters from gradients of what all uses make; None if
            there is none.
    """

    uses: list[Seen]
    gradients: list[Tensor]
    selected: Sequence[int]
    recording: Recording
    factor: Callable[[list[Tensor], tuple[str, ...]], Factor | None]

    @cached_property
    def in_order(self) -> list[bool]:
        """Whether row n of each use has the gradient of the outputs of row n, and of no others.

        Rows are numbered from 1; outputs of those with a digit of 1, binary digit by digit, have
        gradients at just these rows of the use.
        """
        outputs, found = self.recording.outputs, [True] * len(self.uses)
        numbers = torch.arange(1, len(outputs) + 1, device=outputs.device)
        columns = torch.linspace(0.5, 1.5, len(self.selected), dtype=outputs.dtype)
        options = dict(retain_graph=True, materialize_grads=True)
        for digit in range(len(outputs).bit_length()):
            chosen = (numbers >> digit) % 2 == 1
            signal = torch.zeros_like(outputs)
            signal[:, self.selected] = chosen[:, None] * columns.to(outputs.device)
            places = edges(seen.use.node for seen in self.uses)
            for i, each in enumerate(torch.autograd.grad(outputs, places, signal, **options)):
                rows = self.uses[i].node.rows_first(each, self.uses[i].rows)
                found[i] &= torch.equal(rows.flatten(1).any(1), chosen)
        return found

    def __call__(self, names: tuple[str, ...]) -> bool:
        """Of parameters that one factor is of."""
        mine = [i for i, seen in enumerate(self.uses) if not {*seen.use.names}.isdisjoint(names)]
        leaves, found = self.recording.leaves, self.recording.found
        alone = len(mine) == 1 and found.sources(found.made).isdisjoint(names)
        if not alone or not leaves.keys() >= {*names} or self.recording.outputs.is_meta:
            return False
        (place,) = mine
        if not self.in_order[place]:
            return False
        seen, like, generator = self.uses[place], self.gradients[place], torch.Generator()
        rows = torch.randn(like[:, :1].shape, generator=generator.manual_seed(0)).to(like)
        gradients = [*self.gradients]
        gradients[place] = rows.expand(like.shape)
        factor = self.factor(gradients, names)
        if factor is None or isinstance(factor, ReadoutFactor):
            return False
        signal = torch.zeros(shape_of(seen.use.node), dtype=like.dtype, device=like.device)
        seen.node.rows_first(signal, seen.rows)[0] = rows[0, 0]
        options = dict(retain_graph=True, materialize_grads=True)
        parts = [leaves[name] for name in names]
        expected = torch.autograd.grad(edges([seen.use.node]), parts, [signal], **options)
        first = torch.zeros(len(rows), dtype=torch.float64)
        first[0] = 1
        allowed = tolerance(like.dtype, *(part.dtype for part in expected))
        found = factor.gradient(first, 0).double().view(joined(expected).shape)
        if len(expected) == 2:  # the bias is the last column
            pairs = [(found[:, :-1], expected[0]), (found[:, -1], expected[1])]
        else:
            pairs = [(found, expected[0])]
        return all(
            _is_near(mine.flatten(), part.double().flatten(), allowed) for mine, part in pairs
        )


def _is_near(found: Tensor, expected: Tensor, allowed: float) -> bool:
    """Whether they are the same up to rounding, and not zero."""
    size = expected.norm()
    return bool(size > 0) and bool((found - expected).norm() <= allowed * size)

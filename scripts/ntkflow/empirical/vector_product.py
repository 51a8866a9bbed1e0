"""Kernel from a vector-Jacobian product per anchor and a Jacobian-vector product over the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .blocks import row_slices
from .inputs import Inputs
from .layout import Layout
from .proof import NO_GRADIENT, Proof, Unproved, Witness, look_further
from .task import Task


def vector_product_kernel(task: Task) -> dict[str, Tensor]:
    """Theta[o, :, n, :] = J(x2) (df_o(x1_n)/dtheta) with anchors n on the side with fewer rows.

    Needs O(P) memory for each pair (o, n) at a time. Source: Novak, Sohl-Dickstein, Schoenholz
    2022 (arXiv:2206.08720), section 3.1, NTK-vector products.
    """
    names = list(task.model.parameters)
    groups = [[name] for name in names] if task.by_layer else [names]
    swap = len(task.other) < len(task.x1)
    anchors, others = (task.other, task.x1) if swap else (task.x1, task.other)
    kernels = {}
    if task.proof is not None:
        look_further(task, task.proof)
    for group in groups:
        values = task.layout.empty(len(anchors), len(others), task.like).zero_()
        probe = _Probe.of(task.proof, swap) if task.proof and task.proof.has_finite else None
        _add_vector_products(task, (anchors, others), values, group, probe)
        if probe is not None and probe.deviates(group) and _deviates_in_double(task, group):
            raise Unproved("deviates from plain autograd on a pair of rows")
        if task.x2 is None:
            task.layout.mirror(values, slice(None), slice(None))
        key = group[0] if task.by_layer else ""
        kernels[key] = task.layout.transpose(values) if swap else values
    return kernels


@dataclass
class _Probe:
    """Products of one anchor with one other row, weighted over pairs of outputs."""

    anchor: Witness
    other: Witness
    selected: list[int]
    total: float = 0.0

    @classmethod
    def of(cls, proof: Proof, swap: bool) -> "_Probe":
        left, right = sides_of(proof)
        return cls(*((right, left) if swap else (left, right)), proof.selected)

    def add(self, products: Tensor, pairs: list, rows: slice) -> None:
        """Products (pairs, rows, S)."""
        n = self.other.index - rows.start
        weights = self.anchor.weights[self.selected].to(products.dtype)
        for (anchor, s), product in zip(pairs, products, strict=True):
            if anchor == self.anchor.index and 0 <= n < len(product):
                self.total += (weights[s] * (product[n] @ weights)).item()

    def deviates(self, names: Sequence[str]) -> bool:
        """Whether the sum is not the product of the two gradients."""
        left, right = self.anchor.gradient, self.other.gradient
        expected = sum((left[name].double() * right[name].double()).sum() for name in names)
        allowed = self.anchor.tolerance * self.anchor.size * self.other.size
        return bool((self.total - expected).abs() > allowed)


def sides_of(proof: Proof) -> tuple[Witness, Witness]:
    """A row of x1 and one of x2, or two of x1: those that most parameters act on.

    Raises:
        Unproved: if none acts on either.
    """
    sides = [[w for w in proof.witnesses if w.second == second] for second in (False, True)]
    left, right = sides[0], sides[1] or sides[0][::-1]
    found = tuple(max(side, key=lambda witness: len(witness.acting)) for side in (left, right))
    if not all(witness.acting for witness in found):
        raise Unproved(NO_GRADIENT)
    return found


def _deviates_in_double(task: Task, names: Sequence[str]) -> bool:
    """The same of the two rows alone, in float64."""
    witnesses = [witness.in_double() for witness in sides_of(task.proof)]
    rows = [witness.row for witness in witnesses]
    first, last = (replace(witness, index=0) for witness in witnesses)
    probe = _Probe(first, last, task.selected)
    double = task.in_double()
    values = double.layout.empty(1, 1, double.like).zero_()
    _add_vector_products(double, rows, values, names, probe)
    return probe.deviates(names)


def _add_vector_products(
    task: Task,
    sides: Sequence[Inputs],
    values: Tensor,
    names: Sequence[str],
    probe: _Probe | None,
) -> None:
    anchors, others = sides
    model, selected = task.model, task.selected
    chosen = {name: model.parameters[name] for name in names}
    index = torch.as_tensor(selected, device=others.device)
    units = torch.eye(task.like.shape[1], dtype=values.dtype, device=values.device)[index]

    def gradient(row, unit):
        _, pull = torch.func.vjp(lambda p: model.single({**model.parameters, **p}, row), chosen)
        return {name: part.detach() for name, part in pull(unit)[0].items()}

    def push(direction, rows):
        def outputs(parameters):
            return model({**model.parameters, **parameters}, rows)[:, index]

        return torch.func.jvp(outputs, (chosen,), (direction,))[1].detach()

    pairs = [(n, s) for n in range(len(anchors)) for s in range(len(selected))]
    together, step = chunk_sizes(task, len(pairs), others)
    for chunk in _chunks(pairs, together):
        directions = [gradient(anchors[n], units[s]) for n, s in chunk]
        for rows in row_slices(0, len(others), step):
            if len(chunk) == 1:
                products = push(directions[0], others[rows])[None]
            else:
                stacked = {name: torch.stack([d[name] for d in directions]) for name in names}
                products = torch.func.vmap(push, (0, None))(stacked, others[rows])
            _place(products, chunk, task.layout, values, rows)
            if probe is not None:
                probe.add(products, chunk, rows)


def chunk_sizes(task: Task, pairs: int, others: Inputs) -> tuple[int, int]:
    """Gradients of anchors and rows of the other side that are handled at once."""
    quarter = task.memory_budget // 4
    gradient_bytes = task.model.size * task.like.element_size()
    together = min(pairs, max(1, quarter // gradient_bytes))
    return together, max(1, quarter // (together * task.model.row_bytes(others)))


def _chunks(items: list, size: int) -> Iterator[list]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _place(products: Tensor, pairs: list, layout: Layout, values: Tensor, rows: slice) -> None:
    """Products (pairs, rows, S) to where the layout keeps them."""
    for (n, s), product in zip(pairs, products, strict=True):
        if layout.mode == "block":
            values[s, :, n, rows] += product.mT
        elif layout.mode == "diagonal":
            values[s, n, rows] += product[:, s]
        else:
            values[n, rows] += product[:, s]

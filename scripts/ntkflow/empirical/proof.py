"""What a fast method must agree with: plain autograd on real rows, and rows on their own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UnsupportedLayerError
from .complexes import in_precision
from .factors import Factor, ReadoutFactor
from .inputs import Inputs, in_double, same_rows
from .model import Model
from .precision import same_autocast
from .rows import row_gradients
from .squares import squares
from .task import Factors, Task

# Largest relative deviation that is rounding. In float32 it is only a hint, as rounding may carry
# an activation over a kink: what deviates more is computed again in float64, which decides.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 200 * torch.finfo(torch.float32).eps}
COARSE = 0.05
# Most rows whose outputs are looked at in two arrangements, parts of the second, and rows that are
# looked at beside the first and the last where these have no gradient of some parameter.
ARRANGED, PARTS, MORE = 512, 4, 4
ALARMS = 8  # rows of a part whose deviation is compared with rounding, a backward pass each

CHANCE = (
    "network: has other outputs for the same row at the next call, so they depend on chance or on "
    "what earlier calls left behind; fix the random numbers, and keep no state outside the network"
)
INTERACT = (
    "network: the outputs of a row change with the rows beside it, so rows interact or are "
    "reordered; call network.eval(), give batch_first=True, keep the rows on the first axis"
)

NO_GRADIENT = "cannot be compared: rows that were looked at have no gradient, or no finite one"


def no_rule(names: tuple[str, ...]) -> bool:
    """Nothing is known of rules."""
    return False


class Unproved(Exception):
    """A fast method does not apply, or deviates from plain autograd."""


def tolerance(*dtypes: torch.dtype) -> float:
    """Largest relative deviation that rounding explains in the coarsest of these types."""
    return max(TOLERANCES.get(dtype, COARSE) for dtype in dtypes)


def are_same(found: Tensor, known: Tensor, allowed: Tensor) -> Tensor:
    """Which numbers deviate by so much at most; those that are not finite must be the same."""
    equal = (found == known) | (found.isnan() & known.isnan())
    return ((found - known).abs() <= allowed) | equal


def rounding_of(outputs: Float[Tensor, "n o"]) -> Tensor:
    """Deviations that rounding explains: of a number's size and of what a quarter does not reach.

    A few large ones, as masks set, say nothing of the others.
    """
    sizes = outputs.abs()
    finite = sizes[sizes.isfinite()]
    low = finite.kthvalue(1 + len(finite) // 4).values if len(finite) else 0.0
    return tolerance(outputs.dtype) * (sizes + low)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Gradients of a weight and its bias in the order of a factor."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=-1)


def wide(tensor: Tensor) -> torch.dtype:
    """The type, or float32 for 16-bit numbers."""
    return torch.promote_types(tensor.dtype, torch.float32)


@dataclass(frozen=True)
class Witness:
    """A row with the gradient of the weighted sum <v, f> of its outputs, by plain autograd."""

    model: Model
    second: bool
    index: int
    row: Inputs
    weights: Float[Tensor, " o"]
    outputs: Float[Tensor, " o"]
    gradient: dict[str, Tensor]

    @classmethod
    def of(
        cls, model: Model, place: tuple[bool, int], row: Inputs, weights: Float[Tensor, " o"]
    ) -> "Witness":
        """Look at one row."""
        outputs, (gradient,) = row_gradients(model, row, [weights])
        return cls(model, *place, row, weights, outputs, gradient)

    @cached_property
    def size(self) -> Tensor:
        """Norm of the whole gradient."""
        norms = [
            torch.linalg.vector_norm(part, dtype=wide(part)) for part in self.gradient.values()
        ]
        return torch.stack([norm.double() for norm in norms]).norm()

    @cached_property
    def tolerance(self) -> float:
        """Largest relative deviation that rounding explains."""
        dtypes = {p.dtype for p in self.model.parameters.values()} | {self.outputs.dtype}
        device = self.outputs.device.type
        if torch.is_autocast_enabled(device):
            dtypes.add(torch.get_autocast_dtype(device))
        return tolerance(*dtypes)

    @cached_property
    def acting(self) -> set[str]:
        """Parameters whose gradient is beyond rounding of the whole one, if that is finite."""
        if not bool(self.size.isfinite()):
            return set()
        return {name for name in self.gradient if self.has_gradient([name])}

    def in_double(self) -> "Witness":
        """The same row in float64."""
        return self._double

    @cached_property
    def _double(self) -> "Witness":
        place, cast = (self.second, self.index), (in_double(self.row), self.weights.double())
        return Witness.of(self.model.build(in_precision), place, *cast)

    def deviates(self, names: tuple[str, ...], factor: Factor, n: int, selected: list[int]) -> bool:
        """Whether row n of the factor is not this gradient, relative to the whole gradient."""
        expected = joined([self.gradient[name] for name in names])
        if isinstance(factor, ReadoutFactor):
            expected = expected[selected]
        found = factor.gradient(self.weights[selected], n)
        deviation = found.to(wide(found)) - expected.flatten().to(wide(found))
        return bool(deviation.norm() > self.tolerance * self.size)

    def has_gradient(self, names: Iterable[str]) -> bool:
        """Whether parameters that are held to be idle act on this row."""
        return any(self.gradient[name].norm() > self.tolerance * self.size for name in names)

    def differs(self, outputs: Float[Tensor, " o"]) -> bool:
        """Whether this row has other outputs in a batch than it has alone.

        Rounding of <v, f> is relative to sum |theta df/dtheta| + sum |v f|, both over the outputs
        that are not the same; one that is not finite has to be.
        """
        if not self.size.isfinite():
            return False
        finite = self.outputs.isfinite()
        if not torch.equal(finite, outputs.isfinite()):
            return True
        apart = finite & ~are_same(outputs, self.outputs, self.tolerance * self.outputs.abs())
        weights, found = self.weights[apart].double(), outputs[apart].double()
        deviation = ((found - self.outputs[apart]) @ weights).abs()
        scale = (weights * self.outputs[apart]).abs().sum()
        if deviation <= self.tolerance * scale:
            return False
        for name, p in self.model.parameters.items():
            scale = scale + (p.to(wide(p)) * self.gradient[name]).abs().sum(dtype=torch.float64)
        return bool(deviation > self.tolerance * scale)


@dataclass(frozen=True)
class Proof:
    """Plain gradients of rows of x1 and of x2, the first and the last of them at least.

    `seen` are witnesses and parameters that were compared; a row that was looked at since, as no
    other had a gradient of some parameter, is among the witnesses too. `small` are parameters whose
    gradient is within rounding of the whole one, and whose rule is right for drawn gradients.
    """

    witnesses: list[Witness]
    selected: list[int]
    seen: set[tuple] = field(default_factory=set)
    small: set[str] = field(default_factory=set)

    @property
    def has_finite(self) -> bool:
        """Whether a row has a finite gradient, as none of a network has that has diverged."""
        return any(bool(witness.size.isfinite()) for witness in self.witnesses)

    def has_gradient(self, name: str) -> bool:
        """Whether a parameter acts on one of the rows."""
        return any(name in witness.acting for witness in self.witnesses)

    def is_shown(self, name: str) -> bool:
        """Whether the gradient of a parameter, or its rule, was compared with plain autograd."""
        return name in self.small or self.has_gradient(name)

    def watch(
        self,
        task: Task,
        make: Callable[[Task, Inputs], Factors],
        x: Inputs,
        place: tuple[bool, slice],
        factors: Factors,
    ) -> Factors:
        """The factors of some rows, compared with gradients that are known when they are made.

        Raises:
            Unproved: if they deviate, in float64 too; or once they are made.
        """
        second, rows = place
        as_before = same_autocast()

        def here() -> list[Witness]:
            mine = [w for w in self.witnesses if w.second == second and w.size.isfinite()]
            return [w for w in mine if 0 <= w.index - rows.start < len(x)]

        absent = set(task.model.parameters) - {name for names in factors for name in names}
        if any(w.has_gradient(absent) and w.in_double().has_gradient(absent) for w in here()):
            raise Unproved("does not see every parameter")
        in_double_factors = cache(lambda: make(task.in_double(), in_double(x)))
        holds = task.evidence.holds if task.evidence is not None else no_rule

        def compare(names: tuple[str, ...], factor: Factor) -> None:
            for witness in here():
                key, n = (witness.second, witness.index, names), witness.index - rows.start
                if key not in self.seen and witness.deviates(names, factor, n, self.selected):
                    double = in_double_factors()[names]()
                    if witness.in_double().deviates(names, double, n, self.selected):
                        raise Unproved("deviates from plain autograd on a row of x")
                self.seen.add(key)

        def compare_strongest(names: tuple[str, ...], factor: Factor) -> None:
            n = self._strongest(factor)
            if n is None:
                return
            row, weights = x[n : n + 1], self.witnesses[0].weights
            with as_before():
                found = Witness.of(task.model, (second, rows.start + n), row, weights)
            if not found.size.isfinite():
                if self.has_finite:
                    raise Unproved(NO_GRADIENT)
                return
            self.witnesses.append(found)
            compare(names, factor)
            if not found.acting.intersection(names):
                self.witnesses.pop()

        def checked(names: tuple[str, ...]) -> Factor:
            factor = factors[names]()
            compare(names, factor)
            if not all(map(self.has_gradient, names)):
                compare_strongest(names, factor)
            if not all(map(self.is_shown, names)) and holds(names):
                self.small.update(names)
            return factor

        return {names: partial(checked, names) for names in factors}

    def _strongest(self, factor: Factor) -> int | None:
        """The row of the factor with the longest finite gradient; None if that is rounding."""
        norms = squares(factor).sum(0).sqrt().nan_to_num(0.0, 0.0)
        sizes = [w.size for w in self.witnesses if w.size.isfinite()]
        known = max(sizes, default=norms.new_zeros(()))
        n = int(norms.argmax())
        return n if bool(norms[n] > self.witnesses[0].tolerance * known) else None


def find_proof(task: Task) -> Proof | None:
    """Look at single rows, and refuse a network whose rows interact.

    Raises:
        UnsupportedLayerError: if outputs in a batch are not those of single rows.
    """
    if task.like.is_meta or task.x1.is_meta:
        return None
    weights = torch.zeros(task.like.shape[1], dtype=task.like.dtype)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(len(task.selected), generator=generator, dtype=torch.float64)
    weights[task.selected] = drawn.to(weights.dtype)
    weights = weights.to(task.like.device)
    last = (task.x2 is not None, len(task.other) - 1)
    witnesses = [
        Witness.of(task.model, place, _row(task, *place), weights)
        for place in dict.fromkeys([(False, 0), last])
    ]
    for row, outputs in task.alone[:1]:
        if same_rows(row, witnesses[0].row) and witnesses[0].differs(outputs[0]):
            raise UnsupportedLayerError(CHANCE)
    for second in (False, True)[: 1 if task.x2 is None else 2]:
        _check_rows(task, second, witnesses)
        _check_arrangements(task, second, weights)
    return Proof(witnesses, task.selected)


def look_further(task: Task, proof: Proof) -> None:
    """More rows, where what is made of the whole gradient is compared with it."""
    for second in (False, True)[: 1 if task.x2 is None else 2]:
        _look_further(task, second, proof.witnesses)


def _look_further(task: Task, second: bool, witnesses: list[Witness]) -> None:
    """More rows of a side, evenly spread, while some parameter acts on none that was looked at."""
    x, weights = task.other if second else task.x1, witnesses[0].weights
    mine = [w for w in witnesses if w.second == second]
    for index in _spread(len(x), MORE + 2)[1:-1]:
        missing = set(task.model.parameters).difference(*(w.acting for w in mine))
        if not missing:
            return
        found = Witness.of(task.model, (second, index), _row(task, second, index), weights)
        if missing & found.acting:
            mine.append(found)
            witnesses.append(found)


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _row(task: Task, second: bool, index: int) -> Inputs:
    return (task.other if second else task.x1)[index : index + 1]


def _check_rows(task: Task, second: bool, witnesses: list[Witness]) -> None:
    """Outputs of [a, b, a, c], which sorting, flipping and shifting rows would move."""
    x = task.other if second else task.x1
    if len(x) == 1:
        return
    indices = [0, len(x) - 1, 0, len(x) // 2]
    known = {(w.second, w.index): w for w in witnesses}
    found = task.model.outputs(x[indices])
    for position, index in enumerate(indices):
        place = (second, index)
        witness = known.get(place)
        if witness is None:
            row, weights = _row(task, *place), witnesses[0].weights
            alone = task.model.outputs(row)[0]
            if torch.allclose(alone, found[position], rtol=witnesses[0].tolerance, atol=0):
                continue
            witness = Witness.of(task.model, place, row, weights)
        if witness.differs(found[position]) and not _is_rounding(witness, x[indices], position):
            raise UnsupportedLayerError(INTERACT)


def _check_arrangements(task: Task, second: bool, weights: Tensor) -> None:
    """Outputs of many rows together, and of four parts of them, drawn at random."""
    x = task.other if second else task.x1
    if len(x) < 3:  # seen already
        return
    fitting = task.memory_budget // max(1, task.model.row_bytes(x))
    indices = _spread(len(x), min(ARRANGED, max(32, fitting)))
    together = task.model.outputs(x[indices])
    for part in drawn(len(indices)).tensor_split(min(PARTS, len(indices))):
        batch = [indices[n] for n in part.tolist()]
        apart = task.model.outputs(x[batch])
        known = together[part.to(together.device)]
        other = ~are_same(apart, known, rounding_of(apart)).all(1)
        for n in other.nonzero().flatten().tolist()[:ALARMS]:
            place = second, batch[n]
            witness = Witness.of(task.model, place, _row(task, *place), weights)
            for rows, at, found in ((indices, int(part[n]), together), (batch, n, apart)):
                if witness.differs(found[at]) and not _is_rounding(witness, x[rows], at):
                    raise UnsupportedLayerError(INTERACT)


def drawn(count: int) -> Tensor:
    """The numbers below `count` in an order of chance, always the same."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(count))


def shows_interaction(task: Task, x: Inputs, outputs: Tensor, index: int) -> bool:
    """Whether a row has other outputs among these rows than alone, beyond rounding."""
    weights = task.proof.witnesses[0].weights
    witness = Witness.of(task.model, (False, index), x[index : index + 1], weights)
    return witness.differs(outputs[index]) and not _is_rounding(witness, x, index)


def _is_rounding(witness: Witness, batch: Inputs, position: int) -> bool:
    """Whether the difference is gone in float64; not if the network does not take that type."""
    if witness.outputs.dtype == torch.float64:
        return False
    try:
        double = witness.in_double()
        found = double.model.outputs(in_double(batch))
    except RuntimeError:
        return False
    return not double.differs(found[position])

"""Which pairs of nodes a kernel needs, and their values over the rows of two sides.

A pair of nodes is taken apart, layer by layer, into pairs of what they are made of, down to the
inputs. Only pairs that are asked for are formed: a network that reads its last time step needs
equal steps alone, a mean over steps needs all.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .nodes import Meeting, Node, Pair, Request, itself, turned_pair
from .scores import Draws

_BYTES = 2**27  # of the pairs of an input with itself that are held at once


class Program(NamedTuple):
    """Nodes in order, the last one being the output, and what the first layers read of inputs."""

    nodes: list[Node]
    data: dict[int, Tensor]  # (K, P, N)

    @property
    def is_sampled(self) -> bool:
        """Whether some expectations are means over draws."""
        return any(node.is_sampled for node in self.nodes)


class Plan:
    """Pairs to form, in order, and how often each is used."""

    def __init__(self, wanted: Iterable[Request]):
        self.crossed: dict[tuple[Node, Node], bool] = {}
        self.needs: dict[tuple[Node, Node], list[Request]] = {}
        self.uses: dict[tuple[Node, Node], int] = {}
        waiting: list = []
        for request in wanted:
            self._want(request, waiting)
        while waiting:
            *_, v, w = heapq.heappop(waiting)
            if (v, w) in self.needs:
                continue
            found = self._requests(v, w)
            self.needs[v, w] = found
            for request in found:
                self._want(request, waiting)
        self.order = sorted(self.needs, key=_order)

    @property
    def largest(self) -> int:
        """Pairs of places of the largest pair of nodes."""
        return max(v.places * (w.places if self.crossed[v, w] else 1) for v, w in self.order)

    def _want(self, request: Request, waiting: list) -> None:
        v, w, crossed = request
        crossed = (crossed or v.places != w.places) and max(v.places, w.places) > 1
        self.crossed[v, w] = self.crossed.get((v, w), False) or crossed
        self.uses[v, w] = self.uses.get((v, w), 0) + 1
        big, small, mine = _order((v, w))
        heapq.heappush(waiting, (-big, -small, -mine, id(v), id(w), v, w))

    def _requests(self, v: Node, w: Node) -> list[Request]:
        crossed = self.crossed[v, w]
        if v.reduces_before(w):
            return v.requests(w, crossed)
        return [Request(b, a, c) for a, b, c in w.requests(v, crossed)]


def _order(pair: tuple[Node, Node]) -> tuple[int, int, int]:
    """A pair comes after all pairs that it is made of."""
    v, w = (node.index for node in pair)
    return max(v, w), min(v, w), v


class Values:
    """Values of the pairs of a plan, formed in order and dropped after their last use."""

    def __init__(self, plan: Plan, first: "State", second: "State", same: bool):
        self.plan, self.first, self.second, self.same = plan, first, second, same
        self.uses = dict(plan.uses)
        self.found: dict[tuple[Node, Node], Pair] = {}

    def form(self, v: Node, w: Node) -> None:
        """Form one pair."""
        sources = [self.take(request) for request in self.plan.needs[v, w]]
        crossed = self.plan.crossed[v, w]
        meeting = Meeting(self.first, self.second, crossed, self.same)
        if v.reduces_before(w):
            found = v.pairs(w, meeting, sources)
            if self.same and v is w:  # no rounding error there, which a kink would enlarge
                itself(found.delta, crossed).zero_()
            self.found[v, w] = found
            return
        needs = [request.crossed for request in self.plan.needs[v, w]]
        sources = [_exchanged(pair, c) for pair, c in zip(sources, needs, strict=True)]
        pair = w.pairs(v, Meeting(self.second, self.first, crossed, self.same), sources)
        self.found[v, w] = _exchanged(pair, crossed)

    def take(self, request: Request) -> Pair:
        """A pair that may be overwritten, with all pairs of places or equal ones."""
        v, w, crossed = request
        self.uses[v, w] -= 1
        pair = self.found[v, w] if self.uses[v, w] else self.found.pop((v, w))
        has = self.plan.crossed[v, w]
        if has and not crossed:
            return _mapped(pair, lambda a: a.diagonal(0, 1, 3).movedim(-1, 1).clone())
        if self.uses[v, w]:
            pair = _mapped(pair, torch.clone)
        if crossed and not has:  # there is one place on either side
            return _mapped(pair, lambda a: a[:, :, :, None])
        return pair

    def covariance(self, request: Request) -> Tensor:
        """K of a pair that is taken."""
        v, w, crossed = request
        return Meeting(self.first, self.second, crossed).covariance(v, w, self.take(request).delta)


def _exchanged(pair: Pair, crossed: bool) -> Pair:
    return _mapped(turned_pair(pair, crossed), torch.Tensor.contiguous)


def _mapped(pair: Pair, change: Callable[[Tensor], Tensor]) -> Pair:
    return Pair(*(None if array is None else change(array) for array in pair))


class State:
    """Rows of one side: quantities (..., B, P, N) of all nodes, and the draws of sampled ones."""

    def __init__(
        self, data: dict, variances: dict, extras: dict | None = None, draws: Draws | None = None
    ):
        self.numbers, self.variances, self.extras = data, variances, extras or {}
        self.draws = draws
        self.cache: dict[tuple[str, int], object] = {}

    def q(self, node: Node) -> Tensor:
        """Variance (B, P, N)."""
        return self.variances[node.index]

    def data(self, node: Node) -> Tensor:
        """Numbers (K, B, P, N) of the inputs that a first layer reads."""
        return self.numbers[node.index]

    def keep(self, node: Node, array: Tensor) -> None:
        """Keep (..., B, N) numbers of each input beside the variance."""
        self.extras[node.index] = array

    def kept(self, node: Node) -> Tensor:
        """What was kept."""
        return self.extras[node.index]

    def mean(self, node: Node) -> Tensor:
        """Mean over channels (B, P, N)."""
        return self._once("mean", node)

    def parts(self, node: Node) -> tuple[Tensor, ...]:
        """What the pairs of a node need of each row."""
        return self._once("parts", node)

    def _once(self, what: str, node: Node):
        key = what, node.index
        if key not in self.cache:
            self.cache[key] = getattr(node, what)(self)
        return self.cache[key]

    def take(self, inputs: slice) -> "State":
        """The rows of some inputs."""
        cut = lambda array: array[..., inputs]  # noqa: E731
        tables = self.numbers, self.variances, self.extras
        state = State(*({k: cut(a) for k, a in table.items()} for table in tables), self.draws)
        for key, value in self.cache.items():
            state.cache[key] = cut(value) if isinstance(value, Tensor) else tuple(map(cut, value))
        return state

    def prepare(self, plan: Plan) -> None:
        """Compute what all pairs of a plan need of each row."""
        for pair in plan.needs:
            for node in pair:
                self.parts(node)


def rows(program: Program, draws: Draws | None = None) -> State:
    """Rows of one side, all of its inputs side by side (B = 1)."""
    own = Plan(request for node in program.nodes for request in node.own_requests)
    data = {k: a[:, None] for k, a in program.data.items()}
    if not own.order:
        return _filled(program, Values(own, *[State(data, {}, draws=draws)] * 2, True))
    count, step = next(iter(data.values())).shape[-1], max(1, _BYTES // _own_bytes(own))
    parts = [
        _own_rows(program, own, slice(start, min(start + step, count)), draws)
        for start in range(0, max(1, count), step)
    ]
    one = parts[0]
    variances = {
        k: torch.cat([part.variances[k] for part in parts]).permute(2, 1, 0) for k in one.variances
    }
    extras = {k: torch.cat([part.extras[k] for part in parts], -2).mT for k in one.extras}
    return State(data, variances, extras, draws)


def _checked(node: Node, q: Tensor, state: State) -> Tensor:
    """The variance of a node, which its type must be able to hold.

    Raises:
        UnsupportedLayerError: if it is too large or too small for the type.
    """
    if q.is_meta or not q.numel():
        return q
    limits = torch.finfo(q.dtype)
    if not bool(q.isfinite().all()):
        raise _out_of_range(node, "overflows", q.dtype, limits.max)
    small = (q < limits.tiny) & (q > 0)
    vanished = (q == 0).all() and any(bool((state.q(s) > 0).all()) for s in node.sources)
    if bool(small.any()) or (vanished and getattr(node, "sigma_w", 1) > 0):
        raise _out_of_range(node, "underflows", q.dtype, limits.tiny)
    return q


def _out_of_range(node: Node, what: str, dtype: torch.dtype, limit: float) -> UnsupportedLayerError:
    hint = "dtype=torch.float64, or " if dtype != torch.float64 else ""
    return UnsupportedLayerError(
        f"{node.name}: the variance of its values {what} {str(dtype).removeprefix('torch.')} "
        f"({limit:.1e}); use {hint}scales that keep it in range (sigma_w^2 = 2 for ReLU)"
    )


def _own_bytes(plan: Plan) -> int:
    """Bytes that all pairs of one input with itself take, at most."""
    return 8 * 4 * plan.largest


def _own_rows(program: Program, own: Plan, inputs: slice, draws: Draws | None) -> State:
    """Rows of some inputs as a batch, node by node, with the pairs that variances need."""
    data = {k: a[..., inputs].permute(0, 2, 1)[..., None] for k, a in program.data.items()}
    state = State(data, {}, draws=draws)
    return _filled(program, Values(own, state, state, True))


def _filled(program: Program, values: Values) -> State:
    """Rows with the variance of every node, after the pairs that it needs."""
    state, waiting = values.first, list(reversed(values.plan.order))
    for node in program.nodes:
        found = node.variance(state, values.covariance)
        state.variances[node.index] = _checked(node, found, state)
        while waiting and _order(waiting[-1])[0] <= node.index:
            values.form(*waiting.pop())
    return state


def pairs(plan: Plan, first: State, second: State, same: bool) -> tuple[Pair, Meeting]:
    """Pair of the output for the inputs of two sides."""
    values = Values(plan, first, second, same)
    for v, w in plan.order:
        values.form(v, w)
    (last,) = values.found
    return values.found[last], Meeting(first, second, plan.crossed[last], same)


def output_plan(program: Program) -> Plan:
    """Pairs that the kernel of the output needs."""
    output = program.nodes[-1]
    return Plan([Request(output, output, False)])

"""One hidden ReLU layer on a circle: full-batch steps in O(n + M) instead of O(n M).

On inputs x = rho (cos g, sin g) a neuron relu(w.x + b) is active on one arc of angles, from
phi - h to phi + h, phi being the angle of w and cos h = -b / (rho |w|). With the samples sorted by
angle an arc is a range of positions. The outputs are then running sums over positions of what
each neuron adds at the beginning of its range and takes away at the end; the gradients are
differences of running sums of (cotangent x input) between a neuron's two ends.

Two turns of the circle lie side by side, so no arc wraps around: angles are in [-2 pi, 2 pi). A
sample within rounding of an arc's end, where w.x + b is 0, may count as inside or not; it adds
nothing to the output, and trajectories then differ from the dense engine's by its gradient.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .dense import parse

TURN = 2 * math.pi
CELLS_PER_SAMPLE = 64
NUMBERS_PER_OPERATION = 2**15


class Positions:
    """Rank of an angle among the sorted ones: a table over equal cells, one look per neighbour.

    Angles are counted in cells from -2 pi on; binary search would cost five times as much.
    """

    def __init__(self, angles: Float[Tensor, " m"]):
        size = CELLS_PER_SAMPLE * 2 * len(angles)
        self.per_radian = size / (2 * TURN)
        samples = torch.cat([angles, angles + TURN]) * self.per_radian
        counts = torch.bincount(samples.long().clamp_(0, size - 1), minlength=size)
        self.table = counts.cumsum(0) - counts
        self.looks = int(counts.max())
        self.samples = torch.cat([samples, samples.new_tensor([math.inf])])

    def rank(self, cells: Float[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Number of samples, of both turns, that lie before each angle (in cells)."""
        flat = cells.flatten()
        # Clamped as integers: the NaN of a diverged seed must not become an address.
        rank = self.table.index_select(0, flat.long().clamp_(0, len(self.table) - 1))
        for _ in range(self.looks):
            rank += self.samples.index_select(0, rank) < flat
        return rank.view(cells.shape)


class ArcEngine:
    """Ensemble of one-hidden-layer ReLU networks with one output on inputs x (M, 2) on a circle.

    The weights lie in [w_1; w_2; b] (S, 3, n), without the third row where there are no biases;
    `parameters` are views.
    """

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor):
        hidden, last = parse(network)
        self.scale, self.bias_scale = last.scale, last.bias_scale
        self._copy(hidden.name, last.name, parameters)
        angles = torch.atan2(x[:, 1], x[:, 0]).remainder(TURN)
        self.order = angles.argsort()
        self.positions = Positions(angles[self.order])
        self.origin = self.positions.per_radian * x.new_tensor([[math.pi], [3 * math.pi]])
        rows = torch.cat([x.mT, x.new_full((1, len(x)), hidden.bias_input)])
        self.inputs = hidden.scale * rows[: self.first.shape[1], self.order]
        # Of the circle, in units in which the pre-activation is w.x + b.
        self.radius = None
        if hidden.bias_scale:
            self.radius = float(x.norm(dim=1).mean()) / hidden.bias_input

    def _copy(self, hidden: str, last: str, parameters: dict[str, Tensor]) -> None:
        rows, self.last = (
            [parameters[f"{hidden}.weight"].mT],
            [parameters[f"{last}.weight"].clone()],
        )
        self.parameters = {f"{last}.weight": self.last[0]}
        if f"{hidden}.bias" in parameters:
            rows.append(parameters[f"{hidden}.bias"].unsqueeze(1))
        if f"{last}.bias" in parameters:
            self.last.append(parameters[f"{last}.bias"].clone())
            self.parameters[f"{last}.bias"] = self.last[1]
        self.first = torch.cat(rows, dim=1)
        self.parameters[f"{hidden}.weight"] = self.first[:, :2].mT
        if f"{hidden}.bias" in parameters:
            self.parameters[f"{hidden}.bias"] = self.first[:, 2]

    @staticmethod
    def check(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> None:
        """Raise a TypeError that says why the engine does not fit, if so."""
        layers = parse(network)
        if len(layers) != 2 or type(network[1]) is not nn.ReLU:
            raise TypeError("it is not one hidden ReLU layer")
        last = parameters[f"{layers[1].name}.weight"]
        if last.shape[1] != 1:
            raise TypeError(f"it has {last.shape[1]} outputs, not one")
        if last.dtype != torch.float64:
            raise TypeError(f"its parameters are {last.dtype}, not torch.float64")
        if x.ndim != 2 or x.shape[1] != 2:
            raise TypeError("its inputs are not points of the plane")
        if x.is_meta:
            raise TypeError("its inputs have no values that could be sorted")
        radius = x.norm(dim=1)
        if not radius.amax() - radius.amin() <= 1e-12 * radius.amax():
            raise TypeError("its inputs do not lie on one circle around 0")

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """How many seeds a step takes together so that its arrays stay in cache."""
        width = max(p.shape[1] for p in parameters.values())
        return max(1, NUMBERS_PER_OPERATION // (3 * width))

    def group(self, seeds: slice) -> "ArcGroup":
        """Some of the seeds."""
        return ArcGroup(self, self.first[seeds], *[p[seeds] for p in self.last])


class ArcGroup:
    """Forward and backward pass of some seeds of an ArcEngine."""

    mode = torch.inference_mode

    def __init__(self, engine: ArcEngine, first: Tensor, last: Tensor, last_bias=None):
        self.engine, self.first, self.last, self.last_bias = engine, first, last, last_bias
        self.parameters = [p for p in (first, last, last_bias) if p is not None]
        self.steps = first.new_empty(*first.shape[:2], 2 * len(engine.order) + 1)
        self.sums = torch.zeros_like(self.steps)
        self.ends = first.new_empty(len(first), 2, first.shape[2])

    def _arcs(self) -> Int[Tensor, "s 2 n"]:
        """First position of every neuron's arc, and the one after its last."""
        w1, w2 = self.first[:, 0], self.first[:, 1]
        centre = torch.atan2(w2, w1)
        gap = math.pi / 2
        if self.engine.radius is not None:
            # Half the angle that the arc leaves free; atan2(0, b) is 0 for the neuron that is
            # always active, pi for the one that never is.
            b, radius = self.first[:, 2], self.engine.radius
            free = (w1 * w1).addcmul_(w2, w2).mul_(radius**2).addcmul_(b, b, value=-1)
            gap = torch.atan2(free.clamp_min_(0).sqrt_(), b, out=free)
        ends = self.ends
        torch.add(centre, gap, out=ends[:, 0])
        torch.sub(centre, gap, out=ends[:, 1])
        torch.add(self.engine.origin, ends, alpha=self.engine.positions.per_radian, out=ends)
        return self.engine.positions.rank(ends)

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, 1) into `out`; keep what `pull_back` needs."""
        arcs = self._arcs()
        self.begin, self.end = (arcs[:, i : i + 1].expand_as(self.first) for i in (0, 1))
        parts = self.first * self.last
        self.steps.zero_().scatter_add_(2, self.begin, parts)
        self.steps.scatter_add_(2, self.end, parts.neg_())
        both_turns = self.steps.cumsum(2)[..., :-1].unflatten(2, (2, -1)).sum(2)
        h = self.engine.scale * (both_turns * self.engine.inputs).sum(1)
        if self.last_bias is not None:
            h += self.engine.bias_scale * self.last_bias
        out[:, self.engine.order, 0] = h

    def pull_back(self, cotangent: Tensor, into: list[Tensor], scale: float) -> None:
        """Add `scale` times the gradient of sum(cotangent * outputs) to `into`.

        `into` holds tensors like `parameters`, and may be these.
        """
        g = scale * cotangent[:, self.engine.order, 0]
        weighted = self.engine.scale * g.unsqueeze(1) * self.engine.inputs
        torch.cumsum(torch.cat([weighted, weighted], dim=2), dim=2, out=self.sums[..., 1:])
        arc = self.sums.gather(2, self.end).sub_(self.sums.gather(2, self.begin))
        last = (self.first * arc).sum(1, keepdim=True)
        into[0].addcmul_(self.last, arc)
        into[1].add_(last)
        if self.last_bias is not None:
            into[2].add_(g.sum(1, keepdim=True), alpha=self.engine.bias_scale)

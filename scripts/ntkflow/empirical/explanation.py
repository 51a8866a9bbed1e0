"""How `empirical_ntk` would compute a kernel, why so, and at what cost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from .differential import Operator, as_operator
from .inputs import Inputs, Several
from .kernel import pose
from .layout import Layout
from .methods import try_methods
from .operations import Blocks, Operations, count_operations, plan_blocks
from .outputs import Pick
from .precision import computing
from .reasons import ParameterWay, parameter_ways
from .selection import Outputs
from .task import Task

# Names that a line of the table shows.
SHOWN = 3


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; `print` shows it as a short table.

    Attributes:
        method: the method that "auto" takes.
        refused: methods that were tried before, and why they do not apply.
        parameters: every parameter with its size, its way into the kernel and the reason.
        shape: (N1, N2, S), rows and outputs.
        operations: floating-point operations of matrix products and convolutions, a multiplication
            with its addition as two, counted on a few rows (of the larger inputs, where those of x1
            and x2 differ in size): for one row's factors, for a pair of rows, and in all.
        blocks: bytes of one row's factors and graph, rows of x1 and x2 that are handled at once,
            and the budget with which all would be.
        memory_budget: bytes to use beside the kernel.
        kernel_bytes: bytes of the kernel.
        faster: what would make it faster, in sentences.

    Examples:
        >>> found = ntkflow.explain(ntkflow.mlp(3, [64], 2), torch.randn(100, 3))
        >>> found.method, found.shape, len(found.parameters)
        ('layerwise', (100, 100, 2), 2)
    """

    method: str
    refused: dict[str, str]
    parameters: list[ParameterWay]
    shape: tuple[int, int, int]
    operations: Operations
    blocks: Blocks
    memory_budget: int
    kernel_bytes: int
    faster: list[str]

    def __str__(self) -> str:
        n1, n2, outputs = self.shape
        rows, columns = self.blocks.shape
        operations, kernel = self.operations, _bytes(self.kernel_bytes)
        lines = [f"method      {self.method}, for {n1} x {n2} rows and {outputs} outputs"]
        lines += [f"not taken   {name}: {reason}" for name, reason in self.refused.items()]
        lines += [f"parameters  {line}" for line in _parameter_lines(self.parameters)]
        lines += [
            f"operations  {operations.total:.2g}: {operations.row:.2g} a row, "
            f"{operations.pair:.2g} a pair of rows",
            f"memory      {_bytes(self.blocks.row_bytes)} a row, {rows} x {columns} rows at once "
            f"within {_bytes(self.memory_budget)}; the kernel takes {kernel}",
        ]
        return "\n".join(lines + [f"faster      {each}" for each in self.faster])


def explain(
    network: nn.Module | Callable,
    x1: Shaped[Tensor, "n1 *shape"] | Several,
    x2: Shaped[Tensor, "n2 *shape2"] | Several | None = None,
    *,
    parameters: Any = None,
    outputs: Outputs = "block",
    output: Pick = None,
    operator: Operator | None = None,
    dtype: torch.dtype | None = None,
    by_layer: bool = False,
    memory_budget: int | float | None = None,
) -> Explanation:
    """How `empirical_ntk` would compute this kernel with method "auto", why, and at what cost.

    The methods are tried in their order on the first, the middle and the last row of x1 and x2,
    with the checks of `empirical_ntk`, which looks at these rows too. A network that uses its
    parameters in other operations for other rows can still be refused by a method there.

    Args:
        network: as all arguments in `empirical_ntk`.
        x1: inputs, rows first; or several, in a tuple or dict.
        x2: other inputs; default: x1.
        parameters: which parameters are differentiated.
        outputs: the convention, an output or several.
        output: which of several things that the network returns.
        operator: differential operator of the network whose kernel is meant.
        dtype: type that parameters and inputs are cast to.
        by_layer: whether each parameter has its own kernel.
        memory_budget: bytes to use beside the result and the network.

    Returns:
        `Explanation`; nothing of the size of the kernel is formed. On the meta device too.

    Raises:
        ConfigurationError, UnsupportedLayerError: as `empirical_ntk`.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(100, 3)
        >>> summary = ntkflow.explain(network, x)
        >>> summary.method, summary.parameters[0].way, summary.parameters[0].reason
        ('layerwise', 'layer', 'matrix product')
        >>> print(str(summary).splitlines()[0])
        method      layerwise, for 100 x 100 rows and 2 outputs
    """
    options = dict(parameters=parameters, output=output, operator=as_operator(operator))
    options |= dict(dtype=dtype, by_layer=by_layer, memory_budget=memory_budget)
    with computing(dtype):
        task, _ = pose(network, x1, x2, outputs, **options)
        few = replace(task, x1=_few(task.x1), x2=None if task.x2 is None else _few(task.x2))
        method, _, refused = try_methods(few, "auto")
        ways, found = parameter_ways(task, method), plan_blocks(task, method)
        operations = count_operations(task, method, found.shape)
        faster = [
            *_advise_parameters(task, ways),
            *_advise_memory(task, found),
            *_advise_outputs(task, method, found, operations),
        ]
    shape = len(task.x1), len(task.other), len(task.selected)
    sizes = task.memory_budget, _kernel_bytes(task)
    return Explanation(method, refused, ways, shape, operations, found, *sizes, faster)


def _few(x: Inputs) -> Inputs:
    return x if len(x) <= 3 else x[[0, len(x) // 2, -1]]


def _kernel_bytes(task: Task) -> int:
    pairs = task.layout.empty(1, 1, task.like).numel()
    return pairs * len(task.x1) * len(task.other) * task.like.element_size()


def _advise_parameters(task: Task, ways: list[ParameterWay]) -> list[str]:
    """How many parameters go a slow way."""
    others = [way for way in ways if way.way not in ("layer", "none")]
    if not others:
        return []
    share = sum(way.size for way in others) / task.model.size
    return [
        f"{share:.0%} of the parameters go a slower way, for the reasons above; parameters= "
        "leaves out those that are not needed"
    ]


def _advise_memory(task: Task, found: Blocks) -> list[str]:
    """That the budget makes factors of rows again and again."""
    if found.whole_budget <= task.memory_budget:
        return []
    return [f"memory_budget={found.whole_budget} takes all rows in one block, made once"]


def _advise_outputs(task: Task, method: str, found: Blocks, operations: Operations) -> list[str]:
    """Conventions and operators that need less."""
    advice = []
    if task.layout.mode == "block" and task.layout.outputs > 1:
        summed = replace(task, layout=Layout("trace", task.layout.outputs))
        total = count_operations(summed, method, found.shape).total
        if total < operations.total / 1.5:
            advice.append(f'outputs="trace" or "mean" takes {total:.2g} operations')
    if _kernel_bytes(task) > task.memory_budget:
        advice.append(
            "the kernel is larger than the budget; ntkflow.ntk_operator applies it without forming "
            "it, ntkflow.write_kernel_tiles puts it on disk"
        )
    return advice


def _parameter_lines(parameters: list[ParameterWay]) -> list[str]:
    """Parameters of the same way and reason on one line."""
    groups: dict[tuple[str, str], list[ParameterWay]] = {}
    for each in parameters:
        groups.setdefault((each.way, each.reason), []).append(each)
    lines = []
    for (way, reason), members in groups.items():
        names = ", ".join(each.name for each in members[:SHOWN])
        more = f" and {len(members) - SHOWN} more" if len(members) > SHOWN else ""
        size = sum(each.size for each in members)
        lines.append(f"{size} by {way} ({reason}): {names}{more}")
    return lines


def _bytes(count: float | int) -> str:
    """With a unit, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

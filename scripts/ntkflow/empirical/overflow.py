"""What is said of a kernel whose numbers of 16 bits are not finite."""

from dataclasses import replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from ..errors import KernelError
from .autograd import autograd_kernel
from .task import Task

# Types of 16 bits, and those that go further.
FURTHER = {torch.float16: "float32", torch.bfloat16: "float64"}


def check_overflow(task: Task, values: Tensor) -> None:
    """Raise a KernelError for entries of 16 bits that are not finite.

    It names the input whose entries all are not, or else a pair of inputs, and the type if it is
    the reason: if the entry is finite in float64.
    """
    if values.is_meta or values.dtype not in FURTHER:
        return
    *_, n1, n2 = values.shape
    bad = (~values.isfinite()).reshape(-1, n1, n2).any(0)
    if not bad.any():
        return
    kind = str(values.dtype).removeprefix("torch.")
    reason = "nor is it in float64; look at x and the parameters"
    if _finite_in_double(task, *bad.nonzero()[0].tolist()):
        most, further = torch.finfo(values.dtype).max, FURTHER[values.dtype]
        reason = f"as {kind} ends at {most:.3g}; use dtype=torch.{further}"
    raise KernelError(f"kernel: not finite for {_culprit(bad)}, {reason}")


def _culprit(bad: Shaped[Tensor, "n1 n2"]) -> str:
    for name, all_bad in (("x1", bad.all(1)), ("x2", bad.all(0))):
        if all_bad.any() and not bad.all():
            return f"input {all_bad.nonzero()[0].item()} of {name}"
    n1, n2 = bad.nonzero()[0].tolist()
    return f"input {n1} of x1 and input {n2} of x2"


def _finite_in_double(task: Task, n1: int, n2: int) -> bool:
    """Whether the kernel of two rows is, also if the network does not take that type."""
    double = task.in_double()
    rows = double.x1[n1 : n1 + 1], double.other[n2 : n2 + 1]
    pair = replace(double, x1=rows[0], x2=rows[1], by_layer=False)
    try:
        return bool(autograd_kernel(pair)[""].isfinite().all())
    except RuntimeError:
        return True

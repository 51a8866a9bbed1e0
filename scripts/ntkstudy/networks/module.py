"""Any torch module of one's own."""

import importlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from ntkflow.errors import ConfigurationError

from ..options import Rule
from ..registry import network


@dataclass(frozen=True, kw_only=True)
class ModuleOptions:
    """Where the class is, and how it is called."""

    name: Annotated[
        str,
        Rule(
            "'package.file:Class', a torch.nn.Module that maps (N, n0) to (N, O), in the project's "
            "folder, in scripts/ or installed",
            pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        ),
    ]
    options: Annotated[dict, Rule("keyword arguments of the class")] = field(default_factory=dict)
    has_limit: Annotated[
        bool, Rule("true if it is made of ntkflow's layers, whose infinite width is known")
    ] = False


@network("module", options=ModuleOptions, sources=lambda options: [options.name.split(":")[0]])
def module(options: ModuleOptions, input_dim: int, output_dim: int):
    """Any torch module of one's own, whose outputs must fit the task."""
    import torch

    where, _, name = options.name.partition(":")
    try:
        made = getattr(importlib.import_module(where), name)
    except (ImportError, AttributeError) as error:
        raise _error(options, str(error), "the name of a module's class") from None
    try:
        with torch.device("meta"):
            built = made(**options.options)
            shape = tuple(built(torch.empty(2, input_dim)).shape)
    except Exception as error:  # whatever a class of somebody else raises
        cause = str(error) or type(error).__name__
        problem = f"options {options.options} on {input_dim} inputs: {cause}"
        raise _error(options, problem, "a class that these options make") from None
    if shape != (2, output_dim):
        problem = f"maps (2, {input_dim}) to {shape}"
        raise _error(options, problem, f"outputs (2, {output_dim}), as the task has")
    if buffers := [name for name, _ in built.named_buffers()]:
        problem = f"holds the buffer {buffers[0]!r}, which no seed draws"
        raise _error(options, problem, "parameters only (BatchNorm: track_running_stats=False)")
    return built


def _error(options: ModuleOptions, problem: str, allowed: str) -> ConfigurationError:
    text: Any = " ".join(problem.split())
    return ConfigurationError(f"network.name: {options.name!r}: {text}; allowed: {allowed}")

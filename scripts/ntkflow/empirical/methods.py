"""Which method computes a kernel: the first that applies and agrees with plain autograd."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigurationError, NtkflowError, UnsupportedLayerError, first_words
from .autograd import autograd_kernel
from .jacobian import jacobian_kernel
from .layerwise import layerwise_kernel, plan_layerwise
from .precedents import Evidence, find_precedent, keep_precedent
from .proof import Unproved, find_proof, no_rule
from .task import Task
from .vector_product import vector_product_kernel

METHODS = {
    "jacobian": jacobian_kernel,
    "vector_product": vector_product_kernel,
    "layerwise": layerwise_kernel,
    "autograd": autograd_kernel,
}


class Computed(NamedTuple):
    """The method that was right, its kernels by parameter, and those refused before: why."""

    method: str
    parts: dict[str, Tensor]
    refused: dict[str, str]


def compute(task: Task, method: str) -> tuple[str, dict[str, Tensor]]:
    """Name of the method and the kernel of every parameter, or their sum under the name ""."""
    return try_methods(task, method)[:2]


def try_methods(task: Task, method: str) -> Computed:
    """The first method that applies and agrees with plain autograd, and what it computed.

    Raises:
        ConfigurationError: if there is no such method.
        UnsupportedLayerError: if the method fails or deviates from plain autograd; for "auto", if
            plain autograd fails.
    """
    if method not in ("auto", *METHODS):
        allowed = ", ".join(map(repr, ("auto", *METHODS)))
        raise ConfigurationError(f"method: {method!r} is not allowed; use {allowed}")
    found = _by_precedent(task, method)
    if found is not None:
        return found
    attempts = _attempts(task) if method == "auto" else {method: METHODS[method]}
    if method not in ("auto", "autograd") and task.model.has_hooks:
        raise Refusal(
            f"method: {method!r} passes over hooks of parameters; use 'auto' or 'autograd'",
            "passes over hooks of parameters",
        )
    # A network may raise anything where it is transformed or differentiated.
    with refusing("autograd"):
        proof = find_proof(task)
    refused: dict[str, str] = {}
    for name, attempt in attempts.items():
        # Plain autograd is what the others are compared with.
        evidence = Evidence()
        posed = replace(task, proof=None if name == "autograd" else proof, evidence=evidence)
        try:
            with refusing(name):
                parts = _complete(task, attempt(posed))
            if name == "layerwise":
                keep_precedent(task, method, evidence, proof)
            return Computed(name, parts, refused)
        except Refusal as refusal:
            last = refusal
            refused[name] = refusal.reason
        finally:
            evidence.holds = no_rule  # which holds a graph
    raise last


def _by_precedent(task: Task, method: str) -> Computed | None:
    """By layers, if that was right before; None if it was not, or this is another case."""
    precedent = find_precedent(task, method)
    if precedent is None:
        return None
    posed = replace(task, evidence=Evidence(precedent.graphs))
    try:
        with refusing("layerwise"):
            parts = layerwise_kernel(posed, precedent.plan)
    except Refusal:
        return None
    return Computed("layerwise", _complete(task, parts), {})


class Refusal(UnsupportedLayerError):
    """A method does not take a network, or is not right for it."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Any error but those of the library and of memory in one line, as one of the method."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop because we have not")
            yield
    except (NtkflowError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        words = first_words(error)
        if name == "autograd":
            message = f"network: torch cannot differentiate it: {words}"
            raise Refusal(message, words) from error
        verb = words if isinstance(error, Unproved) else f"fails on this network ({words})"
        message = f"method: {name!r} {verb}; use 'auto' or 'autograd'"
        raise Refusal(message, verb) from error


def _attempts(task: Task) -> dict[str, Callable[[Task], dict[str, Tensor]]]:
    """Methods of "auto" in the order of trial."""
    if task.model.has_hooks:
        return {"autograd": autograd_kernel}
    found = {"layerwise": _layerwise_if_most}
    pairs = not task.own_rows and task.sketch is None
    if pairs and 1 in (len(task.x1), len(task.other)):
        found["vector_product"] = vector_product_kernel
    return found | {"jacobian": jacobian_kernel, "autograd": autograd_kernel}


def _layerwise_if_most(task: Task) -> dict[str, Tensor]:
    plan = plan_layerwise(task)
    if 2 * sum(task.model.parameters[name].numel() for name in plan.rest) >= task.model.size:
        raise Unproved("has most parameters in other operations")
    return layerwise_kernel(task, plan)


def _complete(task: Task, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """With kernels, all zero, of parameters that do not act."""
    if task.by_layer:
        names = task.model.parameters
        return {name: parts[name] if name in parts else task.empty().zero_() for name in names}
    return parts

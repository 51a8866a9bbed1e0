"""Run a program of operations over the rows of all inputs, then over the pairs of a tile."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from .operations import Pair, Pool, Row, Side, covariance


class Step(NamedTuple):
    """One operation and the indices of the steps that it reads (-1: the inputs)."""

    operation: object
    sources: tuple[int, ...]


class Program(NamedTuple):
    """Steps in order, the last one being the output; `crossed` where pooling needs all pixels."""

    steps: list[Step]
    crossed: bool


State = Row | Tensor


def rows(program: Program, x: Tensor) -> list[State]:
    """Row of every step; what happens before the first weight layer is done to the inputs."""
    states: list[State] = []
    for step in program.steps:
        sources = [x if index < 0 else states[index] for index in step.sources]
        if isinstance(sources[0], Tensor):
            states.append(step.operation.read(*sources))
        elif isinstance(step.operation, Pool):
            variance = functools.partial(_self_covariance, program, states, step.sources[0])
            states.append(step.operation.rows(*sources, variance))
        else:
            states.append(step.operation.rows(*sources))
    return states


def take(states: list[State], inputs: slice) -> list[State]:
    """Rows of some inputs."""
    return [s.take(inputs) if isinstance(s, Row) else s for s in states]


def pairs(program: Program, first: list[State], second: list[State]) -> Pair:
    """Pair of the last step for the inputs of two sides."""
    last_use = {index: k for k, step in enumerate(program.steps) for index in step.sources}
    results: dict[int, Pair] = {}
    for k, (operation, indices) in enumerate(program.steps):
        if not isinstance(first[k], Row):
            continue
        sides = [_side(states, k, indices) for states in (first, second)]
        if isinstance(first[indices[0]], Row) and indices[0] >= 0:
            sources = [
                results.pop(index) if last_use[index] == k else _copy(results[index])
                for index in indices
            ]
            results[k] = operation.pairs(*sources, *sides, program.crossed)
        else:
            results[k] = operation.meet(*sides, program.crossed)
    return results[len(program.steps) - 1]


def _copy(pair: Pair) -> Pair:
    """Pair that an operation may overwrite."""
    return Pair(*(None if array is None else array.clone() for array in pair))


def _side(states: list[State], k: int, indices: tuple[int, ...]) -> Side:
    """Rows of a step and of its sources on one side."""
    return Side(states[k], [states[index] for index in indices if index >= 0])


def _self_covariance(program: Program, states: list[State], source: int) -> Tensor:
    """Mean over all pixel pairs of each input's covariance with itself, (N,)."""
    prefix = Program(program.steps[: source + 1], program.crossed)
    means = []
    for n in range(states[source].q.shape[-1]):
        own = take(states[: source + 1], slice(n, n + 1))
        pair = pairs(prefix, own, own)
        means.append(Pool.average(covariance(own[-1], own[-1], pair.delta, True)).flatten())
    return torch.cat(means)

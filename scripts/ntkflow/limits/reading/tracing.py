"""Run a network on symbols, which shows what each of its values is made of.

Tensors that depend on inputs alone keep their numbers (`Data`): everything that torch can do to
them is done. What comes out of a weight layer (`Lifted`) is a tensor of elements (see places.py).
As shapes are real, a forward may be any Python, with loops over time steps; what looks at numbers
is refused.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import jaxtyping
import torch
from torch import Tensor, nn

from ...errors import NtkflowError, UnsupportedLayerError
from ..recursion import Program
from .building import Builder
from .functions import INSTEAD, apply_function
from .layers import LEAVES, apply_layer
from .moves import MOVES, VIEWS, is_passive, moved
from .places import RowAxis, row_axis
from .traced import Data, Lifted, Memory, Traced, flat, mapped

LOOKS = {"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy", "__array__"}


class Tracer:
    """Follows one call of a network on all rows of x."""

    def __init__(self, network: nn.Module, x: Tensor, dtype: torch.dtype):
        x = x.to(dtype) if x.is_floating_point() else x
        # With one row alone, its axis could not be told from others.
        self.network, self.rows, self.dtype = network, max(2, len(x)), dtype
        self.kept, missing = len(x), self.rows - len(x)
        self.x = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        self.builder = Builder(network)
        self.is_trained = any(each.requires_grad for each in network.parameters())

    def program(self) -> Program:
        """Nodes up to the network's output."""
        data = self.data(self.x.detach(), torch.arange(self.rows))
        with _unchecked_types(), self._leaves(), torch.enable_grad():
            found = self._run(data)
        if not isinstance(found, Lifted):
            said = type(found).__name__ if isinstance(found, tuple | list | dict) else "values"
            raise UnsupportedLayerError(
                f"{type(self.network).__name__}: returns {said}, not one tensor that depends on "
                "weights"
            )
        return self.builder.program(self.axis(found).take(found.ids), self.kept)

    def _run(self, data: Tensor) -> object:
        try:
            return self.network(data)
        except NtkflowError:
            raise
        except Exception as error:  # whatever the network's own forward raises
            raise UnsupportedLayerError(
                f"{type(self.network).__name__}: cannot trace its forward ({error})"
            ) from error

    def data(self, value: Tensor, rows: Tensor | None = None) -> Data:
        """A tensor of numbers; without `rows` they lie on its first axis."""
        if rows is None:
            rows = torch.arange(self.rows)
        if rows.ndim < value.ndim:
            rows = rows.view(-1, *[1] * (value.ndim - 1)).expand(value.shape)
        return self._wrapped(Data, value.shape, value.dtype, rows, value=value)

    def lifted(self, ids: Tensor, rows: Tensor) -> Lifted:
        """A tensor of elements."""
        return self._wrapped(Lifted, ids.shape, self.dtype, rows, ids=ids)

    def _wrapped(self, kind: type, shape, dtype, rows: Tensor, **content) -> Traced:
        found = torch.empty(shape, dtype=dtype, device="meta").as_subclass(kind)
        content |= dict(rows=rows, tracer=self, memory=Memory(), version=0)
        found.__dict__.update(content)
        return found

    def all_rows(self, one: Tensor, axis: RowAxis) -> Lifted:
        """A tensor of elements from that of one row."""
        return self.lifted(axis.give(one), axis.numbers(one.shape))

    def learns(self, parameter: Tensor) -> bool:
        """Whether a constant is trained; all parameters are if the whole network is frozen."""
        return parameter.requires_grad or (not self.is_trained and _is_parameter(parameter))

    def axis(self, traced: Traced) -> RowAxis:
        """Where the rows of a tensor lie."""
        return self.axis_of(traced.rows)

    def axis_of(self, rows: Tensor) -> RowAxis:
        """Where rows lie."""
        found = row_axis(rows, self.rows)
        if found is None:
            raise self.builder.refused("a value", "its rows are mixed or reordered")
        return found

    def call(self, function, args: tuple, kwargs: dict) -> object:
        """What torch calls instead of a function of traced tensors."""
        name = _name(function)
        if is_passive(name):
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **kwargs)
        if name in LOOKS:
            raise UnsupportedLayerError(
                f"{self.builder.here}: cannot trace its forward, which looks at numbers ({name}); "
                "what a network does may depend on shapes alone"
            )
        lifted = [each for each in flat((args, kwargs)) if isinstance(each, Lifted)]
        self._check_call(name, lifted, kwargs)
        if name in MOVES:
            found = moved(self, name, function, args, kwargs, bool(lifted))
            return self._sharing(found, lifted[0].memory) if lifted and name in VIEWS else found
        if not lifted:
            return self._call_data(function, args, kwargs)
        found = apply_function(self, function, name, args, kwargs)
        writes = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")
        return self._written(args[0], found) if writes or kwargs.get("inplace") else found

    def _check_call(self, name: str, given: list[Traced], kwargs: dict) -> None:
        if given and kwargs.get("out") is not None:
            raise self.builder.refused(name, "writes into out=; use the value that it returns")
        self._check_given(name, given)

    def _check_given(self, name: str, given: list[Traced]) -> None:
        """Values have to be up to date, and gradients to pass."""
        if given and not torch.is_grad_enabled():
            raise self.builder.refused(
                name,
                "runs under torch.no_grad, where gradients stop, so that its part of the kernel is "
                "not known; leave torch.no_grad out",
            )
        for each in given:
            if each.version != each.memory.version:
                raise self.builder.refused(
                    name,
                    "reads a value that was written into through a view of it; write "
                    "without inplace=True",
                )

    @staticmethod
    def _sharing(found: object, memory: Memory) -> object:
        """Views, which see what is written into the tensor that they look at."""
        for each in flat(found):
            each.__dict__.update(memory=memory, version=memory.version)
        return found

    @staticmethod
    def _written(x: Traced, found: Traced) -> Traced:
        """The tensor that a function writes into; other views of it are out of date."""
        x.memory.version += 1
        x.__dict__.update(found.__dict__ | dict(memory=x.memory, version=x.memory.version))
        return x

    def _call_data(self, function, args: tuple, kwargs: dict) -> object:
        """A function of inputs alone is computed."""
        given = [each for each in flat((args, kwargs)) if isinstance(each, Data)]
        if any(isinstance(e, Tensor) and e.requires_grad for e in flat((args, kwargs))):
            name = _name(function)
            raise self.builder.unknown(self.builder.label(name), INSTEAD.get(name, ""))

        def run(read: Callable[[Data], Tensor], is_trial: bool = False) -> object:
            def bare(each: object) -> object:
                if isinstance(each, Data):
                    return read(each)
                return each.clone() if is_trial and isinstance(each, Tensor) else each

            return function(*mapped(args, bare), **mapped(kwargs, bare))

        others = [list(flat(run(functools.partial(self._other_rows, k), True))) for k in (0, -1)]
        found = run(lambda each: each.value)
        results = zip(flat(found), *others, strict=True)
        wrapped = iter([self._result(function, each, given) for each in results])
        return mapped(found, lambda _: next(wrapped))

    def _result(self, function, found: tuple, given: list[Data]) -> object:
        """What a function of inputs gave; a row may not depend on the rows beside it."""
        value, *others = found
        if not isinstance(value, Tensor):
            return value
        data = self.data(value, self._rows_like(value, given))
        axis = row_axis(data.rows, self.rows)
        alike = [each.shape == value.shape for each in others]
        read = (lambda each, k: each) if axis is None else (lambda each, k: axis.front(each)[k])
        if not all(alike) or not all(
            torch.allclose(read(each, k), read(value, k), equal_nan=True)
            for each, k in zip(others, (0, -1), strict=True)
        ):
            raise self.builder.refused(
                _name(function),
                "a row depends on the rows beside it, or on chance; prepare inputs before the call",
            )
        return value if axis is None else data

    def _other_rows(self, kept: int, data: Data) -> Tensor:
        """Numbers that agree with those of one row alone."""
        axis = row_axis(data.rows, self.rows)
        if axis is None:
            return torch.ones_like(data.value)
        front = axis.front(data.value)
        return axis.back(front[[kept]].expand_as(front)).clone()

    def _rows_like(self, value: Tensor, given: list[Data]) -> Tensor | None:
        """Rows of an elementwise result; others have theirs where the inputs had them, in front."""
        try:
            shape = torch.broadcast_shapes(*(each.shape for each in given))
        except RuntimeError:
            shape = None
        largest = max(given, key=lambda each: each.numel())
        if shape == value.shape:
            return largest.rows.expand(value.shape)
        if value.ndim and len(value) == self.rows and self.axis(largest).axis == 0:
            return None
        return torch.zeros(value.shape, dtype=torch.long)  # lost: an error where they are needed

    @contextlib.contextmanager
    def _leaves(self) -> Iterator[None]:
        """Stop at layers whose limit is known, and note where in the network a call stands."""
        call = nn.Module.__call__

        def traced_call(module, *args, **kwargs):
            self.builder.path.append(module)
            try:
                given = [each for each in flat((args, kwargs)) if isinstance(each, Traced)]
                if given and (type(module) in LEAVES or self.builder.is_registered(module)):
                    self._check_given(type(module).__name__, given)
                    found = apply_layer(self, module, args, kwargs)
                    return self._written(given[0], found) if _is_inplace(module) else found
                return call(module, *args, **kwargs)
            finally:
                self.builder.path.pop()

        nn.Module.__call__ = traced_call
        try:
            yield
        finally:
            nn.Module.__call__ = call


def _is_parameter(constant: Tensor) -> bool:
    return isinstance(constant, nn.Parameter)


def _is_inplace(module: nn.Module) -> bool:
    """Whether an activation overwrites what it is applied to."""
    return getattr(module, "inplace", False)


def _name(function) -> str:
    """Name of a function, a method, or a property that is read."""
    if function.__name__ == "__get__":
        return function.__self__.__name__
    return function.__name__


@contextlib.contextmanager
def _unchecked_types() -> Iterator[None]:
    """Where annotations are checked, symbols would fail: they have no numbers."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def trace(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Program:
    """Program of a network for the rows of x; a layer without a known limit is named."""
    return Tracer(network, x, dtype).program()

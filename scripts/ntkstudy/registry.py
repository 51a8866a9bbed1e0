"""What a configuration can name: kinds of tasks, networks, activations and measurements.

An entry is one decorated function in one module; schema, checks of a plan, table axes, memory
estimates and documentation follow from its decorator. Built-in entries are the modules of
`ntkstudy.tasks`, `ntkstudy.networks` and `ntkstudy.measurements`; a configuration names modules of
one's own under `extensions`. These modules import torch inside their functions, so that planning
imports none.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from ntkflow.errors import ConfigurationError, unknown

from .needs import DESCENT, NTK, ONE_MODE, SQUARED_LOSS, TILES, TRAINING, Need, Sizes

FINITE = ("initialization", "trained", "training")
WHEN = (*FINITE, "machines", "limit", "prediction", "theory", "assembled")
# Axes that the stage adds in front of those of a measurement.
STAGE_AXES = {
    "initialization": ("seed",),
    "trained": ("seed", "step"),
    "training": ("seed", "step"),
    "machines": ("seed",),
    "limit": (),
    "prediction": ("step",),
    "theory": (),
    "assembled": (),
}
# What every measurement of a moment needs.
MOMENT_NEEDS = {
    "trained": (TRAINING,),
    "training": (TRAINING,),
    "machines": (TRAINING,),
    "limit": (NTK,),
    "prediction": (TRAINING, SQUARED_LOSS, DESCENT, NTK),
    "assembled": (TILES,),
}


@dataclass(frozen=True)
class NoOptions:
    """For entries without options."""


@dataclass(frozen=True)
class Task:
    """A data set: `make(options, files)` gives the arrays of its file, by `group/name`."""

    name: str
    module: str
    make: Callable[[Any, Sequence[str]], Mapping]
    options: type
    sizes: Callable[[Any], Sizes]
    axis: str
    table: str
    labels: Callable[[Any], bool]
    on_circle: bool
    known: bool
    files: Callable[[Any, str], Sequence[str]]


@dataclass(frozen=True)
class Network:
    """An architecture: `build(options, input_dim, output_dim)` gives a meta module."""

    name: str
    module: str
    build: Callable[[Any, int, int], Any]
    options: type
    needs: tuple[Need, ...]
    sources: Callable[[Any], Sequence[str]]
    narrow: Callable[[Any, int], int]


@dataclass(frozen=True)
class Activation:
    """A nonlinearity: `make()` gives a module; None for those of ntkflow."""

    name: str
    module: str
    make: Callable[[], Any] | None


@dataclass(frozen=True)
class Variant:
    """A measurement at some moments; the attributes are those of `measurement`."""

    measure: Callable[[Any, Any, Any], Mapping]
    axes: tuple[str, ...]
    needs: tuple[Need, ...]
    each: bool
    kernel: str | None
    kept: bool
    asks: Callable[[Any], Sequence[Need]]
    draw_s: float | None


@dataclass(frozen=True)
class Measurement:
    """A quantity of one name, and how it is measured at each moment that it is defined for."""

    name: str
    module: str
    options: type
    variants: dict[str, Variant]

    @property
    def meaning(self) -> str:
        """First sentence of its docstring."""
        first = next(iter(self.variants.values())).measure
        return " ".join((inspect.getdoc(first) or "").split("\n\n")[0].split())

    def axes(self, when: str) -> tuple[str, ...]:
        """Axes of its table, the swept ones aside; `probe` stands for those of the task."""
        return (*STAGE_AXES[when], *self.variants[when].axes)


@runtime_checkable
class _Named(Protocol):
    """An entry: its name, and the module that defines it."""

    name: str
    module: str


Entry = TypeVar("Entry", bound=_Named)


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name. A name that two modules define, or that none does, is an error.

    Args:
        key: of the configuration, named in errors.
    """

    def __init__(self, key: str):
        self._key = key
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Register an entry under its name.

        Raises:
            ConfigurationError: if another module has registered the name.
        """
        before = self._entries.setdefault(entry.name, entry)
        if before.module != entry.module:
            raise ConfigurationError(
                f"{self._key}: {entry.name!r} is defined in {before.module} and in "
                f"{entry.module}; allowed: one module for each name"
            )

    def forget(self, module: str) -> None:
        """Remove what a module has registered."""
        self._entries = {name: one for name, one in self._entries.items() if one.module != module}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown(self._key, name, list(self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


TASKS: Registry[Task] = Registry("task.kind")
NETWORKS: Registry[Network] = Registry("network.kind")
ACTIVATIONS: Registry[Activation] = Registry("network.activation")
MEASUREMENTS: Registry[Measurement] = Registry("measurements.kind")


def task(
    name: str,
    *,
    options: type,
    sizes: Callable[[Any], Sizes],
    axis: str,
    table: str = "train",
    labels: Callable[[Any], bool] = lambda options: False,
    on_circle: bool = False,
    known: bool = True,
    files: Callable[[Any, str], Sequence[str]] = lambda options, results: (),
) -> Callable:
    """Register a data set: a function of its options and files that gives arrays `group/name`.

    The groups are `train` (inputs x, targets y) and `probe` (a coordinate named after the axis, x,
    noiseless y).

    Args:
        name: value of `task.kind`.
        options: dataclass of its keys, see `ntkstudy.options`.
        sizes: numbers of rows, inputs and outputs, from the options.
        axis: what tells the evaluation inputs apart; `gamma` means angles on the unit circle.
        table: group that the table `dataset` shows.
        labels: whether targets are one-hot, from the options.
        on_circle: whether training inputs lie on the unit circle.
        known: whether there are targets at the evaluation inputs.
        files: files that it reads, from the options and the folder of results.
    """

    def register(make: Callable) -> Callable:
        facts = (options, sizes, axis, table, labels, on_circle, known, files)
        TASKS.add(Task(name, make.__module__, make, *facts))
        return make

    return register


def network(
    name: str,
    *,
    options: type,
    needs: Sequence[Need] = (),
    sources: Callable[[Any], Sequence[str]] = lambda options: (),
    narrow: Callable[[Any, int], int] = lambda options, input_dim: 1,
) -> Callable:
    """Register an architecture: a function of options, input dimension and number of outputs.

    It returns a module on the meta device; weights are drawn by each layer's `reset_parameters`.

    Args:
        name: value of `network.kind`.
        options: dataclass of its keys; a key `width` is what does not matter at infinite width.
        needs: what it asks of the task.
        sources: further modules whose code decides what is built, from the options.
        narrow: a small width that the architecture can have, from options and input dimension: its
            limit is read from a network of that width.
    """

    def register(build: Callable) -> Callable:
        facts = (options, tuple(needs), sources, narrow)
        NETWORKS.add(Network(name, build.__module__, build, *facts))
        return build

    return register


def activation(name: str) -> Callable:
    """Register a nonlinearity: a function without arguments that returns a module.

    Kernels at infinite width know those of torch.nn; for others the function may call
    `ntkflow.register_activation`.

    Args:
        name: a value of `network.activation`.
    """

    def register(make: Callable) -> Callable:
        ACTIVATIONS.add(Activation(name, make.__module__, make))
        return make

    return register


def measurement(
    name: str,
    *,
    when: str | Sequence[str],
    options: type = NoOptions,
    axes: Sequence[str] = (),
    needs: Sequence[Need] = (),
    modes: bool = False,
    each: bool = False,
    kernel: str | None = None,
    kept: bool = False,
    asks: Callable[[Any], Sequence[Need]] = lambda options: (),
    draw_s: float | None = None,
) -> Callable:
    """Register a quantity: a function of options, subject and data that gives arrays by name.

    The subject depends on the moment: `Members` for networks and kernel machines, `Limit`,
    `Prediction`, `AssembledKernel`, all of `ntkstudy.subjects`, and `Setting`. Arrays of networks
    have `seed` as their first axis, those of a prediction `step`.

    Args:
        name: value of `measurements[].kind`; one module may register it for several moments.
        when: moments at which it is measured, of `WHEN`.
        options: dataclass of its keys, the same at every moment.
        axes: further axes of its table; `probe` stands for that of the task's evaluation inputs.
        needs: what it asks of the cell.
        modes: whether it takes networks with dropout or batch normalisation, in evaluation.
        each: whether the function takes one network of `Members` at a time, without `seed`.
        kernel: "mean" or "block", if it holds such a kernel of the training inputs and eigenpairs
            of it; "stored", if it holds one in float32 and solves with it in place;
            "tiles", if it holds the one that the experiment makes in tiles.
        kept: whether it keeps a kernel for each network during training.
        asks: what it asks of the cell beside `needs`, from its options.
        draw_s: of a check of theory, seconds of one of its draws, on one thread and at sizes of the
            default scale; None if nothing is known. Short jobs share a submission on a cluster.

    Raises:
        ConfigurationError: if another module has registered the name, this one has for the same
            moment or with other options, or a moment is unknown.
    """

    def register(measure: Callable) -> Callable:
        MEASUREMENTS.add(Measurement(name, measure.__module__, options, {}))
        for moment in (when,) if isinstance(when, str) else when:
            if moment not in WHEN:
                raise unknown(f"measurement {name!r}: when", moment, WHEN)
            _check_once(MEASUREMENTS[name], moment, measure, options)
            asked = (*MOMENT_NEEDS.get(moment, ()), *needs, *(() if modes else (ONE_MODE,)))
            variant = Variant(measure, tuple(axes), asked, each, kernel, kept, asks, draw_s)
            MEASUREMENTS[name].variants[moment] = variant
        return measure

    return register


def _check_once(kind: Measurement, when: str, measure: Callable, options: type) -> None:
    """A second function for one moment, or other options, would replace the first silently."""
    before = kind.variants.get(when)
    twice = before is not None and before.measure.__qualname__ != measure.__qualname__
    if twice or kind.options.__qualname__ != options.__qualname__:
        raise ConfigurationError(
            f"measurement {kind.name!r}: is registered twice for {when}, or with other options; "
            "allowed: one function a moment, the same options at all"
        )


def discover() -> None:
    """Import the modules of all built-in entries."""
    for package in ("tasks", "networks", "measurements"):
        path = [str(Path(__file__).parent / package)]
        for module in pkgutil.iter_modules(path, prefix=f"ntkstudy.{package}."):
            importlib.import_module(module.name)


def load(modules: Sequence[str]) -> None:
    """Import modules, those in the project's folder included.

    Raises:
        ConfigurationError: if one is not found, or cannot be imported.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"extensions: {name!r}: {error}; allowed: a module in the project's folder, in "
                "scripts/ or installed"
            ) from None
        except ConfigurationError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise ConfigurationError(
                f"extensions: {name!r}: {problem}; allowed: a module that Python imports"
            ) from error


def _library_activations() -> list[str]:
    """Names in `ntkflow.networks.activations.ACTIVATIONS`, read without importing torch."""
    file = Path(__file__).parents[1] / "ntkflow" / "networks" / "activations.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ACTIVATIONS":
            return [ast.literal_eval(key) for key in node.value.keys]
    raise AssertionError(f"{file}: ACTIVATIONS is missing")


for _name in _library_activations():
    ACTIVATIONS.add(Activation(_name, "ntkflow.networks.activations", None))

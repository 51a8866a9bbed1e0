"""Mistakes in a configuration that a schema cannot find, reported before any work is done."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ntkflow.errors import unknown

from ..needs import NTK, ONE_MODE, Facts, Need
from ..options import read_options
from ..registry import MEASUREMENTS
from .describe import as_text
from .planning import Plan
from .stages import FOLDERS, STAGES
from .sweeps import WHOLE, Cell


def check_plan(plan: Plan) -> None:
    """Expand every experiment once and check what a schema cannot say.

    Raises:
        ConfigurationError: if a name is taken, `only` names no experiment and no source, or a
            sweep, override or measurement is wrong.
    """
    known = plan.config["experiments"]
    selectable = [*known, *dict.fromkeys(block["source"] for block in known.values())]
    for name in plan.config["only"]:
        if name not in selectable:
            raise unknown(f"{plan.source}: only", name, selectable)
    for name in known:
        if name in FOLDERS:
            problem = "is a folder of the results; allowed: a name other than"
            raise plan.error([name], f"{problem} {', '.join(FOLDERS)}")
        for key in ("seeds", "initializations"):
            if plan.block(name)[key] < 1:
                problem = "0 is not allowed; allowed: integer >= 1 (0 in overrides only)"
                raise plan.error([name, key], problem)
        _check_measurements(plan, name)
        _check_shared_seeds(plan, name)
        if name in plan.experiments:
            _check_needs(plan, name)


def _check_needs(plan: Plan, experiment: str) -> None:
    """What networks and measurements need of every cell; how networks with modes are trained."""
    for cell in plan.cells(experiment):
        facts = plan.facts(experiment, cell)
        _check_network(plan, experiment, cell, facts)
        for where, who, need in _needs_of(cell, facts):
            if not need.met(facts):
                problem = f"{who} is not allowed here: it needs {need.text}{_place(cell)}"
                raise plan.error([experiment, *where], problem)
        _check_loss(plan, experiment, facts)
        _check_training_modes(plan, experiment, cell.config.get("training", {}), facts.modes)


def _needs_of(cell: Cell, facts: Facts) -> Iterator[tuple[list[str | int], str, Need]]:
    """Key path, name and need of what tiles and every measurement at every moment ask."""
    for need in _needs_of_tiles(facts):
        yield ["tiles", "kernel"], repr(facts.tiles["kernel"]), need
    for index, entry in enumerate(cell.config["measurements"]):
        kind = MEASUREMENTS[entry["kind"]]
        options = read_options(kind.options, entry)
        for when in filter(lambda when: _is_made(cell, when), entry["when"]):
            variant = kind.variants[when]
            for need in (*variant.needs, *variant.asks(options)):
                yield ["measurements", index, "kind"], f"{entry['kind']!r} ({when})", need


def _check_network(plan: Plan, experiment: str, cell: Cell, facts: Facts) -> None:
    """What the network needs of the cell."""
    for need in facts.network.needs:
        if not need.met(facts):
            key, value, beside = _named_by(need, cell.config["network"], facts)
            who = "it" if key == "kind" else repr(facts.network.name)
            problem = f"{value!r} is not allowed here: with {beside} {who} needs {need.text}"
            raise plan.error([experiment, "network", key], f"{problem}{_place(cell)}")


def _named_by(need: Need, block: Mapping[str, Any], facts: Facts) -> tuple[str, Any, str]:
    """The key of a network that a need is about, its value, and those of others in words.

    It is the first one that the need names and that has not its default; `kind` where there is
    none. The others are those that the need names, architecture, width and the number of inputs.
    """
    usual = {field.name: field.default for field in fields(facts.network.options)}
    named = [word for word in re.findall(r"\w+", need.text) if word in usual]
    values = usual | block
    key = next((name for name in named if values[name] != usual[name]), "kind")
    others = dict.fromkeys([*named, *(name for name in ("architecture", "width") if name in usual)])
    said = [f"{name} {as_text(values[name])}" for name in others if name != key]
    return key, values[key], ", ".join([*said, f"{facts.sizes.inputs} inputs"])


def _is_made(cell: Cell, when: str) -> bool:
    """Whether a cell has networks at a moment; one that is left out by 0 of them asks nothing."""
    counts = {stage.seeds for stage in STAGES.values() if stage.when == when and stage.seeds}
    return all(cell.config[count] for count in counts)


def _needs_of_tiles(facts: Facts) -> tuple[Need, ...]:
    """What a kernel in tiles needs; the limit does not ask for a width, but for a known limit."""
    if not facts.tiles:
        return ()
    return (ONE_MODE, NTK) if facts.tiles["kernel"] == "limit" else (ONE_MODE,)


def _place(cell: Cell) -> str:
    """Which cell of a sweep an error is about."""
    return "" if cell.label == WHOLE else f" (in cell {cell.label})"


def _check_loss(plan: Plan, experiment: str, facts: Facts) -> None:
    if facts.training.get("loss") == "cross_entropy" and not facts.labels:
        problem = f"'cross_entropy' is not allowed for {facts.task.name}: it needs labels"
        raise plan.error([experiment, "training", "loss"], f"{problem}; allowed: mse")


def _check_training_modes(plan: Plan, experiment: str, training: dict, keys: list[str]) -> None:
    modes = " and ".join(f"network.{key}" for key in keys)
    if keys and training.get("engine", "auto") not in ("auto", "general", "loop"):
        allowed = "allowed: auto, general, loop"
        problem = f"{training['engine']!r} is not allowed with {modes}; {allowed}"
        raise plan.error([experiment, "training", "engine"], problem)
    if "dropout" in keys and training.get("centred"):
        problem = "True is not allowed with network.dropout; allowed: False"
        raise plan.error([experiment, "training", "centred"], problem)


def _check_measurements(plan: Plan, experiment: str) -> None:
    """Every kind once: files, tables and claims call a measurement by its kind."""
    kinds = [entry["kind"] for entry in plan.block(experiment)["measurements"]]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            where = [experiment, "measurements", index, "kind"]
            raise plan.error(where, f"{kind!r} appears twice; allowed once")
    for index, entry in enumerate(plan.block(experiment)["measurements"]):
        allowed = MEASUREMENTS[entry["kind"]].variants
        for place, when in enumerate(entry["when"]):
            if when not in allowed:
                problem = f"{when!r} is not allowed for {entry['kind']}"
                where = [experiment, "measurements", index, "when", place]
                raise plan.error(where, f"{problem}; allowed: {', '.join(allowed)}")


def _check_shared_seeds(plan: Plan, experiment: str) -> None:
    """Cells that a stage does not tell apart must agree on its number of seeds."""
    for name, stage in STAGES.items():
        agreed: dict[str, int] = {}
        for seen, cell in zip(
            plan.project_all(experiment, name), plan.cells(experiment), strict=True
        ):
            count = cell.config[stage.seeds] if stage.seeds else 0
            if agreed.setdefault(seen.label, count) != count:
                problem = f"{stage.seeds} differ between cells that share one {name} folder"
                raise plan.error(
                    [experiment, "overrides"],
                    f"{problem}, {seen.label!r}; allowed: overrides where that folder's axes "
                    "have a value",
                )

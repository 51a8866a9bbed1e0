"""Mistakes in a configuration that a schema cannot find, reported before any work is done."""

from typing import TYPE_CHECKING

from ntkflow.errors import ConfigurationError

from .configuration import describe_allowed
from .stages import EVALUATED, FOLDERS, ONE_MODE, PREDICTABLE, STAGES

if TYPE_CHECKING:
    from .planning import Plan


def check_plan(plan: "Plan") -> None:
    """Expand every experiment once and check what a schema cannot say.

    Raises:
        ConfigurationError: if a name is taken, `only` names no experiment and no source, or a
            sweep, override or measurement is wrong.
    """
    known = plan.config["experiments"]
    selectable = [*known, *dict.fromkeys(block["source"] for block in known.values())]
    for name in plan.config["only"]:
        if name not in selectable:
            allowed = describe_allowed(name, selectable)
            raise ConfigurationError(f"{plan.source}: only: {name!r} is unknown; {allowed}")
    for name in known:
        if name in FOLDERS:
            problem = "is a folder of the results; allowed: a name other than"
            raise plan.error([name], f"{problem} {', '.join(FOLDERS)}")
        if plan.block(name)["seeds"] < 1:
            problem = "0 is not allowed; allowed: integer >= 1 (0 in overrides only)"
            raise plan.error([name, "seeds"], problem)
        _check_measurements(plan, name)
        _check_shared_seeds(plan, name)
        _check_predictions(plan, name)
        _check_modes(plan, name)


def _check_predictions(plan: "Plan", experiment: str) -> None:
    """Training has a closed form at infinite width for plain descent on squared loss only."""
    if not plan.has_stage(experiment, "prediction"):
        return
    for cell in plan.cells(experiment, "prediction"):
        for key, allowed in PREDICTABLE.items():
            found = cell.config["training"][key]
            if found != allowed:
                problem = f"{found!r} has no prediction at infinite width; allowed: {allowed!r}"
                raise plan.error([experiment, "training", key], problem)


def _check_modes(plan: "Plan", experiment: str) -> None:
    """Dropout and batch normalisation: few measurements know them, one engine trains them."""
    for cell in plan.cells(experiment):
        network = cell.config["network"]
        keys = [key for key, plain in ONE_MODE.items() if network.get(key, plain) != plain]
        _check_training_modes(plan, experiment, cell.config.get("training", {}), keys)
        for index, entry in enumerate(cell.config["measurements"]):
            if keys and entry["kind"] not in EVALUATED:
                modes = " and ".join(f"network.{key} {network[key]}" for key in keys)
                allowed = f"is not allowed with {modes}; allowed: {', '.join(EVALUATED)}"
                where = [experiment, "measurements", index, "kind"]
                raise plan.error(where, f"{entry['kind']!r} {allowed}")


def _check_training_modes(plan: "Plan", experiment: str, training: dict, keys: list[str]) -> None:
    modes = " and ".join(f"network.{key}" for key in keys)
    if keys and training.get("engine", "auto") not in ("auto", "general"):
        problem = f"{training['engine']!r} is not allowed with {modes}; allowed: auto, general"
        raise plan.error([experiment, "training", "engine"], problem)
    if "dropout" in keys and training.get("centred"):
        problem = "True is not allowed with network.dropout; allowed: False"
        raise plan.error([experiment, "training", "centred"], problem)


def _check_measurements(plan: "Plan", experiment: str) -> None:
    """Every kind once: files, tables and claims call a measurement by its kind."""
    kinds = [entry["kind"] for entry in plan.block(experiment)["measurements"]]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            where = [experiment, "measurements", index, "kind"]
            raise plan.error(where, f"{kind!r} appears twice; allowed once")


def _check_shared_seeds(plan: "Plan", experiment: str) -> None:
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

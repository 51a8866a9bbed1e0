"""A small experiment, and plans made of it; the plans of the study."""

import copy
from functools import cache
from pathlib import Path

import yaml

from ntkstudy.plan.checks import check_plan
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.planning import Plan
from ntkstudy.plan.schema import configuration_schema
from ntkstudy.registry import discover
from ntkstudy.schemas import complete

ROOT = Path(__file__).parents[1]
discover()
SCHEMA = configuration_schema(ROOT / "config" / "schema.yaml")
EXPERIMENT = {
    "title": "t",
    "source": "ours",
    "question": "q",
    "task": {"kind": "gaussian_product", "train_points": 8, "probe_points": 4},
    "network": {"kind": "mlp", "depth": 1, "width": 4},
    "training": {"learning_rate": 0.5, "steps": 3},
    "measurements": [{"kind": "profile", "when": ["initialization", "trained", "limit"]}],
    "sweep": {"network.width": [4, 8], "training.learning_rate": [0.5, 1]},
    "seeds": 5,
    "initializations": 6,
    "seeds_per_job": 2,
    "initializations_per_job": 4,
}


def load(folder: Path, *configs: dict, overrides=None) -> Plan:
    files = []
    for index, config in enumerate(configs):
        files.append(folder / f"{index}.yaml")
        files[-1].write_text(yaml.safe_dump(config, sort_keys=False))
    return load_plan(files, ROOT / "config" / "schema.yaml", overrides)


@cache
def _study_plan(*overlays: str) -> Plan:
    files = [ROOT / "config" / name for name in ("config.yaml", *overlays)]
    return load_plan(files, ROOT / "config" / "schema.yaml")


def study_plan(*overlays: str) -> Plan:
    """The plan of the default scale with files of config/ on top, read once; free to be changed."""
    return copy.deepcopy(_study_plan(*overlays))


def wrap(**experiments) -> dict:
    return {"results": "results/x", "experiments": experiments}


def build_plan(**changes) -> Plan:
    plan = Plan(complete(wrap(e=EXPERIMENT | changes), SCHEMA), SCHEMA, source="a.yaml")
    check_plan(plan)
    return plan

"""Write the report: claims, experiments, figures and provenance in one HTML page."""

import json
import os
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from job import run_job
from ntkstudy.data.collected import tables_by_experiment
from ntkstudy.data.storage import git_revision, replacing, software_versions
from ntkstudy.data.tables import axes_of
from ntkstudy.numbers import ABSENT
from ntkstudy.plan.digest import code_digest
from ntkstudy.report.diagram import draw_rules
from ntkstudy.report.page import format_duration, render
from ntkstudy.report.records import (
    describe_machine,
    makers,
    read_jobs,
    read_times,
    rule_edges,
    summarise_times,
)
from ntkstudy.texts import explain_experiment


def main(input: dict, output: dict, cfg: dict) -> None:
    """Collect what the workflow made into the report's model and render it."""
    judged = json.loads(Path(input["claims"]).read_text())
    drawn = {
        (Path(file).parts[-3], Path(file).stem): Path(file)
        for file in as_list(input, "figures") + as_list(input, "animations")
    }
    tables = tables_by_experiment(as_list(input, "tables"))
    run = [name for name, block in cfg["experiments"].items() if block["status"] == "run"]
    times = read_times(Path(cfg["results"], "benchmarks"), run)
    jobs = read_jobs(Path(cfg["results"], "logs"), run)
    scale, front = Path(cfg["results"]).name, cfg["front"]
    measured = json.loads(Path(input["mutations"]).read_text(encoding="utf-8"))
    experiments = explained(cfg["experiments"], judged["claims"], scale)
    origin = {"page": output["html"], "made": makers(jobs), "overlays": cfg["overlays"]}
    model = {
        "title": front["title"],
        "question": front["question"],
        "findings": front["findings"],
        "picture": front["picture"].split("/") if front["picture"] else None,
        "scale": scale,
        "results": cfg["results"],
        "sources": judged["sources"],
        "claims": judged["claims"],
        "families": judged["families"],
        "experiments": [
            describe_experiment(name, block, drawn, tables.get(name, {}), times)
            | {"tables": describe_tables(block["tables"], **origin)}
            for name, block in experiments.items()
        ],
        "mutations": measured | {"current": measured["digest"] == code_digest(Path())},
        "provenance": describe_provenance(cfg, times) | describe_rules(times, rule_edges(jobs)),
    }
    template = Path(input["template"][0]).parent
    html = render(model, template)
    with replacing(output["html"]) as temporary:
        temporary.write_text(html, encoding="utf-8")


def explained(experiments: dict, claims: list[dict], scale: str) -> dict:
    """Experiments with the explanations that the verdicts of this run leave."""
    judged = {claim["id"]: claim for claim in claims}
    return {
        name: block
        | {"explanation": explain_experiment(block["explanation"], judged, scale, where=name)}
        for name, block in experiments.items()
    }


def as_list(input: dict, name: str) -> list[str]:
    """Files of one input name: none, one or several."""
    files = input.get(name, [])
    return [files] if isinstance(files, str) else files


def describe_experiment(
    name: str, block: dict, drawn: dict, tables: Mapping[str, pd.DataFrame], times: pd.DataFrame
) -> dict:
    """One experiment's section."""
    texts = ("title", "source", "question", "explanation", "status", "status_reason")
    return {
        "name": name,
        **{key: block[key] for key in (*texts, "protocol", "defaults")},
        "figures": [
            describe_figure(figure, caption, drawn[name, figure])
            for figure, caption in block["captions"].items()
            if (name, figure) in drawn
        ],
        "notes": describe_divergence(tables["networks"]) if "networks" in tables else [],
        "seconds": float(times.loc[times["experiment"] == name, "s"].sum()) or None,
    }


def describe_figure(name: str, caption: str, file: Path) -> dict:
    """One figure: an SVG, or the JSON frames of an animation, which starts as a still picture."""
    text, animated = file.read_text(encoding="utf-8"), file.suffix == ".json"
    frames = json.loads(text) if animated else []
    return {
        "name": name,
        "svg": "" if animated else text,
        "caption": caption,
        "alt": caption.split(". ")[0],
        "animation": {"src": frames[0], "still": frames[-1], "frames": frames}
        if animated
        else None,
    }


def describe_divergence(networks: pd.DataFrame) -> list[str]:
    """One sentence per network that diverged in training."""
    notes = []
    for row in networks[networks["diverged_at"] >= 0].to_dict("records"):
        cell = ", ".join(f"{name} {row[name]}" for name in axes_of(networks, besides=["seed"]))
        where = f" ({cell})" if cell else ""
        notes.append(f"Seed {row['seed']}{where} diverged at step {row['diverged_at']}.")
    return notes


def describe_tables(
    tables: Mapping[str, str], *, page: str, made: Mapping[str, str], overlays: list[str]
) -> dict[str, dict[str, str]]:
    """Where an experiment's tables lie beside the page, and what makes each again.

    Args:
        tables: name to file.
        page: the report.
        made: the rule of each file that is known to have been made.
        overlays: files of the configuration on top of the default scale's.
    """
    found = {}
    for name, file in tables.items():
        contents = str(Path(file).with_name("contents.json"))
        target = contents if contents in made else file
        found[name] = {
            "href": os.path.relpath(file, Path(page).parent),
            "rule": made.get(target, ""),
            "logs": f"../logs/{made.get(target, '')}",
            "command": snakemake_command(overlays, "--force", target),
        }
    return found


def snakemake_command(overlays: list[str], *words: str) -> str:
    """A call of Snakemake with the configuration of this run, for a shell."""
    files = ["--configfile", *overlays] if overlays else []
    return shlex.join([".venv/bin/snakemake", *words, "--cores", "1", *files])


def describe_provenance(cfg: dict, times: pd.DataFrame) -> dict[str, Any]:
    """Versions, machine, configuration and what it changes, revision, run time by part."""
    return {
        "versions": software_versions(),
        "revision": git_revision(),
        "machine": describe_machine() | {"Python": platform.python_version()},
        "config": yaml.safe_dump(cfg["config"], sort_keys=False, width=100, allow_unicode=True),
        "overlays": cfg["overlays"],
        "only": cfg["only"],
        "restricted": cfg["restricted"],
        "partial": cfg["config"]["partial"],
        "changes": cfg["changes"],
        "seeds": cfg["seeds"],
        "rules": summarise_times(times, "rule"),
        "parts": summarise_times(times, "experiment"),
        "total_seconds": float(times["s"].sum()),
        "cpu_seconds": float(times["cpu_time"].sum()),
    }


def describe_rules(times: pd.DataFrame, edges: set[tuple[str, str]]) -> dict[str, Any]:
    """The rules as a picture, None where no job left a record."""
    known = {one["name"]: one for one in summarise_times(times, "rule")}
    names = dict.fromkeys([*known, *(rule for edge in sorted(edges) for rule in edge)])
    if not names:
        return {"diagram": None}
    notes = {name: _note(known.get(name)) for name in names}
    readers = {second for _, second in edges}
    first = ", ".join(name for name in names if name not in readers)
    label = f"{len(names)} rules, from {first} to the report, each after those whose files it reads"
    return {"diagram": draw_rules(notes, edges, label=label)}


def _note(times: dict | None) -> str:
    if times is None:
        return ABSENT
    noun = "job" if times["jobs"] == 1 else "jobs"
    return f"{times['jobs']} {noun}, {format_duration(times['seconds'])}"


run_job(main, globals())

"""Write the report: claims, experiments, figures and provenance in one HTML page."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from job import run_job
from ntkstudy.data.collected import tables_by_experiment
from ntkstudy.data.storage import git_revision, replacing, software_versions
from ntkstudy.data.tables import axes_of
from ntkstudy.plan.digest import code_digest
from ntkstudy.report.page import render
from ntkstudy.texts import explain_experiment


def main(input: dict, output: dict, cfg: dict) -> None:
    """Collect what the workflow made into the report's model and render it."""
    judged = json.loads(Path(input["claims"]).read_text())
    drawn = {
        (Path(file).parts[-3], Path(file).stem): Path(file)
        for file in as_list(input, "figures") + as_list(input, "animations")
    }
    tables = tables_by_experiment(as_list(input, "tables"))
    times = read_times(Path(cfg["results"], "benchmarks"))
    scale = Path(cfg["results"]).name
    measured = json.loads(Path(input["mutations"]).read_text(encoding="utf-8"))
    experiments = explained(cfg["experiments"], judged["claims"], scale)
    model = {
        "title": "Neural tangent kernels, measured",
        "subtitle": "Claims of five documents on wide networks, checked over many seeds",
        "scale": scale,
        "results": cfg["results"],
        "sources": judged["sources"],
        "claims": judged["claims"],
        "families": judged["families"],
        "experiments": [
            describe_experiment(name, block, drawn, tables.get(name, {}), times)
            for name, block in experiments.items()
        ],
        "mutations": measured | {"current": measured["digest"] == code_digest(Path())},
        "provenance": describe_provenance(cfg, times),
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


def read_times(folder: Path) -> pd.DataFrame:
    """Snakemake's benchmark records: rule, experiment, seconds `s` and memory `max_rss` in MB."""
    rows = []
    for file in sorted(folder.rglob("*.tsv")):
        record = pd.read_csv(file, sep="\t", na_values="-").iloc[0]
        parts = file.relative_to(folder).parts
        experiment = parts[1] if len(parts) > 1 else ""
        rule = parts[0].removesuffix(".tsv")
        rows.append((rule, experiment, float(record["s"]), float(record["max_rss"])))
    return pd.DataFrame(rows, columns=["rule", "experiment", "s", "max_rss"]).fillna(0.0)


def describe_provenance(cfg: dict, times: pd.DataFrame) -> dict:
    """Versions, configuration, revision and run time per rule."""
    rules = times.groupby("rule").agg(jobs=("s", "size"), s=("s", "sum"), rss=("max_rss", "max"))
    return {
        "versions": software_versions(),
        "revision": git_revision(),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "config": yaml.safe_dump(cfg["config"], sort_keys=False, width=100, allow_unicode=True),
        "seeds": cfg["seeds"],
        "rules": [
            {"rule": rule, "jobs": int(row.jobs), "seconds": row.s, "max_rss_mb": row.rss}
            for rule, row in rules.sort_values("s", ascending=False).iterrows()
        ],
        "total_seconds": float(times["s"].sum()),
    }


run_job(main, globals())

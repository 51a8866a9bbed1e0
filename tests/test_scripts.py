import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import aggregate_experiment
import compute_limit_kernel
import draw_figure
import extract_ntk
import judge_claims
import make_dataset
import measure_initialization
import render_report
import train_ensemble
from ntkflow.errors import ConfigurationError, StorageError
from ntkflow.networks import draw_parameters
from ntkstudy.data.storage import open_file
from ntkstudy.data.tables import axes_of, read_table
from ntkstudy.plan.describe import report_config
from ntkstudy.plan.loading import load_plan, read_defaults
from ntkstudy.plan.planning import Plan
from ntkstudy.report.records import read_times
from ntkstudy.subjects.networks import build_network

ROOT = Path(__file__).parents[1]
TINY = """
results: {results}
experiments:
  kernel_profile:
    task: {{ train_points: 6, probe_points: 8 }}
    training: {{ steps: 3 }}
    sweep: {{ network.width: [5, 7] }}
    seeds: 3
    initializations: 4
    seeds_per_job: 2
    overrides: []
"""


def make(plan: Plan, stage: str, label: str = "all", block: str | None = None) -> None:
    """Run one job of a stage on what earlier stages left."""
    name = "kernel_profile"
    cfg, file = plan.job_config(stage, name, label, block), plan.stage_file
    output = file(stage, name, label, block or "")
    if stage == "dataset":
        make_dataset.main({}, {"dataset": output}, cfg)
        return
    data = {"dataset": plan.upstream_file(stage, "dataset", name, label)}
    if stage == "limit":
        compute_limit_kernel.main(data, {"measurements": output}, cfg, "cpu")
    elif stage == "initialization":
        measure_initialization.main(data, {"measurements": output}, cfg, "cpu")
    elif stage == "train":
        train_ensemble.main(data, {"networks": output}, cfg, "cpu")
    else:
        networks = {"networks": file("train", name, label, block)}
        extract_ntk.main(data | networks, {"measurements": output}, cfg, "cpu")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    """A tiny experiment with every stage made, then its tables."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "tiny.yaml").write_text(TINY.format(results="results/tiny"))
        files = [ROOT / "config" / "config.yaml", folder / "tiny.yaml"]
        plan = load_plan(files, ROOT / "config" / "schema.yaml")
        for stage in ("dataset", "limit", "initialization", "train", "ntk"):
            for cell in plan.cells("kernel_profile", stage):
                blocks = [None]
                if stage in ("initialization", "train", "ntk"):
                    blocks = plan.blocks("kernel_profile", stage, cell.label)
                for block in blocks:
                    make(plan, stage, cell.label, block)
        (contents,) = tables_of(plan)
        aggregate_experiment.main(
            plan.table_inputs("kernel_profile"),
            {"contents": contents},
            plan.tables_config("kernel_profile"),
        )
    plan.folder = folder
    return plan


@pytest.fixture(autouse=True)
def inside(plan, monkeypatch):
    monkeypatch.chdir(plan.folder)


def tables_of(plan) -> list[str]:
    """What a script that reads all tables of the experiment gets."""
    return plan.table_sources("kernel_profile", plan.table_names("kernel_profile"))


def read(plan, name) -> pd.DataFrame:
    return read_table(plan.table_file("kernel_profile", name))


@pytest.mark.parametrize(
    ("name", "rows", "axes", "measured"),
    [
        ("dataset", 6, ["sample"], ["x_0", "x_1", "y_0"]),
        ("losses", 2 * 3 * 4, ["width", "seed", "step"], ["loss"]),
        ("networks", 2 * 3, ["width", "seed"], ["diverged_at"]),
        ("initialization_profile", 2 * 4 * 8, ["width", "seed", "gamma"], ["theta"]),
        ("trained_profile", 2 * 3 * 2 * 8, ["width", "seed", "step", "gamma"], ["theta"]),
        ("limit_profile", 8, ["gamma"], ["theta"]),
    ],
)
def test_tables_are_tidy(plan, name, rows, axes, measured):
    table = read(plan, name)
    assert list(table) == [*axes, *measured]
    assert axes_of(table) == axes
    assert not table.duplicated(axes).any()
    assert len(table) == rows
    assert not table.isna().any().any()


def test_the_same_seed_gives_the_same_kernel_at_the_start(plan):
    before = read(plan, "trained_profile").query("step == 0").drop(columns="step")
    many = read(plan, "initialization_profile").query("seed < 3")
    pd.testing.assert_frame_equal(before.reset_index(drop=True), many.reset_index(drop=True))


def test_results_do_not_depend_on_seeds_per_job(plan):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cfg = plan.job_config("train", "kernel_profile", "width~5", "0-2")
        data = {"dataset": plan.upstream_file("train", "dataset", "kernel_profile", "width~5")}
        train_ensemble.main(data, {"networks": "whole.h5"}, cfg, "cpu")
        train_ensemble.main(data, {"networks": "one.h5"}, cfg | {"seeds": [2]}, "cpu")
    finally:
        torch.set_num_threads(threads)
    with open_file("whole.h5", "train") as whole, open_file("one.h5", "train") as one:
        for name in whole.names("weights"):
            np.testing.assert_array_equal(
                whole.array(f"weights/{name}", 2).values, one.array(f"weights/{name}", 0).values
            )


def test_a_seed_that_diverges_is_data(plan, capsys):
    cfg = plan.job_config("train", "kernel_profile", "width~5", "0-1")
    cfg["training"] |= {"learning_rate": 1e4, "steps": 60}
    data = {"dataset": plan.upstream_file("train", "dataset", "kernel_profile", "width~5")}
    train_ensemble.main(data, {"networks": "wild.h5"}, cfg, "cpu")
    assert "seed 1 diverged at step" in capsys.readouterr().out
    kernels = plan.job_config("ntk", "kernel_profile", "width~5", "0-1")
    extract_ntk.main(data | {"networks": "wild.h5"}, {"measurements": "k.h5"}, kernels, "cpu")
    with open_file("k.h5", "ntk") as measured:
        theta = measured.array("profile/theta").values
    assert np.isfinite(theta[:, 0]).all()
    assert np.isnan(theta[:, 1]).all()
    source = {"stage": "train", "group": "networks"}
    aggregate_experiment.main(
        {"train": ["wild.h5"]}, {"contents": "wild/contents.json"}, {"tables": {"networks": source}}
    )
    notes = render_report.describe_divergence(read_table("wild/networks.csv"))
    assert [note.split(" diverged")[0] for note in notes] == [
        "Seed 0 (width 5)",
        "Seed 1 (width 5)",
    ]


def test_scripts_refuse_files_of_another_stage(plan):
    cfg = plan.job_config("ntk", "kernel_profile", "width~5", "0-1")
    dataset = plan.stage_file("dataset", "kernel_profile", "all")
    with pytest.raises(StorageError, match="is a file of stage 'dataset'; expected stage 'train'"):
        extract_ntk.main(
            {"dataset": dataset, "networks": dataset}, {"measurements": "x.h5"}, cfg, "cpu"
        )
    assert not Path("x.h5").exists()


def test_wide_profiles_are_near_the_limit(plan):
    cfg = plan.job_config("initialization", "kernel_profile", "width~5", "0-3")
    cfg["network"]["width"] = 4000
    cfg["network"]["depth"] = 1
    cfg["seeds"] = [0]
    limit = plan.job_config("limit", "kernel_profile", "all")
    limit["network"]["depth"] = 1
    data = {"dataset": plan.stage_file("dataset", "kernel_profile", "all")}
    measure_initialization.main(data, {"measurements": "wide.h5"}, cfg, "cpu")
    compute_limit_kernel.main(data, {"measurements": "limit.h5"}, limit, "cpu")
    with h5py.File("wide.h5") as wide, h5py.File("limit.h5") as infinite:
        np.testing.assert_allclose(
            wide["profile/theta"][0], infinite["profile/theta"], rtol=0.1, atol=0.01
        )


def test_weights_at_the_start_are_those_of_the_seed(plan):
    cfg = plan.job_config("train", "kernel_profile", "width~7", "2-2")
    cfg["training"] |= {"learning_rate": 1e-30}
    data = {"dataset": plan.stage_file("dataset", "kernel_profile", "all")}
    train_ensemble.main(data, {"networks": "still.h5"}, cfg, "cpu")
    drawn = draw_parameters(build_network(cfg["network"], 2, 1), [2])
    with open_file("still.h5", "train") as run:
        for name, tensor in drawn.items():
            np.testing.assert_array_equal(run.array(f"weights/{name}").values, tensor.numpy())


# Claims and report

CLAIMS = {
    "claims": str(ROOT / "config" / "claims" / "exp001.yaml"),
    "schema": str(ROOT / "config" / "claims_schema.yaml"),
    "judged_schema": str(ROOT / "config" / "judged_schema.json"),
}


def judge(plan, **changes) -> dict:
    judge_claims.main(
        CLAIMS | {"tables": tables_of(plan)} | changes,
        {"claims": "claims.json", "schema": "claims.schema.json", "table": "claims.csv"},
        {"experiments": list(plan.config["experiments"]), "extensions": []},
    )
    return {claim["id"]: claim for claim in json.loads(Path("claims.json").read_text())["claims"]}


def test_claims_of_a_tiny_run_are_not_run(plan):
    judged = judge(plan)["exp001.profile-concentrates"]
    assert judged["verdict"] == "not run"
    assert judged["reason"] == "needs width 100, 500, 2048, not run here"
    assert judge(plan, tables=[])["exp001.profile-inflation"]["verdict"] == "not run"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("section: ", "source: exp001\n    section: ", "claims[0].source: unknown key; allowed: "),
        ("experiment: kernel_profile", "experiment: b", "experiment: 'b' is unknown; allowed: ker"),
        ("range: [-0.65, -0.35]", "range: [-0.35, -0.65]", "observation: range: [-0.35, -0.65] is"),
        ("kind: slope", "kind: eval", "claims[0].criteria.observation[0].kind: 'eval' is unknown"),
        ("along: width\n          range", "range", "observation[0].along: missing; this key is"),
        ("range: [-0.65, -0.35]", "range: [1]", "[0].range: [1] has 1; allowed: at least 2"),
    ],
)
def test_mistakes_in_claims_name_the_file(plan, old, new, problem):
    text = Path(CLAIMS["claims"]).read_text()
    assert old in text
    Path("mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as error:
        judge(plan, claims="mine.yaml")
    assert str(error.value).startswith("mine.yaml: ")
    assert problem in str(error.value)


def test_the_report_holds_figures_claims_and_times(plan):
    # Explanations of experiments ask how claims of several sources came out.
    judge(plan, claims=sorted(map(str, (ROOT / "config" / "claims").glob("*.yaml"))))
    figures = []
    for name in plan.block("kernel_profile")["figures"]:
        svg, png = (plan.figure_file("kernel_profile", name, kind) for kind in ("svg", "png"))
        figures.append(svg)
        draw_figure.main(
            {"tables": tables_of(plan)},
            {"svg": svg, "png": png},
            plan.figure_config("kernel_profile"),
        )
        assert Path(png).stat().st_size > 1000
    record = Path(plan.results, "benchmarks", "train_ensemble", "kernel_profile", "a.tsv")
    record.parent.mkdir(parents=True)
    record.write_text("s\th:m:s\tmax_rss\n61.5\t0:01:01\t-\n")
    template = ROOT / "report" / "template"
    render_report.main(
        {
            "claims": "claims.json",
            "figures": figures,
            "template": [str(template / "index.html.j2")],
            "tables": tables_of(plan),
            "mutations": str(ROOT / "resources" / "mutations" / "measured.json"),
        },
        {"html": "report/index.html"},
        report_config(
            plan,
            str(ROOT / "scripts" / "figures"),
            str(ROOT / "scripts" / "animations"),
            overlays=["config/mine.yaml"],
            defaults=read_defaults(ROOT / "config" / "config.yaml", plan.schema),
        ),
    )
    html = Path("report", "index.html").read_text(encoding="utf-8")
    assert html.count("<svg") >= len(figures)
    for text in ("exp001.profile-inflation", "network.width", "1 min", "train_ensemble"):
        assert text in html
    assert "<code>config/mine.yaml</code> on top" in html
    assert re.search(r"<code>sweep.network.width</code></th><td>100, 500, 2048</td><td>", html)


def test_tables_are_linked_from_the_page_with_the_command_that_makes_them():
    tables = {
        "profile": "results/x/e/tables/profile.csv",
        "times": "results/x/e/derived/times.csv",
    }
    made = {"results/x/e/tables/contents.json": "aggregate_experiment", tables["times"]: "measure"}
    page = "results/x/report/index.html"
    found = render_report.describe_tables(tables, page=page, made=made, overlays=["my config.yaml"])
    assert found["profile"] == {
        "href": "../e/tables/profile.csv",
        "rule": "aggregate_experiment",
        "logs": "../logs/aggregate_experiment",
        "command": ".venv/bin/snakemake --force results/x/e/tables/contents.json --cores 1 "
        "--configfile 'my config.yaml'",
    }
    assert found["times"]["rule"] == "measure"
    assert "--force results/x/e/derived/times.csv" in found["times"]["command"]


def test_a_run_without_records_has_no_picture_of_its_rules():
    assert render_report.describe_rules(read_times(Path("nowhere"), []), set()) == {"diagram": None}

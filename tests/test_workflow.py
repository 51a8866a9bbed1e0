"""The workflow as users run it: one run at quick scale, then what edits of it would re-run."""

import hashlib
import json
import math
import re
import shutil
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import yaml
from workflow import copy_project, execute, plan, snakemake, write_overlay

from ntkstudy.data.tables import read_table
from ntkstudy.plan.imports import import_closure

QUICK = "config/quick.yaml"
TABLES = Path("results/quick/kernel_profile/tables")
STAGES = {
    "aggregate_experiment": 1,
    "compute_limit_kernel": 1,
    "draw_figure": 3,
    "extract_ntk": 2,
    "judge_claims": 1,
    "make_dataset": 1,
    "measure_initialization": 2,
    "render_report": 1,
    "train_ensemble": 2,
}

# Modules of the registry that the jobs of a rule load.
_MEASURED = ("measurements/profile", "networks/mlp")
ENTRIES = {
    "make_dataset": ("tasks/gaussian",),
    **dict.fromkeys(("compute_limit_kernel", "extract_ntk", "measure_initialization"), _MEASURED),
    "train_ensemble": ("networks/mlp",),
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A finished run of one experiment at quick scale; its output is in run.txt. Not to change."""
    project = copy_project(tmp_path_factory.mktemp("quick"))
    overlay = yaml.safe_load((project / QUICK).read_text()) | {"only": ["kernel_profile"]}
    write_overlay(project, "quick", overlay)
    call = [sys.executable, "scripts/run_workflow.py", "--scale", "quick", "--cores", "2"]
    done = execute(project, *call)
    assert done.status == 0, done.output
    (project / "run.txt").write_text(done.output)
    return project


@pytest.fixture
def finished(quick, tmp_path):
    """A copy of the finished run, times of its files included."""
    return Path(shutil.copytree(quick, tmp_path / "project"))


def table(project, name):
    return read_table(project / TABLES / f"{name}.csv")


def edit(project, file, old, new):
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# Plans of all three configurations


@pytest.mark.parametrize(
    ("overlays", "jobs"),
    [
        (
            [],
            STAGES
            | dict.fromkeys(["train_ensemble", "extract_ntk"], 3)
            | {"measure_initialization": 3},
        ),
        (["--configfile", QUICK], STAGES),
        (
            ["--configfile", "config/full.yaml"],
            {
                "aggregate_experiment": 2,
                "compute_limit_kernel": 2,
                "draw_figure": 5,
                "extract_ntk": 8,
                "judge_claims": 1,
                "make_dataset": 2,
                "measure_initialization": 6,
                "render_report": 1,
                "train_ensemble": 8,
            },
        ),
    ],
    ids=["default", "quick", "full"],
)
def test_dry_run_plans_every_job_of_one_experiment(fresh, overlays, jobs):
    names = ["kernel_profile", *["kernel_profile_four_hidden"] * ("config/full.yaml" in overlays)]
    only = f"only=[{','.join(names)}]"
    call = [sys.executable, "-m", "snakemake", "--dry-run", *overlays]
    done = execute(fresh, *call, "--config", only)
    assert done.status == 0, done.output
    assert done.jobs == jobs


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["default", "full"])
def test_dry_run_plans_every_experiment(fresh, scale):
    overlays = ["--configfile", "config/full.yaml"] if scale == "full" else []
    whole = execute(fresh, sys.executable, "-m", "snakemake", "--dry-run", *overlays)
    assert whole.status == 0, whole.output
    assert all(whole.jobs[rule] >= count for rule, count in STAGES.items())
    assert sum(whole.jobs.values()) > sum(STAGES.values())
    assert whole.jobs["render_report"] == 1


def test_experiments_are_a_target_without_report(fresh):
    jobs = plan(fresh, "experiments").jobs
    assert jobs["draw_figure"] == 2
    assert jobs["aggregate_experiment"] == 1
    assert "render_report" not in jobs
    assert "judge_claims" not in jobs


def test_disabled_experiment_makes_nothing(fresh):
    overlay = {"results": "results/tiny", "only": ["kernel_profile"]}
    overlay["experiments"] = {"kernel_profile": {"enabled": False}}
    config = write_overlay(fresh, "disabled", overlay)
    assert plan(fresh, config=config).jobs == {"judge_claims": 1, "render_report": 1}


# The run at quick scale


def test_progress_names_every_job_and_ends_with_the_report(quick):
    first, *progress, last = (quick / "run.txt").read_text().splitlines()
    assert first.startswith("Expected: ")
    jobs = int(re.search(r"/(\d+)\]", progress[-1])[1])
    assert jobs == sum(STAGES.values())
    started = [line for line in progress if re.match(r"\[ *\d+/\d+\] started   \w", line)]
    finished = [line for line in progress if re.match(r"\[ *\d+/\d+\] finished  .+\(\d+ s\)", line)]
    assert len(started) == len(finished) == jobs
    assert len(progress) == 2 * jobs
    assert finished[-1].startswith(f"[{jobs}/{jobs}] finished  Writing the report")
    report = quick / "results/quick/report/index.html"
    assert re.fullmatch(rf"Report: {re.escape(str(report))} \(\d+ s\)", last)
    assert report.is_file()


def test_tables_have_one_row_per_observation(quick):
    rows = {path.stem: len(read_table(path)) for path in (quick / TABLES).glob("*.csv")}
    assert rows == {
        "dataset": 512,
        "initialization_profile": 2 * 100 * 360,
        "limit_profile": 360,
        "losses": 2 * 8 * 201,
        "networks": 2 * 8,
        "trained_profile": 2 * 8 * 2 * 360,
    }


def test_limit_profile_has_the_published_values(quick):
    limit = table(quick, "limit_profile").set_index("gamma")["theta"]
    assert limit.idxmax() == 0.0
    assert limit[0.0] == pytest.approx(0.28250, abs=1e-5)
    assert limit.iloc[0] == pytest.approx(0.06435, abs=1e-5)
    assert limit.index[0] == pytest.approx(-math.pi)


def test_initial_profiles_agree_with_the_limit_and_narrow_with_width(quick):
    limit = table(quick, "limit_profile").set_index("gamma")["theta"]
    profiles = table(quick, "initialization_profile").groupby(["width", "gamma"])["theta"]
    mean, error = profiles.mean(), profiles.sem()
    # At width 32 entries are so skewed that 100 seeds give no sound standard error.
    for gamma in (limit.index[0], limit.index[90], 0.0):
        assert abs(mean[128, gamma] - limit[gamma]) < 3 * error[128, gamma]
    spread = profiles.std().unstack("gamma")
    assert (spread.loc[128] < spread.loc[32]).mean() > 0.95
    assert spread.loc[128, 0.0] < spread.loc[32, 0.0] / 1.4


def test_training_lowers_every_loss(quick):
    losses = table(quick, "losses").set_index(["width", "seed", "step"])["loss"]
    assert (losses.xs(200, level="step") < 0.5 * losses.xs(0, level="step")).all()
    assert (table(quick, "networks")["diverged_at"] == -1).all()


def test_trained_profiles_start_from_the_initial_ones(quick):
    keys = ["width", "seed", "gamma"]
    trained = table(quick, "trained_profile").query("step == 0").set_index(keys)["theta"]
    initial = table(quick, "initialization_profile").set_index(keys)["theta"]
    np.testing.assert_allclose(trained, initial[trained.index], rtol=1e-6)


def test_report_lists_claims_with_reason_and_figures_inline(quick):
    claims = json.loads((quick / "results/quick/claims.json").read_text())["claims"]
    html = (quick / "results/quick/report/index.html").read_text()
    files = quick.glob("config/claims/*.yaml")
    written = [claim for file in files for claim in yaml.safe_load(file.read_text())["claims"]]
    assert {claim["id"] for claim in claims} == {claim["id"] for claim in written}
    indicated = {claim["id"] for claim in claims if claim["verdict"] == "indicated"}
    assert indicated == {"exp001.profile-concentrates", "exp001.profile-inflation"}
    for claim in claims:
        assert claim["verdict"] == ("indicated" if claim["id"] in indicated else "not run")
        assert claim["reason"]
        assert claim["reason"] in html
    assert html.count("<svg") >= 3
    assert not re.findall(r"(?:src|href)=[\"'](?!#|data:|\.\./)[^\"']*", html)
    assert not re.findall(r"url\((?!#|[\"']?data:)[^)]*\)|@import", html)


def test_the_report_links_the_tables_behind_its_numbers(quick):
    report = quick / "results/quick/report"
    html = (report / "index.html").read_text()
    link = r'<a href="(\.\./[^"]*)"><code>[^<]*</code></a></dd></div>\s*<div><dt>SHA-256</dt>'
    found = dict(re.findall(link + r"<dd><code>(\w{64})</code>", html))
    assert found
    for address, digest in found.items():
        assert hashlib.sha256((report / address).read_bytes()).hexdigest() == digest
    assert "<code>aggregate_experiment</code>" in html
    assert ".venv/bin/snakemake --force results/quick/kernel_profile/tables/contents.json" in html


# A second run


def test_second_run_has_nothing_to_do(quick, tmp_path):
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "done"\n    shell: "touch done"\n')
    bare = [sys.executable, "-m", "snakemake", "--cores", "2"]
    assert execute(tmp_path, *bare).status == 0
    ours, least = [], []
    for _ in range(3):
        done, nothing = snakemake(quick, config=QUICK), execute(tmp_path, *bare)
        assert done.idle
        assert nothing.idle
        ours.append(done.processor_seconds)
        least.append(nothing.processor_seconds)
    # Where an empty workflow takes 1.2 seconds, a second run may take 3.
    assert median(ours) < 2.5 * median(least)


def test_editing_a_figure_script_redraws_it_alone(finished):
    script = finished / "scripts/figures/profiles.py"
    script.write_text(script.read_text() + "\n# Edited.\n")
    done = plan(finished, config=QUICK)
    assert done.messages == ["Drawing profiles of kernel_profile", "Writing the report"]


@pytest.mark.parametrize(
    "module",
    [
        *("ntkstudy/data/storage", "ntkstudy/measurements/profile", "ntkstudy/subjects/limit"),
        *("ntkstudy/tasks/gaussian", "ntkstudy/networks/mlp"),
        *("ntkstudy/report/plotting", "ntkstudy/claims", "ntkflow/training/losses"),
    ],
)
def test_editing_a_module_reruns_the_rules_that_import_it(finished, module):
    path = finished / f"scripts/{module}.py"
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    path.write_text(path.read_text() + "\n# Edited.\n")
    scripts = {rule: [f"{rule}.py"] for rule in STAGES}
    for rule, entries in ENTRIES.items():
        scripts[rule] += [f"ntkstudy/{name}.py" for name in entries]
    scripts["draw_figure"] += [
        f"figures/{path.name}" for path in (finished / "scripts/figures").glob("*.py")
    ]
    users = {
        rule
        for rule, files in scripts.items()
        if any(str(path) in import_closure(finished / "scripts" / file) for file in files)
    }
    assert users
    jobs = plan(finished, config=QUICK).jobs
    assert users <= set(jobs)
    # Whatever else is planned follows from a changed input.
    assert set(jobs) - users <= downstream(users)


def test_editing_what_no_job_uses_reruns_nothing(finished):
    for name in ("measurements/gram", "networks/cnn", "tasks/mnist"):
        path = finished / f"scripts/ntkstudy/{name}.py"
        path.write_text(path.read_text() + "\n# Edited.\n")
    assert plan(finished, config=QUICK).idle


def downstream(rules):
    """Rules that read, directly or not, what these rules make."""
    readers = {
        "make_dataset": {
            "train_ensemble",
            "measure_initialization",
            "compute_limit_kernel",
            "extract_ntk",
            "aggregate_experiment",
        },
        "train_ensemble": {"extract_ntk", "aggregate_experiment"},
        "extract_ntk": {"aggregate_experiment"},
        "measure_initialization": {"aggregate_experiment"},
        "compute_limit_kernel": {"aggregate_experiment"},
        "aggregate_experiment": {"draw_figure", "judge_claims", "render_report"},
        "draw_figure": {"render_report"},
        "judge_claims": {"render_report"},
        "render_report": set(),
    }
    found = set()
    for rule in rules:
        found |= readers[rule] | downstream(readers[rule])
    return found


def test_touching_every_file_reruns_nothing(finished):
    # Snakemake compares contents below a size of 1 MB; profiles/default raises it.
    assert (finished / TABLES / "initialization_profile.csv").stat().st_size > 1_000_000
    for path in [*finished.glob("scripts/**/*.py"), *finished.glob("results/quick/[ck]*/**/*")]:
        path.touch()
    assert plan(finished, config=QUICK).idle


def overlaid(project, change):
    """A dry run with config/quick.yaml changed by a function of its one experiment."""
    overlay = yaml.safe_load((project / QUICK).read_text())
    change(overlay["experiments"]["kernel_profile"])
    return plan(project, config=write_overlay(project, "changed", overlay))


def test_a_changed_text_rewrites_the_report_and_says_so_briefly(finished):
    done = overlaid(finished, lambda block: block.update(title="Another title"))
    assert done.messages == ["Writing the report"]
    assert "Params have changed since last execution" in done.output
    assert max(map(len, done.lines)) < 1000


def test_swapped_values_rerun(finished):
    # sigma_w = 1 and sigma_b = 0.1 swapped: the same set of values.
    done = overlaid(finished, lambda block: block.update(network={"sigma_w": 0.1, "sigma_b": 1.0}))
    assert done.jobs == {rule: n for rule, n in STAGES.items() if rule != "make_dataset"}


def test_order_of_keys_and_way_of_writing_numbers_do_not_matter(finished):
    path = finished / "config/experiments/exp001.yaml"
    config = yaml.safe_load(path.read_text())

    def reversed_keys(value):
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(value)}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    # The report shows experiments in the order of the file.
    order = list(config["experiments"])
    config = reversed_keys(config)
    config["experiments"] = {name: config["experiments"][name] for name in order}
    block = config["experiments"]["kernel_profile"]
    assert block["training"]["learning_rate"] == 1.0
    block["training"] |= {"learning_rate": 1, "steps": 200.0}
    block["network"]["sigma_w"] = 1
    block["measurements"][0]["anchor_angle"] = 0
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    assert plan(finished, config=QUICK).idle


def test_one_more_seed_trains_one_block(finished):
    done = overlaid(finished, lambda block: block.update(seeds=9, sweep={"network.width": [32]}))
    assert done.jobs["train_ensemble"] == done.jobs["extract_ntk"] == 1
    assert "Training kernel_profile, width~32, seeds 8-8" in done.messages
    assert "measure_initialization" not in done.jobs


# Profiles


def test_slurm_profile_merges_with_the_default(fresh):
    done = plan(fresh, "--profile", "profiles/slurm")
    assert done.status == 0, done.output
    merged = "Using profiles profiles/slurm and workflow specific profile profiles/default"
    assert done.output.startswith(merged)


def test_without_profile_a_finished_run_stays_finished(quick):
    assert plan(quick, "--workflow-profile", "none", config=QUICK).idle


# Single jobs


def test_a_script_runs_alone_on_one_cell(quick, tmp_path):
    import h5py

    job = "results/quick/logs/train_ensemble/kernel_profile/width~32/0-7.json"
    call = [sys.executable, "scripts/train_ensemble.py", job, "--output-dir", str(tmp_path)]
    done = execute(quick, *call)
    assert done.status == 0, done.output
    record = json.loads((quick / job).read_text())
    with (
        h5py.File(quick / record["output"]["networks"]) as expected,
        h5py.File(tmp_path / "0-7.h5") as found,
    ):
        names = []
        expected.visit(names.append)
        for name in names:
            if isinstance(expected[name], h5py.Dataset):
                np.testing.assert_array_equal(found[name], expected[name])

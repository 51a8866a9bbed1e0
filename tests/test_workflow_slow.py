"""Faults, other ways to run, and equal numbers however the jobs are cut: on tiny networks."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from requirements import closure, seeing_only
from workflow import PROJECT, TINY, copy_project, execute, plan, snakemake, write_overlay

from ntkstudy.data.tables import read_table
from ntkstudy.plan.configuration import merge
from ntkstudy.plan.loading import load_plan

pytestmark = pytest.mark.slow

RESULTS = Path("results/tiny/kernel_profile")
SCALES = ("config", "quick")  # a scale is an overlay on config.yaml


@pytest.fixture
def project(tmp_path):
    """The project without results."""
    project = copy_project(tmp_path / "project")
    write_overlay(project, "tiny", TINY)
    return project


def tiny_with(**changes):
    """The tiny configuration with some keys of its experiment changed."""
    block = TINY["experiments"]["kernel_profile"] | changes
    return TINY | {"experiments": {"kernel_profile": block}}


def read(path):
    """Arrays of an HDF5 file by name."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: arrays.update({name: node[()]} if hasattr(node, "shape") else {})
        )
    return arrays


def leftovers(project):
    """Files under a temporary name."""
    return [path for path in project.rglob("*.part") if ".snakemake" not in path.parts]


def assert_one_line(done, project, log, *parts):
    """One error line of ours in Snakemake's output, the last line of the job's log too."""
    assert done.status != 0
    lines = [
        line.strip() for line in done.lines if re.match(r"\s*(Storage|Configuration)Error", line)
    ]
    assert lines, done.output
    assert len(set(lines)) == 1
    assert "Traceback" not in done.output
    assert (project / log).read_text().splitlines()[-1] == lines[0]
    for part in parts:
        assert part in lines[0]
    assert not leftovers(project)


# Equal numbers however the jobs are cut


def test_numbers_do_not_depend_on_seeds_per_job(project):
    stages, blocks = ("train", "ntk", "initialization"), {10: ["0-9"], 1: ["0-0", "9-9"]}
    for size, names in blocks.items():
        counts = {"seeds": 10, "initializations": 10}
        sizes = {f"{kind}_per_job": size for kind in counts}
        config = write_overlay(project, f"jobs_of_{size}", tiny_with(**counts, **sizes))
        files = [f"{RESULTS}/width~8/{stage}/{name}.h5" for stage in stages for name in names]
        done = snakemake(project, *files, config=config)
        assert done.status == 0, done.output
    for stage in stages:
        folder = project / RESULTS / "width~8" / stage
        together, first, last = (read(folder / f"{name}.h5") for name in ("0-9", "0-0", "9-9"))
        for name, values in together.items():
            if name.split("/")[-1] in ("step", "gamma"):
                continue
            alone = np.concatenate([first[name], last[name]])
            np.testing.assert_array_equal(alone, values[[0, 9]])


@pytest.mark.parametrize(("cores", "size"), [(1, 1), (1, 2), (2, 1)])
def test_tables_do_not_depend_on_cores_and_seeds_per_job(tiny, project, cores, size):
    """The finished run took two cores and two seeds a job; Slurm is compared in tests/slurm."""
    sizes = {"seeds_per_job": size, "initializations_per_job": size}
    config = write_overlay(project, "other", tiny_with(**sizes))
    call = [sys.executable, "-m", "snakemake", "experiments", "--cores", str(cores)]
    done = execute(project, *call, "--configfile", config)
    assert done.status == 0, done.output
    tables = sorted(tiny.glob(f"{RESULTS}/tables/*.csv"))
    assert len(tables) > 5
    for path in tables:
        assert (project / path.relative_to(tiny)).read_bytes() == path.read_bytes(), path.name


def test_files_do_not_depend_on_cores(tiny, project):
    call = [sys.executable, "-m", "snakemake", "experiments", "--cores", "1"]
    done = execute(project, *call, "--configfile", "config/tiny.yaml")
    assert done.status == 0, done.output
    files = [path.relative_to(tiny) for path in tiny.glob(f"{RESULTS}/**/*.h5")]
    assert len(files) == 8
    for file in files:
        expected = read(tiny / file)
        found = read(project / file)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_ready_jobs_are_examined_only_when_one_finishes(project):
    """Snakemake's own limit of jobs per second would look each second, and more often each time."""
    done = snakemake(project, "--verbose")
    assert done.status == 0, done.output
    jobs = sum("Finished jobid" in line for line in done.lines)
    looks = sum("Resources before job selection" in line for line in done.lines)
    assert 1 < looks <= jobs + 1


def test_resource_of_no_gpu_means_the_cpu(tiny, project):
    file, record = f"{RESULTS}/width~8/train/0-1.h5", "logs/train_ensemble/kernel_profile/width~8"
    done = snakemake(project, file, "--resources", "gpu=0")
    assert done.status == 0, done.output
    asked, refused = (
        json.loads((run / "results/tiny" / record / "0-1.json").read_text())["gpu"]
        for run in (tiny, project)
    )
    assert (asked, refused) == (1, 0)


def test_results_are_right_without_any_profile(tiny, project):
    done = snakemake(project, "experiments", "--workflow-profile", "none")
    assert done.status == 0, done.output
    for path in tiny.glob(f"{RESULTS}/tables/*.csv"):
        assert (project / path.relative_to(tiny)).read_bytes() == path.read_bytes()


# Parts of the workflow


def second_experiment():
    """What a user writes for a second profile experiment: one block, here with tiny numbers."""
    blocks = yaml.safe_load((PROJECT / "config/experiments/exp001.yaml").read_text())["experiments"]
    block = merge(blocks["kernel_profile"], TINY["experiments"]["kernel_profile"])
    return block | {
        "title": "Shallow networks with large biases",
        "network": {"kind": "mlp", "depth": 1, "width": 8, "activation": "relu", "sigma_b": 1.0},
    }


def test_quick_scale_draws_every_figure_of_its_experiments(project):
    call = [sys.executable, "scripts/run_workflow.py", "--scale", "quick", "--cores", "2"]
    done = execute(project, *call)
    assert done.status == 0, done.output
    files = [project / f"config/{name}.yaml" for name in SCALES]
    config = load_plan(files, project / "config/schema.yaml").config
    assert len(config["only"]) > 5
    html = (project / "results/quick/report/index.html").read_text()
    for name in config["only"]:
        block = config["experiments"][name]
        folder = project / "results/quick" / name
        assert {path.stem for path in folder.glob("figures/*.svg")} == set(block["figures"])
        assert block["title"] in html


def test_second_experiment_takes_one_block(finished):
    overlay = tiny_with()
    overlay["experiments"]["shallow_profile"] = second_experiment()
    overlay["only"] = ["kernel_profile", "shallow_profile"]
    done = snakemake(finished, config=write_overlay(finished, "tiny", overlay))
    assert done.status == 0, done.output
    assert not any("kernel_profile" in message for message in done.messages)
    html = (finished / "results/tiny/report/index.html").read_text()
    assert "Shallow networks with large biases" in html
    limit = read_table(finished / "results/tiny/shallow_profile/tables/limit_profile.csv")
    # Theta(x0, x0): the first layer's q = 1/2 + 1 gives q/2, the second layer's kernel is q/2 + 1.
    assert limit.loc[limit["gamma"] == 0, "theta"].item() == pytest.approx(2.5, abs=1e-6)
    for figure in ("profiles", "training_points"):
        assert (finished / f"results/tiny/shallow_profile/figures/{figure}.svg").exists()
    assert plan(finished).idle


def test_only_reports_the_rest_as_not_run(finished):
    overlay = tiny_with()
    overlay["experiments"]["shallow_profile"] = second_experiment()
    overlay["only"] = ["kernel_profile", "shallow_profile"]
    write_overlay(finished, "tiny", overlay)
    call = [sys.executable, "scripts/run_workflow.py", "--scale", "tiny", "--cores", "2"]
    done = execute(finished, *call, "--only", "kernel_profile")
    assert done.status == 0, done.output
    assert not (finished / "results/tiny/shallow_profile").exists()
    html = (finished / "results/tiny/report/index.html").read_text()
    assert "left out of this run" in html
    unknown = execute(finished, *call, "--only", "kernel_profil")
    assert unknown.status != 0
    (line,) = [line for line in unknown.lines if "ConfigurationError" in line]
    assert "only: 'kernel_profil' is unknown; allowed: kernel_profile, " in line


def test_partial_report_after_a_failed_job(project):
    script = project / "scripts/train_ensemble.py"
    healthy = script.read_text()
    start = '    training = cfg["training"]\n'
    assert start in healthy
    fault = '    assert cfg["cell"] != {"width": 8}, "broken on purpose"\n'
    script.write_text(healthy.replace(start, start + fault))
    call = [sys.executable, "scripts/run_workflow.py", "--scale", "tiny", "--cores", "2"]
    failed = execute(project, *call)
    assert failed.status != 0
    assert "AssertionError: broken on purpose" in failed.output
    assert "results/tiny/logs/train_ensemble/kernel_profile/width~8/0-1.log" in failed.output
    assert failed.lines[-1].startswith("The run failed; `make report PARTIAL=1`")
    # Jobs that do not need the failed one went on.
    assert (project / RESULTS / "width~4/ntk/0-1.h5").exists()
    assert not (project / RESULTS / "width~8/train/0-1.h5").exists()
    assert not leftovers(project)

    partial = execute(project, *call, "--partial")
    assert partial.status == 0, partial.output
    assert set(read_table(project / RESULTS / "tables/trained_profile.csv")["width"]) == {4}
    html = (project / "results/tiny/report/index.html").read_text()
    assert html.count("<svg") >= 2

    script.write_text(healthy)
    whole = execute(project, *call)
    assert whole.status == 0, whole.output
    assert set(read_table(project / RESULTS / "tables/trained_profile.csv")["width"]) == {4, 8}


def test_snakemake_report_is_offline_and_has_captions_and_categories(project, tmp_path):
    archive, kinds = tmp_path / "report.zip", [{"kind": "profile"}, {"kind": "movement"}]
    moments = (["initialization", "trained", "limit"], ["trained", "prediction"])
    measured = [kind | {"when": when} for kind, when in zip(kinds, moments, strict=True)]
    config = write_overlay(project, "tiny", tiny_with(measurements=measured))
    claims = project / "config/claims/exp001.yaml"
    needed, tiny = ("requires: { seeds: 100, width: [100, 500, 2048] }",
                    "requires: { seeds: 2, width: [4, 8] }")  # fmt: skip
    assert needed in claims.read_text()
    claims.write_text(claims.read_text().replace(needed, tiny, 1))
    assert snakemake(project, config=config).status == 0
    offline = ["unshare", "--net"] if os.geteuid() == 0 else []
    call = [*offline, sys.executable, "-m", "snakemake", "--configfile", "config/tiny.yaml"]
    required = seeing_only(closure(PROJECT / "requirements.txt"), tmp_path)
    done = execute(project, *call, "--report", str(archive), env=required)
    assert done.status == 0, done.output
    with zipfile.ZipFile(archive) as report:
        names = report.namelist()
        html = "\n".join(report.read(name).decode() for name in names if name.endswith(".html"))
    assert {"profiles.svg", "training_points.svg", "claims.csv", "movement_comparison.csv"} <= {
        Path(name).name for name in names
    }
    assert "exp001" in html
    assert "The kernel profile on the circle" in html
    assert "One panel per cell of the sweep" in html  # caption of profiles
    # The claim by this figure, its number and what is allowed: as a label and in the caption.
    number = r"exp001\.profile-concentrates \w+ [−\d.]+[^;<\"]*, allowed −0\.65 to −0\.35"
    text = html.replace(r"\u2212", "−")
    assert re.search(rf'"claims": "[^"]*{number}', text)
    assert re.search(rf"<p>Claims by this figure: [^<]*{number}", text)
    assert "<p>No claim that was judged stands by this figure.</p>" in html  # training_points
    assert "<p>No claim is judged from it.</p>" in html  # movement_comparison
    assert "Every claim, a row a criterion" in html
    assert "A table made of tables of" in html
    assert "ERROR" not in done.output  # as a caption that is no reStructuredText
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?:", html)


def test_slurm_as_workflow_profile_replaces_the_default(tiny):
    done = plan(tiny, "--workflow-profile", "profiles/slurm")
    assert done.status == 0, done.output
    assert "profiles/slurm" in done.output
    assert "profiles/default" not in done.output


# Faults


def test_divergence_is_recorded_and_the_rest_unharmed(project):
    steep = {"sweep": {"network.width": [4]}, "training": {"steps": 3, "learning_rate": 100.0}}
    done = snakemake(project, config=write_overlay(project, "tiny", tiny_with(**steep)))
    assert done.status == 0, done.output
    networks = read_table(project / RESULTS / "tables/networks.csv")
    assert networks.set_index("seed")["diverged_at"].to_dict() == {0: -1, 1: 2}
    trained = read_table(project / RESULTS / "tables/trained_profile.csv").query("step == 3")
    assert np.isfinite(trained.query("seed == 0")["theta"]).all()
    assert trained.query("seed == 1")["theta"].isna().all()
    html = (project / "results/tiny/report/index.html").read_text()
    assert re.findall(r"Seed \d+ \([^<]*\) diverged[^<]*", html) == [
        "Seed 1 (width 4) diverged at step 2."
    ]

    alone = write_overlay(project, "alone", tiny_with(**steep, seeds=1))
    file = f"{RESULTS}/width~4/train/0-0.h5"
    assert snakemake(project, file, config=alone).status == 0
    together = read(project / RESULTS / "width~4/train/0-1.h5")
    for name, values in read(project / file).items():
        if not name.endswith("/step"):
            np.testing.assert_array_equal(together[name][:1], values)


def test_truncated_file_is_named(finished):
    dataset = finished / RESULTS / "all/dataset.h5"
    os.truncate(dataset, dataset.stat().st_size // 2)
    shutil.rmtree(finished / RESULTS / "width~8/initialization")
    done = snakemake(finished)
    assert_one_line(
        done,
        finished,
        "results/tiny/logs/measure_initialization/kernel_profile/width~8/0-1.log",
        f"{RESULTS}/all/dataset.h5: truncated or another file; expected a 'dataset' file",
        "`make mend`, with its SCALE, makes it anew",
    )
    assert not (finished / RESULTS / "width~8/initialization/0-1.h5").exists()


def test_file_of_another_stage_is_named(finished):
    shutil.copy(finished / RESULTS / "width~8/train/0-1.h5", finished / RESULTS / "all/dataset.h5")
    shutil.rmtree(finished / RESULTS / "width~8/initialization")
    done = snakemake(finished)
    assert_one_line(
        done,
        finished,
        "results/tiny/logs/measure_initialization/kernel_profile/width~8/0-1.log",
        f"{RESULTS}/all/dataset.h5: is a file of stage 'train'; expected stage 'dataset'",
    )


def test_results_without_write_permission_are_refused_before_any_work(project, tmp_path):
    home, results = tmp_path / "home", project / "results"
    for folder in (home, results):
        folder.mkdir()
    results.chmod(0o555)
    user = []
    if os.geteuid() == 0:  # permissions do not stop root
        for path in [home, project, *project.rglob("*")]:
            os.chown(path, 65534, 65534)
        os.chown(results, 0, 0)
        # May read everything, as Python and its packages can lie in root's home.
        reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading]
    call = [*user, sys.executable, "-m", "snakemake", "--cores", "2"]
    call += ["--configfile", "config/tiny.yaml"]
    done = execute(project, *call, env=os.environ | {"HOME": str(home)})
    assert done.status != 0
    (line,) = [line for line in done.lines if "ConfigurationError" in line]
    assert "results: 'results/tiny': no write permission on 'results'; allowed: " in line
    assert "Traceback" not in done.output
    assert not list(results.iterdir())


@pytest.fixture
def full_disk(project):
    """A disk of 1 MB at results/, with little room left."""
    results = project / "results"
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", results], check=True)
    yield results
    subprocess.run(["umount", results], check=True)


def test_full_disk_is_named(project, full_disk):
    # Two seeds of two 300 x 300 matrices in float32 are 1.4 MB.
    overlay = tiny_with(sweep={"network.width": [300]})
    config = write_overlay(project, "tiny", overlay)
    done = snakemake(project, f"{RESULTS}/width~300/train/0-1.h5", config=config)
    assert_one_line(
        done,
        project,
        "results/tiny/logs/train_ensemble/kernel_profile/width~300/0-1.log",
        f"{RESULTS}/width~300/train/0-1.h5: cannot be written: No space left on device (",
        "MB free); allowed: a disk with room for it",
    )
    assert not (project / RESULTS / "width~300/train/0-1.h5").exists()


def test_disk_too_full_for_a_log_is_named(project, full_disk):
    ballast = full_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        assert file.write(bytes(2_000_000)) < 1_100_000
    done = snakemake(project, f"{RESULTS}/all/dataset.h5")
    assert done.status != 0
    (line,) = [line for line in done.lines if "StorageError" in line]
    assert "No space left on device (0.0 MB free); allowed: a disk with room for it" in line
    assert "Traceback" not in done.output
    ballast.unlink()
    assert snakemake(project, f"{RESULTS}/all/dataset.h5").status == 0

# Binds ntkstudy.plan to this workflow: configuration, path patterns, input functions.
import itertools
import os
import sys
from functools import cache

from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/scripts")

from ntkflow.errors import ConfigurationError
from ntkstudy.data.mnist_files import FULL_SUMS
from ntkstudy.forking.installing import fork_jobs
from ntkstudy.plan import describe, loading, planning
from ntkstudy.plan.devices import limit_gpus
from ntkstudy.plan.confined import check_confined, check_writable
from ntkstudy.plan.digest import Digested, files_digest
from ntkstudy.plan.duration import limit_minutes
from ntkstudy.plan.imports import import_closure
from ntkstudy.plan.layers import source_files
from ntkstudy.plan.order import AFTER_S, TABLES_S, Order
from ntkstudy.plan.parsed import KEPT
from ntkstudy.plan.scheduling import lift_start_limit, say_cost, take_large_pages, tie_jobs
from ntkstudy.report.summary import claims_by

SCHEMA = "config/schema.yaml"
CLAIMS = "config/claims"
FIGURES = "scripts/figures"
ANIMATIONS = "scripts/animations"
# Two Snakemakes around each job that is sent to a cluster.
SUBMITTED_MB = 400


def load_plan():
    if not os.path.samefile(workflow.basedir, os.getcwd()):
        raise WorkflowError(
            f"ConfigurationError: {os.getcwd()}: is not the project's folder, where this workflow "
            f"runs; allowed: cd {workflow.basedir}, without --directory"
        )
    overlays = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
    try:
        plan = loading.load_plan(
            ["config/config.yaml", *overlays], SCHEMA, workflow.config_settings.config
        )
        check_writable(plan.results)
        check_confined(plan.results, plan.experiments)
        claims = source_files(CLAIMS, plan.sources)
        describe.check_findings(plan, claims.values())
        describe.check_picture(plan, FIGURES)
        for experiment in plan.experiments:
            for folder in (FIGURES, ANIMATIONS):
                describe.drawable_figures(plan, experiment, folder)
            for cell in plan.cells(experiment, "dataset"):
                plan.task_files(experiment, cell.label)
        return plan
    except ConfigurationError as error:
        raise WorkflowError(f"ConfigurationError: {error}") from None


take_large_pages()
PLAN = load_plan()
KEPT.use(".snakemake")
RESULTS = PLAN.results
ORDER = Order(PLAN)
limit_gpus(workflow)


wildcard_constraints:
    experiment="[a-z][a-z0-9_]*",
    cell="all|[^/~]+~[^/~]+(/[^/~]+~[^/~]+)*",
    block="[0-9]+-[0-9]+",
    row="[0-9]+",
    column="[0-9]+",
    idx="[a-z0-9]+-(images-idx3|labels-idx1)-ubyte",
    kind="[a-z]+",
    summary="[a-z]+",
    figure="[a-z][a-z0-9_]*",
    animation="[a-z][a-z0-9_]*",


@cache
def code_of(*scripts, files=()):
    """Checksum of scripts and of every library file that they import.

    A value of `params`, so that an edit re-runs what it touches. As inputs, a hundred files a job,
    they were most of the time and memory of a plan.
    """
    closures = (import_closure(f"scripts/{script}.py") for script in scripts)
    return files_digest({*files, *itertools.chain(*closures)})


def job_code(script, stage):
    """The same with modules of the measurements, network or task that a job names."""
    return lambda wildcards: code_of(
        script, files=tuple(PLAN.code(stage, wildcards.experiment, wildcards.cell))
    )


def block_of(wildcards):
    """The seeds or the tile that a job works on, None for a job of a whole cell."""
    if "row" in wildcards.keys():
        return f"{wildcards.row}-{wildcards.column}"
    return wildcards.get("block")


def job_config(stage):
    """What a job may know, as one value of `params`."""
    return lambda wildcards: Digested(
        PLAN.job_config(stage, wildcards.experiment, wildcards.cell, block_of(wildcards))
    )


def experiment_config(function):
    """What a job on a whole experiment may know, by the plan's function of its name."""
    return lambda wildcards: Digested(function(wildcards.experiment))


def upstream(stage, earlier):
    """The one file of an earlier stage that a job reads."""
    return lambda wildcards: PLAN.upstream_file(
        stage, earlier, wildcards.experiment, wildcards.cell
    )


def memory(stage, least=0):
    """Memory estimate of a job in MB, or at least so much; twice of it in a second attempt."""

    def estimate(wildcards, attempt):
        block = block_of(wildcards) or ""
        needed = PLAN.memory_mb(stage, wildcards.experiment, wildcards.cell, block)
        return attempt * (max(least, needed) + (0 if workflow.local_exec else SUBMITTED_MB))

    return estimate


def place(stage):
    """Priority of a job: the seconds from its start to the end of all that follows."""
    if not workflow.is_main_process:  # but one for a job on a cluster, which reads no records
        return 0
    return lambda wildcards: ORDER.way(
        stage, wildcards.experiment, wildcards.cell, block_of(wildcards) or ""
    )


def minutes(stage, otherwise):
    """Time that a job may take, in minutes; twice of it in a second attempt."""

    def limit(wildcards, attempt):
        block = block_of(wildcards) or ""
        estimate = PLAN.seconds(stage, wildcards.experiment, wildcards.cell, block)
        return attempt * limit_minutes(estimate, otherwise)

    return limit


def short_jobs(stage):
    """Group of a job that is too short to be sent to a cluster alone, None for others.

    What is measured on networks that are trained in a group belongs to that.
    """

    def group(wildcards):
        if workflow.local_exec:
            return None
        job = (wildcards.experiment, wildcards.cell, block_of(wildcards) or "")
        if not PLAN.is_short(stage, *job):
            return None
        follows = stage in ("ntk", "machines") and PLAN.is_short("train", *job)
        return "train" if follows else stage

    return group


def kernel_tiles(stage):
    """All tiles of the kernel that a job assembles, or reads by way of the assembled file."""
    return lambda wildcards: PLAN.kernel_tiles(stage, wildcards.experiment, wildcards.cell)


def tile_benchmarks(wildcards):
    """Records of how long the jobs of tiles took."""
    return PLAN.benchmark_files("tile", wildcards.experiment)


def made_of(derived):
    """What a table made of tables waits for; wildcards in its name are replaced."""
    return lambda wildcards: PLAN.table_sources(
        wildcards.experiment, sorted(planning.DERIVED[derived.format(**wildcards)])
    )


def experiment_tables(experiment):
    return PLAN.table_sources(experiment, PLAN.table_names(experiment))


def experiment_figures(experiment):
    figures = describe.drawable_figures(PLAN, experiment, FIGURES)
    return [PLAN.figure_file(experiment, figure) for figure in figures]


def drawn_tables(wildcards):
    """What a figure or an animation waits for: the tables that its script reads."""
    tables = sorted(describe.needed_tables(drawn_script(wildcards)))
    return PLAN.table_sources(wildcards.experiment, tables)


def experiment_animations(experiment):
    names = describe.drawable_figures(PLAN, experiment, ANIMATIONS)
    return [PLAN.animation_file(experiment, animation) for animation in names]


def experiment_products(experiment):
    drawn = experiment_figures(experiment) + experiment_animations(experiment)
    return experiment_tables(experiment) + drawn


def experiment_tiles(experiment):
    """The tiles of an experiment's kernels, so that one which was lost is a reason for a run."""
    return PLAN.stage_files("tile", experiment) if PLAN.has_stage(experiment, "tile") else []


def network_tables(experiment):
    """The table that says which networks diverged."""
    return PLAN.table_sources(experiment, {"networks"} & PLAN.tables(experiment).keys())


def drawn_script(wildcards):
    """The script of a figure or an animation; its docstring is the caption."""
    figure = wildcards.get("figure")
    return f"{FIGURES}/{figure}.py" if figure else f"{ANIMATIONS}/{wildcards.animation}.py"


def drawn_caption(wildcards):
    return describe.caption(drawn_script(wildcards), PLAN.block(wildcards.experiment))


def in_report(pattern, caption, labels):
    """An output that Snakemake's own report shows, filed by source and experiment."""
    return report(
        f"{RESULTS}/{{experiment}}/{pattern}",
        caption=f"../report/captions/{caption}.rst",
        category=lambda wildcards: PLAN.block(wildcards.experiment)["source"],
        subcategory=lambda wildcards: PLAN.block(wildcards.experiment)["title"],
        labels=labels,
    )


def labels_of(wildcards, **what):
    """Columns of a figure or a table there: the claims by it, as they came out."""
    found = claims_by(f"{RESULTS}/claims.json", wildcards.experiment, **what)
    return {"experiment": wildcards.experiment, **what, "claims": found}


def drawn_file(pattern):
    """The file of a figure or an animation."""

    def labels(wildcards):
        name = wildcards.get("figure") or wildcards.animation
        return labels_of(wildcards, figure=name)

    return in_report(pattern, "figure", labels)


def derived_table(pattern):
    """The file of a table made of tables.

    Tables of measurements, a hundred megabytes and more, lie beside it; the report links them.
    """

    def labels(wildcards):
        return labels_of(wildcards, table=pattern.format(**wildcards))

    return in_report(f"derived/{pattern}.csv", "table", labels)


def report_config():
    """What the report may know of the configuration, its overlays and what they change."""
    overlays = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
    defaults = loading.read_defaults("config/config.yaml", PLAN.schema)
    known = dict(overlays=overlays, defaults=defaults)
    only = describe.usual_only(**known)
    return Digested(describe.report_config(PLAN, FIGURES, ANIMATIONS, plain_only=only, **known))


def all_products(kind):
    return [file for name in PLAN.experiments for file in kind(name)]

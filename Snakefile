# ntkflow: from a configuration of experiments to one report. Table of contents.
from snakemake.utils import min_version

min_version("9.0")


# Before Snakemake reads the configuration: this says in which line a mistake is.
include: "rules/common.smk"


configfile: "config/config.yaml"


include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/kernels.smk"
include: "rules/limits.smk"
include: "rules/tiles.smk"
include: "rules/tables.smk"
include: "rules/theory.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


localrules:
    all,
    experiments,


onstart:
    lift_start_limit(workflow)
    tie_jobs(workflow)
    fork_jobs(workflow)
    say_cost(workflow, PLAN)


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
        all_products(experiment_tiles),


# Tables and figures without claims and report: `experiments --config only=[kernel_profile]`.
rule experiments:
    input:
        all_products(experiment_products),
        all_products(experiment_tiles),

# ntkflow: from a configuration of experiments to one report. Table of contents.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/kernels.smk"
include: "rules/limits.smk"
include: "rules/tables.smk"
include: "rules/theory.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


localrules:
    all,
    experiments,


# Snakemake's limit of jobs per timespan re-reads every ready job each second, once more for each
# job that has finished: 40 % of a core after 300 jobs (9.27.1). On one machine the cores limit what
# starts, so there is none; a cluster keeps it.
onstart:
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",


# Tables and figures without claims and report: `experiments --config only=[kernel_profile]`.
rule experiments:
    input:
        all_products(experiment_products),

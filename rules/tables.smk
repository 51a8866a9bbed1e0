# One job collects all tables of an experiment: starting a process takes longer than a table. Which
# tables there are depends on the experiment; contents.json lists them and stands for the folder.
rule aggregate_experiment:
    input:
        unpack(lambda wildcards: PLAN.table_inputs(wildcards.experiment)),
    output:
        folder=directory(f"{RESULTS}/{{experiment}}/tables"),
        contents=f"{RESULTS}/{{experiment}}/tables/contents.json",
    log:
        f"{RESULTS}/logs/aggregate_experiment/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/aggregate_experiment/{{experiment}}.tsv"
    priority: TABLES_S
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.tables_config),
        code=code_of("aggregate_experiment"),
    message:
        "Collecting the tables of {wildcards.experiment}"
    script:
        "../scripts/aggregate_experiment.py"


rule compare_with_prediction:
    input:
        tables=lambda wildcards: PLAN.table_sources(
            wildcards.experiment, [f"trained_{wildcards.kind}", f"prediction_{wildcards.kind}"]
        ),
    output:
        table=derived_table("{kind}_comparison"),
    log:
        f"{RESULTS}/logs/compare_with_prediction/{{experiment}}/{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_with_prediction/{{experiment}}/{{kind}}.tsv"
    priority: AFTER_S["derived"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=lambda wildcards: {"kind": wildcards.kind},
        code=code_of("compare_with_prediction"),
    message:
        "Comparing {wildcards.experiment} with its prediction: {wildcards.kind}"
    script:
        "../scripts/compare_with_prediction.py"


rule measure_learning_times:
    input:
        tables=made_of("learning_times"),
    output:
        table=derived_table("learning_times"),
    log:
        f"{RESULTS}/logs/measure_learning_times/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_learning_times/{{experiment}}.tsv"
    priority: AFTER_S["derived"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.rates_config),
        code=code_of("measure_learning_times"),
    message:
        "Timing the modes of {wildcards.experiment}"
    script:
        "../scripts/measure_learning_times.py"


rule summarise_evolution:
    input:
        tables=made_of("evolution"),
    output:
        table=derived_table("evolution"),
    log:
        f"{RESULTS}/logs/summarise_evolution/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_evolution/{{experiment}}.tsv"
    priority: AFTER_S["derived"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg={},
        code=code_of("summarise_evolution"),
    message:
        "Summarising the training of {wildcards.experiment}"
    script:
        "../scripts/summarise_evolution.py"

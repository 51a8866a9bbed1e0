# One job collects all tables of an experiment: starting a process takes longer than a table.
for name in PLAN.experiments:

    rule:
        name:
            f"aggregate_experiment_{name}"
        input:
            **PLAN.table_inputs(name),
            code=code_of("aggregate_experiment"),
        output:
            tables=[PLAN.table_file(name, table) for table in PLAN.tables(name)],
        log:
            f"{RESULTS}/logs/aggregate_experiment/{name}.log",
        benchmark:
            f"{RESULTS}/benchmarks/aggregate_experiment/{name}.tsv"
        localrule: True
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=1000,
            runtime=20,
        params:
            cfg=PLAN.tables_config(name),
        message:
            f"Collecting the tables of {name}"
        script:
            "../scripts/aggregate_experiment.py"


rule compare_with_prediction:
    input:
        trained=f"{RESULTS}/{{experiment}}/tables/trained_{{kind}}.csv",
        predicted=f"{RESULTS}/{{experiment}}/tables/prediction_{{kind}}.csv",
        code=code_of("compare_with_prediction"),
    output:
        table=f"{RESULTS}/{{experiment}}/tables/{{kind}}_comparison.csv",
    log:
        f"{RESULTS}/logs/compare_with_prediction/{{experiment}}/{{kind}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_with_prediction/{{experiment}}/{{kind}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=lambda wildcards: {"kind": wildcards.kind},
    message:
        "Comparing {wildcards.experiment} with its prediction: {wildcards.kind}"
    script:
        "../scripts/compare_with_prediction.py"


rule measure_learning_times:
    input:
        modes=f"{RESULTS}/{{experiment}}/tables/training_modes.csv",
        spectrum=f"{RESULTS}/{{experiment}}/tables/limit_circle_spectrum.csv",
        code=code_of("measure_learning_times"),
    output:
        table=f"{RESULTS}/{{experiment}}/tables/learning_times.csv",
    log:
        f"{RESULTS}/logs/measure_learning_times/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_learning_times/{{experiment}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=lambda wildcards: PLAN.rates_config(wildcards.experiment),
    message:
        "Timing the modes of {wildcards.experiment}"
    script:
        "../scripts/measure_learning_times.py"


rule summarise_evolution:
    input:
        gram=f"{RESULTS}/{{experiment}}/tables/training_gram.csv",
        classification=f"{RESULTS}/{{experiment}}/tables/training_classification.csv",
        code=code_of("summarise_evolution"),
    output:
        table=f"{RESULTS}/{{experiment}}/tables/evolution.csv",
    log:
        f"{RESULTS}/logs/summarise_evolution/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_evolution/{{experiment}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg={},
    message:
        "Summarising the training of {wildcards.experiment}"
    script:
        "../scripts/summarise_evolution.py"

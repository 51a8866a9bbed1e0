rule aggregate_table:
    input:
        files=table_inputs,
        code=code_of("aggregate_table"),
    output:
        table=f"{RESULTS}/{{experiment}}/tables/{{table}}.csv",
    log:
        f"{RESULTS}/logs/aggregate_table/{{experiment}}/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/aggregate_table/{{experiment}}/{{table}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=lambda wildcards: PLAN.table_config(wildcards.experiment, wildcards.table),
    message:
        "Collecting table {wildcards.table} of {wildcards.experiment}"
    script:
        "../scripts/aggregate_table.py"

rule check_theory:
    input:
        dataset=upstream("theory", "dataset"),
    output:
        checks=f"{RESULTS}/{{experiment}}/{{cell}}/theory.h5",
    log:
        f"{RESULTS}/logs/check_theory/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_theory/{{experiment}}/{{cell}}.tsv"
    priority: place("theory")
    group:
        short_jobs("theory")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("theory", least=4000),
        runtime=minutes("theory", 120),
        gpu=1,
    params:
        cfg=job_config("theory"),
        code=job_code("check_theory", "theory"),
    message:
        "Checking the theory of {wildcards.experiment}, {wildcards.cell}"
    script:
        "../scripts/check_theory.py"


rule summarise_training:
    input:
        tables=made_of("{summary}_summary"),
    output:
        table=derived_table("{summary}_summary"),
    log:
        f"{RESULTS}/logs/summarise_training/{{experiment}}/{{summary}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_training/{{experiment}}/{{summary}}.tsv"
    priority: AFTER_S["derived"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.rates_config),
        code=code_of("summarise_training"),
    message:
        "Summarising the training of {wildcards.experiment}: {wildcards.summary}"
    script:
        "../scripts/summarise_training.py"

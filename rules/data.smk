rule make_dataset:
    input:
        code=code_of("make_dataset"),
    output:
        dataset=f"{RESULTS}/{{experiment}}/{{cell}}/dataset.h5",
    log:
        f"{RESULTS}/logs/make_dataset/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_dataset/{{experiment}}/{{cell}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        cfg=job_config("dataset"),
    message:
        "Drawing the data of {wildcards.experiment}"
    script:
        "../scripts/make_dataset.py"

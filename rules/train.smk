rule train_ensemble:
    input:
        dataset=upstream("train", "dataset"),
    output:
        networks=f"{RESULTS}/{{experiment}}/{{cell}}/train/{{block}}.h5",
    log:
        f"{RESULTS}/logs/train_ensemble/{{experiment}}/{{cell}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_ensemble/{{experiment}}/{{cell}}/{{block}}.tsv"
    priority: place("train")
    group:
        short_jobs("train")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("train"),
        runtime=minutes("train", 240),
        gpu=1,
    params:
        cfg=job_config("train"),
        code=job_code("train_ensemble", "train"),
    message:
        "Training {wildcards.experiment}, {wildcards.cell}, seeds {wildcards.block}"
    script:
        "../scripts/train_ensemble.py"


rule measure_initialization:
    input:
        dataset=upstream("initialization", "dataset"),
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/initialization/{{block}}.h5",
    log:
        f"{RESULTS}/logs/measure_initialization/{{experiment}}/{{cell}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_initialization/{{experiment}}/{{cell}}/{{block}}.tsv"
    priority: place("initialization")
    group:
        short_jobs("initialization")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("initialization"),
        runtime=minutes("initialization", 240),
        gpu=1,
    params:
        cfg=job_config("initialization"),
        code=job_code("measure_initialization", "initialization"),
    message:
        "Measuring {wildcards.experiment} at initialisation, {wildcards.cell}, seeds {wildcards.block}"
    script:
        "../scripts/measure_initialization.py"

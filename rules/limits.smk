rule compute_limit_kernel:
    input:
        dataset=upstream("limit", "dataset"),
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/limit.h5",
    log:
        f"{RESULTS}/logs/compute_limit_kernel/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_limit_kernel/{{experiment}}/{{cell}}.tsv"
    priority: place("limit")
    group:
        short_jobs("limit")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("limit"),
        runtime=minutes("limit", 60),
        gpu=1,
    params:
        cfg=job_config("limit"),
        code=job_code("compute_limit_kernel", "limit"),
    message:
        "Computing the limit kernel of {wildcards.experiment}"
    script:
        "../scripts/compute_limit_kernel.py"


rule predict_limit:
    input:
        dataset=upstream("prediction", "dataset"),
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/prediction.h5",
    log:
        f"{RESULTS}/logs/predict_limit/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict_limit/{{experiment}}/{{cell}}.tsv"
    priority: place("prediction")
    group:
        short_jobs("prediction")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("prediction"),
        runtime=minutes("prediction", 60),
        gpu=1,
    params:
        cfg=job_config("prediction"),
        code=job_code("predict_limit", "prediction"),
    message:
        "Predicting the training of {wildcards.experiment} at infinite width, {wildcards.cell}"
    script:
        "../scripts/predict_limit.py"

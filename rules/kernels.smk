rule extract_ntk:
    input:
        dataset=upstream("ntk", "dataset"),
        networks=f"{RESULTS}/{{experiment}}/{{cell}}/train/{{block}}.h5",
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/ntk/{{block}}.h5",
    log:
        f"{RESULTS}/logs/extract_ntk/{{experiment}}/{{cell}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_ntk/{{experiment}}/{{cell}}/{{block}}.tsv"
    priority: place("ntk")
    group:
        short_jobs("ntk")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("ntk"),
        runtime=minutes("ntk", 120),
        gpu=1,
    params:
        cfg=job_config("ntk"),
        code=job_code("extract_ntk", "ntk"),
    message:
        "Extracting kernels of {wildcards.experiment}, {wildcards.cell}, seeds {wildcards.block}"
    script:
        "../scripts/extract_ntk.py"


rule fit_kernel_machines:
    input:
        dataset=upstream("machines", "dataset"),
        networks=f"{RESULTS}/{{experiment}}/{{cell}}/train/{{block}}.h5",
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/machines/{{block}}.h5",
    log:
        f"{RESULTS}/logs/fit_kernel_machines/{{experiment}}/{{cell}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_kernel_machines/{{experiment}}/{{cell}}/{{block}}.tsv"
    priority: place("machines")
    group:
        short_jobs("machines")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("machines"),
        runtime=minutes("machines", 240),
        gpu=1,
    params:
        cfg=job_config("machines"),
        code=job_code("fit_kernel_machines", "machines"),
    message:
        "Fitting kernel machines of {wildcards.experiment}, {wildcards.cell}, seeds {wildcards.block}"
    script:
        "../scripts/fit_kernel_machines.py"

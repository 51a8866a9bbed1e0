# The only rule that uses the network, where a task says `source: download`.
rule download_mnist:
    input:
        checksums=FULL_SUMS,
    output:
        file=f"{RESULTS}/downloads/mnist/{{idx}}.gz",
    log:
        f"{RESULTS}/logs/download_mnist/{{idx}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/download_mnist/{{idx}}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=500,
        runtime=60,
    params:
        cfg=lambda wildcards: {"mirrors": PLAN.config["mnist_mirrors"]},
        code=code_of("download_mnist"),
    message:
        "Downloading MNIST, {wildcards.idx}"
    script:
        "../scripts/download_mnist.py"


rule make_dataset:
    input:
        files=lambda wildcards: PLAN.task_files(wildcards.experiment, wildcards.cell),
    output:
        dataset=f"{RESULTS}/{{experiment}}/{{cell}}/dataset.h5",
    log:
        f"{RESULTS}/logs/make_dataset/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_dataset/{{experiment}}/{{cell}}.tsv"
    priority: place("dataset")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        cfg=job_config("dataset"),
        code=job_code("make_dataset", "dataset"),
    message:
        "Drawing the data of {wildcards.experiment}"
    script:
        "../scripts/make_dataset.py"

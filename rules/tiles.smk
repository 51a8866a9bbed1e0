# A kernel too large for one job: a job for every tile on and above the diagonal, side by side on a
# cluster, then one file that shows them as one kernel. A tile that was lost is made again, alone.
rule compute_kernel_tile:
    input:
        dataset=upstream("tile", "dataset"),
    output:
        tile=f"{RESULTS}/{{experiment}}/{{cell}}/tile/{{row}}-{{column}}.h5",
    log:
        f"{RESULTS}/logs/compute_kernel_tile/{{experiment}}/{{cell}}/{{row}}-{{column}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_kernel_tile/{{experiment}}/{{cell}}/{{row}}-{{column}}.tsv"
    priority: place("tile")
    group:
        short_jobs("tile")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("tile"),
        runtime=minutes("tile", 60),
        gpu=1,
    params:
        cfg=job_config("tile"),
        code=job_code("compute_kernel_tile", "tile"),
    message:
        "Computing a tile of the kernel of {wildcards.experiment}, {wildcards.cell}: row {wildcards.row}, column {wildcards.column}"
    script:
        "../scripts/compute_kernel_tile.py"


rule assemble_kernel:
    input:
        tiles=kernel_tiles("kernel"),
    output:
        kernel=f"{RESULTS}/{{experiment}}/{{cell}}/kernel.h5",
    log:
        f"{RESULTS}/logs/assemble_kernel/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/assemble_kernel/{{experiment}}/{{cell}}.tsv"
    priority: place("kernel")
    localrule: True
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg={},
        code=code_of("assemble_kernel"),
    message:
        "Assembling the kernel of {wildcards.experiment}, {wildcards.cell}"
    script:
        "../scripts/assemble_kernel.py"


# The assembled file holds no numbers: whoever reads it reads the tiles.
rule measure_assembled_kernel:
    input:
        dataset=upstream("assembled", "dataset"),
        kernel=upstream("assembled", "kernel"),
        tiles=kernel_tiles("assembled"),
    output:
        measurements=f"{RESULTS}/{{experiment}}/{{cell}}/assembled.h5",
    log:
        f"{RESULTS}/logs/measure_assembled_kernel/{{experiment}}/{{cell}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_assembled_kernel/{{experiment}}/{{cell}}.tsv"
    priority: place("assembled")
    group:
        short_jobs("assembled")
    conda:
        "../envs/torch.yaml"
    threads: PLAN.threads
    resources:
        mem_mb=memory("assembled"),
        runtime=minutes("assembled", 120),
        gpu=1,
    params:
        cfg=job_config("assembled"),
        code=job_code("measure_assembled_kernel", "assembled"),
    message:
        "Regression with the assembled kernel of {wildcards.experiment}, {wildcards.cell}"
    script:
        "../scripts/measure_assembled_kernel.py"


rule project_tile_costs:
    input:
        tables=made_of("tile_costs"),
        benchmarks=tile_benchmarks,
    output:
        table=derived_table("tile_costs"),
    log:
        f"{RESULTS}/logs/project_tile_costs/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/project_tile_costs/{{experiment}}.tsv"
    priority: AFTER_S["derived"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.costs_config),
        code=code_of("project_tile_costs"),
    message:
        "Projecting the cost of the tiles of {wildcards.experiment}"
    script:
        "../scripts/project_tile_costs.py"

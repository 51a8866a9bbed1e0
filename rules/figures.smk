rule draw_figure:
    input:
        tables=drawn_tables,
    output:
        svg=report(
            f"{RESULTS}/{{experiment}}/figures/{{figure}}.svg",
            caption="../report/captions/figure.rst",
            category=lambda wildcards: PLAN.block(wildcards.experiment)["source"],
            subcategory=lambda wildcards: PLAN.block(wildcards.experiment)["title"],
            labels=figure_labels,
        ),
        png=f"{RESULTS}/{{experiment}}/figures/{{figure}}.png",
    log:
        f"{RESULTS}/logs/draw_figure/{{experiment}}/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{experiment}}/{{figure}}.tsv"
    priority: AFTER_S["draw_figure"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.figure_config),
        note=lambda wildcards: figure_caption(wildcards.experiment, wildcards.figure),
        code=lambda wildcards: code_of("draw_figure", f"figures/{wildcards.figure}"),
    message:
        "Drawing {wildcards.figure} of {wildcards.experiment}"
    script:
        "../scripts/draw_figure.py"


rule draw_animation:
    input:
        tables=drawn_tables,
    output:
        webp=f"{RESULTS}/{{experiment}}/animations/{{animation}}.webp",
        frames=f"{RESULTS}/{{experiment}}/animations/{{animation}}.json",
    log:
        f"{RESULTS}/logs/draw_animation/{{experiment}}/{{animation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_animation/{{experiment}}/{{animation}}.tsv"
    priority: AFTER_S["draw_animation"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=experiment_config(PLAN.figure_config),
        code=lambda wildcards: code_of("draw_animation", f"animations/{wildcards.animation}"),
    message:
        "Animating {wildcards.animation} of {wildcards.experiment}"
    script:
        "../scripts/draw_animation.py"

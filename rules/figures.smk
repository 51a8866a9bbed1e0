rule draw_figure:
    input:
        tables=drawn_tables,
    output:
        svg=drawn_file("figures/{figure}.svg"),
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
        note=drawn_caption,
        code=lambda wildcards: code_of("draw_figure", f"figures/{wildcards.figure}"),
    message:
        "Drawing {wildcards.figure} of {wildcards.experiment}"
    script:
        "../scripts/draw_figure.py"


rule draw_animation:
    input:
        tables=drawn_tables,
    output:
        webp=drawn_file("animations/{animation}.webp"),
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
        note=drawn_caption,
        code=lambda wildcards: code_of("draw_animation", f"animations/{wildcards.animation}"),
    message:
        "Animating {wildcards.animation} of {wildcards.experiment}"
    script:
        "../scripts/draw_animation.py"

from glob import glob


rule render_report:
    input:
        claims=f"{RESULTS}/claims.json",
        figures=all_products(experiment_figures),
        animations=all_products(experiment_animations),
        template=sorted(glob("report/template/*.*")),
        tables=all_products(network_tables),
        mutations="resources/mutations/measured.json",
    output:
        html=f"{RESULTS}/report/index.html",
    log:
        f"{RESULTS}/logs/render_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_report.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        cfg=lambda wildcards: report_config(),
        code=code_of("render_report"),
    message:
        "Writing the report"
    script:
        "../scripts/render_report.py"

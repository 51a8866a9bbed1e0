rule judge_claims:
    input:
        tables=all_products(experiment_tables),
        claims=list(source_files(CLAIMS, PLAN.sources).values()),
        schema="config/claims_schema.yaml",
        judged_schema="config/judged_schema.json",
    output:
        claims=f"{RESULTS}/claims.json",
        table=report(
            f"{RESULTS}/claims.csv",
            caption="../report/captions/claims.rst",
            category="claims",
            labels={"content": "every claim, its numbers and what is allowed"},
        ),
        schema=f"{RESULTS}/claims.schema.json",
    log:
        f"{RESULTS}/logs/judge_claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge_claims.tsv"
    priority: AFTER_S["judge_claims"]
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        cfg=lambda wildcards: Digested(
            experiments=sorted(PLAN.config["experiments"]),
            extensions=PLAN.config["extensions"],
        ),
        code=code_of("judge_claims", files=tuple(PLAN.extension_code())),
    message:
        "Judging the claims"
    script:
        "../scripts/judge_claims.py"

"""A realistic model of a report, small enough for tests."""

import io

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from ntkstudy.report.diagram import draw_rules

INK = "#1a2b3c"

STYLE = {
    "svg.fonttype": "path",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 10,
}


def draw_figure(kind: str) -> str:
    """Return a real matplotlib figure as SVG text."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
        if kind == "profiles":
            angles = [i / 30 - 3.1416 for i in range(189)]
            for width, colour in zip(
                (100, 500, 2048), ("#d55e00", "#0072b2", "#009e73"), strict=True
            ):
                ys = [0.28 * (1 - abs(a) / 4) + (a * 7 % 1) / width for a in angles]
                axes.plot(angles, ys, color=colour, lw=1, label=f"width {width}")
            axes.set(xlabel="angle γ", ylabel="Θ(x₀, x(γ))")
        else:
            axes.loglog([100, 500, 2048], [0.04, 0.018, 0.0089], "o-", color="#0072b2", label="std")
            axes.set(xlabel="width", ylabel="spread over seeds")
        axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
        plt.close(figure)
    return buffer.getvalue()


def criterion(role="observation", **changes) -> dict:
    return {
        "role": role,
        "kind": "slope",
        "description": "slope of log std of Θ(x₀, x₀) against log width",
        "value": -0.5123,
        "low": -0.561,
        "high": -0.463,
        "allowed": "−0.5 ± 0.15",
        "n": 100,
        "counts": "networks",
        "level": 0.95,
        "method": "Student's t",
        "table": "profile",
        "sha256": "92" * 32,
        "unit": "1",
        "intervals": 1,
        "status": "holds",
        "note": "",
        "control": {"change": "axis reversed", "status": "fails", "outcome": "caught", "note": ""},
    } | changes


FAILS = {
    "outcome": "fails its control, as it should",
    "status": "fails",
    "reason": "",
    "defect": False,
}
NOT_JUDGED = {"outcome": "not judged", "status": None, "reason": "", "defect": False}
IDENTITY = {"outcome": "cannot fail", "status": "holds", "reason": "an identity", "defect": False}


def claim(id: str, experiment: str, verdict: str, **changes) -> dict:
    return {
        "id": id,
        "source": id.split(".")[0],
        "counts_as": "source",
        "section": "2.1",
        "experiment": experiment,
        "statement": f"The statement of {id}, in one sentence of ordinary length",
        "published": "about 0.2825 at the peak",
        "read_in": ["figure"],
        "scale": [],
        "deviations": [],
        "verdict": verdict,
        "reason": "",
        "decides": "",
        "flags": [],
        "control": NOT_JUDGED if verdict == "not run" else FAILS,
        "criteria": [criterion()],
        "horizon": None,
        "explanation": "Wider averages fluctuate less.\n\nSo the spread falls like `n**-0.5`.",
        "explanation_note": "",
        "history": [],
        "figures": [],
    } | changes


def experiment(name: str, title: str, **changes) -> dict:
    return {
        "name": name,
        "title": title,
        "source": "exp001",
        "question": "Does the empirical kernel concentrate on its limit as the network gets wider?",
        "explanation": "At infinite width the kernel is deterministic and constant in time.",
        "status": "run",
        "status_reason": "",
        "protocol": [["widths", "100, 500, 2048"], ["learning rate", "1.0"], ["steps", "200"]],
        "defaults": [["activation", "relu"]],
        "figures": [],
        "tables": {},
        "notes": ["seed 3 diverged at step 12 (width 2048)"],
        "seconds": 187.2,
    } | changes


def figure(name: str, caption: str, **changes) -> dict:
    return {
        "name": name,
        "svg": draw_figure(name),
        "caption": caption,
        "alt": f"Plot of {name}",
        "animation": None,
    } | changes


PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def times(name: str, seconds: float) -> dict:
    numbers = {"seconds": seconds, "cpu_seconds": 0.9 * seconds, "max_rss_mb": 812.4}
    return {"name": name, "jobs": 3, **numbers}


PROVENANCE = {
    "versions": {"ntkflow": "0.1.0", "torch": "2.13.0", "numpy": "2.3.1", "snakemake": "9.27.1"},
    "revision": "828b838 (clean)",
    "machine": {"System": "Linux, x86_64", "Processor": "A processor", "Cores": "2 of 4"},
    "config": "experiments:\n  kernel_profile:\n    network: {depth: 3, width: 2048}\n",
    "overlays": ["config/quick.yaml"],
    "only": ["kernel_profile"],
    "restricted": True,
    "partial": False,
    "changes": [["kernel_profile", "seeds", "10", "8"]],
    "seeds": "0 to 9",
    "rules": [times("train_ensemble", 151.3), times("draw_figure", 4.1)],
    "parts": [times("kernel_profile", 155.4)],
    "diagram": draw_rules(
        {"train_ensemble": "3 jobs, 2 min 31 s", "draw_figure": "3 jobs, 4.1 s"},
        [("train_ensemble", "draw_figure")],
        label="2 rules",
    ),
    "total_seconds": 164.8,
    "cpu_seconds": 140.0,
}


MUTATIONS = {
    "digest": "0f" * 32,
    "current": True,
    "mistakes": [
        {
            "name": "half",
            "mistake": "Half the steps",
            "caught": True,
            "claims": [
                {
                    "id": "exp001.simple-flat",
                    "clean": "contradicted",
                    "mutated": "inconclusive",
                }
            ],
        }
    ],
}


def build_model() -> dict:
    """Return a model with every verdict, two figures, an animation and every missing piece."""
    return {
        "title": "Neural tangent kernels, remeasured",
        "question": "Which claims of three documents come back over many seeds?",
        "findings": ["exp001.profile-concentrates", "exp001.profile-inflation", "lazy-blog.kappa"],
        "picture": ["kernel_profile", "profiles"],
        "scale": "default",
        "results": "results/default",
        "sources": {
            "exp001": {"title": "Finite-width MLPs", "description": "experiment log on the circle"},
            "lazy-blog": {"title": "Understanding the NTK", "description": "blog post on laziness"},
            "slides": {"title": "Convergence & generalization", "description": ""},
        },
        "claims": [
            claim(
                "exp001.profile-concentrates",
                "kernel_profile",
                "reproduced",
                figures=["profiles", "spread"],
                scale=[{"axis": "width", "source": 2048, "here": 500.0, "ratio": 0.244}],
                deviations=["one hidden layer less"],
            ),
            claim(
                "exp001.profile-inflation",
                "kernel_profile",
                "corrected",
                criteria=[
                    criterion(),
                    criterion("explanation", status="fails"),
                    criterion("correction", value=1.234e-7, low=1.1e-7, high=1.4e-7),
                ],
            ),
            claim(
                "exp001.simple-flat",
                "simple_task",
                "contradicted",
                criteria=[criterion(status="fails")],
            ),
            claim(
                "exp001.script",
                "simple_task",
                "reproduced",
                statement="<script>alert(1)</script> is text",
            ),
            claim(
                "lazy-blog.alpha",
                "alpha_sweep",
                "inconclusive",
                decides="About 40 networks in place of 10 would decide",
                criteria=[criterion(status="straddles")],
            ),
            claim(
                "lazy-blog.kappa",
                "alpha_sweep",
                "not run",
                reason="needs width 10000, which the default scale does not run",
                criteria=[
                    criterion(
                        value=None, low=None, high=None, n=None, status="absent", control=None
                    )
                ],
            ),
            claim(
                "lazy-blog.reduced",
                "alpha_sweep",
                "indicated",
                reason="in a reduced form all criteria hold; the full one needs 10 seeds",
            ),
            claim(
                "lazy-blog.refuted",
                "alpha_sweep",
                "not indicated",
                reason="in a reduced form the observation does not appear",
            ),
            claim(
                "slides.exact",
                "alpha_sweep",
                "reproduced",
                flags=["trivial by a null model"],
                counts_as="trivial",
                control=IDENTITY,
                section="",
            ),
            claim(
                "slides.bare",
                "absent_experiment",
                "not run",
                criteria=[],
                explanation="",
                published="",
            ),
        ],
        "families": [
            {
                "experiment": "kernel_profile",
                "table": "profile",
                "claims": ["exp001.profile-concentrates", "exp001.profile-inflation"],
                "intervals": 4,
                "by_chance": 0.2,
            }
        ],
        "experiments": [
            experiment(
                "kernel_profile",
                "Kernel profile on the circle",
                tables={
                    "profile": {
                        "href": "../kernel_profile/tables/profile.csv",
                        "rule": "aggregate_experiment",
                        "logs": "../logs/aggregate_experiment",
                        "command": "snakemake --force results/default/kernel_profile/tables",
                    }
                },
                figures=[
                    figure("profiles", "Kernel profiles of all seeds at three widths."),
                    figure(
                        "spread",
                        "Spread over seeds at γ = 0.",
                        animation={"src": PIXEL, "still": PIXEL, "frames": [PIXEL, PIXEL]},
                    ),
                ],
            ),
            experiment(
                "simple_task",
                "A simple task",
                protocol=[],
                defaults=[],
                notes=[],
                explanation="",
                seconds=None,
            ),
            experiment(
                "alpha_sweep",
                "Output scale",
                source="lazy-blog",
                status="not run",
                status_reason="enabled: false",
                figures=[
                    figure("film", "Only film.", svg="", animation={"src": PIXEL, "still": PIXEL})
                ],
            ),
        ],
        "mutations": MUTATIONS,
        "provenance": PROVENANCE,
    }

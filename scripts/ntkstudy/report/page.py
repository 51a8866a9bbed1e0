"""The HTML report: one self-contained page from a model of plain JSON types (see `render`).

Neither torch nor the workflow is needed here.
"""

import re
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..numbers import ABSENT, Number, format_interval, format_number
from .vector_graphics import embed_svg

VERDICTS = (
    *("reproduced", "corrected", "contradicted", "inconclusive"),
    *("indicated", "not indicated", "not run"),
)

# How claims are counted: key in the model, words for the report.
COUNTS = {
    "source": "of the sources",
    "ours": "of our own",
    "trivial": "trivial or definitional",
}


def render(model: dict, template_dir: Path) -> str:
    """Return the report as one HTML document that loads nothing from outside.

    Args:
        model: Plain JSON types: `title`, `subtitle`, `scale`, `results`, `sources` (name ->
            `title`, `description`), `claims`, `families`, `experiments`, `mutations` and
            `provenance`. Empty lists, empty strings and None stand for what is missing; a missing
            key is an error.
        template_dir: Folder with `index.html.j2`, `style.css` and `report.js`.

    Raises:
        jinja2.UndefinedError: A key is missing from the model.
    """
    environment = Environment(
        loader=FileSystemLoader(template_dir),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "slug": slug,
        "prose": prose,
        "inline": inline,
        "number": format_number,
        "interval": format_interval,
        "duration": format_duration,
        "basis": describe_basis,
        "method": describe_method,
    }
    return environment.get_template("index.html.j2").render(
        **model,
        verdicts=VERDICTS,
        tally=tally_verdicts(model["claims"]),
        counts=COUNTS,
        counted=count_apart(model["claims"]),
        surviving=[c for c in model["claims"] if c["control"]["outcome"] == "cannot fail"],
        sections=arrange_sections(model),
        style=Markup((template_dir / "style.css").read_text(encoding="utf-8")),
        script=Markup((template_dir / "report.js").read_text(encoding="utf-8")),
    )


def tally_verdicts(claims: list[dict]) -> Counter:
    """Count claims by (source, verdict), where None in either place stands for all."""
    return Counter(
        key
        for claim in claims
        for key in (
            (claim["source"], claim["verdict"]),
            (claim["source"], None),
            (None, claim["verdict"]),
            (None, None),
        )
    )


def count_apart(claims: list[dict]) -> Counter:
    """Count claims by (kind of `COUNTS`, verdict), where None in place of the verdict means all."""
    return Counter(
        (claim["counts_as"], verdict) for claim in claims for verdict in (claim["verdict"], None)
    )


def arrange_sections(model: dict) -> list[dict]:
    """Return the experiments, each with its claims and its numbered, embedded figures.

    Those that were run come first. Claims of an experiment that the model does not hold come last,
    in sections without protocol, so that no claim can drop out of the report.
    """
    experiments = list(model["experiments"])
    known = {experiment["name"] for experiment in experiments}
    for claim in model["claims"]:
        if claim["experiment"] not in known:
            known.add(claim["experiment"])
            experiments.append(_empty_experiment(claim))
    sections, first = [], 1
    for experiment in sorted(experiments, key=lambda experiment: experiment["status"] != "run"):
        figures = _number_figures(experiment, first)
        claims = [c for c in model["claims"] if c["experiment"] == experiment["name"]]
        sections.append(experiment | {"claims": claims, "figures": figures})
        first += len(figures)
    return sections


def _empty_experiment(claim: dict) -> dict:
    return {
        "name": claim["experiment"],
        "title": claim["experiment"] or "Other claims",
        "source": claim["source"],
        "question": "",
        "explanation": "",
        "status": "not run",
        "status_reason": claim["reason"],
        "protocol": [],
        "defaults": [],
        "figures": [],
        "notes": [],
        "seconds": None,
    }


def _number_figures(experiment: dict, first: int) -> list[dict]:
    return [
        figure
        | {
            "number": number,
            "anchor": f"figure-{slug(experiment['name'])}.{slug(figure['name'])}",
            "plot": embed_svg(figure["svg"], prefix=f"f{number}-", label=figure["alt"])
            if figure["svg"]
            else None,
        }
        for number, figure in enumerate(experiment["figures"], start=first)
    ]


def slug(text: str) -> str:
    """Return `text` as an anchor: runs of characters it cannot hold become a hyphen."""
    return re.sub(r"[^\w.~-]+", "-", text)


def prose(text: str) -> Markup:
    """Return paragraphs of HTML; blank lines separate them, each is set as by `inline`."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return Markup("\n").join(Markup("<p>{}</p>").format(inline(p)) for p in paragraphs if p)


def inline(text: str) -> Markup:
    """Return one run of HTML: backticks mark code, the rest is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def describe_method(criterion: dict) -> str:
    """Return level and method of a criterion's interval: "95 %, Student's t", or "exact"."""
    level, method = criterion["level"], criterion["method"]
    return method if level is None else f"{100 * level:.4g} %, {method}"


def describe_basis(criterion: dict) -> str:
    """Return what stands behind a criterion's number: "95 %, Student's t, 10 networks"."""
    return f"{describe_method(criterion)}, {criterion['n']} {criterion['counts']}"


def format_duration(seconds: Number | None) -> str:
    """Return a run time as 0.42 s, 42 s, 4 min 2 s or 1 h 04 min."""
    if seconds is None:
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

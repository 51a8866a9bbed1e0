"""The HTML report: one self-contained page from a model of plain JSON types (see `render`).

Neither torch nor the workflow is needed here.
"""

import re
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ntkflow.errors import unknown

from ..numbers import ABSENT, Number, format_interval, format_measured, format_number, signs
from . import summary
from .summary import VERDICTS
from .vector_graphics import embed_svg

# What the verdicts mean, in a few words.
MEANINGS = {
    "reproduced": "it appears, as the source says",
    "corrected": "it appears; its explanation fails, ours holds",
    "contradicted": "it does not appear, or no explanation holds",
    "inconclusive": "these seeds cannot decide",
    "indicated": "a reduced form comes out as the source says",
    "not indicated": "a reduced form fails",
    "not run": "not run at this scale",
}

# How claims are counted: key in the model, words for the report.
COUNTS = {
    "source": "of the sources",
    "ours": "of our own",
    "trivial": "trivial or definitional",
}


def render(model: dict, template_dir: Path) -> str:
    """Return the report as one HTML document that loads nothing from outside.

    Args:
        model: Plain JSON types: `title`, `question`, `findings` (ids of claims), `picture` (names
            of an experiment and a figure, or None), `scale`, `results`, `sources` (name ->
            `title`, `description`), `claims`, `families`, `experiments`, `mutations` and
            `provenance`. Empty lists, empty strings and None stand for what is missing; a missing
            key is an error.
        template_dir: Folder with `index.html.j2` and the templates that it includes; its style
            sheets and scripts become parts of the page, in the order of their names.

    Raises:
        jinja2.UndefinedError: A key is missing from the model.
        ConfigurationError: A finding is no claim.
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
        "signs": signs,
        "number": format_number,
        "measured": format_measured,
        "interval": format_interval,
        "duration": format_duration,
        "basis": describe_basis,
        "method": describe_method,
        "telling": summary.telling,
        "tell": summary.tell,
    }
    sections = arrange_sections(model)
    return environment.get_template("index.html.j2").render(
        **model | {"findings": pick_findings(model), "picture": pick_picture(model)},
        verdicts=VERDICTS,
        meanings=MEANINGS,
        tally=tally_verdicts(model["claims"]),
        counts=COUNTS,
        counted=count_apart(model["claims"]),
        surviving=[c for c in model["claims"] if c["control"]["outcome"] == "cannot fail"],
        sections=sections,
        style=_read_all(template_dir, "*.css"),
        script=_read_all(template_dir, "*.js"),
    )


def _read_all(folder: Path, pattern: str) -> Markup:
    files = sorted(folder.glob(pattern))
    return Markup("\n").join(Markup(file.read_text(encoding="utf-8")) for file in files)


def pick_findings(model: dict) -> list[dict]:
    """Return the claims of the first screen.

    Raises:
        ConfigurationError: One of them is no claim.
    """
    claims = {claim["id"]: claim for claim in model["claims"]}
    for name in model["findings"]:
        if name not in claims:
            raise unknown("report.findings", name, list(claims))
    return [claims[name] for name in model["findings"]]


def pick_picture(model: dict) -> dict | None:
    """Return the figure of the first screen, None where it was not drawn."""
    if model["picture"] is None:
        return None
    experiment, name = model["picture"]
    figures = [
        figure
        for block in model["experiments"]
        if block["name"] == experiment
        for figure in block["figures"]
        if figure["name"] == name and figure["svg"]
    ]
    if not figures:
        return None
    figure = figures[0]
    alt = summary.finding(figure["caption"], _claims_of(model["claims"], experiment, name))
    plot = embed_svg(figure["svg"], prefix="first-", label=alt)
    anchor = f"figure-{slug(experiment)}.{slug(name)}"
    return figure | {"plot": plot, "alt": alt, "anchor": anchor}


def _claims_of(claims: list[dict], experiment: str, figure: str) -> list[dict]:
    """Claims that stand by a figure."""
    return [c for c in claims if c["experiment"] == experiment and figure in c["figures"]]


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
        claims = [c for c in model["claims"] if c["experiment"] == experiment["name"]]
        figures = _number_figures(experiment, first, claims)
        said = {"answer": summary.answer(claims), "deviations": gather_deviations(claims)}
        sections.append(experiment | said | {"claims": claims, "figures": figures})
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
        "tables": {},
        "notes": [],
        "seconds": None,
    }


def _number_figures(experiment: dict, first: int, claims: list[dict]) -> list[dict]:
    figures = []
    for number, figure in enumerate(experiment["figures"], start=first):
        own = _claims_of(claims, experiment["name"], figure["name"])
        alt = summary.finding(figure["caption"], own)
        anchor = f"figure-{slug(experiment['name'])}.{slug(figure['name'])}"
        plot = embed_svg(figure["svg"], prefix=f"f{number}-", label=alt) if figure["svg"] else None
        figures.append(figure | {"number": number, "anchor": anchor, "alt": alt, "plot": plot})
    return figures


def gather_deviations(claims: list[dict]) -> list[dict]:
    """Return where a protocol is another than the source's, each with the claims that say so.

    They are what the configuration says in words, and the axes, steps among them, that end
    elsewhere than the source's; `seeds`, of which there are more on purpose, is none of them.
    """
    found: dict[str, list[str]] = {}
    for claim in claims:
        ends = [_end_elsewhere(one) for one in claim["scale"] if one["axis"] != "seeds"]
        for text in (*claim["deviations"], *filter(None, ends)):
            found.setdefault(text, []).append(claim["id"])
    return [{"text": text, "claims": names} for text, names in found.items()]


def _end_elsewhere(scale: dict) -> str:
    """An axis whose largest value is another than the source's, "" where it is the same."""
    if scale["here"] is None or scale["here"] == scale["source"]:
        return ""
    here, source = format_number(scale["here"]), format_number(scale["source"])
    return f"largest {scale['axis']}: {source} in the source, {here} here"


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

"""Texts that follow verdicts: which explanation is shown, with numbers from the judged tables.

An explanation is a text, or a list of texts each of which is written for a verdict and, where it
says so, for some scales. `{spread.value}` in it is the value of the criterion of the name `spread`,
`{spread.low}` and `{spread.high}` are the ends of its interval. Where no text is written for what
came out, none is shown, and a note says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ntkflow.errors import ConfigurationError, unknown

from .numbers import format_measured

FIELDS = ("value", "low", "high")
NUMBER = re.compile(r"\{(?:([\w.-]+):)?([\w-]+)\.([\w-]+)\}")
ANOTHER = "The explanation is written for another outcome"

Judged = Mapping[str, Any]  # a claim as claims.json has it


def explain_claim(
    texts: str | Sequence[Mapping], verdict: str, criteria: Iterable[Mapping], scale: str
) -> tuple[str, str]:
    """Explanation of a claim for the verdict that came out, and the note in its place.

    Args:
        texts: `explanation` of the claim.
        verdict: of this run.
        criteria: its judged criteria.
        scale: of this run.

    Returns:
        The text with its numbers, or the note; the other one is empty.
    """
    if isinstance(texts, str):
        return fill(texts, {"": criteria}), ""
    for text in texts:
        if text["verdict"] == verdict and scale in text.get("scale", [scale]):
            return fill(text["text"], {"": criteria}), ""
    if verdict == "not run":
        return "", "The explanation is shown where the claim is judged."
    return "", f"{ANOTHER}: {'; or '.join(map(_outcome, texts))}."


def _outcome(text: Mapping) -> str:
    scales = text.get("scale")
    return text["verdict"] + (f" at scale {' or '.join(scales)}" if scales else "")


def explain_experiment(
    texts: str | Sequence[Mapping], claims: Mapping[str, Judged], scale: str, *, where: str
) -> str:
    """Explanation of an experiment, paragraph by paragraph, as its claims came out.

    Args:
        texts: `explanation` of the experiment: a text, or paragraphs, each with a `text` and,
            where it depends on verdicts or scales, with `claims`, id to verdict, and `scale`.
        claims: the judged claims of the run by id.
        scale: of this run.
        where: the experiment, for errors.

    Returns:
        Paragraphs with blank lines between them; a note in place of each that does not fit.

    Raises:
        ConfigurationError: if a paragraph names an unknown claim or criterion.
    """
    paragraphs: list[str] = []
    for text in [{"text": texts}] if isinstance(texts, str) else texts:
        wanted = text.get("claims", {})
        named = [*wanted, *(match[1] for match in NUMBER.finditer(text["text"]))]
        for name in named:
            if name not in claims:
                raise unknown(f"{where}: explanation", name, list(claims))
        came = {name: claims[name]["verdict"] for name in named}
        numbers = {name: claims[name]["criteria"] for name in named}
        if "not run" in came.values():
            note = f"The explanation is shown where {_first(came, 'not run')} is judged."
        elif scale not in text.get("scale", [scale]):
            note = f"{ANOTHER}: scale {' or '.join(text['scale'])}."
        elif wanted != {name: came[name] for name in wanted}:
            written = ", ".join(f"{name} {verdict}" for name, verdict in wanted.items())
            note = f"{ANOTHER}: {written}."
        else:
            check_numbers(text["text"], numbers, where=f"{where}: explanation")
            note = fill(text["text"], numbers)
        if note not in paragraphs:
            paragraphs.append(note)
    return "\n\n".join(paragraphs)


def _first(came: Mapping[str, str], verdict: str) -> str:
    return next(name for name, one in came.items() if one == verdict)


def fill(text: str, numbers: Mapping[str, Iterable[Mapping]]) -> str:
    """Text with every `{name.value}` replaced by that number of a judged criterion.

    Args:
        text: with placeholders `{name.value}`, or `{claim:name.value}`.
        numbers: id of a claim, "" where the text does not say it, to its judged criteria.
    """
    named = {(claim, one["name"]): one for claim, criteria in numbers.items() for one in criteria}

    def number(match: re.Match) -> str:
        return format_measured(named[match[1] or "", match[2]], match[3])

    return NUMBER.sub(number, text)


def check_numbers(text: str, numbers: Mapping[str, Iterable[Mapping]], *, where: str) -> None:
    """Refuse a placeholder that names no criterion, or no number of it.

    Args:
        text: with placeholders.
        numbers: as for `fill`; the criteria need not be judged.
        where: file, claim and key, for errors.

    Raises:
        ConfigurationError: naming the placeholder and what is allowed.
    """
    for match in NUMBER.finditer(text):
        claim, name, field = match[1] or "", match[2], match[3]
        if claim not in numbers:
            raise ConfigurationError(f"{where}: {match[0]} names a claim; allowed: {{name.value}}")
        names = [one["name"] for one in numbers[claim] if one.get("name")]
        if name not in names:
            raise unknown(f"{where}: criterion in {match[0]}", name, names)
        if field not in FIELDS:
            raise unknown(f"{where}: number in {match[0]}", field, FIELDS)

"""Write the tables of docs/configuration.md from what checks a configuration (`make docs`)."""

import json
import re
import sys
from pathlib import Path

from ntkstudy.claims import CRITERIA
from ntkstudy.claims.registry import own_options
from ntkstudy.options import options_schema
from ntkstudy.plan.configuration import as_yaml
from ntkstudy.plan.schema import configuration_schema
from ntkstudy.registry import MEASUREMENTS, NETWORKS, TASKS, Measurement, discover

PAGE = Path("docs/configuration.md")


def tables(schema: dict) -> dict[str, str]:
    """Every table of the page by name."""
    return {
        "parameters": table("key", "type", "default", "meaning", rows=_rows("", schema)),
        "tasks": table("key", "type", "default", "meaning", rows=_options_rows("task", TASKS)),
        "networks": table(
            "key", "type", "default", "meaning", rows=_options_rows("network", NETWORKS)
        ),
        "measurements": table(
            "kind", "when", "options", "axes", "needs", "what", rows=_measurement_rows()
        ),
        "options": table(
            "kind", "option", "type", "default", "meaning", rows=_measurement_options()
        ),
        "criteria": table("criterion", "options", "what is judged", rows=_criteria_rows()),
    }


def table(*head: str, rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _rows(prefix: str, schema: dict) -> list[list[str]]:
    """Keys of a schema, those that a `kind` decides aside."""
    rows: list[list[str]] = []
    required = set(schema.get("required", []))
    for key, rule in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        rows.append([f"`{name}`", *_described(rule, key in required)])
        rows += _nested(name, rule)
    return rows


def _nested(name: str, rule: dict) -> list[list[str]]:
    if rule["type"] == "array":
        items = rule.get("items", {})
        return _rows(f"{name}[].", items) if items.get("type") == "object" else []
    named = rule.get("additionalProperties")
    if isinstance(named, dict) and named.get("type") == "object":
        return _rows(f"{name}.<name>.", named)
    return _rows(f"{name}.", rule) if rule["type"] == "object" else []


def _options_rows(section: str, registry) -> list[list[str]]:
    """Options of every kind of a section, kinds with the same ones together."""
    rows: list[list[str]] = []
    for name, entry in registry.items():
        rows.append([f"**`{section}.kind: {name}`**", "", "", _first_line(_function(entry))])
        rows += [[f"`{section}.{key}`", *text] for key, text in _described_options(entry.options)]
    return rows


def _function(entry):
    return getattr(entry, "make", None) or entry.build


def _described_options(options: type) -> list[tuple[str, list[str]]]:
    schema = options_schema(options)
    return [
        (key, _described(rule, key in schema["required"]))
        for key, rule in schema["properties"].items()
    ]


def _measurement_rows() -> list[list[str]]:
    return [
        [
            f"`{name}`",
            ", ".join(kind.variants),
            ", ".join(f"`{key}`" for key, _ in _described_options(kind.options)),
            "; ".join(_grouped(kind, lambda kind, when: ", ".join(kind.axes(when)))),
            "; ".join(_grouped(kind, _needs)),
            kind.meaning,
        ]
        for name, kind in MEASUREMENTS.items()
    ]


def _measurement_options() -> list[list[str]]:
    return [
        [f"`{name}`", f"`{key}`", *text]
        for name, kind in MEASUREMENTS.items()
        for key, text in _described_options(kind.options)
    ]


def _needs(kind: Measurement, when: str) -> str:
    needs = kind.variants[when].needs
    # What all but a few need goes without saying in a table.
    return ", ".join(need.text for need in needs if need.text != "a training block")


def _grouped(kind: Measurement, describe) -> list[str]:
    """A property of each moment, said once for moments that share it."""
    found: dict[str, list[str]] = {}
    for when in kind.variants:
        found.setdefault(describe(kind, when), []).append(when)
    if len(found) == 1:
        return [text for text in found if text]
    return [f"{', '.join(moments)}: {text or 'none'}" for text, moments in found.items()]


def _criteria_rows() -> list[list[str]]:
    return [
        [
            f"`{name}`",
            ", ".join(f"`{option}`" for option in own_options(kind.options)),
            _first_line(kind.judge),
        ]
        for name, kind in CRITERIA.items()
    ]


def _first_line(function) -> str:
    return (function.__doc__ or "").split("\n")[0]


def _described(rule: dict, required: bool) -> list[str]:
    """Type, default and meaning of a key."""
    default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
    default = "required" if required else default
    return [_type(rule), default, rule.get("description", "")]


def _type(rule: dict) -> str:
    if "enum" in rule:
        return ", ".join(f"`{as_yaml(value)}`" for value in rule["enum"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {rule[key]}" for key, sign in signs.items() if key in rule]
    kinds = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    return " ".join([" or ".join(kinds), *limits])


def rewrite(text: str, schema: dict) -> str:
    """The page with the tables between their marks made anew."""
    return replaced(text, tables(schema))


def replaced(text: str, tables: dict[str, str]) -> str:
    """A page with other tables between the marks of their names."""
    for name, made in tables.items():
        start, end = f"<!-- {name}: start (made by `make docs`) -->", f"<!-- {name}: end -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Rewrite the page in place."""
    discover()
    schema = configuration_schema("config/schema.yaml")
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), schema), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Write README's tables of parameters and criteria from what checks them (`make docs`)."""

import json
import sys
from pathlib import Path

from ntkstudy.claims import KINDS
from ntkstudy.claims.registry import own_options
from ntkstudy.plan.configuration import as_yaml, read_schema


def table(schema: dict) -> str:
    """Markdown table of every key: name, type and limits, default, meaning."""
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *_rows("", schema)])


def criteria_table() -> str:
    """Markdown table of every criterion: its kind, its options and what it holds for."""
    head = ["| criterion | options | what is judged |", "|---|---|---|"]
    rows = []
    for name, kind in KINDS.items():
        options = ", ".join(f"`{option}`" for option in own_options(kind.options))
        meaning = (kind.judge.__doc__ or "").split("\n")[0].replace("|", "\\|")
        rows.append(f"| `{name}` | {options} | {meaning} |")
    return "\n".join([*head, *rows])


def _rows(prefix: str, schema: dict) -> list[str]:
    rows: list[str] = []
    required = set(schema.get("required", []))
    for key, rule in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        rows.append(_row(name, rule, key in required))
        rows += _nested(name, rule)
    for branch in schema.get("allOf", []):
        kind = _kinds(branch["if"]["properties"]["kind"])
        needed = set(branch["then"].get("required", []))
        for key, rule in branch["then"].get("properties", {}).items():
            rows.append(_row(f"{prefix}{key}", rule, key in needed, f" (kind {kind})"))
    return rows


def _kinds(rule: dict) -> str:
    return " or ".join(rule.get("enum", [rule.get("const")]))


def _nested(name: str, rule: dict) -> list[str]:
    if rule["type"] == "array":
        items = rule.get("items", {})
        return _rows(f"{name}[].", items) if items.get("type") == "object" else []
    named = rule.get("additionalProperties")
    if isinstance(named, dict) and named.get("type") == "object":
        return _rows(f"{name}.<name>.", named)
    return _rows(f"{name}.", rule) if rule["type"] == "object" else []


def _row(name: str, rule: dict, required: bool, note: str = "") -> str:
    default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
    default = "required" if required else default
    meaning = rule.get("description", "").replace("|", "\\|")
    return f"| `{name}` | {_type(rule)} | {default} | {meaning}{note} |"


def _type(rule: dict) -> str:
    if "enum" in rule:
        return ", ".join(f"`{as_yaml(value)}`" for value in rule["enum"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {rule[key]}" for key, sign in signs.items() if key in rule]
    kinds = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    return " ".join([" or ".join(kinds), *limits])


def rewrite(text: str, schema: dict) -> str:
    """README text with the tables between their marks made anew."""
    for name, made in (("criteria", criteria_table()), ("parameters", table(schema))):
        start, end = f"<!-- {name}: start (made by `make docs`) -->", f"<!-- {name}: end -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Rewrite README.md in place."""
    readme = Path("README.md")
    readme.write_text(rewrite(readme.read_text(), read_schema("config/schema.yaml")))


if __name__ == "__main__":
    sys.exit(main())

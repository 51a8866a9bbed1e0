"""Write README's parameter table from the configuration's schema (`make docs`)."""

import json
import sys
from pathlib import Path

from ntkstudy.plan.configuration import as_yaml, read_schema

START, END = "<!-- parameters: start (made by `make docs`) -->", "<!-- parameters: end -->"


def table(schema: dict) -> str:
    """Markdown table of every key: name, type and limits, default, meaning."""
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *_rows("", schema)])


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
    """README text with the table between its two marks made anew."""
    before, rest = text.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{table(schema)}\n{END}{after}"


def main() -> None:
    """Rewrite README.md in place."""
    readme = Path("README.md")
    readme.write_text(rewrite(readme.read_text(), read_schema("config/schema.yaml")))


if __name__ == "__main__":
    sys.exit(main())

"""What a JSON schema makes of valid data: its keys, defaults filled in, references resolved."""

import copy
from collections.abc import Mapping
from typing import Any


def branches_of(schema: Mapping, value: Mapping) -> list[Mapping]:
    """The `then` of every if/then branch whose constants the value has, as in `choices_schema`."""
    return [
        branch["then"]
        for branch in schema.get("allOf", [])
        if all(value.get(key) == rule["const"] for key, rule in branch["if"]["properties"].items())
    ]


def properties_of(schema: Mapping, value: Mapping) -> dict[str, Mapping]:
    """Properties of an object schema, those of the matching if/then branches included."""
    properties = dict(schema.get("properties", {}))
    for branch in branches_of(schema, value):
        properties |= branch.get("properties", {})
    return properties


def complete(data: Any, schema: Mapping) -> Any:
    """Deep copy of valid `data` with defaults filled in, in one way of writing it.

    Numbers of type `number` become float, those of type `integer` int. Keys come in the order of
    the schema, so only values tell two results apart. Keys that the schema does not name are
    sorted, but blocks (experiments) stay in the order of their file: the report shows them so.
    """
    if isinstance(data, Mapping):
        properties, other = properties_of(schema, data), schema.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        free = [key for key in data if key not in properties]
        filled = {
            key: complete(data.get(key, rule.get("default")), rule)
            for key, rule in properties.items()
            if key in data or "default" in rule
        }
        return filled | {
            key: complete(data[key], other)
            for key in (free if "properties" in other else sorted(free))
        }
    if isinstance(data, list):
        return [complete(item, schema.get("items", {})) for item in data]
    if isinstance(data, int | float) and not isinstance(data, bool):
        if "number" in schema.get("type", ()):
            return float(data)
        return int(data) if "integer" in schema.get("type", ()) else data
    return copy.deepcopy(data)


def keys_at_default(data: Mapping, schema: Mapping) -> set[str]:
    """Keys of completed `data` whose value is the one they have when left out."""
    return {
        key
        for key, rule in properties_of(schema, data).items()
        if "default" in rule and data.get(key) == complete(rule["default"], rule)
    }


def complete_experiment(block: Mapping, schema: Mapping) -> dict:
    """`complete` for an experiment's block, values under dotted keys (`network.width`) included."""
    block = complete(block, schema)

    def completed(key: str, value: Any) -> Any:
        rule, data = schema, block
        for part in key.split("."):
            rule = properties_of(rule, data).get(part, {})
            data = data.get(part, {}) if isinstance(data, Mapping) else {}
        return complete(value, rule)

    if "sweep" in block:
        block["sweep"] = {
            key: [completed(key, value) for value in values]
            for key, values in block["sweep"].items()
        }
    block["overrides"] = [
        {part: {key: completed(key, value) for key, value in rule[part].items()} for part in rule}
        for rule in block["overrides"]
    ]
    return block


def resolve_references(schema: Any, definitions: Mapping) -> Any:
    """Schema with every `$ref: '#/$defs/name'` replaced by its definition."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return {**resolve_references(definitions[name], definitions), **rest}
        return {key: resolve_references(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [resolve_references(item, definitions) for item in schema]
    return schema

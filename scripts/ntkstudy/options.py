"""Options as frozen dataclasses: one declaration gives the type, the JSON schema and the reader.

    @dataclass(frozen=True, kw_only=True)
    class Within:
        range: Annotated[list[float], Rule("lowest and highest value", minItems=2, maxItems=2)]
        along: Annotated[str | None, Rule("axis at whose every point the range holds")] = None

A field without a default is required. Types: int, float, bool, str, Literal, dict, list[...] (whose
items may be Annotated too), and unions of them, with None for a key that may be null.
"""

import dataclasses
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jsonschema import Draft202012Validator

from .schemas import complete

Options = TypeVar("Options")

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
_CONTAINERS = {list: "array", dict: "object"}


class Rule:
    """What a JSON schema says of a value beside its type.

    Args:
        description: what the value means, for docs/configuration.md and for error messages.
        keywords: of JSON schema, such as minimum, pattern, minItems or items.

    Raises:
        TypeError: if JSON schema does not know a keyword.
    """

    def __init__(self, description: str = "", **keywords: Any):
        for keyword in keywords:
            if keyword not in Draft202012Validator.VALIDATORS:
                raise TypeError(f"{keyword!r} is no keyword of JSON schema 2020-12")
        self.keywords = keywords | ({"description": description} if description else {})


def options_schema(options: type) -> dict[str, Any]:
    """JSON schema of the options that a dataclass declares: `properties`, and which are `required`.

    Args:
        options: a dataclass whose fields have the types named on top of this module.

    Raises:
        TypeError: if a field has another type.

    Examples:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Spectrum:
        ...     eigenvalues: Annotated[int, Rule("how many", minimum=1)] = 10
        >>> options_schema(Spectrum)["properties"]["eigenvalues"]
        {'type': 'integer', 'minimum': 1, 'description': 'how many', 'default': 10}
    """
    hints = get_type_hints(options, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(options)}
    return {
        "properties": {
            name: _type_schema(hints[name]) | _default(field) for name, field in fields.items()
        },
        "required": [name for name, field in fields.items() if not _default(field)],
    }


def choices_schema(
    choices: Mapping[str, type], *, key: str = "kind", description: str, common: type | None = None
) -> dict[str, Any]:
    """JSON schema of a mapping whose `key` says which options the others are.

    Args:
        choices: dataclass of the options for each value of `key`.
        key: name of the deciding key.
        description: what the deciding key means.
        common: dataclass of the options that all choices have; fields that a choice inherits from
            it are not said again.
    """
    shared = options_schema(common) if common else {"properties": {}, "required": []}
    decide = {"type": "string", "enum": list(choices), "description": description}
    return {
        "type": "object",
        "required": [key, *shared["required"]],
        "unevaluatedProperties": False,
        "properties": {key: decide} | shared["properties"],
        "allOf": [
            {
                "if": {"properties": {key: {"const": value}}, "required": [key]},
                "then": _less(options_schema(options), shared),
            }
            for value, options in choices.items()
        ],
    }


def read_options(options: type[Options], mapping: Mapping[str, Any]) -> Options:
    """Options from a valid mapping, whose other keys are ignored; a whole number may be a float.

    Args:
        options: a dataclass of options.
        mapping: values by name, such as an entry of a configuration.
    """
    completed = complete(mapping, options_schema(options))
    names = [field.name for field in dataclasses.fields(options)]
    return options(**{name: completed[name] for name in names})


def _less(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an options' schema that another one does not have."""
    properties = {
        name: rule
        for name, rule in schema["properties"].items()
        if name not in shared["properties"]
    }
    required = [name for name in schema["required"] if name in properties]
    return {"properties": properties, "required": required}


def _default(field: dataclasses.Field) -> dict[str, Any]:
    if field.default_factory is not dataclasses.MISSING:
        return {"default": field.default_factory()}
    return {} if field.default is dataclasses.MISSING else {"default": field.default}


def _type_schema(hint: Any) -> dict[str, Any]:
    """JSON schema of an annotation."""
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        rules = [rule.keywords for rule in hint.__metadata__ if isinstance(rule, Rule)]
        return _join([_type_schema(arguments[0]), *rules])
    if origin is Literal:
        kinds = dict.fromkeys(_TYPES[type(value)] for value in arguments)
        return {"type": _one_or_all(list(kinds)), "enum": list(arguments)}
    if origin in (Union, UnionType):
        return _union([_type_schema(argument) for argument in arguments])
    if origin not in _CONTAINERS:
        raise TypeError(f"{hint!r} is no type of an option")
    items = {"items": _type_schema(arguments[0])} if origin is list and arguments else {}
    return {"type": _CONTAINERS[origin]} | items


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema with all the types; a null is also one more word of an enumeration."""
    kinds = [kind for schema in schemas for kind in _as_list(schema["type"])]
    joined = _join(schemas) | {"type": _one_or_all(list(dict.fromkeys(kinds)))}
    if "enum" in joined and "null" in kinds and None not in joined["enum"]:
        joined["enum"] = [*joined["enum"], None]
    return joined


def _join(schemas: list[Mapping[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for schema in schemas:
        joined |= schema
    return joined


def _as_list(kinds: str | list[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def _one_or_all(kinds: list[str]) -> str | list[str]:
    return kinds[0] if len(kinds) == 1 else kinds

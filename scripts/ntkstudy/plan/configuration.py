"""Read configuration files strictly; a mistake is one line: file, key, value, what is allowed."""

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from ntkflow.errors import ConfigurationError, describe_allowed, describe_unknown

from ..schemas import branches_of, properties_of

_NUMBER_AS_TEXT = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")
_MERGE = "tag:yaml.org,2002:merge"  # `<<: *anchor`, whose keys may be given again


class _StrictLoader(yaml.CSafeLoader):
    """YAML loader that refuses duplicate keys, which plain YAML merges silently."""


def _construct_unique_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        merged, mark = key_node.tag == _MERGE, key_node.start_mark
        key = key_node.value if merged else loader.construct_object(key_node, deep=True)
        where = f"{mark.name}: line {mark.line + 1}: key {key!r}"
        if not isinstance(key, str):
            raise ConfigurationError(f"{where} is no text; allowed: a name, in quotes if needed")
        if key in seen:
            raise ConfigurationError(f"{where} appears twice; allowed once")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique_mapping
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Mapping read from a YAML file by a safe loader that rejects duplicate keys and `__use_yte__`.

    Raises:
        ConfigurationError: if the file is missing, is no YAML mapping, has a key twice, or asks
            for Python templates.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            data = yaml.load(stream, Loader=_StrictLoader)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        reason = ": ".join(filter(None, [error.context, error.problem]))
        raise ConfigurationError(f"{path}: {where}: not valid YAML: {reason}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: holds {type(data).__name__}; allowed: a mapping of keys")
    if "__use_yte__" in data:
        raise ConfigurationError(f"{path}: __use_yte__: Python templates are not allowed here")
    return data


def merge(base: Mapping, overlay: Mapping) -> dict:
    """Deep copy of `base` with the keys of `overlay` on top; lists are replaced as a whole.

    An experiment's `sweep` is replaced as a whole too: an overlay that sweeps fewer axes means it.
    """
    merged = copy.deepcopy(dict(base))
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict) and key != "sweep":
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def dotted(path: Sequence[str | int]) -> str:
    """Key path as people write it: `experiments.a.sweep.width[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def validate(data: Any, schema: Mapping, *, source: str, at: Sequence[str | int] = ()) -> None:
    """Check `data` against a JSON schema.

    Args:
        data: a value read from YAML.
        schema: a JSON schema, draft 2020-12.
        source: file named in the error.
        at: key path of `data` inside that file.

    Raises:
        ConfigurationError: one line with the file, the key path, the value and what is allowed.
    """
    for path, number in _numbers(data):
        if not math.isfinite(number):
            raise ConfigurationError(
                f"{source}: {dotted([*at, *path])}: {number!r} is not allowed; "
                "allowed: a finite number"
            )
    errors = list(_Validator(schema).iter_errors(data))
    if errors:
        first = min(errors, key=lambda error: (_generic(error), list(map(str, error.path))))
        path, problem = _explain(first)
        raise ConfigurationError(f"{source}: {dotted([*at, *path])}: {problem}")


def _numbers(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple, float]]:
    """Every float in nested data with its key path."""
    if isinstance(data, float):
        yield path, data
    elif isinstance(data, Mapping | list):
        for key, value in data.items() if isinstance(data, Mapping) else enumerate(data):
            yield from _numbers(value, (*path, key))


def _all_of(validator, branches, value: Any, schema: Mapping) -> Iterator[ValidationError]:
    """Errors in the branches that the value has chosen; those of forty others are not asked."""
    for branch in branches_of(schema, value) if isinstance(value, Mapping) else ():
        yield from validator.descend(value, branch)


def _no_others(validator, allowed: bool, value: Any, schema: Mapping) -> Iterator[ValidationError]:
    """`unevaluatedProperties: false`, for schemas as `choices_schema` makes them."""
    if isinstance(value, Mapping) and not value.keys() <= properties_of(schema, value).keys():
        yield ValidationError("holds unknown keys")


_Validator = validators.extend(
    Draft202012Validator, {"allOf": _all_of, "unevaluatedProperties": _no_others}
)


def _generic(error: ValidationError) -> bool:
    # A wrong `kind` also makes every other key unevaluated: name the precise error first.
    return error.validator == "unevaluatedProperties"


def _explain(error: ValidationError) -> tuple[list[str | int], str]:
    """Key path and message of one validation error."""
    path, rule, value = list(error.absolute_path), error.validator_value, error.instance
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = _known_keys(error.schema, value)
            unknown = next(key for key in value if key not in known)
            return [*path, unknown], f"unknown key; {describe_allowed(unknown, sorted(known))}"
        case "propertyNames" | "pattern" if isinstance(value, str):
            hint = error.schema.get("description", f"text that matches {rule}")
            return path, f"{value!r} is not allowed; allowed: {hint}"
        case "required":
            missing = next(key for key in rule if key not in value)
            return [*path, missing], "missing; this key is required"
        case "enum":
            return path, describe_unknown(value, list(map(as_yaml, rule)))
        case "const":
            return path, f"{value!r} is not allowed; allowed: {rule!r}"
        case "type":
            return path, f"{value!r} is not allowed; allowed: {_type_name(error.schema)}" + _hint(
                value
            )
        case "minItems" | "minProperties":
            number = f"has {len(value)}" if value else "is empty"
            return path, f"{value!r} {number}; allowed: at least {rule}"
        case "uniqueItems":
            return path, f"{value!r} repeats a value; allowed: each value once"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return path, f"{value!r} is not allowed; allowed: {_type_name(error.schema)}"
    return path, f"{value!r}: {error.message}"


def as_yaml(word: str | None) -> str:
    """An allowed word as a file says it."""
    return "null" if word is None else word


def _hint(value: Any) -> str:
    match = _NUMBER_AS_TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return ""
    number = f"{match[1]}{match[2] or '.0'}e{match[3] or '+'}{match[4]}"
    return f" (YAML reads {value} as text: write {number})"


def _type_name(schema: Mapping) -> str:
    """`integer >= 1`, `number > 0`, `text`: what a scalar schema allows, in words."""
    names = {"string": "text", "boolean": "true or false", "array": "list", "object": "mapping"}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(names.get(name, name) for name in types)
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema]
    return " ".join([text, " and ".join(limits)]).strip()


def _known_keys(schema: Mapping, value: Mapping) -> set[str]:
    return set(properties_of(schema, value))

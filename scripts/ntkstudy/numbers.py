"""Numbers as people read them: to the digits that their uncertainty leaves."""

import math
import re
from collections.abc import Mapping
from typing import Any

Number = float | int

ABSENT = "—"
MINUS = "−"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN_EXPONENTS = range(-4, 6)
_MOST_DIGITS = 12
_ROUNDING = 1e-6  # part of an interval that is none


def format_number(value: Number | None, uncertainty: Number | None = None) -> str:
    """Return `value` to two significant digits of its uncertainty, or else to four of its own.

    Integers are shown in full; magnitudes outside 1e-4 ... 1e6 as a×10ᵇ. The minus sign is U+2212.
    """
    if value is None:
        return ABSENT
    if isinstance(value, int):
        return str(value).replace("-", MINUS)
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: f"{MINUS}∞"}.get(value, "not a number")
    spread = float(uncertainty) if uncertainty and math.isfinite(uncertainty) else 0.0
    place = _last_place(value, spread)
    exponent = _exponent(max(abs(value), spread), place)
    return _to_place(value, place, exponent, trim=not spread) + _power(exponent)


def format_measured(judged: Mapping[str, Any], field: str = "value") -> str:
    """A number of a judged criterion to two significant digits of its uncertainty.

    That is half the width of the interval, or the way to its nearer end: the interval of a
    logarithm may reach far to one side. Its ends are told as in `format_interval`.
    """
    value, low, high = (judged[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return format_number(judged[field])
    half = (high - low) / 2
    if field in ("low", "high"):
        return _format_end(judged[field], half)
    nearer = min(value - low, high - value)
    return format_number(value, nearer if nearer > _ROUNDING * half else half)


def format_interval(low: Number | None, high: Number | None) -> str:
    """Return "low to high" to two digits of half the width; None stands for an open end.

    An end that is less than that has two digits of its own.
    """
    if low is None and high is None:
        return ABSENT
    if low is None:
        return f"≤ {format_number(high)}"
    if high is None:
        return f"≥ {format_number(low)}"
    half = (high - low) / 2
    return f"{_format_end(low, half)} to {_format_end(high, half)}"


def _format_end(end: Number, half: Number) -> str:
    return format_number(end, min(half, abs(end)) if abs(end) > _ROUNDING * half else half)


def signs(text: str) -> str:
    """Return `text` with a minus sign before numbers in place of a hyphen."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", MINUS, text)


def _exponent_of(value: float, digits: int) -> int:
    """Exponent of the leading digit of `value` once rounded to `digits` significant digits."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def _last_place(value: float, spread: float) -> int:
    """Power of ten of the last digit shown."""
    if spread:
        place = _exponent_of(spread, 2) - 1
        return max(place, _exponent_of(abs(value), 2) - _MOST_DIGITS + 1) if value else place
    return _exponent_of(abs(value), 4) - 3 if value else 0


def _exponent(magnitude: float, place: int) -> int:
    """Exponent to factor out: zero where the plain notation is short enough."""
    if not magnitude:
        return 0
    digits = max(_exponent_of(magnitude, 1) - place + 1, 1)
    exponent = _exponent_of(magnitude, digits)
    return 0 if exponent in _PLAIN_EXPONENTS else exponent


def _to_place(value: float, place: int, exponent: int, *, trim: bool) -> str:
    decimals = exponent - place
    rounded = round(value / 10.0**exponent, decimals)
    text = f"{abs(rounded):.{max(decimals, 0)}f}"
    if trim and "." in text:
        text = text.rstrip("0").rstrip(".")
    return (MINUS if rounded < 0 else "") + text


def _power(exponent: int) -> str:
    return f"×10{str(exponent).translate(_SUPERSCRIPTS)}" if exponent else ""

"""Errors that a user can cause: one line with the culprit, its value and what is allowed."""

import difflib
import re
from collections.abc import Sequence

# Characters of what another library says, within a line of ours.
LONGEST = 120


class NtkflowError(ValueError):
    """Base of every error that ntkflow raises on bad input."""


class ConfigurationError(NtkflowError):
    """A key of the configuration is unknown, missing or out of range."""


class StorageError(NtkflowError):
    """A file is missing, damaged, of another stage, or cannot be written."""


class UnsupportedLayerError(NtkflowError):
    """A layer has no rule for the kernel that was asked for."""


class KernelError(NtkflowError):
    """A kernel is not finite, symmetric or positive (semi-)definite, or a shape does not fit."""


class DownloadError(NtkflowError):
    """No mirror gave a file with the right content."""


def first_words(error: BaseException) -> str:
    """The first sentence of an error's text, cut after some 120 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    sentence = re.split(r"(?<=[.!?])\s", lines[0], maxsplit=1)[0]
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 4].rstrip()} ..."


def unknown(key: str, given: object, known: Sequence[str]) -> ConfigurationError:
    """The error of a word that is none of the known ones, with the one that was probably meant."""
    return ConfigurationError(f"{key}: {describe_unknown(given, known)}")


def describe_unknown(given: object, known: Sequence[str]) -> str:
    """That a word is none of the known ones, which are these."""
    return f"{given!r} is unknown; {describe_allowed(given, known)}"


def describe_allowed(given: object, known: Sequence[str]) -> str:
    """The allowed words, and the one that was probably meant."""
    near = difflib.get_close_matches(given, known, n=1) if isinstance(given, str) else []
    return f"allowed: {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")

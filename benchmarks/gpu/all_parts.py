"""All parts by name, checks first."""

from . import kernel_checks, training_checks, works
from .parts import Part

PARTS: dict[str, Part] = {
    part.name: part for part in (*kernel_checks.PARTS, *training_checks.PARTS, *works.WORKS)
}

"""How a network is read: what its values are made of, as nodes of a program."""

from .tracing import trace

__all__ = ["trace"]

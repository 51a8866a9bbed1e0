"""The tangent kernel in the course of a training loop of one's own."""

from .tracker import Tracker

__all__ = ["Tracker"]

"""Statements of theory, each checked by a small experiment of its own."""

"""How long work tells how far it is, to whoever shows it."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the name of a step, how much of it is done, and of how much."""


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""

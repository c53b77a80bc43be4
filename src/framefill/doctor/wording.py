"""How findings name files, numbers and rates."""

import os
from collections.abc import Sequence
from pathlib import Path

from framefill.data.examine import Facts
from framefill.doctor.asked import Asked

NAMED = 5  # files named in a line


def files_of(names: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """Return the names that are files of their own, which can be taken out."""
    return tuple(name for name in names if Path(name) != asked.data and Path(name).is_file())


def some_of(names: Sequence[str], facts: Facts) -> str:
    """Return the first of some names, and how many there are more."""
    shown = ", ".join(short_name(name, facts) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def short_name(name: str, facts: Facts) -> str:
    """Return a video's name without the folder of the data."""
    return name.replace(f"{facts.path}{os.sep}", "")


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun, singular or plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def rate_in_words(fps: float) -> str:
    """Return a rate in frames per second, or in seconds per frame."""
    return f"{fps:.4g} per second" if fps >= 0.1 else f"one every {1 / fps:.4g} seconds"

"""What a recipe is."""

from collections.abc import Callable
from dataclasses import dataclass

from framefill.config import Config


@dataclass(frozen=True)
class Recipe:
    """A training run by name.

    Args:
        make: Makes its configuration.
        summary: What it trains, in a few words.
        source: Where its values are from.
    """

    make: Callable[[], Config]
    summary: str
    source: str

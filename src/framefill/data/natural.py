"""The order in which people count files."""

import re
from pathlib import Path


def natural(path: Path) -> tuple[list[str | int], str]:
    """Return a key that sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], path.name

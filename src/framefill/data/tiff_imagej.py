"""ImageJ's description of a TIFF file: how its pages make up a hyperstack."""

import math
from typing import Any

import numpy as np

from framefill.data.tiff_stack import SECONDS, Stack, numbered
from framefill.errors import InputError


def imagej_stack(file: Any, count: int, name: str) -> Stack:
    """Return the stack that ImageJ's description tells of."""
    first = file.pages.first
    lines = [line.partition("=") for line in first.imagej_description.splitlines()]
    told = {key.strip(): value.strip() for key, _, value in lines}
    keys = {"T": "frames", "Z": "slices", "C": "channels"}
    lengths = {letter: max(int(told.get(key) or 1), 1) for letter, key in keys.items()}
    if lengths["C"] == first.samplesperpixel and lengths["T"] * lengths["Z"] == count:
        lengths["C"] = 1  # Bio-Formats calls the samples of a page so
    order = told.get("order", "czt").upper()[::-1]
    axes = order if sorted(order) == ["C", "T", "Z"] else "TZC"
    lead = tuple(lengths[letter] for letter in axes)
    if math.prod(lead) == 1:
        axes, lead = "I", (count if count > 1 else max(int(told.get("images") or 1), 1),)
    if count not in (1, math.prod(lead)):
        raise InputError(
            f"{name} has {count} pages, and its description tells of {math.prod(lead)}: it is cut "
            "off, or needs to be saved anew"
        )
    step = float(told.get("finterval") or 0) * SECONDS.get(told.get("tunit", "s"), 1.0)
    rate = 1 / step if step > 0 else float(told.get("fps") or 0)
    texts = first.tags.valueof(50839)
    labels = texts.get("Labels", []) if isinstance(texts, dict) else []
    channels: tuple[str, ...] = ()
    if len(labels) == math.prod(lead) and "C" in axes:
        grid = np.moveaxis(np.array(labels).reshape(lead), axes.index("C"), 0)
        if all(len(set(row.ravel().tolist())) == 1 for row in grid):
            channels = tuple(str(row.flat[0]) for row in grid)
    return Stack(
        axes,
        numbered(lead, count),
        fps=rate if 0 < rate < math.inf else None,
        channels=channels,
        imagej=True,
        unit=told.get("unit", ""),
    )

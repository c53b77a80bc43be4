"""The header for values that were computed from those of a file: floats, whatever it stored."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from framefill.data.packing import ATTRIBUTES
from framefill.data.saved import LIMITS, Saved
from framefill.data.video import Header


def derived_header(header: Header | None, title: str, *, units: str | None = None) -> Header | None:
    """Return a header whose writer keeps floats as they are, with all coordinates.

    Scales, fill values and the limits of stored numbers are left out.

    Args:
        header: Of the file, or None.
        title: What the new values are, for the attribute "long_name": "mean of 8 samples".
        units: Theirs, if they are another quantity, which then has no "standard_name" either.
    """
    if header is None:
        return None
    content = header.content
    if isinstance(content, Saved):
        arrays = tuple(
            replace(
                each, packing=None, attributes=_derived(each.attributes, each.name, title, units)
            )
            for each in content.arrays
        )
        return replace(header, content=replace(content, arrays=arrays))
    if header.format in (".tif", ".nii"):
        return replace(header, content=replace(content, stored="", missing=None))
    if header.format == ".dcm":
        return None  # its images are integers
    return header


def _derived(
    attributes: Mapping[str, Any], name: str, title: str, units: str | None
) -> dict[str, Any]:
    kept = {key: value for key, value in attributes.items() if key not in (*ATTRIBUTES, *LIMITS)}
    kept["long_name"] = f"{title} of {attributes.get('long_name', name)}"
    if units is not None:
        kept.pop("standard_name", None)
        kept["units"] = units
    return kept

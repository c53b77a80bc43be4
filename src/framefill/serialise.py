"""Configurations as JSON: strict both ways, with a suggestion for a misspelt key."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_tagged_union

from framefill.errors import InputError, suggestion
from framefill.files import write_text

Value = TypeVar("Value")

converter = make_converter(forbid_extra_keys=True)
converter.register_unstructure_hook(Path, str)
converter.register_structure_hook(Path, lambda value, _: Path(value))


def _exactly(value: Any, kind: type) -> Any:
    """Take JSON's own types as they are: 3.9 is no int, "false" no bool, 3 a float."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"got {value!r}")
    return value


def _steps(value: Any, _: Any) -> int | tuple[int, ...]:
    if isinstance(value, list):
        return tuple(_exactly(item, int) for item in value)
    return int(_exactly(value, int))


for plain in (int, float, bool, str):
    converter.register_structure_hook(plain, _exactly)
converter.register_structure_hook(int | tuple[int, ...], _steps)


def register_union(union: Any) -> None:
    """Let values of a union of dataclasses carry their type: {"type": "Ddim", ...}."""
    configure_tagged_union(union, converter, tag_name="type")


def to_data(value: Any, as_type: Any = None) -> Any:
    """Return a configuration as plain JSON data."""
    return converter.unstructure(value, unstructure_as=as_type or type(value))


def from_data(data: Any, as_type: type[Value], *, source: str) -> Value:
    """Return the configuration that plain JSON data stands for.

    Args:
        data: What `json.loads` gave.
        as_type: The dataclass to build.
        source: Where the data is from, for messages.

    Raises:
        InputError: a key is unknown, missing or of the wrong type; the message has its path.
    """
    if not isinstance(data, dict):
        raise InputError(f"{source}: expected an object of settings, got {type(data).__name__}")
    try:
        return converter.structure(data, as_type)
    except cattrs.BaseValidationError as error:
        faults = cattrs.transform_error(error, format_exception=_explain)
        raise InputError(f"{source}: {'; '.join(faults)}") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it can't be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON that people can read, never half written."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def _explain(error: BaseException, kind: Any) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(error.cl)]
        return ", ".join(
            f"unknown key {name!r}{suggestion(name, known)}" for name in sorted(error.extra_fields)
        )
    if isinstance(error, KeyError):
        return f"key {error} is missing or has an unknown value"
    if isinstance(error, InputError):
        return str(error)
    expected = getattr(kind, "__name__", kind)
    return f"expected {expected}, {error}" if kind else str(error)


def flattened(data: Any, prefix: str = "") -> dict[str, str]:
    """Return every value of nested JSON data as text, by its dotted name.

    >>> flattened({"optim": {"lr": 0.1}, "seed": 3})
    {'optim.lr': '0.1', 'seed': '3'}
    """
    if not isinstance(data, dict):
        return {prefix.rstrip("."): json.dumps(data)}
    parts = [flattened(value, f"{prefix}{name}.") for name, value in data.items()]
    return {name: value for part in parts for name, value in part.items()}

"""The one error that is the user's to mend."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """Something that the user gave can't be used.

    The message is one line: what was wrong, the value, and what to do. The command line prints it
    and exits with status 2; any other exception is a fault of ours.
    """


class EchoError(InputError):
    """A mistake that another process of the same training has already said."""


class FillWarning(UserWarning):
    """Something that works, but not as the user may expect."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` for a misspelt name, or nothing if none comes close.

    >>> suggestion("lerning_rate", ["learning_rate", "warmup"])
    "; did you mean 'learning_rate'?"
    >>> suggestion("zebra", ["learning_rate"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_fields(value: Any) -> None:
    """Refuse a dataclass with a `Literal` field that holds none of its words, or a NaN or infinity.

    Raises:
        InputError: names the field, its value and what there is to choose from.
    """
    kinds = get_type_hints(type(value))
    for field in fields(value):
        held = getattr(value, field.name)
        for number in held if isinstance(held, tuple) else (held,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{field.name} {held}: needs finite numbers")
        if get_origin(kinds[field.name]) is Literal and held not in (
            words := get_args(kinds[field.name])
        ):
            near = suggestion(str(held), map(str, words))
            raise InputError(
                f"{field.name} {held!r}: use one of {', '.join(map(str, words))}{near}"
            )

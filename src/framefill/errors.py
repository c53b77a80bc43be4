"""The one error that is the user's to mend."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave can't be used.

    The message is one line: what was wrong, the value, and what to do. The command line prints it
    and exits with status 2; any other exception is a fault of ours.
    """


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` for a misspelt name, or nothing if none comes close.

    >>> suggestion("lerning_rate", ["learning_rate", "warmup"])
    "; did you mean 'learning_rate'?"
    >>> suggestion("zebra", ["learning_rate"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""Files that stay open between two reads: a few for each process, and none across a fork."""

import atexit
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

MOST_OPEN = 32
Handle = TypeVar("Handle")

_open: "OrderedDict[Hashable, Any]" = OrderedDict()
_owner = os.getpid()


def opened(opener: Callable[[Path], Handle], path: Path) -> Handle:
    """Return what `opener` makes of a path, the same object as long as it is among the latest few.

    Handles of libraries such as HDF5 can't be shared with a forked process, so each process opens
    its own. The oldest is closed, by its `close` method, when there are too many, and so is one
    whose file has changed.

    Args:
        opener: A function of a module, such as `h5py.File`; raises what the library raises.
        path: The file or folder.
    """
    global _owner
    if _owner != os.getpid():
        _open.clear()  # without closing: they belong to the parent
        _owner = os.getpid()
    stat = path.stat()
    place = (opener, path)
    stamp = (stat.st_size, stat.st_mtime_ns)
    if place in _open and _open[place][0] != stamp:
        _close(place)
    if place not in _open:
        _open[place] = (stamp, opener(path))
        while len(_open) > MOST_OPEN:
            _close(next(iter(_open)))
    _open.move_to_end(place)
    return cast(Handle, _open[place][1])


@atexit.register
def _close_all() -> None:
    if _owner == os.getpid():
        while _open:
            _close(next(iter(_open)))


def _close(place: Hashable) -> None:
    _, handle = _open.pop(place)
    if hasattr(handle, "close"):
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            handle.close()

"""Files and folders that appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framefill.errors import InputError

# Ours, and those of safetensors, which writes to a file of its own beside the one that it is given.
DRAFT = re.compile(r"\..+-[0-9a-f]{8}(\.[^.]*)?|\.tmp[A-Za-z0-9]{6}")
RETIRED = re.compile(r"\.(.+)-[0-9a-f]{8}-old")


@contextmanager
def replacing(path: Path, *, overwrite: bool, folder: bool = False) -> Iterator[Path]:
    """Give a temporary sibling to write, which becomes `path` once all has gone well.

    Args:
        path: The file or folder to make; its parents are made too.
        overwrite: Take the place of what is there already; otherwise it is refused.
        folder: A folder is made. Only a folder can take the place of a folder.

    Raises:
        InputError: the path exists and may not be replaced, or the place can't be written to.
    """
    if path.name in ("", ".."):
        raise InputError(f"'{path}' is no name for a file: choose one")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another name or pass --overwrite")
    if path.exists() and path.is_dir() != folder:
        raise InputError(f"{path} is a {'file' if folder else 'folder'}: choose another name")
    token = secrets.token_hex(4)
    temporary = path.with_name(f".{path.stem}-{token}{path.suffix}")
    retired = path.with_name(f".{path.name}-{token}-old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush(temporary)
            if path.is_dir():
                path.rename(retired)  # a folder can't be replaced in one step
            temporary.replace(path)
        finally:
            _remove(temporary)
            if retired.exists() and not path.exists():
                retired.rename(path)
            _remove(retired)
        _flush_names(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise InputError(
            f"{path} can't be written ({error.strerror or error}): "
            + ("free some space" if full else "choose another")
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that takes the name `path` when the block ends without an error.

    Raises:
        InputError: as `replacing`.
    """
    with replacing(path, overwrite=overwrite, folder=True) as draft:
        draft.mkdir()
        yield draft
        for file in draft.iterdir():
            if file.is_file():
                file.chmod(0o644)  # some libraries write files that nobody else can read


def set_aside(path: Path, why: str) -> Path:
    """Rename a file or folder to NAME.WHY, or NAME.WHY-2 and so on where that is there already."""
    taken, count = path.with_name(f"{path.name}.{why}"), 1
    while taken.exists():
        count += 1
        taken = path.with_name(f"{path.name}.{why}-{count}")
    return path.rename(taken)


def write_text(path: Path, text: str) -> None:
    """Write a text file, or replace it, so that it is never seen half written."""
    with replacing(path, overwrite=True) as draft:
        draft.write_text(text, encoding="utf-8")


def restore_after_a_kill(folder: Path) -> None:
    """Put in order what a process that was killed has left in a folder where it made files.

    What was set aside to be replaced comes back if nothing has taken its place, and drafts go.
    Nobody else may be writing there.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if retired := RETIRED.fullmatch(path.name):
            before = path.with_name(retired[1])
            if not before.exists():
                path.rename(before)
                continue
        if retired or DRAFT.fullmatch(path.name):
            _remove(path)


def _flush_names(folder: Path) -> None:
    """Make sure that a new name in a folder is on the disk, where the system can do so."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    """Make sure that the data is on the disk before the name is."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())
        elif file.is_dir():
            _flush_names(file)

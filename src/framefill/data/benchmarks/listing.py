"""What a data set has on a disk: its files, its lists, and HDF5 files of MCVD's made from it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from framefill.data.footage import Footage, Layout
from framefill.data.mcvd_shards import (
    ShardVideo,
    find_shards,
    has,
    open_shard_videos,
    shard_numbers,
)
from framefill.data.natural import natural
from framefill.data.sidecar import with_sidecar
from framefill.errors import InputError

MOST_TEXT = 2**27  # bytes of a list; that of Kinetics has some 20 MB
MANY = 20  # films, from which on a progress bar is shown


def own_entries(folder: Path) -> list[Path]:
    """Return what is in a folder, frame2 before frame10; nothing if it is none.

    Hidden entries are left out, and links, which could lead from one part to the other.

    Raises:
        InputError: it can't be listed.
    """
    if not folder.is_dir():
        return []
    try:
        found = [each for each in folder.iterdir() if not each.name.startswith(".")]
        return sorted((each for each in found if not each.is_symlink()), key=natural)
    except OSError as error:
        raise InputError(f"{folder} can't be listed ({error.strerror})") from error


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text that aren't empty, whatever ends them, without spaces around.

    Raises:
        InputError: it can't be read, or is no text of a list's size.
    """
    try:
        if path.stat().st_size > MOST_TEXT:
            raise InputError(f"{path} is too large for a list: fetch it again")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): add it") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text: fetch it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def open_films(found: Sequence[tuple[Path, str | None]], layout: Layout) -> list[Footage]:
    """Open video files with their classes; the first time each is decoded, to count its frames.

    Raises:
        InputError: one is damaged, or lacks a condition.
    """
    from framefill.data.films import open_film

    return [
        replace(with_sidecar(open_film(path), layout), label=label)
        for path, label in _with_progress(found)
    ]


def shard_videos(folder: Path) -> list[ShardVideo]:
    """Return the videos of all of MCVD's HDF5 files in a folder, in order.

    Raises:
        InputError: one is damaged, or h5py is missing.
    """
    return [video for path in find_shards(folder) for video in open_shard_videos(path)]


def shard_count(folder: Path) -> int:
    """Return how many videos there are in all of MCVD's HDF5 files in a folder.

    Raises:
        InputError: one is damaged, or h5py is missing.
    """
    return sum(len(shard_numbers(path)) for path in find_shards(folder))


def is_shard_folder(folder: Path, *names: str) -> bool:
    """Say whether a folder holds MCVD's HDF5 files, the first with some groups or arrays."""
    try:
        shards = find_shards(folder)
        return bool(shards) and all(has(shards[0], name) for name in ("len", *names))
    except (InputError, OSError):
        return False


def _with_progress(
    found: Sequence[tuple[Path, str | None]],
) -> Iterable[tuple[Path, str | None]]:
    console = Console(stderr=True)
    hidden = len(found) < MANY or not console.is_terminal
    return track(found, "opening videos", console=console, disable=hidden, transient=True)

"""What an HDF5 file holds itself: files of strangers can name others, which are never opened."""

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from framefill.data.named import LARGEST_CHUNK
from framefill.errors import InputError

if TYPE_CHECKING:
    import h5py

MOST_OBJECTS = 10_000
MOST_BESIDE = 1000  # objects of one group
AWAY = "which framefill doesn't follow: copy the data into one file (h5repack, or h5py)"


class Found(NamedTuple):
    """A dataset of a file, or a link that isn't followed.

    Args:
        name: Its path, without the first slash.
        dataset: Where it can be looked at.
        trouble: Why its values can't be read, or "".
    """

    name: str
    dataset: "h5py.Dataset | None"
    trouble: str


def everything(file: "h5py.File") -> Iterator[Found]:
    """Yield the datasets of a file by their hard links, and the other links as trouble.

    Raises:
        InputError: there are too many objects to look at.
    """
    import h5py

    stack: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {address_of(file)}
    count = 0
    while stack:
        prefix, group = stack.pop()
        for key in group:
            count += 1
            if count > MOST_OBJECTS:
                raise InputError(
                    f"{file.filename} holds more than {MOST_OBJECTS} objects: name the ones to "
                    "read with --data.variables (or --variables)"
                )
            name = f"{prefix}{key}"
            if away := link_away(group, key):
                yield Found(name, None, away)
                continue
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield Found(name, item, stored_away(item))
            elif isinstance(item, h5py.Group) and address_of(item) in seen:
                yield Found(name, None, "is another name of a group: HDF5 can loop so")
            elif isinstance(item, h5py.Group):
                seen.add(address_of(item))
                stack.append((f"{name}/", item))


def dataset_at(file: "h5py.File", name: str) -> Found | None:
    """Return the dataset of a path, going through hard links alone; None where there is none."""
    import h5py

    group: h5py.Group = file
    name = name.strip("/")
    for key in name.split("/"):
        if not key or not isinstance(group, h5py.Group):
            return None
        if not group.id.links.exists(_encoded(key)):
            return None
        if away := link_away(group, key):
            return Found(name, None, away)
        group = group[key]
    return Found(name, group, stored_away(group)) if isinstance(group, h5py.Dataset) else None


def beside(file: "h5py.File", name: str) -> Iterator[Found]:
    """Yield the datasets of the groups on the way to one, where its coordinates may be.

    None of a group with very many, since each has to be opened.
    """
    import h5py

    path: tuple[str, ...] = ()
    for key in ("", *name.strip("/").split("/")[:-1]):
        path = (*path, key) if key else path
        group = file
        for each in path:
            group = group[each]
        if len(group) > MOST_BESIDE:
            continue
        for other in group:
            if not link_away(group, other) and isinstance(group[other], h5py.Dataset):
                yield Found("/".join((*path, other)), group[other], stored_away(group[other]))


def link_away(group: "h5py.Group", key: str) -> str:
    """Return what is wrong with a link that isn't a hard one, else ""."""
    import h5py

    kind = group.id.links.get_info(_encoded(key)).type
    if kind == h5py.h5l.TYPE_HARD:
        return ""
    if kind == h5py.h5l.TYPE_SOFT:
        target = group.get(key, getlink=True).path
        return f"is a soft link: name what it points to, {str(target)[:100]!r}"
    if kind == h5py.h5l.TYPE_EXTERNAL:
        link = group.get(key, getlink=True)
        return f"is a link to another file ({str(link.filename)[:100]!r}), {AWAY}"
    return f"is a link of an unknown kind, {AWAY}"


def stored_away(dataset: "h5py.Dataset") -> str:
    """Return why the values of a dataset can't be read here, else ""."""
    settings = dataset.id.get_create_plist()
    if settings.get_external_count():
        return f"keeps its values in another file, {AWAY}"
    if dataset.is_virtual:
        return f"is made of datasets of other files (a virtual dataset), {AWAY}"
    size = prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if size > LARGEST_CHUNK:
        return (
            f"has chunks of {size / 2**30:.1f} GiB, which have to be loaded whole: repack it with "
            "smaller ones (h5repack)"
        )
    return ""


def address_of(item: "h5py.Group | h5py.Dataset") -> int:
    """Return where an object is in its file, which tells it from others."""
    import h5py

    return int(h5py.h5o.get_info(item.id).addr)


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")

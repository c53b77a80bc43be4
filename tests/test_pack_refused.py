"""Packed stores: what pack refuses to make, and damaged or hostile stores from elsewhere."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pack import SIZE, SPLITS, folder_of, footage_of, grid, noise, store

from framefill.data.footage import Footage, InMemory, Layout, Track
from framefill.data.formats import open_footage
from framefill.data.pack_write import pack
from framefill.data.timeline import even
from framefill.data.video import Stored
from framefill.data.videos import VideosConfig
from framefill.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_CACHE", str(tmp_path_factory.getbasetemp() / "film-indices"))


def small(tmp_path: Path, **changes: Any) -> VideosConfig:
    path = folder_of(tmp_path / "data", a=noise(9, 8, 8, 1), test_a=noise(5, 8, 8, 1))
    return VideosConfig(**{**SIZE, "path": path, **changes})


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("there", "exists: choose another folder"),
        ("a.pack", "choose a name without .pack"),
        ("a.zarr", "choose a name without .zarr"),
        ("data/out", "is inside the data"),
        ("data/train/x/../y", "is inside the data"),
        ("file/out", "can't be written"),
    ],
)
def test_places_that_would_do_harm_are_refused(tmp_path: Path, out: str, message: str) -> None:
    config = small(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = names_below(tmp_path)
    with pytest.raises(InputError, match=message):
        pack(config, tmp_path / out)
    assert names_below(tmp_path) == before


def test_too_little_space_is_found_before_anything_is_written(tmp_path: Path) -> None:
    config = small(tmp_path, height=1024, width=1024)
    for split in SPLITS:
        (tmp_path / "data" / split / "a.npy").unlink()
        np.lib.format.open_memmap(  # sparse: it has no such size on the disk
            tmp_path / "data" / split / "a.npy", "w+", np.uint8, shape=(2**22, 1024, 1024, 1)
        )
    with pytest.raises(InputError, match=r"out needs 8,192\.00 GiB and its disk has [\d,.]+ GiB"):
        pack(config, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_a_store_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "data", a=noise(9, 8, 8, 1, dtype=np.float32))
    spoiled = noise(9, 8, 8, 1, dtype=np.float32)
    spoiled[7] = np.inf
    np.save(path / "train" / "b.npy", spoiled)
    shutil.copytree(path / "train", path / "test")
    config = VideosConfig(path=path, height=4, width=4, channels=1, fit="stretch")
    with pytest.raises(InputError, match=r"b\.npy from frame 0 on holds infinite values"):
        pack(config, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_data_without_a_test_part_is_packed_if_asked_for(tmp_path: Path) -> None:
    config = VideosConfig(path=folder_of(tmp_path / "data", a=noise(9, 8, 8, 1)), **SIZE)
    with pytest.raises(InputError, match="has train and no test"):
        pack(config, tmp_path / "out")
    pack(config, tmp_path / "out", splits=("train",))
    (only,) = (tmp_path / "out").iterdir()
    assert only.name == "train.pack"
    assert only.stat().st_mode & 0o111  # it can be entered


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 4}, "has frames of 8x8x1"),
        ({"path": None}, "no videos"),
        ({"classes": ("cat",)}, "is of none of the classes cat"),
        ({"height": 4, "fit": "pad"}, "fit pad"),
        ({"fps": 5.0}, "has neither time stamps nor a frame rate"),
    ],
)
def test_what_training_would_refuse_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pack(small(tmp_path, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@dataclass
class Growing:
    """A reader of vectors that become longer once more than one is asked for."""

    def __call__(self, places: Sequence[int]) -> np.ndarray:
        return np.zeros((len(places), min(len(places), 2)), np.float32)


def test_a_video_that_changes_while_it_is_packed_is_refused(tmp_path: Path) -> None:
    frames = noise(4, 8, 8, 1)
    config = VideosConfig(**SIZE)
    changed = footage_of(frames, reader=InMemory(noise(4, 8, 9, 1)))
    with pytest.raises(InputError, match="has the file changed"):
        store(tmp_path / "a.pack", changed, config=config)
    longer = footage_of(frames, tracks={"go": Track("vector", 1, Growing())})
    with pytest.raises(InputError, match=r"'go' of a\.npy gave \(2,\) and .* has the file changed"):
        store(tmp_path / "c.pack", longer, config=replace(config, conditions=("go",)))
    halves = footage_of(
        frames.astype(np.float32) + np.float32(0.5),
        present=np.array([True, True, True, True]),
        stored=Stored("uint8", math.nan),
    )
    with pytest.raises(InputError, match=r"a\.npy has values that are no uint8"):
        store(tmp_path / "b.pack", halves, config=config)


# Stores from elsewhere


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores with all that there can be in one."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "data"
    for split in SPLITS:
        grid(path / split / "a.nc", [0, 1, 2, 3, 6, 7], u=noise(6, 32, 32))
        grid(path / split / "b.nc", range(4), u=noise(4, 32, 32))
        for name, length in {"a": 6, "b": 4}.items():
            vectors, maps = noise(length, 2), noise(length, 32, 32)
            place = path / split / f"{name}.conditions.npz"
            np.savez(place, go=vectors, sea=noise(32, 32), wind=maps)
    names = ("go", "sea", "wind")
    pack(VideosConfig(path=path, height=32, width=32, channels=1, conditions=names), folder / "out")
    return folder / "out"


@pytest.fixture
def whole(once: Path, tmp_path: Path) -> Path:
    """A store that may be damaged."""
    shutil.copytree(once, tmp_path / "out")
    return tmp_path / "out" / "train.pack"


def opened(path: Path) -> list[Footage]:
    """Open a store and read all of it."""
    found = open_footage(path, Layout(conditions=("go", "sea", "wind")))
    for footage in found:
        footage.take(range(footage.length))
        for track in footage.tracks.values():
            track.reader(range(footage.length))
        even(footage)
    return found


def change(path: Path, **fields: Any) -> None:
    index = json.loads((path / "index.json").read_text())
    (path / "index.json").write_text(json.dumps({**index, **fields}))


def change_video(path: Path, number: int = 0, **fields: Any) -> None:
    index = json.loads((path / "index.json").read_text())
    index["videos"][number].update(fields)
    (path / "index.json").write_text(json.dumps(index))


def replace_text(path: Path, old: str, new: str) -> None:
    text = (path / "index.json").read_text()
    assert old in text
    (path / "index.json").write_text(text.replace(old, new))


def run_of(path: Path, name: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    index = json.loads((path / "index.json").read_text())
    return {**index["videos"][number][name], **fields}


def replace_array(path: Path, name: str, array: np.ndarray) -> None:
    np.save(path / name, array, allow_pickle=array.dtype == object)


def truncate(path: Path, change: int) -> None:
    os.truncate(path, path.stat().st_size + change)


def outside(path: Path, name: str) -> None:
    """Take the frames of a store from its parent folder."""
    (path / "frames-0000.npy").rename(path.parent / "frames-0000.npy")
    text = (path / "index.json").read_text()
    (path / "index.json").write_text(text.replace('"frames-0000.npy"', json.dumps(name)))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "another version": lambda p: change(p, version=2),
    "no version": lambda p: change(p, version=None),
    "true for a version": lambda p: change(p, version=[]),
    "an unknown key": lambda p: change(p, extra=1),
    "no videos": lambda p: change(p, videos=[]),
    "videos of another kind": lambda p: change(p, videos={"a": 1}),
    "a number for videos": lambda p: change(p, videos=5),
    "a video of another kind": lambda p: change(p, videos=[5]),
    "the same fault a thousand times": lambda p: change(p, videos=[{"frame": 1}] * 1000),
    "no JSON": lambda p: (p / "index.json").write_text("{"),
    "no text": lambda p: (p / "index.json").write_bytes(b"\xff\xfe\x00"),
    "a list": lambda p: (p / "index.json").write_text("[]"),
    "deep": lambda p: (p / "index.json").write_text("[" * 100_000),
    "NaN": lambda p: (p / "index.json").write_text('{"version": NaN}'),
    "no index": lambda p: (p / "index.json").unlink(),
    "a huge index": lambda p: os.truncate(p / "index.json", 2**40),
    "a linked index": lambda p: (
        (p / "index.json").rename(p / "b") and ((p / "index.json").symlink_to(p / "b"))
    ),
    "a path up": lambda p: outside(p, "../frames-0000.npy"),
    "an absolute path": lambda p: outside(p, str(p.parent / "frames-0000.npy")),
    "a link": lambda p: (
        (p / "frames-0000.npy").unlink()
        or ((p / "frames-0000.npy").symlink_to(p.parent / "test.pack" / "frames-0000.npy"))
    ),
    "a missing file": lambda p: (p / "frames-0000.npy").unlink(),
    "a folder for a file": lambda p: (
        (p / "frames-0000.npy").unlink() or ((p / "frames-0000.npy").mkdir())
    ),
    "a file cut off": lambda p: truncate(p / "frames-0000.npy", -1),
    "bytes behind the end": lambda p: truncate(p / "times-0000.npy", 8000),
    "an empty file": lambda p: os.truncate(p / "frames-0000.npy", 0),
    "text for an array": lambda p: (p / "frames-0000.npy").write_text("frames"),
    "pickled objects": lambda p: replace_array(p, "frames-0000.npy", np.array([{}] * 10)),
    "columns first": lambda p: replace_array(
        p, "frames-0000.npy", np.asfortranarray(noise(10, 32, 32, 1))
    ),
    "swapped bytes": lambda p: replace_array(
        p, "times-0000.npy", np.arange(12, dtype=np.dtype("f8").newbyteorder("S"))
    ),
    "more frames than are used": lambda p: replace_array(
        p, "frames-0000.npy", noise(11, 32, 32, 1)
    ),
    "flat frames": lambda p: replace_array(p, "frames-0000.npy", noise(10, 32, 96)),
    "a lone number": lambda p: replace_array(p, "frames-0000.npy", noise()),
    "frames of nothing": lambda p: replace_array(p, "frames-0000.npy", noise(10, 32, 0, 3)),
    "frames of words": lambda p: replace_array(
        p, "frames-0000.npy", np.full((10, 32, 32, 1), "text")
    ),
    "wide frames in narrow ones": lambda p: replace_array(
        p, "frames-0000.npy", noise(10, 32, 32, 1, dtype=np.float64)
    ),
    "frames from before": lambda p: change_video(p, frames=run_of(p, "frames", start=-1)),
    "frames of another video": lambda p: change_video(
        p, number=1, frames=run_of(p, "frames", 1, start=0)
    ),
    "more frames than there are": lambda p: change_video(
        p, number=1, frames=run_of(p, "frames", 1, length=10**18), length=10**8
    ),
    "less than no frames": lambda p: change_video(p, frames=run_of(p, "frames", length=-6)),
    "a wrong length": lambda p: change_video(p, length=9),
    "no length": lambda p: change_video(p, length=0),
    "a length beyond reason": lambda p: change_video(p, length=2**60),
    "half a length": lambda p: change_video(p, length=7.5),
    "an unknown dtype": lambda p: change_video(p, dtype="object"),
    "integers with holes": lambda p: change_video(p, dtype="uint8"),
    "a rate of 0": lambda p: change_video(p, fps=0),
    "a rate beyond numbers": lambda p: replace_text(p, '"fps":null', '"fps":1e999'),
    "names for other channels": lambda p: change_video(p, channels=["u", "v"]),
    "stored as objects": lambda p: change_video(p, stored={"dtype": "O", "missing": "nan"}),
    "no number for missing": lambda p: change_video(p, stored={"dtype": "uint8", "missing": "x"}),
    "flags of another kind": lambda p: change_video(p, present=run_of(p, "times")),
    "flags of other frames": lambda p: replace_array(
        p, "present-0000.npy", np.array([True] * 3 + [False] * 5)
    ),
    "no flags": lambda p: change_video(p, present=None),
    "stamps of another kind": lambda p: replace_array(p, "times-0000.npy", np.arange(12)),
    "stamps that descend": lambda p: replace_array(p, "times-0000.npy", np.arange(12.0)[::-1]),
    "stamps of fewer frames": lambda p: change_video(p, times=run_of(p, "times", length=5)),
    "a condition of fewer frames": lambda p: (
        replace_array(p, "conditions-0000.npy", noise(11, 2, dtype=np.float32)),
        replace_text(p, '"start":8,"length":4}},"sea"', '"start":8,"length":3}},"sea"'),
    ),
    "vectors for maps": lambda p: replace_text(p, '"kind":"vector"', '"kind":"map"'),
    "a condition of another kind": lambda p: replace_text(p, '"kind":"vector"', '"kind":"static"'),
    "a condition of no kind": lambda p: replace_text(p, '"kind":"vector"', '"kind":"x"'),
    "a condition of integers": lambda p: replace_array(p, "conditions-0000.npy", noise(12, 2)),
}


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE)
def test_damaged_and_hostile_stores_are_refused(
    whole: Path, harm: Callable[[Path], object]
) -> None:
    assert len(opened(whole)) == 2
    harm(whole)
    with pytest.raises(InputError) as caught:
        opened(whole)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("length", [0, 2**28 + 1])
def test_no_frames_and_too_many_are_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.pack"
    store(path, footage_of(noise(3, 8, 8, 1)))
    (path / "frames-0000.npy").unlink()
    shape = (length, 1, 1, 1)  # sparse: it takes no space on the disk
    np.lib.format.open_memmap(path / "frames-0000.npy", "w+", np.uint8, shape=shape)
    change_video(path, length=length, frames=run_of(path, "frames", length=length))
    with pytest.raises(InputError, match=f"has {length} frames"):
        open_footage(path, Layout())


def test_a_file_for_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pack").write_text("frames")
    with pytest.raises(InputError, match=r"a\.pack has no index\.json"):
        open_footage(tmp_path / "a.pack", Layout())


def test_a_store_that_changes_after_it_was_opened_is_refused(whole: Path) -> None:
    path = whole
    first, _ = opened(path)
    replace_array(path, "frames-0000.npy", noise(10, 32, 16, 3))
    with pytest.raises(InputError, match=r"frames-0000\.npy has changed since it was opened"):
        first.take([0])
    replace_array(path, "frames-0000.npy", noise(3, 32, 32, 1))
    with pytest.raises(InputError, match=r"frames-0000\.npy has changed since it was opened"):
        first.take([0])
    truncate(path / "frames-0000.npy", -5)
    with pytest.raises(InputError, match=r"frames-0000\.npy can't be read as an array"):
        first.take([0])
    (path / "frames-0000.npy").unlink()
    with pytest.raises(InputError, match=r"frames-0000\.npy can't be read as an array"):
        first.take([0])


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in JSON data."""
    if place:
        yield place
    entries = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(entries, dict):
        for name, inner in entries.items():
            yield from leaves(inner, (*place, name))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["float32", "uint8", "times-0000.npy", "vector", "static"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def test_no_index_gives_anything_but_videos_or_an_input_error(whole: Path) -> None:
    path = whole
    text = (path / "index.json").read_text()
    places = list(leaves(json.loads(text)))

    @given(st.sampled_from(places), JSON)
    @settings(max_examples=300, deadline=None)
    def check(place: tuple[Any, ...], value: Any) -> None:
        index = json.loads(text)
        here = index
        for name in place[:-1]:
            here = here[name]
        here[place[-1]] = value
        (path / "index.json").write_text(json.dumps(index))
        try:
            found = opened(path)
        except InputError:
            return
        assert 1 <= len(found) <= 2

    check()

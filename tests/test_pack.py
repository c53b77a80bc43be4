"""Packed stores: the same clips as from the source, in any process; hostile stores are refused."""

import math
import multiprocessing
import pickle
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_timeline import clock, kept_places

from framefill.batch import Batch
from framefill.cli import COMMANDS
from framefill.config import LogConfig, OptimConfig
from framefill.data import pack_plan
from framefill.data.footage import Footage, InMemory, Layout
from framefill.data.pack import open_pack
from framefill.data.pack_plan import PackPlan
from framefill.data.pack_write import pack
from framefill.data.sample import Split
from framefill.data.timeline import even
from framefill.data.video import Stored
from framefill.data.videos import VideoClips, VideosConfig
from framefill.errors import InputError
from framefill.masks import ContextMasks, RandomMasks
from framefill.nn.config import ContextConfig, VolumeConfig
from framefill.parsing import parse_command
from framefill.recipes import recipe
from framefill.run import train
from framefill.training import batches

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "domains"
needs_real = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real videos are not at {DATA}")
SPLITS: tuple[Split, ...] = ("train", "test")
SIZE: dict[str, Any] = {"height": 8, "width": 8, "channels": 1}
LARGE: dict[str, Any] = {"height": 16, "width": 16, "channels": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_CACHE", str(tmp_path_factory.getbasetemp() / "film-indices"))


def noise(*shape: int, seed: int = 0, dtype: Any = np.uint8) -> np.ndarray:
    values = np.random.default_rng([seed, *shape]).integers(0, 256, shape)
    return values.astype(dtype)


def folder_of(folder: Path, **arrays: np.ndarray) -> Path:
    """Arrays, of which those that are named test_... are held out."""
    for name, array in arrays.items():
        stem = name.removeprefix("test_")
        place = folder / ("train" if stem == name else "test")
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{stem}.npy", array)
    return folder


def film(path: Path, frames: np.ndarray, places: Sequence[int]) -> None:
    """A lossless film at 10 frames per second, of which some places are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        stream.codec_context.time_base = Fraction(1, 10)
        for frame, place in zip(frames, places, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = place, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def grid(path: Path, places: Sequence[int], seconds: float = 0.1, **variables: np.ndarray) -> None:
    """A NetCDF file of variables [f h w], of which some places are empty."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: (("time", "y", "x"), values) for name, values in variables.items()}
    times = clock(places, step=seconds, dates=True)
    xarray.Dataset(content, coords={"time": times}).to_netcdf(path)


def same(ours: Any, theirs: Any) -> bool:
    """The same bits, NaN for NaN."""
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
    )


def originals(clips: VideoClips) -> list[str]:
    """What the videos are in their files, which decides how they are scaled."""
    return [each.stored.dtype if each.stored else each.dtype.name for each in clips.footage]


def check_clips(source: VideosConfig, packed: VideosConfig, frames: int, count: int = 24) -> None:
    """Fail unless both give the same clips, with all that goes with them."""
    for split in SPLITS:
        ours, theirs = (
            config.clips(frames=frames, split=split, seed=3) for config in (packed, source)
        )
        assert ours.dtype == theirs.dtype
        assert len(ours.left_out) == len(theirs.left_out)
        assert originals(ours) == originals(theirs)
        for index in range(count):
            one, other = ours.clip(index), theirs.clip(index)
            assert same(one["frames"], other["frames"])
            assert one.get("label") == other.get("label")
            assert ours.label(index) == theirs.label(index)
            conditions, wanted = one.get("conditions", {}), other.get("conditions", {})
            assert list(conditions) == list(wanted) == list(source.conditions)
            assert all(same(conditions[name], wanted[name]) for name in conditions)


def packed_from(config: VideosConfig, out: Path, **options: Any) -> VideosConfig:
    """Pack data, and return the configuration that training from the store takes."""
    lines: list[str] = []
    pack(config, out, say=lines.append, **options)
    words = shlex.split(lines[-1].partition("framefill ")[2])
    words[1] = "small-st" if "--data.conditions" in words else "bair-ramvid"
    words += ["--network.classes", "9"] if "--data.classes" in words else []
    call: Any = parse_command(COMMANDS, words)
    data = replace(call.keywords["config"].data, path=call.keywords["data"])
    return replace(data, fit="none") if data.fit == "ramvid" else data  # which is the recipe's


PLAIN = {
    "as they are": {},
    "every other frame": {"every": 2},
    "mirrored and turned": {"flip": True, "flip_rows": True, "turn": True},
    "with classes": {"classes": ("cat", "dog")},
    "with all classes": {"classes": ("all",)},
    "stretched": {"height": 8, "width": 24, "fit": "stretch"},
    "cropped to a smaller shape": {"height": 8, "fit": "crop"},
    "cropped and made smaller": {**SIZE, "fit": "crop"},
    "only cut": {"width": 8, "fit": "crop"},
    "another filter": {**SIZE, "fit": "stretch", "resize": "lanczos"},
    "RaMViD's way": {**SIZE, "fit": "ramvid"},
    "padded": {"height": 24, "fit": "pad"},
    "in color": {"channels": 3, "fit": "stretch"},
}


@pytest.mark.parametrize("changes", PLAIN.values(), ids=PLAIN)
def test_clips_are_those_of_the_source(tmp_path: Path, changes: dict[str, Any]) -> None:
    videos = {
        f"{name}_{i}": noise(9 + i, 16, 16, 1, seed=i) for i, name in enumerate(["cat", "dog"])
    }
    held = {f"test_cat_{i}": noise(7, 16, 16, 1, seed=i) for i in range(12)}
    path = folder_of(tmp_path / "data", **videos, **held)
    config = VideosConfig(path=path, **{**LARGE, **changes})
    data = packed_from(config, tmp_path / "out")
    check_clips(config.resolved(), data.resolved(), frames=3)
    # What was done already may be asked for again.
    check_clips(config.resolved(), replace(data.resolved(), fit=config.fit), frames=3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("fit", ["none", "crop"])
def test_values_of_any_dtype_are_kept(tmp_path: Path, dtype: str, fit: Any) -> None:
    path = folder_of(tmp_path / "data", a=noise(9, 16, 16, 2, dtype=dtype))
    np.save(path / "train" / "b.npy", noise(5, 16, 16, 2, dtype=dtype) // 3)
    if dtype.startswith("float"):
        holed = noise(6, 16, 16, 2, dtype=dtype)
        holed[1:3, 2:5, :, 0], holed[4] = np.nan, np.nan
        np.save(path / "train" / "c.npy", holed)
    shutil.copytree(path / "train", path / "test")
    size = 16 if fit == "none" else 8
    config = VideosConfig(path=path, height=size, width=size, channels=2, fit=fit)
    data = packed_from(config, tmp_path / "out")
    check_clips(config, data, frames=4)
    (file,) = (tmp_path / "out" / "train.pack").glob("frames-*.npy")
    assert np.load(file).dtype == dtype


def test_short_videos_take_part_as_they_do_from_the_source(tmp_path: Path) -> None:
    videos = {name: noise(length, 8, 8, 1) for name, length in {"a": 4, "b": 9, "c": 6}.items()}
    path = folder_of(
        tmp_path / "data", **videos, test_a=noise(4, 8, 8, 1), test_b=noise(7, 8, 8, 1)
    )
    config = VideosConfig(path=path, **SIZE)
    data = packed_from(config, tmp_path / "out")
    check_clips(config, data, frames=6)
    assert len(data.clips(frames=6, split="train", seed=0).left_out) == 1
    assert all(
        len(open_pack(tmp_path / "out" / f"{s}.pack", Layout())) == n
        for s, n in (("train", 3), ("test", 2))
    )


@pytest.mark.parametrize(("dtype", "size"), [("float32", 8), ("float32", 16), ("uint8", 16)])
def test_short_videos_are_padded_in_time_as_from_the_source(
    tmp_path: Path, dtype: str, size: int
) -> None:
    path = folder_of(tmp_path / "data", a=noise(3, 16, 16, 1, dtype=dtype))
    np.save(path / "train" / "b.npy", noise(9, 16, 16, 1, dtype=dtype))
    shutil.copytree(path / "train", path / "test")
    config = VideosConfig(path=path, height=size, width=size, channels=1, fit="crop", short="pad")
    data = packed_from(config, tmp_path / "out")
    assert data.short == "pad"
    check_clips(config, data, frames=6)
    assert any(np.isnan(data.clips(frames=6, split="train", seed=3)[i]).any() for i in range(9))


@pytest.mark.parametrize("fps", [0.0, 10.0, 4.0, 25.0])
@pytest.mark.parametrize("fit", ["none", "crop"])
def test_holes_in_time_stamps_are_kept_and_take_no_space(
    tmp_path: Path, fps: float, fit: Any
) -> None:
    path = tmp_path / "data"
    for split in SPLITS:
        grid(path / split / "a.nc", [*range(7), *range(9, 14)], u=noise(12, 16, 16))
        grid(path / split / "b.nc", range(9), u=noise(9, 16, 16, seed=1))
    size = 16 if fit == "none" else 8
    config = VideosConfig(path=path, height=size, width=size, channels=1, fit=fit, fps=fps)
    first = config.footage("train")[0][0]
    assert first.dtype == np.float32
    assert first.present is not None
    assert not first.present.all()
    data = packed_from(config, tmp_path / "out")
    assert data.fps == 0
    for rate in (0.0, fps):
        check_clips(config, replace(data, fps=rate), frames=4)
    files = [np.load(file) for file in (tmp_path / "out" / "train.pack").glob("frames-*.npy")]
    assert {each.dtype.name for each in files} == {"uint8" if fit == "none" else "float32"}
    if not fps:
        assert sum(map(len, files)) == 12 + 9
    ours = data.footage("train")[0][0].stored
    assert ours is not None
    assert first.stored is not None
    assert ours.dtype == first.stored.dtype == "uint8"
    assert math.isnan(ours.missing)


@pytest.mark.parametrize("fps", [0.0, 4.0, 25.0])
def test_films_that_drop_frames_are_the_same(tmp_path: Path, fps: float) -> None:
    for split in SPLITS:
        film(tmp_path / "data" / split / "a.mkv", noise(12, 32, 32, 3), [*range(7), *range(9, 14)])
    config = VideosConfig(path=tmp_path / "data", height=16, width=16, fit="crop", fps=fps)
    data = packed_from(config, tmp_path / "out")
    for rate in (0.0, fps):
        check_clips(config, replace(data, fps=rate), frames=4)
    # Stamps that are kept allow for another rate later.
    if not fps:
        check_clips(replace(config, fps=5.0), replace(data, fps=5.0), frames=3)


def test_grids_keep_their_missing_values_stamps_and_names(tmp_path: Path) -> None:
    values = noise(9, 8, 8, 2, dtype=np.float32)
    values[2, :, 3] = np.nan
    for split in SPLITS:
        path = tmp_path / "data" / split / "a.nc"
        grid(path, [*range(6), 8, 9, 10], 300.0, u=values[..., 0], v=values[..., 1])
    size = {**SIZE, "channels": 2}
    config = VideosConfig(path=tmp_path / "data", variables=("u", "v"), **size)
    data = packed_from(config, tmp_path / "out")
    check_clips(config, data, frames=3)
    check_clips(config, replace(data, variables=("u", "v")), frames=3)
    (ours,), (theirs,) = data.footage("train")[0], config.footage("train")[0]
    assert ours.times is not None
    assert theirs.times is not None
    assert same(ours.times, theirs.times)
    assert ours.channels == theirs.channels == ("u", "v")
    assert (ours.length, ours.stored) == (theirs.length, theirs.stored)
    with pytest.raises(InputError, match=r"was packed with variables \('u', 'v'\), not \('u',\)"):
        replace(data, variables=("u",)).footage("train")


def test_units_and_rates_are_kept(tmp_path: Path) -> None:
    source = footage_of(noise(4, 8, 8, 1), units="K", fps=12.5, label="cat")
    (packed,) = store(tmp_path / "a.pack", source)
    assert (packed.units, packed.fps, packed.label) == ("K", 12.5, "cat")
    assert (packed.times, packed.present, packed.stored) == (None, None, None)


@pytest.mark.parametrize("fit", ["none", "stretch"])
def test_conditions_go_along(tmp_path: Path, fit: Any) -> None:
    names = ("action", "height", "land")
    for split in SPLITS:
        for number, length in enumerate((7, 5)):
            path = tmp_path / "data" / split / f"v{number}.mkv"
            film(path, noise(length, 32, 32, 3, seed=number), range(length))
            np.savez(
                path.with_suffix(".conditions.npz"),
                action=noise(length, 3, seed=number) / 7,
                height=noise(length, 32, 32, 2, seed=number) / 7,
                land=noise(1, 32, 32, 1, seed=number) / 7,
                unused=noise(length, 2),
            )
    size = 32 if fit == "none" else 16
    path = tmp_path / "data"
    config = VideosConfig(path=path, height=size, width=size, fit=fit, conditions=names)
    data = packed_from(config, tmp_path / "out")
    assert data.conditions == names
    check_clips(config, data, frames=3)
    check_clips(
        replace(config, conditions=("land",)), replace(data, conditions=("land",)), frames=3
    )
    with pytest.raises(InputError, match="has no 'unused' and there is no"):
        replace(data, conditions=("unused",)).footage("train")


def test_one_video_is_divided_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "only.npy", noise(40, 8, 8, 1))
    config = VideosConfig(path=tmp_path / "only.npy", holdout=0.25, **SIZE)
    data = packed_from(config, tmp_path / "out")
    check_clips(config, data, frames=3)
    assert [each.length for split in SPLITS for each in data.footage(split)[0]] == [30, 10]
    (name,) = (each.name for each in data.footage("test")[0])
    assert name == f"{tmp_path / 'out' / 'test.pack'} only.npy frames 30..39"


def test_a_store_with_holes_can_be_packed_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for split in SPLITS:
        grid(path / split / "a.nc", [0, 1, 2, 3, 6, 7], u=noise(6, 16, 16))
        grid(path / split / "b.nc", range(5), u=noise(5, 16, 16, seed=1))
    config = VideosConfig(path=path, fit="crop", **SIZE)
    first = packed_from(config, tmp_path / "first")
    check_clips(config, packed_from(first, tmp_path / "second"), frames=3)


def test_a_store_can_be_packed_again_smaller(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "data", a=noise(9, 16, 16, 1), test_a=noise(9, 16, 16, 1, seed=1))
    data = packed_from(VideosConfig(path=path, **LARGE), tmp_path / "large")
    config = VideosConfig(path=path, fit="stretch", **SIZE)
    again = replace(config, path=data.path)
    check_clips(config, packed_from(again, tmp_path / "small"), frames=3)


@needs_real
def test_real_videos_are_the_same(tmp_path: Path) -> None:
    config = VideosConfig(path=DATA / "kth32", height=24, width=32, fit="crop", flip=True)
    if not (DATA / "kth32" / "test").exists():  # it is called val there
        shutil.copytree(DATA / "kth32" / "train", tmp_path / "kth" / "train")
        shutil.copytree(DATA / "kth32" / "val", tmp_path / "kth" / "test")
        config = replace(config, path=tmp_path / "kth")
    check_clips(config, packed_from(config, tmp_path / "out"), frames=10)


def test_a_video_is_never_split_and_files_have_a_limit(tmp_path: Path) -> None:
    lengths = [5, 3, 4, 20, 2, 2, 6]
    videos = {f"v{i}": noise(length, 8, 8, 1, seed=i) for i, length in enumerate(lengths)}
    path = folder_of(tmp_path / "data", **videos, test_a=noise(5, 8, 8, 1))
    config = VideosConfig(path=path, **SIZE)
    data = packed_from(config, tmp_path / "out", file_bytes=10 * 64)
    files = sorted((tmp_path / "out" / "train.pack").glob("frames-*.npy"))
    assert [len(np.load(file)) for file in files] == [8, 4, 20, 10]
    check_clips(config, data, frames=2)


@dataclass
class Sparing:
    """A reader that notes the most frames that were ever asked for at once."""

    array: np.ndarray
    most: int = 0

    def __call__(self, places: Sequence[int]) -> np.ndarray:
        self.most = max(self.most, len(places))
        return self.array[list(places)]


def footage_of(frames: np.ndarray, **fields: Any) -> Footage:
    known: dict[str, Any] = {
        "name": "a.npy",
        "path": Path("a.npy"),
        "length": len(frames),
        "shape": frames.shape[1:],
        "dtype": frames.dtype,
        "reader": InMemory(frames),
    }
    return Footage(**{**known, **fields})


def store(folder: Path, *footage: Footage, config: VideosConfig | None = None) -> list[Footage]:
    """Pack footage and open it."""
    config = config or VideosConfig(**SIZE)
    plan = PackPlan.of(config, list(footage), np.dtype(np.uint8), 2**32)
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder, lambda frames: None)
    assert plan.bytes == sum(file.stat().st_size for file in folder.iterdir())
    return open_pack(folder, Layout(conditions=config.conditions))


def test_no_video_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_plan, "CHUNK_BYTES", 700)
    frames = noise(99, 8, 8, 1)
    reader = Sparing(frames)
    (packed,) = store(tmp_path / "a.pack", footage_of(frames, reader=reader))
    assert reader.most == 10
    assert np.array_equal(packed.take(range(99)), frames)
    assert np.array_equal(packed.take(range(3, 50, 7)), frames[3:50:7])
    assert np.array_equal(packed.take([2, 2, 8, 98]), frames[[2, 2, 8, 98]])
    later = packed.section(40, 90)
    assert np.array_equal(later.take([0, 49]), frames[[40, 89]])


@given(kept_places(), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_time_stamps_are_evened_once(
    tmp_path: Path, places: list[int], seed: int, dates: bool, floats: bool
) -> None:
    jitter = np.random.default_rng(seed).uniform(-0.09, 0.09, len(places))
    frames = noise(len(places), 2, 2, 1, dtype=np.float32 if floats else np.uint8)
    times = clock(np.array(places) + jitter, dates=dates)
    source = even(footage_of(frames, times=times))
    size = VideosConfig(height=2, width=2, channels=1)
    (packed,) = store(tmp_path / "a.pack", source, config=size)
    assert same(packed.take(range(packed.length)), source.take(range(source.length)))
    again = even(packed)
    assert again is packed
    assert packed.times is not None
    assert source.times is not None
    assert same(packed.times, source.times)
    assert (packed.length, packed.dtype) == (source.length, source.dtype)
    for file in (tmp_path / "a.pack").iterdir():
        file.unlink()


def test_a_video_of_nothing_but_missing_frames_is_packed(tmp_path: Path) -> None:
    frames = np.full((4, 8, 8, 1), np.nan, np.float32)
    lost = footage_of(frames, present=np.zeros(4, np.bool_))
    kept = footage_of(noise(3, 8, 8, 1, dtype=np.float32))
    packed = store(tmp_path / "a.pack", lost, kept, lost)
    assert [len(each.take(range(each.length))) for each in packed] == [4, 3, 4]
    assert np.isnan(packed[2].take([1, 3])).all()
    assert not np.isnan(packed[1].take([0, 2])).any()


@pytest.mark.parametrize("missing", [math.nan, -999.0])
def test_missing_pixels_of_integers_are_kept(tmp_path: Path, missing: float) -> None:
    frames = noise(5, 8, 8, 1, dtype=np.float32)
    frames[1, 2:4] = frames[4] = np.nan
    present = None if math.isnan(missing) else np.array([True, True, True, True, False])
    source = footage_of(frames, present=present, stored=Stored("int16", missing))
    (packed,) = store(tmp_path / "a.pack", source)
    assert same(packed.take(range(5)), frames)
    assert packed.stored is not None
    assert packed.stored.dtype == "int16"
    assert np.array_equal(packed.stored.missing, missing, equal_nan=True)


def test_integers_with_missing_frames_keep_what_stands_in_their_place(tmp_path: Path) -> None:
    frames, present = noise(5, 8, 8, 1), np.array([True, False, True, True, False])
    (packed,) = store(tmp_path / "a.pack", footage_of(frames, present=present))
    assert np.array_equal(packed.take(range(5)), frames)
    assert packed.present is not None
    assert np.array_equal(packed.present, present)


# Training


def loaded(data: VideosConfig, workers: int, start: int) -> list[Batch]:
    config = replace(
        recipe("bair-ramvid"),
        data=data,
        masks=RandomMasks(frames=6, max_known=2),
        network=VolumeConfig(classes=4),
        optim=OptimConfig(steps=5, batch=3),
        workers=workers,
    )
    return list(batches(config, config.clips("train"), start))


@pytest.fixture
def start_method() -> Iterator[Callable[[Literal["fork", "spawn"]], None]]:
    before = multiprocessing.get_start_method()
    yield lambda method: multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize(
    ("method", "workers", "starts"), [("fork", 0, [0, 2]), ("fork", 2, [0, 2]), ("spawn", 2, [2])]
)
def test_batches_depend_on_seed_and_step_alone(
    tmp_path: Path, start_method: Any, method: str, workers: int, starts: list[int]
) -> None:
    arrays = {f"v{i}": noise(14 + i, 8, 8, 1, seed=i) for i in range(4)}
    path = folder_of(tmp_path / "data", **arrays, test_v0=noise(12, 8, 8, 1))
    source = VideosConfig(path=path, flip=True, classes=("v0", "v1", "v2", "v3"), **SIZE)
    data = packed_from(source, tmp_path / "out")
    expected = loaded(source, 0, 0)
    start_method(method)
    for start in starts:
        found = loaded(data, workers, start)
        assert len(found) == 5 - start
        for ours, theirs in zip(found, expected[start:], strict=True):
            assert torch.equal(ours.frames, theirs.frames)
            assert ours.classes is not None
            assert theirs.classes is not None
            assert torch.equal(ours.classes, theirs.classes)


def test_training_from_a_store_is_training_from_its_source(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "data", a=noise(9, 12, 12, 1), test_a=noise(9, 12, 12, 1))
    source = VideosConfig(path=path, height=8, width=8, channels=1, fit="crop", flip=True)
    data = packed_from(source, tmp_path / "out")
    weights = []
    for number, each in enumerate((source, data)):
        config = replace(
            recipe("digits"),
            data=each,
            masks=ContextMasks(past=1, target=1, future=1),
            network=ContextConfig(
                width=8, multipliers=(1,), blocks=1, attention=(), head_width=None
            ),
            optim=OptimConfig(steps=4, batch=2, lr=1e-2, warmup=0),
            log=LogConfig(sample_every=0),
        )
        train(config, out=tmp_path / f"run{number}", progress=False)
        weights.append(load_file(tmp_path / f"run{number}" / "model" / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_reader_serves_another_process(tmp_path: Path) -> None:
    frames = noise(6, 8, 8, 1)
    (packed,) = store(tmp_path / "a.pack", footage_of(frames))
    again = pickle.loads(pickle.dumps(packed.reader))
    assert np.array_equal(again([1, 4]), frames[[1, 4]])
    packed.take([0])[:] = 0  # a copy: the file stays as it is
    assert np.array_equal(packed.take([0]), frames[:1])

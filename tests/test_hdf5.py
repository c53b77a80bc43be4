"""HDF5 files as footage, and videos written to them."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.data.footage import Footage, Layout
from framefill.data.hdf5 import open_hdf5, write_hdf5
from framefill.data.video import Header, Part, Stored, Video
from framefill.errors import FillWarning, InputError

ALL = Part(start=0, frames=None, every=1, limit_bytes=2**30)
NONE = Layout()


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(100, 50, shape).astype(dtype)


def only(path: Path, layout: Layout = NONE) -> Footage:
    (footage,) = open_hdf5(path, layout)
    return footage


def again(path: Path, video: Video) -> Path:
    """Write a video beside a file, and return where."""
    new = path.with_name(f"new-{path.name}")
    new.unlink(missing_ok=True)
    write_hdf5(new, video)
    return new


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes, dict[str, str]]]:
    """Everything that a file holds, so that two can be compared."""
    found = {}
    with h5py.File(path) as file:
        found["/"] = ("", (), b"", {key: repr(value) for key, value in file.attrs.items()})

        def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                hidden = ("REFERENCE_LIST", "DIMENSION_LIST")
                attributes = {
                    key: repr(value) for key, value in item.attrs.items() if key not in hidden
                }
                attributes["dims"] = str(
                    [[scale.name for scale in dim.values()] for dim in item.dims]
                )
                text = item.dtype.kind == "O"
                values = repr(item.asstr()[()].tolist()).encode() if text else item[()].tobytes()
                found[name] = (str(item.dtype), item.shape, values, attributes)

        file.visititems(look)
    return found


# Reading


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_values_are_read_bit_for_bit(tmp_path, dtype):
    frames = noise(6, 5, 4, 3, dtype=dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("deep/down/clip", data=frames, chunks=(2, 5, 4, 1), compression="lzf")
        file["deep/label"] = 3
    footage = only(tmp_path / "a.h5")
    assert footage.name == f"{tmp_path / 'a.h5'}: deep/down/clip"
    assert (footage.length, footage.shape, footage.dtype) == (6, (5, 4, 3), np.dtype(dtype))
    assert footage.video(ALL).frames.tobytes() == frames.tobytes()


def test_big_endian_and_wide_integers(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = np.arange(24, dtype=">i4").reshape(2, 3, 4) * 10**8 // 3
    frames = only(tmp_path / "a.h5").take([0, 1])
    assert frames.dtype == np.float64
    assert np.array_equal(frames.ravel(), np.arange(24, dtype=np.int32) * 10**8 // 3)


def test_names_of_dimensions_tell_the_axes(tmp_path):
    frames = noise(4, 6, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rain"] = frames
        for dim, label in zip(file["rain"].dims, ("x", "time", "y"), strict=True):
            dim.label = label
    footage = only(tmp_path / "a.h5")
    assert np.array_equal(footage.take(range(6))[..., 0], frames.transpose(1, 2, 0))


def test_scales_tell_the_axes_the_times_and_the_channels(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/wind"] = noise(3, 2, 5, 4)
        file["g/when"] = np.array([0, 6, 18], np.int32)
        file["g/when"].attrs["units"] = "hours since 2020-02-28"
        file["g/level"] = [850.0, 500.0]
        for axis, scale in ((0, "when"), (1, "level")):
            file[f"g/{scale}"].make_scale(scale)
            file["g/wind"].dims[axis].attach_scale(file[f"g/{scale}"])
        for axis, label in ((2, "lat"), (3, "lon")):
            file["g/wind"].dims[axis].label = label
    for layout in (Layout(axes="fchw"), Layout(variables=("g/wind",), axes="fchw")):
        footage = only(tmp_path / "a.h5", layout)
        assert footage.times is not None
        assert footage.times.astype("datetime64[h]").astype(str).tolist() == [
            *("2020-02-28T00", "2020-02-28T06", "2020-02-28T18")
        ]
        assert footage.channels == ("850", "500")


@pytest.mark.parametrize("name", ["time", "times"])
def test_times_may_lie_beside(tmp_path, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/clip"] = noise(4, 5, 6)
        file[f"g/{name}"] = [0.5, 1.0, 1.5, 3.0]
    assert np.array_equal(only(tmp_path / "a.h5").times, [0.5, 1.0, 1.5, 3.0])


def test_other_things_called_time_are_no_times(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["clip"], file["time"], file["times"] = noise(3, 5, 6), ["a", "b", "c"], [1.0, 2.0]
    assert only(tmp_path / "a.h5").times is None


def test_units_rate_and_missing_values(tmp_path):
    frames = np.array([[[0, 1], [2, 65535]]], np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = frames
        file["frames"].attrs.update({"units": "mm", "_FillValue": np.uint16(65535), "fps": 4})
    footage = only(tmp_path / "a.h5", Layout(missing=1))
    assert (footage.units, footage.fps, footage.stored) == ("mm", 4.0, Stored("uint16", 65535))
    expected = np.array([[0, np.nan], [2, np.nan]], np.float32)
    assert np.array_equal(footage.take([0])[0, ..., 0], expected, equal_nan=True)


def test_packed_values_are_unpacked(tmp_path):
    stored = noise(3, 4, 5, dtype="int16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = stored
        file["t"].attrs.update({"scale_factor": 0.01, "add_offset": 273.15})
    footage = only(tmp_path / "a.h5")
    assert footage.stored is None
    assert np.array_equal(footage.take(range(3))[..., 0], stored * 0.01 + 273.15)
    written = again(tmp_path / "a.h5", footage.video(ALL))
    assert contents(written) == contents(tmp_path / "a.h5")


def test_several_datasets_are_channels(tmp_path):
    u, v = noise(3, 4, 5), noise(3, 4, 5, dtype="float64")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"], file["v"], file["w"] = u, v, noise(3, 4, 6)
        file["u"].attrs["units"], file["v"].attrs["units"] = "m/s", "K"
    footage = only(tmp_path / "a.h5", Layout(variables=("v", "/u")))
    assert (footage.channels, footage.units) == (("v", "u"), "K, m/s")
    assert np.array_equal(footage.take([0, 2]), np.stack([v, u], -1)[[0, 2]])
    with pytest.raises(InputError, match="only arrays with equal axes can be channels"):
        open_hdf5(tmp_path / "a.h5", Layout(variables=("v", "w")))
    with pytest.raises(InputError, match="name each once"):
        open_hdf5(tmp_path / "a.h5", Layout(variables=("v", "v")))
    with pytest.raises(InputError, match="has channels itself"):
        open_hdf5(tmp_path / "a.h5", Layout(variables=("u", "v"), axes="chw"))


def test_videos_and_what_goes_along(tmp_path):
    frames, actions, terrain = noise(3, 7, 2, 5, 4), noise(3, 7, 6), noise(5, 4)
    terrain[0, 0] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/frames"], file["data/actions"], file["terrain"] = frames, actions, terrain
        file["forcing"] = np.arange(3 * 7 * 5 * 4).reshape(3, 7, 5, 4)
    names = ("data/actions", "terrain", "forcing")
    layout = Layout(variables=("data/frames",), axes="vfchw", conditions=names)
    videos = open_hdf5(tmp_path / "a.h5", layout)
    assert [video.name[-7:] for video in videos] == ["video 0", "video 1", "video 2"]
    video = videos[2].video(Part(start=1, frames=3, every=2, limit_bytes=2**30))
    assert np.array_equal(video.frames, frames[2, 1::2].transpose(0, 2, 3, 1))
    assert np.array_equal(video.conditions["data/actions"], actions[2, 1::2])
    assert np.array_equal(video.conditions["terrain"][..., 0], terrain, equal_nan=True)
    assert video.conditions["forcing"].dtype == np.float32
    assert video.conditions["forcing"][0, 0, 0, 0] == (2 * 7 + 1) * 20
    with pytest.raises(InputError, match="has no array 'forcings'; did you mean 'forcing'"):
        open_hdf5(tmp_path / "a.h5", replace(layout, conditions=("forcings",)))


def test_it_is_asked_which_dataset_is_meant(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["b"], file["c"] = noise(9, 7, 6), noise(2, 9, 8, 7, 3), noise(3)
        file["texts"] = ["x", "y"]
    with pytest.raises(InputError, match=r"2 arrays .*: a \(9x7x6 float32\), b .*--data.variables"):
        open_hdf5(tmp_path / "a.h5", NONE)
    with pytest.raises(InputError, match=r"b has the axes of lengths .*--data.axes"):
        open_hdf5(tmp_path / "a.h5", Layout(variables=("b",)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["c"] = noise(3)
    with pytest.raises(InputError, match=r"no array that can be a video: it holds c \(3 float32\)"):
        open_hdf5(tmp_path / "b.h5", NONE)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_group("empty")
    with pytest.raises(InputError, match="it holds no arrays of numbers"):
        open_hdf5(tmp_path / "c.h5", NONE)


@given(
    order=st.permutations("fhwc"),
    places=st.lists(st.integers(0, 7), min_size=1, max_size=9).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_reading_is_numpy_indexing(tmp_path_factory, order, places):
    path = tmp_path_factory.mktemp("order") / "a.h5"
    lengths = {"f": 8, "h": 3, "w": 4, "c": 2}
    array = np.arange(8 * 3 * 4 * 2, dtype=np.uint8).reshape([lengths[each] for each in order])
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=True)
    axes = "".join(order)
    expected = array.transpose([axes.index(each) for each in "fhwc"])[places]
    assert np.array_equal(only(path, Layout(axes=axes)).take(places), expected)


def test_only_what_is_asked_for_is_loaded(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 50 GB, of which two chunks are written
        dataset = file.create_dataset("a", (12_000, 1024, 1024), "f4", chunks=(1, 256, 1024))
        dataset[7000, :256], dataset[11_999, 256:512] = 1, 2
    tracemalloc.start()
    frames = only(tmp_path / "a.h5").take([0, 1, 7000, 11_999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.mean(axis=(1, 2, 3)).tolist() == [0, 0, 0.25, 0.5]
    assert peak < 3 * frames.nbytes


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_work_in_other_processes(tmp_path, method):
    frames = noise(5, 4, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["mask"] = frames, np.ones((4, 6))
    footage = only(tmp_path / "a.h5", Layout(variables=("a",), conditions=("mask",)))
    before = footage.take([1, 3])
    with multiprocessing.get_context(method).Pool(2) as pool:
        there = pool.map(footage.take, [[1, 3]] * 4)
        masks = pool.map(footage.tracks["mask"].reader, [[1]])
    assert all(np.array_equal(each, before) for each in there)
    assert masks[0].sum() == 24
    assert np.array_equal(footage.take([1, 3])[..., 0], frames[[1, 3]])
    assert len(pickle.dumps(footage)) < 4000  # no frames in it


# Files that name others


@pytest.fixture
def secret(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["a"] = noise(3, 4, 5)
    noise(3, 4, 5).tofile(tmp_path / "secret.bin")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("external link", "is a link to another file .*, which framefill doesn't follow"),
        ("soft link through one", "is a soft link: name what it points to"),
        ("group by a link", "is a link to another file"),
        ("external storage", "keeps its values in another file"),
        ("virtual", "is made of datasets of other files"),
    ],
)
def test_other_files_are_never_opened(secret, kind, message):
    path = secret / "trap.h5"
    name = "a"
    with h5py.File(path, "w") as file:
        if kind == "external storage":
            storage = [(str(secret / "secret.bin"), 0, 240)]
            file.create_dataset("a", (3, 4, 5), "f4", external=storage)
        elif kind == "virtual":
            virtual = h5py.VirtualLayout((3, 4, 5), "f4")
            virtual[:] = h5py.VirtualSource(str(secret / "secret.h5"), "a", (3, 4, 5))
            file.create_virtual_dataset("a", virtual)
        elif kind == "external link":
            file["a"] = h5py.ExternalLink(str(secret / "secret.h5"), "/a")
        else:
            file["away"] = h5py.ExternalLink(str(secret / "secret.h5"), "/")
            file["a"] = h5py.SoftLink("/away/a")
            name = "away/a" if kind == "group by a link" else "a"
    for layout in (NONE, Layout(variables=(name,)), Layout(conditions=(name,))):
        with pytest.raises(InputError, match=message):
            open_hdf5(path, layout)


def test_conditions_and_scales_in_other_files_are_not_read(secret):
    with h5py.File(secret / "trap.h5", "w") as file:
        file["frames"] = noise(3, 4, 5)
        file["b"] = h5py.ExternalLink(str(secret / "secret.h5"), "/a")
        file.create_dataset("time", (3,), "f8", external=[(str(secret / "secret.bin"), 0, 24)])
        file["time"].make_scale("time")
        file["frames"].dims[0].attach_scale(file["time"])
    footage = only(secret / "trap.h5", Layout(axes="fhw"))
    assert footage.times is None
    with pytest.raises(InputError, match="b is a link to another file"):
        open_hdf5(secret / "trap.h5", Layout(axes="fhw", conditions=("b",)))
    with pytest.raises(InputError, match="b is a link to another file"):
        open_hdf5(secret / "trap.h5", Layout(variables=("frames",), axes="fhw", conditions=("b",)))


def test_groups_that_hold_themselves_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/a"] = noise(3, 4, 5)
        file["g/self"] = file["g"]
    assert only(tmp_path / "a.h5").name.endswith("g/a")


def test_enormous_chunks_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (4000, 2000, 2000), "u1", chunks=(600, 2000, 2000))
    with pytest.raises(InputError, match=r"a has chunks of 2.2 GiB, which have to be loaded whole"):
        open_hdf5(tmp_path / "a.h5", NONE)


# Damage


def test_what_is_no_hdf5_file_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no such thing" * 100)
    with pytest.raises(InputError, match=r"a.h5 can't be read \(.*file signature not found"):
        open_hdf5(tmp_path / "a.h5", NONE)
    with pytest.raises(InputError, match="is no file"):
        open_hdf5(tmp_path, NONE)


def example(path: Path) -> np.ndarray:
    frames = noise(4, 5, 6)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("g/a", data=frames, chunks=(1, 5, 6), fletcher32=True)
        dataset.attrs["units"] = np.bytes_(b"K")
        file["g/time"] = np.arange(4.0)
        file["g/time"].make_scale("time")
        dataset.dims[0].attach_scale(file["g/time"])
    return frames


def outcome(path: Path) -> np.ndarray | str:
    """Return the frames of a damaged file, or why it is refused."""
    try:
        footage = only(path, Layout(axes="fhw"))
        return footage.take(range(min(footage.length, 4)))
    except InputError as error:
        return str(error)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_cut_files_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "a.h5"
    example(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    found = outcome(path)
    assert isinstance(found, str)
    assert "\n" not in found
    assert "Type-check" not in found


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bits_are_noticed_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "a.h5"
    frames = example(path)
    before = path.read_bytes()
    whole = bytearray(before)
    # Of a damaged global heap, where texts and lists are, HDF5 2.0 never finds the end.
    heap = range(whole.find(b"GCOL"), whole.find(b"GCOL") + 4096)
    at = data.draw(st.integers(0, len(whole) - 1).filter(lambda place: place not in heap))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    found = outcome(path)
    if isinstance(found, str):
        assert "\n" not in found
        assert "Type-check" not in found
        return
    starts = [before.find(frame.tobytes()) for frame in frames]
    assert not any(start <= at < start + frames[0].nbytes for start in starts)  # checksums


# Writing


def test_a_file_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a.h5"
    stored = np.random.default_rng(1).integers(0, 2**16, (6, 2, 5, 4)).astype("u2")
    stored[2] = 65535
    with h5py.File(path, "w") as file:
        file.attrs.update({"title": "rain", "version": 3, "names": ["a", "bc"], "raw": b"x"})
        dataset = file.create_dataset("scan/rain", data=stored, compression="gzip")
        dataset.attrs.update({"units": "mm/h", "_FillValue": np.uint16(65535), "range": [0, 9]})
        file["scan/t"] = np.array([0, 5, 10, 20, 25, 30], np.int16)
        file["scan/t"].attrs["units"] = "minutes since 2021-05-01 00:00"
        file["scan/lat"], file["scan/kind"] = np.linspace(0, 1, 5), ["liquid", "ice"]
        for axis, scale in ((0, "t"), (1, "kind"), (2, "lat")):
            file[f"scan/{scale}"].make_scale(scale)
            dataset.dims[axis].attach_scale(file[f"scan/{scale}"])
    footage = only(path, Layout(axes="fchw"))
    assert footage.channels == ("liquid", "ice")
    video = footage.video(ALL)
    assert np.isnan(video.frames[2]).all()
    assert contents(again(path, video)) == contents(path)
    assert contents(again(path, pickle.loads(pickle.dumps(video)))) == contents(path)
    with h5py.File(again(path, video)) as file:
        assert file["scan/rain"].compression == "gzip"


def test_more_frames_in_the_units_of_the_file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["time"] = noise(3, 4, 5), np.array([0, 10, 20], np.int32)
        file["time"].attrs["units"] = "minutes since 2021-05-01"
        file["time"].make_scale("time")
        file["a"].dims[0].attach_scale(file["time"])
    video = only(path, Layout(axes="fhw")).video(ALL)
    assert video.times is not None
    more = np.append(video.times, video.times[-1] + np.timedelta64(10, "m"))
    longer = replace(video, frames=video.frames[[0, 1, 2, 2]], times=more)
    with h5py.File(again(path, longer)) as file:
        assert file["time"].dtype == np.int32
        assert file["time"][:].tolist() == [0, 10, 20, 30]
        assert file["a"].shape == (4, 4, 5)


@pytest.mark.parametrize("fps", [6.0, None])
def test_the_rate_is_that_of_the_video(tmp_path, fps):
    write_hdf5(tmp_path / "a.h5", Video(noise(3, 4, 5, 1), fps=25.0))
    video = only(tmp_path / "a.h5").video(ALL)
    with h5py.File(again(tmp_path / "a.h5", replace(video, fps=fps))) as file:
        assert file["frames"].attrs.get("fps") == fps


def test_one_of_several_videos(tmp_path):
    path = tmp_path / "a.h5"
    frames = noise(2, 3, 4, 5)
    with h5py.File(path, "w") as file:
        file["clips"], file["id"] = frames, [10, 11]
        file["id"].make_scale("id")
        file["clips"].dims[0].attach_scale(file["id"])
    video = open_hdf5(path, Layout(axes="vfhw"))[1].video(ALL)
    with h5py.File(again(path, video)) as file:
        assert np.array_equal(file["clips"][:], frames[1:])
        assert file["id"][:].tolist() == [11]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_other_videos_become_frames(tmp_path, dtype):
    frames = noise(4, 3, 5, 2, dtype=dtype)
    if dtype.startswith("f"):
        frames[1, 0], frames[2, 0, 0] = np.nan, -0.0
    dates = np.datetime64("2020-01-01", "ns") + np.arange(4) * np.timedelta64(90, "m")
    video = Video(frames, fps=2.0, units="K", times=dates, channels=("a", "b"))
    write_hdf5(tmp_path / "a.h5", video)
    footage = only(tmp_path / "a.h5")
    back = footage.video(ALL)
    assert back.frames.tobytes() == frames.tobytes()
    assert (back.fps, back.units, back.channels) == (2.0, "K", ("a", "b"))
    assert np.array_equal(back.times, dates)
    bare = Video(frames, header=Header(".nc", object()))
    write_hdf5(tmp_path / "b.h5", bare)
    back = only(tmp_path / "b.h5").video(ALL)
    assert back.frames.tobytes() == frames.tobytes()
    assert back.times is back.fps is None


def test_integers_with_missing_values_of_other_formats(tmp_path):
    frames = np.array([[[[3.0], [np.nan]]]], np.float32)
    write_hdf5(tmp_path / "a.h5", Video(frames, stored=Stored("uint16", 9)))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["frames"].dtype == np.uint16
        assert file["frames"][:].ravel().tolist() == [3, 9]
    assert np.array_equal(only(tmp_path / "a.h5").take([0]), frames, equal_nan=True)
    write_hdf5(tmp_path / "b.h5", Video(frames, stored=Stored("uint8", float("nan"))))
    assert np.array_equal(only(tmp_path / "b.h5").take([0]), frames, equal_nan=True)
    write_hdf5(tmp_path / "c.h5", Video(frames[:, :, :1], stored=Stored("uint8", float("nan"))))
    assert only(tmp_path / "c.h5").take([0]).dtype == np.uint8


def test_missing_values_in_integers_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = noise(3, 4, 5, dtype="uint8")
    video = only(tmp_path / "a.h5").video(ALL)
    floats = video.frames.astype(np.float32)
    floats[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"a has missing values \(NaN\), and uint8 has no number"):
        again(tmp_path / "a.h5", replace(video, frames=floats))


def test_values_beyond_the_integers_are_written_as_floats(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = noise(3, 4, 5, dtype="int16")
        file["a"].attrs.update({"_FillValue": np.int16(-1), "valid_max": 9, "units": "K"})
    video = only(tmp_path / "a.h5").video(ALL)
    frames = video.frames.copy()
    frames[0, 0, 0], frames[1] = 40_000.5, np.nan
    with pytest.warns(
        FillWarning, match=r"to 40000.5 don't fit into the int16 .*float32 is written"
    ):
        path = again(tmp_path / "a.h5", replace(video, frames=frames))
    with h5py.File(path) as file:
        assert dict(file["a"].attrs) == {"units": "K"}
    assert np.array_equal(only(path).take(range(3)), frames, equal_nan=True)


def test_resized_videos_are_new_files(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = noise(3, 4, 5)
    video = only(tmp_path / "a.h5").video(ALL)
    path = again(tmp_path / "a.h5", replace(video, frames=video.frames[:, :2]))
    assert only(path).name.endswith(": frames")


def run_without(library: str, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code where all libraries are but one."""
    links = folder / "libraries"
    links.mkdir()
    for entry in Path(h5py.__file__).parents[1].iterdir():
        if not entry.name.lower().startswith(library):
            (links / entry.name).symlink_to(entry)
    source = Path(__file__).parents[1] / "src"
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{links}:{source}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_h5py_is_told(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"x")
    code = f"""
import sys, pathlib
from framefill.data.footage import Layout
from framefill.data.hdf5 import open_hdf5
assert "h5py" not in sys.modules
open_hdf5(pathlib.Path({str(tmp_path / "a.h5")!r}), Layout())
"""
    run = run_without("h5py", tmp_path, code)
    assert run.stderr.splitlines()[-1].endswith(
        "InputError: h5py not found, which this format needs: pip install 'framefill[hdf5]'"
    )


def test_h5py_is_not_imported_before_it_is_needed():
    code = "import framefill, framefill.data.hdf5, sys; sys.exit('h5py' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""NumPy files as footage."""

import io
import multiprocessing
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.data.arrays import LARGEST, open_array
from framefill.data.footage import Layout
from framefill.data.video import Part, Stored
from framefill.errors import InputError

ALL = Part(start=0, frames=None, every=1, limit_bytes=2**30)


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    values = np.random.default_rng(0).normal(100, 50, shape)
    return values.astype(dtype)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_bit_for_bit(tmp_path, dtype, order):
    array = np.asarray(noise(6, 5, 4, 3, dtype=dtype), order=order)
    (footage,) = open_array(saved(tmp_path / "a.npy", array), Layout())
    assert (footage.length, footage.shape, footage.dtype) == (6, (5, 4, 3), np.dtype(dtype))
    assert footage.name == str(tmp_path / "a.npy")
    video = footage.video(ALL)
    assert video.frames.tobytes() == np.ascontiguousarray(array).tobytes()
    assert footage.fps is footage.times is footage.header is footage.stored is None


def test_npy_with_other_axes(tmp_path):
    array = noise(2, 3, 5, 4, 7)
    videos = open_array(saved(tmp_path / "a.npy", array), Layout(axes="vchwf"))
    assert [video.length for video in videos] == [7, 7]
    assert np.array_equal(videos[1].take([0, 3, 3]), array[1].transpose(3, 1, 2, 0)[[0, 3, 3]])
    (picture,) = open_array(saved(tmp_path / "b.npy", array[0, 0, ..., 0]), Layout(axes="hw"))
    assert np.array_equal(picture.take([0, 0])[1, ..., 0], array[0, 0, ..., 0])


def test_npy_of_other_dtypes(tmp_path):
    array = np.array([[[0, -1], [2, 127]]], np.int8)
    (footage,) = open_array(saved(tmp_path / "a.npy", array), Layout())
    assert footage.take([0]).dtype == np.float32
    array = array.astype(">i4") * 10**7
    (footage,) = open_array(saved(tmp_path / "b.npy", array), Layout(missing=-(10**7)))
    assert footage.stored == Stored("int32", -(10**7))
    expected = np.array([[[0, np.nan], [2e7, 127e7]]])[..., None]
    assert np.array_equal(footage.take([0]), expected, equal_nan=True)


def test_npy_loads_only_what_is_asked_for(tmp_path):
    path = tmp_path / "big.npy"
    array = np.lib.format.open_memmap(path, "w+", "float32", (100_000, 256, 256))  # 24 GiB of holes
    array[50_000] = 7
    del array
    tracemalloc.start()
    (footage,) = open_array(path, Layout())
    frames = footage.take([3, 50_000, 99_999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.mean(axis=(1, 2, 3)).tolist() == [0, 7, 0]
    assert peak < 5 * 2**20


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_npz_with_all_it_can_have(tmp_path, compress):
    frames, actions = noise(5, 4, 6, 1), noise(5, 2, dtype="float64")
    dates = np.datetime64("2020-01-01", "h") + np.arange(5)
    compress(tmp_path / "a.npz", frames=frames, fps=12, times=dates, actions=actions, other=frames)
    (footage,) = open_array(tmp_path / "a.npz", Layout(conditions=("actions",)))
    assert footage.fps == 12.0
    assert footage.times is not None
    assert footage.times.dtype == "datetime64[ns]"
    assert (footage.times == dates).all()
    video = footage.video(Part(start=1, frames=2, every=2, limit_bytes=2**30))
    assert video.frames.tobytes() == frames[1:4:2].tobytes()
    assert video.fps == 6
    assert np.array_equal(video.conditions["actions"], actions[1:4:2])


def test_npz_by_names(tmp_path):
    one, two = noise(5, 4, 6), noise(5, 4, 6, dtype="uint8")
    np.savez(tmp_path / "a.npz", one=one, two=two, label=np.arange(3))
    (footage,) = open_array(tmp_path / "a.npz", Layout(variables=("two",)))
    assert footage.dtype == np.uint8
    (footage,) = open_array(tmp_path / "a.npz", Layout(variables=("two", "one")))
    assert footage.channels == ("two", "one")
    assert np.array_equal(footage.take(range(5)), np.stack([two, one], axis=-1))
    with pytest.raises(InputError, match=r"2 arrays .*: one \(5x4x6 float32\), two .*variables"):
        open_array(tmp_path / "a.npz", Layout())
    with pytest.raises(InputError, match=r"has no array 'tow'; did you mean 'two'\?: it holds one"):
        open_array(tmp_path / "a.npz", Layout(variables=("tow",)))
    with pytest.raises(InputError, match="has no array 'wind': it holds"):
        open_array(tmp_path / "a.npz", Layout(variables=("two",), conditions=("wind",)))
    (footage,) = open_array(tmp_path / "a.npz", Layout(conditions=("one",)))
    assert footage.name.endswith(": two")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"fps": np.array([1, 2])}, "fps is .*: give one number above 0"),
        ({"fps": -2.0}, "fps is -2.0: give one number above 0"),
        ({"fps": np.array("x")}, "fps is x: give one number above 0"),
        ({"times": np.arange(4)}, r"times has shape \(4,\) .* each of the 5 frames"),
        ({"times": np.array(list("abcde"))}, "times has shape .* dtype <U1"),
        ({"times": np.array(["3000-01-01"] * 5, "datetime64[s]")}, "years 1678 to 2262"),
    ],
)
def test_wrong_things_beside_are_refused(tmp_path, more, message):
    np.savez(tmp_path / "a.npz", frames=noise(5, 4, 6), **more)
    with pytest.raises(InputError, match=message):
        open_array(tmp_path / "a.npz", Layout())


def test_npy_has_no_names(tmp_path):
    path = saved(tmp_path / "a.npy", noise(3, 4, 5))
    with pytest.raises(InputError, match="has no array 'wind': it holds one, which has no name"):
        open_array(path, Layout(variables=("wind",)))


def test_what_is_no_array_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"a.npy can't be read as an array"):
        open_array(tmp_path / "a.npy", Layout())
    (tmp_path / "a.npz").write_bytes(b"PK" * 100)
    with pytest.raises(InputError, match=r"a.npz can't be read as an array"):
        open_array(tmp_path / "a.npz", Layout())
    np.savez(tmp_path / "b.npz", frames=noise(3, 4, 5))
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(InputError, match=r"is an archive of arrays: name it .npz"):
        open_array(tmp_path / "b.npy", Layout())


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    np.save(tmp_path / "a.npy", np.array([Trap()] * 8, object).reshape(2, 2, 2), allow_pickle=True)
    np.savez(tmp_path / "a.npz", frames=np.array([[[Trap()]]], object))
    np.savez(tmp_path / "b.npz", frames=noise(2, 2, 2), fps=np.array(Trap(), object))
    for name in ("a.npy", "a.npz", "b.npz"):
        with pytest.raises(InputError):
            open_array(tmp_path / name, Layout())
    assert not (tmp_path / "ran").exists()


def test_archives_that_unpack_to_too_much_are_refused(tmp_path):
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 1000, 1000)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("frames.npy", header.getvalue())
    with pytest.raises(InputError, match=r"frames unpacks to 3725.3 GiB, .*save it as .npy"):
        open_array(tmp_path / "a.npz", Layout())
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    with pytest.raises(InputError, match=r"a.npy has 128 of its 4000000000128 bytes"):
        open_array(tmp_path / "a.npy", Layout())
    about["shape"] = (2**33, 2**31)  # of which the product is 0 in 64 bits
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, about)
    (tmp_path / "b.npy").write_bytes(header.getvalue())
    with pytest.raises(InputError, match=r"b.npy has 128 of its"):
        open_array(tmp_path / "b.npy", Layout())
    assert LARGEST < 3725 * 2**30


def test_changed_files_are_noticed(tmp_path):
    path = saved(tmp_path / "a.npy", noise(6, 4, 5))
    (footage,) = open_array(path, Layout())
    footage.take([5])
    np.save(path, noise(4, 4, 5))
    with pytest.raises(InputError, match="has the file changed"):
        footage.take([4, 5])
    np.save(path, noise(6, 4, 5).astype("u1"))
    path.unlink()
    with pytest.raises(InputError, match="can't be read"):
        footage.take([5])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_readers_work_in_other_processes(tmp_path, method, suffix):
    frames = noise(5, 4, 6)
    path = tmp_path / f"a{suffix}"
    _ = np.save(path, frames) if suffix == ".npy" else np.savez(path, frames=frames)
    (footage,) = open_array(path, Layout())
    before = footage.take([1, 3])
    with multiprocessing.get_context(method).Pool(1) as pool:
        there = pool.apply(footage.take, ([1, 3],))
    assert np.array_equal(there, before)
    assert np.array_equal(footage.take([1, 3])[..., 0], frames[[1, 3]])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_refused_or_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    frames = noise(3, 4, 5)
    np.save(folder / "a.npy", frames)
    np.savez_compressed(folder / "a.npz", frames=frames, fps=2.0, times=np.arange(3))
    path = folder / data.draw(st.sampled_from(["a.npy", "a.npz"]))
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    else:
        at, new = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
        path.write_bytes(whole[:at] + bytes([new]) + whole[at + 1 :])
    try:
        (footage,) = open_array(path, Layout())
        taken = footage.take(range(footage.length))
    except InputError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert "Type-check" not in message  # which would be a fault of ours
    if message:
        return
    assert taken.shape == (footage.length, *footage.shape)
    if path.suffix == ".npz" and footage.dtype == np.float32:
        assert np.array_equal(taken[..., 0], frames)  # archives have checksums


def test_footage_can_be_pickled(tmp_path):
    frames = noise(5, 4, 6)
    np.savez(tmp_path / "a.npz", frames=frames, mask=np.ones((4, 6)))
    (footage,) = open_array(tmp_path / "a.npz", Layout(conditions=("mask",)))
    size = len(pickle.dumps(footage))
    assert size < 2000  # no frames in it
    again = pickle.loads(pickle.dumps(footage))
    assert np.array_equal(again.take([2])[0, ..., 0], frames[2])
    assert again.tracks["mask"].reader([2]).shape == (4, 6, 1)

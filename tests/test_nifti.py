"""NIfTI: what nibabel writes is read as nibabel reads it, and what we write nibabel reads."""

import contextlib
import gzip
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framefill.data.footage import Layout
from framefill.data.nifti import open_nifti
from framefill.data.nifti_write import write_nifti
from framefill.data.scale import Scale
from framefill.data.video import Part, Stored, Video
from framefill.errors import FillWarning, InputError

EXAMPLES = Path(nibabel.__file__).parent / "tests" / "data"
WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**31)
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
KINDS = ["uint8", "uint16", "int16", "float32", "float64"]


def numbers(shape: tuple[int, ...], dtype: str = "int16", seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 200, shape).astype(dtype)


def save(path: Path, array: np.ndarray, kind=nibabel.Nifti1Image, step: float = 0.0) -> Path:
    image = kind(array, np.diag([2, 3, 4, 1]))
    if step:
        image.header["pixdim"][4] = step
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def scaled(path: Path, array: np.ndarray, slope: float, intercept: float) -> Path:
    """Stored numbers with a slope of ours; nibabel would choose one of its own."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    header["scl_slope"], header["scl_inter"] = slope, intercept
    path.write_bytes(header.binaryblock + bytes(4) + array.tobytes(order="F"))
    data = bytearray(path.read_bytes())
    data[108:112] = np.float32(352).tobytes()
    path.write_bytes(data)
    return path


def only(path: Path, layout: Layout | None = None):
    (footage,) = open_nifti(path, layout or Layout())
    return footage


def copied(path: Path, footage, frames: np.ndarray | None = None) -> Path:
    video = footage.video(WHOLE)
    write_nifti(path, video if frames is None else replace(video, frames=frames))
    return path


# Reading


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize("dtype", KINDS)
def test_frames_are_what_nibabel_reads(tmp_path, suffix, dtype):
    array = numbers((5, 4, 1, 7), dtype)
    kind = nibabel.Nifti1Pair if suffix == ".hdr" else nibabel.Nifti1Image
    footage = only(save(tmp_path / f"clip{suffix}", array, kind, step=0.5))
    assert (footage.length, footage.shape, footage.dtype) == (7, (4, 5, 1), np.dtype(dtype))
    assert footage.fps == 2.0
    frames = footage.take(range(7))
    assert np.array_equal(frames, array.transpose(3, 1, 0, 2))


def test_slices_of_a_volume_are_frames(tmp_path):
    array = numbers((5, 4, 6))
    footage = only(save(tmp_path / "anatomy.nii", array, step=0.5))
    assert footage.fps is None  # the step is that of t
    assert np.array_equal(footage.take([1, 3])[..., 0], array.transpose(2, 1, 0)[[1, 3]])
    single = only(save(tmp_path / "slice.nii", array[..., 0]))
    assert (single.length, single.shape) == (1, (4, 5, 1))


def test_volumes_over_time_need_a_word(tmp_path):
    array = numbers((5, 4, 3, 6))
    path = save(tmp_path / "functional.nii", array, step=2)
    with pytest.raises(InputError, match=r"lengths \(5, 4, 3, 6\): say which .* --data.axes, as "):
        open_nifti(path, Layout())
    slices = open_nifti(path, Layout(axes="whvf"))
    assert [footage.fps for footage in slices] == [0.5] * 3
    for z, footage in enumerate(slices):
        assert np.array_equal(footage.take(range(6))[..., 0], array[:, :, z].transpose(2, 1, 0))
    times = open_nifti(path, Layout(axes="whfv"))
    assert [footage.fps for footage in times] == [None] * 6
    assert np.array_equal(times[4].take([2])[0, ..., 0], array[:, :, 2, 4].T)
    (channels,) = open_nifti(path, Layout(axes="whcf"))
    assert np.array_equal(channels.take([5])[0], array[..., 5].transpose(1, 0, 2))
    with pytest.raises(InputError, match="4 axes"):
        open_nifti(path, Layout(axes="hw"))


def test_the_fifth_axis_and_colors_are_channels(tmp_path):
    array = numbers((5, 4, 1, 3, 2), "float32")
    footage = only(save(tmp_path / "field.nii", array))
    assert np.array_equal(footage.take(range(3)), array[:, :, 0].transpose(2, 1, 0, 3))
    colors = numbers((5, 4, 6, 3), "uint8")
    packed = colors.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    path = save(tmp_path / "colors.nii", packed)
    footage = only(path)
    assert footage.dtype == np.uint8
    assert np.array_equal(footage.take(range(6)), colors.transpose(2, 1, 0, 3))
    with pytest.raises(InputError, match="leave c out"):
        open_nifti(path, Layout(axes="whc"))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders(tmp_path, kind, order):
    array = numbers((5, 4, 6), "int16")
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    nibabel.save(kind(array, np.eye(4), header), tmp_path / "clip.nii")
    data = (tmp_path / "clip.nii").read_bytes()
    assert int.from_bytes(data[:4], "little" if order == "<" else "big") in (348, 540)
    footage = only(tmp_path / "clip.nii")
    frames = footage.take(range(6))
    assert frames.dtype.isnative
    assert np.array_equal(frames[..., 0], array.transpose(2, 1, 0))
    assert np.array_equal(
        nibabel.load(copied(tmp_path / "new.nii", footage)).get_fdata(), array.astype(float)
    )


def test_slope_and_intercept_are_applied(tmp_path):
    array = numbers((5, 4, 6), "int16")
    path = scaled(tmp_path / "clip.nii", array, 0.25, -7)
    footage = only(path)
    assert footage.dtype == np.float32
    assert np.array_equal(footage.take(range(6)), (array * 0.25 - 7).transpose(2, 1, 0)[..., None])
    assert np.array_equal(nibabel.load(path).get_fdata(), array * 0.25 - 7)
    assert only(scaled(tmp_path / "fine.nii", array, 1e-5, 1000)).dtype == np.float64
    for none in (0.0, float("nan"), 1.0):
        assert only(scaled(tmp_path / "none.nii", array, none, 0)).dtype == np.int16
    with pytest.raises(InputError, match="slope inf"):
        open_nifti(scaled(tmp_path / "inf.nii", array, float("inf"), 0), Layout())


def test_a_value_can_mean_missing(tmp_path):
    array = numbers((5, 4, 6), "int16")
    array[2, 3, 4] = -1
    path = save(tmp_path / "clip.nii", array)
    footage = only(path, Layout(missing=-1))
    frames = footage.take(range(6))
    assert frames.dtype == np.float32
    assert footage.stored == ("int16", -1)
    assert np.argwhere(np.isnan(frames)).tolist() == [[4, 3, 2, 0]]
    new = nibabel.load(copied(tmp_path / "new.nii", footage))
    assert new.get_data_dtype() == np.int16
    assert np.array_equal(new.dataobj.get_unscaled(), array)
    footage = only(scaled(path, array, 0.5, 3), Layout(missing=-1))
    assert footage.stored is None
    assert np.isnan(footage.take([4])).sum() == 1
    new = nibabel.load(copied(tmp_path / "new.nii", footage))
    assert np.array_equal(new.dataobj.get_unscaled(), array)


@pytest.mark.parametrize(("dtype", "seen"), [("int8", "float32"), ("int32", "float64")])
def test_other_integers_are_floats_and_come_back(tmp_path, dtype, seen):
    array = numbers((5, 4, 6), dtype)
    array[0, 0, 0] = np.iinfo(dtype).max
    footage = only(save(tmp_path / "clip.nii", array))
    assert footage.take([0]).dtype == seen
    new = nibabel.load(copied(tmp_path / "new.nii", footage))
    assert new.get_data_dtype() == dtype
    assert np.array_equal(new.dataobj.get_unscaled(), array)


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz"])
def test_real_images(name):
    """They come with nibabel; example4d has int16 and functional int16 with a slope."""
    path = EXAMPLES / name
    if not path.is_file():
        pytest.skip(f"nibabel came without {path}")
    expected = nibabel.load(path).get_fdata()
    if expected.ndim == 3:
        assert np.allclose(only(path).take(range(3))[..., 0], expected.transpose(2, 1, 0)[:3])
        return
    middle = open_nifti(path, Layout(axes="whvf"))[expected.shape[2] // 2]
    frames = middle.take(range(middle.length))[..., 0]
    seen = expected[:, :, expected.shape[2] // 2].transpose(2, 1, 0)
    assert np.allclose(frames, seen, rtol=1e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), packed=st.booleans(), axes=st.permutations("whfv"))
def test_any_places_are_what_numpy_takes(tmp_path_factory, data, packed, axes):
    folder = tmp_path_factory.mktemp("any")
    shape = tuple(data.draw(st.integers(2, 6)) for _ in axes)
    array = numbers(shape, "uint16")
    path = save(folder / ("clip.nii.gz" if packed else "clip.nii"), array)
    found = open_nifti(path, Layout(axes="".join(axes)))
    places = sorted(
        data.draw(st.lists(st.integers(0, found[0].length - 1), min_size=1, max_size=8))
    )
    moved = array.transpose([axes.index(letter) for letter in "vfhw"])
    for video, footage in enumerate(found):
        assert np.array_equal(footage.take(places)[..., 0], moved[video][places])


def _read_in_a_child(packed: bytes, places: list[int]) -> np.ndarray:
    return pickle.loads(packed)(places)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_readers_go_to_other_processes(tmp_path, method):
    array = numbers((5, 4, 6))
    footage = only(save(tmp_path / "clip.nii.gz", array))
    footage.take([2])  # a handle is open here when the child starts
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context) as pool:
        task = pool.submit(_read_in_a_child, pickle.dumps(footage.reader), [1, 4])
        frames = task.result(timeout=120)
    assert np.array_equal(frames[..., 0], array.transpose(2, 1, 0)[[1, 4]])
    assert pickle.loads(pickle.dumps(footage.header)).content == footage.header.content


# Memory


def peak_mib(work: str, *arguments: str) -> float:
    """Run some code in a new process and return how far its memory grew beyond the imports."""
    code = (
        "import re, sys\nfrom pathlib import Path\n"
        "from framefill.data.footage import Layout\n"
        "from framefill.data.nifti import open_nifti\nimport nibabel\n"
        "def peak(): return int(re.search(r'VmHWM:\\s*(\\d+)', "
        "Path('/proc/self/status').read_text())[1])\n"
        f"before = peak()\n{work}\nprint((peak() - before) / 1024)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr
    return float(done.stdout)


@linux
def test_memory_is_measured():
    assert peak_mib("held = bytearray(200 * 2**20)") > 190


@linux
def test_only_the_frames_asked_for_are_loaded(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((1024, 1024, 1, 4000))  # 16 GB, sparse
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    path = tmp_path / "huge.nii"
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + 1024 * 1024 * 4000 * 4)
    grown = peak_mib(
        "footage, = open_nifti(Path(sys.argv[1]), Layout())\n"
        "assert footage.take([0, 1999, 3999]).shape == (3, 1024, 1024, 1)",
        str(path),
    )
    assert grown < 100


@linux
def test_packed_files_unpack_in_bounded_memory(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((512, 512, 1, 1500))  # 750 MiB of zeros in less than 1 MiB
    header.set_data_dtype(np.uint16)
    header["vox_offset"] = 352
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(750):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    grown = peak_mib(
        "footage, = open_nifti(Path(sys.argv[1]), Layout())\n"
        "assert not footage.take([1, 1499]).any()",
        str(path),
    )
    assert grown < 60


# Damage


@pytest.mark.parametrize("name", ["clip.nii", "clip.nii.gz", "clip.hdr"])
def test_files_that_were_cut_off_are_refused(tmp_path, name):
    kind = nibabel.Nifti1Pair if name == "clip.hdr" else nibabel.Nifti1Image
    path = save(tmp_path / name, numbers((50, 40, 6)), kind)
    data = path.with_suffix(".img") if name == "clip.hdr" else path
    whole = data.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.97):
        data.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError):
            only(path).take(range(6))


def test_a_failure_does_not_spoil_later_reads(tmp_path):
    array = numbers((50, 40, 6), "float64")
    path = save(tmp_path / "clip.nii.gz", array)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    footage = only(path)
    with pytest.raises(InputError, match="is damaged"):
        footage.take([5])
    for _ in range(2):
        assert np.array_equal(footage.take([1])[0, ..., 0], array[..., 1].T)
        with pytest.raises(InputError, match="is damaged"):
            footage.take([4, 5])


def field(offset: int, value: bytes):
    def spoil(data: bytearray) -> None:
        data[offset : offset + len(value)] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (field(0, b"\1\2\3\4"), "no NIfTI header"),
        (field(344, b"n-1"), "no NIfTI header"),
        (field(40, np.int16(9).tobytes()), "broken header"),
        (field(40, np.int16(0).tobytes()), "broken header"),
        (field(42, np.int16(-5).tobytes()), "broken header"),
        (field(42, np.int16([32767] * 3).tobytes()), "cut off"),
        (field(70, np.int16(9999).tobytes()), "broken header"),
        (field(70, np.int16(32).tobytes()), "cut off|real numbers"),  # complex
        (field(108, np.float32(np.nan).tobytes()), "broken header"),
        (field(108, np.float32(1e30).tobytes()), "cut off"),
        (field(108, np.float32(-1).tobytes()), "broken header"),
        (field(108, np.float32(8).tobytes()), "broken header"),
    ],
)
def test_broken_headers_are_told(tmp_path, spoil, match):
    path = save(tmp_path / "clip.nii", numbers((5, 4, 6)))
    data = bytearray(path.read_bytes())
    spoil(data)
    path.write_bytes(data)
    with pytest.raises(InputError, match=match):
        open_nifti(path, Layout())


def test_a_header_can_not_claim_more_than_a_packed_file_unpacks_to(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 1, 30000))
    header.set_data_dtype(np.float64)
    header["vox_offset"] = 352
    path = tmp_path / "claim.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
    with pytest.raises(InputError, match="cut off"):
        open_nifti(path, Layout())


@settings(max_examples=250, deadline=None)
@given(
    packed=st.booleans(),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=6),
)
def test_flipped_bits_never_crash(tmp_path_factory, packed, flips):
    path = tmp_path_factory.mktemp("flips") / ("clip.nii.gz" if packed else "clip.nii")
    save(path, numbers((5, 4, 1, 6)), step=0.5)
    data = bytearray(path.read_bytes())
    for place, bit in flips:
        data[place % min(len(data), 400)] ^= 1 << bit
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        for footage in open_nifti(path, Layout()):
            footage.take([0, footage.length - 1])
            write_nifti(path.with_name("new.nii"), footage.video(WHOLE))


def test_a_header_needs_its_values(tmp_path):
    save(tmp_path / "clip.hdr", numbers((5, 4, 6)), nibabel.Nifti1Pair)
    assert only(tmp_path / "clip.img").length == 6
    (tmp_path / "clip.img").unlink()
    with pytest.raises(InputError, match=r"needs clip\.img beside it"):
        open_nifti(tmp_path / "clip.hdr", Layout())


def test_the_extra_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "clip.nii", numbers((5, 4, 6)))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[nifti\]'"):
        open_nifti(path, Layout())
    with pytest.raises(InputError, match=r"pip install 'framefill\[nifti\]'"):
        write_nifti(tmp_path / "new.nii", Video(numbers((2, 3, 4, 1))))


# Writing


@pytest.mark.parametrize("suffix", [".nii", ".gz"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", KINDS)
def test_new_images_are_read_back(tmp_path, suffix, channels, dtype):
    frames = numbers((6, 4, 5, channels), dtype)
    path = tmp_path / f".draft{suffix}"  # the name under which a caller has it written
    write_nifti(path, Video(frames, fps=4.0))
    renamed = path.rename(tmp_path / ("clip.nii.gz" if suffix == ".gz" else "clip.nii"))
    image = nibabel.load(renamed)
    assert image.header["pixdim"][4] == 0.25
    assert image.header.get_xyzt_units()[1] == "sec"
    footage = only(renamed)
    assert footage.fps == 4.0
    again = footage.take(range(6))
    assert again.dtype == frames.dtype
    assert np.array_equal(again, frames)
    if channels == 1:
        assert np.array_equal(image.get_fdata(), frames.transpose(2, 1, 3, 0).astype(float))


@pytest.mark.parametrize("axes", ["", "whf", "hwf", "fwh"])
def test_a_source_keeps_its_header_and_values(tmp_path, axes):
    array = numbers((5, 4, 6), "int16")
    path = save(tmp_path / "clip.nii", array, step=3)
    image = nibabel.load(path)
    footage = only(path, Layout(axes=axes))
    new = nibabel.load(copied(tmp_path / "new.nii", footage))
    assert np.array_equal(new.affine, image.affine)
    assert new.header.get_zooms() == image.header.get_zooms()
    assert new.get_data_dtype() == np.int16
    assert np.array_equal(new.dataobj.get_unscaled(), array)


def test_longer_videos_grow_along_their_axis(tmp_path):
    array = numbers((5, 4, 6), "int16")
    path = scaled(tmp_path / "clip.nii", array, 0.25, -7)
    frames = only(path).take(range(6))
    longer = np.concatenate([frames, frames + 0.07])
    new = nibabel.load(copied(tmp_path / "new.nii", only(path), longer))
    assert new.shape == (5, 4, 12)
    assert (new.dataobj.slope, new.dataobj.inter) == (0.25, -7)
    assert np.array_equal(new.dataobj.get_unscaled()[..., :6], array)
    assert np.abs(new.get_fdata() - longer[..., 0].transpose(2, 1, 0)).max() <= 0.125
    single = only(save(tmp_path / "slice.nii", array[..., 0]))
    new = nibabel.load(copied(tmp_path / "more.nii", single, longer.astype(np.int16)))
    assert new.shape == (5, 4, 1, 12)
    colors = np.zeros((3, 4, 5, 3), np.float32)
    new = nibabel.load(copied(tmp_path / "colors.nii", single, colors))
    assert new.shape == (5, 4, 1, 3, 3)


def test_frames_of_another_size_have_another_place(tmp_path):
    footage = only(scaled(tmp_path / "clip.nii", numbers((5, 4, 6), "int16"), 0.25, -7))
    small = footage.take(range(6))[:, ::2]
    new = nibabel.load(copied(tmp_path / "new.nii", footage, small))
    assert new.shape == (5, 2, 1, 6)
    assert np.array_equal(new.header.get_zooms()[:3], [1, 1, 1])
    assert (new.dataobj.slope, new.dataobj.inter) == (0.25, -7)
    assert np.array_equal(only(tmp_path / "new.nii").take(range(6)), small)


def test_what_other_formats_stored_is_restored(tmp_path):
    frames = numbers((3, 4, 5, 1)).astype("float32")
    write_nifti(tmp_path / "a.nii", Video(frames, stored=Stored("int16", float("nan"))))
    assert only(tmp_path / "a.nii").dtype == np.int16
    frames[0, 0, 0] = np.nan
    write_nifti(tmp_path / "b.nii", Video(frames, stored=Stored("int16", float("nan"))))
    assert only(tmp_path / "b.nii").dtype == np.float32
    write_nifti(tmp_path / "c.nii", Video(frames, stored=Stored("int16", -9)))
    assert only(tmp_path / "c.nii").take([0])[0, 0, 0, 0] == -9


def test_slices_keep_their_place_in_space(tmp_path):
    path = save(tmp_path / "clip.nii", numbers((5, 4, 3, 6)))
    last = open_nifti(path, Layout(axes="whvf"))[2]
    across = open_nifti(path, Layout(axes="whfv"))[1]
    write_nifti(tmp_path / "new.nii", replace(across.video(WHOLE), fps=9.0))
    new = nibabel.load(tmp_path / "new.nii")
    assert (new.shape, new.header["pixdim"][4]) == ((5, 4, 3, 1), 1)
    new = nibabel.load(copied(tmp_path / "new.nii", last))
    assert new.shape == (5, 4, 1, 6)
    assert np.array_equal(new.affine @ [1, 1, 0, 1], nibabel.load(path).affine @ [1, 1, 2, 1])


def test_values_beyond_the_stored_dtype_are_told(tmp_path):
    footage = only(scaled(tmp_path / "clip.nii", numbers((5, 4, 6), "int16"), 0.25, -7))
    frames = footage.take(range(6))
    frames[0, 0, 0] = 1e9
    with pytest.warns(FillWarning, match="1 values are beyond what int16 holds"):
        path = copied(tmp_path / "new.nii", footage, frames)
    assert nibabel.load(path).dataobj.get_unscaled().max() == 32767
    frames[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 values that are NaN, and int16"):
        copied(tmp_path / "new.nii", footage, frames)


def test_times(tmp_path):
    frames = numbers((4, 4, 5, 1))
    write_nifti(tmp_path / "even.nii", Video(frames, times=np.array([3.0, 3.5, 4.0, 4.5])))
    assert only(tmp_path / "even.nii").fps == 2.0
    with pytest.warns(FillWarning, match="uneven time stamps"):
        write_nifti(tmp_path / "odd.nii", Video(frames, times=np.array([0.0, 1, 2, 9])))
    assert only(tmp_path / "odd.nii").fps == 1.0
    write_nifti(tmp_path / "five.nii", Video(frames, fps=5.0))
    assert only(tmp_path / "five.nii").fps == 5.0
    image = nibabel.load(save(tmp_path / "ms.nii", numbers((5, 4, 1, 6)), step=2))
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(image, tmp_path / "ms.nii")
    footage = only(tmp_path / "ms.nii")
    assert footage.fps == pytest.approx(500)
    new = nibabel.load(copied(tmp_path / "new.nii", footage))
    assert new.header.get_xyzt_units() == ("mm", "msec")
    assert new.header["pixdim"][4] == pytest.approx(2)


def test_long_axes_need_the_second_version(tmp_path):
    source = only(save(tmp_path / "clip.nii", numbers((2, 3, 5), "uint8")))
    long = numbers((40000, 3, 2, 1), "uint8")
    for footage in (source, None):
        path = tmp_path / "new.nii"
        if footage is None:
            write_nifti(path, Video(long))
        else:
            copied(path, footage, long)
            assert np.array_equal(nibabel.load(path).affine, np.diag([2, 3, 4, 1]))
        assert isinstance(nibabel.load(path), nibabel.Nifti2Image)
        assert np.array_equal(only(path).take(range(40000)), long)


def test_single_precision_is_used_where_it_is_enough():
    integers, number = np.dtype("int16"), np.arange(-9, 9).astype("int16")
    for scale, dtype in ((Scale(0.03, 1e6), "float64"), (Scale(0.3, 1e6), "float32")):
        assert scale.dtype(integers) == dtype
        values = scale.values(number, np.dtype(dtype))
        assert np.array_equal(scale.stored(values, integers, None, "it"), number)


@given(
    stored=st.integers(-32768, 32767),
    slope=st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6),
    intercept=st.floats(-1e6, 1e6),
)
def test_stored_numbers_survive_scaling(stored, slope, intercept):
    scale, kind = Scale(slope, intercept), np.dtype("int16")
    number = np.array([stored], kind)
    values = scale.values(number, scale.dtype(kind))
    if scale.dtype(kind) == np.float64 and abs(slope) < 1e-9 * abs(intercept):
        return  # beyond double precision
    assert np.array_equal(scale.stored(values, kind, None, "it"), number)

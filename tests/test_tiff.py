"""TIFF: what tifffile and Pillow write is read as they read it, and they read what we write."""

import contextlib
import itertools
import multiprocessing
import pickle
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from framefill.data import tiff_planes, tiff_write
from framefill.data.footage import Footage, Layout
from framefill.data.tiff import open_tiff, open_tiff_folder
from framefill.data.tiff_write import write_tiff
from framefill.data.video import Part, Video
from framefill.errors import InputError

WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**31)
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
KINDS = ["uint8", "uint16", "int16", "float32", "float64"]


def numbers(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 120, shape).cumsum(axis=-1).astype(dtype)


def save(path: Path, array: np.ndarray, axes: str = "", **options) -> Path:
    metadata = {**({"axes": axes} if axes else {}), **options.pop("metadata", {})}
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(path, array, metadata=metadata, **options)
    return path


def bare(path: Path, array: np.ndarray, **options) -> Path:
    """Pages without any description."""
    options = {"photometric": "minisblack", **options}
    with tifffile.TiffWriter(path) as file:
        for page in array:
            file.write(page, metadata=None, description="", contiguous=False, **options)
    return path


def only(path: Path, layout: Layout | None = None) -> Footage:
    (footage,) = open_tiff(path, layout or Layout())
    return footage


def whole(footage: Footage) -> np.ndarray:
    return footage.take(range(footage.length))


# Reading


@pytest.mark.parametrize("dtype", [*KINDS, "float16"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_are_frames(tmp_path, dtype, order, big):
    array = numbers((7, 20, 30), dtype)
    with tifffile.TiffWriter(tmp_path / "stack.tif", byteorder=order, bigtiff=big) as file:
        for page in array:
            file.write(page, metadata=None, contiguous=False, photometric="minisblack")
    footage = only(tmp_path / "stack.tif")
    assert (footage.length, footage.shape, footage.dtype) == (7, (20, 30, 1), np.dtype(dtype))
    frames = whole(footage)
    assert frames.dtype.isnative
    assert np.array_equal(frames[..., 0], array)


@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 7},
        {"tile": (16, 32)},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "rowsperstrip": 3},
        {"compression": "zlib", "predictor": True, "tile": (16, 16)},
        {"compression": "lzma", "tile": (32, 16)},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["gray", "rgb", "planar"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_strips_tiles_and_compressions(tmp_path, options, form, dtype, order):
    if dtype == "float32":  # whose predictor tifffile needs imagecodecs for; Pillow writes it below
        options = {**options, "predictor": False}
    path = tmp_path / "stack.tif"
    if form == "gray":
        array = numbers((3, 45, 50), dtype)
        tifffile.imwrite(path, array, byteorder=order, photometric="minisblack", **options)
        expected = array[..., None]
    elif form == "rgb":
        array = expected = numbers((3, 45, 50, 3), dtype)
        tifffile.imwrite(path, array, byteorder=order, photometric="rgb", **options)
    else:
        array = numbers((3, 3, 45, 50), dtype)
        options = {**options, "photometric": "rgb", "planarconfig": "separate"}
        tifffile.imwrite(path, array, byteorder=order, **options)
        expected = array.transpose(0, 2, 3, 1)
    assert np.array_equal(tifffile.imread(path), array)
    footage = only(path)
    assert footage.length == 3
    assert np.array_equal(whole(footage), expected)


@pytest.mark.parametrize(
    ("mode", "predictor", "compression"),
    [
        *itertools.product(
            ("L", "RGB", "I;16", "F"), [1], ("tiff_lzw", "tiff_adobe_deflate", "packbits", "raw")
        ),
        *itertools.product(("L", "RGB", "I;16"), [2], ("tiff_lzw", "tiff_adobe_deflate")),
        *itertools.product("F", [3], ("tiff_lzw", "tiff_adobe_deflate")),
    ],
)
def test_pictures_of_pillow(tmp_path, mode, predictor, compression):
    shapes = {"L": ((40, 50), "uint8"), "RGB": ((40, 50, 3), "uint8"), "F": ((40, 50), "float32")}
    pages = [numbers(*shapes.get(mode, ((40, 50), "uint16")), seed=seed) for seed in range(3)]
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(
        tmp_path / "stack.tif",
        save_all=True,
        append_images=others,
        compression=compression,
        tiffinfo={317: predictor} if predictor > 1 else {},
    )
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        assert file.pages.first.predictor == predictor
    expected = np.stack(pages).reshape(3, 40, 50, -1)
    assert np.array_equal(whole(only(tmp_path / "stack.tif")), expected)


def test_other_compressions_name_their_codec(tmp_path):
    Image.fromarray(numbers((16, 16), "uint8")).save(tmp_path / "a.tif", compression="jpeg")
    footage = only(tmp_path / "a.tif")
    with pytest.raises(InputError, match="pip install imagecodecs"):
        footage.take([0])


@pytest.mark.parametrize(
    ("axes", "shape", "letters"),
    [
        ("TYX", (5, 20, 30), "fhw"),
        ("ZYX", (5, 20, 30), "fhw"),
        ("TCYX", (5, 3, 20, 30), "fchw"),
        ("CTYX", (3, 5, 20, 30), "cfhw"),
        ("ZCYX", (5, 3, 20, 30), "fchw"),
        ("TYXS", (5, 20, 30, 3), "fhwc"),
        ("TZCYX", (5, 1, 2, 20, 30), "f1chw"),
        ("YX", (20, 30), "hw"),
    ],
)
@pytest.mark.parametrize("form", ["ome", "imagej", "tifffile"])
def test_axes_have_names(tmp_path, axes, shape, letters, form):
    array = numbers(shape, "uint8")
    if axes == "CTYX":  # ImageJ has one order
        form = "ome"
    options = {"photometric": "rgb"} if axes.endswith("S") else {}
    flags = {} if form == "tifffile" else {form: True}
    path = save(tmp_path / "stack.tif", array, axes, **flags, **options)
    kept = array.reshape([n for n, letter in zip(shape, letters, strict=True) if letter != "1"])
    left = letters.replace("1", "")
    expected = kept.transpose([left.index(letter) for letter in "fhwc" if letter in left])
    expected = expected if "f" in left else expected[None]
    expected = expected if "c" in left else expected[..., None]
    assert np.array_equal(whole(only(path)), expected)


@pytest.mark.parametrize("form", ["ome", "imagej", "tifffile"])
def test_what_is_ambiguous_needs_a_word(tmp_path, form):
    array = numbers((5, 4, 20, 30), "uint8")
    flags = {} if form == "tifffile" else {form: True}
    path = save(tmp_path / "stack.tif", array, "TZYX", **flags)
    with pytest.raises(InputError, match=r"axes TZYX of lengths \(5, 4, 20, 30\): .* --data.axes"):
        open_tiff(path, Layout())
    planes = open_tiff(path, Layout(axes="fvhw"))
    assert len(planes) == 4
    for z, footage in enumerate(planes):
        assert np.array_equal(whole(footage)[..., 0], array[:, z])
    assert np.array_equal(whole(only(path, Layout(axes="cfhw"))), array.transpose(1, 2, 3, 0))
    with pytest.raises(InputError, match="4 axes"):
        open_tiff(path, Layout(axes="fhw"))


def test_ome_metadata(tmp_path):
    array = numbers((5, 2, 20, 30))
    times = [0.0, 0.5, 1.5, 1.75, 9.0]
    told = {
        "TimeIncrement": 250,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["GFP", "DAPI"]},
        "Plane": {
            "DeltaT": [60 * t for t in times for _ in range(2)],
            "DeltaTUnit": ["s"] * 10,
        },
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
    }
    path = save(tmp_path / "a.ome.tif", array, "TCYX", ome=True, metadata=told)
    footage = only(path)
    assert footage.fps == 4.0
    assert footage.times.tolist() == [60 * t for t in times]
    assert footage.channels == ("GFP", "DAPI")
    told["Plane"]["DeltaTUnit"] = ["min"] * 10
    told["AcquisitionDate"] = "2024-02-28T23:00:00Z"
    footage = only(save(tmp_path / "a.ome.tif", array, "TCYX", ome=True, metadata=told))
    assert footage.times.dtype == "datetime64[ns]"
    assert footage.times[1] == np.datetime64("2024-02-28T23:30:00")
    told["AcquisitionDate"] = "2024-02-28T23:00:00+01:00"
    footage = only(save(tmp_path / "a.ome.tif", array, "TCYX", ome=True, metadata=told))
    assert footage.times[0] == np.datetime64("2024-02-28T22:00:00")
    for odd in ("yesterday", ""):
        told["AcquisitionDate"] = odd
        footage = only(save(tmp_path / "a.ome.tif", array, "TCYX", ome=True, metadata=told))
        assert footage.times.dtype == float


def test_imagej_metadata(tmp_path):
    array = numbers((5, 2, 20, 30))
    told = {"finterval": 0.5, "tunit": "min", "Labels": ["GFP", "DAPI"] * 5}
    footage = only(save(tmp_path / "a.tif", array, "TCYX", imagej=True, metadata=told))
    assert footage.fps == pytest.approx(1 / 30)
    assert footage.channels == ("GFP", "DAPI")
    told = {"fps": 7.0, "Labels": [f"{n}" for n in range(10)]}
    footage = only(save(tmp_path / "a.tif", array, "TCYX", imagej=True, metadata=told))
    assert (footage.fps, footage.channels) == (7.0, ())
    path = bare(tmp_path / "b.tif", array[:, 0])
    tifffile.tiffcomment(path, "ImageJ=1.53t\nimages=5\nslices=5\nloop=false\n")
    assert np.array_equal(whole(only(path))[..., 0], array[:, 0])
    tifffile.tiffcomment(path, "ImageJ=1.53t\nimages=5\nloop=false\n")
    assert only(path).length == 5
    tifffile.tiffcomment(path, "ImageJ=1.53t\nimages=6\nchannels=2\nframes=3\n")
    with pytest.raises(InputError, match="has 5 pages, and its description tells of 6"):
        open_tiff(path, Layout())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["imagej", "tifffile"])
def test_planes_behind_one_page(tmp_path, order, form):
    """As ImageJ stores what is larger than 4 GiB."""
    array = numbers((6, 20, 30), "float32")
    path = tmp_path / "a.tif"
    options = {"imagej": True} if form == "imagej" else {}
    save(path, array, "TYX", truncate=True, byteorder=order, **options)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    footage = only(path)
    assert np.array_equal(footage.take([1, 5])[..., 0], array[[1, 5]])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="cut off: its 6 planes need"):
        open_tiff(path, Layout())


def test_images_of_an_ome_file_are_videos(tmp_path):
    first, second = numbers((5, 20, 30)), numbers((3, 40, 50), "uint8", seed=1)
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as file:
        file.write(first, photometric="minisblack", metadata={"axes": "TYX", "Name": "left"})
        file.write(second, photometric="minisblack", metadata={"axes": "TYX", "Name": "right"})
    left, right = open_tiff(tmp_path / "a.tif", Layout())
    assert right.name.endswith("image 1 (right)")
    assert np.array_equal(whole(left)[..., 0], first)
    assert np.array_equal(whole(right)[..., 0], second)


def test_ome_planes_in_any_order(tmp_path):
    array = numbers((3, 2, 20, 30))
    path = save(tmp_path / "a.tif", array, "TCYX", ome=True)
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    order = [4, 0, 5, 2, 1, 3]
    each = "".join(
        f'<TiffData IFD="{page}" FirstT="{n // 2}" FirstC="{n % 2}" PlaneCount="1"/>'
        for n, page in enumerate(order)
    )
    whole_text = text.replace('<TiffData IFD="0" PlaneCount="6"/>', each)
    assert whole_text != text
    tifffile.tiffcomment(path, whole_text.encode())
    expected = array.reshape(6, 20, 30)[order].reshape(array.shape).transpose(0, 2, 3, 1)
    assert np.array_equal(whole(only(path)), expected)
    tifffile.tiffcomment(path, text.replace('IFD="0" PlaneCount="6"', "").encode())
    assert np.array_equal(whole(only(path)), array.transpose(0, 2, 3, 1))


def test_thumbnails_are_left_out_and_other_sizes_refused(tmp_path):
    array = numbers((4, 20, 30))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in array:
            file.write(page, metadata=None, contiguous=False, photometric="minisblack")
            file.write(page[::2, ::2], metadata=None, subfiletype=1, photometric="minisblack")
    assert np.array_equal(whole(only(tmp_path / "a.tif"))[..., 0], array)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for page in (array[0], array[0, :10]):
            file.write(page, metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match="pages of 30x10x1 and 30x20x1"):
        open_tiff(tmp_path / "b.tif", Layout())
    with tifffile.TiffWriter(tmp_path / "c.tif") as file:
        for page in (array[0], array[0].astype("float32")):
            file.write(page, metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match=r"a page of \(20, 30\) and float32"):
        whole(only(tmp_path / "c.tif"))


def test_stored_values_are_kept_where_white_is_0(tmp_path):
    array = numbers((4, 20, 30), "uint8")
    path = bare(tmp_path / "a.tif", array, photometric="miniswhite")
    assert np.array_equal(whole(only(path))[..., 0], array)


def test_missing_values(tmp_path):
    array = numbers((4, 20, 30), "int16")
    array[2, 3, 4] = array[0, 1, 1] = -999
    tag = [(42113, 2, 0, "-999", True)]
    path = bare(tmp_path / "a.tif", array, extratags=tag)
    footage = only(path)
    assert footage.dtype == np.float32
    assert footage.stored == ("int16", -999)
    frames = whole(footage)
    assert np.argwhere(np.isnan(frames)).tolist() == [[0, 1, 1, 0], [2, 3, 4, 0]]
    write_tiff(tmp_path / "new.tif", footage.video(WHOLE))
    with tifffile.TiffFile(tmp_path / "new.tif") as file:
        assert np.array_equal(file.asarray(), array)
        assert file.pages.first.nodata == -999
    other = float(array[0, 0, 0])
    assert np.isnan(only(path, Layout(missing=other)).take([0])[0, 0, 0, 0])
    for odd in ("-1e9", "nan", "none", ""):
        path = bare(tmp_path / "b.tif", array, extratags=[(42113, 2, 0, odd, True)])
        assert only(path).dtype == np.int16
    floats = bare(tmp_path / "c.tif", array.astype("f4"), extratags=tag)
    assert np.isnan(whole(only(floats))).sum() == 2
    write_tiff(tmp_path / "new.tif", only(floats).video(WHOLE))
    assert np.array_equal(tifffile.imread(tmp_path / "new.tif"), array.astype("f4"))


@pytest.mark.parametrize(
    ("dtype", "seen"), [("int8", "float32"), ("uint32", "float64"), ("int64", "float64")]
)
def test_other_integers_are_floats_and_come_back(tmp_path, dtype, seen):
    array = numbers((4, 20, 30), dtype)
    footage = only(bare(tmp_path / "a.tif", array))
    assert footage.dtype == seen
    assert np.array_equal(whole(footage)[..., 0], array)
    write_tiff(tmp_path / "new.tif", footage.video(WHOLE))
    again = tifffile.imread(tmp_path / "new.tif")
    assert np.array_equal(again, array)
    assert again.dtype == (seen if dtype == "int64" else dtype)  # which OME doesn't have


@settings(max_examples=60, deadline=None)
@given(data=st.data(), form=st.sampled_from(["ome", "imagej", "virtual"]))
def test_any_places_are_what_numpy_takes(tmp_path_factory, data, form):
    shape = tuple(data.draw(st.integers(2, 5)) for _ in range(4))
    array = numbers((*shape, 7))
    options = {"ome": True, "compression": "zlib"} if form == "ome" else {"imagej": True}
    options = {**options, "truncate": True} if form == "virtual" else options
    path = save(tmp_path_factory.mktemp("any") / "a.tif", array, "TZCYX", **options)
    axes = "".join(data.draw(st.permutations("vfchw")))
    places_of = dict(zip(axes, array.shape, strict=True))
    place = st.integers(0, places_of["f"] - 1)
    places = sorted(data.draw(st.lists(place, min_size=1, max_size=8)))
    found = open_tiff(path, Layout(axes=axes))
    moved = array.transpose([axes.index(letter) for letter in "vfhwc"])
    assert len(found) == len(moved)
    for footage, expected in zip(found, moved, strict=True):
        assert np.array_equal(footage.take(places), expected[places])


def _read_in_a_child(packed: bytes, places: list[int]) -> np.ndarray:
    return pickle.loads(packed)(places)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_readers_go_to_other_processes(tmp_path, method):
    array = numbers((5, 20, 30))
    footage = only(save(tmp_path / "a.tif", array, "TYX", compression="zlib"))
    footage.take([2])  # a handle is open here when the child starts
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context) as pool:
        task = pool.submit(_read_in_a_child, pickle.dumps(footage.reader), [1, 4])
        frames = task.result(timeout=120)
    assert np.array_equal(frames[..., 0], array[[1, 4]])
    assert pickle.loads(pickle.dumps(footage.header)).content == footage.header.content


# Folders


def test_files_are_frames(tmp_path):
    array = numbers((12, 20, 30, 2), "float32")
    paths = [tmp_path / f"{n}.tif" for n in range(12)]
    for path, frame in zip(paths, array, strict=True):
        tifffile.imwrite(path, frame.transpose(2, 0, 1), metadata={"axes": "CYX"}, imagej=True)
    footage = open_tiff_folder(paths, "clip", tmp_path, Layout())
    assert (footage.name, footage.path, footage.length) == ("clip", tmp_path, 12)
    places = [0, 3, 3, 11]
    assert np.array_equal(pickle.loads(pickle.dumps(footage.reader))(places), array[places])


def test_files_of_other_kinds_are_refused(tmp_path):
    paths = [tmp_path / f"{n}.tif" for n in range(4)]
    tifffile.imwrite(paths[0], numbers((20, 30)))
    tifffile.imwrite(paths[1], numbers((20, 31)))
    tifffile.imwrite(paths[2], numbers((20, 30), "uint8"))
    bare(paths[3], numbers((2, 20, 30)))
    footage = open_tiff_folder(paths, "clip", tmp_path, Layout())
    assert footage.take([0]).shape == (1, 20, 30, 1)
    for place in (1, 2, 3):
        with pytest.raises(InputError, match=rf"{place}\.tif has . frames of .* need one size"):
            footage.take([place])
    paths[1].unlink()
    with pytest.raises(InputError, match=r"1\.tif"):
        footage.take([1])
    with pytest.raises(InputError, match="a folder needs files of one frame each"):
        open_tiff_folder(paths[3:], "clip", tmp_path, Layout())


# Memory


def peak_mib(work: str, *arguments: str) -> float:
    """Run some code in a new process and return how far its memory grew beyond the imports."""
    code = (
        "import re, sys\nfrom pathlib import Path\n"
        "from framefill.data.footage import Layout\n"
        "from framefill.data.tiff import open_tiff\n"
        "from framefill.errors import InputError\nimport tifffile\n"
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


def test_only_the_pages_asked_for_are_read(tmp_path, monkeypatch):
    array = numbers((50, 20, 30))
    footage = only(save(tmp_path / "a.tif", array, "TYX", compression="zlib"))
    read: list[int] = []
    values = tiff_planes.values_of

    def counted(file, page):
        read.append(page.offset)
        return values(file, page)

    monkeypatch.setattr(tiff_planes, "values_of", counted)
    footage.take([3, 40])
    assert len(read) == 2


@linux
def test_large_stacks_need_little_memory(tmp_path):
    """800 MiB unpacked, less than 2 MiB packed."""
    path = tmp_path / "large.tif"
    page = np.zeros((2048, 2048), np.uint16)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for _ in range(100):
            file.write(
                page, compression="zlib", metadata=None, photometric="minisblack", contiguous=False
            )
    grown = peak_mib(
        "footage, = open_tiff(Path(sys.argv[1]), Layout())\n"
        "assert footage.length == 100 and footage.take([5, 99]).shape == (2, 2048, 2048, 1)",
        str(path),
    )
    assert grown < 80


def test_compressed_parts_unpack_to_no_more_than_a_page(tmp_path):
    """A strip of 64 KiB that would unpack to 64 MiB."""
    array = numbers((1, 256, 256), "uint8")
    path = bare(tmp_path / "bomb.tif", array, compression="zlib")
    with tifffile.TiffFile(path) as file:
        place, count = (file.pages.first.tags[code].valueoffset for code in (273, 279))
    bomb = zlib.compress(array.tobytes() + bytes(2**26), 9)
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", len(data))
    data[count : count + 4] = struct.pack("<I", len(bomb))
    path.write_bytes(data + bomb)
    assert np.array_equal(only(path).take([0])[..., 0], array)
    if Path("/proc/self/status").exists():
        grown = peak_mib("open_tiff(Path(sys.argv[1]), Layout())[0].take([0])", str(path))
        assert grown < 20
    data[count : count + 4] = struct.pack("<I", 2**20)
    path.write_bytes(data + bytes(2**20))
    with pytest.raises(InputError, match="a part of 1048576 bytes for 65536"):
        only(path).take([0])


def patched(path: Path, page: int, code: int, value: int) -> None:
    """Overwrite a tag that holds one number."""
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages[page].tags[code]
        place, width = tag.offset + 8, {3: 2, 4: 4}[int(tag.dtype)]
    data = bytearray(path.read_bytes())
    data[place : place + width] = value.to_bytes(width, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("code", [256, 257])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_page_can_not_claim_a_huge_size(tmp_path, code, options):
    path = bare(tmp_path / "a.tif", numbers((1, 20, 30)), **options)
    patched(path, 0, code, 2**31)
    with pytest.raises(InputError, match="above the limit"):
        open_tiff(path, Layout())
    patched(path, 0, code, 2**16)
    with pytest.raises(InputError):
        only(path).take([0])


@pytest.mark.parametrize(("compression", "claim"), [(None, 2**13), ("zlib", 2**17)])
def test_a_page_can_not_be_larger_than_its_parts_unpack_to(tmp_path, compression, claim):
    path = bare(tmp_path / "a.tif", numbers((1, 20, 30)), compression=compression)
    patched(path, 0, 256, claim)
    with pytest.raises(InputError, match=rf"a page of {claim * 40} bytes in \d+\)"):
        only(path).take([0])


def test_a_tile_can_not_claim_a_huge_size(tmp_path):
    path = bare(tmp_path / "a.tif", numbers((1, 20, 30)), tile=(32, 32), compression="zlib")
    patched(path, 0, 322, 2**31)
    with pytest.raises(InputError, match="parts of 32x2147483648x1"):
        only(path).take([0])
    patched(path, 0, 322, 0)
    with pytest.raises(InputError):
        only(path).take([0])


def test_damaged_strips_are_told(tmp_path):
    path = bare(tmp_path / "a.tif", numbers((1, 20, 30)), compression="zlib")
    with tifffile.TiffFile(path) as file:
        end = file.pages.first.dataoffsets[0] + file.pages.first.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[end - 1] ^= 1  # of the checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match="incorrect data check"):
        only(path).take([0])
    path = bare(tmp_path / "c.tif", numbers((1, 20, 30)), compression="zlib")
    patched(path, 0, 257, 21)
    patched(path, 0, 278, 21)
    with pytest.raises(InputError, match="a part holds 1200 of its 1260 bytes"):
        only(path).take([0])
    path = bare(tmp_path / "b.tif", numbers((1, 20, 30)))
    patched(path, 0, 279, 1000)
    with pytest.raises(InputError, match="a page of 1200 bytes in 1000"):
        only(path).take([0])


# Damage


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_files_that_were_cut_off_are_refused(tmp_path, compression):
    path = save(tmp_path / "a.tif", numbers((9, 20, 30)), "TYX", compression=compression)
    data = path.read_bytes()
    for share in np.linspace(0, 0.995, 40):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            whole(only(path))


def test_pages_in_a_circle_are_refused(tmp_path):
    path = bare(tmp_path / "a.tif", numbers((150, 4, 4), "uint8"))
    with tifffile.TiffFile(path) as file:
        last, back = file.pages[149], file.pages[120].offset
        place = last.offset + 2 + 12 * len(last.tags)
    data = bytearray(path.read_bytes())
    assert data[place : place + 4] == bytes(4)
    data[place : place + 4] = struct.pack("<I", back)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or cut off after 150 pages"):
        open_tiff(path, Layout())


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('SizeT="5"', 'SizeT="999999999999"', "too few for"),
        ('SizeT="5"', 'SizeT="0"', "too few for"),
        ('SizeT="5"', 'SizeT="-5"', "too few for"),
        ('SizeT="5"', 'SizeT="many"', "can't be read"),
        ('SizeT="5"', "", "can't be read"),
        ('SizeT="5"', 'SizeT="6"', "too few for"),
        ('PlaneCount="5"', 'PlaneCount="999999999999"', "doesn't fit"),
        ('PlaneCount="5"', 'PlaneCount="4"', "lacks 1 planes"),
        ('IFD="0"', 'IFD="3"', "doesn't fit"),
        ('IFD="0"', 'IFD="0" FirstT="7"', "can't be read"),
        ("<TiffData", "<Nothing", "lacks 5 planes"),
        ('DimensionOrder="XYCZT"', 'DimensionOrder="XY"', "can't be read|too few"),
        ("<Image ", "<Images ", "can't be read"),
        (
            'PlaneCount="5"/>',
            'PlaneCount="5"><UUID FileName="b.tif">x</UUID></TiffData>',
            "other f",
        ),
        ("<OME", '<!DOCTYPE a [<!ENTITY b "c">]><OME', "definitions"),
    ],
)
def test_odd_ome_xml_is_refused(tmp_path, old, new, match):
    path = save(tmp_path / "a.tif", numbers((5, 20, 30)), "TYX", ome=True)
    save(tmp_path / "b.tif", numbers((5, 20, 30)), "TYX")
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    changed = text.replace('DimensionOrder="XYZCT"', 'DimensionOrder="XYCZT"').replace(old, new, 1)
    assert changed != text
    tifffile.tiffcomment(path, changed.encode())
    with pytest.raises(InputError, match=match):
        open_tiff(path, Layout())


def test_metadata_in_another_file_is_refused(tmp_path):
    path = bare(tmp_path / "a.tif", numbers((5, 20, 30)))
    text = '<OME xmlns="http://x"><BinaryOnly MetadataFile="b.ome" UUID="c"/></OME>'
    tifffile.tiffcomment(path, text.encode())
    with pytest.raises(InputError, match="in another file"):
        open_tiff(path, Layout())


def test_formats_with_pages_of_their_own_are_refused(tmp_path):
    path = bare(tmp_path / "a.tif", numbers((1, 8, 8)), extratags=[(34412, 7, 8, bytes(8), True)])
    with pytest.raises(InputError, match="is a LSM file: convert it to OME-TIFF"):
        open_tiff(path, Layout())


def written(path: Path, form: str) -> None:
    array = numbers((4, 2, 6, 5))
    if form == "plain":
        bare(path, array[:, 0], compression="zlib", predictor=True, tile=(16, 16))
    elif form == "lzw":
        pages = [Image.fromarray(page) for page in array[:, 0]]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    else:
        options = {"ome": True, "compression": "zlib"} if form == "ome" else {"imagej": True}
        options = {**options, "truncate": True} if form == "virtual" else options
        save(path, array, "TCYX", **options)


@settings(max_examples=400, deadline=None)
@given(
    form=st.sampled_from(["plain", "lzw", "ome", "imagej", "virtual"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4),
)
def test_flipped_bits_never_crash(tmp_path_factory, form, flips):
    path = tmp_path_factory.mktemp("flips") / "a.tif"
    written(path, form)
    data = bytearray(path.read_bytes())
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        for footage in open_tiff(path, Layout()):
            footage.take([0, footage.length - 1])
            write_tiff(path.with_name("new.tif"), footage.video(WHOLE))


def test_each_byte_of_a_header_may_be_wrong(tmp_path):
    """All pages begin with their tags here, where a flip does most."""
    path = tmp_path / "a.tif"
    written(path, "plain")
    data = path.read_bytes()
    for place, value in itertools.product(range(0, 260), (0, 1, 0xFF)):
        spoiled = bytearray(data)
        spoiled[place] = value
        path.write_bytes(spoiled)
        with contextlib.suppress(InputError):
            for footage in open_tiff(path, Layout()):
                footage.take([0, footage.length - 1])


def test_nothing_is_logged(tmp_path, capfd, caplog):
    path = bare(tmp_path / "a.tif", numbers((5, 20, 30)), extratags=[(42113, 2, 0, "odd", True)])
    only(path)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"text" * 99])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="can't be read as a TIFF file"):
        open_tiff(tmp_path / "a.tif", Layout())


def test_the_extra_is_named(tmp_path, monkeypatch):
    path = bare(tmp_path / "a.tif", numbers((5, 20, 30)))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[tiff\]'"):
        open_tiff(path, Layout())
    with pytest.raises(InputError, match=r"pip install 'framefill\[tiff\]'"):
        write_tiff(tmp_path / "new.tif", Video(numbers((2, 3, 4, 1))))


# Writing


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [*KINDS, "float16"])
def test_new_files_are_read_back(tmp_path, channels, dtype):
    frames = numbers((6, 20, 30, channels), dtype)
    names = tuple("abcde"[:channels])
    video = Video(frames, fps=4.0, channels=names, units="mm/h")
    write_tiff(tmp_path / "new.tif", video)
    footage = only(tmp_path / "new.tif")
    again = whole(footage)
    assert again.dtype == ("float32" if dtype == "float16" else dtype)
    assert np.array_equal(again, frames)
    assert (footage.fps, footage.units) == (4.0, "mm/h")
    colors = channels in (3, 4) and dtype in ("uint8", "uint16")
    assert footage.channels == (names if channels > 1 and not colors else ())
    with tifffile.TiffFile(tmp_path / "new.tif") as file:
        assert file.is_ome
        assert file.pages.first.compression == 8
        (series,) = file.series
        assert series.get_axes(squeeze=False).startswith("T")
        expected = frames if colors else frames.transpose(0, 3, 1, 2)
        assert np.array_equal(series.asarray().reshape(expected.shape), expected)


def test_one_frame_and_one_pixel(tmp_path):
    for shape in ((1, 20, 30, 1), (5, 1, 1, 1), (1, 1, 1, 3)):
        frames = numbers(shape)
        write_tiff(tmp_path / "new.tif", Video(frames))
        assert np.array_equal(whole(only(tmp_path / "new.tif")), frames)


@pytest.mark.parametrize(
    "times",
    [
        np.array([0.0, 1, 2, 7]),
        np.array([3.0, 3.25, 3.5, 3.75]),
        np.array(["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-05T00:00:01"], "M8[ns]"),
        np.array(["2020-01-01T00:00:00.000000001", *["2020-01-02"] * 3], "M8[ns]"),
    ],
)
def test_times_are_kept(tmp_path, times):
    write_tiff(tmp_path / "new.tif", Video(numbers((4, 20, 30, 2)), times=times))
    footage = only(tmp_path / "new.tif")
    assert footage.times.dtype == times.dtype
    assert np.array_equal(footage.times, times)
    assert footage.fps == (4.0 if times[1] == 3.25 else None)


def test_imagej_stays_imagej(tmp_path):
    array = numbers((5, 2, 20, 30))
    told = {"finterval": 0.5, "unit": "um", "Labels": ["GFP", "DAPI"] * 5}
    path = save(tmp_path / "a.tif", array, "TCYX", imagej=True, metadata=told, resolution=(5, 4))
    video = only(path).video(WHOLE)
    write_tiff(tmp_path / "new.tif", video)
    with tifffile.TiffFile(tmp_path / "new.tif") as file:
        assert file.is_imagej
        assert np.array_equal(file.asarray(), array)
        assert (file.imagej_metadata["finterval"], file.imagej_metadata["unit"]) == (0.5, "um")
        assert file.pages.first.resolution == (5, 4)
    footage = only(tmp_path / "new.tif")
    assert (footage.fps, footage.channels) == (2.0, ("GFP", "DAPI"))
    for other in (
        replace(video, times=np.array([0.0, 1, 2, 3, 9]), fps=None),
        replace(video, frames=video.frames.astype("int16")),
    ):
        write_tiff(tmp_path / "ome.tif", other)
        with tifffile.TiffFile(tmp_path / "ome.tif") as file:
            assert file.is_ome
    colors = save(
        tmp_path / "b.tif", numbers((5, 8, 9, 3), "uint8"), "TYXS", imagej=True, photometric="rgb"
    )
    write_tiff(tmp_path / "c.tif", only(colors).video(WHOLE))
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.is_imagej
        assert np.array_equal(file.asarray(), tifffile.imread(colors))


def test_sizes_and_places_are_kept(tmp_path):
    array = numbers((5, 20, 30))
    told = {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.3}
    path = save(tmp_path / "a.tif", array, "TYX", ome=True, metadata=told)
    write_tiff(tmp_path / "new.tif", only(path).video(WHOLE))
    assert only(tmp_path / "new.tif").header.content.sizes == only(path).header.content.sizes
    geo = [
        (33550, 12, 3, (10.0, 10.0, 0.0), True),
        (33922, 12, 6, (0.0, 0, 0, 5e5, 4e6, 0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
        (34737, 2, 0, "WGS 84|", True),
    ]
    path = bare(tmp_path / "geo.tif", array, extratags=geo, resolution=(3, 4), resolutionunit=2)
    write_tiff(tmp_path / "new.tif", only(path).video(WHOLE))
    with tifffile.TiffFile(path) as old, tifffile.TiffFile(tmp_path / "new.tif") as new:
        for code in (33550, 33922, 34735, 34737):
            assert new.pages.first.tags[code].value == old.pages.first.tags[code].value
        assert new.pages.first.resolution == (3, 4)
        assert new.pages.first.resolutionunit == 2


def test_frames_of_another_size_have_other_sizes(tmp_path):
    told = {"PhysicalSizeX": 0.2}
    path = save(tmp_path / "a.tif", numbers((5, 20, 30)), "TYX", ome=True, metadata=told)
    video = only(path).video(WHOLE)
    write_tiff(tmp_path / "new.tif", replace(video, frames=video.frames[:, ::2]))
    assert only(tmp_path / "new.tif").header.content.sizes == ()


def test_missing_values_need_a_number(tmp_path):
    array = numbers((5, 20, 30), "int16")
    array[0, 0, 0] = -1
    footage = only(bare(tmp_path / "a.tif", array), Layout(missing=-1))
    frames = whole(footage)
    assert np.isnan(frames).sum() == 1
    write_tiff(tmp_path / "new.tif", footage.video(WHOLE))
    assert np.array_equal(tifffile.imread(tmp_path / "new.tif"), array)
    assert only(tmp_path / "new.tif").stored == ("int16", -1)
    plain = only(bare(tmp_path / "b.tif", array.astype("int8")))
    with pytest.raises(InputError, match="1 values that are NaN, and int8"):
        write_tiff(tmp_path / "new.tif", replace(plain.video(WHOLE), frames=frames))


def test_large_files_are_big(tmp_path, monkeypatch):
    frames = numbers((2, 20, 30, 1))
    write_tiff(tmp_path / "new.tif", Video(frames))
    monkeypatch.setattr(tiff_write, "CLASSIC", frames.nbytes - 1)
    write_tiff(tmp_path / "big.tif", Video(frames))
    for name, big in (("new.tif", False), ("big.tif", True)):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_bigtiff == big
        assert np.array_equal(whole(only(tmp_path / name)), frames)

"""DICOM: pydicom's own files are read as pydicom reads them, and it reads what we write."""

import contextlib
import io
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.sequence import Sequence

from framefill.data.dicom import is_dicom, open_dicom
from framefill.data.dicom_write import write_dicom
from framefill.data.footage import Footage, Layout
from framefill.data.scale import Scale
from framefill.data.video import Part, Video
from framefill.errors import FillWarning, InputError

EXAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**31)
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
SYNTAXES = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
US_FILM = "1.2.840.10008.5.1.4.1.1.3.1"
CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in (2, 4, 128))


def numbers(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 200, shape).cumsum(axis=-1).astype(dtype)


def save(path: Path, array: np.ndarray, syntax=uid.ExplicitVRLittleEndian, **told) -> Path:
    """Write frames [h w], [f h w] or, if told SamplesPerPixel=3, with colors behind."""
    image = Dataset()
    image.SamplesPerPixel = told.pop("SamplesPerPixel", 1)
    shape = array.shape[:-1] if image.SamplesPerPixel == 3 else array.shape
    image.PhotometricInterpretation = "RGB" if image.SamplesPerPixel == 3 else "MONOCHROME2"
    if image.SamplesPerPixel == 3:
        image.PlanarConfiguration = 0
    image.Rows, image.Columns = shape[-2:]
    if len(shape) == 3:
        image.NumberOfFrames = shape[0]
    image.BitsAllocated = image.BitsStored = array.itemsize * 8
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(array.dtype.kind == "i")
    image.SOPClassUID, image.SOPInstanceUID = told.pop("SOPClassUID", CT), uid.generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    image.PatientName, image.PatientID = "Doe^Jane", "P1"
    for keyword, value in told.items():
        if keyword == "PixelPaddingValue":
            image.add_new(keyword, "SS" if array.dtype.kind == "i" else "US", value)
        else:
            setattr(image, keyword, value)
    order = "<" if syntax.is_little_endian else ">"
    raw = array.astype(array.dtype.newbyteorder(order)).tobytes()
    image.add_new("PixelData", "OW" if array.itemsize > 1 else "OB", raw + bytes(len(raw) % 2))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    pydicom.dcmwrite(path, image, enforce_file_format=True)
    return path


def series(folder: Path, array: np.ndarray, each, **told) -> Path:
    """Write a file for each frame, in names of another order; `each` tells what is of its own."""
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(array):
        save(folder / f"{(number * 7) % 31:02}", frame, **{**told, **each(number)})
    return folder


def only(path: Path, layout: Layout | None = None) -> Footage:
    (footage,) = open_dicom(path, layout or Layout())
    return footage


def whole(footage: Footage) -> np.ndarray:
    return footage.take(range(footage.length))


def rewritten(path: Path, footage: Footage, frames: np.ndarray | None = None) -> list[Dataset]:
    """Write a video again and return what pydicom reads of it, in the order of InstanceNumber."""
    video = footage.video(WHOLE)
    if frames is not None:
        video = replace(video, frames=frames, times=None)
    write_dicom(path, video)
    paths = path.iterdir() if path.is_dir() else [path]
    return sorted((pydicom.dcmread(each) for each in paths), key=lambda each: each.InstanceNumber)


# Real files


def examples(*names: str):
    found = [EXAMPLES / name for name in names]
    return [path for path in found if path.is_file()]


REAL = examples(
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"),
    *("MR_small_implicit.dcm", "MR_small_jp2klossless.dcm", "MR_small_padded.dcm"),
    *("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "ExplVR_BigEnd.dcm"),
    *("SC_rgb_jpeg.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"),
    *("SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit_2frame.dcm"),
    *("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd_jpeg.dcm"),
    *("SC_ybr_full_422_uncompressed.dcm", "examples_ybr_color.dcm", "examples_palette.dcm"),
    *("examples_overlay.dcm", "image_dfl.dcm", "liver_1frame.dcm", "rtdose_expb.dcm"),
    *("rtdose_rle.dcm", "SC_jpeg_no_color_transform.dcm"),
)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_files_are_what_pydicom_reads(path, tmp_path):
    image = pydicom.dcmread(path)
    expected = image.pixel_array
    if image.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, image)
    else:
        expected = apply_modality_lut(expected, image)
    footage = only(path)
    assert is_dicom(path)
    frames = whole(footage)
    shown = ~np.isnan(frames)
    assert shown.any()
    assert np.array_equal(frames[shown], expected.reshape(frames.shape)[shown])
    folder = tmp_path / "new"
    write_dicom(folder, footage.video(WHOLE))
    again = only(folder)
    assert again.dtype == footage.dtype
    assert np.array_equal(whole(again), frames, equal_nan=True)


def test_values_of_a_scanner_have_their_unit():
    footage = only(EXAMPLES / "CT_small.dcm")
    image = pydicom.dcmread(EXAMPLES / "CT_small.dcm")
    assert footage.units == "HU"
    padded = image.pixel_array == image.PixelPaddingValue
    assert np.array_equal(np.isnan(footage.take([0])[0, ..., 0]), padded)


def test_a_real_film_has_its_rate():
    assert only(EXAMPLES / "examples_ybr_color.dcm").fps == pytest.approx(30, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "compressed as JPEG-LS .*: pip install pylibjpeg"),
        ("JPEG-lossy.dcm", "12-bit precision.*: unless it is damaged, pip install pylibjpeg"),
        ("MR_truncated.dcm", "cut off: it holds 0 of its 1 frames"),
        ("badVR.dcm", "can't be read as DICOM"),
        ("rtplan.dcm", "holds no DICOM images"),
        ("rtplan_truncated.dcm", "holds no DICOM images"),
        ("nested_priv_SQ.dcm", "can't be read as DICOM"),
    ],
)
def test_real_files_that_can_not_be_read(name, match, capfd):
    with pytest.raises(InputError, match=match):
        whole(only(EXAMPLES / name))
    assert capfd.readouterr() == ("", "")


# Order


def plan(number: int) -> dict[str, object]:
    return {"InstanceNumber": number + 1}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_files_of_a_series_are_frames(tmp_path, syntax, dtype):
    array = numbers((12, 20, 30), dtype)
    folder = series(tmp_path / "series", array, plan, syntax=syntax)
    footage = only(folder)
    assert (footage.length, footage.shape, footage.dtype) == (12, (20, 30, 1), np.dtype(dtype))
    assert (footage.name, footage.path) == (str(folder), folder)
    frames = whole(footage)
    assert frames.dtype.isnative
    assert np.array_equal(frames[..., 0], array)
    assert np.array_equal(footage.take([2, 2, 11])[..., 0], array[[2, 2, 11]])


@pytest.mark.parametrize(
    ("each", "times"),
    [
        (lambda n: {"TriggerTime": 25 * n}, [0.0, 0.025, 0.05]),
        (lambda n: {"FrameReferenceTime": 1000 + 500 * n}, [1.0, 1.5, 2.0]),
        (lambda n: {"AcquisitionTime": f"1200{n:02}.5"}, [43200.5, 43201.5, 43202.5]),
        (
            lambda n: {"AcquisitionDate": "20240228", "AcquisitionTime": f"2359{n:02}"},
            [f"2024-02-28T23:59:0{n}" for n in range(3)],
        ),
        (
            lambda n: {"AcquisitionDateTime": f"202402282359{n:02}.25+0100"},
            [f"2024-02-28T23:59:0{n}.25" for n in range(3)],
        ),
        (lambda n: {"TemporalPositionIdentifier": n, "TriggerTime": 7}, None),
        (lambda n: {"TemporalPositionIdentifier": n, "TriggerTime": 5 * n + 1}, [0.001, 0.006]),
        (lambda n: {"AcquisitionTime": "120000", "TriggerTime": 30 * n}, [0.0, 0.03]),
        (lambda n: {"AcquisitionTime": f"12{59 - n}00", "TriggerTime": 30 * n}, [0.0, 0.03]),
        (lambda n: {"TemporalPositionIdentifier": n, "TriggerTime": 90 - n}, None),
    ],
)
def test_time_decides_on_the_order(tmp_path, each, times):
    array = numbers((12, 20, 30))

    def told(number: int) -> dict[str, object]:
        return {"InstanceNumber": 12 - number, **each(number)}

    footage = only(series(tmp_path / "series", array, told))
    assert np.array_equal(whole(footage)[..., 0], array)
    if times is None:
        assert footage.times is None
    elif isinstance(times[0], str):
        assert footage.times[:3].tolist() == np.array(times, "M8[ns]").tolist()
    else:
        assert footage.times[: len(times)].tolist() == pytest.approx(times)
    if times is not None:
        assert footage.fps == pytest.approx(
            1
            / np.diff(np.array(footage.times[:2], "f8"))[0]
            * (1e9 if isinstance(times[0], str) else 1)
        )


def upright(number: int, where: float) -> dict[str, object]:
    told = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "InstanceNumber": 99 - number}
    return {**told, "ImagePositionPatient": [-5.5, where, 7.25]}


def test_slices_stand_along_their_normal(tmp_path):
    array = numbers((12, 20, 30))
    moments = {"AcquisitionDate": "20240101"}  # which interleaved scanners give in another order
    folder = series(
        tmp_path / "series",
        array,
        lambda n: {**upright(n, 2.5 * n), "AcquisitionTime": f"12{n * 5 % 12:02}00", **moments},
    )
    footage = only(folder)
    assert np.array_equal(whole(footage)[..., 0], array)
    assert (footage.times, footage.fps) == (None, None)


def test_slices_that_look_in_several_directions_are_no_stack(tmp_path):
    array = numbers((3, 20, 30))
    directions = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1]]

    def told(number: int) -> dict[str, object]:
        where = [0, 0, -5.0 * number]
        return {
            "ImageOrientationPatient": directions[number],
            "ImagePositionPatient": where,
            **plan(number),
        }

    footage = only(series(tmp_path / "series", array, told))
    assert np.array_equal(whole(footage)[..., 0], array)


def test_places_that_repeat_are_videos(tmp_path):
    array = numbers((3, 4, 20, 30))  # places, then times
    (tmp_path / "series").mkdir()
    for place in range(3):
        for turn in range(4):
            told = {**upright(0, 5.0 * place), "TriggerTime": 40 * (3 - turn)}
            save(tmp_path / "series" / f"{turn}{place}", array[place, turn], **told)
    found = open_dicom(tmp_path / "series", Layout())
    assert [footage.name.rpartition(" place ")[2] for footage in found] == ["0", "1", "2"]
    for footage, expected in zip(found, array, strict=True):
        assert footage.fps == pytest.approx(25)
        assert np.array_equal(whole(footage)[..., 0], expected[::-1])


def test_each_series_and_each_film_is_a_video(tmp_path):
    array = numbers((3, 5, 20, 30))
    for number in range(2):
        series(tmp_path, array[number], plan, SeriesInstanceUID=f"1.2.{number}")
        for path in tmp_path.glob("??"):
            path.rename(path.with_name(f"{number}-{path.name}"))
    save(tmp_path / "film.dcm", array[2], SOPClassUID=US_FILM, FrameTime=40)
    (tmp_path / "notes.txt").write_text("not DICOM")
    shutil.copy(EXAMPLES / "rtplan.dcm", tmp_path)
    shutil.copy(tmp_path / "film.dcm", tmp_path / ".hidden.dcm")
    found = {footage.name: footage for footage in open_dicom(tmp_path, Layout())}
    assert sorted(found) == sorted(
        [f"{tmp_path} series 1.2.0", f"{tmp_path} series 1.2.1", str(tmp_path / "film.dcm")]
    )
    for number in range(2):
        assert np.array_equal(
            whole(found[f"{tmp_path} series 1.2.{number}"])[..., 0], array[number]
        )
    assert found[str(tmp_path / "film.dcm")].fps == 25


def test_sizes_of_a_series_must_agree(tmp_path):
    series(tmp_path / "series", numbers((3, 20, 30)), plan)
    save(tmp_path / "series" / "zz", numbers((20, 31)))
    with pytest.raises(InputError, match=r"zz is \(20, 31, 1\) of uint16 and .* \(20, 30, 1\)"):
        open_dicom(tmp_path / "series", Layout())


def test_links_out_of_a_folder_are_refused(tmp_path):
    series(tmp_path / "series", numbers((3, 20, 30)), plan)
    save(tmp_path / "secret", numbers((20, 30)))
    (tmp_path / "series" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is a link out of its folder"):
        open_dicom(tmp_path / "series", Layout())


# Films


@pytest.mark.parametrize(
    ("told", "fps", "times"),
    [
        ({"FrameTime": 40}, 25, None),
        ({"CineRate": 30}, 30, None),
        ({"RecommendedDisplayFrameRate": 12}, 12, None),
        ({"FrameTime": 0, "CineRate": 30}, 30, None),
        ({"FrameTimeVector": [0, 10, 30, 10, 10]}, None, [0, 0.01, 0.04, 0.05, 0.06]),
        ({"FrameTimeVector": [0, 10]}, None, None),
        ({}, None, None),
    ],
)
def test_films_have_a_rate_or_times(tmp_path, told, fps, times):
    array = numbers((5, 20, 30), "uint8")
    footage = only(save(tmp_path / "film.dcm", array, SOPClassUID=US_FILM, **told))
    assert np.array_equal(whole(footage)[..., 0], array)
    assert footage.fps == fps
    assert (None if footage.times is None else footage.times.tolist()) == (
        None if times is None else pytest.approx(times)
    )


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_colors(tmp_path, syntax):
    array = numbers((5, 21, 31, 3), "uint8")  # of an odd size
    footage = only(save(tmp_path / "film.dcm", array, syntax, SamplesPerPixel=3))
    assert footage.shape == (21, 31, 3)
    assert np.array_equal(whole(footage), array)


def enhanced(path: Path, array: np.ndarray) -> Path:
    """Frames of three places and four times in one file, in a wild order, two scales."""
    save(path, array[np.array([3, 1, 4, 0, 11, 9, 2, 6, 5, 10, 8, 7])])
    image = pydicom.dcmread(path)
    turn = Dataset()
    turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([turn])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for number in [3, 1, 4, 0, 11, 9, 2, 6, 5, 10, 8, 7]:
        group, place, content, values = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, 1.5 * (number // 4)]
        content.FrameAcquisitionDateTime = f"20240101120000.{number % 4}"
        values.RescaleSlope, values.RescaleIntercept = [("2", "0"), ("0.5", "-8")][number % 2]
        values.RescaleType = "BQML"
        group.PlanePositionSequence = Sequence([place])
        group.FrameContentSequence = Sequence([content])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = Sequence(groups)
    image.save_as(path)
    return path


def test_enhanced_images_are_sorted_as_files_are(tmp_path):
    array = numbers((12, 20, 30))
    found = open_dicom(enhanced(tmp_path / "a.dcm", array), Layout())
    expected = array.astype("f4") * np.array([2, 0.5] * 6)[:, None, None]
    expected += np.array([0, -8] * 6)[:, None, None]
    assert len(found) == 3
    for number, footage in enumerate(found):
        assert footage.units == "BQML"
        assert footage.fps == pytest.approx(10)
        assert np.array_equal(whole(footage)[..., 0], expected[4 * number : 4 * number + 4])
    again = rewritten(tmp_path / "new", found[1])
    assert [(each.RescaleSlope, each.RescaleIntercept) for each in again] == [(2, 0), (0.5, -8)] * 2
    assert np.array_equal(np.stack([each.pixel_array for each in again]), array[4:8])


# Values


def test_slopes_and_padding(tmp_path):
    array = numbers((6, 20, 30), "int16")
    array[2, 3, 4] = array[5, 1, 1] = -2000
    told = {"RescaleSlope": "0.25", "RescaleIntercept": "-7.5", "PixelPaddingValue": -2000}
    footage = only(series(tmp_path / "series", array, plan, **told))
    assert footage.dtype == np.float32
    assert footage.stored is None
    expected = (array * 0.25 - 7.5).astype("f4")
    expected[array == -2000] = np.nan
    assert np.array_equal(whole(footage)[..., 0], expected, equal_nan=True)
    fine = {"RescaleSlope": "1e-5", "RescaleIntercept": "1000"}
    assert only(series(tmp_path / "fine", array, plan, **fine)).dtype == np.float64
    same = {"RescaleSlope": "1", "RescaleIntercept": "0"}
    assert only(series(tmp_path / "same", array, plan, **same)).dtype == np.int16
    with pytest.raises(InputError, match="slope 0"):
        open_dicom(save(tmp_path / "zero.dcm", array[0], RescaleSlope="0"), Layout())


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_padding_of_plain_integers(tmp_path, syntax, dtype):
    array = numbers((4, 20, 30), dtype)
    padding = -1 if dtype == "int16" else 65535
    array[1, 2, 3] = padding
    footage = only(series(tmp_path / "a", array, plan, syntax=syntax, PixelPaddingValue=padding))
    assert footage.stored == (dtype, padding)
    frames = whole(footage)
    assert np.argwhere(np.isnan(frames)).tolist() == [[1, 2, 3, 0]]
    again = rewritten(tmp_path / "new", footage)
    assert [each.PixelPaddingValue for each in again] == [padding] * 4
    assert np.array_equal(np.stack([each.pixel_array for each in again]), array)
    value = float(array[0, 0, 0])
    assert np.isnan(only(tmp_path / "a", Layout(missing=value)).take([0])[0, 0, 0, 0])


def test_padding_of_signed_values_may_be_told_unsigned(tmp_path):
    array = numbers((20, 30), "int16")
    array[2, 3] = -2000
    path = save(tmp_path / "a.dcm", array)
    image = pydicom.dcmread(path)
    image.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    image.save_as(path)
    assert np.argwhere(np.isnan(only(path).take([0]))).tolist() == [[0, 2, 3, 0]]


def test_a_range_of_padding(tmp_path):
    array = numbers((20, 30))
    path = save(tmp_path / "a.dcm", array, PixelPaddingValue=500)
    image = pydicom.dcmread(path)
    image.add_new("PixelPaddingRangeLimit", "US", 300)
    image.save_as(path)
    gone = np.isnan(only(path).take([0])[0, ..., 0])
    assert np.array_equal(gone, (array >= 300) & (array <= 500))


def test_slopes_of_each_file(tmp_path):
    """As in positron emission tomography."""
    array = numbers((6, 20, 30), "int16")
    slopes = ["0.5", "0.123456789", "3.75", "0.5", "1.1", "7e-3"]
    folder = series(
        tmp_path / "a",
        array,
        lambda n: {"RescaleSlope": slopes[n], "RescaleIntercept": "0", **plan(n)},
        SOPClassUID=PET,
        Units="BQML",
    )
    footage = only(folder)
    assert footage.units == "BQML"
    expected = array * np.array(slopes, "f8")[:, None, None]
    assert np.allclose(whole(footage)[..., 0], expected, rtol=1e-6)
    again = rewritten(tmp_path / "new", footage)
    assert [each.RescaleSlope for each in again] == [float(slope) for slope in slopes]
    assert np.array_equal(np.stack([each.pixel_array for each in again]), array)
    odd = whole(footage) * np.float32(np.sqrt(2))
    with pytest.warns(FillWarning, match="floats are stored as integers"):
        again = rewritten(tmp_path / "odd", footage, odd)
    seen = np.stack([apply_modality_lut(each.pixel_array, each) for each in again])
    steps = np.array([each.RescaleSlope for each in again], "f8")[:, None, None]
    assert (np.abs(seen - odd[..., 0]) <= 0.51 * steps).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), film=st.booleans(), packed=st.booleans())
def test_any_places_are_what_numpy_takes(tmp_path_factory, data, film, packed):
    length = data.draw(st.integers(2, 12))
    array = numbers((length, 7, 9), data.draw(st.sampled_from(["uint8", "int16"])))
    folder = tmp_path_factory.mktemp("any")
    if film:
        path = save(folder / "film.dcm", array)
        if packed:
            compressed(path)
    else:
        path = series(folder / "series", array, plan)
    places = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=8)))
    assert np.array_equal(only(path).take(places)[..., 0], array[places])


def compressed(path: Path, table: bool = True) -> Path:
    image = pydicom.dcmread(path)
    image.compress(uid.RLELossless, generate_instance_uid=False)
    if not table:
        parts = list(pydicom.encaps.generate_frames(image.PixelData, number_of_frames=99))
        image.PixelData = encapsulate(parts, has_bot=False)
    image.save_as(path)
    return path


@pytest.mark.parametrize("table", [True, False])
def test_compressed_films(tmp_path, table):
    array = numbers((9, 20, 30))
    path = compressed(save(tmp_path / "film.dcm", array), table)
    footage = only(path)
    assert np.array_equal(footage.take([2, 8])[..., 0], array[[2, 8]])


def _read_in_a_child(packed: bytes, places: list[int]) -> np.ndarray:
    return pickle.loads(packed)(places)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_readers_go_to_other_processes(tmp_path, method):
    array = numbers((5, 20, 30))
    footage = only(series(tmp_path / "series", array, plan))
    footage.take([2])  # a handle is open here when the child starts
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context) as pool:
        task = pool.submit(_read_in_a_child, pickle.dumps(footage.reader), [1, 4])
        frames = task.result(timeout=120)
    assert np.array_equal(frames[..., 0], array[[1, 4]])
    assert pickle.loads(pickle.dumps(footage.header)).content == footage.header.content


# Recognition


def test_recognition(tmp_path):
    save(tmp_path / "image", numbers((20, 30)))
    assert is_dicom(tmp_path / "image")
    assert is_dicom(tmp_path)
    assert is_dicom(EXAMPLES / "ExplVR_LitEndNoMeta.dcm")
    others = tmp_path / "others"
    others.mkdir()
    assert not is_dicom(others)
    for content in (b"", b"DICM", b"\x08\0", bytes(200), b"\x89PNG" + bytes(200), os.urandom(300)):
        (others / "file").write_bytes(content)
        assert not is_dicom(others / "file")
    assert not is_dicom(others)
    assert not is_dicom(tmp_path / "nowhere")
    (others / "link").symlink_to(others)


def test_a_file_without_its_head(tmp_path):
    array = numbers((20, 30))
    path = save(tmp_path / "a", array, uid.ImplicitVRLittleEndian)
    image = pydicom.dcmread(path)
    image.SpecificCharacterSet = "ISO_IR 100"
    buffer = io.BytesIO()
    pydicom.filewriter.dcmwrite(
        buffer, Dataset(image), implicit_vr=True, little_endian=True, enforce_file_format=False
    )
    data = buffer.getvalue()
    path.write_bytes(data[data.index(b"\x08\0\x05\0") :])
    assert is_dicom(path)
    assert np.array_equal(only(path).take([0])[0, ..., 0], array)


def test_the_extra_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "a.dcm", numbers((20, 30)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[dicom\]'"):
        open_dicom(path, Layout())
    with pytest.raises(InputError, match=r"pip install 'framefill\[dicom\]'"):
        write_dicom(tmp_path / "new.dcm", Video(numbers((2, 3, 4, 1))))
    assert is_dicom(path)  # by its first bytes


# Memory


def peak_mib(work: str, *arguments: str) -> float:
    """Run some code in a new process and return how far its memory grew beyond the imports."""
    code = (
        "import re, sys\nfrom pathlib import Path\n"
        "from framefill.data.footage import Layout\n"
        "from framefill.data.dicom import open_dicom\n"
        "from framefill.errors import InputError\nimport pydicom.pixels.decoders\n"
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
    path = save(tmp_path / "film.dcm", np.zeros((1, 1024, 1024), np.uint16))
    image = pydicom.dcmread(path, stop_before_pixels=True)
    image.NumberOfFrames = 1500  # 3 GB, sparse
    image.save_as(path)
    length = 1500 * 2**21
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\0OW\0\0" + length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)
    grown = peak_mib(
        "footage, = open_dicom(Path(sys.argv[1]), Layout())\n"
        "assert footage.take([0, 700, 1499]).shape == (3, 1024, 1024, 1)",
        str(path),
    )
    assert grown < 60


@linux
def test_what_is_deflated_as_a_whole_is_bounded(tmp_path):
    path = save(tmp_path / "bomb.dcm", numbers((20, 30)), uid.DeflatedExplicitVRLittleEndian)
    assert np.array_equal(only(path).take([0])[0, ..., 0], numbers((20, 30)))
    length = pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    path.write_bytes(path.read_bytes()[: 132 + 12 + length] + packed)
    assert path.stat().st_size < 2**20
    grown = peak_mib(
        "try: open_dicom(Path(sys.argv[1]), Layout())\n"
        "except InputError as error: assert 'are deflated as a whole' in str(error), error\n"
        "else: raise SystemExit('no error')",
        str(path),
    )
    assert grown < 300


def test_frames_can_not_claim_too_much(tmp_path):
    path = save(tmp_path / "a.dcm", numbers((20, 30)), NumberOfFrames="1")
    for told in (
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": "2000000000"},
        {"Rows": 0},
        {"NumberOfFrames": "-4"},
        {"BitsAllocated": 12},
        {"BitsAllocated": 24},
        {"SamplesPerPixel": 3},
    ):
        image = pydicom.dcmread(path)
        for keyword, value in told.items():
            setattr(image, keyword, value)
        image.save_as(tmp_path / "b.dcm")
        with pytest.raises(InputError):
            only(tmp_path / "b.dcm").take([0])
    image = pydicom.dcmread(compressed(path))
    image.PixelData = encapsulate([bytes(10**6)], has_bot=False)
    image.save_as(tmp_path / "b.dcm")
    with pytest.raises(InputError, match="a frame of 1000000 bytes for 1200"):
        only(tmp_path / "b.dcm").take([0])
    image.Rows = image.Columns = 16000
    image.PixelData = encapsulate([bytes(1000)], has_bot=False)
    image.save_as(tmp_path / "b.dcm")
    with pytest.raises(InputError, match="a frame of 1000 bytes for 512000000"):
        only(tmp_path / "b.dcm").take([0])


# Damage


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_were_cut_off_are_refused(tmp_path, packed):
    path = save(tmp_path / "film.dcm", numbers((9, 20, 30)))
    data = (compressed(path) if packed else path).read_bytes()
    for share in np.linspace(0, 0.99, 40):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            whole(only(path))


def test_a_changed_file_is_refused(tmp_path):
    footage = only(series(tmp_path / "series", numbers((5, 20, 30)), plan))
    for path in (tmp_path / "series").iterdir():
        save(path, numbers((21, 30)))
    with pytest.raises(InputError, match="has changed: open it again"):
        footage.take([0])
    for path in (tmp_path / "series").iterdir():
        path.unlink()
    with pytest.raises(InputError):
        footage.take([0])


FLIPPED = examples(
    *("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"),
    *("SC_rgb_rle_2frame.dcm", "rtdose_rle.dcm", "image_dfl.dcm", "MR_small_implicit.dcm"),
)


@settings(max_examples=200, deadline=None)
@given(
    source=st.sampled_from(FLIPPED),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4),
    early=st.booleans(),
)
def test_flipped_bits_never_crash(tmp_path_factory, source, flips, early):
    folder = tmp_path_factory.mktemp("flips")
    data = bytearray(source.read_bytes())
    for place, bit in flips:
        data[132 + place % ((1800 if early else len(data)) - 132)] ^= 1 << bit
    (folder / "a.dcm").write_bytes(data)
    with contextlib.suppress(InputError, FillWarning):
        for footage in open_dicom(folder / "a.dcm", Layout()):
            footage.take([0, footage.length - 1])
            write_dicom(folder / "new", footage.video(WHOLE))


# Writing


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("name", ["film.dcm", "folder"])
def test_new_images_need_no_patient(tmp_path, channels, dtype, name):
    frames = numbers((4, 21, 31, channels), dtype)
    write_dicom(tmp_path / name, Video(frames, fps=20.0))
    footage = only(tmp_path / name)
    assert footage.fps == pytest.approx(20)
    again = whole(footage)
    assert again.dtype == frames.dtype
    assert np.array_equal(again, frames)
    paths = [tmp_path / name] if name == "film.dcm" else sorted((tmp_path / name).iterdir())
    images = [pydicom.dcmread(path) for path in paths]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    assert len({image.SeriesInstanceUID for image in images}) == 1
    first = images[0]
    assert first.SOPClassUID.name.endswith("Secondary Capture Image Storage")
    assert first.ImageType == ["DERIVED", "SECONDARY"]
    assert first.SeriesDescription == "framefill"
    assert "model" in first.DerivationDescription
    assert (first.PatientName, first.PatientID, first.Modality) == ("", "", "OT")
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    seen = np.stack([image.pixel_array for image in images]).reshape(frames.shape)
    assert np.array_equal(seen, frames)


def test_a_series_keeps_its_patient_and_its_class(tmp_path):
    array = numbers((6, 20, 30), "int16") - 1000
    told = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "Modality": "CT", "KVP": "120"}
    folder = series(tmp_path / "a", array, lambda n: upright(n, 3.0 * n), **told)
    original = pydicom.dcmread(next(folder.iterdir()))
    footage = only(folder)
    images = rewritten(tmp_path / "new", footage)
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == [
        f"frame_{number:04}.dcm" for number in range(6)
    ]
    for number, image in enumerate(images):
        assert (image.PatientName, image.PatientID, image.KVP) == ("Doe^Jane", "P1", 120)
        assert image.SOPClassUID == CT
        assert image.StudyInstanceUID == original.StudyInstanceUID
        assert image.SeriesInstanceUID != original.SeriesInstanceUID
        assert image.ImagePositionPatient == [-5.5, 3.0 * number, 7.25]
        assert (image.RescaleSlope, image.RescaleIntercept, image.RescaleType) == (1, -1024, "HU")
        assert np.array_equal(image.pixel_array, array[number])
    longer = np.concatenate([whole(footage)] * 2)
    images = rewritten(tmp_path / "longer", footage, longer)
    assert [image.InstanceNumber for image in images] == list(range(1, 13))
    assert all("ImagePositionPatient" not in image for image in images)
    again = only(tmp_path / "longer")
    assert np.array_equal(whole(again), longer)
    image = rewritten(tmp_path / "film.dcm", footage)[0]
    assert image.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.3"
    assert image.PatientID == "P1"
    assert np.array_equal(image.pixel_array, array)


def test_frames_of_another_size_have_no_spacing(tmp_path):
    folder = series(
        tmp_path / "a", numbers((6, 20, 30)), lambda n: upright(n, 3.0 * n), PixelSpacing=[1, 1]
    )
    footage = only(folder)
    for image in rewritten(tmp_path / "same", footage):
        assert image.PixelSpacing == [1, 1]
    for image in rewritten(tmp_path / "new", footage, whole(footage)[:, ::2]):
        assert image.PatientID == "P1"
        assert "PixelSpacing" not in image
        assert "ImagePositionPatient" not in image


def test_a_film_stays_a_film(tmp_path):
    array = numbers((5, 20, 30, 3), "uint8")
    path = save(
        tmp_path / "a.dcm", array, SamplesPerPixel=3, SOPClassUID=US_FILM, FrameTime="33.33"
    )
    (image,) = rewritten(tmp_path / "new.dcm", only(path))
    assert image.SOPClassUID == US_FILM
    assert (image.NumberOfFrames, image.FrameTime) == (5, 33.33)
    assert image.FrameIncrementPointer == 0x00181063
    assert np.array_equal(image.pixel_array, array)
    images = rewritten(tmp_path / "new", only(path))
    assert all(image.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7" for image in images)
    uneven = {"FrameTimeVector": ["0", "10.5", "30", "10", "10"], "SOPClassUID": US_FILM}
    path = save(tmp_path / "b.dcm", array, SamplesPerPixel=3, **uneven)
    (image,) = rewritten(tmp_path / "uneven.dcm", only(path))
    assert image.FrameTimeVector == [0, 10.5, 30, 10, 10]
    assert image.FrameIncrementPointer == 0x00181065


@pytest.mark.parametrize(
    "each",
    [
        lambda n: {"TriggerTime": f"{33.3 * n:.1f}"},
        lambda n: {"FrameReferenceTime": f"{12.25 * n * n}"},
        lambda n: {"AcquisitionTime": f"1200{n:02}.125"},
        lambda n: {"AcquisitionDate": "20240228", "AcquisitionTime": f"2359{n:02}.500001"},
    ],
)
def test_times_of_a_series_are_kept(tmp_path, each):
    array = numbers((5, 20, 30))
    footage = only(series(tmp_path / "a", array, each))
    write_dicom(tmp_path / "new", footage.video(WHOLE))
    again = only(tmp_path / "new")
    assert again.times.dtype == footage.times.dtype
    assert again.times.tolist() == footage.times.tolist()
    assert again.header.content.clock == footage.header.content.clock
    images = [pydicom.dcmread(path) for path in (tmp_path / "new").iterdir()]
    key = next(iter(each(0)))
    assert sorted(str(image[key].value) for image in images) == sorted(
        str(pydicom.dcmread(path)[key].value) for path in (tmp_path / "a").iterdir()
    )


def test_dates_of_other_formats(tmp_path):
    times = np.array(["2024-02-28T23:59:59", "2024-02-29", "2024-03-01"], "M8[ns]")
    frames = numbers((3, 20, 30, 1))
    write_dicom(tmp_path / "new", Video(frames, times=times))
    assert only(tmp_path / "new").times.tolist() == times.tolist()
    write_dicom(tmp_path / "new.dcm", Video(frames, times=times))
    footage = only(tmp_path / "new.dcm")
    assert footage.times.tolist() == [0, 1, 86401]
    assert pydicom.dcmread(tmp_path / "new.dcm").AcquisitionDateTime == "20240228235959"


@pytest.mark.parametrize("name", ["film.dcm", "folder"])
def test_floats_of_other_formats_are_told(tmp_path, name):
    frames = np.random.default_rng(0).normal(size=(4, 20, 30, 1)).astype("f4")
    frames[1, 2, 3] = np.nan
    with pytest.warns(FillWarning, match="floats are stored as integers in steps of"):
        write_dicom(tmp_path / name, Video(frames, units="mm/h"))
    footage = only(tmp_path / name)
    assert footage.units == "mm/h"
    again = whole(footage)
    assert np.array_equal(np.isnan(again), np.isnan(frames))
    assert np.nanmax(np.abs(again - frames)) < 1e-4
    flat = np.full((2, 4, 5, 1), 7.125, "f4")
    with pytest.warns(FillWarning):
        write_dicom(tmp_path / f"flat-{name}", Video(flat))
    assert np.allclose(whole(only(tmp_path / f"flat-{name}")), flat)


def test_what_can_not_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="2 channels, and DICOM 1 or 3"):
        write_dicom(tmp_path / "a.dcm", Video(numbers((4, 20, 30, 2))))
    with pytest.raises(InputError, match="colors that are floats"):
        write_dicom(tmp_path / "a.dcm", Video(np.zeros((4, 20, 30, 3), "f4")))
    footage = only(save(tmp_path / "b.dcm", numbers((3, 20, 30)), RescaleSlope="2"))
    frames = whole(footage)
    frames[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 values that are NaN, and uint16"):
        rewritten(tmp_path / "c.dcm", footage, frames)
    frames[0, 0, 0] = -50
    with pytest.warns(FillWarning, match="1 values are beyond what uint16 holds"):
        (image,) = rewritten(tmp_path / "c.dcm", footage, frames)
    assert image.pixel_array[0, 0, 0] == 0
    huge = np.broadcast_to(np.zeros((), np.uint16), (5000, 1000, 1000, 1))
    with pytest.raises(InputError, match="and a DICOM file 4 GiB: give a folder's name"):
        write_dicom(tmp_path / "d.dcm", Video(huge))


def test_used_bits_and_white_are_kept(tmp_path):
    array = numbers((4, 20, 30)) % 4096
    told = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    folder = series(tmp_path / "a", array, plan, **told)
    images = rewritten(tmp_path / "new", only(folder))
    assert all((image.BitsStored, image.HighBit) == (12, 11) for image in images)
    assert all(image.PhotometricInterpretation == "MONOCHROME1" for image in images)
    assert np.array_equal(np.stack([image.pixel_array for image in images]), array)
    brighter = whole(only(folder)) + np.uint16(4000)
    images = rewritten(tmp_path / "brighter", only(folder), brighter)
    assert all(image.BitsStored == 16 for image in images)
    assert np.array_equal(np.stack([image.pixel_array for image in images]), brighter[..., 0])


def test_what_concerned_the_old_frames_alone_is_left_out(tmp_path):
    path = save(tmp_path / "a.dcm", numbers((20, 30)), SliceLocation="3")
    image = pydicom.dcmread(path)
    block = image.private_block(0x0011, "Maker", create=True)
    block.add_new(1, "LO", "secret")
    image.add_new(0x60003000, "OW", bytes(80))
    image.IconImageSequence = Sequence([Dataset()])
    image.OperatorsName = "Doe^John"
    image.save_as(path)
    (new,) = rewritten(tmp_path / "new.dcm", only(path))
    assert new.OperatorsName == "Doe^John"
    for tag in (0x00110010, 0x00111001, 0x60003000, "IconImageSequence", "SliceLocation"):
        assert tag not in new


def test_scales_are_found_again():
    from framefill.data.dicom_pixels import scale_of

    scales = (Scale(0.5, 0), Scale(0.3, 1), Scale(2, -8))
    stored = numbers((1, 9, 9, 1), "int16")
    for scale in scales:
        values = scale.values(stored, np.dtype("f4"))
        assert scale_of(values, stored.dtype, scales, None) == scale

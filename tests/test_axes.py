"""Axes, packing, conditions and time units: what all array formats share."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framefill.data.axes import ArrayReader, axes_of, footage_of, plane_of, runs_of
from framefill.data.cf_times import decoded, encoded, fresh, restored, units_of
from framefill.data.packing import Packing, packing_of
from framefill.data.tracks import FrameAxes, track_axes, track_of
from framefill.data.video import Stored
from framefill.errors import InputError


class Held:
    """A source whose array is in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self) -> np.ndarray:
        return self.array


# Which axis is which


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (("time", "lat", "lon"), "fhw"),
        (("Longitude", "valid_time", "Latitude"), "wfh"),
        (("number", "time", "level", "y", "x"), "vfchw"),
        (("time_counter", "south_north", "west_east"), "fhw"),
        ((), "fhw"),
        (("dim_0", "dim_1", "dim_2"), "fhw"),
        (("time", "", ""), "fhw"),
        (("", "lat", "", "band"), "fhwc"),
    ],
)
def test_names_tell_the_axes(names, axes):
    assert axes_of((7, 6, 5, 4, 3)[: len(names) or 3], names, "", "a") == axes


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((4, 5), ()),
        ((4, 5, 6, 7, 8), ()),
        ((4, 5, 6), ("time", "beam", "lon")),
        ((4, 5, 6), ("", "time", "")),
        ((4, 5, 6), ("time", "step", "lat")),  # twice time
        ((4, 5), ("time", "lat")),  # no columns
    ],
)
def test_unclear_axes_are_asked_for(shape, names):
    with pytest.raises(InputError, match=r"--data.axes \(or --axes\), one letter for each"):
        axes_of(shape, names, "", "a")


def test_axes_are_as_asked():
    assert axes_of((4, 5, 6), ("time", "lat", "lon"), "hwf", "a") == "hwf"
    with pytest.raises(InputError, match=r"a has 3 axes .* names 4: give one letter for each"):
        axes_of((4, 5, 6), (), "fhwc", "a")


# Values


@pytest.mark.parametrize(
    ("dtype", "missing", "frames", "stored"),
    [
        ("uint8", None, "uint8", None),
        (">i2", None, "int16", None),
        ("float16", None, "float16", None),
        ("float64", None, "float64", None),
        ("int8", None, "float32", None),
        ("bool", None, "float32", None),
        ("int32", None, "float64", None),
        ("uint64", None, "float64", None),
        ("uint8", 255, "float32", Stored("uint8", 255)),
        ("float16", -1, "float32", Stored("float16", -1)),
        ("float64", -9999.0, "float64", Stored("float64", -9999.0)),
        ("int32", 0, "float64", Stored("int32", 0)),
        ("uint8", -9999, "uint8", None),  # which no uint8 is
        ("int16", 0.5, "int16", None),
        ("float32", float("nan"), "float32", None),
        ("float16", 1e300, "float16", None),
    ],
)
def test_dtypes_of_frames(dtype, missing, frames, stored):
    plane, kept = plane_of(np.dtype(dtype), "fhw", missing, "a")
    assert (plane.dtype.name, kept) == (frames, stored)


def test_texts_are_no_frames():
    with pytest.raises(InputError, match="takes real numbers"):
        plane_of(np.dtype("U3"), "fhw", None, "a")
    with pytest.raises(InputError, match="takes real numbers"):
        plane_of(np.dtype("complex64"), "fhw", None, "a")


@given(
    axes=st.permutations("vfhwc").flatmap(
        lambda order: st.sets(st.sampled_from("vfc")).map(
            lambda left: "".join(letter for letter in order if letter not in left)
        )
    ),
    places=st.lists(st.integers(0, 6), max_size=9).map(sorted),
    video=st.integers(0, 1),
)
def test_reading_is_numpy_indexing(axes, places, video):
    lengths = {"v": 2, "f": 7, "h": 3, "w": 4, "c": 2}
    shape = [lengths[letter] for letter in axes]
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    full = array
    for letter in "vfhwc":
        if letter not in axes:
            full = full[None]
    order = [letter for letter in reversed("vfhwc") if letter not in axes] + list(axes)
    full = full.transpose([order.index(letter) for letter in "vfhwc"])
    number = video if "v" in axes else 0
    expected = full[number][places] if "f" in axes else full[number][[0] * len(places)]
    plane, _ = plane_of(array.dtype, axes, None, "a")
    frames = ArrayReader(Held(array), plane, number)(places)
    assert frames.dtype == np.int16
    assert np.array_equal(frames, expected)


@given(places=st.lists(st.integers(0, 40), max_size=20).map(sorted))
def test_runs_are_the_places(places):
    parts = [list(range(41))[run] for run in runs_of(places)]
    assert [place for part in parts for place in part] == places


def test_even_strides_are_one_read():
    assert runs_of(range(3, 300, 9)) == [slice(3, 292, 9)]


def test_stored_missing_values_become_nan():
    array = np.array([[[0, 7], [255, 1]]], np.uint8)
    plane, _ = plane_of(array.dtype, "fhw", 255, "a")
    frames = ArrayReader(Held(array), plane)([0, 0])
    assert np.array_equal(frames[1, ..., 0], [[0, 7], [np.nan, 1]], equal_nan=True)


def test_a_missing_value_that_float32_rounds_is_found():
    array = np.full((1, 2, 2), -9999.9, np.float32)
    plane, _ = plane_of(array.dtype, "fhw", -9999.9, "a")
    assert np.isnan(ArrayReader(Held(array), plane)([0])).all()


def test_long_integers_are_compared_as_stored():
    array = np.array([[[2**53, 2**53 + 1]]], np.int64)
    plane, stored = plane_of(array.dtype, "fhw", 2**53 + 1, "a")
    assert stored == Stored("int64", 2**53 + 1)
    assert np.isnan(ArrayReader(Held(array), plane)([0])).ravel().tolist() == [False, True]


def test_empty_arrays_and_too_many_videos_are_refused(tmp_path):
    plane, _ = plane_of(np.dtype("u1"), "vfhw", None, "a")
    with pytest.raises(InputError, match="which holds nothing"):
        footage_of(Held(np.zeros(1)), path=tmp_path, name="a", shape=(2, 0, 3, 3), plane=plane)
    with pytest.raises(InputError, match="so 1000000000000 videos"):
        footage_of(Held(np.zeros(1)), path=tmp_path, name="a", shape=(10**12, 1, 3, 3), plane=plane)


def test_what_a_library_raises_is_told():
    def broken() -> np.ndarray:
        raise OSError("can't read chunk 3\nmore")

    plane, _ = plane_of(np.dtype("u1"), "fhw", None, "a")
    with pytest.raises(InputError, match=r"^b can't be read \(can't read chunk 3\)$"):
        ArrayReader(broken, plane, name="b")([0])


# What goes along

FRAMES = FrameAxes("vfhwc", ("sample", "time", "y", "x", "rgb"), (9, 8, 4, 5, 3))


@pytest.mark.parametrize(
    ("names", "shape", "axes", "kind", "size"),
    [
        (("time",), (8,), "f", "vector", 1),
        (("time", "joint"), (8, 7), "fc", "vector", 7),
        (("joint", "time"), (7, 8), "cf", "vector", 7),
        (("sample", "time", "joint"), (9, 8, 7), "vfc", "vector", 7),
        (("x", "time", "y"), (5, 8, 4), "wfh", "map", 1),
        (("time", "y", "x", "rgb"), (8, 4, 5, 3), "fhwc", "map", 3),
        (("y", "x"), (4, 5), "hw", "static", 1),
        (("sample", "kind", "y", "x"), (9, 2, 4, 5), "vchw", "static", 2),
    ],
)
def test_conditions_by_the_names_of_dimensions(names, shape, axes, kind, size):
    assert track_axes(shape, names, FRAMES, "a") == axes
    track = track_of(Held(np.zeros(shape)), axes, shape, 0, "a")
    assert (track.kind, track.size) == (kind, size)


@pytest.mark.parametrize(
    ("names", "shape"),
    [(("y",), (4,)), (("sample",), (9,)), (("time", "a", "b"), (8, 2, 2)), (("time", "y"), (8, 4))],
)
def test_other_conditions_are_refused(names, shape):
    with pytest.raises(InputError, match=r"condition a has the dimensions .*: give a vector for"):
        track_axes(shape, names, FRAMES, "a")


@pytest.mark.parametrize(
    ("axes", "lengths", "shape", "found"),
    [
        ("fhwc", (8, 4, 5, 3), (8,), "f"),
        ("fhwc", (8, 4, 5, 3), (8, 7), "fc"),
        ("fhwc", (8, 4, 5, 3), (4, 5), "hw"),
        ("fhwc", (8, 4, 5, 3), (4, 5, 1), "hwc"),
        ("fhw", (8, 4, 5), (8, 4, 5, 2), "fhwc"),
        ("fchw", (8, 3, 4, 5), (8, 2, 4, 5), "fchw"),
        ("vfhw", (9, 8, 4, 5), (9, 8, 2), "vfc"),
        ("vfhw", (9, 8, 4, 5), (4, 5), "hw"),
        ("fhw", (64, 64, 64), (64, 64, 1), "hwc"),
        ("fhw", (64, 64, 64), (64, 64), "hw"),
        ("fhw", (64, 64, 64), (64, 7), "fc"),
        ("vfchw", (3, 7, 2, 5, 4), (3, 7, 5, 4), "vfhw"),
    ],
)
def test_conditions_by_lengths(axes, lengths, shape, found):
    assert track_axes(shape, (), FrameAxes(axes, (), lengths), "a") == found


def test_ambiguous_and_unfitting_conditions_are_refused():
    equal = FrameAxes("vfhw", (), (8, 8, 4, 5))
    with pytest.raises(InputError, match=r"can be fhw or vhw beside .*: name the dimensions"):
        track_axes((8, 4, 5), (), equal, "a")
    with pytest.raises(InputError, match=r"condition a has shape \(7,\)"):
        track_axes((7,), (), equal, "a")


def test_tracks_of_frames():
    values = np.arange(2 * 8 * 3).reshape(2, 8, 3)
    track = track_of(Held(values), "vfc", values.shape, 1, "a")
    read = track.reader([2, 2, 5])
    assert read.dtype == np.float32
    assert np.array_equal(read, values[1][[2, 2, 5]])
    maps = np.array([[[1.0, np.nan], [3.0, 4.0]]] * 2)
    track = track_of(Held(maps), "fhw", maps.shape, 0, "a")
    assert np.array_equal(track.reader([1]), maps[1:][..., None], equal_nan=True)
    track = track_of(Held(maps[0].T), "wh", maps[0].shape, 0, "a")
    assert np.array_equal(track.reader([1, 1]), maps[0][..., None], equal_nan=True)


# Stored numbers


def all_numbers(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("scale", "offset"),
    [(0.01, 273.15), (0.5, None), (None, -40.0), (1e-5, 101325.0), (-2.0, 1e6), (1e-30, 0.0)],
)
def test_packed_numbers_come_back(dtype, kind, scale, offset):
    attributes = {"_FillValue": np.dtype(dtype).type(7)}
    if scale is not None:
        attributes["scale_factor"] = kind(scale)
    if offset is not None:
        attributes["add_offset"] = kind(offset)
    numbers = all_numbers(dtype)
    packing = packing_of(attributes, np.dtype(dtype), "a")
    values = packing.unpack(numbers)
    assert np.array_equal(np.isnan(values), numbers == 7)
    packed = packing.pack(values, "a")
    assert packed is not None
    assert packed.dtype == numbers.dtype
    assert np.array_equal(packed, numbers)


def test_signed_numbers_understood_as_unsigned():
    packing = packing_of({"_Unsigned": "true", "_FillValue": np.int8(-1)}, np.dtype("i1"), "a")
    stored = np.array([0, 127, -128, -2, -1], np.int8)
    values = packing.unpack(stored)
    assert np.array_equal(values, [0, 127, 128, 254, np.nan], equal_nan=True)
    assert np.array_equal(packing.pack(values, "a"), stored)


def test_several_numbers_for_missing():
    attributes = {"_FillValue": np.int16(-1), "missing_value": np.array([-2, -3], np.int16)}
    packing = packing_of(attributes, np.dtype(">i2"), "a")
    assert packing.missing == (-1, -2, -3)
    values = packing.unpack(np.array([-1, -2, -3, -4], ">i2"))
    assert np.array_equal(values, [np.nan] * 3 + [-4], equal_nan=True)


@pytest.mark.parametrize(
    "fill", [np.int16(300), "no", [], np.float64(0.5), object(), [[1, [2]]], b"\xff", 10**30]
)
def test_fill_values_that_the_dtype_cannot_have_are_none(fill):
    assert packing_of({"_FillValue": fill}, np.dtype("u1"), "a").missing == ()


@pytest.mark.parametrize("scale", [0.0, np.nan, "x", np.array([]), object()])
def test_wrong_scales_are_refused(scale):
    with pytest.raises(InputError, match="scale_factor of a is"):
        packing_of({"scale_factor": scale}, np.dtype("i2"), "a")


def test_values_never_become_missing_by_chance():
    packing = Packing("uint8", (0,), floats="float32")
    values = np.array([0.3, np.nan, 1.2, 255.0], np.float32)
    assert np.array_equal(packing.pack(values, "a"), [1, 0, 1, 255])
    packing = Packing("uint8", (255,), floats="float32")
    assert np.array_equal(packing.pack(values[3:], "a"), [254])
    packing = Packing("uint8", (1, 0), floats="float32")
    assert np.array_equal(packing.pack(values, "a"), [2, 1, 2, 255])
    packing = Packing("float32", (-9999.0,), floats="float32")
    packed = packing.pack(np.array([-9999, np.nan], np.float32), "a")
    assert packed is not None
    assert packed[0] == np.nextafter(np.float32(-9999), np.float32(0))
    assert packed[1] == -9999


@pytest.mark.parametrize("value", [-1.0, 256.0, 1e300, np.inf])
def test_values_that_do_not_fit_are_told(value):
    assert Packing("uint8", (0,)).pack(np.array([3.0, value]), "a") is None


def test_floats_that_do_not_fit_are_told():
    assert Packing("float32").pack(np.array([1e300]), "a") is None
    kept = Packing("float32").pack(np.array([np.inf, np.nan]), "a")
    assert np.array_equal(kept, [np.inf, np.nan], equal_nan=True)


def test_missing_values_without_a_number_are_refused():
    with pytest.raises(InputError, match=r"a has missing values .* uint8 has no number for them"):
        Packing("uint8").pack(np.array([1.0, np.nan]), "a")


# Times


@pytest.mark.parametrize(
    ("units", "calendar", "number", "date"),
    [
        ("days since 1970-01-01", "", 1, "1970-01-02"),
        ("hours since 1-1-1 00:00:0.0", "standard", 17531688, "2001-01-01T00"),  # as NOAA's
        ("hours since 1-1-1 00:00:0.0", "proleptic_gregorian", 17531640, "2001-01-01T00"),
        ("minutes since 2000-02-29 23:59:30.5 +05:30", "gregorian", 1, "2000-02-29T18:30:30.5"),
        ("Seconds since 1992-10-8T15:15:42.5Z", "Standard", 0.25, "1992-10-08T15:15:42.75"),
        ("days since 2000-01-01 00:00:00 UTC", "", 0.5, "2000-01-01T12"),
        ("days since 1582-10-04", "standard", 67001, "1766-03-24"),
        ("nanoseconds since 2020-01-01", "", 2**53 + 1, "2020-04-14T05:59:59.254740993"),
    ],
)
def test_times_of_units(units, calendar, number, date):
    found = decoded(np.array([number, number]), units_of(units, calendar))
    assert (found == np.datetime64(date, "ns")).all()


def test_days_of_the_standard_calendar_are_those_of_cftime():
    cftime = pytest.importorskip("cftime")
    for since in ("0001-01-01", "1582-10-04", "1582-10-15", "1600-02-28", "1900-03-01 06:00"):
        for calendar in ("standard", "proleptic_gregorian"):
            units = f"days since {since}"
            number = cftime.date2num(cftime.datetime(1999, 12, 31, 6, calendar=calendar), units)
            found = decoded(np.array([number]), units_of(units, calendar))
            assert found[0] == np.datetime64("1999-12-31T06", "ns"), (since, calendar)


@pytest.mark.parametrize(
    ("units", "calendar", "expected"),
    [
        ("days since 2000-01-01", "noleap", 86400.0),
        ("days since 2000-01-01", "360_day", 86400.0),
        ("hours", "", 3600.0),
        ("ms", "", 1e-3),
        ("", "", 1.0),
        ("months since 2000-01-01", "", 1.0),
        ("days since the flood", "", 86400.0),
        ("days since 2000-13-01", "", 86400.0),
        ("nanoseconds since 1-1-1", "", 1e-9),
        ("days since 5000-01-01", "", 86400.0),  # which nanoseconds don't reach
    ],
)
def test_other_times_are_seconds_or_plain(units, calendar, expected):
    found = decoded(np.array([0, 1]), units_of(units, calendar))
    assert found.dtype == np.float64
    assert np.array_equal(found, [0, expected])


@given(
    nanoseconds=st.lists(st.integers(-(2**62), 2**62), min_size=1),
    unit=st.sampled_from(["nanoseconds", "seconds", "hours", "days"]),
    since=st.sampled_from(["1970-01-01", "1-1-1", "1900-06-01 12:30", "2200-01-01"]),
)
@settings(deadline=None)
def test_dates_come_back(nanoseconds, unit, since):
    assume(unit != "nanoseconds" or since.startswith("19"))  # others take more than 64 bits
    units = units_of(f"{unit} since {since}", "standard")
    times = np.array(nanoseconds, np.int64).view("datetime64[ns]")
    numbers = encoded(times, units)
    assert numbers is not None
    back = decoded(numbers, units)
    error = 0 if numbers.dtype == np.int64 else 2**-52 * np.abs(numbers).max() * units.step + 1
    assert (np.abs((back - times).astype(np.int64)) <= error).all()


def test_numbers_of_a_file_stay_as_they_were():
    units = units_of("days since 1900-01-01", "standard")
    numbers = np.array([1 / 7, 2 / 7, 3 / 7])  # of which nanoseconds are less than all digits
    known = decoded(numbers, units)
    assert not np.array_equal(encoded(known, units), numbers)
    new = known[2] + (known[1] - known[0])
    found = restored(np.array([known[1], new, known[0]]), units, numbers, known)
    assert found is not None
    assert found[0] == numbers[1]
    assert found[2] == numbers[0]
    assert found[1] == pytest.approx(4 / 7, abs=1e-12)


def test_whole_hours_stay_integers_and_halves_become_floats():
    units = units_of("hours since 1900-01-01", "standard")
    numbers = np.array([10, 11, 13], np.int32)
    known = decoded(numbers, units)
    hour = np.timedelta64(1, "h")
    more = restored(np.append(known, known[-1] + hour), units, numbers, known)
    assert more is not None
    assert more.dtype == np.int32
    assert np.array_equal(more, [10, 11, 13, 14])
    half = restored(np.append(known, known[-1] + np.timedelta64(30, "m")), units, numbers, known)
    assert half is not None
    assert np.array_equal(half, [10, 11, 13, 13.5])


def test_new_times_get_the_coarsest_unit():
    days = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")
    numbers, units, calendar = fresh(days + np.timedelta64(5, "ms"))
    assert units == "milliseconds since 1970-01-01"
    assert (decoded(numbers, units_of(units, calendar)) == days + np.timedelta64(5, "ms")).all()
    assert fresh(np.array([0.5, 1.0]))[1] == "seconds"

"""NetCDF files and Zarr folders as footage, and videos written to them."""

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.data.footage import Footage, Layout
from framefill.data.grid_write import write_grid
from framefill.data.grids import open_grid
from framefill.data.video import Header, Part, Stored, Video
from framefill.errors import FillWarning, InputError

ALL = Part(start=0, frames=None, every=1, limit_bytes=2**30)
NONE = Layout()
KINDS = (".nc", ".zarr")
DAYS = np.datetime64("2020-02-27", "ns") + np.arange(5) * np.timedelta64(1, "D")


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(100, 50, shape).astype(dtype)


def save(dataset: xr.Dataset, path: Path, encoding=None, **options) -> Path:
    """Write a dataset as its users do."""
    if path.suffix == ".nc":
        dataset.to_netcdf(path, encoding=encoding, engine="netcdf4", **options)
    else:
        dataset.to_zarr(path, encoding=encoding, consolidated=False, **options)
    return path


def load(path: Path, *, raw: bool = False, group: str | None = None) -> xr.Dataset:
    """Read a dataset as its users do."""
    options = {"engine": "netcdf4"} if path.suffix == ".nc" else {"engine": "zarr"}
    more = {} if path.suffix == ".nc" else {"consolidated": False}
    with xr.open_dataset(path, decode_cf=not raw, group=group, **options, **more) as dataset:
        return dataset.load()


def only(path: Path, layout: Layout = NONE) -> Footage:
    (footage,) = open_grid(path, layout)
    return footage


def again(path: Path, video: Video, suffix: str | None = None) -> Path:
    """Write a video beside a file, and return where."""
    new = path.with_name(f"new{suffix or path.suffix}")
    if new.is_dir():
        shutil.rmtree(new)
    new.unlink(missing_ok=True)
    write_grid(new, video)
    return new


def weather(dtype: str = "float32") -> xr.Dataset:
    """A dataset with a bit of everything."""
    return xr.Dataset(
        {
            "t2m": (
                ("time", "lat", "lon"),
                noise(5, 4, 6, dtype=dtype),
                {"units": "K", "grid_mapping": "crs", "long_name": "temperature"},
            ),
            "crs": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
            "actions": (("time", "joint"), noise(5, 3)),
            "mask": (("lat", "lon"), np.ones((4, 6), "int8")),
        },
        {
            "time": ("time", DAYS, {"axis": "T"}),
            "lat": ("lat", np.linspace(50, 53, 4, dtype="float32"), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(6.0), {"units": "degrees_east"}),
            "area": (("lat", "lon"), noise(4, 6), {"units": "m2"}),
            "month": ("time", np.array([2, 2, 2, 3, 3])),
        },
        {"title": "weather", "version": 3},
    )


# Reading


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_values_are_read_bit_for_bit(tmp_path, suffix, dtype):
    frames = noise(5, 4, 6, dtype=dtype)
    if dtype.startswith("f"):
        frames[1, 2:], frames[3, 0], frames[4, 0, 0] = np.nan, -0.0, np.inf
    dataset = xr.Dataset({"a": (("time", "y", "x"), frames)})
    footage = only(save(dataset, tmp_path / f"a{suffix}"))
    assert footage.name == f"{tmp_path}/a{suffix}: a"
    assert (footage.length, footage.shape, footage.dtype) == (5, (4, 6, 1), np.dtype(dtype))
    assert footage.times is footage.fps is footage.stored is None
    assert footage.video(ALL).frames.tobytes() == frames.tobytes()


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "int16", "scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -32768},
        {"dtype": "int16", "scale_factor": np.float32(0.01), "_FillValue": -1},
        {"dtype": "uint8", "scale_factor": 0.5, "add_offset": -20.0, "_FillValue": 255},
        {"dtype": "int32", "scale_factor": 1e-4, "add_offset": 3.0, "_FillValue": -(2**31)},
        {"dtype": "int16", "_FillValue": -999},
        {"dtype": "uint16", "_FillValue": 65535},
        {"dtype": "int32", "_FillValue": -999},
        {"dtype": "float32", "_FillValue": -9999.0},
        {"dtype": "float64", "_FillValue": -9999.0},
    ],
)
def test_values_are_those_of_xarray_and_come_back_as_stored(tmp_path, suffix, encoding):
    dataset = weather().drop_vars("month")
    dataset["t2m"][2], dataset["t2m"][3, 1, 1] = np.nan, np.nan
    path = save(dataset, tmp_path / f"a{suffix}", {"t2m": encoding})
    footage = only(path)
    expected = load(path)["t2m"].values
    assert footage.dtype == expected.dtype
    video = footage.video(ALL)
    assert np.array_equal(video.frames[..., 0], expected, equal_nan=True)
    assert np.isnan(video.frames[2]).all()
    plain = "scale_factor" not in encoding
    stored = Stored(encoding["dtype"], encoding["_FillValue"]) if plain else None
    assert footage.stored == stored
    for other in KINDS:
        old, new = load(path, raw=True), load(again(path, video, other), raw=True)
        assert new["t2m"].dtype == old["t2m"].dtype == encoding["dtype"]
        assert new["t2m"].values.tobytes() == old["t2m"].values.tobytes()
        assert new["t2m"].attrs == old["t2m"].attrs


@pytest.mark.parametrize("suffix", KINDS)
def test_files_come_back_with_all_that_describes_the_frames(tmp_path, suffix):
    path = save(weather(), tmp_path / f"a{suffix}")
    video = only(path, Layout(variables=("t2m",))).video(ALL)
    for carried in (video, pickle.loads(pickle.dumps(video))):
        for other in KINDS:
            written = again(path, carried, other)
            old, new = load(path, raw=True), load(written, raw=True)
            for name in ("time", "lat", "lon", "crs", "area"):
                assert new[name].identical(old[name]) or new[name].variable.identical(
                    old[name].variable
                )
            assert new.attrs == old.attrs
            assert set(new.variables) == {"t2m", "time", "lat", "lon", "crs", "area"}
            assert "month" not in new["t2m"].attrs["coordinates"]  # which isn't there any more
            assert load(written)["t2m"].equals(load(path)["t2m"].drop_vars("month"))


def test_attributes_that_only_zarr_can_hold_become_texts(tmp_path):
    attributes = {"nested": {"a": [1, None]}, "yes": True, "none": None, "list": [1, 2.5], "no": []}
    dataset = weather().assign_attrs(attributes)
    dataset["t2m"].attrs["mixed"] = ["a", 1]
    path = save(dataset, tmp_path / "a.zarr")
    video = only(path).video(ALL)
    assert load(again(path, video), raw=True).attrs == load(path, raw=True).attrs
    written = load(again(path, video, ".nc"), raw=True)
    assert json.loads(written.attrs["nested"]) == attributes["nested"]
    assert json.loads(written["t2m"].attrs["mixed"]) == ["a", 1]
    assert (written.attrs["yes"], written.attrs["none"]) == ("true", "null")
    assert written.attrs["list"].tolist() == [1, 2.5]


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_versions_stay(tmp_path, version):
    path = save(weather(), tmp_path / "a.zarr", zarr_format=version)
    written = again(path, only(path).video(ALL))
    assert zarr.open_group(written, mode="r").metadata.zarr_format == version
    assert load(written)["t2m"].equals(load(path)["t2m"].drop_vars("month"))


def test_records_stay_records(tmp_path):
    path = save(weather(), tmp_path / "a.nc", {"t2m": {"zlib": True}}, unlimited_dims=["time"])
    with netCDF4.Dataset(again(path, only(path).video(ALL))) as file:
        assert file.dimensions["time"].isunlimited()
        assert file["t2m"].filters()["zlib"]


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "dims", [("lon", "time", "lat"), ("lat", "lon", "time"), ("time", "lon", "lat")]
)
def test_any_order_of_dimensions(tmp_path, suffix, dims):
    dataset = weather()[["t2m"]].drop_vars("month").transpose(*dims)
    path = save(dataset, tmp_path / f"a{suffix}")
    video = only(path).video(ALL)
    assert np.array_equal(video.frames[..., 0], weather()["t2m"].values)
    written = load(again(path, video))
    assert written["t2m"].dims == dims
    assert written["t2m"].equals(load(path)["t2m"])


@pytest.mark.parametrize("suffix", KINDS)
def test_levels_are_channels(tmp_path, suffix):
    frames = noise(5, 3, 4, 6)
    dataset = xr.Dataset(
        {"z": (("time", "plev", "lat", "lon"), frames)}, {"plev": [1000.0, 850.0, 500.5]}
    )
    path = save(dataset, tmp_path / f"a{suffix}")
    footage = only(path)
    assert footage.channels == ("1000", "850", "500.5")
    assert np.array_equal(footage.take(range(5)), frames.transpose(0, 2, 3, 1))
    assert load(again(path, footage.video(ALL))).identical(load(path))


@pytest.mark.parametrize("suffix", KINDS)
def test_several_variables_are_channels(tmp_path, suffix):
    dataset = weather()
    dataset["wind"] = (("time", "lat", "lon"), noise(5, 4, 6), {"units": "m/s"})
    encoding = {"wind": {"dtype": "int16", "_FillValue": 7, "scale_factor": 0.5}}
    path = save(dataset, tmp_path / f"a{suffix}", encoding)
    footage = only(path, Layout(variables=("wind", "t2m")))
    assert (footage.channels, footage.units) == (("wind", "t2m"), "m/s, K")
    assert footage.shape == (4, 6, 2)
    expected = np.stack([load(path)["wind"].values, load(path)["t2m"].values], -1)
    assert np.array_equal(footage.take(range(5)), expected, equal_nan=True)
    new, old = load(again(path, footage.video(ALL)), raw=True), load(path, raw=True)
    for name in ("wind", "t2m"):
        assert new[name].variable.dtype == old[name].dtype
        assert np.array_equal(new[name], old[name])
    with pytest.raises(InputError, match="only arrays with equal axes can be channels"):
        open_grid(path, Layout(variables=("t2m", "mask")))


@pytest.mark.parametrize("suffix", KINDS)
def test_members_are_videos(tmp_path, suffix):
    frames = noise(3, 5, 4, 6)
    dataset = xr.Dataset(
        {"a": (("time", "number", "y", "x"), frames.transpose(1, 0, 2, 3))},
        {"number": [0, 7, 9], "time": DAYS, "label": ("number", np.array(["a", "b", "c"], object))},
    )
    path = save(dataset, tmp_path / f"a{suffix}")
    videos = open_grid(path, NONE)
    assert [video.name[-7:] for video in videos] == ["video 0", "video 1", "video 2"]
    for video, expected in zip(videos, frames, strict=True):
        assert np.array_equal(video.take([0, 4])[..., 0], expected[[0, 4]])
    written = load(again(path, videos[1].video(ALL)))
    assert written["a"].dims == ("time", "number", "y", "x")
    assert written.identical(load(path).isel(number=[1]))


@pytest.mark.parametrize("suffix", KINDS)
def test_groups(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(xr.Dataset(coords={"time": DAYS, "lon": np.arange(6.0)}), path)
    inner = weather()[["t2m"]].drop_vars(["time", "lon", "month"])
    save(inner, path, group="model/run", mode="a")
    footage = only(path)
    assert footage.name.endswith(": model/run/t2m")
    assert np.array_equal(footage.times, DAYS)  # of the group around
    assert only(path, Layout(variables=("/model/run/t2m",))).length == 5
    written = again(path, footage.video(ALL))
    new = load(written, group="model/run")
    assert np.array_equal(new["t2m"], weather()["t2m"])
    assert np.array_equal(new["time"], DAYS)
    assert np.array_equal(new["lon"], np.arange(6.0))
    assert np.array_equal(only(written).take([2]), footage.take([2]))


@pytest.mark.parametrize("suffix", KINDS)
def test_conditions(tmp_path, suffix):
    dataset = weather()
    dataset["actions"][2, 1] = np.nan
    dataset["forcing"] = (("lon", "time", "lat"), np.arange(120).reshape(6, 5, 4))
    path = save(dataset, tmp_path / f"a{suffix}")
    layout = Layout(variables=("t2m",), conditions=("actions", "mask", "forcing", "month", "area"))
    footage = only(path, layout)
    kinds = {name: (track.kind, track.size) for name, track in footage.tracks.items()}
    assert kinds == {
        "actions": ("vector", 3),
        "mask": ("static", 1),
        "forcing": ("map", 1),
        "month": ("vector", 1),
        "area": ("static", 1),
    }
    video = footage.video(Part(start=1, frames=2, every=2, limit_bytes=2**30))
    assert np.array_equal(
        video.conditions["actions"], dataset["actions"].values[1:4:2], equal_nan=True
    )
    assert video.conditions["mask"].dtype == np.float32
    expected = dataset["forcing"].transpose("time", "lat", "lon").values[1:4:2]
    assert np.array_equal(video.conditions["forcing"][..., 0], expected)
    with pytest.raises(InputError, match=r"has no array 'masks'; did you mean 'mask'.*it holds"):
        open_grid(path, replace(layout, conditions=("masks",)))
    with pytest.raises(InputError, match=r"condition .*: lat has the dimensions \('lat',\)"):
        open_grid(path, replace(layout, conditions=("lat",)))


def test_conditions_of_each_member(tmp_path):
    dataset = xr.Dataset(
        {
            "a": (("member", "time", "y", "x"), noise(2, 3, 4, 5)),
            "terrain": (("member", "y", "x"), noise(2, 4, 5)),
            "act": (("time", "member"), np.arange(6).reshape(3, 2)),
        }
    )
    path = save(dataset, tmp_path / "a.nc")
    one = open_grid(path, Layout(variables=("a",), conditions=("terrain", "act")))[1]
    assert np.array_equal(one.tracks["terrain"].reader([0])[..., 0], dataset["terrain"][1])
    assert one.tracks["act"].reader([0, 2]).ravel().tolist() == [1, 5]


@pytest.mark.parametrize("suffix", KINDS)
def test_coordinates_are_no_frames(tmp_path, suffix):
    dataset = weather().assign_coords(depth=(("time", "lat", "lon"), noise(5, 4, 6)))
    assert only(save(dataset, tmp_path / f"a{suffix}")).name.endswith(": t2m")


def test_coordinates_keep_their_dtypes(tmp_path):
    coordinates = {"y": np.arange(3, dtype="float16"), "x": np.arange(4, dtype="uint8")}
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name, values in coordinates.items():
        group.create_array(name, data=values, dimension_names=(name,))
    group.create_array("a", data=noise(2, 3, 4), dimension_names=("time", "y", "x"))
    written = zarr.open_group(again(tmp_path / "a.zarr", only(tmp_path / "a.zarr").video(ALL)))
    for name, values in coordinates.items():
        assert written[name][...].dtype == values.dtype
        assert np.array_equal(written[name][...], values)


def test_coordinates_tell_what_dimensions_are(tmp_path):
    dataset = xr.Dataset(
        {"a": (("n", "p", "q"), noise(3, 4, 5))},
        {
            "n": ("n", [0, 1, 2], {"standard_name": "time"}),
            "p": ("p", np.arange(4.0), {"axis": "X"}),
            "q": ("q", np.arange(5.0), {"standard_name": "projection_y_coordinate"}),
        },
    )
    footage = only(save(dataset, tmp_path / "a.nc"))
    assert (footage.length, footage.shape) == (3, (5, 4, 1))


@pytest.mark.parametrize("suffix", KINDS)
def test_it_is_asked_which_variable_is_meant(tmp_path, suffix):
    dataset = weather()
    dataset["wind"] = dataset["t2m"] * 2
    path = save(dataset, tmp_path / f"a{suffix}")
    with pytest.raises(
        InputError, match=r"2 arrays that can be a video: t2m \(5x4x6 float32\), wind .*variables"
    ):
        open_grid(path, NONE)
    with pytest.raises(InputError, match="has no array 'winds'; did you mean 'wind'"):
        open_grid(path, Layout(variables=("winds",)))
    only(path, Layout(conditions=("wind",)))
    path = save(dataset[["mask"]], tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match=r"no array that can be a video: it holds .*mask \(4x6"):
        open_grid(path, NONE)
    assert only(path, Layout(variables=("mask",))).length == 1  # a lone picture
    with pytest.raises(InputError, match=r"mask has 2 axes .* names 3"):
        open_grid(path, Layout(variables=("mask",), axes="fhw"))


# Times


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    ("numbers", "attributes", "expected"),
    [
        (np.array([0, 6, 12, 24, 30], "int32"), {"units": "hours since 2020-02-28"}, "dates"),
        (
            np.array([0.25, 0.5, 0.75, 1.25, 1.5]),
            {"units": "days since 2020-02-27T18:00", "calendar": "standard"},
            "dates",
        ),
        (
            np.arange(5.0, dtype="float32"),
            {"units": "days since 2000-02-28", "calendar": "noleap"},
            [0, 86400, 172800, 259200, 345600],
        ),
        (np.arange(5), {"units": "minutes"}, [0, 60, 120, 180, 240]),
        (np.array([3, 1, 2, 0, 0]), {}, [3, 1, 2, 0, 0]),  # left as they are
        (np.arange(5) * 0.1, {"units": "furlongs"}, np.arange(5) * 0.1),
    ],
)
def test_times_and_their_units(tmp_path, suffix, numbers, attributes, expected):
    dataset = xr.Dataset(
        {"a": (("time", "y", "x"), noise(5, 4, 6))}, {"time": ("time", numbers, attributes)}
    )
    if numbers.dtype.kind == "f":
        dataset["time"].encoding["_FillValue"] = None
    path = save(dataset, tmp_path / f"a{suffix}")
    footage = only(path)
    assert footage.times is not None
    if isinstance(expected, str):
        hours = np.array([0, 6, 12, 24, 30]) * np.timedelta64(3600 * 10**9, "ns")
        assert np.array_equal(footage.times, np.datetime64("2020-02-28", "ns") + hours)
    else:
        assert footage.times.dtype == np.float64
        assert np.allclose(footage.times, expected, rtol=1e-12)
    part = footage.video(Part(start=0, frames=2, every=2, limit_bytes=2**30))
    written = load(again(path, part), raw=True)["time"]
    assert written.identical(load(path, raw=True)["time"][[0, 2]])
    assert written.dtype == numbers.dtype


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "attributes",
    [
        {"scale_factor": 0.5, "add_offset": 1.0},
        {"_FillValue": np.int16(6)},  # which would make the third time a missing one
        {"_FillValue": np.int16(-1)},
    ],
)
def test_times_can_be_packed(tmp_path, suffix, attributes):
    attributes = {"units": "hours since 2020-01-01", **attributes}
    dataset = xr.Dataset(
        {"a": (("time", "y", "x"), noise(3, 4, 6))},
        {"time": ("time", np.array([0, 2, 6], "int16"), attributes)},
    )
    path = save(dataset, tmp_path / f"a{suffix}")
    expected = load(path)["time"].values.astype("datetime64[ns]")
    footage = only(path)
    written = load(again(path, footage.video(ALL)))["time"].values
    if attributes.get("_FillValue") == 6:
        assert footage.times is not None
        assert np.isnan(footage.times).tolist() == [False, False, True]
    else:
        assert np.array_equal(footage.times, expected)
        assert np.array_equal(written, expected)


def test_years_of_other_calendars_have_365_days(tmp_path):
    cftime = pytest.importorskip("cftime")
    times = [cftime.DatetimeNoLeap(2000, 2, 28 + day // 2, 12 * (day % 2)) for day in range(2)]
    times += [cftime.DatetimeNoLeap(2000, 3, 1)]
    dataset = xr.Dataset({"a": (("time", "y", "x"), noise(3, 4, 6))}, {"time": times})
    footage = only(save(dataset, tmp_path / "a.nc"))
    assert footage.times is not None
    assert np.diff(footage.times).tolist() == [43200, 43200]


@pytest.mark.parametrize("suffix", KINDS)
def test_more_frames_get_times_in_the_units_of_the_file(tmp_path, suffix):
    dataset = weather().drop_vars("month").isel(time=[0, 1, 3])
    encoding = {"time": {"units": "hours since 1900-01-01", "dtype": "int32"}}
    path = save(dataset, tmp_path / f"a{suffix}", encoding)
    video = only(path).video(ALL)
    filled = replace(video, frames=video.frames[[0, 1, 1, 2]], times=DAYS[:4])
    time = load(again(path, filled), raw=True)["time"]
    assert time.dtype == "int32"
    assert time.attrs == load(path, raw=True)["time"].attrs
    assert np.array_equal(load(again(path, filled))["time"], DAYS[:4])
    between = DAYS[:4] + np.array([0, 0, 30, 0]) * np.timedelta64(1, "m")
    time = load(again(path, replace(filled, times=between)), raw=True)["time"]
    assert time.dtype == "float64"
    assert time.attrs["units"].startswith("hours since 1900-01-01")
    assert np.array_equal(load(again(path, replace(filled, times=between)))["time"], between)
    bare = load(again(path, replace(filled, times=None)))
    assert "time" not in bare.variables


def test_times_of_wrf_are_beside_their_dimension(tmp_path):
    dataset = xr.Dataset(
        {
            "T2": (("Time", "south_north", "west_east"), noise(3, 4, 5)),
            "XTIME": ("Time", [0.0, 30.0, 60.0], {"units": "minutes since 2018-06-17 00:00:00"}),
        }
    )
    path = save(dataset, tmp_path / "a.nc")
    footage = only(path)
    assert footage.times is not None
    assert footage.times[1] == np.datetime64("2018-06-17T00:30")
    assert np.array_equal(load(again(path, footage.video(ALL)))["XTIME"], footage.times)


# Any reading is that of NumPy, in any process, and loads no more


@given(
    order=st.permutations(["time", "y", "x", "channel"]),
    places=st.lists(st.integers(0, 7), min_size=1, max_size=9).map(sorted),
    suffix=st.sampled_from(KINDS),
)
@settings(max_examples=40, deadline=None)
def test_reading_is_numpy_indexing(tmp_path_factory, order, places, suffix):
    lengths = {"time": 8, "y": 3, "x": 4, "channel": 2}
    array = np.arange(192, dtype=np.uint8).reshape([lengths[each] for each in order])
    dataset = xr.Dataset({"a": (order, array)})
    footage = only(save(dataset, tmp_path_factory.mktemp("order") / f"a{suffix}"))
    expected = dataset["a"].transpose("time", "y", "x", "channel").values[places]
    assert np.array_equal(footage.take(places), expected)


@pytest.mark.parametrize("suffix", KINDS)
def test_only_what_is_asked_for_is_loaded(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"  # 50 GB, of which two chunks are written
    shape, chunks = (12_000, 1024, 1024), (1, 256, 1024)
    if suffix == ".nc":
        with netCDF4.Dataset(path, "w") as file:
            for name, length in zip(("time", "y", "x"), shape, strict=True):
                file.createDimension(name, length)
            array = file.createVariable("a", "f4", ("time", "y", "x"), chunksizes=chunks)
            array[7000, :256], array[11_999, 256:512] = 1, 2
    else:
        array = zarr.open_group(path, mode="w").create_array(
            "a", shape=shape, chunks=chunks, dtype="f4", dimension_names=("time", "y", "x")
        )
        array[7000, :256], array[11_999, 256:512] = 1, 2
    only(path)  # whose imports and caches don't count
    tracemalloc.start()
    frames = only(path).take([0, 1, 7000, 11_999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (frames[2, :256] == 1).all()
    assert (frames[3, 256:512] == 2).all()
    assert peak < 3 * frames.nbytes


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_work_in_other_processes(tmp_path, suffix, method):
    path = save(weather(), tmp_path / f"a{suffix}")
    footage = only(path, Layout(variables=("t2m",), conditions=("mask",)))
    before = footage.take([1, 3])
    with multiprocessing.get_context(method).Pool(2) as pool:
        there = pool.map(footage.take, [[1, 3]] * 4)
        masks = pool.map(footage.tracks["mask"].reader, [[1]])
    assert all(np.array_equal(each, before) for each in there)
    assert masks[0].sum() == 24
    assert np.array_equal(footage.take([1, 3])[..., 0], weather()["t2m"][[1, 3]])
    assert len(pickle.dumps(footage)) < 10_000  # no frames in it


def test_large_coordinates_are_read_when_they_are_written(tmp_path):
    frames, latitudes = noise(2, 300, 300), noise(300, 300, dtype="float64")
    dataset = xr.Dataset({"a": (("time", "y", "x"), frames)}, {"lat": (("y", "x"), latitudes)})
    path = save(dataset, tmp_path / "a.nc")
    video = only(path).video(ALL)
    assert len(pickle.dumps(video)) < frames.nbytes + 10_000
    assert load(again(path, video)).identical(load(path))
    path.unlink()
    with pytest.raises(InputError, match=r"a.nc doesn't exist"):
        again(path, video)


# Plain Zarr


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_without_names_of_dimensions(tmp_path, version):
    frames, actions = noise(5, 4, 6, 3, dtype="uint8"), noise(5, 2)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    for name, array in (("clips/rgb", frames), ("clips/act", actions)):
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=(2, *array.shape[1:]))
        group[name][...] = array
    footage = only(tmp_path / "a.zarr", Layout(conditions=("clips/act",)))
    assert footage.video(ALL).frames.tobytes() == frames.tobytes()  # 0 is no missing value
    assert np.array_equal(footage.tracks["clips/act"].reader([4]), actions[4:])
    zarr.save_array(tmp_path / "b.zarr", frames, zarr_format=version)
    footage = only(tmp_path / "b.zarr", Layout(axes="hwfc"))
    assert np.array_equal(footage.take([5]), frames.transpose(2, 0, 1, 3)[5:])
    written = load(again(tmp_path / "b.zarr", footage.video(ALL)))
    assert written["frames"].shape == (6, 5, 4, 3)


# Files that name others, or want code to be run


@pytest.fixture
def secret(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["a"] = noise(3, 4, 5)
    noise(3, 4, 5).tofile(tmp_path / "secret.bin")
    save(weather(), tmp_path / "secret.zarr")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("external link", "away is a link to another file"),
        ("soft link", "away is a soft link"),
        ("external storage", "away keeps its values in another file"),
        ("virtual", "away is made of datasets of other files"),
        ("loop", "away is another name of a group"),
    ],
)
def test_netcdf_never_opens_other_files(secret, kind, message):
    path = secret / "trap.nc"
    with h5py.File(path, "w") as file:
        file["frames"] = noise(3, 4, 5)
        if kind == "external link":
            file["away"] = h5py.ExternalLink(str(secret / "secret.h5"), "/a")
        elif kind == "soft link":
            file["away"] = h5py.SoftLink("/frames")
        elif kind == "external storage":
            storage = [(str(secret / "secret.bin"), 0, 240)]
            file.create_dataset("away", (3, 4, 5), "f4", external=storage)
        elif kind == "virtual":
            virtual = h5py.VirtualLayout((3, 4, 5), "f4")
            virtual[:] = h5py.VirtualSource(str(secret / "secret.h5"), "a", (3, 4, 5))
            file.create_virtual_dataset("away", virtual)
        else:
            file["away"] = file["/"]
    with pytest.raises(InputError, match=message):
        open_grid(path, Layout(variables=("frames",)))


@pytest.mark.parametrize("what", ["zarr.json", "t2m", "t2m/zarr.json", "t2m/c", "t2m/c/0/0/0"])
def test_zarr_never_reads_outside(secret, what):
    path = secret / "a.zarr"
    shutil.copytree(secret / "secret.zarr", path)
    target = path / what
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    target.symlink_to(secret / "secret.zarr" / what)
    with pytest.raises(InputError, match=r"leads out of the folder, to .*secret.zarr"):
        only(path).take([0])


def test_links_within_a_zarr_folder_are_followed(tmp_path):
    path = save(weather(), tmp_path / "a.zarr", {"t2m": {"chunks": (1, 4, 6)}})
    chunk = path / "t2m" / "c" / "3" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(Path("../../../../t2m/c/1/0/0"))
    (tmp_path / "b.zarr").symlink_to(path)
    frames = only(tmp_path / "b.zarr").take([1, 3])
    assert np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize("name", ["t2m", "time"])
@pytest.mark.parametrize("how", ["filter", "compressor", "second filter"])
def test_codecs_that_run_code_are_refused(tmp_path, name, how):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    chunks = {"t2m": {"chunks": (5, 4, 6)}}
    path = save(weather(), tmp_path / "a.zarr", chunks, zarr_format=2)
    (path / name / ("0.0.0" if name == "t2m" else "0")).write_bytes(pickle.dumps(Trap()))
    about = path / name / ".zarray"
    metadata = json.loads(about.read_text()) | {"filters": None, "compressor": None}
    first = {"id": "delta", "dtype": metadata["dtype"]}
    trap = {"id": "pickle"}
    if how == "compressor":
        metadata["compressor"] = trap
    else:
        metadata["filters"] = [trap] if how == "filter" else [first, trap]
    about.write_text(json.dumps(metadata))
    with pytest.raises(InputError):
        open_grid(path, Layout(variables=(name,)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("version", [2, 3])
def test_unknown_codecs_are_refused(tmp_path, version):
    path = save(weather(), tmp_path / "a.zarr", zarr_format=version)
    about = path / "time" / (".zarray" if version == 2 else "zarr.json")
    metadata = json.loads(about.read_text())
    if version == 2:
        metadata["filters"], codec = [{"id": "base64"}], "base64"
    else:
        types, codec = {"encode_dtype": "float32", "decode_dtype": "int64"}, "astype"
        inner = [{"name": "numcodecs.astype", "configuration": types}, {"name": "bytes"}]
        shard = {"chunk_shape": [5], "codecs": inner, "index_codecs": [{"name": "bytes"}]}
        metadata["codecs"] = [{"name": "sharding_indexed", "configuration": shard}]
    about.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=f"time is stored by the codec '{codec}', which"):
        open_grid(path, Layout(conditions=("time",)))
    assert only(path).times is None  # but the frames can be read
    assert np.array_equal(only(path).take([1])[..., 0], weather()["t2m"][1:2])


def test_other_things_in_a_zarr_folder_are_no_matter(tmp_path):
    path = save(weather(), tmp_path / "a.zarr")
    (path / "notes").mkdir()
    (path / "notes" / "a.txt").touch()
    (path / ".DS_Store").touch()
    assert only(path).length == 5


def test_objects_are_refused(tmp_path):
    path = save(weather(), tmp_path / "a.zarr", zarr_format=2)
    about = path / "t2m" / ".zarray"
    metadata = json.loads(about.read_text()) | {"dtype": "|O", "fill_value": None}
    about.write_text(json.dumps(metadata))
    with pytest.raises(InputError):
        open_grid(path, Layout(variables=("t2m",)))


def test_the_copy_of_the_metadata_is_not_believed(tmp_path):
    path = tmp_path / "a.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weather().to_zarr(path, consolidated=True)
    about = json.loads((path / "zarr.json").read_text())
    about["consolidated_metadata"]["metadata"]["t2m"]["shape"] = [5, 4, 10**9]
    (path / "zarr.json").write_text(json.dumps(about))
    assert only(path).shape == (4, 6, 1)


def test_pipes_are_not_waited_for(tmp_path):
    path = save(weather(), tmp_path / "a.zarr", {"t2m": {"chunks": (5, 4, 6)}})
    (path / "t2m" / "zarr.json").unlink()
    os.mkfifo(path / "t2m" / "zarr.json")
    with pytest.raises(InputError):
        open_grid(path, Layout(variables=("t2m",)))


@pytest.mark.parametrize("suffix", KINDS)
def test_enormous_chunks_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    shape, chunks = (4000, 2000, 2000), (600, 2000, 2000)
    if suffix == ".nc":
        with h5py.File(path, "w") as file:
            file.create_dataset("a", shape, "u1", chunks=chunks)
    else:
        group = zarr.open_group(path, mode="w")
        group.create_array("a", shape=shape, chunks=chunks, dtype="u1")
    with pytest.raises(InputError, match=r"a has chunks of 2.2 GiB"):
        open_grid(path, NONE)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/a.nc", "https://x.org/a.zarr", "file:///etc/a.nc", "s3://a/b.nc"],
)
def test_addresses_are_refused(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="doesn't exist: check the path"):
        open_grid(Path(address), NONE)
    with pytest.raises(InputError, match="doesn't exist: check the path"):
        open_grid(Path(f"{address}#mode=bytes"), NONE)


def test_a_file_that_looks_like_an_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http:").mkdir()
    save(weather(), tmp_path / "http:" / "a.nc")
    assert only(Path("http://a.nc")).length == 5


# Damage


@pytest.mark.parametrize(
    "kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4_CLASSIC"]
)
@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_cut_classic_files_are_refused(tmp_path, kind, records, several):
    path = tmp_path / "a.nc"
    frames = noise(5, 3, 7, dtype="int8" if several else "int16")
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.title = "text of some length"
        file.createDimension("time", None if records else 5)
        file.createDimension("y", 3)
        file.createDimension("x", 7)
        file.createVariable("a", frames.dtype, ("time", "y", "x"))[:] = frames
        if several:
            file.createVariable("time", "f4", ("time",))[:] = np.arange(5)
    assert np.array_equal(only(path).take(range(5))[..., 0], frames)
    whole = path.read_bytes()
    for end in {*range(1, len(whole) - 4, 97 if len(whole) > 2000 else 7), len(whole) - 4}:
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            only(path).take(range(5))
    path.write_bytes(whole)


def test_other_files_are_no_netcdf(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"GIF89a" * 100)
    with pytest.raises(InputError, match=r"a.nc is no NetCDF file"):
        open_grid(tmp_path / "a.nc", NONE)
    (tmp_path / "b.nc").write_bytes(b"CDF\x01" + b"\xff" * 400)
    with pytest.raises(InputError, match=r"b.nc is damaged \(its header has a list"):
        open_grid(tmp_path / "b.nc", NONE)
    (tmp_path / "c.zarr").mkdir()
    with pytest.raises(InputError, match=r"c.zarr can't be read"):
        open_grid(tmp_path / "c.zarr", NONE)


def outcome(path: Path) -> np.ndarray | str:
    """Return the frames of a damaged file, or why it is refused."""
    try:
        footage = only(path)
        return footage.take(range(min(footage.length, 5)))
    except InputError as error:
        return str(error)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_refused_or_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    kind = data.draw(st.sampled_from(["NETCDF3_CLASSIC", "NETCDF4", "zarr"]))
    dataset = xr.Dataset(
        {"a": (("time", "y", "x"), noise(5, 4, 6), {"scale_factor": 2.0})}, {"time": DAYS}
    )
    if kind == "zarr":
        store = save(dataset, folder / "a.zarr")
        files = sorted(path for path in store.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(files))
    else:
        store = path = save(dataset, folder / "a.nc", format=kind)
    whole = bytearray(path.read_bytes())
    heap = range(whole.find(b"GCOL"), whole.find(b"GCOL") + 4096)  # see test_hdf5.py
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(1, len(whole) - 1)) :]
    else:
        places = st.integers(0, len(whole) - 1)
        at = data.draw(places.filter(lambda place: kind != "NETCDF4" or place not in heap))
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    found = outcome(store)
    if isinstance(found, str):
        assert "\n" not in found
        assert "Type-check" not in found
    else:
        assert found.dtype.kind in "uif"


# Writing


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_other_videos_become_frames(tmp_path, suffix, dtype):
    frames = noise(5, 3, 4, 2, dtype=dtype)
    if dtype.startswith("f"):
        frames[1, 0], frames[2, 0, 0] = np.nan, -0.0
    video = Video(frames, fps=2.0, units="K", times=DAYS, channels=("a", "b"))
    path = tmp_path / f"a{suffix}"
    write_grid(path, video)
    back = only(path).video(ALL)
    half = suffix == ".nc" and dtype == "float16"  # which NetCDF doesn't have
    assert back.frames.dtype == ("float32" if half else dtype)
    assert back.frames.astype(dtype).tobytes() == frames.tobytes()
    assert (back.fps, back.units, back.channels) == (2.0, "K", ("a", "b"))
    assert np.array_equal(back.times, DAYS)
    dataset = load(path)
    assert dataset["frames"].dims == ("time", "y", "x", "channel")
    assert np.array_equal(dataset["time"], DAYS)
    assert np.array_equal(only(again(path, back)).take(range(5)), back.frames, equal_nan=True)
    write_grid(tmp_path / f"b{suffix}", Video(frames, header=Header(".h5", None)))
    back = only(tmp_path / f"b{suffix}").video(ALL)
    assert back.times is back.fps is None
    assert back.channels == ()


@pytest.mark.parametrize("suffix", KINDS)
def test_seconds_come_back(tmp_path, suffix):
    times = np.array([0.0, 0.04, 0.1, 2.5, 7.0])
    write_grid(tmp_path / f"a{suffix}", Video(noise(5, 3, 4, 1), times=times))
    assert np.array_equal(only(tmp_path / f"a{suffix}").times, times)


@pytest.mark.parametrize("suffix", KINDS)
def test_integers_with_missing_values_of_other_formats(tmp_path, suffix):
    frames = np.array([[[[3.0], [np.nan]]]], np.float32)
    path = tmp_path / f"a{suffix}"
    write_grid(path, Video(frames, stored=Stored("uint16", 9)))
    assert load(path, raw=True)["frames"].values.ravel().tolist() == [3, 9]
    footage = only(path)
    assert footage.stored == Stored("uint16", 9)
    assert np.array_equal(footage.take([0]), frames, equal_nan=True)


@pytest.mark.parametrize("suffix", KINDS)
def test_missing_values_in_integers_are_refused(tmp_path, suffix):
    path = save(weather("uint8"), tmp_path / f"a{suffix}")
    video = only(path).video(ALL)
    assert video.frames.dtype == np.uint8
    floats = video.frames.astype(np.float32)
    floats[1, 2, 3] = np.nan
    with pytest.raises(
        InputError, match=r"t2m has missing values \(NaN\), and uint8 has no number"
    ):
        again(path, replace(video, frames=floats))


@pytest.mark.parametrize("suffix", KINDS)
def test_values_beyond_the_integers_are_written_as_floats(tmp_path, suffix):
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -32768}
    path = save(weather(), tmp_path / f"a{suffix}", {"t2m": packing})
    video = only(path).video(ALL)
    frames = video.frames.copy()
    frames[0, 0, 0], frames[1] = 601.0, np.nan
    message = r"values of t2m from .* to 601 don't fit into the int16 that the file had: float64"
    with pytest.warns(FillWarning, match=message):
        written = again(path, replace(video, frames=frames))
    assert np.array_equal(only(written).take(range(5)), frames, equal_nan=True)
    assert "scale_factor" not in load(written, raw=True)["t2m"].attrs


@pytest.mark.parametrize("suffix", KINDS)
def test_new_values_never_become_missing(tmp_path, suffix):
    path = save(weather("uint8"), tmp_path / f"a{suffix}", {"t2m": {"_FillValue": 0}})
    video = only(path).video(ALL)
    frames = video.frames.copy()
    frames[3] = 0.2
    frames[4] = np.nan
    stored = load(again(path, replace(video, frames=frames)), raw=True)["t2m"].values
    assert (stored[3] == 1).all()
    assert (stored[4] == 0).all()


def test_resized_videos_are_new_files(tmp_path):
    path = save(weather(), tmp_path / "a.nc")
    video = only(path).video(ALL)
    smaller = load(again(path, replace(video, frames=video.frames[:, :2])))
    assert smaller["frames"].shape == (5, 2, 6, 1)
    assert smaller["frames"].attrs["units"] == "K"


def test_pictures_that_became_several(tmp_path):
    dataset = xr.Dataset({"a": (("y", "x"), noise(3, 4))}, {"y": [1.0, 2.0, 3.0]})
    path = save(dataset, tmp_path / "a.nc")
    video = only(path, Layout(variables=("a",))).video(ALL)
    assert load(again(path, video)).identical(load(path))
    more = load(again(path, replace(video, frames=video.frames[[0, 0]])))
    assert more["a"].dims == ("time", "y", "x")


@pytest.mark.parametrize("suffix", KINDS)
def test_a_place_that_cannot_be_written_is_told_by_the_system(tmp_path, suffix):
    with pytest.raises(OSError, match=r"."):
        write_grid(tmp_path / "none" / "such" / f"a{suffix}", Video(noise(2, 3, 4, 1))) if (
            suffix == ".nc"
        ) else write_grid(Path("/dev/null") / f"a{suffix}", Video(noise(2, 3, 4, 1)))


# Libraries


def run_without(library: str, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code where all libraries are but one."""
    links = folder / "libraries"
    links.mkdir()
    for entry in Path(h5py.__file__).parents[1].iterdir():
        if not entry.name.lower().startswith(library.lower()):
            (links / entry.name).symlink_to(entry)
    source = Path(__file__).parents[1] / "src"
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{links}:{source}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("library", "suffix", "extra"),
    [("netCDF4", ".nc", "netcdf"), ("h5py", ".nc", "netcdf"), ("zarr", ".zarr", "zarr")],
)
def test_missing_libraries_are_told(tmp_path, library, suffix, extra):
    path = save(weather(), tmp_path / f"a{suffix}")
    code = f"""
import pathlib
from framefill.data.footage import Layout
from framefill.data.grids import open_grid
open_grid(pathlib.Path({str(path)!r}), Layout())
"""
    last = run_without(library, tmp_path, code).stderr.splitlines()[-1]
    assert last.endswith(
        f"InputError: {library} not found, which this format needs: pip install "
        f"'framefill[{extra}]'"
    )


def test_libraries_are_not_imported_before_they_are_needed():
    code = (
        "import framefill, framefill.data.grids, framefill.data.grid_write, sys;"
        "sys.exit(any(name in sys.modules for name in ('xarray', 'zarr', 'netCDF4', 'h5py')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

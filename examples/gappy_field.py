"""A field with gaps, as instruments leave them, and what became of it.

    python examples/gappy_field.py make VIDEO OUT
    python examples/gappy_field.py score OUT FILLED ...

The frames of a traffic camera (VIDEO, such as the CDnet clip "highway") become a float32 field in
W m-2 sr-1 on a grid of 48 x 64, one a second. Clouds drift across it and hide what is below (NaN),
and the recorder has outages: runs of 1 to 3 time stamps are not there at all. OUT gets field.nc and
field.zarr, the same data, and truth.npy, the field without gaps. FILLED are files that framefill
wrote, samples of the same filling: their root mean square error in the frames that were missing,
beside linear interpolation in time and the last value before, pixel by pixel.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

import framefill as ff

HEIGHT, WIDTH = 48, 64
OUTAGES = 0.04  # of the frames begin one
CLOUDS = 2


def radiance(video: Path) -> np.ndarray:
    """Return the field without gaps [f h w], float32."""
    frames = ff.read(video).fit(height=HEIGHT, width=WIDTH, channels=1, how="stretch").frames
    return (20.0 + 0.4 * frames[..., 0]).astype(np.float32)


def clouds(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return where clouds are [f h w]: discs that drift, each with a speed of its own."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    hidden = np.zeros((frames, HEIGHT, WIDTH), bool)
    for _ in range(CLOUDS):
        y, x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
        speed, radius = rng.uniform(0.2, 0.6, 2), rng.uniform(4, 8)
        for frame in range(frames):
            center = (y + frame * speed[0]) % HEIGHT, (x + frame * speed[1]) % WIDTH
            hidden[frame] |= (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2
    return hidden


def recorded(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return which frames the recorder has [f]."""
    there = np.ones(frames, bool)
    for start in np.flatnonzero(rng.random(frames) < OUTAGES):
        there[start : start + rng.integers(1, 4)] = False
    there[[0, -1]] = True
    return there


def make(video: Path, out: Path) -> None:
    """Write the three files."""
    out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = radiance(video)
    there = recorded(len(truth), rng)
    field = np.where(clouds(len(truth), rng), np.float32("nan"), truth)[there]
    seconds = np.flatnonzero(there).astype("timedelta64[s]")
    data = xr.Dataset(
        {
            "radiance": (
                ("time", "y", "x"),
                field,
                {"units": "W m-2 sr-1", "long_name": "upwelling radiance"},
            )
        },
        coords={
            "time": np.datetime64("2026-03-01T06:00:00", "ns") + seconds,
            "y": ("y", np.arange(HEIGHT) * 250.0, {"units": "m"}),
            "x": ("x", np.arange(WIDTH) * 250.0, {"units": "m"}),
        },
        attrs={"title": "A field with clouds and outages", "source": video.name},
    )
    data.to_netcdf(out / "field.nc")
    data.to_zarr(out / "field.zarr", consolidated=False)
    np.save(out / "truth.npy", truth)
    share = float(np.isnan(field).mean())
    print(f"{len(field)} of {len(truth)} frames are there, {share:.1%} of their values missing")


def score(out: Path, files: list[Path]) -> None:
    """Print errors of filled frames."""
    field = xr.open_dataset(out / "field.nc").radiance
    filled = [xr.open_dataset(file).radiance for file in files]
    new = ~np.isin(filled[0].time, field.time)
    second = (filled[0].time - field.time[0]).values.astype("timedelta64[s]").astype(int)
    truth = np.load(out / "truth.npy")[second]
    given = np.where(new[:, None, None], np.nan, filled[0].values)
    samples = np.stack([each.values for each in filled])
    rows = {
        "one sample (mean of them)": np.mean([error(each, truth, new) for each in samples]),
        f"mean of {len(samples)} samples": error(samples.mean(axis=0), truth, new),
        "linear in time": error(in_time(given, linear=True), truth, new),
        "last value": error(in_time(given, linear=False), truth, new),
    }
    print(f"{new.sum()} frames filled, root mean square error in {field.units}")
    for name, value in rows.items():
        print(f"  {name:26} {value:.2f}")


def error(frames: np.ndarray, truth: np.ndarray, new: np.ndarray) -> float:
    """Return the root mean square error of the new frames."""
    return float(np.sqrt(np.mean((frames[new] - truth[new]) ** 2)))


def in_time(given: np.ndarray, *, linear: bool) -> np.ndarray:
    """Return all values of a field [f h w] from those that are not NaN, each pixel by itself."""
    filled = given.copy()
    places = np.arange(len(given))
    for row, column in np.ndindex(given.shape[1:]):
        values = given[:, row, column]
        there = np.isfinite(values)
        if linear:
            filled[:, row, column] = np.interp(places, places[there], values[there])
        else:
            last = np.maximum.accumulate(np.where(there, places, places[there][0]))
            filled[:, row, column] = values[last]
    return filled


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    if verb == "make":
        make(Path(paths[0]), Path(paths[1]))
    else:
        score(Path(paths[0]), [Path(path) for path in paths[1:]])

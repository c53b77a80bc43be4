"""What users see of several samples: statistics, pictures and the files of --summary."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from test_fill import model

import framefill as ff
from framefill.cli import main
from framefill.data.save import save
from framefill.data.sheet import MARKS
from framefill.data.video import Stored
from framefill.data.write import write
from framefill.ensemble import Statistic, frame_means
from framefill.errors import InputError
from framefill.normalise import Normaliser

ROW = "KKT-TT"
BLACK = np.zeros(3, np.uint8)


def filled(dtype=np.float64, *, channels: int = 1, samples: int = 5, units: str = "K", **changes):
    """Samples that differ in the T frames alone; the given ones have digits that no float has."""
    rng = np.random.default_rng(0)
    frames = rng.uniform(20, 230, (samples, len(ROW), 6, 8, channels))
    known = [letter == "K" for letter in ROW]
    frames[:, known] = frames[0, known]
    absent = [letter == "-" for letter in ROW]
    frames[:, absent] = np.nan if np.dtype(dtype).kind == "f" else 0
    return ff.Filled(frames.astype(dtype), ROW, 5.0, units, (0.0, 255.0), **changes)


def boxes(path: Path, mark: str) -> list[list[np.ndarray]]:
    """The drawn frames of a sheet that have the color of a mark, row by row."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    colored = (picture == MARKS[mark][1]).all(axis=-1)
    colored[-40:] = False  # the legend

    def runs(line: np.ndarray) -> list[tuple[int, int]]:
        ends = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        return list(zip(ends[::2], ends[1::2], strict=True))

    found = []
    for top, bottom in runs(colored.any(axis=1)):
        columns = runs(colored[top])
        found.append([picture[top + 3 : bottom - 3, x + 3 : end - 3] for x, end in columns])
    return found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.npz"
    write(path, ff.recipe("digits").data.clips(frames=5, split="test", seed=0)[0], fps=6.0)
    return path


class TestStatistics:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32, np.float64])
    def test_are_those_of_numpy(self, dtype) -> None:
        out = filled(dtype)
        values, there = out.frames.astype(float), [letter != "-" for letter in ROW]
        tenth, most = out.quantile([0.1, 0.9])
        for found, expected in {
            "mean": (out.mean, values.mean(axis=0)),
            "std": (out.std, values.std(axis=0)),
            "median": (out.median, np.median(values, axis=0)),
            "q10": (tenth, np.percentile(values, 10, axis=0)),
            "q90": (most, np.percentile(values, 90, axis=0)),
            "q33.3": (out.quantile(0.333), np.percentile(values, 33.3, axis=0)),
            "above100": (out.exceedance(100), (values > 100).sum(axis=0) / 5),
        }.items():
            ours, theirs = expected
            assert ours.dtype == np.float64
            np.testing.assert_allclose(ours[there], theirs[there], atol=1e-9, err_msg=found)
            again = out.statistic(found)
            np.testing.assert_allclose(again.frames[0][there], theirs[there], rtol=1e-6, atol=1e-5)
            assert np.isnan(again.frames[0][3]).all()
        assert all(np.isnan(each[3]).all() for each in (tenth, out.median, out.exceedance(1)))

    def test_given_frames_are_certain_whatever_their_digits(self) -> None:
        out = filled(samples=7)
        known = out.frames[0, :2]
        assert out.frames[:, 0].std(axis=0).max() > 0  # as numpy has it
        assert out.std[:2].max() == 0
        assert out.std[2].min() > 0
        for each in (out.mean, out.median, out.quantile(0.1)):
            assert np.array_equal(each[:2], known)
        assert np.array_equal(out.exceedance(100)[:2], known > 100)

    def test_missing_pixels_stay_missing(self) -> None:
        out = filled(np.float32)
        out.frames[:, 0, 0, 0] = np.nan
        for each in (out.mean, out.std, out.median, out.quantile(0.9), out.exceedance(3)):
            assert np.isnan(each[0, 0, 0]).all()
            assert np.isfinite(each[0, 0, 1:]).all()

    def test_what_equals_a_threshold_is_not_above(self) -> None:
        tenths = np.full((2, 1, 1, 1, 1), 0.1, np.float32)  # a little more than 0.1
        tenths[1] = 0.2
        out = ff.Filled(tenths, "T", None, "", (0.0, 1.0))
        assert out.exceedance(0.1).item() == 0.5
        assert out.exceedance(0.05).item() == 1
        assert out.exceedance(1e300).item() == 0

    def test_frame_means_leave_out_what_is_unknown(self) -> None:
        frames = np.arange(12.0).reshape(1, 3, 2, 2, 1)
        frames[0, 0, 0, 0], frames[0, 2] = np.nan, np.nan
        np.testing.assert_array_equal(frame_means(frames), [[2.0, 5.5, np.nan]])
        assert frame_means(np.full((1, 1, 2, 2, 3), 250, np.uint8)).item() == 250

    @pytest.mark.parametrize(
        "ask",
        [
            lambda out, path: out.quantile(0.5),
            lambda out, path: out.median,
            lambda out, path: out.exceedance(1),
            lambda out, path: out.statistic("mean"),
            lambda out, path: out.uncertainty(path),
            lambda out, path: out.fan_chart(path),
        ],
    )
    def test_one_sample_has_no_spread(self, ask, tmp_path: Path) -> None:
        alone = filled(samples=1)
        with pytest.raises(InputError, match="1 sample has no spread: ask for samples=8 or more"):
            ask(alone, tmp_path / "x.png")
        assert not list(tmp_path.iterdir())
        assert alone.std[:3].max() == 0
        assert np.array_equal(alone.mean[:3], alone.frames[0, :3])

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            (lambda out: out.quantile(90), "quantile 90 must be in 0..1"),
            (lambda out: out.quantile([0.1, float("nan")]), "quantile nan"),
            (lambda out: out.exceedance(float("inf")), "above inf"),
            (lambda out: out.statistic("meen"), "did you mean 'mean'"),
            (lambda out: out.statistic("q101"), "q0 to q100"),
            (lambda out: out.statistic("above"), "such as above5"),
            (lambda out: out.statistic("above1e999"), "no statistic"),
            (lambda out: out.fan_chart("x.jpg"), "fan charts are .png files"),
            (lambda out: out.uncertainty("x.jpg"), "x.jpg"),
        ],
    )
    def test_mistakes_are_refused_in_one_line(self, ask, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            ask(filled())
        assert "\n" not in str(caught.value)

    def test_words_are_read(self) -> None:
        for word, number in {
            "above-2.5e-3": -0.0025,
            "q2.5": 0.025,
            "q100": 1,
            "median": 0.5,
        }.items():
            assert Statistic.parse(word).number == number


class TestPictures:
    @pytest.mark.parametrize("channels", [1, 3, 2])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_uncertainty_is_where_frames_are_filled(
        self, tmp_path: Path, dtype, channels: int
    ) -> None:
        out, path = filled(dtype, channels=channels), tmp_path / "u.png"
        out.uncertainty(path)
        given, new = boxes(path, "K"), boxes(path, "T")
        assert [len(row) for row in given] == [2] * 4
        assert [len(row) for row in new] == [3] * 4
        mean, std, low, high = range(4)
        assert all((frame == BLACK).all() for frame in given[std])
        assert max(frame.max() for frame in new[std]) == 255  # on a scale of its own
        shown = out.frames[0, 0] if channels != 2 else out.frames[0, 0, :, :, :1]
        pixels = np.rint(shown).astype(np.uint8).repeat(6, axis=0).repeat(6, axis=1)
        for row in (mean, low, high):
            assert np.array_equal(given[row][0], np.broadcast_to(pixels, given[row][0].shape))
        assert (new[low][0] <= new[high][0]).all()
        assert (new[low][0] < new[mean][0]).mean() > 0.9
        with pytest.raises(InputError, match="exists"):
            out.uncertainty(path)
        out.uncertainty(path, overwrite=True)

    def test_labels_tell_scale_units_and_channel(self) -> None:
        from framefill.uncertainty import uncertainty_rows

        frames = np.zeros((2, 2, 6, 8, 2), np.float32)
        frames[1, 1, 0, 0] = (5, 900)  # of the second channel nothing is shown
        labels = [row.label for row in uncertainty_rows(frames, "KT", (0.0, 8.0), "mm/h")]
        assert labels == [
            "mean, channel 0, 0 to 8 mm/h",
            "standard deviation, channel 0, 0 to 2.5 mm/h",
            "10 % quantile, channel 0, 0 to 8 mm/h",
            "90 % quantile, channel 0, 0 to 8 mm/h",
        ]

    def test_samples_that_agree_make_a_black_picture(self, tmp_path: Path) -> None:
        out = filled(np.uint8)
        out.frames[:] = out.frames[:1]
        out.uncertainty(tmp_path / "u.png")
        assert all((frame == BLACK).all() for frame in boxes(tmp_path / "u.png", "T")[1])
        assert out.statistic("std").value_range == (0.0, 1.0)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_fan_opens_after_the_given_frames(self, tmp_path: Path, dtype) -> None:
        out, path = filled(dtype, channels=3), tmp_path / "fan.png"
        apart = 10 * np.arange(5)[:, None, None, None]
        out.frames[:, 2], out.frames[:, 4], out.frames[:, 5] = 120, 100 + apart, 80 + 2 * apart
        out.fan_chart(path)
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert picture.shape == (480, 960, 3)
        orange = (picture[..., 0] - picture[..., 2]) > 40
        heights = orange.sum(axis=0)
        assert heights[450:730].max() == 0  # frame 3 is absent, and the legend is further left
        assert heights[320:420].max() < 20  # one curve to frame 2, of which all are sure
        ends = np.flatnonzero(heights[730:]) + 730  # frames 4 and 5
        assert heights[ends[-12]] > 1.5 * heights[ends[12]] > 50
        blue = (picture == MARKS["K"][1]).all(axis=-1)
        assert blue[:, :320].sum() > 40
        with pytest.raises(InputError, match="exists"):
            out.fan_chart(path)

    def test_fan_needs_matplotlib(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(InputError, match=r"framefill\[plot\]"):
            filled().fan_chart(tmp_path / "fan.png")


@pytest.mark.parametrize(
    "suffix", [".npy", ".npz", ".nc", ".zarr", ".h5", ".tif", ".nii", ".nii.gz"]
)
def test_statistics_of_stored_integers_are_floats(tmp_path: Path, suffix: str) -> None:
    frames = np.arange(6.0 * 48, dtype=np.float32).reshape(6, 6, 8, 1)
    frames[3] = np.nan
    path = tmp_path / f"in{suffix}"
    save(path, ff.Video(frames, stored=Stored("int16", -999.0), units="K"))
    given = ff.read(path)
    samples = np.stack([frames, frames + 1, frames + 3])
    out = ff.Filled(
        samples, "KKK-TT", None, "K", (0.0, 300.0), stored=given.stored, header=given.header
    )
    for word in ("mean", "above100"):
        target = tmp_path / f"{word}{suffix}"
        assert out.statistic(word).save(target) == [target]
        again = ff.read(target)
        assert again.frames.dtype == np.float32
        np.testing.assert_array_equal(again.frames, out.statistic(word).frames[0])
        if suffix in (".nc", ".zarr", ".h5"):
            assert again.units == ("K" if word == "mean" else "1")
    assert again.frames[2, -1, 0, 0] == 1


class TestSummary:
    def test_pictures_have_scales_of_their_own(self, clip: Path, tmp_path: Path, capsys) -> None:
        words = [*("predict", str(clip), "--frames", "2", "--samples", "4", "--steps", "2")]
        summary = ["--summary", "mean", "std", "q90", "above127.5", "mean"]
        assert main([*words, "--out", str(tmp_path / "raw.npz")]) == 0
        assert not list(tmp_path.glob("raw-u*"))
        capsys.readouterr()
        assert main([*words, *summary, "--out", str(tmp_path / "many.gif")]) == 0
        assert main([*words, *summary, "--out", str(tmp_path / "folder")]) == 0
        samples = [ff.read(tmp_path / f"raw-{i}.npz").frames for i in range(4)]
        values = np.stack(samples).astype(float)
        widest = values.std(axis=0).max()
        expected = {
            "mean": values.mean(axis=0),
            "std": values.std(axis=0) / widest * 255,
            "q90": np.percentile(values, 90, axis=0),
            "above127.5": (values > 127.5).mean(axis=0) * 255,
        }
        for word, picture in expected.items():
            film = ff.read(tmp_path / f"many-{word}.gif").frames[:, ::4, ::4, :1].astype(float)
            folder = ff.read(tmp_path / f"folder-{word.replace('.', '_')}").frames.astype(float)
            assert np.abs(folder[..., :1] - picture).max() <= 0.5 + 1e-3
            assert np.array_equal(film, folder[..., :1])
        said = capsys.readouterr().err.splitlines()
        assert f"{tmp_path}/many-std.gif: black is 0, white {widest:.3g}" in said
        assert f"{tmp_path}/many-above127.5.gif: black is 0, white 1" in said
        assert sum("black is" in line for line in said) == 4
        assert "many-uncertainty.png" in said[2]
        assert all(
            (each == BLACK).all() for each in boxes(tmp_path / "many-uncertainty.png", "K")[1]
        )

    @pytest.mark.parametrize("kind", ["float32", "int16"])
    @pytest.mark.parametrize("suffix", [".nc", ".zarr"])
    def test_fields_keep_their_coordinates(
        self, tmp_path: Path, capsys, kind: str, suffix: str
    ) -> None:
        normaliser = Normaliser(
            dtype="float32", offset=(280.0,), scale=(10.0,), low=250.0, high=310.0, units="K"
        )
        model(normaliser=normaliser).save(tmp_path / "m")
        values = np.random.default_rng(0).uniform(265, 295, (4, 16, 24)).astype(np.float32)
        values[0, :2, :3] = values[2, 5] = np.nan
        latitude = xr.DataArray(
            np.linspace(50, 60, 16), dims="lat", attrs={"units": "degrees_north"}
        )
        times = np.datetime64("2026-01-01", "ns") + np.arange(4) * np.timedelta64(6, "h")
        field = xr.DataArray(
            values,
            dims=("time", "lat", "lon"),
            coords={"time": times, "lat": latitude, "lon": np.arange(24.0)},
            attrs={"units": "K", "standard_name": "air_temperature", "valid_min": np.float32(200)},
            name="t2m",
        ).to_dataset()
        field.attrs["institution"] = "here"
        packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
        encoding = {"t2m": packed} if kind == "int16" else {}
        path = tmp_path / f"field{suffix}"
        if kind == "int16":
            del field["t2m"].attrs["valid_min"]
        if suffix == ".nc":
            field.to_netcdf(path, encoding=encoding)
        else:
            field.to_zarr(path, encoding=encoding, zarr_format=2)
        words = ["predict", str(path), "--frames", "2", "--samples", "5", "--steps", "2"]
        words += ["--model", str(tmp_path / "m"), "--out", str(tmp_path / f"next{suffix}")]
        assert main([*words, "--summary", "median", "std", "q10", "above280"]) == 0

        def opened(word: object) -> xr.Dataset:
            name = tmp_path / f"next-{word}{suffix}"
            if suffix == ".nc":
                return xr.open_dataset(name, engine="netcdf4").load()
            return xr.open_zarr(name, consolidated=False).load()

        samples = [opened(number)["t2m"] for number in range(5)]
        drawn = np.stack([each.values for each in samples])
        rounding = 0.006 if kind == "int16" else 1e-4  # of the samples in the file
        for word, expected, units in (
            ("median", np.median(drawn, axis=0), "K"),
            ("std", drawn.std(axis=0), "K"),
            ("q10", np.percentile(drawn, 10, axis=0), "K"),
            ("above280", np.where(np.isnan(drawn[0]), np.nan, (drawn > 280).mean(axis=0)), "1"),
        ):
            dataset = opened(word)
            found = dataset["t2m"]
            assert found.dims == ("time", "lat", "lon")
            floats = np.float32 if kind == "float32" else np.float64  # as they are read
            assert found.dtype == found.encoding["dtype"] == floats
            assert "scale_factor" not in found.encoding
            for name in ("time", "lat", "lon"):
                xr.testing.assert_identical(found[name].variable, samples[0][name].variable)
            assert dataset.attrs["institution"] == "here"
            assert found.attrs["units"] == units
            assert ("standard_name" in found.attrs) == (units == "K")
            assert "valid_min" not in found.attrs
            assert found.attrs["long_name"].endswith("of 5 samples of t2m")
            close = np.isclose(found, expected, atol=rounding, rtol=0, equal_nan=True)
            # A value at the threshold may be on its other side once it is rounded.
            assert close.mean() > (0.99 if word == "above280" else 0.9999)
            assert np.isnan(found.values[0, 0, 0])
        assert opened("std")["t2m"].values[4:].mean() > 1
        given = opened("std")["t2m"].values[:4]
        assert given[~np.isnan(given)].max() == 0
        assert (tmp_path / "next-uncertainty.png").is_file()
        assert "black is" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ("--summary mean", "--summary of 1 sample: it has no spread, ask for --samples 8"),
            ("--samples 2 --summary median meen", "no statistic 'meen'; did you mean 'mean'?"),
            ("--samples 2 --summary abov5", "did you mean 'above"),
            ("--samples 2 --summary q10 --out x.dcm", "DICOM doesn't hold"),
            ("--samples 2 --summary q10 --out a.npz", "a-q10.npz exists"),
            ("--samples 2 --summary std --out a.npz", "a-uncertainty.png exists"),
            ("--samples 2 --sumary std", "did you mean '--summary'"),
        ],
    )
    def test_mistakes_are_found_before_the_work(
        self, clip: Path, tmp_path: Path, capsys, monkeypatch, more: str, said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("a-q10.npz", "a-uncertainty.png"):
            (tmp_path / name).write_text("mine")
        before = sorted(tmp_path.iterdir())
        # With a model that isn't there, what else is wrong is said only if it is seen first.
        words = ["predict", clip.name, "--frames", "2", "--model", "nowhere", *more.split()]
        assert main(words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]
        assert sorted(tmp_path.iterdir()) == before

    def test_files_are_replaced_if_asked(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "a-q10.npz").write_text("mine")
        words = ["predict", str(clip), "--frames", "1", "--samples", "2", "--steps", "1"]
        words += ["--summary", "q10", "--out", str(tmp_path / "a.npz")]
        assert main([*words, "--overwrite"]) == 0
        assert ff.read(tmp_path / "a-q10.npz").frames.dtype == np.float32

"""The data's values in model range: measured, stored with the run, and the way back."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.config import Config, LogConfig, OptimConfig, read_config
from framefill.data.digits import DigitsConfig
from framefill.data.footage import Footage, InMemory, Same, Track
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.statistics import Tally, measure, measure_condition
from framefill.data.video import Stored
from framefill.data.videos import VideosConfig
from framefill.data.write import write
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.fill import load
from framefill.masks import BlockMasks
from framefill.nn.config import ConcatConfig
from framefill.normalise import Normaliser
from framefill.run import train
from framefill.sampling import DpmSolver2M
from framefill.scaling import Scaling, measured_conditions
from framefill.serialise import from_data


def footage_of(frames: np.ndarray, **fields: Any) -> Footage:
    settings: dict[str, Any] = {
        "name": "clip.npy",
        "path": Path("clip.npy"),
        "length": len(frames),
        "shape": frames.shape[1:],
        "dtype": frames.dtype,
        "reader": InMemory(frames),
    }
    return Footage(**{**settings, **fields})


def values(*channels: Sequence[float]) -> np.ndarray:
    """Frames of 1 x 1 pixels, whose channels have these values."""
    return np.array(channels, np.float32).T[:, None, None, :]


def there_and_back(normaliser: Normaliser, frames: np.ndarray) -> np.ndarray:
    return normaliser.to_frames(normaliser.to_clip(frames), frames.dtype)


# --- moments ------------------------------------------------------------------------------------


@st.composite
def parts(draw: st.DrawFn) -> list[np.ndarray]:
    """Values that come in parts of different lengths, far from 0, some of them missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels = draw(st.integers(1, 3))
    center, spread = draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-3, 1e3))
    missing = draw(st.sampled_from([0.0, 0.3, 0.95]))
    found = []
    for length in draw(st.lists(st.integers(1, 40), min_size=1, max_size=8)):
        part = rng.normal(center, spread, (length, 2, channels))
        part[rng.random(part.shape) < missing] = np.nan
        found.append(part)
    found[0][0, 0] = center  # no channel is missing throughout
    return found


@settings(deadline=None)
@given(parts())
def test_moments_that_come_in_parts_are_those_of_the_whole(chunks: list[np.ndarray]) -> None:
    tally = Tally(chunks[0].shape[-1])
    for chunk in chunks:
        tally.add(chunk)
    whole = np.concatenate(chunks).reshape(-1, chunks[0].shape[-1])
    moments = tally.moments("the data")
    assert np.allclose(moments.mean, np.nanmean(whole, axis=0), rtol=1e-12, atol=1e-9)
    assert np.allclose(moments.deviation, np.nanstd(whole, axis=0), rtol=1e-6, atol=1e-9)
    assert np.array_equal(moments.low, np.nanmin(whole, axis=0))
    assert np.array_equal(moments.high, np.nanmax(whole, axis=0))
    assert np.array_equal(moments.count, (~np.isnan(whole)).sum(axis=0))
    assert moments.missing == pytest.approx(np.isnan(whole).mean())


def test_a_part_without_any_value_changes_nothing() -> None:
    tally = Tally(1)
    for part in ([[np.nan]], [[3.0], [5.0]], [[np.nan], [np.nan]]):
        tally.add(np.array(part))
    moments = tally.moments("x")
    assert (moments.mean[0], moments.deviation[0], moments.missing) == (4, 1, 0.6)


def test_values_that_can_not_be_measured_are_refused() -> None:
    empty = values([1, 2], [np.nan, np.nan])
    with pytest.raises(InputError, match=r"clip\.npy: all values of channel 1 are missing"):
        Scaling(by="range").normaliser([footage_of(empty)])
    for bad in (np.inf, -np.inf):
        with pytest.raises(InputError, match=r"clip\.npy holds infinite values: make them NaN"):
            Scaling(by="range").normaliser([footage_of(values([1, bad, 2]))])
    gray, color = footage_of(values([1, 2])), footage_of(values([1, 2], [1, 2]), name="b.npy")
    with pytest.raises(InputError, match=r"clip\.npy has 1 channels and b\.npy 2: make them alike"):
        Scaling(by="range").normaliser([gray, color])
    flat = values([1, 2], [7, 7])
    with pytest.raises(InputError, match=r"channel 1 is 7 in all of the training data: leave it"):
        Scaling(by="spread").normaliser([footage_of(flat)])


def test_all_frames_of_all_videos_are_measured_once() -> None:
    seen: list[int] = []
    plain, changed = measure(
        [footage_of(values([1, 2, 3])), footage_of(values([4, 10]))],
        transform=np.sqrt,
        after=seen.append,
    )
    assert sum(seen) == 5
    assert (plain.mean[0], plain.high[0]) == (4, 10)
    assert changed.mean[0] == pytest.approx(np.sqrt([1, 2, 3, 4, 10]).mean())


def test_conditions_are_measured_per_value() -> None:
    vectors = np.array([[0, 5], [2, 5], [4, np.nan]], np.float32)
    frames = values([1, 2, 3])
    tracks = {
        "speed": Track("vector", 2, InMemory(vectors)),
        "terrain": Track("static", 1, Same(np.array([[[4.0]]], np.float32))),
    }
    video = footage_of(frames, tracks=tracks)
    assert measure_condition([video, video], "speed").count.tolist() == [6, 4]
    speed, terrain = measured_conditions(["speed", "terrain"], (0.2,), [video])
    assert (speed.name, speed.kind, speed.size, speed.dropout) == ("speed", "vector", 2, 0.2)
    assert speed.offset == (2, 5)
    assert speed.scale == (pytest.approx(np.std([0, 2, 4])), 1)  # what never changes is told as 0
    assert (terrain.kind, terrain.offset, terrain.scale) == ("static", (4,), (1,))
    *_, other = measured_conditions(["speed", "terrain"], (0.2, 0.5), [video])
    assert other.dropout == 0.5
    nothing = {"speed": Track("vector", 1, InMemory(np.full((3, 1), np.nan, np.float32)))}
    with pytest.raises(InputError, match="condition 'speed': all values of channel 0 are missing"):
        measured_conditions(["speed"], (0.1,), [footage_of(frames, tracks=nothing)])


# --- from values to model range -----------------------------------------------------------------


def test_range_makes_the_smallest_value_of_each_channel_minus_one_and_the_largest_one() -> None:
    frames = values([250, 300, 275, np.nan], [0, 0, 40, 10])
    clip = Scaling(by="range").normaliser([footage_of(frames)]).to_clip(frames)[:, :, 0, 0]
    assert torch.allclose(clip[:3, 0], torch.tensor([-1.0, 1.0, 0.0]))
    assert torch.allclose(clip[:, 1], torch.tensor([-1.0, -1.0, 1.0, -0.5]))
    assert clip[3, 0].isnan()


def test_spread_makes_the_mean_zero_and_the_deviation_one_half() -> None:
    rng = np.random.default_rng(0)
    frames = np.stack([rng.normal(280, 12, (40, 3, 3)), rng.normal(-5, 0.1, (40, 3, 3))], axis=-1)
    clip = Scaling(by="spread").normaliser([footage_of(frames)]).to_clip(frames)
    assert torch.allclose(clip.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(clip.std(dim=(0, 2, 3), correction=0), torch.tensor(0.5), atol=1e-4)


def test_auto_measures_all_but_plain_bytes() -> None:
    def of(name: str) -> list[Footage]:
        return [footage_of(values([1, 2, 9]).astype(name))]

    auto, gappy = Scaling(), footage_of(values([1, np.nan, 9]), stored=Stored("uint8", np.nan))
    assert not auto.measures(of("uint8"))
    assert not auto.measures([gappy])  # bytes, though gaps make floats of them
    for name in ("uint16", "int16", "float16", "float32", "float64"):
        assert auto.measures(of(name))
    assert Scaling(high=100.0).measures(of("uint8"))
    assert Scaling(transform="log", low=0.0).measures(of("uint8"))
    for by in ("range", "spread"):
        assert Scaling(by=by).measures(of("uint8"))
    assert not Scaling(by="given").measures(of("float32"))


@pytest.mark.parametrize("name", ["uint8", "uint16", "int16", "float32"])
def test_the_kind_of_the_data_is_known_also_where_gaps_make_floats_of_it(name: str) -> None:
    frames = values([1, 2, 9]).astype(name)
    whole = Scaling(by="range").normaliser([footage_of(frames, units="K")])
    assert (whole.dtype, whole.low, whole.high, whole.units) == (name, 1, 9, "K")
    gappy = footage_of(values([1, np.nan, 9]), stored=Stored(name, np.nan))
    assert Scaling(by="range").normaliser([gappy]).dtype == name
    mixed = [footage_of(frames), footage_of(values([1, 2, 3]))]
    assert Scaling(by="range").normaliser(mixed).dtype == "float32"


def test_new_data_may_lie_a_little_beyond_what_was_measured() -> None:
    normaliser = Scaling(by="range").normaliser([footage_of(values([0, 10]))])
    clip = normaliser.to_clip(values([-5, 15]))[:, 0, 0, 0]
    assert clip.tolist() == [-2, 2]
    for value in (-5.1, 15.1):
        with pytest.raises(InputError, match=r"but the model was trained on 0\.\.10: convert"):
            normaliser.to_clip(values([value]))
    assert normaliser.to_frames(torch.tensor([-9.0, 9.0]).reshape(2, 1, 1, 1), np.dtype("f4"))[
        :, 0, 0, 0
    ].tolist() == [0, 10]


def test_the_logarithm_spreads_small_values() -> None:
    frames = values([0, 1, 10, 100])
    normaliser = Scaling(by="range", transform="log", low=0.0, soft=0.5).normaliser(
        [footage_of(frames)]
    )
    expected = np.log1p(frames[:, 0, 0, 0] / 0.5)
    expected = expected / expected[-1] * 2 - 1
    assert np.allclose(normaliser.to_clip(frames)[:, 0, 0, 0], expected, atol=1e-6)
    assert normaliser.limits == pytest.approx((-1, 1))


def test_the_logarithm_starts_at_the_low_end_that_was_given() -> None:
    """Also where the training data starts above it."""
    frames = values([2, 10, 100])
    normaliser = Scaling(by="range", transform="log", low=0.0).normaliser([footage_of(frames)])
    clip = normaliser.to_clip(frames)[:, 0, 0, 0]
    expected = np.log1p([2, 10, 100])
    expected = (expected - expected[0]) / (expected[-1] - expected[0]) * 2 - 1
    assert np.allclose(clip, expected, atol=1e-5)


def test_values_are_moved_to_the_ends_that_were_given_and_not_to_others() -> None:
    """Of data above 2, new values of 1 are as good as any where the low end is 0."""
    normaliser = Scaling(by="range", low=0.0, high=50.0).normaliser(
        [footage_of(values([2, 10, 40, 90]))]
    )
    assert normaliser.clip
    moved = there_and_back(normaliser, values([-3, 0, 1, 45, 70]))[:, 0, 0, 0]
    assert np.allclose(moved, [0, 0, 1, 45, 50], atol=1e-4)


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["range", "spread"]),
    st.sampled_from(["linear", "log"]),
    st.sampled_from([1e-3, 1.0, 1e4]),
    st.sampled_from(["float32", "float64", "uint16", "int16"]),
)
def test_values_come_back(seed: int, by: Any, transform: Any, size: float, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    integers = dtype.endswith("int16")
    size = 1e4 if integers else size
    frames = (rng.gamma(0.5, 1, (6, 4, 4, 2)) * size).clip(0, 3 * size).astype(dtype)
    frames.flat[:2], frames.flat[2:4] = 0, 3 * size
    scaling = (
        Scaling(by=by, transform="log", low=0.0, soft=size / 100)
        if transform == "log"
        else Scaling(by=by)
    )
    normaliser = scaling.normaliser([footage_of(frames)])
    back = there_and_back(normaliser, frames)
    assert back.dtype == dtype
    if integers:
        assert np.array_equal(back, frames)
    else:
        assert np.abs(back - frames).max() <= 1e-5 * size
    low, high = normaliser.limits
    clip = normaliser.to_clip(frames)
    assert low - 1e-4 <= clip.min()
    assert clip.max() <= high + 1e-4


def test_limits_are_those_of_the_widest_channel() -> None:
    """Each channel has a range of its own."""
    frames = values([0, 1, 0.5], [0, 100, 30])
    normaliser = Scaling(by="range").normaliser([footage_of(frames)])
    assert normaliser.limits == pytest.approx((-1, 1))
    assert (normaliser.lows, normaliser.highs) == ((0, 0), (1, 100))
    spread = Scaling(by="spread").normaliser([footage_of(frames)])
    ends = np.array([[0, 0], [1, 100]])
    channels = (ends - spread.offset) / spread.scale
    assert spread.limits == pytest.approx((channels.min(), channels.max()))
    with pytest.raises(InputError, match="values reach"):
        normaliser.to_clip(values([0, 2, 0.5], [0, 100, 30]))  # too much for the first channel
    back = normaliser.to_frames(torch.full((1, 2, 1, 1), 9.0), np.dtype(np.float32))
    assert back[0, 0, 0].tolist() == [1, 100]


def test_missing_values_stay_missing() -> None:
    for scaling in (Scaling(by="spread"), Scaling(by="range", transform="log", low=0, soft=0.1)):
        frames = values([1, 2, np.nan, 9])
        normaliser = scaling.normaliser([footage_of(frames)])
        back = there_and_back(normaliser, frames)[:, 0, 0, 0]
        assert np.isnan(back).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"soft": 0.0}, r"soft 0\.0 must be above 0"),
        ({"soft": -1.0}, r"soft -1\.0 must be above 0"),
        ({"low": 2.0, "high": 2.0}, r"low 2\.0 must be below high 2\.0"),
        ({"low": float("nan")}, "low nan: needs finite numbers"),
        ({"high": float("inf")}, "high inf: needs finite numbers"),
        ({"by": "rnage"}, r"rnage not in .*'range', 'spread'.* @ \$\.by"),
        ({"transform": "logarithm"}, r"logarithm not in .*'log'.* @ \$\.transform"),
    ],
)
def test_scalings_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_data(fields, Scaling, source="the config")


@pytest.mark.parametrize("fields", [{"transform": "log"}, {"low": 0.0}, {"high": 1.0}])
def test_given_takes_nothing_else(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="'given' takes the normaliser as it is: set transform"):
        Scaling(by="given", **fields).measures([footage_of(values([1, 2]))])


def test_logarithms_without_sense_are_refused() -> None:
    video = footage_of(values([0, 1, 4]))
    with pytest.raises(InputError, match=r"needs --scaling\.low, the value it starts from"):
        Scaling(by="range", transform="log").normaliser([video])
    match = r"of 0\.\.4 the log transform with soft 1 is nearly linear: .* well below 0\.8, or"
    with pytest.raises(InputError, match=match):
        Scaling(by="range", transform="log", low=0.0).normaliser([video])


# --- in a configuration -------------------------------------------------------------------------


class Clips:
    """Six clips of these values, which count how often they are asked for."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.asked = frames, 0

    def __len__(self) -> int:
        return len(self.frames)

    def clip(self, i: int) -> Any:
        self.asked += 1
        return {"frames": self.frames[i]}


def config(**changes: Any) -> Config:
    settings: dict[str, Any] = {
        "data": VideosConfig(height=8, width=8, channels=1),
        "masks": BlockMasks(past=1, target=2),
        "network": ConcatConfig(width=8, multipliers=(1,), blocks=1, attention=()),
        "sampler": DpmSolver2M(steps=2),
        "optim": OptimConfig(steps=2, batch=2, warmup=0),
        "log": LogConfig(sample_every=0, save_every=1),
    }
    return Config(**{**settings, **changes})


def own(frames: np.ndarray) -> OwnClips:
    dataset = Clips(frames)
    return OwnClips(dataset, OwnConfig.of(dataset), frames=3, split="train", seed=0)


def kelvin(clips: int = 6, channels: int = 1) -> np.ndarray:
    frames = np.random.default_rng(0).normal(280, 10, (clips, 3, 8, 8, channels))
    return frames.astype(np.float32)


def test_a_measured_config_clips_estimates_to_the_range_of_the_data() -> None:
    clips = own(kelvin())
    measured = config(scaling=Scaling(by="spread")).measured(clips)
    assert measured.normaliser.low == pytest.approx(kelvin().min())
    assert measured.diffusion.limits == measured.normaliser.limits
    assert measured.normaliser.offset == (pytest.approx(kelvin().mean()),)
    free = config(scaling=Scaling(by="spread"), diffusion=Diffusion(limits=None))
    assert free.measured(clips).diffusion.limits is None
    assert measured.model().normaliser == measured.normaliser


def test_a_normaliser_that_is_given_stays() -> None:
    kelvins = Normaliser(dtype="float32", offset=(280,), scale=(20,), low=200, high=350)
    asked = config(normaliser=kelvins, scaling=Scaling(by="given"))
    assert asked.measured(own(kelvin())) == asked


def test_digits_are_not_measured() -> None:
    digits = config(data=DigitsConfig(size=8, glyph=4, digits=1, speed=1))
    clips = digits.clips("train")
    assert digits.measured(clips) == digits
    with pytest.raises(InputError, match="scaling is measured on videos: digits have theirs"):
        replace(digits, scaling=Scaling(by="range")).measured(clips)


def test_each_channel_has_its_own_scale() -> None:
    frames = kelvin(channels=2) * np.array([1, 100], np.float32)
    data = VideosConfig(height=8, width=8, channels=2)
    measured = config(data=data).measured(own(frames))
    clip = measured.normaliser.to_clip(frames)
    for channel in range(2):
        assert clip[:, :, channel].min().item() == pytest.approx(-1, abs=1e-5)
        assert clip[:, :, channel].max().item() == pytest.approx(1, abs=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of gray images."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        frames = rng.integers(50, 200, (5, 8, 8, 1), dtype=np.uint8)
        write(tmp_path / "data" / "train" / name, frames, fps=None, value_range=(0, 255))
    return tmp_path / "data"


def test_what_was_measured_is_stored_and_used_again(folder: Path, tmp_path: Path) -> None:
    asked, run = config(scaling=Scaling(by="spread")), tmp_path / "run"
    model = train(asked, out=run, data=folder, progress=False)
    stored = read_config(run / "config.json")
    assert stored.normaliser == model.config.normaliser
    assert stored.normaliser != asked.normaliser
    assert stored.diffusion.limits == stored.normaliser.limits
    assert load(run).model.config.normaliser == stored.normaliser
    # Not measured again: the data of all frames but the first would give another scale.
    last = sorted((folder / "train" / "b").iterdir())[-1]
    last.write_bytes(sorted((folder / "train" / "b").iterdir())[0].read_bytes())
    more = replace(asked, optim=replace(asked.optim, steps=3))
    assert train(more, out=run, data=folder, progress=False).config.normaliser == stored.normaliser
    assert train(stored, out=run, progress=False).config.normaliser == stored.normaliser
    fresh = train(asked, out=tmp_path / "other", data=folder, progress=False)
    assert fresh.config.normaliser != stored.normaliser
    with pytest.raises(InputError, match=r"holds a run of another config \(.*scaling\.by: "):
        train(config(scaling=Scaling(by="range")), out=run, data=folder, progress=False)


def test_datasets_that_change_their_clips_go_on_with_what_was_measured(tmp_path: Path) -> None:
    """Augmented ones are never the same twice."""
    asked = config(scaling=Scaling(by="spread"))
    first = train(asked, out=tmp_path / "run", data=Clips(kelvin()), progress=False)
    more = replace(asked, optim=replace(asked.optim, steps=3))
    second = train(more, out=tmp_path / "run", data=Clips(kelvin() + 0.5), progress=False)
    assert second.config.normaliser == first.config.normaliser


def test_color_is_measured_as_the_model_sees_it(tmp_path: Path) -> None:
    """Videos that fit converts to gray have one scale."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        frames = rng.integers(50, 200, (5, 8, 8, 3), dtype=np.uint8)
        write(tmp_path / "train" / name, frames, fps=None, value_range=(0, 255))
    data = VideosConfig(path=tmp_path, height=8, width=8, channels=1, fit="stretch")
    asked = config(data=data, scaling=Scaling(by="spread"))
    measured = asked.measured(asked.clips("train"))
    assert len(measured.normaliser.offset) == 1
    clip = measured.normaliser.to_clip(np.stack([asked.clips("train")[i] for i in range(8)]))
    assert clip.mean().item() == pytest.approx(0, abs=0.05)
    assert clip.std().item() == pytest.approx(0.5, abs=0.05)


def test_values_of_a_float_video_pass_through_a_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(scaling=Scaling(by="spread")), out=run, data=Clips(kelvin()), progress=False)
    shown = kelvin()[0, :1]
    filled = load(run).predict(shown, 2)
    assert np.array_equal(filled.frames[0, :1], shown)
    assert filled.frames.dtype == np.float32
    assert kelvin().min() - 1e-3 <= filled.frames.min()
    assert filled.frames.max() <= kelvin().max() + 1e-3
    assert json.loads((run / "model" / "config.json").read_text())["normaliser"]["dtype"] == (
        "float32"
    )
